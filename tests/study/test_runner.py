"""The study as a whole: planted problems with a known answer, resuming, sharding, repeating itself."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from frerec.errors import ConfigError
from frerec.study.arms import Arm
from frerec.study.baselines import MatchHistogram
from frerec.study.runner import DownstreamStudy
from frerec.study.training import Schedule

FAST = Schedule(max_steps=6, batch_size=8, validations=2)


@pytest.fixture(scope="module")
def rows(pictures: Any) -> dict[str, list[dict[str, Any]]]:
    return {split: pictures(split, n) for split, n in (("train", 16), ("val", 8), ("test", 12), ("held_out", 16))}


def study(rows: dict[str, list[dict[str, Any]]], loader: Any, folder: Path, **settings: Any) -> DownstreamStudy:
    arms = [Arm("RAW", uses_synthetic=False), Arm("GDA"), Arm("GDA+HIST", synthetic=MatchHistogram())]
    wanted = {"image_size": 32, "seeds": (0, 1), "schedule": FAST, "draws": 100, "synthetic_cases": rows["held_out"]}
    cases = [*rows["train"], *rows["val"], *rows["test"]]
    return DownstreamStudy(cases, loader, arms, folder, **{**wanted, **settings})


def outcome(folder: Path) -> dict[str, Any]:
    """Everything a study found, without how long it took."""
    found: dict[str, Any] = {"results.csv": (folder / "results.csv").read_text()}
    for path in sorted((folder / "runs").glob("*.json")):
        found[path.name] = {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}
    return found


@pytest.fixture(scope="module")
def finished(rows: Any, picture_loader: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    study(rows, picture_loader, folder).run()
    return folder


def test_everything_promised_is_written(finished: Path) -> None:
    summary = json.loads((finished / "metrics.json").read_text())
    assert summary["runs"]["finished"] == summary["runs"]["planned"] == 6
    assert [arm["arm"] for arm in summary["cells"][0]["arms"]] == ["RAW", "GDA", "GDA+HIST"]
    assert [arm["synthetic_images"] for arm in summary["cells"][0]["arms"]] == [0, 32, 32]
    assert "<svg" in (finished / "report.html").read_text()
    assert len(list((finished / "runs").iterdir())) == 6
    # Two images of a test patient are one unit of chance; no patient's name is kept.
    assert (summary["test_images"], summary["test_units"]) == (24, 12)
    assert not any("test0_" in path.read_text() for path in (finished / "runs").iterdir())


def test_the_same_seeds_give_the_same_study(finished: Path, rows: Any, picture_loader: Any, tmp_path: Path) -> None:
    study(rows, picture_loader, tmp_path).run()
    assert outcome(tmp_path) == outcome(finished)


def test_shards_together_do_the_same_study(finished: Path, rows: Any, picture_loader: Any, tmp_path: Path) -> None:
    for shard in (1, 0):
        summary = study(rows, picture_loader, tmp_path, shard_index=shard, shard_count=2).run()
        assert summary["runs"]["finished"] == (3 if shard else 6)
    assert outcome(tmp_path) == outcome(finished)


def test_finished_runs_are_kept_and_more_seeds_are_added(finished: Path, rows: Any, picture_loader: Any) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()}
    study(rows, picture_loader, finished, seeds=(0,)).run()
    assert {path.name: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()} == before
    again = study(rows, picture_loader, finished)
    again.overwrite = True
    again.plan = again.plan[:1]
    again.run()
    after = {path.name: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()}
    assert [name for name in before if before[name] != after[name]] == [again.plan[0].file_name]
    study(rows, picture_loader, finished).summarise()


def test_a_changed_image_or_setting_is_another_run(rows: Any, picture_loader: Any, tmp_path: Path) -> None:
    def keys(**settings: Any) -> dict[str, str]:
        return {run.arm: run.key for run in study(rows, picture_loader, tmp_path, seeds=(0,), **settings).plan}

    base = keys()
    assert len(set(base.values())) == 3
    assert all(
        keys(schedule=Schedule(max_steps=7, batch_size=8, validations=2))[arm] != key for arm, key in base.items()
    )
    assert keys(synthetic_ratio=0.5)["RAW"] == base["RAW"], "the ratio is nothing to an arm without synthetic images"
    assert keys(synthetic_ratio=0.5)["GDA"] != base["GDA"]
    fewer = keys(synthetic_cases=rows["held_out"][1:], synthetic_ratio=0.5)
    assert fewer["RAW"] == base["RAW"]
    assert fewer["GDA"] != keys(synthetic_ratio=0.5)["GDA"]


KILLED = """
import sys
sys.path[:0] = [{bundle!r}, {tests!r}]
import json, os, signal
from pathlib import Path
from conftest import load_picture
from test_runner import study
from frerec.study import runner
rows = json.loads(Path({rows!r}).read_text())
done = []
real = runner.write_record
def write(folder, record):
    if len(done) == {after}:
        (folder / (record.run.file_name + ".half")).write_text("half a file, as a kill leaves it")
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(real(folder, record))
runner.write_record = write
study(rows, load_picture, Path({folder!r})).run()
"""


def test_a_killed_study_goes_on_and_ends_the_same(
    finished: Path, rows: Any, picture_loader: Any, tmp_path: Path, bundle_root: Path
) -> None:
    listed, folder = tmp_path / "rows.json", tmp_path / "study"
    listed.write_text(json.dumps(rows))
    script = KILLED.format(
        bundle=str(bundle_root / "bundle"),
        tests=str(Path(__file__).parent),
        rows=str(listed),
        after=2,
        folder=str(folder),
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(list((folder / "runs").glob("*.json"))) == 2
    kept = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "runs").glob("*.json")}
    study(rows, picture_loader, folder).run()
    assert outcome(folder) == outcome(finished)
    assert {name: hashlib.sha256((folder / "runs" / name).read_bytes()).hexdigest() for name in kept} == kept


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arm_names": ["RAW", "GDA+X"]}, "arm_names"),
        ({"classifiers": ["alexnet"]}, "classifiers"),
        ({"synthetic_ratio": 3.0}, "synthetic_ratio"),
        ({"synthetic_ratio": [1.0, 2.0]}, "synthetic_ratio"),
        ({"synthetic_cases": None}, "needs synthetic images"),
        ({"label_fractions": [0.0]}, "label_fractions"),
        ({"shard_index": 2, "shard_count": 2}, "shard_index"),
        ({"seeds": ()}, "num_seeds"),
        ({"image_size": 16}, "image_size"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    rows: Any, picture_loader: Any, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        study(rows, picture_loader, tmp_path, **settings)
    assert not (tmp_path / "runs").exists()


def test_a_ratio_for_each_label_fraction(rows: Any, picture_loader: Any, tmp_path: Path) -> None:
    found = study(rows, picture_loader, tmp_path, label_fractions=[1.0, 0.5], synthetic_ratio=[0.25, 0.5], seeds=(0,))
    cells = {(run.cell.label_fraction, run.cell.synthetic_ratio) for run in found.plan}
    assert cells == {(1.0, 0.25), (0.5, 0.5)}
    counts = {run.cell.label_fraction: len(found._training_cases(run)[1]) for run in found.plan if run.arm == "GDA"}
    assert abs(counts[1.0] - counts[0.5]) <= 2, "the same number of synthetic images beside fewer real ones"


def test_an_arm_without_synthetic_images_needs_none(rows: Any, picture_loader: Any, tmp_path: Path) -> None:
    assert len(study(rows, picture_loader, tmp_path, synthetic_cases=None, arm_names=["RAW"]).plan) == 2
