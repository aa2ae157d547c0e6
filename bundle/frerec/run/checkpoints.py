"""Checkpoints that a rerun can go on from, whatever happened while they were written."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader, CheckpointSaver


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


class ResumableCheckpoints:
    """Checkpoints of the whole state of a training, of which the newest is kept, and the way back from it.

    Args:
        save_dir: folder of the checkpoints.
        save_dict: what is saved and restored, by name; plain state dicts, so that nothing is unpickled.
        prefix: of the file names, for a folder that holds the checkpoints of several trainings.
        save_interval: epochs between two.
        map_location: device that a checkpoint is loaded to.
        save_final: also save at the end of the training, whatever the interval.
    """

    def __init__(
        self,
        save_dir: str | PathLike[str],
        save_dict: Mapping[str, Any],
        prefix: str,
        save_interval: int = 5,
        map_location: torch.device | str = "cpu",
        save_final: bool = False,
    ) -> None:
        self.save_dir, self.save_dict, self.prefix = Path(save_dir), dict(save_dict), prefix
        self.save_interval, self.map_location, self.save_final = save_interval, map_location, save_final

    def newest(self) -> Path | None:
        """The checkpoint a training would go on from; None if there is none."""
        found = self.save_dir.glob(f"{self.prefix}_*.pt")
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

    def attach(self, engine: Engine) -> None:
        """Register with the engine: the newest checkpoint is loaded now; of several processes the first saves."""
        newest = self.newest()
        if newest is not None:
            place: Any = self.map_location
            CheckpointLoader(str(newest), self.save_dict, map_location=place).attach(engine)
        if idist.get_rank() > 0:
            return
        WholeCheckpointSaver(
            str(self.save_dir), self.save_dict, file_prefix=self.prefix, save_interval=self.save_interval, n_saved=1,
            save_final=self.save_final, final_filename=f"{self.prefix}_last.pt",
        ).attach(engine)  # fmt: skip
