"""What FESA costs: FreRecNet against MONAI's Restormer of the same width and blocks, and the presets by themselves.

Each case runs in processes of its own, so that its peak memory is its own; the cases take turns, and the fastest
of the repetitions counts. On CPU the time is processor time of one thread, and memory is what the process takes
from the system beyond what it held before the first batch.

    python scripts/benchmark_network.py
    python scripts/benchmark_network.py --cases compact paper --size 256 --forward_only
    python scripts/benchmark_network.py --device cuda --size 256 --batch 8
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from monai.networks.nets.restormer import Restormer
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from frerec.rhm.network import FreRecNet

HEADS = (1, 2, 4, 8)
# Freed memory goes back to the system at once, so that the peak is that of the tensors and not of the allocator.
EXACT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def build(name: str, blocks: tuple[int, ...], width: int) -> torch.nn.Module:
    if name == "restormer":
        return Restormer(2, 1, 1, width, blocks, HEADS, num_refinement_blocks=2, layer_norm_use_bias=True)
    if name == "compact":
        return FreRecNet(preset="compact")
    return FreRecNet(preset="paper", num_blocks=blocks, width=width, fesa=name != "without_fesa")


def measure(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Cost of one case in this process, forward alone and with backward, for one batch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cuda = args.device == "cuda"
    net = build(name, tuple(args.num_blocks), args.width).to(args.device)
    x = torch.rand(args.batch, 1, args.size, args.size, device=args.device)

    def forward() -> None:
        with torch.inference_mode():
            net(x)

    def backward() -> None:
        net.zero_grad()
        net(x).square().mean().backward()

    def clock() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if cuda else time.process_time()

    def peak() -> float:
        return torch.cuda.max_memory_allocated() / 2**20 if cuda else resource.getrusage(0).ru_maxrss / 2**10

    result = {}
    base = peak()
    for label, step in (("forward", forward), ("backward", backward))[: 1 if args.forward_only else 2]:
        seconds = []
        for _ in range(args.repeats + 1):
            start = clock()
            step()
            seconds.append(clock() - start)
        result |= {f"{label}_s": min(seconds[1:]), f"{label}_mib": peak() - base}
    result["parameters"] = float(sum(p.numel() for p in net.parameters()))
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        net(x[:1])
    result["gflop_image"] = counter.get_total_flops() / 1e9
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=int, default=48, help="of all cases but compact")
    parser.add_argument("--num_blocks", type=int, nargs=4, default=[2, 4, 6, 8], help="of all cases but compact")
    parser.add_argument("--forward_only", action="store_true", help="what recalibrating costs; training is left out")
    parser.add_argument("--repeats", type=int, default=2, help="repetitions in a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes for each case")
    parser.add_argument("--cases", nargs="+", default=["restormer", "paper", "without_fesa", "compact"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args)))
        return
    best: dict[str, dict[str, float]] = {}
    for turn in range(args.rounds + 1):
        for name in args.cases:
            command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--one", name]
            environment = os.environ | (EXACT_MEMORY if turn == 0 else {})
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            result = json.loads(done.stdout.splitlines()[-1])
            times = {key: value for key, value in result.items() if key.endswith("_s")}
            if turn == 0:
                best[name] = result | dict.fromkeys(times, math.inf)
            else:
                best[name] |= {key: min(best[name][key], value) for key, value in times.items()}
    reference = best.get("restormer")
    print(f"{args.batch} x 1 x {args.size} x {args.size}, {args.device}; in brackets: times MONAI's Restormer")
    for name, row in best.items():
        cells = [f"{row['parameters'] / 1e6:.2f} M parameters", f"{row['gflop_image']:.2f} GFLOP an image"]
        for key in (key for key in row if key.endswith(("_s", "_mib"))):
            ratio = f" ({row[key] / reference[key]:.2f})" if reference else ""
            cells.append(f"{key.replace('_', ' ')} {row[key]:.3g}{ratio}")
        print(f"{name}: " + ", ".join(cells))


if __name__ == "__main__":
    main()
