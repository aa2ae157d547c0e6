"""Make everything that docs/evidence.md reports: generators, banks, networks, sweeps, audits and studies.

Each step is one command of this bundle. The script prints it and runs it, unless what it makes is there, so that it can
be stopped and started again at any time.

    python scripts/evidence.py --data <folder with chest_xray/, brain_mri/, fundus/> --output evidence --list
    python scripts/evidence.py --data <folder> --output evidence --steps generators banks networks --sets fundus

Every set is a folder with a manifest.csv (image, label, split and, where known, patient) as the workflows read it.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZE = "[128, 128]"
ARMS = ("RAW", "GDA", "GDA+FreRec", "GDA+FreRec all")
GENERATORS = ("latent_flow", "pixel_diffusion")
STEPS = ("generators", "synthetic", "banks", "networks", "sweeps", "recalibrated", "audits", "studies")


@dataclass(frozen=True)
class Set:
    """What differs between the data sets.

    Args:
        classes: names of the labels.
        channels: 1 or 3.
        count: generated images.
        autoencoder_epochs: of the latent flow.
        flow_epochs: of the latent flow.
        diffusion_epochs: of the pixel diffusion.
        epochs: of the network.
        start: set whose network the training starts from, none for scratch.
    """

    classes: tuple[str, ...]
    channels: int
    count: int
    autoencoder_epochs: int
    flow_epochs: int
    diffusion_epochs: int
    epochs: int
    start: str | None = None


SETS = {
    "chest_xray": Set(("no_finding", "pneumonia"), 1, 620, 20, 120, 18, 8),
    "fundus": Set(("non_referable", "referable"), 3, 400, 24, 160, 20, 4, "fundus256"),
    "brain_mri": Set(("glioma", "meningioma", "pituitary"), 1, 880, 10, 60, 7, 4, "chest_xray"),
}

#: The training that the evidence was made with.
PAPER = "train+train_paper"

Step = tuple[Path, list[str]]


class Evidence:
    """The commands, in the order they can be run.

    Args:
        data: folder with the sets.
        output: folder for everything made.
        kinds: kinds of generator to work with.
    """

    def __init__(self, data: Path, output: Path, kinds: Sequence[str] = GENERATORS) -> None:
        self.data, self.output, self.kinds = data, output, kinds

    def bundle(self, config: str, **settings: object) -> list[str]:
        """A workflow, or one and what lies over it joined by a plus, with settings."""
        files = [str(ROOT / "configs" / f"{name}.json") for name in config.split("+")]
        file = files[0] if len(files) == 1 else str(files)
        words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", file]
        return words + [word for key, value in settings.items() for word in (f"--{key}", str(value))]

    def generators(self, name: str) -> Iterator[Step]:
        """Train both generators on the training split."""
        s, folder = SETS[name], self.data / name
        shared = {
            "real_dir": folder, "datalist": folder / "manifest.csv", "image_size": SIZE,
            "class_names": list(s.classes), "channels": s.channels,
        }  # fmt: skip
        made = self.output / "generators" / name
        epochs = {"autoencoder_epochs": s.autoencoder_epochs, "max_epochs": s.flow_epochs}
        flow = self.bundle("train_generator", output_dir=made / "latent_flow", **shared, **epochs)
        yield made / "latent_flow" / "generator.pt", flow
        out = made / "pixel_diffusion"
        yield (
            out / "generator.pt",
            self.bundle("train_diffusion", output_dir=out, max_epochs=s.diffusion_epochs, **shared),
        )

    def synthetic(self, name: str) -> Iterator[Step]:
        """Draw the synthetic sets."""
        s = SETS[name]
        for generator in self.kinds:
            out = self.output / "synthetic" / name / generator
            yield out / "datalist.csv", self.bundle(
                "generate", output_dir=out, generator_type=generator, image_size=SIZE, class_names=list(s.classes),
                channels=s.channels, count=s.count, steps={"latent_flow": 25, "pixel_diffusion": 12}[generator],
                weights_path=self.output / "generators" / name / generator / "generator.pt",
            )  # fmt: skip

    def banks(self, name: str) -> Iterator[Step]:
        """Build the reference bank of the training split; for fundus also at full size."""
        folder = self.data / name
        for suffix, size in (("", SIZE), ("256", "[256, 256]"))[: 1 + (SETS[name].start == f"{name}256")]:
            out = self.output / "banks" / f"{name}{suffix}.safetensors"
            yield out, self.bundle(
                "build_bank", real_dir=folder, datalist=folder / "manifest.csv", channels=SETS[name].channels,
                image_size=size, bank_path=out,
            )  # fmt: skip

    def networks(self, name: str) -> Iterator[Step]:
        """Train the small size of the paper's network on the training split."""
        s, folder, made = SETS[name], self.data / name, self.output / "networks"
        shared = {"dataset_dir": folder, "datalist": folder / "manifest.csv", "channels": s.channels, "preset": "small"}
        small = {**shared, "image_size": SIZE, "bank_path": self.output / "banks" / f"{name}.safetensors"}
        if s.start == f"{name}256":
            yield made / s.start / "model.pt", self.bundle(
                PAPER, output_dir=made / s.start, max_epochs=12,
                bank_path=self.output / "banks" / f"{s.start}.safetensors", val_interval=4, **shared,
            )  # fmt: skip
        initial = {"initial_weights_path": made / s.start / "model.pt"} if s.start else {}
        interval = {"max_epochs": s.epochs, "val_interval": max(2, s.epochs // 2)}
        yield made / name / "model.pt", self.bundle(PAPER, output_dir=made / name, **small, **interval, **initial)
        if name == "chest_xray":
            without = made / f"{name}_without_fesa"
            left_out = {"network_def#fesa": False}
            yield without / "model.pt", self.bundle(PAPER, output_dir=without, **left_out, **small, **interval)
            for loss, pixel, weight in (("none", "l1", 0.0), ("complex", "mse", 1.0), ("log_amplitude", "l1", 0.01)):
                out = made / f"{name}_{loss}"
                yield out / "model.pt", self.bundle(
                    PAPER, output_dir=out, pixel_loss=pixel, spectral_loss=loss, spectral_weight=weight, max_epochs=1,
                    val_interval=1, initial_weights_path=made / name / "model.pt", **small,
                )  # fmt: skip

    def sweeps(self, name: str) -> Iterator[Step]:
        """Measure alignment and fidelity over the settings."""
        folder, made = self.data / name, self.output / "networks"
        own = f"own={made / name / 'model.pt'}"
        for generator in self.kinds:
            plans = {"strength": ["--strengths", "0.1", "0.3", "0.7", "1.0"]}
            if name == "chest_xray" and generator == "latent_flow":
                plans["mask_ratio"] = ["--strengths", "0.3", "--mask_ratios", "0.05", "0.1", "0.5"]
                plans["bands"] = ["--strengths", "0.3", "--bands", "1", "4", "16"]
                path = {o: f"{o}={made / f'{name}_{o}' / 'model.pt'}" for o in ("none", "complex", "log_amplitude")}
                plans["loss"] = ["--strengths", "0.3", "--weights", *path.values()]
                without = f"without_fesa={made / f'{name}_without_fesa' / 'model.pt'}"
                plans["weights"] = ["--strengths", "0.3", "--weights", without]
            for plan, words in plans.items():
                out = self.output / "sweeps" / name / generator / plan
                weights = [] if "--weights" in words else ["--weights", own]
                yield out / "sweep.json", [
                    sys.executable, str(ROOT / "scripts" / "sweep_settings.py"), "--datalist",
                    str(folder / "manifest.csv"), "--synthetic_dir",
                    str(self.output / "synthetic" / name / generator), "--bank",
                    str(self.output / "banks" / f"{name}.safetensors"), "--channels", str(SETS[name].channels),
                    "--image_size", "128", "128", "--limit", "100", "--output", str(out), *weights, *words,
                ]  # fmt: skip

    def recalibrated(self, name: str) -> Iterator[Step]:
        """Recalibrate the real test split and the first of each synthetic set, for the audits."""
        shown = self.output / "shown" / name
        yield shown / "real" / "manifest.csv", [sys.executable, __file__, "--resize", str(self.data / name), str(shown)]
        shared = {
            "bank_path": self.output / "banks" / f"{name}.safetensors", "channels": SETS[name].channels,
            "weights_path": self.output / "networks" / name / "model.pt",
        }  # fmt: skip
        for part in ("real", *self.kinds):
            if part != "real":
                synthetic = self.output / "synthetic" / name / part
                yield (
                    shown / part / "datalist.csv",
                    [sys.executable, __file__, "--take", str(synthetic), str(shown / part)],
                )
            chosen = {"datalist": shown / "real" / "test.csv"} if part == "real" else {}
            out = shown / f"{part}_recalibrated"
            yield (
                out / "manifest.csv",
                self.bundle("inference", dataset_dir=shown / part, output_dir=out, **chosen, **shared),
            )

    def audits(self, name: str) -> Iterator[Step]:
        """Audit each synthetic set before and after."""
        shown = self.output / "shown" / name
        for generator in self.kinds:
            out = self.output / "audits" / name / generator
            yield out / "metrics.json", self.bundle(
                "evaluate", real_dir=shown / "real", datalist=shown / "real" / "manifest.csv",
                synthetic_dir=shown / generator, output_dir=out,
                recalibrated_dir=shown / f"{generator}_recalibrated", recalibrated_real_dir=shown / "real_recalibrated",
                bank_path=self.output / "banks" / f"{name}.safetensors", channels=SETS[name].channels,
            )  # fmt: skip

    def studies(self, name: str) -> Iterator[Step]:
        """Train the classifiers of every arm."""
        folder = self.data / name
        for generator in self.kinds:
            out = self.output / "studies" / name / generator
            stages = ("GDA+SHR", "GDA+RHM") if (name, generator) == ("chest_xray", "latent_flow") else ()
            yield out / "metrics.json", self.bundle(
                "study", datalist=folder / "manifest.csv", synthetic_dir=self.output / "synthetic" / name / generator,
                bank_path=self.output / "banks" / f"{name}.safetensors", channels=SETS[name].channels,
                weights_path=self.output / "networks" / name / "model.pt", output_dir=out, arm_names=[*ARMS, *stages],
                label_fractions=[1.0, 0.25, 0.1], synthetic_ratio=[1, 4, 10],
                max_steps=200,
            )  # fmt: skip


def resize(data: Path, output: Path) -> None:
    """Write training and test images at the size of the study, with the workflows' own filter, and datalists."""
    import numpy as np
    from monai.transforms import Resize
    from PIL import Image

    with (data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "test")]
    smaller = Resize((128, 128), anti_aliasing=True)
    for row in rows:
        pixels = np.asarray(Image.open(data / row["image"]), dtype=np.float32)
        channels_first = np.moveaxis(np.atleast_3d(pixels), 2, 0)
        done = np.moveaxis(np.asarray(smaller(channels_first)), 0, 2)
        row["image"] = f"{row['split']}/{row['label']}_{Path(row['image']).stem}.png"
        path = output / "real" / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(np.rint(done), 0, 255).astype(np.uint8).squeeze()).save(path)
    write(output / "real" / "test.csv", [row for row in rows if row["split"] == "test"])
    write(output / "real" / "manifest.csv", rows)


