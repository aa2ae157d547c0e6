"""The lookup tables of DICOM images: Modality LUT and colour palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from frerec.errors import InputError
from frerec.io.dicom.pixels import DicomPixels

try:
    from pydicom.pixels.processing import apply_color_lut
except ImportError:  # pydicom 2.4
    from pydicom.pixel_data_handlers.util import apply_color_lut  # type: ignore[no-redef]


def modality_lut(path: Path, dataset: Dataset, pixels: DicomPixels) -> tuple[int, npt.NDArray[Any]]:
    """The Modality LUT (PS3.3 C.11.1).

    Args:
        path: named in errors.
        dataset: header with a Modality LUT Sequence.
        pixels: decoded values, for their sign.

    Returns:
        The stored value of the first entry, and the entries.

    Raises:
        InputError: it has fewer entries than it declares, or none.
    """
    item = dataset.ModalityLUTSequence[0]
    try:
        entries, first, _ = (int(value) for value in item.LUTDescriptor)
        data = item.LUTData
        order = "<" if little_endian(dataset) else ">"
        values = np.frombuffer(data, f"{order}u2") if isinstance(data, bytes) else np.asarray(data).reshape(-1)
        table = values.astype(np.uint16)[: entries or 1 << 16]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(path, "its Modality LUT is malformed", "Repair its header") from error
    if len(table) < (entries or 1 << 16):
        raise InputError(path, f"its Modality LUT has {len(table)} of {entries} entries", "Repair its header")
    # The descriptor's second value is signed where the pixels are, whatever the header declares.
    if pixels.stored.dtype.kind == "i" and first > 0x7FFF:
        first -= 0x10000
    return first, table


def palette(path: Path, dataset: Dataset) -> tuple[int, npt.NDArray[Any]]:
    """The colour palette, segmented or not (PS3.3 C.7.6.3.1.5, C.7.9).

    Args:
        path: named in errors.
        dataset: header of a PALETTE COLOR image.

    Returns:
        The stored value of the first entry, and the entries as (entries, 3) of uint8 or uint16.

    Raises:
        InputError: the palette is missing or malformed.
    """
    try:
        entries, first, _ = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor)
        entries = entries or 1 << 16
        table = apply_color_lut(np.arange(first, first + entries), dataset)[..., :3]
        if table.shape != (entries, 3):
            raise ValueError("a colour is missing")
        if not little_endian(dataset) and "RedPaletteColorLookupTableData" in dataset:
            # pydicom takes unsegmented entries for little endian whatever the file is.
            table = table.byteswap() if table.itemsize == 2 else table.reshape(-1, 2, 3)[:, ::-1].reshape(-1, 3)
    except Exception as error:  # a malformed palette raises whatever its first misfit does
        raise InputError(path, "its colour palette is missing or malformed", "Convert it to RGB") from error
    return first, table


def little_endian(dataset: Dataset) -> bool:
    """Whether a data set is encoded in little endian."""
    return bool(dataset.file_meta.TransferSyntaxUID.is_little_endian)
