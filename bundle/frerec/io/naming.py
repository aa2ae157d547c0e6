"""Names of outputs: a mirror of the input folder that nothing in a header can lead elsewhere."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from frerec.errors import ConfigError, InputError
from frerec.io.records import Source

#: Values of ``output_format``.
OUTPUT_FORMATS = ("same", "dicom")

#: Written as PNG: a second lossy compression would touch the very frequencies that were recalibrated.
_AS_PNG = ("jpeg", "bmp")
PICTURES = ("png", "tiff", *_AS_PNG)
#: Endings that the output of an input of each kind may have; DICOM may have any.
ENDINGS = {"nifti": (".nii.gz", ".nii"), "tiff": (".tif", ".tiff"), **dict.fromkeys(("png", *_AS_PNG), (".png",))}

# Bytes that a name may have on the file systems in use.
_LONGEST_NAME = 255


def output_kind(source: Source, output_format: str = "same") -> str:
    """Format in which an image is written.

    Args:
        source: where the image came from.
        output_format: ``"same"``, or ``"dicom"`` to write pictures as DICOM Secondary Capture.

    Returns:
        ``"dicom"``, ``"dicom-series"``, ``"nifti"``, ``"png"`` or ``"tiff"``; ``"capture"`` for a picture as DICOM.

    Raises:
        ConfigError: for an unknown format, or one that the source cannot be written in.
    """
    if output_format not in OUTPUT_FORMATS:
        raise ConfigError("output_format", output_format, "unknown format", f"Use one of {', '.join(OUTPUT_FORMATS)}")
    if output_format == "dicom" and source.kind == "nifti":
        reason = f"{source.relative_path} is a NIfTI image, which states no patient and study to make DICOM from"
        raise ConfigError("output_format", output_format, reason, "Use same for NIfTI inputs")
    if output_format == "dicom" and source.kind in PICTURES:
        return "capture"
    return "png" if source.kind in _AS_PNG else source.kind


def output_path(
    source: Source, file: str | os.PathLike[str], output_dir: str | os.PathLike[str], output_format: str = "same"
) -> Path:
    """Where the output for one input file goes: the input's relative path below the output folder.

    Only the path under which the input was found decides, never a header. A picture whose format changes takes the
    new ending (``a.jpg`` gives ``a.png``); if the input folder holds another picture of the same stem, the new ending
    is added (``a.jpg.png``), so that no output overwrites another.

    Args:
        source: where the image came from.
        file: the input file; for a series one of its files.
        output_dir: the output folder.
        output_format: as in `output_kind`.

    Returns:
        An absolute path below ``output_dir``.

    Raises:
        InputError: if the path would leave the output folder or would be an input file itself.
        ConfigError: as in `output_kind`.
    """
    relative = PurePosixPath(source.relative_path)
    if source.kind == "dicom-series":
        relative = relative / PurePosixPath(os.path.relpath(file, source.path).replace(os.sep, "/"))
    if relative.is_absolute() or ".." in relative.parts or not relative.name:
        raise InputError(file, "its path leads out of the output folder", "Give inputs that lie in the input folder")
    kind = output_kind(source, output_format)
    ending = {"capture": ".dcm", "png": ".png"}.get(kind)
    if ending and source.kind != kind:
        relative = _with_ending(relative, Path(file), ending)
    root = Path(output_dir).resolve()
    target = (root / relative).resolve()
    if not target.is_relative_to(root):
        remedy = "Remove the link or choose another output_dir"
        raise InputError(file, "a link in the output folder leads out of it", remedy)
    if target.exists() and target.samefile(file):
        raise InputError(file, "its output would overwrite it", "Choose another output_dir")
    return target


def _with_ending(relative: PurePosixPath, file: Path, ending: str) -> PurePosixPath:
    short = relative.with_suffix(ending)
    if short == relative:
        return relative
    others = (path for path in file.parent.glob("*") if path.name != file.name)
    clash = any(path.stem == file.stem and path.is_file() for path in others)
    return relative.with_name(_joined(relative.name, ending)) if clash else short


def sidecar_path(output: Path) -> Path:
    """The JSON file beside an output: its full name and ``.json``; of a name that leaves no room for it, its start."""
    return output.with_name(_joined(output.name, ".json"))


def _joined(name: str, ending: str) -> str:
    """A name with a further ending, shortened to what file systems take, and then with a part of its checksum."""
    whole = os.fsencode(name)
    if len(whole) + len(ending) <= _LONGEST_NAME:
        return name + ending
    ending = f"~{hashlib.sha256(whole).hexdigest()[:8]}{ending}"
    # a character cut in two at the end is left out whole
    room = _LONGEST_NAME - len(ending)
    while not name.startswith(short := os.fsdecode(whole[:room])):
        room -= 1
    return short + ending
