from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from frerec.errors import InputError
from frerec.io.loader import LoadMedicalImage
from frerec.io.records import Source
from frerec.io.writer import encoded_pixels
from tests.io.dicom.objects import CT, dicom_object, enhanced_object, save

LOAD = LoadMedicalImage()
NOISE = np.random.default_rng(3)
COMPRESSED = {
    "JPEG baseline": "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "JPEG extended": "JPGExtended.dcm",
    "JPEG lossless": "SC_rgb_jpeg_gdcm.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG-LS near lossless": "JPEGLSNearLossless_16.dcm",
    "JPEG 2000": "JPEG2000.dcm",
    "JPEG 2000 lossless": "MR_small_jp2klossless.dcm",
    "JPEG 2000 colour": "GDCMJ2K_TextGBR.dcm",
    "RLE": "MR_small_RLE.dcm",
    "RLE colour": "SC_rgb_rle.dcm",
    "deflated": "image_dfl.dcm",
    "big endian": "MR_small_bigendian.dcm",
    "implicit": "MR_small_implicit.dcm",
}


def source_of(image) -> Source:
    return image.meta["frerec"]["source"]


def written(image, values=None):
    """What a writer would store for the loaded image, or for other values in its place."""
    return encoded_pixels(image.numpy() if values is None else values, source_of(image))[0]


def pydicom_pixels(path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path).pixel_array


@pytest.mark.parametrize("name", COMPRESSED.values(), ids=COMPRESSED)
def test_every_transfer_syntax_gives_the_values_that_gdcm_gives(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    ours = LOAD(path).numpy()
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(path))
    if ours.shape[0] == 3:
        theirs = np.moveaxis(theirs, -1, 0)
    theirs = np.moveaxis(theirs, -3, -1).reshape(ours.shape)
    # The standard of lossy JPEG lets decoders differ by a grey level, which the colour conversion multiplies.
    tolerance = {"SC_rgb_dcmtk_+eb+cy+np.dcm": 3, "JPGExtended.dcm": 1}.get(name, 0)
    assert np.abs(ours - theirs).max() <= tolerance


def test_monochrome1_is_inverted_once_and_written_back_as_it_came(tmp_path):
    stored = NOISE.integers(0, 1024, (6, 7)).astype(np.uint16)
    path = save(dicom_object(stored, photometric="MONOCHROME1", bits=10), tmp_path / "a.dcm")
    image = LOAD(path)
    assert np.array_equal(image[0].numpy(), 1023 - stored)
    assert np.array_equal(image[0].numpy(), sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0])
    back = written(image, image.numpy() + 2)
    assert back.photometric == "MONOCHROME1"
    assert np.array_equal(back.array, np.maximum(stored.astype(int) - 2, 0))


def test_rescale_gives_hounsfield_units_and_is_undone(tmp_path):
    stored = NOISE.integers(-2000, 2000, (5, 6)).astype(np.int16)
    dataset = dicom_object(stored, bits=12, SOPClassUID=CT, Modality="CT", RescaleSlope=0.5, RescaleIntercept=-1024)
    stored = stored.clip(-2048, 2047)
    image = LOAD(save(dataset, tmp_path / "a.dcm"))
    assert np.array_equal(image[0].numpy(), stored * 0.5 - 1024)
    assert np.array_equal(written(image, image.numpy() + 10).array, np.minimum(stored + 20, 2047))


def test_padding_is_no_edge_does_not_count_and_comes_back_untouched(tmp_path):
    stored = NOISE.integers(0, 900, (8, 8)).astype(np.int16)
    stored[:2], stored[7, 7] = -2000, -1990
    dataset = dicom_object(stored, RescaleSlope=1, RescaleIntercept=-1000, PixelPaddingValue=-2000)
    dataset.add_new("PixelPaddingRangeLimit", "SS", -1980)
    image = LOAD(save(dataset, tmp_path / "a.dcm"))
    real = stored > -1980
    assert image.numpy().min() == stored[real].min() - 1000
    assert (image[0].numpy()[~real] == image.numpy().min()).all()
    assert list(source_of(image).ranges["measured"]) == [image.numpy().min(), image.numpy().max()]
    # Values pushed into the padding range must not turn into padding.
    back = written(image, np.full_like(image.numpy(), -2985)).array
    assert np.array_equal(back[~real], stored[~real])
    assert (back[real] == -1979).all()


def test_padding_stated_as_the_bit_pattern_of_another_sign(tmp_path):
    stored = np.arange(-3, 9, dtype=np.int16).reshape(3, 4)
    dataset = dicom_object(stored)
    dataset.add_new("PixelPaddingValue", "US", 65533)
    assert source_of(LOAD(save(dataset, tmp_path / "a.dcm"))).padding == (-3, -3)


