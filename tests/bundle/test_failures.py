"""Whatever ends a workflow is one line and an exit code on the terminal, and the same command then goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(bundle_root: Path, tmp_path: Path) -> Start:
    """Begin ``python -m monai.bundle run`` with a config and further words; keywords go to Popen."""

    def begin(config: str, *words: object, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
        # a shell's background job ignores Ctrl-C, and so would everything it starts
        options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        return subprocess.Popen(
            [*command, *map(str, (bundle_root / "configs" / f"{config}.json", *words))],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(bundle_root / "bundle")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    return begin


@pytest.fixture
def words(small_cohort: SmallCohort, tmp_path: Path) -> list[object]:
    """A sound recalibration of the 24 small images, one by one, into ``out``."""
    given = {
        "dataset_dir": small_cohort.folder, "bank_path": small_cohort.bank, "weights_path": small_cohort.weights,
        "output_dir": tmp_path / "out", "top_k": 4, "batch_size": 1,
    }  # fmt: skip
    return [word for key, value in given.items() for word in (f"--{key}", value)]


def last_words(errors: str) -> str:
    """The line that says why a workflow stopped, of an output without a traceback."""
    assert "Traceback" not in errors, errors
    lines = [line for line in errors.splitlines() if " stopped: " in line]
    assert len(lines) == 1, errors
    return lines[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True)
    if not made or made.returncode:
        pytest.skip("no disk of its own can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(start: Start, words: list[object], small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(460_000))
    words += ["--output_dir", small_disk / "out"]
    run = start("inference", *words)
    errors = run.communicate()[1]
    # an item that cannot be written fails alone; where its line in the manifest cannot be either, the run ends
    assert run.returncode == 4
    assert last_words(errors).startswith(
        f"inference stopped: {small_disk / 'out' / 'manifest.jsonl'}: the manifest cannot be written: No space left"
    )
    ballast.unlink()
    again = start("inference", *words)
    out, errors = again.communicate()
    assert again.returncode == 0, errors
    assert " 0 skipped, 0 failed" in out


def test_a_manifest_that_cannot_grow(start: Start, words: list[object], tmp_path: Path) -> None:
    # outputs and sidecars are below this size, the manifest reaches it after some items
    limited = start("inference", *words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000,) * 2))
    line = last_words(limited.communicate()[1])
    assert limited.returncode == 4
    assert line.startswith(f"inference stopped: {tmp_path / 'out' / 'manifest.jsonl'}: the manifest cannot be written")
    again = start("inference", *words)
    out, errors = again.communicate()
    assert again.returncode == 0, errors
    # what was done before stays done, and no line is lost or doubled
    assert " 0 done before" not in out
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    done = [json.loads(line)["path"] for line in lines if json.loads(line)["status"] == "done"]
    assert done == [f"{i:02d}.png" for i in range(24)]


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "deleted"])
def test_stopped_from_outside(how: str, start: Start, words: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = start("inference", *words, "--num_workers", 1, start_new_session=True)
    while run.poll() is None and not any(out.glob("*.png")):
        time.sleep(0.01)
    if how == "deleted":
        shutil.rmtree(out)
    elif how == "SIGINT":  # as a terminal does, to the workers too
        os.killpg(run.pid, signal.SIGINT)
    else:
        run.terminate()
    line = last_words(run.communicate()[1])
    code, told = {
        "SIGINT": (130, "interrupted (Ctrl-C)"),
        "SIGTERM": (143, "the system asked it to end"),
        "deleted": (4, f"{out}: it was moved or deleted while the run wrote into it"),
    }[how]
    assert run.returncode == code
    assert told in line


def test_a_fault_of_ours_says_where_its_trace_is(start: Start, words: list[object], tmp_path: Path) -> None:
    # an image that cannot be stacked is none a user can make, so the fault is wired in
    run = start("inference", *words, "--evaluator::saver", "$lambda data: 1 / 0", "--datalist", "")
    out, errors = run.communicate()
    assert "Traceback" not in out + errors
    assert run.returncode == 2, "every item failed"
    assert "ZeroDivisionError at <string>:1. Please report this as a fault, with this line and the trace in " in errors
    log = (tmp_path / "out" / "run.log").read_text()
    assert "builtins.ZeroDivisionError" in log and "run/evaluator.py:" in log


def test_a_part_of_a_component_that_does_not_fit_is_named(start: Start, words: list[object]) -> None:
    run = start("inference", *words, "--dataloader#batch_size", "abc")
    line = last_words(run.communicate()[1])
    assert run.returncode == 4
    assert "Look at dataloader#batch_size on the command line first. " in line


def test_a_worker_that_meets_a_broken_training_image(start: Start, small_cohort: SmallCohort, tmp_path: Path) -> None:
    shutil.copytree(small_cohort.folder, tmp_path / "real")
    (tmp_path / "real" / "05.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    given = ["--real_dir", tmp_path / "real", "--datalist", tmp_path / "real" / "datalist.csv", "--num_workers", 1]
    run = start("train_diffusion", *given, "--class_names", "['none']", "--image_size", "[64,64]", "--max_epochs", 1)
    line = last_words(run.communicate()[1])
    assert run.returncode == 3
    assert line.startswith(f"train_diffusion stopped: {tmp_path / 'real' / '05.png'}: ")


def test_wiring_that_cannot_work(bundle_root: Path, bundle_command: BundleCommand, tmp_path: Path) -> None:
    # before the preflight's own values can be resolved
    config = bundle_root / "configs" / "study.json"
    words = ("--bank_path", "$1 + None", "--output_dir", tmp_path)
    done = bundle_command("run", "--config_file", config, *words, check=False)
    assert done.returncode == 3
    assert "this expression of the config cannot be evaluated (TypeError)" in last_words(done.stdout)


def test_each_process_of_a_distributed_run_is_checked(
    bundle_root: Path, bundle_command: BundleCommand, tmp_path: Path
) -> None:
    configs = [str(bundle_root / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    words = ("--dataset_dir", tmp_path / "gone", "--top_k", 0)
    done = bundle_command("run", "--config_file", configs, *words, check=False)
    assert done.returncode == 3
    assert "train cannot start: 3 problems" in done.stdout
    assert "Traceback" not in done.stdout
