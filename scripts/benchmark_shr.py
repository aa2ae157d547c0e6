"""Measure stage 1 and imposing on one thread, next to Albumentations' Fourier domain adaptation (FDA) in the same run.

    python scripts/benchmark_shr.py
    python scripts/benchmark_shr.py --sizes 256 512 --channels 1

FDA swaps the low-frequency amplitudes of an image for those of another one of its size: one image in, one image out,
three Fourier transforms, by NumPy. It is the nearest relative of SHR that a well-known library has. Where
Albumentations is not installed (it is not among the requirements) its columns stay empty. Times are processor
milliseconds an image, the smallest of the repetitions, which alternate between the two.

"SHR" and "impose" are the transforms of a run, which also recognise the image, draw its references from a bank, check
and write meta data; "clipped" is imposing where the image leaves what its file can store, which takes a second round.
"Functions" are the two alone, noise included, which is what the function of Albumentations is to be held against.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from frerec.shr.array import ImposeProfile, StatisticalHighFrequencyReplacement
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.noise import white_noise
from frerec.shr.replacement import HighBand, impose_profile, replace_high_frequencies


def texture(channels: int, size: int, seed: int) -> torch.Tensor:
    """A made-up image (channels, size, size) in [0, 1]: waves under noise, with a jump across its borders."""
    generator = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, size)
    waves = 0.15 * torch.sin(20 * ramp)[:, None] * torch.cos(13 * ramp)[None]
    noise = 0.03 * torch.randn(channels, size, size, generator=generator)
    return (0.4 + waves + 0.2 * ramp + noise).clamp(0, 1)


def alternating(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Smallest processor milliseconds of each function, called in turn so that all meet the same machine."""
    best = [float("inf")] * len(functions)
    for repeat in range(repeats + 1):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            if repeat:  # the first call fills caches
                best[i] = min(best[i], 1e3 * (time.process_time() - start))
    return best


def fda(image: torch.Tensor, target: torch.Tensor) -> Callable[[], object] | None:
    """Albumentations' FDA of one image, or None where it is not installed."""
    try:
        from albumentations.augmentations.mixing.domain_adaptation_functional import fourier_domain_adaptation
    except ImportError:
        return None
    source, other = (x.permute(1, 2, 0).contiguous().numpy() for x in (image, target))
    return lambda: fourier_domain_adaptation(source, other, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| size | channels | SHR | impose | clipped | functions | FDA | / (SHR + impose) | / functions |")
    print("| --- " * 9 + "|")
    for channels in arguments.channels:
        bank = ReferenceBank.build([texture(channels, 128, seed) for seed in range(60)])
        replace, impose = StatisticalHighFrequencyReplacement(bank), ImposeProfile()
        for size in arguments.sizes:
            image = texture(channels, size, 1000)
            replaced = replace(image)
            profile, pixels = replaced.meta["frerec"]["applied"].profile, replaced.as_tensor()
            wide = pixels * 1.6 - 0.3

            def functions() -> None:
                band = HighBand((size, size), 0.25)  # noqa: B023
                noise = white_noise((channels, size, size), [0])  # noqa: B023
                changed = replace_high_frequencies(image[None], profile, band, 0.3, noise)  # noqa: B023
                impose_profile(changed, profile, band)  # noqa: B023

            calls = [
                lambda: replace(image),  # noqa: B023
                lambda: impose(pixels, profile),  # noqa: B023
                lambda: impose(wide, profile, limits=(0.0, 1.0)),  # noqa: B023
                functions,
            ]
            peer = fda(image, texture(channels, size, 1001))
            measured = alternating(calls if peer is None else [*calls, peer], arguments.repeats)
            cells = [f"{value:.2f}" for value in measured]
            if peer is not None:
                cells += [f"{measured[4] / (measured[0] + measured[1]):.1f}", f"{measured[4] / measured[3]:.1f}"]
            print("|", " | ".join([str(size), str(channels), *cells, *[""] * (7 - len(cells))]), "|", flush=True)


if __name__ == "__main__":
    main()
