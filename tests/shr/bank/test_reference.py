"""The reference bank: what it keeps, that its file survives everything but damage, and that damage is told."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.shr.bank.builder import BankBuilder
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.retrieval.descriptor import DescriptorSettings
from frerec.shr.statistics import content_hash, ring_statistics
from frerec.spectrum.power import radial_power


def images(count: int, shape: tuple[int, ...] = (32, 40), channels: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Smooth random images (C, *shape) of 256 grey levels in [0, 1]."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        x = np.stack([gaussian_filter(random.standard_normal(shape), random.uniform(0.8, 2)) for _ in range(channels)])
        made.append((np.rint(255 * np.clip(0.5 + x, 0, 1)) / 255).astype(np.float32))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "bank.safetensors"


@pytest.mark.parametrize(
    ("kind", "shape", "channels"), [("statistics", (32, 40), 1), ("pixels", (33, 32), 3), ("pixels", (16, 18, 20), 1)]
)
def test_what_is_saved_is_what_was_built(path: Path, kind: str, shape: tuple[int, ...], channels: int) -> None:
    settings = {"kind": kind, "spatial_dims": len(shape), "provenance": "made up, \u00e9", "licence": "CC0"}
    made = images(5, shape, channels)
    built = ReferenceBank.build(made, groups=[3, 3, -1, 0, 7], **settings)
    bank = built.save(path)
    again = ReferenceBank.open(path)
    assert again.info == bank.info == built.info
    assert again.sha256 == bank.sha256 == built.sha256
    assert (len(again), again.info.channels, again.info.image_size) == (5, channels, shape)
    assert (again.info.provenance, again.info.licence) == ("made up, \u00e9", "CC0")
    # the format is the library's, not only ours
    theirs = load_file(path)
    assert theirs.pop("block_sha256").shape[1] == 32
    assert theirs.keys() == again.tensors.keys() == again.info.tensor_names
    for name, tensor in theirs.items():
        # mapped, not read
        assert isinstance(again.tensors[name][:], np.memmap)
        assert not again.tensors[name][:].flags.writeable
        np.testing.assert_array_equal(again.tensors[name], tensor)
        np.testing.assert_array_equal(built.tensors[name], tensor)
    assert list(again.tensors["group"]) == [3, 3, -1, 0, 7]
    if kind == "pixels":
        torch.testing.assert_close(again.pixels([4, 1]), torch.from_numpy(np.stack([made[4], made[1]])))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_pixels_are_kept_to_their_type(dtype: str) -> None:
    made = images(2, (24, 24))
    bank = ReferenceBank.build(made, kind="pixels", pixel_dtype=dtype)
    step = {"uint8": 0.5 / 255, "uint16": 0.5 / 65535, "float16": 2**-12}[dtype]
    assert (bank.pixels(slice(None)) - torch.from_numpy(np.stack(made))).abs().max() <= step + 1e-7
    assert bank.pixel_dtype == dtype


@pytest.mark.parametrize("kind", ["statistics", "pixels"])
def test_appending_equals_building_at_once(path: Path, kind: str) -> None:
    made = images(7)
    whole = ReferenceBank.build(made, path.with_name("whole.safetensors"), groups=range(7), kind=kind)
    grown = ReferenceBank.build(made[:3], path, groups=range(3), kind=kind)
    before = grown.sha256
    grown.append(made[3:], groups=range(3, 7))
    assert len(grown) == 7
    assert grown.sha256 == whole.sha256 != before
    assert path.read_bytes() == path.with_name("whole.safetensors").read_bytes()
    assert torch.equal(grown.profiles, ReferenceBank.open(path).profiles)
    in_memory = ReferenceBank.build(made[:3], groups=range(3), kind=kind)
    in_memory.append(made[3:], groups=range(3, 7))
    assert in_memory.sha256 == whole.sha256
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_failed_append_leaves_the_bank_as_it_was(path: Path) -> None:
    bank = ReferenceBank.build(images(3), path)
    before = path.read_bytes()
    with pytest.raises(FreRecError, match=r"image 1: .*\(1, 32, 41\)|image 1: .*\(32, 41\)"):
        bank.append([*images(1, seed=1), *images(1, (32, 41))])
    assert (len(bank), path.read_bytes()) == (3, before)


def test_a_statistics_bank_holds_nothing_but_amplitudes() -> None:
    # an image turned by half a turn has the same amplitudes and other phases: the bank cannot tell them apart
    made = images(3, (48, 48))
    bank = ReferenceBank.build(made)
    turned = ReferenceBank.build([np.ascontiguousarray(x[:, ::-1, ::-1]) for x in made])
    assert bank.tensors.keys() == {"ring_statistics", "descriptors", "content_hash", "group"}
    for name in ("ring_statistics", "descriptors"):
        np.testing.assert_allclose(bank.tensors[name], turned.tensors[name], rtol=2e-3, atol=2e-3)
    with pytest.raises(ConfigError, match=r"statistics only, no pixels.*kind=pixels"):
        bank.pixels([0])


def test_profiles_and_bands_are_those_of_the_images() -> None:
    made = images(4, (32, 32), channels=2)
    bank = ReferenceBank.build(made)
    wanted = radial_power(torch.from_numpy(np.stack(made)), 2, bank.info.n_rings)
    torch.testing.assert_close(bank.profiles, wanted, atol=2e-3, rtol=0)
    mean, std = bank.band_statistics(0.5, 4)
    assert mean.shape == std.shape == (4, 2, 4)
    some = bank.band_statistics(0.5, 4, indices=torch.tensor([2, 0]))
    assert torch.equal(some[0], mean[[2, 0]])
    assert torch.equal(some[1], std[[2, 0]])
    assert bank.frequencies.shape == bank.counts.shape == (bank.info.n_rings,)
    assert bank.counts.sum() == 32 * 32


def test_a_volume_in_a_flat_bank_is_the_mean_of_its_slices() -> None:
    slices = images(5, (24, 24))
    volume = np.stack(slices, axis=-1)
    bank = ReferenceBank.build([volume], groups=[1])
    each = ReferenceBank.build(slices)
    for name in ("ring_statistics", "descriptors"):
        np.testing.assert_allclose(bank.tensors[name][0], each.tensors[name].mean(0), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=r"kind='pixels'.*mean over slices"):
        BankBuilder(kind="pixels").add(volume)


@pytest.mark.parametrize("in_file", [True, False])
def test_goes_to_other_processes(path: Path, in_file: bool) -> None:
    bank = ReferenceBank.build(images(3), path if in_file else None)
    sent = pickle.dumps(bank)
    got = pickle.loads(sent)
    assert got.sha256 == bank.sha256
    if in_file:
        # the file's name travels, not its content
        assert len(sent) < 1000
        bank.append(images(1, seed=9))
        with pytest.raises(InputError, match="changed while in use"):
            pickle.loads(sent)


def damaged(path: Path, kind: str) -> None:
    """Damage a bank file in one way."""
    raw = bytearray(path.read_bytes())
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])

    def replace_header(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + bytes(raw[8 + length :])

    if kind == "block hashes":
        raw[-3] ^= 1
    elif kind == "header":
        raw = bytearray(bytes(raw).replace(b'"licence":""', b'"licence":" "').replace(b"} ", b"}", 1))
    elif kind == "truncated":
        raw = raw[:-100]
    elif kind == "short":
        raw = raw[:5]
    elif kind == "text":
        raw = bytearray(b"this is not a bank" * 10)
    elif kind == "version":
        header["__metadata__"]["format_version"] = "3"
        raw = bytearray(replace_header(json.dumps(header).encode()))
    elif kind == "other":
        header["__metadata__"] = {"format": "pt"}
        raw = bytearray(replace_header(json.dumps(header).encode()))
    elif kind == "tensors":
        header["tensor"] = header.pop("group")
        raw = bytearray(replace_header(json.dumps(header).encode()))
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("kind", "told", "verify"),
    [
        ("block hashes", "does not match its checksum", True),
        ("header", "checksum|truncated", True),
        ("truncated", "truncated or damaged", False),
        ("short", "not a reference bank|truncated", True),
        ("text", "not a reference bank|truncated", True),
        ("version", "bank format version 3; this release reads 1 and 2", False),
        ("other", "safetensors file but not a reference bank", False),
        ("tensors", "do not match its header", False),
    ],
)
def test_damage_is_told(path: Path, kind: str, told: str, verify: bool) -> None:
    ReferenceBank.build(images(3), path)
    damaged(path, kind)
    with pytest.raises(InputError, match=told) as caught:
        ReferenceBank.open(path, verify=verify)
    assert caught.value.path == str(path)
    assert caught.value.remedy


def test_a_damaged_row_is_told_when_it_is_used(path: Path) -> None:
    whole = ReferenceBank.build(images(40, (96, 96)), path, kind="pixels")
    raw = bytearray(path.read_bytes())
    rows = load_file(path)["pixels"]
    place = raw.index(rows[31].tobytes())
    raw[place + 5] ^= 4
    path.write_bytes(raw)
    bank = ReferenceBank.open(path)
    assert bank.sha256 == whole.sha256
    torch.testing.assert_close(bank.pixels([2, 3]), whole.pixels([2, 3]))
    assert len(bank.rows_of(int(bank.tensors["content_hash"][4]))) == 1
    for use in (
        lambda: bank.pixels([1, 31]),
        lambda: bank.pixels(slice(30, 32)),
        lambda: bank.pixels(np.arange(40) == 31),
        lambda: bank.tensors["pixels"][-9],
        lambda: np.asarray(bank.tensors["pixels"]),
        lambda: list(bank.tensors["pixels"]),
        bank.verify,
        # what is copied into a new file does not become good by that
        lambda: bank.append(images(1, (96, 96), seed=3)),
        lambda: bank.save(path.with_name("copy.safetensors")),
    ):
        with pytest.raises(InputError, match=r"is damaged: bytes \d+ to \d+ .* checksum") as caught:
            use()
        assert caught.value.path == str(path)
    assert not path.with_name("copy.safetensors").exists()
    # what was read before it broke stays usable
    torch.testing.assert_close(bank.pixels([2, 3]), whole.pixels([2, 3]))


@pytest.mark.parametrize("name", ["ring_statistics", "descriptors", "content_hash", "group"])
def test_damage_anywhere_is_found_by_verifying(path: Path, name: str) -> None:
    bank = ReferenceBank.build(images(5), path)
    bank.verify()
    raw = bytearray(path.read_bytes())
    raw[raw.index(load_file(path)[name].tobytes()) + 1] ^= 128
    path.write_bytes(raw)
    with pytest.raises(InputError, match="is damaged"):
        ReferenceBank.open(path).verify()


def test_banks_of_format_version_1_are_read(bundle_root: Path, path: Path) -> None:
    shipped = bundle_root / "models" / "bank.safetensors"
    bank = ReferenceBank.open(shipped)
    bank.verify()
    raw = bytearray(shipped.read_bytes())
    raw[-3] ^= 1
    path.parent.mkdir()
    path.write_bytes(raw)
    with pytest.raises(InputError, match="does not match its checksum"):
        ReferenceBank.open(path)
    # one that grows is written in the present format
    path.write_bytes(shipped.read_bytes())
    grown = ReferenceBank.open(path)
    grown.append(images(1, bank.info.image_size))
    again = ReferenceBank.open(path)
    assert len(again) == len(bank) + 1
    np.testing.assert_array_equal(again.tensors["descriptors"][:-1], bank.tensors["descriptors"])
    assert again.sha256 == grown.sha256 != bank.sha256
    again.verify()


@pytest.mark.parametrize("in_file", [True, False])
def test_images_are_found_by_hash_and_patient(path: Path, in_file: bool) -> None:
    made = images(6)
    bank = ReferenceBank.build([*made, made[2]], path if in_file else None, groups=[4, 0, 7, -1, 4, 4, 0])
    for row, image in enumerate(made):
        assert bank.rows_of(content_hash(torch.from_numpy(image))).tolist() == ([2, 6] if row == 2 else [row])
    assert bank.rows_of(12345).tolist() == []
    assert {group: bank.rows_of_group(group).tolist() for group in (-1, 0, 4, 5, 7)} == {
        -1: [3], 0: [1, 6], 4: [0, 4, 5], 5: [], 7: [2],
    }  # fmt: skip
    bank.append(images(1, seed=8), groups=[0])
    assert bank.rows_of_group(0).tolist() == [1, 6, 7]


def test_a_sample_stands_for_a_large_bank() -> None:
    bank = ReferenceBank.build(images(7))
    assert bank.sample.tolist() == list(range(7))
    many = {name: np.concatenate([np.asarray(tensor)] * 1500) for name, tensor in bank.tensors.items()}
    sample = ReferenceBank(bank.info, many).sample
    assert len(sample) == 4096
    # one from each of as many stretches
    edges = np.floor(np.arange(4097) * 10500 / 4096)
    assert (edges[:-1] <= sample).all()
    assert (sample < edges[1:]).all()
    assert len(set(sample.tolist())) == 4096
    assert np.array_equal(sample, ReferenceBank(bank.info, many).sample)


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read.*Check bank_path"):
        ReferenceBank.open(path)
    path.parent.write_text("a file where a folder is wanted")
    with pytest.raises(InputError, match="cannot be written"):
        ReferenceBank.build(images(2), path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x * 255, r"ranges from .* not over \[0, 1\]"),
        (lambda x: x * np.nan, "NaN or infinite"),
        (lambda x: x * 0 + 0.5, r"constant \(0\.5\)"),
        (lambda x: np.concatenate([x, x]), r"2 channel\(s\), the reference bank 1"),
        (lambda x: x[:, :-1], r"size \(31, 40\), the reference bank's are \(32, 40\)"),
        (lambda x: x[0], r"shape \(32, 40\) does not fit spatial_dims=2"),
    ],
)
def test_images_that_do_not_belong_are_refused_by_their_place(change: object, told: str) -> None:
    made = images(2)
    with pytest.raises(FreRecError, match=f"image 1: .*{told}"):
        ReferenceBank.build([made[0], change(made[1])])  # type: ignore[operator]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FreRecError, match="at least one image"):
        ReferenceBank.build([])
    with pytest.raises(ConfigError, match=r"kind='pictures'.*statistics, pixels"):
        ReferenceBank.build(images(1), kind="pictures")
    with pytest.raises(ConfigError, match="spatial_dims=4"):
        ReferenceBank.build(images(1), spatial_dims=4)
    with pytest.raises(ConfigError, match="pixel_dtype='int32'"):
        ReferenceBank.build(images(1), pixel_dtype="int32")
    with pytest.raises(FreRecError, match="more images than the 1 groups"):
        ReferenceBank.build(images(2), groups=[0])


def test_volumes_of_another_anisotropy_are_refused() -> None:
    first, second, third = images(3, (12, 14, 10))
    builder = BankBuilder(spatial_dims=3)
    builder.add(first, spacing=(0.5, 0.5, 1.5))
    builder.add(second, spacing=(0.9, 0.9, 2.8))
    with pytest.raises(FreRecError, match=r"spacing is as \(1\.0, 1\.0, 5\.0\).*as \(1\.0, 1\.0, 3\.0\)"):
        builder.add(third, spacing=(1, 1, 5))
    info, tensors = builder.finish()
    assert (info.spacing, len(tensors["group"])) == ((1.0, 1.0, 3.0), 2)
    wanted = ring_statistics(torch.from_numpy(first), 3, info.n_rings, (1.0, 1.0, 3.0))
    np.testing.assert_array_equal(tensors["ring_statistics"][0], wanted)


def test_header_keeps_every_setting(path: Path) -> None:
    settings = DescriptorSettings(cut=0.4, rings=5, sectors=4)
    bank = ReferenceBank.build(
        images(2, (12, 14, 10)), path, spatial_dims=3, n_rings=7, spacing=(1.0, 1.0, 2.5), descriptor=settings
    )
    info = ReferenceBank.open(path).info
    assert info == bank.info
    assert (info.n_rings, info.spacing, info.descriptor) == (7, (1.0, 1.0, 2.5), settings)
    assert bank.profiles.shape == (2, 1, 7)
