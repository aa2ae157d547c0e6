#!/usr/bin/env python3
"""Train the rare-class regime over many sets, generators, classes, shares, arms and seeds; a JSON line for each run.

Stopped at any time, the same command goes on where it was. One process, one thread, niced. Seeds come outermost, so
whenever it is stopped all cells have about the same number of them.

The plan is a JSON list; a cell is a set with one generator and one class made rare:

    [{"set": "chest_xray", "generator": "latent_flow", "rare_class": "pneumonia",
      "datalist": "data/chest_xray/manifest.csv", "synthetic_dir": "made/chest_xray/latent_flow",
      "channels": 1, "bank_path": "models/bank.safetensors", "weights_path": "models/model.pt"}]

``synthetic_datalist`` names generated images instead of a folder, ``classes`` keeps some of the classes of both lists,
``fill`` and ``recalibration`` (settings of frerec.Recalibrate.from_bundle) override the defaults of study.json,
``arms`` those of the command line, and ``setting`` is a name for such a cell. Without ``bank_path`` and
``weights_path`` (needed unless ``recalibration`` sets ``use_network`` to false) a cell has no arm that recalibrates.

    python scripts/measure_rare_class.py --plan plan.json --output runs --seeds 10 --seeds_of_others 5
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from monai.transforms import Compose  # noqa: E402

from frerec.files import atomic_write  # noqa: E402
from frerec.io.datalist import find_images, read_datalist  # noqa: E402
from frerec.io.intensity import NormalizeRanged  # noqa: E402
from frerec.io.loader import LoadMedicalImaged  # noqa: E402
from frerec.study.arms import make_arms  # noqa: E402
from frerec.study.measures import METRICS  # noqa: E402
from frerec.study.recalibration import Recalibration  # noqa: E402
from frerec.study.records import Record, read_record, write_record  # noqa: E402
from frerec.study.regime import RareClass  # noqa: E402
from frerec.study.runner import DownstreamStudy  # noqa: E402
from frerec.study.training import Schedule  # noqa: E402

#: Arms whose difference is the question, and the others.
MAIN = ("RAW", "GDA", "GDA+FreRec")
OTHERS = (
    "RAW balanced", "RAW+AUG", "GDA all classes", "GDA+HIST", "GDA+FDA high", "GDA+SHR", "GDA+FreRec all", "FULL",
)  # fmt: skip
STUDY = json.loads((ROOT / "configs" / "study.json").read_text())
METHOD = ("preset", "strength", "mask_ratio", "transition", "max_gain", "top_k", "bands", "mode", "method",
          "impose_profile")  # fmt: skip

logger = logging.getLogger("rare class")


def make_study(cell: dict[str, Any], args: argparse.Namespace) -> DownstreamStudy:
    """The study of one cell of the plan."""
    settings = {name: STUDY[name] for name in METHOD}
    settings |= {name: cell.get(name) for name in ("bank_path", "weights_path")} | cell.get("recalibration", {})
    recalibrates = settings["bank_path"] and (settings["weights_path"] or settings.get("use_network") is False)
    wanted = cell.get("arms") or args.arms or (*MAIN, *OTHERS)
    arms = [a for a in wanted if recalibrates or not ("FreRec" in a or "SHR" in a)]
    real = read_datalist(cell["datalist"])
    made = find_images(cell.get("synthetic_dir"), cell.get("synthetic_datalist"))
    if cell.get("classes"):
        real, made = ([row for row in rows if row["label"] in cell["classes"]] for rows in (real, made))
    return DownstreamStudy(
        real,
        Compose([LoadMedicalImaged("image", channels=cell.get("channels", 1)), NormalizeRanged("image")]),
        make_arms(arms, Recalibration(**settings)),
        # runs without synthetic images serve all generators of a set
        args.output / cell["set"],
        made,
        cell.get("synthetic_dir"),
        classifiers=args.classifiers,
        seeds=range(max(args.seeds, args.seeds_of_others)),
        image_size=args.image_size,
        channels=cell.get("channels", 1),
        schedule=Schedule(max_steps=args.max_steps),
        rare=RareClass(
            cell["rare_class"], args.fractions, cell.get("fill", "balance"), validation=args.rare_validation
        ),
    )


def runs(studies: list[tuple[dict[str, Any], DownstreamStudy]], args: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """Every run of every cell, seeds outermost."""
    for seed in range(max(args.seeds, args.seeds_of_others)):
        for cell, study in studies:
            for run in study.plan:
                if run.seed == seed and seed < (args.seeds if run.arm in MAIN else args.seeds_of_others):
                    yield cell, study, run


def line(cell: dict[str, Any], record: Record, rare_validation: bool = False) -> dict[str, Any]:
    """What is kept of a run: all measures on the test set, the probe, and who it was trained on."""
    once = np.ones((1, len(record.labels)))
    return {
        **{name: cell[name] for name in ("set", "generator", "rare_class", "setting") if name in cell},
        "arm": record.run.arm,
        "classifier": record.run.cell.classifier,
        "rare_fraction": record.run.cell.rare_fraction,
        "seed": record.run.seed,
        **({"rare_validation": True} if rare_validation else {}),
        **{name: round(float(measure(record.predictions, once)[0]), 5) for name, measure in METRICS.items()},
        **{f"probe_{name}": round(value, 5) for name, value in record.details.get("probe", {}).items()},
        **{name: record.details[name] for name in ("n_real", "n_synthetic", "val_auc", "seconds")},
        "run": record.run.file_name,
    }


def key(cell: dict[str, Any], run: str) -> tuple[str, ...]:
    """What a line of the results is known by."""
    return cell["set"], cell["generator"], cell["rare_class"], cell.get("setting", ""), run


def finished(results: Path) -> set[tuple[str, ...]]:
    """What is in the results; a last line that a kill cut short is taken out."""
    text = results.read_text() if results.is_file() else ""
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        with atomic_write(results, "w") as stream:
            stream.write(text)
    return {key(row, row["run"]) for row in map(json.loads, text.splitlines())}


def main() -> None:
    """Do what is missing of the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, required=True, help="JSON list of cells")
    parser.add_argument("--output", type=Path, required=True, help="folder for caches, runs and results.jsonl")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--arms", nargs="+", help=f"default: {', '.join((*MAIN, *OTHERS))}")
    parser.add_argument("--classifiers", nargs="+", default=["small_resnet"])
    parser.add_argument("--seeds", type=int, default=10, help=f"of {', '.join(MAIN)}")
    parser.add_argument("--seeds_of_others", type=int, default=5)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--max_steps", type=int, default=300)
    parser.add_argument("--rare_validation", action="store_true", help="make the class as rare in validation")
    parser.add_argument("--list", action="store_true", help="tell what is done and to do; train nothing")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if hasattr(os, "nice"):
        os.nice(10)
    torch.set_num_threads(1)
    studies = [(cell, make_study(cell, args)) for cell in json.loads(args.plan.read_text())]
    wanted = list(runs(studies, args))
    results = args.output / "results.jsonl"
    told = finished(results)
    todo = [(cell, study, run) for cell, study, run in wanted if key(cell, run.file_name) not in told]
    logger.info("%d runs planned, %d done, %d to do", len(wanted), len(wanted) - len(todo), len(todo))
    for number, (cell, study, run) in enumerate([] if args.list else todo, 1):
        path = study.output_dir / "runs" / run.file_name
        if not path.is_file():
            write_record(path.parent, study.train(run))
        row = line(cell, read_record(path), args.rare_validation)
        args.output.mkdir(parents=True, exist_ok=True)
        with results.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        logger.info("%d of %d: %s %s %s, %s: AUC %.3f, %.0f s", number, len(todo), cell["set"], cell["generator"],
                    run.cell, run.arm, row["auc"], row["seconds"])  # fmt: skip


if __name__ == "__main__":
    main()
