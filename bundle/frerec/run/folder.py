"""A folder as a MONAI dataset in which a bad file is a result, not the end of the run."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from monai.data import DataLoader, Dataset

from frerec.io.datalist import files_below
from frerec.io.formats import InputFile
from frerec.io.listing import FolderItem, find_items, forget
from frerec.io.quiet import quiet_libraries
from frerec.run.failure import told
from frerec.run.manifest import Manifest
from frerec.run.outcome import FAILED, IGNORED, SKIPPED, UNCHANGED, Outcome, is_input_error


@dataclass
class LoadedItem:
    """An item as it comes from the loader: either with its data, or with an outcome that needs no further work.

    Attributes:
        item: which files it is.
        sha256: checksum of the input, None where it could not be read.
        data: the preprocessed dictionary of the item.
        outcome: what became of it already; None while ``data`` waits for the network.
        seconds: time spent so far.
    """

    item: FolderItem
    sha256: str | None = None
    data: dict[Hashable, Any] | None = None
    outcome: Outcome | None = None
    seconds: float = 0.0

    def finish(self, status: str, **details: Any) -> Outcome:
        """Make the item's outcome from a status and what else is known, and keep it."""
        told = [*self.item.warnings, *details.pop("warnings", [])]
        names = list(self.item.names)
        self.outcome = Outcome(self.item.path, status, self.sha256, files=names, warnings=told, **details)
        self.data = None
        return self.outcome

    def fail(self, error: BaseException) -> Outcome:
        """Make the item's outcome from an error: skipped if the input is to blame, else failed."""
        reason, remedy = told(error)
        return self.finish(SKIPPED if is_input_error(error) else FAILED, reason=reason, remedy=remedy)


class FolderDataset(Dataset):
    """The images of a folder, each loaded and preprocessed on access.

    Items that an earlier run did already are recognised here, by checksum, so that this work is shared by the
    loader's workers. Whatever a transform raises becomes the outcome of that item alone.

    Args:
        data: the input folder, or a list of items to use as it is; None, as a program leaves it that only looks at
            the parts of a workflow, is an empty one.
        transform: preprocessing of ``{"image": ..., "relative_path": name of the item}``, where ``image`` is the
            opened file (:class:`frerec.io.formats.InputFile`, which stands for its path) or the list of those of a
            series.
        manifest: memory of earlier runs, and the shard this run works on; None to forget both.
        datalist: CSV or JSON with an ``image`` column; only these images then count. Relative paths start at ``data``.
        group_series: take the files of a DICOM series as one volume; False takes every file by itself.

    Raises:
        InputError: the folder or the datalist cannot be read.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | Sequence[FolderItem] | None,
        transform: Callable[[Any], Any],
        manifest: Manifest | None = None,
        datalist: str | None = None,
        group_series: bool = True,
    ) -> None:
        if isinstance(data, str | os.PathLike):
            listed = files_below(datalist, data) if datalist else None
            items = find_items(data, listed, group_series, [manifest.output_dir] if manifest else [])
            forget()
        else:
            items = list(data or ())
        #: Number of items in all shards together.
        self.total = len(items)
        self.manifest = manifest
        super().__init__(items[manifest.shard_index :: manifest.shard_count] if manifest else items, transform)

    def _transform(self, index: int) -> LoadedItem:
        """Load one item; never raises for a fault of the item."""
        start = time.perf_counter()
        loaded = LoadedItem(self.data[index])
        try:
            with quiet_libraries():
                self._load(loaded)
        except Exception as error:
            loaded.fail(error)
        loaded.seconds = time.perf_counter() - start
        return loaded

    def _load(self, loaded: LoadedItem) -> None:
        item = loaded.item
        if item.problem is not None:
            reason, remedy = item.problem
            loaded.finish(SKIPPED, reason=reason, remedy=remedy)
            return
        files = [InputFile.read(path) for path in item.files]
        sums = "".join(file.sha256 for file in files)
        loaded.sha256 = sums if len(files) == 1 else hashlib.sha256(sums.encode("ascii")).hexdigest()
        if item.is_side_file:
            loaded.finish(IGNORED, reason="not an image", remedy="Nothing to do")
        elif self.manifest is not None and self.manifest.is_unchanged(item.path, loaded.sha256):
            loaded.finish(UNCHANGED)
        else:
            image = files if item.names else files[0]
            loaded.data = self.transform({"image": image, "relative_path": item.path})


def keep_as_list(batch: Sequence[LoadedItem]) -> list[LoadedItem]:
    """Collate nothing: images of a batch may differ in size, and each keeps its own metadata."""
    return list(batch)


class FolderLoader(DataLoader):
    """Loads the items of a folder in their order, in batches that are lists.

    Args:
        dataset: a folder dataset.
        batch_size: items in a batch.
        num_workers: processes that load; 0 loads in this one.
        kwargs: as in :class:`monai.data.DataLoader`.
    """

    def __init__(self, dataset: FolderDataset, batch_size: int = 1, num_workers: int = 0, **kwargs: Any) -> None:
        super().__init__(dataset, num_workers, batch_size=batch_size, collate_fn=keep_as_list, **kwargs)
