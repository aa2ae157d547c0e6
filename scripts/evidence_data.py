"""What scripts/evidence.py does to data itself: datalists of some classes, and images at one size."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a datalist, ``image`` made absolute."""
    with path.open(newline="") as file:
        return [{**row, "image": str((path.parent / row["image"]).absolute())} for row in csv.DictReader(file)]


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a datalist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def keep_classes(source: Path, made: Path, classes: Collection[str], names: Mapping[str, str]) -> None:
    """Write a datalist with the rows of some classes; ``names`` says which label is called otherwise there."""
    rows = [{**row, "label": names.get(row["label"], row["label"])} for row in read_rows(source)]
    write_rows(made, [row for row in rows if row["label"] in classes])


def resize_images(source: Path, made: Path, size: Sequence[int], count: int | None = None) -> None:
    """Write the images of a datalist at one size, with the workflows' own filter, and datalists of them.

    Args:
        source: datalist; images of its validation split are left out.
        made: datalist to write, beside its images; that of the test split is ``test.csv`` there.
        size: height and width.
        count: at most so many images, evenly from the list; None for all.
    """
    import numpy as np
    from monai.transforms import Resize
    from PIL import Image

    rows = [row for row in read_rows(source) if row.get("split") != "val"]
    if count is not None and count < len(rows):
        rows = [rows[i * len(rows) // count] for i in range(count)]
    smaller = Resize(tuple(size), anti_aliasing=True)
    for row in rows:
        pixels = np.asarray(Image.open(row["image"]), dtype=np.float32)
        done = np.moveaxis(np.asarray(smaller(np.moveaxis(np.atleast_3d(pixels), 2, 0))), 0, 2)
        name = f"{row.get('split', 'synthetic')}/{row['label']}_{Path(row['image']).stem}.png"
        (made.parent / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(np.rint(done), 0, 255).astype(np.uint8).squeeze()).save(made.parent / name)
        row["image"] = name
    if any(row.get("split") == "test" for row in rows):
        write_rows(made.parent / "test.csv", [row for row in rows if row["split"] == "test"])
    write_rows(made, rows)
