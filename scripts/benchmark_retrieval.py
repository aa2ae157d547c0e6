"""Measure a reference bank: speed and recall of retrieval, what it finds, and what the bank reveals.

    python scripts/benchmark_retrieval.py speed --datalist <chest_xray>/manifest.csv
    python scripts/benchmark_retrieval.py bias --datalist <chest_xray>/manifest.csv
    python scripts/benchmark_retrieval.py reveals --datalist <chest_xray>/manifest.csv --columns label view
    python scripts/benchmark_retrieval.py scale --datalist <chest_xray>/manifest.csv

``speed`` makes a bank of augmented copies of the training images (flips, small rotations, scalings, shifts and
intensity changes), and compares the retriever with scoring every pair by MONAI and by torchmetrics. Those are timed
on some pairs and extrapolated. ``bias`` uses the training images as the bank and test images as queries, sharp and
blurred. ``reveals`` guesses columns of the datalist, and which images are of one patient, from a statistics bank.
``scale`` makes statistics banks of 10,000 to 1,000,000 entries, real ones with a little noise on their descriptions,
and tells what opening and querying them takes, next to scikit-learn's and scipy's searches of the same descriptions.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import SSIMMetric
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial import cKDTree
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from frerec.io.datalist import read_datalist
from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.shr.bank.file import write_tensors
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.familiarity import Familiarity
from frerec.shr.retrieval.retriever import METHODS, Retriever
from frerec.shr.retrieval.ssim import ssim

SIGMAS = (1.0, 2.0)


def load(datalist: Path, split: str, limit: int | None = None) -> torch.Tensor:
    """Images of a split, float32 (N, C, H, W) in [0, 1]."""
    read, normalize = LoadMedicalImage(), NormalizeRange()
    rows = read_datalist(datalist, split=split)[:limit]
    return torch.stack([normalize(read(row["image"])).as_tensor() for row in rows])


def augmented(images: torch.Tensor, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """The images, then changed copies of them, ``count`` in all."""
    random = np.random.default_rng(seed)
    centre = (np.array(images.shape[2:]) - 1) / 2
    for i in range(count):
        image = images[i % len(images)].numpy()
        if i < len(images):
            yield image
            continue
        if random.random() < 0.5:
            image = image[:, :, ::-1]
        angle, scale = np.deg2rad(random.uniform(-7, 7)), random.uniform(0.85, 1.05)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = centre - turn @ centre + random.uniform(-10, 10, 2)
        gamma, gain, lift = np.exp(random.uniform(-0.25, 0.25)), random.uniform(0.85, 1.1), random.uniform(-0.05, 0.05)
        moved = np.stack([affine_transform(c, turn, offset, order=1, mode="nearest") for c in image])
        yield np.clip(np.clip(moved, 0, 1) ** gamma * gain + lift, 0, 1)


def once(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function returns, and the processor seconds its first call takes."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def timed(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Wall-clock and processor seconds per call, after one call to warm up."""
    function()
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - processor) / repeats


