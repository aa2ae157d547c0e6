"""The evaluator that recalibrates a folder: one item's fault never stops the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents, SupervisedEvaluator
from monai.inferers import Inferer
from monai.utils import CommonKeys

from frerec.errors import FreRecError
from frerec.io.quiet import quiet_libraries
from frerec.io.records import applied_to, source_of
from frerec.io.writer import Written
from frerec.run.failure import told
from frerec.run.folder import LoadedItem
from frerec.run.outcome import DONE, FAILED, Outcome


class FolderEvaluator(SupervisedEvaluator):
    """Runs network, postprocessing and saver over the items of a :class:`~frerec.run.folder.FolderDataset`.

    In difference to its base class, a batch is a list of :class:`~frerec.run.folder.LoadedItem` (loader with
    ``collate_fn`` :func:`~frerec.run.folder.keep_as_list`); images of the same size go through the network
    together; and an error in an item, wherever it happens, becomes that item's outcome. ``state.output`` is the list
    of :class:`~frerec.run.outcome.Outcome` of the batch, for handlers at ``ITERATION_COMPLETED``.

    Args:
        device: where the network runs.
        val_data_loader: loader over a folder dataset.
        network: the recalibrating network, or ``torch.nn.Identity()`` for none.
        output_dir: folder that the saver writes into; outputs are recorded relative to it.
        saver: gets the postprocessed dictionary of one item and returns it with what it wrote under ``saved_key``, as a
            list of :class:`frerec.io.writer.Written`.
        inferer: how the network is applied; None for a plain call.
        postprocessing: transform of one item's dictionary with ``image`` and ``pred``.
        val_handlers: handlers with ``attach``.
        saved_key: where the saver leaves what it wrote.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable[Any],
        network: torch.nn.Module,
        output_dir: str,
        saver: Callable[[dict[Any, Any]], dict[Any, Any]],
        inferer: Inferer | None = None,
        postprocessing: Callable[[Any], Any] | None = None,
        val_handlers: Sequence[Any] | None = None,
        saved_key: str = "saved",
    ) -> None:
        # set before the base class registers the iteration
        self.output_dir = Path(output_dir).resolve()
        self.saver, self.postprocessing, self.saved_key = saver, postprocessing, saved_key
        super().__init__(
            device=torch.device(device),
            val_data_loader=val_data_loader,
            network=network,
            iteration_update=self.recalibrate,
            inferer=inferer,
            val_handlers=val_handlers,
            decollate=False,
        )
        # the report tells what matters; the engine's own news would drown it
        self.logger.setLevel(logging.WARNING)

    def recalibrate(self, engine: Engine, batch: list[LoadedItem]) -> list[Outcome]:
        """One iteration: network, postprocessing and saver over a batch.

        Args:
            engine: this evaluator.
            batch: items from the loader; those that have an outcome already are passed on.

        Returns:
            The outcome of every item, in order; also kept as ``state.output``.
        """
        waiting = [loaded for loaded in batch if loaded.outcome is None]
        predictions: dict[int, torch.Tensor] = {}
        with torch.no_grad(), self.mode(self.network), quiet_libraries():
            for group in _same_size(waiting):
                predictions |= self._predict(group)
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            for loaded in batch:
                start = time.perf_counter()
                if loaded.outcome is None:
                    self._write(loaded, predictions.pop(id(loaded)))
                loaded.seconds += time.perf_counter() - start
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        outcomes = []
        for loaded in batch:
            if loaded.outcome is not None:
                loaded.outcome.seconds = loaded.seconds
                outcomes.append(loaded.outcome)
        return outcomes

    def _predict(self, group: list[LoadedItem]) -> dict[int, torch.Tensor]:
        """Apply the network to images of one size; where that fails together, one by one."""
        start = time.perf_counter()
        try:
            images = torch.stack([_image(loaded) for loaded in group]).to(self.state.device)
            predictions = self.inferer(images, self.network)
            result = {id(loaded): p.float().cpu() for loaded, p in zip(group, predictions, strict=True)}
        except Exception as error:
            if len(group) > 1:
                return {key: value for loaded in group for key, value in self._predict([loaded]).items()}
            self._fail(group[0], error)
            return {}
        for loaded in group:
            loaded.seconds += (time.perf_counter() - start) / len(group)
        return result

    def _write(self, loaded: LoadedItem, prediction: torch.Tensor) -> None:
        try:
            data: dict[Any, Any] = {**(loaded.data or {}), CommonKeys.PRED: prediction}
            if self.postprocessing is not None:
                data = self.postprocessing(data)
            data = self.saver(data)
            self._done(loaded, data[CommonKeys.IMAGE], data.get(self.saved_key, []))
        except Exception as error:
            self._fail(loaded, error)

    def _done(self, loaded: LoadedItem, image: Any, saved: Sequence[Written]) -> None:
        """Keep what was written, the warnings of reader, transforms and saver, and the applied parameters."""
        files = sorted((Path(path).resolve(), sha256) for written in saved for path, sha256 in written.files)
        if not files:
            raise FreRecError(f"the saver wrote nothing. Check that it leaves what it wrote under {self.saved_key!r}.")
        outputs = [{"path": path.relative_to(self.output_dir).as_posix(), "sha256": sha256} for path, sha256 in files]
        source, applied, written = source_of(image), applied_to(image), saved[-1]
        told = [*(source.warnings if source else ()), *filter(None, [applied.bank_warning]), *written.warnings]
        done = applied.record()
        if written.likeness:
            done["likeness"] = dict(written.likeness)
        loaded.finish(DONE, outputs=outputs, warnings=told, applied=done)

    def _fail(self, loaded: LoadedItem, error: Exception) -> None:
        # the input was readable, so whatever the error says, a rerun is to try again
        reason, remedy = told(error)
        loaded.finish(FAILED, reason=reason, remedy=remedy)


def _image(loaded: LoadedItem) -> torch.Tensor:
    image = (loaded.data or {})[CommonKeys.IMAGE]
    return image.as_tensor() if hasattr(image, "as_tensor") else torch.as_tensor(image)


def _same_size(waiting: list[LoadedItem]) -> list[list[LoadedItem]]:
    groups: dict[tuple[int, ...], list[LoadedItem]] = {}
    for loaded in waiting:
        groups.setdefault(tuple(_image(loaded).shape), []).append(loaded)
    return list(groups.values())
