"""Datalists: which images a workflow works on, with label, split and patient where known."""

from __future__ import annotations

import csv
import io
import json
import re
from os import PathLike
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError, InputError
from frerec.files import absolute
from frerec.io.formats import SUPPORTED
from frerec.io.listing import find_items, images_of


def read_datalist(
    datalist: str | PathLike[str], root: str | PathLike[str] | None = None, split: str | None = None
) -> list[dict[str, Any]]:
    """Read a datalist of images.

    Args:
        datalist: a CSV file with a header (commas, semicolons or tabs), or a JSON file holding a list of objects.
            ``image`` is needed; ``label``, ``split`` and ``patient`` are used where present; other columns are kept.
        root: folder that relative image paths start from; None or empty for the datalist's own folder.
        split: keep only rows of this split; None or empty for all.

    Returns:
        A list of the rows as dicts, ``image`` made absolute, in the order of the file, equal rows once.

    Raises:
        InputError: the file cannot be read, has a row without ``image``, names an image that does not exist, or one
            image in two different rows.
        ConfigError: no row belongs to ``split``.
    """
    path = Path(datalist)
    if not path.is_file():
        raise InputError(path, "no such datalist", "Give a CSV or JSON file with an image column")
    rows = _rows(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("image"), str) or not row["image"].strip():
            remedy = "Give each row an image column with a path, and a CSV file a header that names it"
            raise InputError(path, f"row {number} names no image", remedy)
    if split:
        known = sorted({str(row.get("split")) for row in rows})
        rows = [row for row in rows if str(row.get("split")) == str(split)]
        if not rows:
            raise ConfigError("split", split, f"{path} has no such row, only {', '.join(known)}", "Name one of those")
    base = Path(root) if root else path.parent
    result: dict[str, dict[str, Any]] = {}
    for row in rows:
        image = base / row["image"].strip()
        if "\0" in row["image"] or not image.exists():
            remedy = "Correct the path, or set the folder that the paths of the datalist start from"
            raise InputError(image, f"named in {path} but not there", remedy)
        full = {**row, "image": str(absolute(image))}
        if result.setdefault(full["image"], full) != full:
            raise InputError(image, f"named twice in {path}, with different values", "Keep one of the rows")
    return list(result.values())


def _rows(path: Path) -> list[Any]:
    """The rows of a datalist, whatever is in them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = json.loads(text)
        else:
            header = [name.strip().strip('"') for name in re.split("[,;\t]", text.partition("\n")[0])]
            # spreadsheets of many countries write semicolons
            separator = next((s for s in ",;\t" if s in text.partition("\n")[0]), ",") if "image" in header else ","
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
            rows = [{str(key).strip(): value for key, value in row.items() if key is not None} for row in reader]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error, RecursionError) as error:
        reason = f"not a readable datalist ({type(error).__name__})"
        raise InputError(path, reason, "Save it as UTF-8 CSV or JSON") from error
    if not isinstance(rows, list):
        raise InputError(path, "not a list of rows", "Write a list of objects, each with an image")
    if not rows:
        raise InputError(path, "it has no row", "Give each image a row with an image column")
    return rows


def find_images(
    folder: str | PathLike[str] | None,
    datalist: str | PathLike[str] | None = None,
    split: str | None = None,
    group_series: bool = False,
) -> list[dict[str, Any]]:
    """Images of a datalist where one is given, otherwise those below ``folder``.

    Args:
        folder: folder of images, listed by `frerec.io.listing`; or the root of the datalist's relative paths.
        datalist: CSV or JSON file; None or empty to list the folder.
        split: as in :func:`read_datalist`; ignored without a datalist.
        group_series: without a datalist, take the files of a DICOM series as one volume; False takes each by itself.

    Returns:
        With a datalist as :func:`read_datalist`; else, sorted by path, a list of ``{"image": absolute path, or the list
        of those of a series, "label": name of the first subfolder or None}``.

    Raises:
        ConfigError: neither is given.
        InputError: the folder does not exist or holds no image.
    """
    if datalist:
        return read_datalist(datalist, folder, split)
    if not folder:
        raise ConfigError("real_dir", folder, "neither a folder nor a datalist is given", "Set one of them")
    found = []
    for item in images_of(find_items(folder, group_series=group_series)):
        files = [str(path) for path in item.files]
        parts = (item.names or (item.path,))[0].split("/")
        found.append({"image": files if item.names else files[0], "label": parts[0] if len(parts) > 1 else None})
    if not found:
        raise InputError(folder, "no image in it", f"Point to a folder that holds images: {SUPPORTED}")
    return found


def files_below(datalist: str | PathLike[str], root: str | PathLike[str]) -> list[Path]:
    """The files of a datalist by their names below a folder.

    Args:
        datalist: CSV or JSON file; its relative paths start at ``root``.
        root: the folder. It may have several names; what counts is the one given here.

    Raises:
        InputError: the datalist cannot be read or names a file outside the folder.
    """
    root, paths = absolute(root), []
    for row in read_datalist(datalist, root):
        path = Path(row["image"])
        bases = ((path, root), (path, root.resolve()), (path.resolve(), root.resolve()))
        inside = next((name.relative_to(base) for name, base in bases if name.is_relative_to(base)), None)
        if inside is None:
            raise InputError(path, f"named in {datalist} but outside {root}", "Set dataset_dir to its folder")
        paths.append(root / inside)
    return paths
