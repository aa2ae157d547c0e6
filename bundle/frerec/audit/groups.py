"""Which images an audit looks at, in which group, and which input each recalibrated image was made from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from frerec.errors import ConfigError, InputError
from frerec.files import name_to_text

#: Groups of an audit, in the order they are read.
GROUPS = ("real", "synthetic", "recalibrated", "recalibrated_real", "shr", "training")

#: The group each derived group was made from.
MADE_FROM = {"recalibrated": "synthetic", "recalibrated_real": "real", "shr": "synthetic"}

#: Comparisons of an audit: name, what is judged, what it is judged against.
COMPARISONS = (
    ("before", "synthetic", "real"),
    ("after", "recalibrated", "recalibrated_real"),
    ("after_against_untouched_real", "recalibrated", "real"),
    ("change_of_real", "recalibrated_real", "real"),
)

#: What a comparison after recalibration stands for: which images a user would pass through FreRec.
USES = {"after": "all", "after_against_untouched_real": "synthetic only"}

Lister = Callable[..., list[dict[str, Any]]]
Folder = str | os.PathLike[str] | None


def relative_name(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    """Name of an image within its folder: relative path with forward slashes, without its endings, as UTF-8 text."""
    relative = Path(name_to_text(os.path.relpath(path, root)))
    stem = relative.name
    for suffix in (".gz", Path(stem.removesuffix(".gz")).suffix):
        stem = stem.removesuffix(suffix) if suffix else stem
    return relative.with_name(stem).as_posix()


def _tails(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


def pair_by_name(names: Iterable[str], sources: Iterable[str]) -> dict[str, str]:
    """Match images to the inputs they were made from by their relative names.

    Output folders mirror their input folder, but a datalist may name images from a folder further up or down;
    so the longest common tail of the path that is unique among the sources decides.

    Args:
        names: names of the derived images.
        sources: names of the inputs.

    Returns:
        Dict from derived name to source name; names without a partner are left out.
    """
    tails: dict[str, set[str]] = {}
    for source in sources:
        for tail in _tails(source):
            tails.setdefault(tail, set()).add(source)
    result = {}
    for name in names:
        found = next((tails[tail] for tail in _tails(name) if len(tails.get(tail, ())) == 1), None)
        if found:
            result[name] = next(iter(found))
    return result


def _rows(lister: Lister, group: str, folder: Folder, **where: Any) -> list[dict[str, Any]]:
    root = folder if folder else Path(where["datalist"]).parent
    rows = []
    for row in lister(folder or None, **where):
        files = [row["image"]] if isinstance(row["image"], str) else list(row["image"])
        rows.append(
            {
                "image": files[0],
                "files": files,
                "group": group,
                "name": relative_name(files[0], root),
                "label": row.get("label") or None,
                "patient": row.get("patient") or None,
            }
        )
    counts = Counter(row["name"] for row in rows)
    for row in rows:
        # two files that differ in their endings only stay apart by their full names
        if counts[row["name"]] > 1:
            row["name"] = Path(name_to_text(os.path.relpath(row["image"], root))).as_posix()
    return rows


def audit_items(
    lister: Lister,
    real_dir: Folder,
    synthetic_dir: Folder,
    recalibrated_dir: Folder = None,
    recalibrated_real_dir: Folder = None,
    shr_dir: Folder = None,
    training_dir: Folder = None,
    datalist: Folder = None,
    split: str | None = None,
    training_split: str | None = None,
) -> list[dict[str, Any]]:
    """List every image of an audit.

    Args:
        lister: finds images, called as ``lister(folder, datalist=..., split=...)`` and returning dicts with
            ``image`` and, where known, ``label`` and ``patient``; :func:`frerec.io.datalist.find_images`.
        real_dir: real images, or the root of the datalist's relative paths; None to audit against a bank only.
        synthetic_dir: generated images.
        recalibrated_dir: the recalibrated generated images, with the same relative names.
        recalibrated_real_dir: the recalibrated real images, with the same relative names.
        shr_dir: generated images after stage 1 only, for the picture strip.
        training_dir: real images the bank, the weights or the generator learnt from, for the copy check and the
            feature network.
        datalist: CSV or JSON of the real images (image, label, split, patient).
        split: rows of the datalist that are the real images of the audit.
        training_split: rows of the datalist that are the training images where ``training_dir`` is not given;
            none in the datalist is no error.

    Returns:
        A list of ``{"image", "files", "group", "name", "label", "patient", "reference"}``; ``image`` is the path, of a
        series that of its first file; ``reference`` is that of the input a derived image was made from, else None.
        Derived images without an input in the audit are left out.

    Raises:
        ConfigError: no synthetic folder is given.
        InputError: a folder does not exist or is empty, or holds no image that belongs to an input.
    """
    if not synthetic_dir:
        raise ConfigError("synthetic_dir", synthetic_dir, "no generated images are given", "Set it to their folder")
    groups: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    if real_dir or datalist:
        groups["real"] = _rows(lister, "real", real_dir, datalist=datalist, split=split)
    folders = {
        "synthetic": synthetic_dir,
        "recalibrated": recalibrated_dir,
        "recalibrated_real": recalibrated_real_dir if groups["real"] else None,
        "shr": shr_dir,
        "training": training_dir,
    }
    for group, folder in folders.items():
        if folder:
            groups[group] = _rows(lister, group, folder)
    if datalist and training_split and not training_dir:
        # a datalist of test images alone is fine: near copies are then not looked for, and the report says so
        with suppress(ConfigError):
            groups["training"] = _rows(lister, "training", real_dir, datalist=datalist, split=training_split)

    items: list[dict[str, Any]] = []
    for group, rows in groups.items():
        source = {row["name"]: row for row in groups[MADE_FROM[group]]} if group in MADE_FROM else {}
        pairs = pair_by_name((row["name"] for row in rows), source) if group in MADE_FROM else {}
        if rows and group in MADE_FROM and not pairs:
            raise InputError(
                folders[group] or "",
                f"none of its {len(rows)} images has the relative name of an image in the {MADE_FROM[group]} set",
                f"Set {group}_dir to the output folder of a run over exactly that set",
            )
        for row in rows:
            if group not in MADE_FROM:
                items.append({**row, "reference": None})
            elif row["name"] in pairs:
                partner = source[pairs[row["name"]]]
                inherited = {key: partner[key] for key in ("name", "label", "patient")}
                items.append({**row, **inherited, "reference": partner["image"], "reference_files": partner["files"]})
    return items
