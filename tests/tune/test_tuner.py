"""Resuming, the budget, repeating itself, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from frerec.errors import ConfigError
from frerec.run.preflight import PreflightError
from frerec.study.regime import RareClass
from tests.tune.conftest import Planted

#: One recalibration, for the synthetic and for all images.
SHORT: dict[str, Any] = {"seeds": 4, "steps": 4, "keep": 1, "recalibrate": ["synthetic", "all"]}


def outcome(folder: Path) -> dict[str, Any]:
    """What was found, without how long it took."""
    return {k: v for k, v in json.loads((folder / "metrics.json").read_text()).items() if "minutes" not in k}


@pytest.fixture(scope="module")
def finished(make_tuner: Any, tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    make_tuner("lattice", folder, **SHORT).run()
    return Path(folder)


def test_halving_goes_on_with_the_better_half(finished: Path) -> None:
    runs = outcome(finished)["runs"]
    seeds = {name: run["seeds"] for name, run in runs.items()}
    dropped, kept = sorted((name for name in runs if name.startswith("shr")), key=lambda name: seeds[name])
    assert (seeds["RAW"], seeds["GDA"], seeds[kept], seeds[dropped]) == (4, 4, 4, 2)
    assert dropped.removesuffix(" all") == kept.removesuffix(" all")


def test_the_same_again_does_nothing_new_and_elsewhere_the_same(
    finished: Path, make_tuner: Any, tmp_path: Path
) -> None:
    files = {path: path.stat().st_mtime_ns for part in ("runs", "figures") for path in (finished / part).iterdir()}
    before = outcome(finished)
    make_tuner("lattice", finished, **SHORT).run()
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert outcome(finished) == before
    make_tuner("lattice", tmp_path, **SHORT).run()
    assert outcome(tmp_path) == before


def test_the_budget_ends_between_runs_and_a_larger_one_goes_on(make_tuner: Any, tmp_path: Path) -> None:
    def tuner(minutes: float = 1000) -> Any:
        return make_tuner("lattice", tmp_path, seeds=4, steps=4, budget_minutes=minutes)

    tuner().run()
    done = [path for run in tuner().study.plan if (path := tmp_path / "runs" / run.file_name).exists()]
    # as far as the files know, figures took no time and every run an hour
    for path in (tmp_path / "figures").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 0}))
    for path in (tmp_path / "runs").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 3600}))

    def leave(count: int) -> None:
        for path in done[count:]:
            path.unlink(missing_ok=True)

    leave(10)  # the first round, and of the second RAW and GDA with one seed
    assert tuner(10 * 60 + 59).run()["answer"]["seeds"] == 2, "only these have all that are left in common"
    assert len(list((tmp_path / "runs").iterdir())) == 10
    leave(5)
    (tmp_path / "tuned.json").unlink()
    told = r"budget_minutes=300.0: it ended after 5 of the 8 runs .*\. Give at least 480; the same command"
    with pytest.raises(ConfigError, match=told):
        tuner(300).run()
    assert not (tmp_path / "tuned.json").exists()
    assert tuner().run()["answer"]["seeds"] == 4


def test_a_budget_for_nothing_is_told_by_exit_code_3(
    planted: Planted, bundle_command: Any, bundle_root: Path, tmp_path: Path
) -> None:
    words = {
        "config_file": bundle_root / "configs" / "tune.json", "datalist": planted.datalist, "num_seeds": 2,
        "synthetic_dir": planted.made["equal"], "output_dir": tmp_path, "bank_path": planted.bank, "top_k": 4,
        "rare_class": "class1", "stages": "['shr']", "strengths": "[1.0]", "image_size": "[32,32]", "max_steps": 2,
        "validations": 1, "budget_minutes": 1e-4, "device": "cpu",
    }  # fmt: skip
    done = bundle_command("run", *(w for key, value in words.items() for w in (f"--{key}", value)), check=False)
    assert done.returncode == 3, done.stdout
    assert "tune stopped: budget_minutes=0.0001: it ended after 0 of the" in done.stdout
    assert not (tmp_path / "tuned.json").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"recalibrate": ["real"]}, "recalibrate"),
        ({"rare": RareClass("class1", (0.5, 1.0))}, "rare_fraction"),
        ({"rare": RareClass("class9", (1.0,))}, "rare_class"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_computed(
    make_tuner: Any, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        make_tuner("equal", tmp_path, **settings)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "figures").exists()


def test_what_is_missing_or_wrong_is_told_by_id(
    planted: Planted, bundle_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle_root / "configs" / "tune.json"))
    wrong = {
        "datalist": str(planted.datalist), "output_dir": str(tmp_path), "budget_minutes": 0, "strengths": [0.3, 2],
        "mask_ratios": 0.1, "stages": "shr", "keep": 0,
    }  # fmt: skip
    parser.update(wrong)
    with pytest.raises(PreflightError) as ended:
        parser.get_parsed_content("run#0")
    told = {getattr(problem, "config_id", "") for problem in ended.value.problems}
    assert told == {"synthetic_dir", "budget_minutes", "strengths", "mask_ratios", "stages", "keep"}
    assert "strengths=[0.3, 2]: 2: not between 0 and 1" in capsys.readouterr().err
