"""Folders and files: there, readable, holding images; outputs writable and clear of the inputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.files import absolute
from frerec.io.datalist import read_datalist
from frerec.io.listing import is_side_file, look, walk

INPUT_FOLDERS = (
    "dataset_dir", "real_dir", "synthetic_dir", "recalibrated_dir", "recalibrated_real_dir", "shr_dir", "training_dir",
    "synthetic_shr_dir", "synthetic_rhm_dir", "synthetic_frerec_dir",
)  # fmt: skip

#: How many files that turn out to be no images are tried before a folder is said to hold none.
_PATIENCE = 1000


def check_folders(values: Mapping[str, Any], mirrors: bool = False) -> list[FreRecError]:
    """Check the input folders and the datalist.

    Args:
        values: settings by config id, outputs left out.
        mirrors: whether all images must lie below ``dataset_dir``.

    Returns:
        One error per problem.
    """
    problems: list[FreRecError] = []
    for key in INPUT_FOLDERS:
        if values.get(key):
            try:
                first_image(key, values[key])
            except FreRecError as error:
                problems.append(error)
            except OSError as error:
                problems.append(ConfigError(key, str(values[key]), f"{error.strerror}", "Check the path"))
    if problems:
        return problems
    problems += _check_datalist("datalist", values, values.get("real_dir") or values.get("dataset_dir"), mirrors)
    return problems + _check_datalist("synthetic_datalist", values, values.get("synthetic_dir"), False)


def _check_datalist(key: str, values: Mapping[str, Any], root: Any, mirrors: bool) -> list[FreRecError]:
    if not values.get(key):
        return []
    told = str(values[key])
    try:
        rows = read_datalist(values[key], root)
    except InputError as error:
        return [ConfigError(key, told, _inside(error), error.remedy)]
    if key == "datalist":
        known = sorted({str(row.get("split")) for row in rows})
        problems: list[FreRecError] = [
            ConfigError(name, values[name], f"{told} has no such row, only {', '.join(known)}", "Name one of those")
            for name in ("split", "train_split", "val_split")
            if values.get(name) and str(values[name]) not in known
        ]
        if problems:
            return problems
    outside = next((row["image"] for row in rows if not _is_below(row["image"], root)), None)
    if mirrors and outside is not None:
        reason = f"{outside} does not lie in dataset_dir, {root}"
        return [ConfigError(key, told, reason, "Set dataset_dir to a folder that holds all images")]
    return []


def _is_below(path: str, root: Any) -> bool:
    return root is None or Path(path).is_relative_to(Path(root).resolve())


def image_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The files of a folder that may be images, one by one, so that looking at the first does not list a whole archive.

    Args:
        folder: searched with its subfolders; hidden files and those that do not claim to be images are passed over.

    Yields:
        Files, those of a folder in order of name before those of its subfolders.
    """
    for path, problem in walk(absolute(folder)):
        if problem is None and not is_side_file(path):
            yield path


def first_image(key: str, folder: str | os.PathLike[str]) -> Path:
    """The first file of a folder that has the bytes of a known image format.

    Args:
        key: the folder's config id.
        folder: the folder.

    Raises:
        ConfigError: the folder is missing, unreadable, empty, or without images.
    """
    path = Path(folder)
    told = str(folder)
    if not path.exists():
        raise ConfigError(key, told, "no such folder", _nearest(path))
    if not path.is_dir():
        raise ConfigError(key, told, "a file, not a folder", "Give the folder it is in")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigError(key, told, "may not be read", "Check its permissions")
    count = 0
    for file in islice(image_files(path), _PATIENCE):
        if is_image(file):
            return file
        count += 1
    if count == _PATIENCE:
        reason = f"none of the first {count} files is a readable image"
    elif count:
        reason = f"none of its {count} files is a readable image"
    elif next(walk(absolute(path)), None) is not None:
        reason = "none of its files is an image"
    else:
        raise ConfigError(key, told, "the folder is empty", "Point to a folder that holds images")
    raise ConfigError(key, told, reason, "Point to a folder with DICOM, NIfTI, PNG, TIFF, JPEG or BMP files")


def is_image(file: Path) -> bool:
    """Whether a file has the bytes of a known image format; whatever else is wrong with it is the run's to tell."""
    return bool(look(absolute(file), whole=True).kind)


def check_outputs(outputs: Mapping[str, Any], values: Mapping[str, Any], mirrors: bool) -> list[FreRecError]:
    """Check that outputs can be written and do not fall into the inputs.

    Args:
        outputs: paths that will be written, by config id.
        values: all settings by config id.
        mirrors: whether ``output_dir`` becomes a mirror of ``dataset_dir``.

    Returns:
        One error per problem.
    """
    problems: list[FreRecError] = []
    for key, value in outputs.items():
        path, told = Path(value).absolute(), str(value)
        folder = path if key.endswith("_dir") else path.parent
        if folder.exists() and not folder.is_dir():
            problems.append(ConfigError(key, told, f"{folder} is a file, not a folder", "Choose another name"))
            continue
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not existing.is_dir():
            problems.append(ConfigError(key, told, f"{existing} is a file, not a folder", "Choose another place"))
        elif not os.access(existing, os.W_OK | os.X_OK):
            problems.append(ConfigError(key, told, f"{existing} may not be written to", "Choose another place"))
        elif not key.endswith("_dir") and path.is_dir():
            problems.append(ConfigError(key, told, "a folder, not a file", "Give the name of a file in it"))
        for name in INPUT_FOLDERS:
            if key.endswith("_dir") and values.get(name) and name not in outputs:
                problems += _check_overlap(key, folder, name, Path(values[name]).absolute(), mirrors)
    return problems


def _check_overlap(key: str, output: Path, name: str, source: Path, mirrors: bool) -> list[FreRecError]:
    output, source = output.resolve(), source.resolve()
    if output == source:
        reason = f"the same folder as {name}, whose files would be replaced"
    elif output.is_relative_to(source):
        reason = f"inside {name}, so the next run would take its outputs for inputs"
    elif mirrors and source.is_relative_to(output):
        reason = f"around {name}, among whose files outputs would be written"
    else:
        return []
    return [ConfigError(key, str(output), reason, f"Choose a folder apart from {name}")]


def _inside(error: InputError) -> str:
    return f"{error.path}: {error.reason}"


def _nearest(path: Path) -> str:
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    return f"Check the path: it exists only up to {parent}"
