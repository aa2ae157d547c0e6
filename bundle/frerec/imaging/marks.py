"""What an input says of itself: whether it is synthetic, what made it, and whether this package wrote it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from frerec.errors import ConfigError, InputError
from frerec.imaging.dicom_derivation import is_marked_synthetic, is_own_output
from frerec.imaging.naming import sidecar_path
from frerec.imaging.nifti_writer import comments
from frerec.imaging.picture_writer import text_records
from frerec.imaging.provenance import SOFTWARE, Generator
from frerec.imaging.source import Source


def declared_origin(source: Source) -> tuple[bool, Generator | None]:
    """Whether an input declares itself synthetic, and which generator it names.

    DICOM: Synthetic Data (0008,001C) = YES in any file. Others: ``"synthetic": true`` in the provenance that this
    package (its ``generate`` workflow included) leaves inside a file or in the JSON sidecar.

    Args:
        source: where the image came from.

    Returns:
        The declaration; False where there is none. The generator; None where none is named. (A DICOM input keeps its
        own Contributing Equipment, so its generator needs not be read.)
    """
    if source.format in ("dicom", "dicom-series"):
        files = [file["path"] for file in source.details.get("files", [])] or [source.path]
        return any(is_marked_synthetic(_header(Path(file))) for file in files), None
    for record in _records(Path(source.path), source.format):
        if record.get("synthetic") is True:
            return True, _generator(record.get("generator"))
    return False, None


def was_written_by_us(path: Path, kind: str) -> bool:
    """Whether an existing file is an output of this package and may be replaced by a newer one.

    Args:
        path: an existing file.
        kind: format that is about to be written there, as from `frerec.imaging.naming.output_kind`.

    Returns:
        False for foreign files and for files that cannot be read.
    """
    try:
        if kind in ("dicom", "dicom-series", "capture"):
            return is_own_output(_header(path))
        return any(record.get("software") == SOFTWARE for record in _records(path, kind))
    except (OSError, InvalidDicomError, ValueError, InputError):
        return False


def _header(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        # pydicom's own warnings quote values of the header, which may name a patient.
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _records(path: Path, kind: str) -> Iterable[dict[str, Any]]:
    texts = comments(path) if kind == "nifti" else text_records(path)
    beside = sidecar_path(path)
    if beside.is_file():
        texts.append(beside.read_text(encoding="utf-8", errors="replace"))
    for text in texts:
        try:
            record = json.loads(text.removeprefix(SOFTWARE))
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _generator(value: Any) -> Generator | None:
    try:
        return Generator.from_config(value if isinstance(value, dict) else None)
    except (ConfigError, TypeError):
        return None
