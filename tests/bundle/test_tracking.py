"""The curves of a training are kept by TensorBoard and MLflow, and read back by their own readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from frerec.run.preflight.step import find_problems
from frerec.run.tracking import TRACKERS, is_installed
from tests.bundle.conftest import SmallCohort
from tests.conftest import BundleCommand

Curves = dict[str, list[tuple[int, float]]]
Train = Callable[..., str]
EPOCHS, STEPS = 2, 3


@pytest.fixture
def train(bundle_root: Path, small_cohort: SmallCohort, bundle_command: BundleCommand, tmp_path: Path) -> Train:
    """Train as a user does into a folder with a space, with further words; returns what was printed."""
    words = (
        "run", "--config_file", bundle_root / "configs" / "train.json", "--dataset_dir", small_cohort.folder,
        "--datalist", small_cohort.datalist, "--bank_path", small_cohort.bank, "--output_dir", tmp_path / "a training",
        "--image_size", "[64,64]", "--crop_size", "[32,32]", "--batch_size", 6, "--val_interval", 1, "--device", "cpu",
        "--checkpointing#save_interval", 1,
    )  # fmt: skip

    def run(*more: object, epochs: int = EPOCHS) -> str:
        return bundle_command(*words, "--max_epochs", epochs, *more, cwd=tmp_path).stdout

    return run


def check(curves: Curves, printed: str, metric: str = "psnr") -> None:
    """A loss for every step, and the metric of every epoch as the log has it."""
    losses = curves["train_loss"]
    assert [step for step, _ in losses] == list(range(1, EPOCHS * STEPS + 1))
    assert all(0 < value < 100 for _, value in losses) and len({value for _, value in losses}) == len(losses)
    logged = [float(value) for value in re.findall(r"Metrics -- psnr: ([\d.]+)", printed)]
    assert len(logged) == EPOCHS
    assert [step for step, _ in curves[metric]] == list(range(1, EPOCHS + 1))
    assert [value for _, value in curves[metric]] == pytest.approx(logged, abs=1e-4)


def tensorboard_curves(folder: Path) -> Curves:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def mlflow_curves(database: Path, experiment: str) -> list[Curves]:
    """Curves of every run, oldest first."""
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    runs = client.search_runs(client.get_experiment_by_name(experiment).experiment_id, order_by=["start_time"])
    return [
        {key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics}
        for run in runs
    ]


@pytest.mark.skipif(not is_installed("tensorboard"), reason="needs tensorboard: pip install tensorboard")
def test_tensorboard(train: Train, tmp_path: Path) -> None:
    printed = train("--tracker", "tensorboard")
    check(tensorboard_curves(tmp_path / "a training" / "tensorboard"), printed)


@pytest.mark.skipif(not is_installed("mlflow"), reason="needs mlflow: pip install mlflow")
def test_mlflow_goes_on_where_it_was(train: Train, tmp_path: Path) -> None:
    printed = train("--tracker", "mlflow", epochs=1) + train("--tracker", "mlflow")
    runs = mlflow_curves(tmp_path / "a training" / "mlruns.db", "frerec")
    check({key: sorted(point for run in runs for point in run[key]) for key in runs[0]}, printed)


@pytest.mark.skipif(not is_installed("mlflow"), reason="needs mlflow: pip install mlflow")
def test_the_tracking_of_monai(train: Train, tmp_path: Path) -> None:
    printed = train("--tracking", "mlflow", "--experiment_name", "mine")
    (curves,) = mlflow_curves(tmp_path / "a training" / "mlruns.db", "mine")
    assert [step for step, _ in curves["train_loss"]] == list(range(1, EPOCHS * STEPS + 1))
    assert len(re.findall("Metrics -- psnr", printed)) == len(curves["psnr"]) == EPOCHS


def test_a_tracker_that_is_not_there_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = find_problems(outputs=(), tracker="tensorbord")
    assert str(problem) == "tracker='tensorbord': unknown tracker. Use one of tensorboard, mlflow."
    assert find_problems(outputs=(), tracker=None) == []
    for tracker in TRACKERS:
        told = [str(problem) for problem in find_problems(outputs=(), tracker=tracker)]
        missing = [f"tracker='{tracker}': this package is not installed. pip install {tracker}."]
        assert told == ([] if is_installed(tracker) else missing)
    # a folder of results is no package
    (tmp_path / "curves_of_mine").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("curves_of_mine")
