"""What a whole run of inference.json costs, start to exit code: this version against another.

Pictures of smooth noise are written to a temporary folder and recalibrated by the command a user types, one thread,
with the shipped bank and weights of each version. The versions take turns and the median counts. Time is processor
time of the run with its children; an image's own share is the difference of a run over all and a run over one.

    git worktree add ../frerec-0.1.0 2794947
    python scripts/benchmark_inference.py --before ../frerec-0.1.0
    python scripts/benchmark_inference.py --before ../frerec-0.1.0 --sizes 2048 --counts 2 --rounds 1
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

HERE = Path(__file__).resolve().parents[1]


def make_pictures(folder: Path, size: int, count: int) -> None:
    """Noise smoothed to about the spectrum of a radiograph, 8 bit gray."""
    folder.mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        field = gaussian_filter(rng.standard_normal((size, size)), 4) + 0.002 * rng.standard_normal((size, size))
        Image.fromarray((255 * (field - field.min()) / np.ptp(field)).astype(np.uint8)).save(folder / f"{i:03d}.png")


def run(root: Path, pictures: Path, output: Path, options: list[str]) -> tuple[float, float]:
    """Processor seconds and peak MiB of one run."""
    words = ["--config_file", root / "configs" / "inference.json", "--dataset_dir", pictures, "--output_dir", output]
    settings = {"PYTHONPATH": str(root / "bundle"), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *map(str, words), *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | settings, **quiet)  # type: ignore[call-overload]
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="checkout of the other version")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--counts", type=int, nargs="+", default=[20, 3], help="pictures of each size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", nargs="*", default=[], help="further ids and values for both")
    args = parser.parse_args()
    if not hasattr(os, "wait4"):
        raise SystemExit("the cost of a run is asked with wait4, which this system does not have")
    roots = {"before": Path(args.before).resolve(), "now": HERE}
    print("| pictures | run before | run now | an image before | an image now | memory before | memory now |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for size, count in zip(args.sizes, args.counts, strict=True):
            found: dict[tuple[str, int], list[tuple[float, float]]] = {}
            for turn in range(args.rounds):
                for pictures in (1, count):
                    if not turn:
                        make_pictures(work / f"{size}_{pictures}", size, pictures)
                    for name, root in roots.items():
                        output = work / f"{name}_{size}_{pictures}_{turn}"
                        cost = run(root, work / f"{size}_{pictures}", output, args.options)
                        found.setdefault((name, pictures), []).append(cost)
            median = {
                key: [statistics.median(column) for column in zip(*rows, strict=True)] for key, rows in found.items()
            }
            whole = {name: median[name, count][0] for name in roots}
            image = {name: (median[name, count][0] - median[name, 1][0]) / (count - 1) for name in roots}
            memory = [f"{median[name, count][1]:.0f} MiB" for name in roots]
            cells = [
                f"{count} of {size} x {size}", f"{whole['before']:.1f} s",
                f"{whole['now']:.1f} s ({whole['before'] / whole['now']:.2f} x)", f"{image['before']:.2f} s",
                f"{image['now']:.2f} s ({image['before'] / image['now']:.2f} x)", *memory,
            ]  # fmt: skip
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
