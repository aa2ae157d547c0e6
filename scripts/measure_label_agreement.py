"""Do synthetic images show their label? A classifier trained on real images alone is asked.

Prints the AUC with which the classifier of the study, trained on the real training split, tells the labels that the
images were generated for: near that of the real test split, they show their class; near 0.5, the labels mean nothing,
and whatever is done to the images' frequencies cannot make them useful.

    python scripts/measure_label_agreement.py --datalist manifest.csv --synthetic generated generated_recalibrated
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose, Resize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from frerec.io.datalist import find_images  # noqa: E402
from frerec.io.intensity import NormalizeRange  # noqa: E402
from frerec.io.loader import LoadMedicalImage  # noqa: E402
from frerec.study.classifiers import CLASSIFIERS, build_classifier  # noqa: E402
from frerec.study.measures import macro_auc  # noqa: E402
from frerec.study.training import Part, Schedule, train_classifier  # noqa: E402


def load(rows: Sequence[dict[str, Any]], names: Sequence[str], args: argparse.Namespace) -> Part:
    """Images of rows with a label, at the size of the study."""
    size = Resize(args.image_size, anti_aliasing=True)
    read = Compose([LoadMedicalImage(channels=args.channels), NormalizeRange(), size])
    images = torch.stack([torch.as_tensor(read(row["image"])).as_subclass(torch.Tensor) for row in rows])
    return Part(images.float().clamp(0, 1), torch.tensor([names.index(str(row["label"])) for row in rows]))


def main() -> None:
    """Parse the command line, train and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datalist", required=True, help="real images with label and split (train, val, test)")
    parser.add_argument("--real_dir", default=None, help="root of the datalist's names; none for its own folder")
    parser.add_argument("--synthetic", nargs="+", required=True, help="folders with one sub-folder for each class")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--image_size", type=int, nargs=2, default=[128, 128])
    parser.add_argument("--classifier", default="small_resnet", choices=list(CLASSIFIERS))
    parser.add_argument("--max_steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = {split: find_images(args.real_dir, args.datalist, split) for split in ("train", "val", "test")}
    names = sorted({str(row["label"]) for row in rows["train"]})
    train, val, test = (load(rows[split], names, args) for split in ("train", "val", "test"))
    asked = {"real test images": test} | {folder: load(find_images(folder), names, args) for folder in args.synthetic}
    together = Part(torch.cat([p.images for p in asked.values()]), torch.cat([p.labels for p in asked.values()]))
    found: dict[str, list[float]] = {name: [] for name in asked}
    for seed in args.seeds:
        network = build_classifier(args.classifier, 2, args.channels, len(names), args.image_size, seed)
        schedule, rate = Schedule(max_steps=args.max_steps), CLASSIFIERS[args.classifier][1]
        trained = train_classifier(network, train, val, together, schedule, rate, seed)
        predicted = torch.from_numpy(trained.test).split([len(part.labels) for part in asked.values()])
        for (name, part), values in zip(asked.items(), predicted, strict=True):
            found[name].append(float(macro_auc(values.numpy(), part.labels.numpy())[0]))
    for name, values in found.items():
        print(f"{name}: AUC {sum(values) / len(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})")


if __name__ == "__main__":
    main()
