"""PNG and TIFF outputs: depth, colour, alpha and resolution kept; provenance inside."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import png
import pydicom
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from frerec.io.formats import InputFile
from frerec.io.picture.writer import TEXT_KEYWORD, png_bytes, text_records

Run = Callable[..., dict[str, Any]]


def read_png(data: bytes) -> np.ndarray:
    """An independent reading: pypng, which knows all depths."""
    width, height, rows, info = png.Reader(bytes=data).read()
    values = np.vstack([np.asarray(row) for row in rows])
    return values.reshape(height, width, info["planes"]) if info["planes"] > 1 else values


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.one_of(
            st.tuples(st.integers(1, 9), st.integers(1, 9)),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
        ),
    )
)
@settings(max_examples=60, deadline=None)
def test_any_picture_comes_back_with_its_text(array: np.ndarray) -> None:
    data = png_bytes(array, {"software": "FreRec", "seed": 1})
    plain = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    assert np.array_equal(read_png(data), plain)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert json.loads(image.text[TEXT_KEYWORD]) == {"software": "FreRec", "seed": 1}
        assert image.text["Software"].startswith("FreRec ")


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_depth_colour_and_alpha(tmp_path: Path, recalibrate: Run, planes: int, dtype: type) -> None:
    top = int(np.iinfo(dtype).max)
    array = np.random.default_rng(planes).integers(0, top + 1, (7, 5, planes)).astype(dtype)
    path = tmp_path / "in" / "p.png"
    path.parent.mkdir()
    path.write_bytes(png_bytes(array, {}))
    recalibrate(path, tmp_path / "in", tmp_path / "same")
    assert np.array_equal(read_png((tmp_path / "same" / "p.png").read_bytes()).reshape(array.shape), array)
    recalibrate(path, tmp_path / "in", tmp_path / "half", change=lambda image: 0.5 * image)
    changed = read_png((tmp_path / "half" / "p.png").read_bytes()).reshape(array.shape)
    colour = planes - (planes in (2, 4))
    assert np.abs(changed[..., :colour] - array[..., :colour] / 2).max() <= 0.5
    assert np.array_equal(changed[..., colour:], array[..., colour:])


@pytest.mark.parametrize(
    ("dtype", "samples"),
    [
        *((dtype, 1) for dtype in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">f8")),
        *[("u1", 3), ("u2", 3), ("u2", 4), ("f4", 3), ("f8", 2)],
    ],
)
def test_tiff_keeps_type_samples_and_resolution(tmp_path: Path, recalibrate: Run, dtype: str, samples: int) -> None:
    shape = (7, 5) if samples == 1 else (7, 5, samples)
    array = (np.random.default_rng(0).random(shape) * (100 if dtype == "i1" else 200)).astype(dtype)
    path = tmp_path / "in" / "p.tif"
    path.parent.mkdir()
    photometric = "rgb" if samples >= 3 else "minisblack"
    options = dict(resolution=(300, 150), resolutionunit=3, metadata=None, byteorder=">" if dtype[0] == ">" else "<")
    tifffile.imwrite(path, array, photometric=photometric, planarconfig="contig" if samples > 1 else None, **options)
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "p.tif") as file:
        page = file.pages[0]
        assert page.asarray().dtype == array.dtype.newbyteorder("=") and np.array_equal(page.asarray(), array)
        assert page.tags["XResolution"].value == (300, 1) and page.tags["YResolution"].value == (150, 1)
        assert page.tags["ResolutionUnit"].value == 3
    record = json.loads(text_records(InputFile.read(tmp_path / "out" / "p.tif"))[0].removeprefix("FreRec"))
    assert record["source"]["name"] == "p.tif"


def test_resolution_profile_and_orientation_are_taken_over(tmp_path: Path, recalibrate: Run) -> None:
    path = tmp_path / "in" / "photo.jpg"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera of somebody"
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    image.save(path, dpi=(96, 96), icc_profile=b"profile bytes", exif=exif)
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out" / "photo.png") as out:
        assert out.size == (24, 16)
        assert out.info["dpi"] == pytest.approx((96, 96), abs=0.1)
        assert out.info["icc_profile"] == b"profile bytes"
        assert dict(out.getexif()) == {0x0112: 6}


EXTRA = [
    ("minisblack", 2, ["assocalpha"]),
    ("minisblack", 2, ["unspecified"]),
    ("minisblack", 3, ["unspecified", "unspecified"]),
    ("rgb", 4, ["assocalpha"]),
    ("rgb", 4, ["unassalpha"]),
    ("miniswhite", 1, None),
]


@pytest.mark.parametrize(("photometric", "samples", "extra"), EXTRA)
@pytest.mark.parametrize("form", [{}, {"tile": (16, 16)}, {"bigtiff": True, "compression": "adobe_deflate"}])
def test_tiff_keeps_its_kind(
    tmp_path: Path, recalibrate: Run, photometric: str, samples: int, extra: list[str] | None, form: dict[str, Any]
) -> None:
    array = np.random.default_rng(3).integers(0, 60000, (20, 18, samples)).astype(np.uint16)
    array = array[..., 0] if samples == 1 else array
    path = tmp_path / "in" / "p.tif"
    path.parent.mkdir()
    form = {**form, "planarconfig": "contig" if samples > 1 else None, "metadata": None}
    tifffile.imwrite(path, array, photometric=photometric, extrasamples=extra, **form)
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "p.tif") as new, tifffile.TiffFile(path) as old:
        assert np.array_equal(new.asarray(), array)
        assert new.pages[0].photometric == old.pages[0].photometric
        assert new.pages[0].extrasamples == old.pages[0].extrasamples


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_png_is_shown_as_its_source(tmp_path: Path, recalibrate: Run, colour: bool, depth: int) -> None:
    rows = np.random.default_rng(4).integers(0, 2**depth, (9, 8 * (3 if colour else 1))).tolist()
    path, plain = tmp_path / "in" / "p.png", io.BytesIO()
    path.parent.mkdir()
    png.Writer(8, 9, greyscale=not colour, bitdepth=depth, gamma=0.5).write(plain, rows)
    head, *rest = png.Reader(bytes=plain.getvalue()).chunks()
    kept = {
        b"cHRM": bytes(range(32)),
        b"iCCP": b"name\0\0" + zlib.compress(b"\0" * 16 + (b"RGB " if colour else b"GRAY") + b"\0" * 108),
        b"pHYs": (2835).to_bytes(4, "big") + (5000).to_bytes(4, "big") + b"\0",
    }
    with path.open("wb") as file:
        note = (b"tEXt", b"Comment\0somebody")
        png.write_chunks(file, [head, *kept.items(), note, *rest])
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    out = dict(png.Reader(filename=str(tmp_path / "out" / "p.png")).chunks())
    assert {name: out[name] for name in kept} == kept
    assert out[b"gAMA"] == (50000).to_bytes(4, "big")
    assert b"somebody" not in (tmp_path / "out" / "p.png").read_bytes()
    assert read_png((tmp_path / "out" / "p.png").read_bytes()).reshape(9, -1).tolist() == rows


def test_white_is_zero_is_told_to_dicom(tmp_path: Path, recalibrate: Run) -> None:
    array = np.random.default_rng(5).integers(0, 60000, (20, 18)).astype(np.uint16)
    path = tmp_path / "in" / "p.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, array, photometric="miniswhite", metadata=None)
    recalibrate(path, tmp_path / "in", tmp_path / "out", output_format="dicom")
    dataset = pydicom.dcmread(tmp_path / "out" / "p.dcm")
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    assert np.array_equal(dataset.pixel_array, array)