def test_modality_lut_goes_to_the_nearest_entry_and_back(tmp_path):
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4, 0, 16], "US"
    item.add_new("LUTData", "US", [100, 300, 50, 900])
    stored = np.array([[0, 1], [2, 3]], np.uint8)
    image = LOAD(save(dicom_object(stored, ModalityLUTSequence=Sequence([item])), tmp_path / "a.dcm"))
    assert image[0].numpy().tolist() == [[100, 300], [50, 900]]
    assert written(image).array.tolist() == stored.tolist()
    assert written(image, np.array([[[290, 90], [5000, 0]]])).array.tolist() == [[1, 0], [3, 2]]


def test_bits_above_those_stored_are_ignored(tmp_path):
    stored = np.array([[0xF005, 0x8FFF], [0x0001, 0x0FFE]], np.uint16)
    image = LOAD(save(dicom_object(stored, bits=12), tmp_path / "a.dcm"))
    assert image[0].numpy().tolist() == [[5, 4095], [1, 4094]]


@pytest.mark.parametrize("name", ["SC_ybr_full_422_uncompressed.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"])
def test_ybr_of_reduced_colour_is_read_and_written_as_rgb(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    image = LOAD(path)
    assert image.shape[0] == 3
    same = written(image)
    assert (same.changed, same.photometric) == (False, "RGB")
    assert np.array_equal(np.moveaxis(same.array, -1, 0), image.numpy())
    grey = np.full_like(image.numpy(), 77)
    assert written(image, grey).array.reshape(-1, 3)[0].tolist() == [77, 77, 77]


def test_palette_keeps_indices_until_a_pixel_changes(tmp_path):
    path = get_testdata_file("examples_palette.dcm", download=False)
    if path is None:
        pytest.skip("this pydicom comes without examples_palette.dcm")
    image = LOAD(path)
    assert np.array_equal(written(image).array, pydicom_pixels(path))
    values = image.numpy().copy()
    values[:, 0, 0] = [1, 2, 3]
    back = written(image, values)
    assert (back.photometric, back.array.shape[-1]) == ("RGB", 3)
    assert back.array[0, 0].tolist() == [1, 2, 3]
    assert np.array_equal(np.moveaxis(back.array, -1, 0)[:, 1:], image.numpy()[:, 1:])


def test_enhanced_object_is_a_volume_ordered_by_position_with_a_scale_per_frame(tmp_path):
    volume = NOISE.integers(0, 4096, (4, 5, 6)).astype(np.uint16)
    heights, slopes = [9.0, 3.0, 6.0, 0.0], [1.0, 2.0, 0.5, 4.0]
    image = LOAD(save(enhanced_object(volume, heights, slopes), tmp_path / "a.dcm"))
    order = [3, 1, 2, 0]
    expected = np.stack([volume[index] * slopes[index] - 5 for index in order], axis=-1)
    assert np.array_equal(image[0].numpy(), expected)
    assert image.meta["spacing"].tolist() == [0.5, 0.75, 3.0]
    # Voxel (row 1, column 2, slice 3) in RAS: x = -(-10 + 2 * .75), y = -(-20 + .5), z = 9.
    assert (image.affine.numpy() @ [1, 2, 3, 1])[:3].tolist() == [8.5, 19.5, 9.0]
    assert np.array_equal(written(image).array, volume)
    assert np.array_equal(written(image, image.numpy() + 4).array[3], np.minimum(volume[3] + 1, 4095))


def test_an_enhanced_object_of_several_volumes_is_a_sequence_of_pictures(tmp_path):
    volume = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    repeated = enhanced_object(volume, [0.0, 3.0, 3.0], [1.0] * 3)
    turned = enhanced_object(volume, [0.0, 3.0, 6.0], [1.0] * 3)
    own = Dataset()
    own.ImageOrientationPatient = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]
    turned.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = Sequence([own])
    for dataset, reason in (
        (repeated, "4-D: its 3 frames lie at 2 positions, up to 2 at one"),
        (turned, "its frames are not parallel"),
    ):
        image = LOAD(save(dataset, tmp_path / "a.dcm"))
        assert source_of(image).last_axis == "frame"
        assert source_of(image).warnings == (f"{reason}: they are taken as a sequence of pictures",)
        assert np.array_equal(image[0].numpy(), np.moveaxis(volume.astype(np.float32) - 5, 0, -1))
        assert np.array_equal(written(image).array, volume)


def test_an_enhanced_object_with_uneven_frames_is_a_volume_with_a_warning(tmp_path):
    dataset = enhanced_object(np.arange(80, dtype=np.uint16).reshape(4, 4, 5), [0.0, 2.0, 5.0, 6.0], [1.0] * 4)
    image = LOAD(save(dataset, tmp_path / "a.dcm"))
    assert source_of(image).last_axis == "slice"
    assert "unevenly spaced (1.000 to 3.000 mm)" in source_of(image).warnings[0]


