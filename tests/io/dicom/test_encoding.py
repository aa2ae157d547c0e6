"""Pixels in a data set, and the attributes that describe them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from frerec.io.dicom.encoding import free_embedded_overlays, keep_lossy_history, put_pixels
from frerec.io.formats import InputFile
from frerec.io.restoring import EncodedPixels

FILE = InputFile(Path("x"), "")


def stored(array: np.ndarray, photometric: str = "MONOCHROME2", bits: int | None = None) -> EncodedPixels:
    return EncodedPixels(FILE, array, True, photometric, bits or array.itemsize * 8)


@pytest.fixture
def header(tmp_path: Path, make_dicom: Callable[..., Path]) -> Dataset:
    return pydicom.dcmread(make_dicom(tmp_path / "x.dcm", np.zeros((3, 5), np.uint16)))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", ">i2", "u4"])
def test_gray_of_any_type(header: Dataset, dtype: str) -> None:
    limits = np.iinfo(np.dtype(dtype))
    array = np.linspace(limits.min, limits.max, 15).astype(dtype).reshape(3, 5)
    put_pixels(header, stored(array))
    assert np.array_equal(header.pixel_array, array)
    assert header.PixelRepresentation == int("i" in dtype) and header.HighBit == header.BitsStored - 1
    assert len(header.PixelData) % 2 == 0 and "PlanarConfiguration" not in header


def test_colour_is_stored_by_pixel(header: Dataset) -> None:
    header.PlanarConfiguration = 1
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    put_pixels(header, stored(array, "RGB"))
    assert (header.SamplesPerPixel, header.PlanarConfiguration, header.PhotometricInterpretation) == (3, 0, "RGB")
    assert np.array_equal(header.pixel_array, array)


def test_floating_point_goes_to_its_own_element(header: Dataset) -> None:
    array = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)
    put_pixels(header, EncodedPixels(FILE, array, True, "MONOCHROME2", 0, "FloatPixelData"))
    assert np.array_equal(header.pixel_array, array)
    assert "PixelData" not in header and "BitsStored" not in header and header.BitsAllocated == 32


def test_extremes_are_renewed_where_present(header: Dataset) -> None:
    array = np.array([[-5, 3], [9, -700]], np.int16)
    put_pixels(header, stored(array))
    assert "SmallestImagePixelValue" not in header
    header.SmallestImagePixelValue, header.LargestImagePixelValue = 0, 4095
    header.SmallestPixelValueInSeries = 0
    put_pixels(header, stored(array))
    assert (header.SmallestImagePixelValue, header.LargestImagePixelValue) == (-700, 9)
    assert header["SmallestImagePixelValue"].VR == "SS" and "SmallestPixelValueInSeries" not in header


def test_a_palette_goes_when_its_image_became_rgb(header: Dataset) -> None:
    header.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        setattr(header, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(header, f"{colour}PaletteColorLookupTableData", b"\0" * 512)
    put_pixels(header, stored(np.zeros((3, 5), np.uint8), "PALETTE COLOR"))
    assert header.SamplesPerPixel == 1 and len(header.RedPaletteColorLookupTableData) == 512
    colours = np.arange(45, dtype=np.uint16).reshape(3, 5, 3) * 257
    put_pixels(header, stored(colours, "RGB"))
    assert header.SamplesPerPixel == 3 and not [element for element in header if "Palette" in element.keyword]
    assert header.BitsAllocated == 8 and np.array_equal(header.pixel_array, colours // 257)


def compressed(header: Dataset, syntax: str) -> Dataset:
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.PixelData = b"\0" * 10
    return header


def test_lossy_compression_of_the_source_is_told(header: Dataset) -> None:
    keep_lossy_history(compressed(header, "1.2.840.10008.1.2.4.50"))
    assert (header.LossyImageCompression, header.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(header.LossyImageCompressionRatio) == 3.0


def test_lossless_sources_and_own_statements_are_left(header: Dataset) -> None:
    keep_lossy_history(compressed(header, "1.2.840.10008.1.2.4.90"))
    assert "LossyImageCompression" not in header
    header.LossyImageCompression, header.LossyImageCompressionRatio = "01", ["5", "7"]
    keep_lossy_history(compressed(header, "1.2.840.10008.1.2.4.91"))
    assert list(header.LossyImageCompressionRatio) == [5, 7] and "LossyImageCompressionMethod" not in header


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_overlay_in_unused_bits_becomes_overlay_data(header: Dataset, order: str) -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (3, 5)).astype(bool)
    words = rng.integers(0, 4096, (3, 5)).astype(np.uint16) | (mask.astype(np.uint16) << 13)
    header.BitsStored, header.HighBit = 12, 11
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1" if order == "<" else "1.2.840.10008.1.2.2"
    header.PixelData = words.astype(f"{order}u2").tobytes()
    header.add_new(0x60000010, "US", 3)
    header.add_new(0x60000011, "US", 5)
    header.add_new(0x60000100, "US", 16)
    header.add_new(0x60000102, "US", 13)
    assert free_embedded_overlays(header) == 1
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    assert np.array_equal(header.overlay_array(0x6000), mask)
    assert free_embedded_overlays(header) == 0
