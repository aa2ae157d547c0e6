"""Building a reference bank from a folder or datalist of real images: the bad ones are told and left out."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pydicom
from tqdm import tqdm

from frerec.errors import ConfigError, FreRecError
from frerec.io.datalist import read_datalist
from frerec.io.listing import FolderItem, find_items
from frerec.io.quiet import quiet_libraries
from frerec.io.records import source_of
from frerec.run.folder import FolderDataset, LoadedItem
from frerec.run.outcome import DONE, FAILED, IGNORED, SKIPPED, UNCHANGED, exit_code, explain
from frerec.shr.bank.builder import BankBuilder
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.statistics import content_hash


class ReferenceDataset(FolderDataset):
    """The real images a reference bank is made of, with the patient of each where known.

    Args:
        real_dir: folder of images; with a datalist, the folder its relative paths start from (None for its own).
        transform: preprocessing of ``{"image": path}`` to an image (C, *spatial), normalised to [0, 1].
        datalist: CSV or JSON that names the images.
        split: with a datalist, only rows of this split; None for all.
        group_series: without a datalist, take the files of a DICOM series as one volume.

    Raises:
        FreRecError: neither folder nor datalist, or nothing in it.
    """

    def __init__(
        self,
        real_dir: str | os.PathLike[str] | None,
        transform: Callable[[Any], Any],
        datalist: str | os.PathLike[str] | None = None,
        split: str | None = None,
        group_series: bool = True,
    ) -> None:
        self.patients: dict[str, str] = {}
        if datalist:
            items = []
            for row in read_datalist(datalist, real_dir, split):
                item = FolderItem(row["image"], (Path(row["image"]),))
                items.append(item)
                if row.get("patient"):
                    self.patients[item.path] = str(row["patient"])
        elif real_dir:
            items = find_items(real_dir, None, group_series)
        else:
            raise ConfigError("real_dir", real_dir, "neither a folder nor a datalist is given", "Set one of them")
        super().__init__(items, transform)


class BankBuilding:
    """Fills a reference bank and writes it.

    The patient index of an image comes from the datalist, or of a DICOM file from its Patient ID; the bank keeps
    the index alone. An image whose content is in the bank already is not added again.

    Args:
        data_loader: loader over a :class:`ReferenceDataset` with
            :func:`~frerec.run.folder.keep_as_list` as ``collate_fn``.
        bank_path: the file to write.
        append: add to the bank that is there; its kind, rings and sizes then hold.
        overwrite: replace a bank that is there.
        settings: arguments of :class:`frerec.shr.bank.builder.BankBuilder`.

    Raises:
        ConfigError: there is a bank already and neither ``append`` nor ``overwrite`` is set.
    """

    def __init__(
        self,
        data_loader: Iterable[list[LoadedItem]],
        bank_path: str | os.PathLike[str],
        append: bool = False,
        overwrite: bool = False,
        **settings: Any,
    ) -> None:
        self.data_loader, self.path = data_loader, Path(bank_path)
        if self.path.exists() and not (append or overwrite):
            raise ConfigError(
                "bank_path", str(bank_path), "there is a file already",
                "Use --append True to add to it, --overwrite True to replace it, or another name",
            )  # fmt: skip
        self.bank = ReferenceBank.open(self.path) if append and self.path.exists() else None
        if self.bank is not None:
            self.builder = BankBuilder(self.bank.info, pixel_dtype=self.bank.pixel_dtype)
        else:
            self.builder = BankBuilder(**settings)
        known: Mapping[str, Any] = self.bank.tensors if self.bank is not None else {"content_hash": [], "group": []}
        self._hashes = {int(value) for value in known["content_hash"]}
        self._next_group = 1 + max((int(value) for value in known["group"]), default=-1)
        self._groups: dict[str, int] = {}

    def run(self) -> ReferenceBank:
        """Build.

        Returns:
            The bank, opened from its file.

        Raises:
            SystemExit: with 1 after some images could not be used, with 2 after none could (nothing is written then).
        """
        patients = getattr(getattr(self.data_loader, "dataset", None), "patients", {})
        counts: Counter[str] = Counter()
        with tqdm(total=self._size(), desc="Building the reference bank", unit="image", mininterval=1) as progress:
            for batch in self.data_loader:
                for loaded in batch:
                    status = self._add(loaded, patients)
                    counts[status] += 1
                    if loaded.outcome is not None and status not in (UNCHANGED, IGNORED):
                        progress.write(loaded.outcome.line(), file=sys.stderr)
                    progress.update()
        bank = self._write()
        told = ", ".join(f"{counts[name]} {words}" for name, words in _WORDS.items() if counts[name])
        print(f"{told or 'no images'}; {bank if bank is not None else 'no reference bank was written'}", flush=True)
        code = exit_code(counts)
        if bank is None:
            raise SystemExit(code or exit_code({SKIPPED: 1}))
        print(f"sha256 {bank.sha256}", flush=True)
        if code:
            raise SystemExit(code)
        return bank

    def _size(self) -> int | None:
        dataset = getattr(self.data_loader, "dataset", None)
        return None if dataset is None else len(dataset)

    def _add(self, loaded: LoadedItem, patients: dict[str, str]) -> str:
        if loaded.outcome is not None or loaded.data is None:
            return loaded.outcome.status if loaded.outcome is not None else IGNORED
        image = loaded.data["image"]
        try:
            fingerprint = content_hash(image)
            if fingerprint in self._hashes:
                return UNCHANGED
            # within slices pixels are taken as square, whatever the header says
            spacing = image.pixdim.tolist() if image.ndim == 4 and self.builder.spatial_dims == 3 else None
            self.builder.add(image.as_tensor(), self._group(loaded, patients), spacing)
            self._hashes.add(fingerprint)
        except FreRecError as error:
            reason, remedy = explain(error)
            return loaded.finish(SKIPPED, reason=reason, remedy=remedy).status
        except Exception as error:
            # whatever else one image leads to, the others are worth having
            return loaded.fail(error).status
        return DONE

    def _group(self, loaded: LoadedItem, patients: dict[str, str]) -> int:
        patient = patients.get(loaded.item.path) or _dicom_patient(loaded)
        if not patient:
            return -1
        if patient not in self._groups:
            self._groups[patient] = self._next_group
            self._next_group += 1
        return self._groups[patient]

    def _write(self) -> ReferenceBank | None:
        if len(self.builder) == 0:
            return self.bank
        if self.bank is None:
            return ReferenceBank(*self.builder.finish()).save(self.path)
        self.bank.extend(self.builder)
        return self.bank


_WORDS = {
    DONE: "images added",
    UNCHANGED: "there already",
    SKIPPED: "skipped",
    FAILED: "failed",
    IGNORED: "other files passed over",
}


def _dicom_patient(loaded: LoadedItem) -> str | None:
    source = source_of(loaded.data["image"]) if loaded.data else None
    if source is None or not source.kind.startswith("dicom"):
        return None
    with quiet_libraries():
        header = pydicom.dcmread(source.files[0].stream(), stop_before_pixels=True, specific_tags=["PatientID"])
    return str(header.get("PatientID", "")) or None
