"""PNG and TIFF outputs: depth, colour, alpha and resolution kept; provenance inside."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from frerec.imaging.picture_writer import TEXT_KEYWORD, png_bytes, text_records

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
    ("dtype", "samples"), [("u1", 1), ("u2", 1), ("u1", 3), ("u2", 3), ("u2", 4), ("f4", 1), ("i2", 1)]
)
def test_tiff_keeps_type_samples_and_resolution(tmp_path: Path, recalibrate: Run, dtype: str, samples: int) -> None:
    shape = (7, 5) if samples == 1 else (7, 5, samples)
    array = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    path = tmp_path / "in" / "p.tif"
    path.parent.mkdir()
    photometric = "rgb" if samples >= 3 else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, resolution=(300, 150), resolutionunit=3, metadata=None)
    recalibrate(path, tmp_path / "in", tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "p.tif") as file:
        page = file.pages[0]
        assert page.asarray().dtype == array.dtype and np.array_equal(page.asarray(), array)
        assert page.tags["XResolution"].value == (300, 1) and page.tags["YResolution"].value == (150, 1)
        assert page.tags["ResolutionUnit"].value == 3
    record = json.loads(text_records(tmp_path / "out" / "p.tif")[0].removeprefix("FreRec"))
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
