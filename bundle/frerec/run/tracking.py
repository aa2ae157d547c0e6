"""Losses and metrics of a training as curves, in TensorBoard or MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler, TensorBoardStatsHandler, from_engine

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: What can keep the curves; each is the name of the package it needs.
TRACKERS = ("tensorboard", "mlflow")


class ExperimentTracker:
    """Writes the loss of every step and the metrics of every validation by MONAI's own handlers.

    Args:
        tracker: ``"tensorboard"`` (event files in ``output_dir/tensorboard``), ``"mlflow"`` (the server named by the
            environment variable ``MLFLOW_TRACKING_URI``, else the database ``output_dir/mlruns.db``), or None for
            neither.
        output_dir: where the training writes.

    See `monai.handlers.TensorBoardStatsHandler` and `monai.handlers.MLFlowHandler`.
    """

    def __init__(self, tracker: str | None, output_dir: str | os.PathLike[str]) -> None:
        self.tracker, self.output_dir = tracker, Path(output_dir)

    def attach(self, trainer: Engine, evaluator: Engine) -> None:
        """Register with both engines; of several processes only the first one writes.

        Args:
            trainer: its output holds ``loss``.
            evaluator: its metrics are written at the epoch the trainer is in.
        """
        if self.tracker is None or idist.get_rank() > 0:
            return
        make: Callable[..., Any]
        kept: dict[str, Any]
        at_end: dict[str, Any] = {}
        if self.tracker == "tensorboard":
            make, kept = TensorBoardStatsHandler, {"summary_writer": self._writer(trainer)}
        else:
            # by its run's name a training that was interrupted goes on with its curves, and with nobody else's
            run = str(self.output_dir.absolute())
            make, kept = MLFlowHandler, {"tracking_uri": self._uri(), "experiment_name": "frerec", "run_name": run}
            at_end = {"close_on_complete": True}
        loss = from_engine(["loss"], first=True)
        make(**kept, **at_end, tag_name="train_loss", output_transform=loss).attach(trainer)
        # an evaluator counts its own epochs, one a run
        make(**kept, iteration_log=False, global_epoch_transform=lambda _epoch: trainer.state.epoch).attach(evaluator)

    def _writer(self, trainer: Engine) -> SummaryWriter:
        # not at the top: the package is needed here only
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(self.output_dir / "tensorboard"))
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _engine: writer.flush())
        trainer.add_event_handler(Events.COMPLETED, lambda _engine: writer.close())
        return writer

    def _uri(self) -> str:
        path = quote((self.output_dir / "mlruns.db").absolute().as_posix(), safe="/:")
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{path}"


def is_installed(tracker: str) -> bool:
    """Whether the package that a tracker needs can be imported; a mere folder of its name does not count."""
    found = find_spec(tracker)
    return found is not None and found.origin is not None
