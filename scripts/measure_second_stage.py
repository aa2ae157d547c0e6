"""The table of docs/README.md#performance: how well detectors still tell recalibrated from real images.

    python scripts/measure_second_stage.py --real_dir chest_xray --split test --synthetic_dir generated \
        --settings stages=1,strength=0.3,mask_ratio=0.25,transition=0 mask_ratio=0.1,transition=0.3

Each setting gives two rows: ``synthetic only`` compares recalibrated synthetic with untouched real images, ``all`` both
recalibrated. PSNR is that of recalibrated against untouched real images. Everything is rounded to 8 bits, as files are.
Images of another size are brought to ``--size`` by Lanczos. ``local`` are percentiles (1, 5, 25, 50, 75, 95, 99) of the
local standard deviation of fine detail in grey levels: of tiles of 32 pixels a side less their Gaussian blur (sigma 1).
One JSON line a row goes to ``--output``; rows that are there already are not computed again. The first images of both
sets are shown in ``<output>_<setting>.png``.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import frerec
from frerec.audit.detector import detect
from frerec.run.process import keep_freed_memory

Images = list[np.ndarray]


def read(folder: Path, datalist: Path | None, split: str | None, limit: int, size: int | None, channels: int) -> Images:
    """Up to ``limit`` images (C, H, W) uint8, evenly spaced over the list."""
    if datalist is not None:
        with datalist.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if split is None or row.get("split", split) == split]
        paths = [folder / row["image"] for row in rows]
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg", ".tif"))
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int)]
    images = []
    for path in chosen:
        image = Image.open(path).convert("L" if channels == 1 else "RGB")
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.LANCZOS)
        images.append(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1))
    return images


def psnr(a: Images, b: Images) -> float:
    errors = [np.mean((x.astype(float) - y) ** 2) for x, y in zip(a, b, strict=True)]
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3))))


def local_deviation(images: Images) -> list[float]:
    """Percentiles over all whole tiles of all channels."""
    found = []
    for channel in (channel.astype(np.float32) for image in images for channel in image):
        high = channel - gaussian_filter(channel, 1.0)
        rows, columns = (n // 32 for n in high.shape)
        tiles = high[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32)
        found.append(tiles.std(axis=(1, 3)).ravel())
    return [round(float(value), 2) for value in np.percentile(np.concatenate(found), [1, 5, 25, 50, 75, 95, 99])]


def strip(rows: Sequence[Images], path: Path, count: int) -> None:
    picture = np.concatenate([np.concatenate(row[:count], axis=2) for row in rows], axis=1).transpose(1, 2, 0)
    Image.fromarray(picture.squeeze(-1) if picture.shape[2] == 1 else picture).save(path)


def parse(text: str) -> dict[str, object]:
    pairs = (item.split("=") for item in text.split(",") if item)
    return {key: json.loads(value) if value[0] in "0123456789tfn." else value for key, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real_dir", type=Path, required=True)
    parser.add_argument("--datalist", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--synthetic_dir", type=Path, required=True)
    parser.add_argument("--synthetic_datalist", type=Path)
    parser.add_argument("--bank_path", type=Path)
    parser.add_argument("--weights_path", type=Path)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--size", type=int)
    parser.add_argument("--count", type=int, default=245)
    parser.add_argument("--cnn_steps", type=int, default=600)
    parser.add_argument("--strip", type=int, default=6, help="images shown of each set")
    parser.add_argument(
        "--settings", nargs="*", default=[""], help="key=value,... of frerec.Recalibrate, stages or evaluations"
    )
    parser.add_argument("--modes", nargs="*", default=["synthetic only", "all"])
    parser.add_argument("--output", type=Path, required=True, help="JSON lines")
    options = parser.parse_args()
    keep_freed_memory()
    datalist = options.datalist or options.real_dir / "manifest.csv"
    common = options.count, options.size, options.channels
    real = read(options.real_dir, datalist, options.split, *common)
    train = read(options.real_dir, datalist, "train", *common)
    synthetic = read(options.synthetic_dir, options.synthetic_datalist, None, *common)
    known = {}
    if options.output.exists():
        lines = map(json.loads, options.output.read_text().splitlines())
        known = {(row["setting"], row["compared"]): row for row in lines}

    def row(setting: str, compared: str, a: Images, b: Images, **more: Any) -> None:
        if (setting, compared) not in known:
            found = detect(b, a, cnn_steps=options.cnn_steps)
            figures = {name: round(interval.value, 3) for name, interval in found.items()}
            line = {"setting": setting, "compared": compared, **figures, **more}
            options.output.parent.mkdir(parents=True, exist_ok=True)
            with options.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
            known[setting, compared] = line
        print(json.dumps(known[setting, compared]), flush=True)

    row("-", "real train against real test", train, real, local=local_deviation(real))
    row("-", "untouched synthetic", synthetic, real, local=local_deviation(synthetic))
    paths = {"bank_path": options.bank_path, "weights_path": options.weights_path}
    for setting in options.settings:
        if all((setting, mode) in known for mode in options.modes):
            continue
        given = parse(setting)
        stages, evaluations = given.pop("stages", 2), given.pop("evaluations", None)
        recalibrate = frerec.Recalibrate.from_bundle(**paths, **given)
        if stages == 1:
            recalibrate.network = None
        elif evaluations:
            recalibrate.network.evaluations = evaluations
        start = time.process_time()
        better = recalibrate(synthetic)
        seconds = (time.process_time() - start) / len(synthetic)
        kept = recalibrate(real)
        more = {"psnr": round(psnr(kept, real), 2), "seconds": round(seconds, 3)}
        name = setting.replace("=", "_").replace(",", "__") or "default"
        picture = options.output.with_name(f"{options.output.stem}_{name}.png")
        strip([real, kept, synthetic, better], picture, options.strip)
        if "synthetic only" in options.modes:
            row(setting, "synthetic only", better, real, **more, local=local_deviation(better))
        if "all" in options.modes:
            row(setting, "all", better, kept, **more, local=local_deviation(kept))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
