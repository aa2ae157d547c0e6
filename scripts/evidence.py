"""Make everything that docs/evidence.md reports, from data to figures.

    python scripts/evidence.py --data <folder with the sets> --output evidence

A step is a command of this bundle or a few lines here. The script prints it and does it, unless that was done before
with the same words, so it can be stopped and started again at any time. ``--list`` prints and does nothing.

What is made is described in scripts/evidence.json: the sets with their classes, the classes to make rare, generators
and epochs, the shares and seeds of the rare-class runs, fixed settings to hold a recommendation against, and further
settings of ``tune`` and ``inference``. A set is a folder with a manifest.csv (image, label, split and, where known,
patient); one that came with ``outside`` images has a synthetic.csv (image, label) too, and one with ``real`` takes its
real images from that set.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evidence_data import keep_classes, resize_images

ROOT = Path(__file__).resolve().parents[1]
#: In the order they can be done; those of the second line once for all sets.
OF_A_SET = ("lists", "generators", "synthetic", "banks", "networks", "recalibrated", "audits", "tunings")
OF_ALL = ("runs", "settings", "figures")
#: Overrides of inference.json that a cell of the rare-class runs takes for its recalibration.
METHOD = ("strength", "mask_ratio", "transition", "use_network")


@dataclass(frozen=True)
class Step:
    """One thing to make.

    Args:
        made: what it makes; names the note that it was done.
        work: words of a command, or a function.
        resumes: it goes on by itself where it was, so it is always done again.
    """

    made: Path
    work: list[str] | Callable[[], None]
    resumes: bool = False

    @property
    def words(self) -> str:
        """What is done, in a line."""
        if isinstance(self.work, list):
            return shlex.join(self.work)
        return f"write {self.made} from {', '.join(map(str, getattr(self.work, 'args', ['the above'])))}"


class Evidence:
    """The steps.

    Args:
        data: folder with the sets.
        output: folder for everything made.
        plan: evidence.json, or another of its kind.
        figures: folder for the figures.
    """

    def __init__(self, data: Path, output: Path, plan: Path, figures: Path) -> None:
        self.data, self.output, self.plan_file, self.figure_folder = data, output, plan, figures
        self.plan: dict[str, Any] = json.loads(plan.read_text())
        self.side = [self.plan["image_size"]] * 2

    def command(self, config: str, **settings: object) -> list[str]:
        """A workflow with settings."""
        words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(ROOT / "configs" / f"{config}.json")]
        return words + [word for key, value in settings.items() for word in (f"--{key}", str(value))]

    def sources(self, name: str) -> list[str]:
        """Where the generated images of a set come from."""
        outside = self.plan["sets"][name].get("outside")
        return [outside] if outside else list(self.plan["generators"])

    def real(self, name: str) -> Path:
        """Datalist of the real images, of the classes of the set."""
        return self.output / "lists" / f"{name}.csv"

    def generated(self, name: str, source: str) -> Path:
        """Datalist of the generated images."""
        outside = self.output / "lists" / f"{name}_{source}.csv"
        made = self.output / "synthetic" / name / source / "datalist.csv"
        return outside if "outside" in self.plan["sets"][name] else made

    def models(self, name: str) -> tuple[Path, Path]:
        """Bank and weights for a set, which one with the same real images may have made."""
        owner = self.plan["sets"][name].get("real", name)
        return self.output / "banks" / f"{owner}.safetensors", self.output / "networks" / owner / "model.pt"

    def lists(self, name: str) -> Iterator[Step]:
        """Datalists of absolute paths, of the classes that are wanted."""
        s = self.plan["sets"][name]
        pairs = [(self.data / s.get("real", name) / "manifest.csv", self.real(name))]
        if "outside" in s:
            pairs.append((self.data / name / "synthetic.csv", self.generated(name, s["outside"])))
        for source, made in pairs:
            yield Step(made, partial(keep_classes, source, made, s["classes"], s.get("rename", {})))

    def generators(self, name: str) -> Iterator[Step]:
        """Train the generators on the training split."""
        s = self.plan["sets"][name]
        shared = {
            "real_dir": self.data / name, "datalist": self.real(name), "image_size": self.side,
            "class_names": s["classes"], "channels": s["channels"],
        }  # fmt: skip
        epochs = {
            "latent_flow": ("train_generator", {"autoencoder_epochs": s.get("autoencoder_epochs"),
                                                "max_epochs": s.get("flow_epochs")}),
            "pixel_diffusion": ("train_diffusion", {"max_epochs": s.get("diffusion_epochs")}),
        }  # fmt: skip
        for kind in () if "outside" in s else self.plan["generators"]:
            out, (config, given) = self.output / "generators" / name / kind, epochs[kind]
            yield Step(out / "generator.pt", self.command(config, output_dir=out, **given, **shared))

    def synthetic(self, name: str) -> Iterator[Step]:
        """Draw the generated sets."""
        s = self.plan["sets"][name]
        for kind in () if "outside" in s else self.plan["generators"]:
            out = self.output / "synthetic" / name / kind
            yield Step(out / "datalist.csv", self.command(
                "generate", output_dir=out, generator_type=kind, image_size=self.side, class_names=s["classes"],
                channels=s["channels"], count=s["count"], steps={"latent_flow": 25, "pixel_diffusion": 12}[kind],
                weights_path=self.output / "generators" / name / kind / "generator.pt",
            ))  # fmt: skip

    def banks(self, name: str) -> Iterator[Step]:
        """Build the reference bank of the training split."""
        bank, _ = self.models(name)
        if "real" not in self.plan["sets"][name]:
            yield Step(bank, self.command(
                "build_bank", real_dir=self.data / name, datalist=self.real(name), image_size=self.side,
                channels=self.plan["sets"][name]["channels"], bank_path=bank, overwrite=True,
            ))  # fmt: skip

    def networks(self, name: str) -> Iterator[Step]:
        """Train the restoration network on the training split."""
        s, (bank, weights) = self.plan["sets"][name], self.models(name)
        if "real" not in s:
            yield Step(weights, self.command(
                "train", datalist=self.real(name), dataset_dir=self.data / name, bank_path=bank,
                output_dir=weights.parent, image_size=self.side, crop_size=self.side, channels=s["channels"],
                max_epochs=s["epochs"], val_interval=max(1, s["epochs"] // 2),
            ))  # fmt: skip

    def recalibrated(self, name: str) -> Iterator[Step]:
        """Recalibrate the real test split and some of each generated set, for the audits."""
        shown, (bank, weights) = self.output / "shown" / name, self.models(name)
        shared = {"bank_path": bank, "weights_path": weights, "channels": self.plan["sets"][name]["channels"]}
        shared |= self.plan.get("inference", {})
        parts = self.sources(name)
        if "real" not in self.plan["sets"][name]:
            real = shown / "real" / "manifest.csv"
            yield Step(real, partial(resize_images, self.real(name), real, self.side))
            parts = ["real", *parts]
        for source in self.sources(name):
            made = shown / source / "manifest.csv"
            yield Step(made, partial(resize_images, self.generated(name, source), made, self.side, self.plan["shown"]))
        for part in parts:
            chosen = {"datalist": shown / "real" / "test.csv"} if part == "real" else {}
            out = shown / f"{part}_recalibrated"
            command = self.command("inference", dataset_dir=shown / part, output_dir=out, **chosen, **shared)
            yield Step(out / "manifest.jsonl", command)

    def audits(self, name: str) -> Iterator[Step]:
        """Audit each generated set before and after."""
        s, shown, (bank, _) = self.plan["sets"][name], self.output / "shown", self.models(name)
        real = shown / s.get("real", name)
        for source in self.sources(name):
            out = self.output / "audits" / name / source
            yield Step(out / "metrics.json", self.command(
                "evaluate", real_dir=real / "real", datalist=real / "real" / "manifest.csv", output_dir=out,
                synthetic_dir=shown / name / source, recalibrated_dir=shown / name / f"{source}_recalibrated",
                recalibrated_real_dir=real / "real_recalibrated", bank_path=bank, cnn_steps=self.plan["cnn_steps"],
                channels=s["channels"],
            ))  # fmt: skip

    def tunings(self, name: str) -> Iterator[Step]:
        """Ask for a recommendation for each class that is made rare."""
        s, (bank, weights) = self.plan["sets"][name], self.models(name)
        for cell in self.cells(name):
            out = self.tuned(cell)
            yield Step(out / "metrics.json", self.command(
                "tune", datalist=self.real(name), synthetic_datalist=self.generated(name, cell["generator"]),
                output_dir=out, bank_path=bank, weights_path=weights, channels=s["channels"], image_size=self.side,
                rare_class=cell["rare_class"], fill=s.get("fill", "balance"), max_steps=self.plan["max_steps"],
                **self.plan["tune"],
            ))  # fmt: skip

    def tuned(self, cell: dict[str, Any]) -> Path:
        """Folder of the recommendation for a cell."""
        return self.output / "tuned" / cell["set"] / cell["generator"] / cell["rare_class"]

    def cells(self, name: str) -> list[dict[str, Any]]:
        """Cells of the rare-class runs, as scripts/measure_rare_class.py takes them."""
        s, (bank, weights) = self.plan["sets"][name], self.models(name)
        shared = {"set": name, "datalist": str(self.real(name)), "channels": s["channels"], "bank_path": str(bank),
                  "weights_path": str(weights), "fill": s.get("fill", "balance")}  # fmt: skip
        return [
            {**shared, "generator": source, "rare_class": rare, "synthetic_datalist": str(self.generated(name, source))}
            for source in self.sources(name)
            for rare in s["rare"]
        ]

    def runs(self, names: list[str]) -> Iterator[Step]:
        """Train the classifiers of the rare-class regime."""
        cells = [cell for name in names for cell in self.cells(name)]
        yield from self._runs("plan.json", lambda: cells, self.plan["fractions"])

    def settings(self, names: list[str]) -> Iterator[Step]:
        """The same with fixed settings and with those recommended, at the share that the recommendation is for."""
        cells = [cell for name in names for cell in self.cells(name)]
        fraction = self.plan["tune"]["rare_fraction"]
        yield from self._runs("settings.json", lambda: [c for cell in cells for c in self._settings(cell)], [fraction])

    def _settings(self, cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for setting, method in self.plan["fixed"].items():
            yield {**cell, "setting": setting, "arms": ["GDA+FreRec"], "recalibration": method}
        found = json.loads((self.tuned(cell) / "metrics.json").read_text())
        answer, told = found["answer"], found["overrides"]
        kind = answer["recalibrate"] if answer["add"] else "nothing"
        arm = {"nothing": "RAW", "none": "GDA", "synthetic": "GDA+FreRec", "all": "GDA+FreRec all"}[kind]
        method = {key: told[key] for key in METHOD if key in told} if "FreRec" in arm else {}
        yield {**cell, "setting": "tuned", "arms": [arm], "recalibration": method}

    def _runs(self, plan: str, cells: Callable[[], list[dict[str, Any]]], fractions: list[float]) -> Iterator[Step]:
        listed, folder = self.output / plan, self.output / "runs"
        yield Step(listed, lambda: write(listed, json.dumps(cells(), indent=1) + "\n"), resumes=True)
        words = [sys.executable, str(ROOT / "scripts" / "measure_rare_class.py"), "--plan", listed, "--output", folder,
                 "--fractions", *fractions, "--max_steps", self.plan["max_steps"], "--image_size", self.side[0],
                 "--seeds", self.plan["seeds"], "--seeds_of_others", self.plan["seeds_of_others"]]  # fmt: skip
        yield Step(folder / "results.jsonl", [str(word) for word in words], resumes=True)

    def figures(self, _names: list[str]) -> Iterator[Step]:
        """Draw the figures and write the tables."""
        words = [sys.executable, ROOT / "scripts" / "plot_evidence.py", "--evidence", self.output, "--output",
                 self.figure_folder, "--plan", self.plan_file]  # fmt: skip
        yield Step(self.output / "tables.md", list(map(str, words)), resumes=True)

    def steps(self, step: str, names: list[str]) -> list[Step]:
        """All of one kind."""
        make = getattr(self, step)
        return list(make(names)) if step in OF_ALL else [s for name in names for s in make(name)]

    def do(self, step: Step, dry: bool) -> None:
        """Do a step, unless it was done."""
        # a note of its own: weights and reports appear before the step that makes them has finished
        note = self.output / "finished" / "__".join(step.made.relative_to(self.output).parts)
        done = not step.resumes and note.is_file() and note.read_text() == step.words
        print(f"[{'done' if done else 'to do'}] {step.words}", flush=True)
        if done or dry:
            return
        step.made.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(step.work, check=True) if isinstance(step.work, list) else step.work()
        write(note, step.words)


def write(path: Path, text: str) -> None:
    """Write a text, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main() -> None:
    """Parse the command line and do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets")
    parser.add_argument("--output", type=Path, default=Path("evidence"), help="folder for everything made")
    parser.add_argument("--figures", type=Path, default=ROOT / "docs" / "figures", help="folder for the figures")
    parser.add_argument("--plan", type=Path, default=ROOT / "scripts" / "evidence.json", help="what is to be made")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--steps", nargs="+", choices=(*OF_A_SET, *OF_ALL), help="only these")
    parser.add_argument("--list", action="store_true", help="print the steps and whether they are done; do nothing")
    args = parser.parse_args()
    evidence = Evidence(*(path.absolute() for path in (args.data, args.output, args.plan, args.figures)))
    names = args.sets or list(evidence.plan["sets"])
    if unknown := set(names) - set(evidence.plan["sets"]):
        known = ", ".join(evidence.plan["sets"])
        parser.error(f"--sets {' '.join(sorted(unknown))}: not in {args.plan}, which has {known}")
    for kind in args.steps or (*OF_A_SET, *OF_ALL):
        for step in evidence.steps(kind, names):
            evidence.do(step, args.list)


if __name__ == "__main__":
    main()
