"""Measure what recalibration costs and brings over strength, mask ratio and stage: the curve behind the defaults.

Real and synthetic images go through stage 1 (SHR), through both stages (RHM) and through both with the drawn profile
imposed (FreRec). For each the table says how far real images move (PSNR, SSIM against the input) and how far
recalibrated synthetic images still are from recalibrated real ones (spectral gap, cross-validated detector AUC).

    python scripts/sweep_strength.py --datalist manifest.csv --split test --synthetic_dir synthetic \
        --bank models/bank.safetensors --weights models/model.pt --output sweep
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from frerec.evaluation.detector import DetectorMetric  # noqa: E402
from frerec.evaluation.fidelity import FidelityMetric  # noqa: E402
from frerec.imaging.datalist import find_images  # noqa: E402
from frerec.imaging.intensity import NormalizeRange  # noqa: E402
from frerec.imaging.loader import LoadMedicalImage  # noqa: E402
from frerec.rhm.network import FreRecNet  # noqa: E402
from frerec.shr.bank import ReferenceBank  # noqa: E402
from frerec.shr.transforms import ImposeProfile, StatisticalHighFrequencyReplacement  # noqa: E402
from frerec.spectrum import radial_power, ring_frequencies, spectral_gap  # noqa: E402

COLUMNS = ("psnr", "ssim", "gap_high", "gap_whole", "auc_high", "auc_high_hann", "auc_whole")


def load(rows: list[dict[str, Any]], limit: int) -> list[torch.Tensor]:
    """Images (C, H, W) in [0, 1]."""
    read, normalise = LoadMedicalImage(), NormalizeRange()
    return [torch.as_tensor(normalise(read(row["image"]))).float() for row in rows[:limit]]


def stages(
    images: list[torch.Tensor], shr: StatisticalHighFrequencyReplacement, network: torch.nn.Module, label: str
) -> Iterator[dict[str, torch.Tensor]]:
    """Every image after each stage."""
    impose = ImposeProfile(shr.mask_ratio, shr.bands)
    device = next(network.parameters()).device
    for image in tqdm(images, desc=label, leave=False):
        replaced = shr(image)
        plain = torch.as_tensor(replaced)
        with torch.no_grad():
            restored = network(plain[None].to(device))[0].cpu()
        profile = replaced.meta["frerec"]["shr"]["profile"]
        yield {"SHR": plain, "SHR+RHM": restored, "FreRec": impose(restored, profile)}


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


def sweep(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every combination; the first row of each mask ratio is the untouched sets."""
    real = load(find_images(args.real_dir, args.datalist, args.split), args.limit)
    synthetic = load(find_images(args.synthetic_dir), args.limit)
    network = FreRecNet(preset=args.preset)
    network.load_state_dict(torch.load(args.weights, weights_only=True, map_location="cpu"))
    network = network.to(args.device).eval()
    bank = ReferenceBank.open(args.bank)
    before = [Tally(), Tally()]
    for tally, images in zip(before, (synthetic, real), strict=True):
        for image in images:
            tally.add(image)
    rows: list[dict[str, Any]] = []
    for mask_ratio in args.mask_ratios:
        rows.append({"mask_ratio": mask_ratio, "strength": None, "stage": "before", **compare(*before, mask_ratio)})
        for strength in args.strengths:
            shr = StatisticalHighFrequencyReplacement(
                bank, mask_ratio=mask_ratio, top_k=args.top_k, strength=strength, method=args.method, bands=args.bands
            )
            tallies: dict[str, list[Tally]] = {}
            fidelity: dict[str, FidelityMetric] = {}
            for side, images in enumerate((synthetic, real)):
                name = f"mask {mask_ratio} strength {strength} {('synthetic', 'real')[side]}"
                for image, made in zip(images, stages(images, shr, network, name), strict=True):
                    for stage, result in made.items():
                        result = to_8_bit(result)
                        tallies.setdefault(stage, [Tally(), Tally()])[side].add(result)
                        if side == 1:
                            fidelity.setdefault(stage, FidelityMetric())(result[None], image[None])
            for stage, pair in tallies.items():
                figures = fidelity[stage].aggregate()
                row = {"mask_ratio": mask_ratio, "strength": strength, "stage": stage}
                row |= {name: figures[name]["mean"] for name in ("psnr", "ssim")} | compare(*pair, mask_ratio)
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| mask_ratio | strength | stage | " + " | ".join(COLUMNS) + " |", "| --- " * (3 + len(COLUMNS)) + "|"]
    for row in rows:
        cells = [f"{row[c]:.3f}" if c in row else "" for c in COLUMNS]
        head = [str(row["mask_ratio"]), "" if row["strength"] is None else str(row["strength"]), row["stage"]]
        lines.append("| " + " | ".join([*head, *cells]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line, measure, write sweep.json and sweep.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real_dir", default=None, help="folder of real images, or root of the datalist")
    parser.add_argument("--datalist", default=None, help="CSV or JSON of real images")
    parser.add_argument("--split", default="test", help="split of the datalist (default: %(default)s)")
    parser.add_argument("--synthetic_dir", required=True, help="folder of synthetic images")
    parser.add_argument("--bank", default=ROOT / "models" / "bank.safetensors")
    parser.add_argument("--weights", default=ROOT / "models" / "model.pt")
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--mask_ratios", type=float, nargs="+", default=[0.25])
    parser.add_argument("--top_k", type=int, default=50)
    parser.add_argument("--bands", type=int, default=None)
    parser.add_argument("--method", default="random")
    parser.add_argument("--limit", type=int, default=10_000, help="at most this many images a side")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("sweep"), help="folder for sweep.json and sweep.md")
    args = parser.parse_args()
    rows = sweep(args)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "sweep.json").write_text(json.dumps(rows, indent=1) + "\n")
    (args.output / "sweep.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
