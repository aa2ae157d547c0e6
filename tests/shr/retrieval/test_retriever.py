"""Retrieval: the right images, never oneself, whatever the threads; and what each measure is good for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from frerec.errors import ConfigError, FreRecError
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.descriptor import BlurFreeSpace, blur_direction, descriptor
from frerec.shr.retrieval.retriever import METHODS, Retriever
from frerec.shr.retrieval.ssim import ssim
from frerec.shr.statistics import content_hash

#: All methods but the one that measures nothing.
SIMILARITIES = [method for method in METHODS if method != "random"]

ChestImages = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def bank(chest_images: ChestImages) -> ReferenceBank:
    train, _ = chest_images
    return ReferenceBank.build(train, groups=[i // 2 for i in range(len(train))], kind="pixels")


@pytest.mark.parametrize("method", SIMILARITIES)
def test_finds_what_is_nearly_the_same(bank: ReferenceBank, chest_images: ChestImages, method: str) -> None:
    train, _ = chest_images
    noise = 0.002 * torch.randn(train[40].shape, generator=torch.Generator().manual_seed(0))
    indices, scores = Retriever(bank, method, top_k=5)(train[40] + noise)
    assert indices[0] == 40
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    assert len(set(indices.tolist())) == 5


@pytest.mark.parametrize("method", METHODS)
def test_an_image_is_never_its_own_reference(bank: ReferenceBank, chest_images: ChestImages, method: str) -> None:
    train, _ = chest_images
    find = Retriever(bank, method, top_k=len(bank) - 2)
    assert 40 not in find(train[40])[0]
    # its patient's images are 40 and 41
    assert not {40, 41} & set(find(train[40], exclude_group=20)[0].tolist())
    # an augmented copy is known by the original
    assert not {40, 60} & set(find(train[40], exclude_hash=content_hash(train[60]))[0].tolist())
    assert {40, 41} < set(find(train[40].flip(2))[0].tolist() + find(train[41].flip(2))[0].tolist())


def test_random_references_are_any_and_the_same_for_a_query(bank: ReferenceBank, chest_images: ChestImages) -> None:
    _, test = chest_images
    find = Retriever(bank, "random", top_k=10)
    found = [find(query)[0].tolist() for query in test[:20]]
    assert found == [find(query)[0].tolist() for query in test[:20]]
    assert len(set(map(tuple, found))) == 20
    counts = torch.bincount(torch.tensor(found).flatten(), minlength=len(bank)).double()
    expected = 200 / len(bank)
    assert float(((counts - expected) ** 2 / expected).sum()) < 2 * len(bank)


def test_random_references_are_numpys_draw_from_what_is_not_excluded(
    bank: ReferenceBank, chest_images: ChestImages
) -> None:
    query = chest_images[1][5]
    allowed = np.setdiff1d(np.arange(len(bank)), bank.rows_of_group(3))
    generator = np.random.default_rng(content_hash(query[None]) & (2**63 - 1))
    wanted = allowed[generator.choice(len(allowed), 12, replace=False)]
    assert Retriever(bank, "random", top_k=12)(query, exclude_group=3)[0].tolist() == wanted.tolist()


@pytest.fixture(scope="module")
def large_bank(bank: ReferenceBank) -> ReferenceBank:
    """9600 entries: those of the bank with noise on their descriptions, in patients of three."""
    random = np.random.default_rng(0)
    count = 60 * len(bank)
    tensors = {
        name: np.concatenate([np.asarray(bank.tensors[name])] * 60) for name in ("ring_statistics", "descriptors")
    }
    tensors["descriptors"] += 0.2 * random.standard_normal(tensors["descriptors"].shape).astype(np.float32)
    tensors["content_hash"] = random.integers(-(2**63), 2**63 - 1, count, dtype=np.int64)
    tensors["group"] = np.arange(count, dtype=np.int32) // 3
    return ReferenceBank(replace(bank.info, kind="statistics"), tensors)


def test_random_references_of_a_large_bank(large_bank: ReferenceBank, chest_images: ChestImages) -> None:
    find, count = Retriever(large_bank, "random", top_k=50), len(large_bank)
    found = [find(query)[0] for query in chest_images[1]]
    assert all(torch.equal(find(query)[0], rows) for query, rows in zip(chest_images[1], found, strict=True))
    assert all(len(set(rows.tolist())) == 50 for rows in found)
    # they come from everywhere, in no order
    rows = torch.stack(found).double() / count
    assert rows.histc(10, 0, 1).min() > 0.6 * rows.numel() / 10
    assert abs(float(torch.corrcoef(torch.stack([rows.mean(0), torch.arange(50.0).double()]))[0, 1])) < 0.5
    first = int(found[0][0])
    others = find(chest_images[1][0], exclude_group=first // 3)[0]
    assert not set(others.tolist()) & {first // 3 * 3 + i for i in range(3)}
    hidden = int(large_bank.tensors["content_hash"][first])
    assert first not in find(chest_images[1][0], exclude_hash=hidden)[0]
    # most of the bank can be asked for as well
    assert len(set(Retriever(large_bank, "random", top_k=9000)(chest_images[1][0])[0].tolist())) == 9000


def test_the_nearest_of_a_large_bank_are_those_of_brute_force(
    large_bank: ReferenceBank, chest_images: ChestImages
) -> None:
    info = large_bank.info
    table = torch.from_numpy(np.asarray(large_bank.tensors["descriptors"]))
    sample = large_bank.sample
    space = BlurFreeSpace(table[sample], blur_direction(info.image_size, 1, info.descriptor))
    for query in chest_images[1][:4]:
        own = descriptor(query[None], 2, info.descriptor)[0]
        distance = (space(table) - space(own)).square().mean(1).sqrt()
        distance[600:603] = torch.inf
        rows, scores = Retriever(large_bank, "descriptor", top_k=20)(query, exclude_group=200)
        assert rows.tolist() == distance.argsort()[:20].tolist()
        torch.testing.assert_close(scores, -distance[rows])


def test_ssim_equals_brute_force_by_scikit_image(bank: ReferenceBank, chest_images: ChestImages) -> None:
    train, test = chest_images
    query = test[3]
    wanted = np.array(
        [
            structural_similarity(
                query[0].double().numpy(), x[0].double().numpy(), data_range=1, gaussian_weights=True,
                use_sample_covariance=False,
            )
            for x in train
        ]
    )  # fmt: skip
    indices, scores = Retriever(bank, "ssim", top_k=10)(query)
    assert indices.tolist() == np.argsort(-wanted)[:10].tolist()
    np.testing.assert_allclose(scores, wanted[indices], atol=1e-5)


@pytest.mark.parametrize("top_k", [10, 40])
def test_the_short_list_misses_nothing(bank: ReferenceBank, chest_images: ChestImages, top_k: int) -> None:
    train, test = chest_images
    find, hits = Retriever(bank, "ssim", top_k), 0
    for query in test[:6]:
        dense = ssim(query[None], train, 2)
        hits += len(set(find(query)[0].tolist()) & set(dense.topk(top_k).indices.tolist()))
    assert hits / (6 * top_k) >= 0.995


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_matter(bank: ReferenceBank, chest_images: ChestImages, method: str) -> None:
    find, threads, results = Retriever(bank, method, top_k=20), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append([find(query)[0].tolist() for query in chest_images[1][:1]])
    finally:
        torch.set_num_threads(threads)
    assert results[0] == results[1]


@pytest.mark.parametrize("method", SIMILARITIES)
def test_ties_are_taken_by_index(chest_images: ChestImages, method: str) -> None:
    train, test = chest_images
    copies = ReferenceBank.build([*train[:6], *train[:6], *train[:6]], kind="pixels")
    indices, _ = Retriever(copies, method, top_k=18)(test[0])
    triples = indices.reshape(6, 3)
    assert torch.equal(triples, triples[:, :1] + torch.tensor([0, 6, 12]))


def test_another_size_is_compared_in_the_banks(bank: ReferenceBank, chest_images: ChestImages) -> None:
    train, _ = chest_images
    larger = torch.nn.functional.interpolate(train[40][None], (256, 200), mode="bicubic")[0].clamp(0, 1)
    for method in SIMILARITIES:
        assert 40 in Retriever(bank, method, top_k=3)(larger)[0]


def test_a_volume_is_one_query(bank: ReferenceBank, chest_images: ChestImages) -> None:
    train, _ = chest_images
    volume = torch.stack([train[12], train[12].roll(1, 1), train[12].roll(1, 2)], dim=-1)
    for method in SIMILARITIES:
        indices, _ = Retriever(bank, method, top_k=4)(volume)
        assert indices.shape == (4,)
        assert 12 in indices


def test_volumes_in_a_bank_of_volumes() -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((6, 1, 20, 22, 24))
    volumes = list(np.clip(0.5 + gaussian_filter(noise, (0, 0, 2, 2, 2)), 0, 1))
    bank = ReferenceBank.build(volumes, spatial_dims=3, kind="pixels")
    for method in SIMILARITIES:
        changed = torch.from_numpy(volumes[2]).float() + 0.001 * torch.rand(1, 20, 22, 24)
        assert Retriever(bank, method, top_k=2)(changed)[0][0] == 2


def test_memory_is_flat_in_the_size_of_the_bank(tmp_path: Path) -> None:
    status = Path("/proc/self/status")
    if not status.exists() or "RssAnon" not in status.read_text():
        pytest.skip("this system does not tell private memory from mapped files")

    def private_megabytes() -> float:
        return next(int(line.split()[1]) / 1e3 for line in status.open() if line.startswith("RssAnon"))

    random = torch.Generator().manual_seed(0)
    few = ReferenceBank.build(torch.rand(20, 1, 96, 96, generator=random), kind="pixels")
    many = {name: np.concatenate([tensor] * 100) for name, tensor in few.tensors.items()}
    bank = ReferenceBank(few.info, many).save(tmp_path / "bank.safetensors")
    del many
    assert (tmp_path / "bank.safetensors").stat().st_size > 44e6
    query = torch.rand(1, 96, 96, generator=random)
    Retriever(bank, "ssim", top_k=5)(query)
    before = private_megabytes()
    found = [Retriever(ReferenceBank.open(bank.path), "ssim", top_k=5)(query)[0] for _ in range(3)]
    assert private_megabytes() - before < 8
    assert torch.equal(found[0], found[2])


def test_what_cannot_be_retrieved_is_told(bank: ReferenceBank, chest_images: ChestImages) -> None:
    train, test = chest_images
    with pytest.raises(ConfigError, match="top_k=200: the reference bank holds 160 usable images"):
        Retriever(bank, top_k=200)
    with pytest.raises(ConfigError, match="top_k=160: the reference bank holds 158 usable images"):
        Retriever(bank, top_k=160)(test[0], exclude_group=3)
    with pytest.raises(ConfigError, match="top_k=0"):
        Retriever(bank, top_k=0)
    with pytest.raises(ConfigError, match=r"method='cosine'.*descriptor, ssim"):
        Retriever(bank, "cosine")
    with pytest.raises(ConfigError, match="short_list=0"):
        Retriever(bank, short_list=0)
    with pytest.raises(FreRecError, match=r"3 channel\(s\), the reference bank 1"):
        Retriever(bank, top_k=5)(test[0].expand(3, -1, -1))
    statistics = ReferenceBank.build(train[:4])
    with pytest.raises(ConfigError, match="statistics only, no pixels"):
        Retriever(statistics, "ssim", top_k=2)


def high_band(bank: ReferenceBank) -> torch.Tensor:
    return bank.profiles[:, 0, bank.frequencies >= 0.25]


def test_blur_of_the_query_does_not_steer_the_descriptor(bank: ReferenceBank, chest_images: ChestImages) -> None:
    _, test = chest_images
    power = high_band(bank).mean(1)
    find, shifts = Retriever(bank, "descriptor", top_k=20), []
    for query in test:
        soft = torch.from_numpy(gaussian_filter(query.numpy(), (0, 1, 1)))
        shifts.append(power[find(soft)[0]].mean() - power[find(query)[0]].mean())
    # the images themselves lose half a decade of power and more
    assert torch.stack(shifts).mean().abs() < 0.05
