"""What a pass of the network costs: the networks of this and of another version against MONAI's Restormer.

Each case runs in processes of its own, the cases take turns, and the median counts. On a CPU the time is processor
time of one thread, so that a busy machine disturbs it little, and memory is what the process takes from the system
beyond what it held before the first batch. The tables of the documentation are what this prints.

    git worktree add ../frerec-0.1.0 2794947
    python scripts/benchmark_network.py --before ../frerec-0.1.0
    python scripts/benchmark_network.py --cases restormer paper without_fesa --sizes 128 --width 48 --blocks 2 4 6 8
    python scripts/benchmark_network.py --device cuda --cases compact compact_bf16 paper paper_bf16 --sizes 256

Cases: ``restormer``, MONAI's, of the given width and blocks; ``before``, the compact preset of the checkout named by
``--before``; ``compact``, ``small`` and ``paper``, float32 with the usual allocator; ``_kept`` after it keeps freed
memory as the workflows do; ``_bf16`` computes in bfloat16 as well; ``without_fesa`` is ``paper`` without its frequency
branch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

HERE = Path(__file__).resolve().parents[1]
CASES = ["restormer", "before", "compact", "compact_kept", "compact_bf16"]
HEADS = (1, 2, 4, 8)
# Freed memory goes back to the system at once, so that the peak is that of the tensors and not of the allocator.
EXACT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def build(name: str, args: argparse.Namespace) -> torch.nn.Module:
    if name == "restormer":
        from monai.networks.nets.restormer import Restormer

        blocks = tuple(args.blocks)
        return Restormer(2, 1, 1, args.width, blocks, HEADS[: len(blocks)], 2 if len(blocks) == 4 else 1)
    if name.startswith("before"):  # version 0.1.0 knew one network
        from frerec.rhm.network import FreRecNet

        return FreRecNet(preset="compact")
    from frerec.rhm.networks import restoration_network

    if name == "without_fesa":
        return restoration_network("paper", fesa=False)
    return restoration_network(name.split("_")[0])


def measure(name: str, size: int, args: argparse.Namespace) -> dict[str, float]:
    """Cost of one case in this process, for one batch."""
    if name.endswith(("_kept", "_bf16")):
        from frerec.run.process import keep_freed_memory

        keep_freed_memory()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cuda = args.device == "cuda"
    net = build(name, args).to(args.device).eval()
    x = torch.rand(args.batch, 1, size, size, device=args.device)

    def step() -> None:
        with torch.autocast(args.device, torch.bfloat16, enabled=name.endswith("_bf16")):
            if not args.backward:
                with torch.inference_mode():
                    net(x)
                return
            net.zero_grad()
            loss = net(x).float().square().mean()
        loss.backward()

    def clock() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if cuda else time.process_time()

    def peak() -> float:
        if cuda:
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 if resource else float("nan")

    base, seconds = peak(), []
    for _ in range(args.repeats + 1):
        start = clock()
        step()
        seconds.append((clock() - start) / args.batch)
    return {"seconds": statistics.median(seconds[1:]), "mib": peak() - base}


def run_case(name: str, size: int, args: argparse.Namespace, environment: dict[str, str]) -> dict[str, float]:
    root = Path(args.before).resolve() if name == "before" else HERE
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--one", name, "--sizes", str(size)]
    environment = os.environ | environment | {"PYTHONPATH": str(root / "bundle")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--before", help="checkout of another version")
    parser.add_argument("--width", type=int, default=32, help="of restormer")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 1, 2], help="of each level of restormer")
    parser.add_argument("--backward", action="store_true", help="a step of training instead of a pass")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions in a process")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each case and size")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.sizes[-1], args)))
        return
    cases = [name for name in args.cases if name != "before" or args.before]
    print("| 1 x n x n, " + args.device + " | " + " | ".join(f"{size} | memory" for size in args.sizes) + " |")
    print("| --- |" + " --- | --- |" * len(args.sizes))
    rows: dict[str, list[str]] = {name: [] for name in cases}
    for size in args.sizes:
        memory = {name: run_case(name, size, args, EXACT_MEMORY)["mib"] for name in cases}
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(args.rounds):
            for name in cases:
                times[name].append(run_case(name, size, args, {})["seconds"])
        first = statistics.median(times[cases[0]])
        for name in cases:
            seconds = statistics.median(times[name])
            rows[name] += [f"{seconds:.3g} s ({first / seconds:.2f} x)", f"{memory[name]:.0f} MiB"]
    for name, cells in rows.items():
        print(f"| `{name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
