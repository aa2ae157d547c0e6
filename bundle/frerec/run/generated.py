"""A folder of generated pictures with its datalist: resumable, and every picture marked synthetic."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from frerec import __version__
from frerec.errors import ConfigError
from frerec.files import atomic_write, file_sha256
from frerec.io.picture.writer import png_bytes
from frerec.io.provenance import SOFTWARE, Generator

DATALIST = "datalist.csv"


class Sampler(Protocol):
    """What is asked of a generator: images from class indices and one seed each."""

    class_names: list[str]

    def sample(self, labels: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
        """Return float images (N, C, H, W) in [0, 1]."""
        ...


class GeneratedSet:
    """Write a set of generated images as 8 bit PNG, in turn of the classes, with a datalist.

    Image ``i`` depends on ``seed``, ``i`` and the weights alone, so a longer set begins with the shorter one and an
    interrupted run goes on where it was. Each file says in a text chunk that it is synthetic and what made it.

    Args:
        generator: the sampler, in evaluation mode.
        output_dir: folder of the set; images go to a subfolder per class.
        weights_path: file of the generator's weights, for their checksum.
        count: number of images.
        seed: seed of the set.
        classes: names of the classes to generate; None for all of the generator's.
        overwrite: generate again what is there.

    Raises:
        ConfigError: ``count`` is below 1, or a class is unknown.
    """

    def __init__(
        self,
        generator: Sampler,
        output_dir: str | PathLike[str],
        weights_path: str | PathLike[str],
        count: int = 100,
        seed: int = 0,
        classes: Iterable[str] | None = None,
        overwrite: bool = False,
    ) -> None:
        if int(count) != count or count < 1:
            raise ConfigError("count", count, "not a number of images", "Use a whole number from 1 on")
        self.classes = list(generator.class_names if classes is None else classes)
        unknown = sorted(set(self.classes) - set(generator.class_names))
        if unknown or not self.classes:
            known = ", ".join(generator.class_names)
            raise ConfigError("classes", self.classes, f"the generator knows {known}", "Name some of those")
        self.generator, self.output_dir = generator, Path(output_dir)
        self.count, self.seed, self.overwrite = int(count), seed, overwrite
        self.checksum = file_sha256(weights_path)

    def rows(self) -> list[dict[str, str]]:
        """The datalist: image (relative path), label, index, seed, generator (checksum of the weights), split."""
        rows = []
        for i in range(self.count):
            label = self.classes[i % len(self.classes)]
            seed = hashlib.blake2b(f"{self.seed}/{i}".encode(), digest_size=7).digest()
            rows.append(
                {
                    "image": f"{label}/{label}_{i:06d}.png",
                    "label": label,
                    "index": str(i),
                    "seed": str(int.from_bytes(seed, "little")),
                    "generator": str(self.checksum),
                    "split": "synthetic",
                }
            )
        return rows

    def run(self) -> int:
        """Generate what is missing and write the datalist.

        Returns:
            How many images were generated; those already there by the same seed and weights are kept.
        """
        rows = self.rows()
        missing = [row for row in rows if self.overwrite or not self._is_there(row)]
        with tqdm(total=len(rows), initial=len(rows) - len(missing), desc="Generating", unit="image") as progress:
            for row in missing:
                label = self.generator.class_names.index(row["label"])
                self._write(row, self.generator.sample([label], [int(row["seed"])])[0])
                progress.update()
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_write(self.output_dir / DATALIST) as file:
            file.write(text.getvalue().encode())
        kept = len(rows) - len(missing)
        print(f"{len(missing)} images generated, {kept} kept, in {self.output_dir}; datalist: {DATALIST}", flush=True)
        return len(missing)

    def _record(self, row: dict[str, str]) -> dict[str, object]:
        made_by = Generator(manufacturer=SOFTWARE, model=type(self.generator).__name__, version=str(self.checksum)[:16])
        return {
            "software": SOFTWARE,
            "version": __version__,
            "purpose": "generation",
            "synthetic": True,
            "generator": asdict(made_by),
            "label": row["label"],
            "seed": row["seed"],
            "weights_sha256": self.checksum,
        }

    def _write(self, row: dict[str, str], image: torch.Tensor) -> None:
        pixels = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        path = self.output_dir / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(png_bytes(np.ascontiguousarray(pixels), self._record(row)))

    def _is_there(self, row: dict[str, str]) -> bool:
        try:
            with Image.open(self.output_dir / row["image"]) as picture:
                texts = [value for value in picture.info.values() if isinstance(value, str)]
        except (OSError, ValueError):
            return False
        return any(f'"seed":{json.dumps(row["seed"])}' in t.replace(" ", "") and str(self.checksum) in t for t in texts)
