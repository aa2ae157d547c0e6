"""Checkpoints that a rerun can go on from, whatever happened while they were written."""

from __future__ import annotations

from typing import Any

from monai.handlers import CheckpointSaver


class WholeCheckpointSaver(CheckpointSaver):
    """MONAI's checkpoint saver whose files appear whole or not at all.

    MONAI writes them in place, so that a full disk or a kill leaves half a file under the name that the next run loads.

    Args:
        args: as in :class:`monai.handlers.CheckpointSaver`.
        kwargs: as there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for checkpoint in (self._final_checkpoint, self._key_metric_checkpoint, self._interval_checkpoint):
            if checkpoint is not None:
                # what ignite's DiskSaver takes as `atomic`, which MONAI sets to False
                checkpoint.save_handler._atomic = True
