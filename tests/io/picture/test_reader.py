from __future__ import annotations

import struct
import zlib

import numpy as np
import png
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from frerec.errors import InputError
from frerec.io.loader import LoadMedicalImage
from frerec.io.writer import encoded_pixels

LOAD = LoadMedicalImage()
NOISE = np.random.default_rng(11)


def source_of(image):
    return image.meta["frerec"]["source"]


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
    back = encoded_pixels(image.numpy(), source_of(image))[0]
    assert not back.changed
    assert back.array.dtype == dtype
    assert np.array_equal(back.array, stored)
    # what uses 12 of 16 bits keeps to them
    top = source_of(image).limits[1]
    inverse = top - image.numpy()
    back = encoded_pixels(inverse, source_of(image))[0].array.reshape(*size, -1)
    assert np.array_equal(back[..., : colour.shape[-1]], top - colour)
    if samples in (2, 4):
        assert np.array_equal(back[..., -1], stored[..., -1])


TYPES = ["i1", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4", ">f8"]


@pytest.mark.parametrize("dtype", TYPES)
def test_tiff_of_other_types(tmp_path, dtype):
    stored = (100 * NOISE.random((5, 6))).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, byteorder=np.dtype(dtype).byteorder.replace("=", "<"))
    image = LOAD(tmp_path / "a.tif")
    assert np.array_equal(image[0].numpy(), stored.astype(np.float32))
    assert np.array_equal(encoded_pixels(image.numpy(), source_of(image))[0].array, stored)


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_jpeg_and_bmp_are_what_pillow_decodes(tmp_path, name, shape):
    path = save(tmp_path / name, NOISE.integers(0, 255, shape).astype(np.uint8))
    expected = np.asarray(Image.open(path))
    image = LOAD(path)
    assert np.array_equal(image.numpy(), expected[None] if expected.ndim == 2 else np.moveaxis(expected, -1, 0))
    assert np.array_equal(encoded_pixels(image.numpy(), source_of(image))[0].array, expected)


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
    assert source_of(LOAD(tmp_path / "gray.png")).palette


def test_gray_saved_as_colour_is_one_channel_where_one_is_wanted(tmp_path):
    gray = NOISE.integers(0, 255, (4, 5)).astype(np.uint8)
    path = save(tmp_path / "a.png", np.repeat(gray[..., None], 3, axis=-1))
    image = LoadMedicalImage(channels=1)(path)
    assert np.array_equal(image.numpy(), gray[None])
    back = encoded_pixels(image.numpy() * 0 + 7, source_of(image))[0].array
    assert back.shape == (4, 5, 3)
    assert (back == 7).all()
    with pytest.raises(InputError, match="gray image with 1 channel, but 3 wanted"):
        LoadMedicalImage(channels=3)(save(tmp_path / "b.png", gray))
    with pytest.raises(InputError, match="colour image with 3 channels, but 1 wanted"):
        LoadMedicalImage(channels=1)(save(tmp_path / "c.png", NOISE.integers(0, 255, (4, 5, 3)).astype(np.uint8)))


def test_values_beyond_the_depth_are_clipped_never_wrapped(tmp_path):
    stored = np.array([[0, 100], [200, 255]], np.uint8)
    image = LOAD(save(tmp_path / "a.png", stored))
    back = encoded_pixels(image.numpy() + np.array([[[-50, 0], [0, 900]]]), source_of(image))[0].array
    assert back.tolist() == [[0, 100], [200, 255]]
    back = encoded_pixels(np.array([[[-50.0, 99.6], [1e30, 3]]]), source_of(image))[0]
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


def png_chunk(name, data):
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png_header(width, height, depth=8, colour=0):
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(b"\0" * 99)) + png_chunk(b"IEND", b"")


