"""What a file says of itself: whether it is synthetic, what made it, and whether this package wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from frerec.errors import ConfigError, InputError
from frerec.io.dicom.derivation import is_marked_synthetic, is_own_output
from frerec.io.dicom.files import read_dataset, refuse_malformed
from frerec.io.formats import InputFile
from frerec.io.naming import sidecar_path
from frerec.io.nifti.file import comments
from frerec.io.picture.writer import text_records
from frerec.io.provenance import SOFTWARE, Generator
from frerec.io.records import Source


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
    if source.kind.startswith("dicom"):
        return any(_says(file, is_marked_synthetic) for file in source.files), None
    for record in _records(source.files[0]):
        if record.get("synthetic") is True:
            return True, _generator(record.get("generator"))
    return False, None


def was_written_by_us(path: Path) -> bool:
    """Whether an existing file is an output of this package and may be replaced by a newer one.

    Returns:
        False for foreign files and for files that cannot be read.
    """
    try:
        file = InputFile.read(path)
        if file.kind == "dicom":
            return _says(file, is_own_output)
        return any(record.get("software") == SOFTWARE for record in _records(file))
    except (InputError, OSError, ValueError):
        return False


def _says(file: InputFile, mark: Callable[[Dataset], bool]) -> bool:
    header = read_dataset(file.path, file.stream(), with_pixels=False)
    with refuse_malformed(file.path, header):
        return mark(header)


def _records(file: InputFile) -> Iterator[dict[str, Any]]:
    texts = comments(file) if file.kind == "nifti" else text_records(file)
    beside = sidecar_path(file.path)
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
