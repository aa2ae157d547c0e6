"""Folders and files: there, readable, holding images; outputs writable and clear of the inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.imaging.datalist import read_datalist
from frerec.imaging.formats import detect_format
from frerec.workflow.items import FolderItem, find_items

INPUT_FOLDERS = ("dataset_dir", "real_dir", "synthetic_dir", "recalibrated_dir")

#: How many files that turn out to be no images are tried before a folder is said to hold none.
_PATIENCE = 1000


def check_folders(values: Mapping[str, Any]) -> list[FreRecError]:
    """Check the input folders and the datalist.

    Args:
        values: settings by config id, outputs left out.

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
    if values.get("datalist"):
        root = values.get("real_dir") or values.get("dataset_dir")
        try:
            read_datalist(values["datalist"], root, values.get("split"))
        except InputError as error:
            problems.append(ConfigError("datalist", str(values["datalist"]), _inside(error), error.remedy))
        except ConfigError as error:
            problems.append(error)
    return problems


def first_image(key: str, folder: str | os.PathLike[str]) -> FolderItem:
    """The first item of a folder that has the bytes of a known image format.

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
    items = find_items(path)
    if not items:
        raise ConfigError(key, told, "the folder is empty", "Point to a folder that holds images")
    for item in islice((item for item in items if not item.is_side_file), _PATIENCE):
        try:
            detect_format(Path(item.files[0]))
        except InputError:
            continue
        return item
    raise ConfigError(
        key, told, f"none of its {len(items)} files is a readable image",
        "Point to a folder with DICOM, NIfTI, PNG, TIFF, JPEG or BMP files",
    )  # fmt: skip


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
        if not os.access(existing, os.W_OK | os.X_OK):
            problems.append(ConfigError(key, told, f"{existing} may not be written to", "Choose another place"))
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