def huge_tiff(path):
    tifffile.imwrite(path, np.arange(400, dtype="u2").reshape(20, 20), compression="adobe_deflate", metadata=None)
    data = bytearray(path.read_bytes())
    for tag in (256, 257, 278):
        place = data.index(struct.pack("<H", tag)) + 8
        data[place : place + 4] = struct.pack("<I", 200_000)
    path.write_bytes(data)


def changed_bytes(path, place, value):
    data = bytearray(path.read_bytes())
    data[place : place + len(value)] = value
    path.write_bytes(data)


def odd_bmp(path, place, value):
    Image.fromarray(NOISE.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)
    changed_bytes(path, place, value)


def jpeg_of_frame(path, marker, bits=8):
    Image.fromarray(NOISE.integers(0, 255, (8, 8)).astype(np.uint8)).save(path)
    place = path.read_bytes().index(b"\xff\xc0")
    changed_bytes(path, place + 1, bytes([marker]))
    changed_bytes(path, place + 4, bytes([bits]))


def tiff(path, array, **options):
    tifffile.imwrite(path, array, metadata=None, **options)


SOLID = dict(volumetric=True, tile=(1, 16, 16), photometric="minisblack")
GRAY = NOISE.integers(0, 255, (20, 24)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.bmp", lambda path: odd_bmp(path, 28, b"\2\0"), "a BMP of a kind that is not read .* 2 bits"),
        ("b.bmp", lambda path: odd_bmp(path, 30, b"\4\0"), "compression JPEG"),
        ("a.jpg", lambda path: jpeg_of_frame(path, 0xC3), r"a JPEG of a kind that is not read \(lossless"),
        ("b.jpg", lambda path: jpeg_of_frame(path, 0xC1, 12), "a JPEG with 12 bits, of which only 8 are read"),
        ("c.jpg", lambda path: jpeg_of_frame(path, 0xF7), "JPEG-LS"),
        ("a.tif", lambda path: path.write_bytes(b"II*\0\xff\xff\0\0"), "the directory of its first picture is missing"),
        ("b.tif", huge_tiff, "its header promises 80000000000 bytes of pixels"),
        ("c.tif", lambda path: tiff(path, GRAY, subfiletype=1), "only a smaller copy of another picture"),
        ("d.tif", lambda path: tiff(path, GRAY + 1j), "(?i)complex"),
        ("e.tif", lambda path: tiff(path, GRAY.astype("f4"), photometric="miniswhite"), "MINISWHITE"),
        ("f.tif", lambda path: tiff(path, np.stack([GRAY] * 3), **SOLID), "it holds 3 pictures in one page"),
        ("a.png", lambda path: path.write_bytes(png_header(12_000, 12_000)), "its header promises 144000000 bytes"),
        ("b.png", lambda path: path.write_bytes(png_header(60_000, 60_000)), "safety limit of pixels"),
        ("c.png", lambda path: path.write_bytes(png_header(60_000, 60_000, 16, 2)), "safety limit of pixels"),
    ],
)
def test_reasons_are_true(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(InputError, match=reason):
        LOAD(tmp_path / name)


def test_kinds_of_bmp(tmp_path):
    """16 bits of 5-6-5 and run lengths, as Pillow decodes them."""
    words = NOISE.integers(0, 65536, (4, 6)).astype("<u2")
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    info = struct.pack("<IiiHHIIiiII", 40, 6, 4, 1, 16, 3, words.nbytes, 0, 0, 0, 0)
    file = struct.pack("<2sIHHI", b"BM", 66 + words.nbytes, 0, 0, 66) + info + masks + words[::-1].tobytes()
    (tmp_path / "a.bmp").write_bytes(file)
    red = np.rint((words >> 11) * 255 / 31)
    assert np.abs(LOAD(tmp_path / "a.bmp")[0].numpy() - red).max() <= 1
    runs = b"".join(bytes([3, value, 3, value + 1, 0, 0]) for value in (4, 3, 2, 1)) + b"\0\1"
    palette = b"".join(bytes([9 * k, 9 * k, 9 * k, 0]) for k in range(8))
    info = struct.pack("<IiiHHIIiiII", 40, 6, 4, 1, 8, 1, len(runs), 0, 0, 8, 0)
    (tmp_path / "b.bmp").write_bytes(struct.pack("<2sIHHI", b"BM", 86 + len(runs), 0, 0, 86) + info + palette + runs)
    assert LOAD(tmp_path / "b.bmp")[0, :, 0].tolist() == [9, 18, 27, 36]


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_the_transparent_value_of_a_png_becomes_alpha(tmp_path, depth, colour):
    if colour and depth < 8:
        return
    top, shape = 2**depth - 1, (6, 7 * (3 if colour else 1))
    stored = NOISE.integers(0, top, shape, endpoint=True)
    stored[0, : 3 if colour else 1] = key = [2, 1, 3] if colour else [2]
    with (tmp_path / "a.png").open("wb") as file:
        transparent = tuple(key) if colour else key[0]
        png.Writer(7, 6, greyscale=not colour, bitdepth=depth, transparent=transparent).write(file, stored.tolist())
    image = LOAD(tmp_path / "a.png")
    back = encoded_pixels(image.numpy(), source_of(image))[0].array
    stored = stored.reshape(6, 7, -1)
    assert np.array_equal(back[..., :-1], stored * (255 // top if depth < 8 else 1))
    assert np.array_equal(back[..., -1] == 0, (stored == key).all(-1))
    assert back[..., -1].max() == (65535 if depth == 16 else 255)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "u4"])
@pytest.mark.parametrize("compression", [None, "adobe_deflate"])
def test_white_is_zero_is_turned_over(tmp_path, dtype, compression):
    stored = NOISE.integers(0, 200, (9, 8)).astype(dtype)
    order = ">" if dtype.startswith(">") else "<"
    tiff(tmp_path / "a.tif", stored, photometric="miniswhite", compression=compression, byteorder=order)
    image = LOAD(tmp_path / "a.tif")
    assert np.array_equal(image[0].numpy(), (np.iinfo(dtype).max - stored).astype("f4"))
    assert np.array_equal(encoded_pixels(image.numpy(), source_of(image))[0].array, stored)
    darker = encoded_pixels(image.numpy() * 0, source_of(image))[0].array
    assert (darker == np.iinfo(dtype).max).all()


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lzw_is_read_by_pillow(tmp_path, dtype):
    stored = NOISE.integers(0, 200, (40, 30)).astype(dtype)
    Image.fromarray(stored).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(LOAD(tmp_path / "a.tif")[0].numpy(), stored)
    Image.fromarray(stored.astype("f4")).save(tmp_path / "b.tif", compression="tiff_lzw")
    with pytest.raises(InputError, match=r"its compression \(LZW\) cannot be read with this kind of pixels"):
        LOAD(tmp_path / "b.tif")


def test_what_is_not_kept_is_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, imagej=True, resolution=(20, 20), metadata={"unit": "mm"})
    assert source_of(LOAD(tmp_path / "a.tif")).warnings == ("its ImageJ description is not kept",)
    with (tmp_path / "a.png").open("wb") as file:
        png.Writer(24, 20, greyscale=True, bitdepth=8).write(file, GRAY.tolist())
    plain = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(plain[:33] + png_chunk(b"sBIT", b"\6") + plain[33:])
    (warning,) = source_of(LOAD(tmp_path / "a.png")).warnings
    assert "significant (sBIT)" in warning


def test_a_file_changed_meanwhile_is_not_mixed_with_the_old_one(tmp_path):
    image = LOAD(save(tmp_path / "a.png", NOISE.integers(0, 255, (4, 5)).astype(np.uint8)))
    save(tmp_path / "a.png", NOISE.integers(0, 255, (4, 5)).astype(np.uint8))
    with pytest.raises(InputError, match="changed or gone since it was loaded"):
        encoded_pixels(image.numpy(), source_of(image))