def private_megabytes() -> float:
    """Memory of this process that is no mapped file, in MB, where the system tells."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon")), float("nan"))


def scorer(name: str) -> Callable[[torch.Tensor, torch.Tensor], object]:
    """Mean SSIM of images (B, C, H, W) by one of three implementations."""
    if name == "MONAI":
        return SSIMMetric(spatial_dims=2)
    if name == "torchmetrics":
        from torchmetrics.functional.image import structural_similarity_index_measure

        return lambda x, y: structural_similarity_index_measure(x, y, data_range=1.0)
    return lambda x, y: ssim(x, y, 2)


def brute_force_costs(query: torch.Tensor, images: torch.Tensor, size: int) -> dict[str, float]:
    """Print what SSIM of every pair costs; processor seconds a pair by name."""
    print("\nSSIM of every pair | wall ms a pair | CPU ms a pair | CPU s a query, extrapolated\n---|---|---|---")
    costs, chunks = {}, images.split(4)
    for name in ("MONAI", "torchmetrics", "ours, dense"):
        try:
            score = scorer(name)
        except (ImportError, RuntimeError) as error:
            print(f"{name} | cannot be imported ({error}) | |")
            continue
        wall, processor = timed(lambda: [score(query.expand_as(chunk), chunk) for chunk in chunks], 1)  # noqa: B023
        costs[name] = processor / len(images)
        cells = [f"{wall / len(images) * 1e3:.2f}", f"{costs[name] * 1e3:.2f}", f"{costs[name] * size:.1f}"]
        print(name, *cells, sep=" | ", flush=True)
    return costs


def recall(find: Retriever, queries: torch.Tensor, truth: list[torch.Tensor]) -> str:
    """Share of the dense nearest images that the retriever finds, mean and worst query."""
    shares = []
    for query, scores in zip(queries, truth, strict=True):
        wanted = set(scores.topk(find.top_k).indices.tolist())
        shares.append(len(wanted & set(find(query)[0].tolist())) / find.top_k)
    return f"{np.mean(shares):.4f} (worst {min(shares):.3f})"


def speed(arguments: argparse.Namespace) -> None:
    train = load(arguments.datalist, "train")
    queries = load(arguments.datalist, "test")[:: max(1, 200 // arguments.queries)][: arguments.queries]
    size = arguments.bank_size
    with tempfile.TemporaryDirectory(dir=arguments.work_dir) as folder:
        path = Path(folder) / "bank.safetensors"
        bank = ReferenceBank.build(augmented(train, size), path, kind="pixels")
        wall, _ = timed(lambda: ReferenceBank.open(path), 1)
        print(f"{bank}\n{path.stat().st_size / 1e6:.0f} MB, opened and verified in {wall:.2f} s")
        before = private_megabytes()
        costs = brute_force_costs(queries[:1], bank.pixels(slice(0, arguments.pairs)), size)
        truth = [
            torch.cat([ssim(q[None], bank.pixels(slice(i, i + 4)), 2) for i in range(0, size, 4)]) for q in queries
        ]
        print("\nretriever | K | wall s a query | CPU s a query | k pairs/s (CPU) | x MONAI | x torchmetrics | recall")
        print("---|---|---|---|---|---|---|---")
        runs = [("ssim", k, f) for k in arguments.top_ks for f in arguments.short_lists]
        others = [method for method in METHODS if method not in ("ssim", "random")]
        for method, top_k, short_list in [*runs, *((m, max(arguments.top_ks), 2.0) for m in others)]:
            find = Retriever(bank, method, top_k, short_list)
            wall, processor = timed(lambda: find(queries[0]), arguments.repeats)  # noqa: B023
            ratios = [f"{costs[n] * size / processor:.0f}" if n in costs else "-" for n in ("MONAI", "torchmetrics")]
            name = f"{method}, short list {short_list:g}K" if method.startswith("ssim") else method
            cells = [name, top_k, f"{wall:.3f}", f"{processor:.3f}", f"{size / processor / 1e3:.0f}", *ratios]
            print(*cells, recall(find, queries, truth) if method == "ssim" else "-", sep=" | ", flush=True)
        print(f"\nprivate memory: {before:.0f} MB with the bank open, {private_megabytes():.0f} MB after all retrieval")


def bias(arguments: argparse.Namespace) -> None:
    bank = ReferenceBank.build(load(arguments.datalist, "train"), kind="pixels")
    queries = load(arguments.datalist, "test", arguments.queries)
    high = bank.frequencies >= arguments.mask_ratio
    profiles, own = bank.profiles[..., high], ReferenceBank.build(queries).profiles[..., high]
    versions = {0.0: queries} | {
        s: torch.from_numpy(gaussian_filter(queries.numpy(), (0, 0, s, s), mode="reflect")) for s in SIGMAS
    }
    power, own_power = profiles.mean((1, 2)), own.mean((1, 2))
    print(f"{len(bank)} bank images, {len(queries)} queries, high band: radius >= {arguments.mask_ratio}")
    print(f"log10 high-band power over real images: standard deviation {own_power.std():.3f}")
    titles = [f"shift, blur {sigma:g}" for sigma in SIGMAS]
    print("method", "K", "found - own", *titles, "error of mean", "error of one drawn", sep=" | ")
    print("---|" * (4 + len(SIGMAS)) + "---", flush=True)
    largest = max(arguments.top_ks)
    for method in METHODS:
        # the dense ranking of the largest K is enough here, and takes half the time
        find = Retriever(bank, method, largest, short_list=1)
        found = {s: torch.stack([find(query)[0] for query in batch]) for s, batch in versions.items()}
        for top_k in arguments.top_ks:
            indices = found[0.0][:, :top_k]
            sharp = power[indices].mean(1)
            shifts = [(power[found[s][:, :top_k]].mean(1) - sharp).mean() for s in SIGMAS]
            of_mean = (profiles[indices].mean(1) - own).abs().mean()
            of_one = (profiles[indices] - own.unsqueeze(1)).abs().mean()
            signed = [f"{value:+.3f}" for value in [(sharp - own_power).mean(), *shifts]]
            print(method, top_k, *signed, f"{of_mean:.3f}", f"{of_one:.3f}", sep=" | ", flush=True)


def reveals(arguments: argparse.Namespace) -> None:
    rows = read_datalist(arguments.datalist, split="train")
    bank = ReferenceBank.build(load(arguments.datalist, "train"))
    # all there is in a statistics bank, but for the fingerprint
    rings = np.nan_to_num(bank.tensors["ring_statistics"][..., 1:]).reshape(len(bank), -1)
    rings[:, ::3] = np.log10(np.maximum(rings[:, ::3], 1e-14))
    features = np.hstack([bank.tensors["descriptors"], rings])
    print(f"{bank}: {bank.tensors['ring_statistics'][0].size + bank.tensors['descriptors'][0].size} numbers an image")
    for column in arguments.columns:
        values = np.array([row[column] for row in rows])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5000))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
        groups = [row.get("patient") or str(i) for i, row in enumerate(rows)]
        chance = cross_val_predict(model, features, values, groups=groups, cv=folds, method="predict_proba")
        names = np.unique(values)
        score = (
            roc_auc_score(values == names[1], chance[:, 1])
            if len(names) == 2
            else roc_auc_score(values, chance, multi_class="ovr")
        )
        print(f"{column} guessed from the bank alone, 5-fold AUC: {score:.3f} ({', '.join(names)})")
    if not all(row.get("patient") for row in rows):
        return
    patients = np.array([row["patient"] for row in rows])
    z = (features - features.mean(0)) / features.std(0).clip(min=1e-9)
    distance = np.linalg.norm(z[:, None] - z[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    same = (patients[:, None] == patients[None]) & ~np.eye(len(rows), dtype=bool)
    linked = same.any(1)
    nearest = same[np.flatnonzero(linked), distance[linked].argmin(1)].mean()
    by_chance = same[linked].mean()
    print(f"nearest image is of the same patient: {nearest:.3f} of {linked.sum()} images (by chance {by_chance:.4f})")


def grown(bank: ReferenceBank, count: int, path: Path) -> ReferenceBank:
    """A statistics bank of ``count`` entries: those of ``bank`` again and again, each with noise on its description."""
    random = np.random.default_rng(count)
    copies = -(-count // len(bank))
    spread = 0.3 * np.asarray(bank.tensors["descriptors"]).std(0)
    parts: dict[str, list[np.ndarray]] = {name: [np.asarray(t)] * copies for name, t in bank.tensors.items()}
    noisy = [t + (spread * random.standard_normal(t.shape)).astype(np.float32) for t in parts["descriptors"]]
    parts |= {
        "descriptors": noisy,
        "content_hash": [random.integers(-(2**63), 2**63 - 1, len(bank), dtype=np.int64) for _ in range(copies)],
        "group": [np.arange(i * len(bank), (i + 1) * len(bank), dtype=np.int32) // 2 for i in range(copies)],
    }
    rest = count - (copies - 1) * len(bank)
    cut = {name: [*part[:-1], part[-1][:rest]] for name, part in parts.items()}
    write_tensors(path, cut, bank.info.to_metadata())
    return ReferenceBank.open(path)


def scale(arguments: argparse.Namespace) -> None:
    train, queries = load(arguments.datalist, "train"), load(arguments.datalist, "test", 10)
    small = ReferenceBank.build(train)
    print("bank | MB | open, ms | method | first query, ms | ms a query | scikit-learn, ms | scipy, ms")
    print("---|---|---|---|---|---|---|---")
    for size in arguments.bank_sizes:
        with tempfile.TemporaryDirectory(dir=arguments.work_dir) as folder:
            path = Path(folder) / "bank.safetensors"
            grown(small, size, path)
            for method in ("random", "familiarity", "descriptor"):
                bank, opening = once(lambda: ReferenceBank.open(path))  # noqa: B023
                make = Familiarity if method == "familiarity" else partial(Retriever, method=method, top_k=50)
                find, setting_up = once(lambda: make(bank))  # noqa: B023
                _, first = once(lambda: find(queries[0]))  # noqa: B023
                _, processor = timed(lambda: [find(q) for q in queries], 3)  # noqa: B023
                cells = [f"{size:,}", f"{path.stat().st_size / 1e6:.0f}", f"{1e3 * opening:.1f}", method]
                cells += [f"{1e3 * (setting_up + first):.0f}", f"{1e3 * processor / len(queries):.2f}"]
                print(*cells, *(peers(bank, queries) if method == "descriptor" else ["", ""]), sep=" | ", flush=True)


def peers(bank: ReferenceBank, queries: torch.Tensor) -> list[str]:
    """Milliseconds a query of the neighbour searches of scikit-learn and scipy for the nearest descriptions."""
    table = np.asarray(bank.tensors["descriptors"])
    scale = table.std(0)
    asked = ReferenceBank.build(queries).tensors["descriptors"] / scale
    brute, tree = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(table / scale), cKDTree(table / scale)
    searches = (lambda: [brute.kneighbors(q[None]) for q in asked], lambda: [tree.query(q, 50) for q in asked])
    return [f"{1e3 * timed(search, 1)[1] / len(asked):.1f}" for search in searches]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "bias", "reveals", "scale"])
    parser.add_argument("--datalist", type=Path, required=True, help="CSV with image and split (train, test)")
    parser.add_argument("--columns", nargs="+", default=["label"], help="columns of the datalist to guess")
    parser.add_argument("--queries", type=int, default=None, help="test images used; 5 for speed, 40 for bias")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bank_size", type=int, default=10_000)
    parser.add_argument("--bank_sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="of scale")
    parser.add_argument("--top_ks", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--short_lists", type=float, nargs="+", default=[2.0, 3.0])
    parser.add_argument("--pairs", type=int, default=64, help="pairs that brute force is timed on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mask_ratio", type=float, default=0.25)
    parser.add_argument("--work_dir", type=Path, default=None, help="where the bank is put for the time of the run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.queries = arguments.queries or (5 if arguments.what == "speed" else 40)
    {"speed": speed, "bias": bias, "reveals": reveals, "scale": scale}[arguments.what](arguments)


if __name__ == "__main__":
    main()
