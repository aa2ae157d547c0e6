from __future__ import annotations

import numpy as np
import png
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from frerec.errors import InputError
from frerec.imaging.loader import LoadMedicalImage
from frerec.imaging.source import Source
from frerec.imaging.stored import to_stored

LOAD = LoadMedicalImage()
NOISE = np.random.default_rng(11)


def source_of(image):
    return Source.from_meta(image.meta["frerec"]["source"])


def save(path, stored):
    """Rows, columns[, 1 to 4 samples] to a PNG or TIFF of their own depth."""
    if path.suffix == ".png":
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[stored.shape[2] if stored.ndim == 3 else 1]
        rows = stored.reshape(len(stored), -1)
        png.from_array(rows, f"{mode};{8 * stored.dtype.itemsize}").save(path)
    elif path.suffix == ".tif":
        rgb = stored.ndim == 3 and stored.shape[2] >= 3
        extra = ["unassalpha"] if stored.ndim == 3 and stored.shape[2] in (2, 4) else None
        tifffile.imwrite(path, stored, photometric="rgb" if rgb else "minisblack", extrasamples=extra, planarconfig=1)
    else:
        Image.fromarray(stored).save(path)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".png", ".tif"]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    samples=st.sampled_from([0, 2, 3, 4]),
    size=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    seed=st.integers(0, 2**32 - 1),
)
def test_depth_colour_and_alpha_come_back_bit_for_bit(tmp_path, suffix, dtype, samples, size, seed):
    noise = np.random.default_rng(seed)
    stored = noise.integers(0, np.iinfo(dtype).max, (*size, samples) if samples else size, dtype, endpoint=True)
    stored.flat[:9:4] = 1, 2, 3
    stored[0, 0], stored[0, 1] = 0, 255
    image = LOAD(save(tmp_path / f"a{suffix}", stored))
    colour = stored[..., :3] if samples >= 3 else stored[..., :1] if samples else stored[..., None]
    assert np.array_equal(image.numpy(), np.moveaxis(colour, -1, 0))
    back = to_stored(image.numpy(), source_of(image))[0]
    assert not back.changed
    assert back.array.dtype == dtype
    assert np.array_equal(back.array, stored)
    inverse = np.iinfo(dtype).max - image.numpy()
    back = to_stored(inverse, source_of(image))[0].array.reshape(*size, -1)
    assert np.array_equal(back[..., : colour.shape[-1]], np.iinfo(dtype).max - colour)
    if samples in (2, 4):
        assert np.array_equal(back[..., -1], stored[..., -1])


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int32, np.float32, np.float64, ">u2", ">f4"])
def test_tiff_of_other_types(tmp_path, dtype):
    stored = (1e4 * NOISE.random((5, 6))).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, byteorder=np.dtype(dtype).byteorder.replace("=", "<"))
    image = LOAD(tmp_path / "a.tif")
    assert np.array_equal(image[0].numpy(), stored.astype(np.float32))
    assert np.array_equal(to_stored(image.numpy(), source_of(image))[0].array, stored)


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_jpeg_and_bmp_are_what_pillow_decodes(tmp_path, name, shape):
    path = save(tmp_path / name, NOISE.integers(0, 255, shape).astype(np.uint8))
    expected = np.asarray(Image.open(path))
    image = LOAD(path)
    assert np.array_equal(image.numpy(), expected[None] if expected.ndim == 2 else np.moveaxis(expected, -1, 0))
    assert np.array_equal(to_stored(image.numpy(), source_of(image))[0].array, expected)


def test_real_pictures(shared_data):
    for folder, channels in (("chest_xray", 1), ("brain_mri", 1), ("fundus", 3)):
        path = sorted((shared_data / folder / "images").rglob("*.png"))[0]
        image = LOAD(path)
        expected = np.asarray(Image.open(path))
        assert image.shape == (channels, 256, 256)
        assert np.array_equal(image.numpy(), np.moveaxis(expected.reshape(256, 256, -1), -1, 0))


