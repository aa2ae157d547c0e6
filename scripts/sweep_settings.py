"""Measure what recalibration costs and brings over strength, mask ratio and stage: the curve behind the defaults.

Real and synthetic images go through stage 1 (SHR), through both stages (RHM) and through both with the drawn profile
imposed (FreRec). For each the table says how far real images move (PSNR, SSIM against the input) and how far
recalibrated synthetic images still are from recalibrated real ones (spectral gap, cross-validated detector AUC).

    python scripts/sweep_settings.py --datalist manifest.csv --split test --synthetic_dir synthetic \
        --bank models/bank.safetensors --weights models/model.pt --output sweep
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Resize
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from frerec.audit.cross_validation import DetectorMetric  # noqa: E402
from frerec.audit.fidelity import FidelityMetric  # noqa: E402
from frerec.io.datalist import find_images  # noqa: E402
from frerec.io.intensity import NormalizeRange  # noqa: E402
from frerec.io.loader import LoadMedicalImage  # noqa: E402
from frerec.rhm.network import FreRecNet  # noqa: E402
from frerec.shr.bank.reference import ReferenceBank  # noqa: E402
from frerec.shr.transforms import ImposeProfile, StatisticalHighFrequencyReplacement  # noqa: E402
from frerec.spectrum import radial_power, ring_frequencies, spectral_gap  # noqa: E402

HEAD = ("mask_ratio", "strength", "bands", "weights", "stage")
COLUMNS = ("psnr", "ssim", "gap_high", "gap_whole", "auc_high", "auc_high_hann", "auc_whole")


def load(rows: list[dict[str, Any]], args: argparse.Namespace) -> list[MetaTensor]:
    """Images (C, H, W) in [0, 1] with the loader's meta."""
    read = Compose(
        [LoadMedicalImage(channels=args.channels), NormalizeRange()]
        + ([Resize(args.image_size, anti_aliasing=True)] if args.image_size else [])
    )
    # evenly from the whole list, which is often sorted by class
    chosen = [rows[i * len(rows) // args.limit] for i in range(args.limit)] if len(rows) > args.limit else rows
    return [read(row["image"]) for row in chosen]


def stages(
    images: list[MetaTensor], shr: StatisticalHighFrequencyReplacement | None, network: torch.nn.Module, label: str
) -> Iterator[dict[str, torch.Tensor]]:
    """Every image after each stage; without ``shr`` after the network alone."""
    device = next(network.parameters()).device
    for image in tqdm(images, desc=label, leave=False):
        start = image if shr is None else shr(image)
        plain = start.as_tensor()
        with torch.no_grad():
            restored = network(plain[None].to(device))[0].cpu()
        if shr is None:
            yield {"RHM": restored}
            continue
        impose = ImposeProfile(shr.mask_ratio, shr.bands)
        imposed = impose(restored, start.meta["frerec"]["applied"].profile, limits=(0.0, 1.0))
        yield {"SHR": plain, "SHR+RHM": restored, "FreRec": imposed}


def to_8_bit(image: torch.Tensor) -> torch.Tensor:
    """What a picture file keeps of an image."""
    return (image.clamp(0, 1) * 255).round() / 255


class Tally:
    """Spectra of a set in the two windows the table uses."""

    def __init__(self) -> None:
        self.periodic: list[torch.Tensor] = []
        self.hann: list[torch.Tensor] = []

    def add(self, image: torch.Tensor) -> None:
        """Add one image (C, H, W)."""
        self.periodic.append(radial_power(image, 2))
        self.hann.append(radial_power(image, 2, window="hann"))


def compare(synthetic: Tally, real: Tally, mask_ratio: float) -> dict[str, float]:
    """Gap and detector AUC between two sets."""
    a, b = torch.stack(synthetic.periodic), torch.stack(real.periodic)
    ah, bh = torch.stack(synthetic.hann), torch.stack(real.hann)
    frequencies = ring_frequencies(a.shape[-1], 2)
    high = frequencies >= mask_ratio
    auc = DetectorMetric(draws=10)
    return {
        "gap_high": spectral_gap(a, b, frequencies, (mask_ratio, 2.0)),
        "gap_whole": spectral_gap(a, b, frequencies),
        "auc_high": auc(a[..., high], b[..., high]).value,
        "auc_high_hann": auc(ah[..., high], bh[..., high]).value,
        "auc_whole": auc(a, b).value,
    }


def networks(args: argparse.Namespace) -> dict[str, torch.nn.Module]:
    """The networks to compare, by the name before ``=`` in ``--weights`` (or the file's own)."""
    found = {}
    for text in args.weights:
        name, _, path = ("", "", str(text)) if Path(text).is_file() else str(text).partition("=")
        state = torch.load(path, weights_only=True, map_location="cpu")
        state = state.get("model", state)
        fesa = any(".fesa." in key for key in state)
        network = FreRecNet(2, args.channels, args.channels, args.preset, fesa=fesa)
        network.load_state_dict(state)
        found[name or Path(path).stem] = network.to(args.device).eval()
    return found


def measure(
    real: list[MetaTensor], synthetic: list[MetaTensor], shr: StatisticalHighFrequencyReplacement | None,
    network: torch.nn.Module, mask_ratio: float, name: str,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Figures of every stage at one setting."""
    tallies: dict[str, list[Tally]] = {}
    fidelity: dict[str, FidelityMetric] = {}
    for side, images in enumerate((synthetic, real)):
        label = f"{name} {('synthetic', 'real')[side]}"
        for image, made in zip(images, stages(images, shr, network, label), strict=True):
            for stage, result in made.items():
                result = to_8_bit(result)
                tallies.setdefault(stage, [Tally(), Tally()])[side].add(result)
                if side == 1:
                    fidelity.setdefault(stage, FidelityMetric())(result[None], image.as_tensor()[None])
    for stage, pair in tallies.items():
        figures = fidelity[stage].aggregate()
        yield {"stage": stage, **{key: figures[key]["mean"] for key in ("psnr", "ssim")}} | compare(*pair, mask_ratio)


def sweep(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every combination; the first row of each mask ratio is the untouched sets."""
    real = load(find_images(args.real_dir, args.datalist, args.split), args)
    synthetic = load(find_images(args.synthetic_dir), args)
    bank, found = ReferenceBank.open(args.bank), networks(args)
    before = [Tally(), Tally()]
    for tally, images in zip(before, (synthetic, real), strict=True):
        for image in images:
            tally.add(image.as_tensor())
    rows: list[dict[str, Any]] = []

    def note(setting: dict[str, Any], found: Iterator[dict[str, Any]]) -> None:
        for row in found:
            rows.append(setting | row)
            print(json.dumps(rows[-1]), flush=True)
        write(rows, args.output)

    for mask_ratio in args.mask_ratios:
        rows.append({"mask_ratio": mask_ratio, "stage": "before", **compare(*before, mask_ratio)})
        for weights, network in found.items():
            setting = {"mask_ratio": mask_ratio, "weights": weights}
            note(setting, measure(real, synthetic, None, network, mask_ratio, f"{mask_ratio} {weights}"))
        for strength, bands, weights in product(args.strengths, args.bands, found):
            shr = StatisticalHighFrequencyReplacement(
                bank, mask_ratio=mask_ratio, top_k=args.top_k, strength=strength, method=args.method, bands=bands
            )
            setting = {"mask_ratio": mask_ratio, "strength": strength, "bands": bands, "weights": weights}
            name = f"{mask_ratio} {strength} {bands} {weights}"
            note(setting, measure(real, synthetic, shr, found[weights], mask_ratio, name))
    return rows


def write(rows: list[dict[str, Any]], output: Path) -> None:
    """Write sweep.json and sweep.md, complete or as far as it is."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "sweep.json").write_text(json.dumps(rows, indent=1) + "\n")
    (output / "sweep.md").write_text(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join((*HEAD, *COLUMNS)) + " |", "| --- " * (len(HEAD) + len(COLUMNS)) + "|"]
    for row in rows:
        head = [str(row.get(key, "") if row.get(key, "") is not None else "all") for key in HEAD]
        lines.append("| " + " | ".join([*head, *(f"{row[c]:.3f}" if c in row else "" for c in COLUMNS)]) + " |")
    return "\n".join(lines) + "\n"


def bands(text: str) -> int | None:
    """A number of bands, or ``all`` for the finest."""
    return None if text == "all" else int(text)


def main() -> None:
    """Parse the command line, measure, write sweep.json and sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real_dir", default=None, help="folder of real images, or root of the datalist")
    parser.add_argument("--datalist", default=None, help="CSV or JSON of real images")
    parser.add_argument("--split", default="test", help="split of the datalist (default: %(default)s)")
    parser.add_argument("--synthetic_dir", required=True, help="folder of synthetic images")
    parser.add_argument("--bank", default=ROOT / "models" / "bank.safetensors")
    parser.add_argument(
        "--weights", nargs="+", default=[ROOT / "models" / "model.pt"], help="files, each as path or name=path"
    )
    parser.add_argument("--preset", default="small")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--mask_ratios", type=float, nargs="+", default=[0.25])
    parser.add_argument("--top_k", type=int, default=50)
    parser.add_argument("--bands", type=bands, nargs="+", default=[None], help="numbers of bands, or all")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--image_size", type=int, nargs=2, default=None, help="resize to this first")
    parser.add_argument("--method", default="random")
    parser.add_argument("--limit", type=int, default=10_000, help="at most this many images a side")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("sweep"), help="folder for sweep.json and sweep.md")
    args = parser.parse_args()
    rows = sweep(args)
    print(table(rows))


if __name__ == "__main__":
    main()