def test_cine_frames_stay_in_their_order(tmp_path):
    stored = NOISE.integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    image = LOAD(save(dicom_object(stored, photometric="RGB"), tmp_path / "a.dcm"))
    assert np.array_equal(image.numpy(), stored.transpose(3, 1, 2, 0))
    assert source_of(image).last_axis == "frame"


REFUSED = {
    "constant image: every voxel is 7": dict(stored=np.full((4, 4), 7, np.uint8)),
    "unusable": dict(RescaleSlope=0, RescaleIntercept=1),
    "photometric interpretation 'HSV' is not supported": dict(photometric="HSV"),
    "contradicts itself": dict(SamplesPerPixel=3),
    "all of it is pixel padding": dict(PixelPaddingValue=0, PixelPaddingRangeLimit=255),
    "a segmentation": dict(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"),
    "a structured report": dict(Modality="SR"),
    "an RT dose": dict(SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2"),
    "truncated": dict(Rows=400),
    "zero-size image": dict(Rows=0),
    "it lacks PhotometricInterpretation": dict(PhotometricInterpretation=None),
    "no pixel data": dict(PixelData=None),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_recalibrated_is_refused_in_one_line(tmp_path, reason):
    attributes = dict(REFUSED[reason])
    stored = attributes.pop("stored", np.arange(16, dtype=np.uint8).reshape(4, 4))
    later = {
        key: attributes.pop(key)
        for key in ("SamplesPerPixel", "Rows", "PhotometricInterpretation")
        if key in attributes
    }
    dataset = dicom_object(stored, **attributes, PatientName="Secret^Name")
    for keyword, value in {**later, **attributes}.items():
        if keyword in later or value is None:
            delattr(dataset, keyword) if value is None else setattr(dataset, keyword, value)
    with pytest.raises(InputError, match=reason) as caught:
        LOAD(save(dataset, tmp_path / "a.dcm"))
    assert "\n" not in str(caught.value)
    assert "Secret" not in str(caught.value)
    assert caught.value.path == str(tmp_path / "a.dcm")


def test_float_pixels_with_nan_are_refused(tmp_path):
    dataset = dicom_object(np.zeros((2, 2), np.uint32))
    del dataset.PixelData, dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit
    dataset.FloatPixelData = np.array([1, np.nan, 3, 4], np.float32).tobytes()
    with pytest.raises(InputError, match="NaN voxels"):
        LOAD(save(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "image_dfl.dcm"])
def test_a_truncated_file_is_refused(tmp_path, name, share):
    data = Path(get_testdata_file(name, download=False)).read_bytes()
    path = tmp_path / "a.dcm"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError):
        LOAD(path)


def test_deflated_and_prefixless_files_are_read(tmp_path):
    dataset = dicom_object(np.arange(20, dtype=np.uint8).reshape(4, 5))
    plain = save(dataset, tmp_path / "plain.dcm").read_bytes()
    bare = tmp_path / "bare"
    bare.write_bytes(plain[132 + 12 + int.from_bytes(plain[140:144], "little") :])
    image = LOAD(bare)
    assert np.array_equal(image[0].numpy(), np.arange(20).reshape(4, 5))
    assert "it states no transfer syntax" in source_of(image).warnings[0]
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(LOAD(save(dataset, tmp_path / "deflated.dcm")).numpy(), image.numpy())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bits=st.integers(7, 16),
    signed=st.booleans(),
    inverted=st.booleans(),
    slope=st.sampled_from([1.0, 0.1, -2.0, 3.774114, 1e-3]),
    intercept=st.sampled_from([0.0, -1024.0, 0.000061]),
    size=st.tuples(st.integers(2, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_integer_image_comes_back_bit_for_bit_and_one_changed_pixel_alone(
    tmp_path, bits, signed, inverted, slope, intercept, size, seed
):
    noise = np.random.default_rng(seed)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    stored = noise.integers(low, high + 1, size).astype(np.int16 if signed else np.uint16)
    stored.flat[:2] = low, high
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset = dicom_object(stored, photometric=photometric, bits=bits, RescaleSlope=slope, RescaleIntercept=intercept)
    image = LOAD(save(dataset, tmp_path / "a.dcm"))
    same = written(image)
    assert not same.changed
    assert np.array_equal(same.array, stored)
    values = image.numpy().copy()
    values.flat[0] = values.flat[1]
    changed = written(image, values)
    assert changed.array.flat[0] == high
    assert np.array_equal(changed.array.ravel()[1:], stored.ravel()[1:])