def test_palettes_become_gray_or_colour(tmp_path):
    indices = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L").convert("P")
    indices.putpalette([9, 9, 9, 50, 50, 50, 200, 200, 200])
    indices.save(tmp_path / "gray.png")
    indices.putpalette([9, 8, 7, 50, 50, 50, 200, 200, 200])
    indices.save(tmp_path / "colour.png")
    assert LOAD(tmp_path / "gray.png").numpy().tolist() == [[[9, 50], [200, 50]]]
    assert LOAD(tmp_path / "colour.png")[:, 0, 0].tolist() == [9, 8, 7]
    assert source_of(LOAD(tmp_path / "gray.png")).details["palette"]


def test_gray_saved_as_colour_is_one_channel_where_one_is_wanted(tmp_path):
    gray = NOISE.integers(0, 255, (4, 5)).astype(np.uint8)
    path = save(tmp_path / "a.png", np.repeat(gray[..., None], 3, axis=-1))
    image = LoadMedicalImage(channels=1)(path)
    assert np.array_equal(image.numpy(), gray[None])
    back = to_stored(image.numpy() * 0 + 7, source_of(image))[0].array
    assert back.shape == (4, 5, 3)
    assert (back == 7).all()
    with pytest.raises(InputError, match="gray image with 1 channel, but 3 wanted"):
        LoadMedicalImage(channels=3)(save(tmp_path / "b.png", gray))
    with pytest.raises(InputError, match="colour image with 3 channels, but 1 wanted"):
        LoadMedicalImage(channels=1)(save(tmp_path / "c.png", NOISE.integers(0, 255, (4, 5, 3)).astype(np.uint8)))


def test_values_beyond_the_depth_are_clipped_never_wrapped(tmp_path):
    stored = np.array([[0, 100], [200, 255]], np.uint8)
    image = LOAD(save(tmp_path / "a.png", stored))
    back = to_stored(image.numpy() + np.array([[[-50, 0], [0, 900]]]), source_of(image))[0].array
    assert back.tolist() == [[0, 100], [200, 255]]
    back = to_stored(np.array([[[-50.0, 99.6], [1e30, 3]]]), source_of(image))[0]
    assert back.array.tolist() == [[0, 100], [255, 3]]


def pages(path):
    tifffile.imwrite(path, NOISE.integers(0, 255, (3, 4, 5)).astype(np.uint8), photometric="minisblack")


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("bits.png", lambda path: Image.new("1", (4, 4)).save(path), "only 1 bit per pixel"),
        ("ink.jpg", lambda path: Image.new("CMYK", (4, 4)).save(path), "colour mode CMYK is not supported"),
        ("pages.tif", pages, "it holds 3 pages"),
        ("flat.png", lambda path: Image.new("L", (4, 4), 9).save(path), "constant image: every voxel is 9"),
        ("nan.tif", lambda path: tifffile.imwrite(path, np.full((2, 2), np.nan, np.float32)), "NaN voxels"),
        ("moving.gif", lambda path: Image.new("L", (4, 4)).save(path), "a GIF picture, which is not read"),
        ("text.png", lambda path: path.write_text("hello"), "not an image of a kind that is read"),
        ("empty.png", lambda path: path.write_bytes(b""), "the file is empty"),
    ],
)
def test_what_cannot_be_recalibrated_is_refused(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(InputError, match=reason):
        LOAD(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp", "deep.png"])
def test_truncated_pictures_are_refused(tmp_path, name):
    depth = np.uint16 if name.startswith("deep") else np.uint8
    path = save(tmp_path / name, NOISE.integers(0, 255, (32, 32, 3)).astype(depth))
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=r"truncated|cannot be understood"):
            LOAD(path)


def test_a_file_changed_meanwhile_is_not_mixed_with_the_old_one(tmp_path):
    image = LOAD(save(tmp_path / "a.png", NOISE.integers(0, 255, (4, 5)).astype(np.uint8)))
    save(tmp_path / "a.png", NOISE.integers(0, 255, (4, 5)).astype(np.uint8))
    with pytest.raises(InputError, match="changed or gone since it was loaded"):
        to_stored(image.numpy(), source_of(image))