def take(source: Path, output: Path, count: int = 240) -> None:
    """Copy the first images of a generated set and their rows of the datalist."""
    with (source / "datalist.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:count]
    for row in rows:
        (output / row["image"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / row["image"], output / row["image"])
    write(output / "datalist.csv", rows)


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a datalist."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Parse the command line and do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the sets")
    parser.add_argument("--output", type=Path, default=Path("evidence"), help="folder for everything made")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--kinds", nargs="+", default=list(GENERATORS), choices=GENERATORS, help="of generator")
    parser.add_argument("--list", action="store_true", help="print the commands and whether they are done; run nothing")
    parser.add_argument("--resize", type=Path, nargs=2, metavar=("SET", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--take", type=Path, nargs=2, metavar=("FROM", "TO"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.resize or args.take:
        resize(*args.resize) if args.resize else take(*args.take)
        return
    if args.data is None:
        parser.error("--data is needed: the folder with chest_xray/, brain_mri/ and fundus/")
    evidence = Evidence(args.data.absolute(), args.output.absolute(), args.kinds)
    for step in args.steps:
        for name in args.sets:
            for made, command in getattr(evidence, step)(name):
                # A file of its own: weights and reports appear before the step that makes them has finished.
                finished = evidence.output / "finished" / "__".join(made.relative_to(evidence.output).parts)
                print(f"[{'done' if finished.exists() else 'to do'}] {shlex.join(command)}", flush=True)
                if not args.list and not finished.exists():
                    made.parent.mkdir(parents=True, exist_ok=True)
                    subprocess.run(command, check=True)
                    finished.parent.mkdir(parents=True, exist_ok=True)
                    finished.touch()


if __name__ == "__main__":
    main()
