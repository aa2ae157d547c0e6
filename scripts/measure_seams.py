"""Measure what windows cost on a large image: how far windowed inference is from the whole image's, and the seams.

The image's high frequencies are replaced as SHR does (with the image's own profile); the network then restores it
whole and in windows. For each longest window and overlap the table gives, in grey levels of 255: the largest and the
root-mean-square difference from the whole image's result, and the mean step of that difference across the lines where
a window begins or ends, beside its mean step everywhere else. Equal steps mean that no seam is there to be seen.

    python scripts/measure_seams.py image.dcm --weights models/model.pt --size 1536
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.rhm.inferer import RecalibrationInferer
from frerec.rhm.network import FreRecNet
from frerec.shr.replacement import HighBand, replace_high_frequencies
from frerec.spectrum import radial_power


def border_lines(size: int, window: int, overlap: float) -> list[int]:
    """Positions inside the image where a window of MONAI's sliding_window_inference begins or ends."""
    step = max(1, int(window * (1 - overlap)))
    starts = [min(s, size - window) for s in range(0, size - window + step, step)]
    return sorted({line for s in starts for line in (s, s + window) if 0 < line < size})


def steps(difference: torch.Tensor, lines: list[list[int]]) -> tuple[float, float]:
    """Mean absolute step of the difference across the lines of each axis, and everywhere else."""
    at, elsewhere = [], []
    for axis, positions in zip((-2, -1), lines, strict=True):
        profile = difference.diff(dim=axis).abs().mean(tuple({-4, -3, -2, -1} - {axis}))
        on_line = torch.zeros(len(profile), dtype=torch.bool)
        on_line[[p - 1 for p in positions]] = True
        at.append(profile[on_line])
        elsewhere.append(profile[~on_line])
    return float(torch.cat(at).mean()), float(torch.cat(elsewhere).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="a large two-dimensional image: DICOM, PNG, TIFF, ...")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--size", type=int, default=1536, help="side of the central part that is used")
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--mask_ratio", type=float, default=0.25)
    parser.add_argument("--windows", type=int, nargs="+", default=[512, 1024], help="longest side of a window")
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0.0625, 0.125, 0.25, 0.5])
    args = parser.parse_args()

    net = FreRecNet(preset=args.preset).eval()
    net.load_state_dict(torch.load(args.weights, weights_only=True))
    image = torch.as_tensor(NormalizeRange()(LoadMedicalImage()(args.image))).float()[:1]
    corner = [max(0, (n - args.size) // 2) for n in image.shape[1:]]
    image = image[None, :, corner[0] : corner[0] + args.size, corner[1] : corner[1] + args.size]
    shape = image.shape[2:]
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    band = HighBand(shape, args.mask_ratio)
    replaced = replace_high_frequencies(image, radial_power(image, 2)[0], band, args.strength, noise)

    def run(**settings: float) -> tuple[torch.Tensor, float]:
        start = time.process_time()
        with torch.inference_mode():
            out = RecalibrationInferer(**settings)(replaced, net)
        return out, time.process_time() - start

    def psnr(x: torch.Tensor) -> float:
        return float(-10 * (x - image).square().mean().log10())

    whole, seconds = run(max_size=max(shape))
    change = 255 * float((whole - replaced).square().mean().sqrt())
    print(f"{tuple(shape)}: PSNR {psnr(replaced):.2f} dB after SHR, {psnr(whole):.2f} dB restored ({seconds:.1f} s)")
    print(f"the network changes {change:.2f} grey levels (root mean square)")
    print("window overlap   PSNR  max diff  rms diff  step at borders  elsewhere  seconds")
    for longest in args.windows:
        for overlap in args.overlaps:
            settings = {"max_size": longest, "overlap": overlap}
            out, seconds = run(**settings)
            difference = 255 * (out - whole)
            sides = [RecalibrationInferer(**settings).window_side(n) for n in shape]
            seam, other = steps(difference, [border_lines(n, s, overlap) for n, s in zip(shape, sides, strict=True)])
            print(
                f"{sides[0]:6d} {overlap:7.4f} {psnr(out):6.2f} {float(difference.abs().max()):9.3f} "
                f"{float(difference.square().mean().sqrt()):9.4f} {seam:16.4f} {other:10.4f} {seconds:8.1f}"
            )


if __name__ == "__main__":
    main()
