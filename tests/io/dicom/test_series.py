from __future__ import annotations

import re
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import RLELossless

from frerec.errors import InputError
from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.io.naming import output_path
from frerec.io.writer import encoded_pixels
from tests.io.dicom.objects import SC, dicom_object, save, save_series

LOAD = LoadMedicalImage()
VOLUME = np.random.default_rng(5).integers(0, 2000, (5, 6, 7)).astype(np.int16)


@pytest.fixture(scope="module")
def brain(shared_data):
    folder = shared_data / "dicom" / "example-dicom-structural" / "dicoms"
    return folder, LOAD(folder)


def test_real_series_equals_itk_in_voxels_and_geometry(brain):
    folder, image = brain
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    assert image.shape == (1, 384, 274, 40)
    # SimpleITK: (slice, row, column) and (x, y, z) in LPS.
    assert np.array_equal(image[0].numpy(), np.moveaxis(sitk.GetArrayFromImage(theirs), 0, -1))
    for index in [(0, 0, 0), (383, 0, 0), (0, 273, 0), (0, 0, 39), (100, 50, 20)]:
        row, column, part = index
        place = np.array(theirs.TransformIndexToPhysicalPoint((column, row, part))) * [-1, -1, 1]
        assert np.allclose((image.affine.numpy() @ [*index, 1])[:3], place, atol=2e-3)
    assert np.allclose(image.meta["spacing"], np.array(theirs.GetSpacing())[[1, 0, 2]], rtol=1e-4)


def test_real_series_equals_dcm2niix_voxel_for_voxel_in_the_world(brain, tmp_path):
    tool = shutil.which("dcm2niix")
    if tool is None:
        pytest.skip("dcm2niix is not installed")
    folder, image = brain
    subprocess.run([tool, "-z", "n", "-f", "brain", "-o", tmp_path, folder], check=True, stdout=subprocess.DEVNULL)
    converted = nib.load(tmp_path / "brain.nii")
    # Where each of our voxels lies in their array: both affines lead to the same RAS millimetres.
    # Every 13th voxel, which meets every row, column and slice.
    ours = np.stack(np.unravel_index(np.arange(0, image.numel(), 13), image.shape[1:]))
    ours = np.vstack([ours, np.ones(ours.shape[1])])
    theirs = (np.linalg.inv(converted.affine) @ image.affine.numpy() @ ours)[:3]
    assert np.abs(theirs - np.rint(theirs)).max() < 0.01
    found = np.asarray(converted.dataobj)[tuple(np.rint(theirs).astype(int))]
    assert np.array_equal(found, image[0].numpy().ravel()[::13])


def test_slices_are_ordered_by_place_not_by_name_and_written_to_their_own_files(tmp_path):
    image = LOAD(save_series(tmp_path / "series", VOLUME))
    assert np.array_equal(image[0].numpy(), np.moveaxis(VOLUME, 0, -1))
    assert image.meta["spacing"].tolist() == [0.5, 0.75, 3.0]
    assert (image.affine.numpy() @ [0, 0, 1, 1])[:3].tolist() == [10.0, 20.0, 8.0]
    source = image.meta["frerec"]["source"]
    values = image.numpy().copy()
    values[0, 2, 3, 4] += 9
    stored = encoded_pixels(values, source)
    assert [pixels.changed for pixels in stored] == [False] * 4 + [True]
    for index, pixels in enumerate(stored):
        assert np.array_equal(pydicom.dcmread(pixels.original.path).pixel_array, VOLUME[index])
        expected = VOLUME[index].copy()
        expected[2, 3] += 9 * (index == 4)
        assert np.array_equal(pixels.array, expected)


def test_slices_with_scales_of_their_own_become_one_scale(tmp_path):
    folder = save_series(tmp_path / "pet", VOLUME[:3])
    slopes = [0.25, 2.0, 1.5]
    for path, slope in zip(sorted(folder.iterdir(), reverse=True), slopes, strict=True):
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, 1
        save(dataset, path)
    image = LOAD(folder)
    expected = [VOLUME[index] * slope + 1 for index, slope in enumerate(slopes)]
    assert np.array_equal(image[0].numpy(), np.stack(expected, axis=-1))
    stored = encoded_pixels(image.numpy(), image.meta["frerec"]["source"])
    assert all(np.array_equal(pixels.array, VOLUME[index]) for index, pixels in enumerate(stored))
    # one slice's range must not become the limit of all
    normalized = NormalizeRange()(image)
    assert normalized.meta["frerec"]["applied"].storable[1] >= float(normalized.max())


def test_a_tilted_gantry_stays_a_shear(tmp_path):
    image = LOAD(save_series(tmp_path / "tilt", VOLUME, step=(0.0, 1.0, 3.0)))
    assert image.affine.numpy()[:3, 2].tolist() == [0.0, -1.0, 3.0]
    assert np.isclose(image.meta["spacing"][2], np.sqrt(10))


def warnings_of(image):
    return list(image.meta["frerec"]["source"].warnings)


def move(path, height):
    dataset = pydicom.dcmread(path)
    dataset.ImagePositionPatient = [-10.0, -20.0, height]
    save(dataset, path)


def test_a_missing_slice_is_a_warning_with_its_place(tmp_path):
    folder = save_series(tmp_path / "gap", VOLUME)
    (folder / "002.dcm").unlink()
    image = LOAD(folder)
    assert np.array_equal(image[0].numpy(), np.moveaxis(VOLUME[[0, 1, 2, 4]], 0, -1))
    told = "1 of its slices may be missing: 6.000 mm between number 3 and 4 of 4, 3.000 mm elsewhere"
    assert warnings_of(image) == [told]


@pytest.mark.parametrize("heights", [[0, 2.5, 5, 10, 15], [0, 1, 4, 5, 9]])
def test_an_uneven_stack_is_one_volume_as_it_is(tmp_path, heights):
    folder = save_series(tmp_path / "head", VOLUME)
    for index, height in enumerate(heights):
        move(folder / f"{5 - index:03d}.dcm", height)
    image = LOAD(folder)
    assert np.array_equal(image[0].numpy(), np.moveaxis(VOLUME, 0, -1))
    assert (image.affine.numpy() @ [0, 0, 4, 1])[:3].tolist() == [10.0, 20.0, heights[-1]]
    (told,) = warnings_of(image)
    assert re.match(r"its slices are unevenly spaced \((2\.500 to 5|1\.000 to 4)\.000 mm\)", told)
    stored = encoded_pixels(image.numpy(), image.meta["frerec"]["source"])
    assert all(np.array_equal(pixels.array, VOLUME[index]) for index, pixels in enumerate(stored))


def test_a_folder_of_two_series_is_refused_and_the_files_of_one_are_taken(tmp_path):
    folder = save_series(tmp_path / "both", VOLUME)
    other = save_series(tmp_path / "other", VOLUME[::-1] + 3, SeriesInstanceUID="1.2.840.4")
    for path in other.iterdir():
        path.rename(folder / f"other_{path.name}")
    with pytest.raises(InputError, match=r"it holds 2 images \(of 5, 5 files\)"):
        LOAD(folder)
    image = LOAD(sorted(folder.glob("other_*")))
    assert np.array_equal(image[0].numpy(), np.moveaxis(VOLUME[::-1] + 3, 0, -1))


def test_the_slices_of_one_volume_may_lie_in_several_folders(tmp_path):
    folder = save_series(tmp_path / "in" / "a", VOLUME)
    (tmp_path / "in" / "b" / "deep").mkdir(parents=True)
    for name in ("001.dcm", "004.dcm"):
        (folder / name).rename(tmp_path / "in" / "b" / "deep" / name)
    files = sorted((tmp_path / "in").rglob("*.dcm"), reverse=True)
    image = LoadMedicalImage(tmp_path / "in")(files)
    assert np.array_equal(image[0].numpy(), np.moveaxis(VOLUME, 0, -1))
    source = image.meta["frerec"]["source"]
    assert (source.path, source.relative_path) == (str(tmp_path / "in"), ".")
    found = [output_path(source, pixels.original, tmp_path / "out") for pixels in encoded_pixels(image.numpy(), source)]
    names = ["a/005.dcm", "b/deep/004.dcm", "a/003.dcm", "a/002.dcm", "b/deep/001.dcm"]
    assert found == [tmp_path / "out" / name for name in names]


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("Modality", "CT", r"\d{3}.dcm: differs from the other slices in Modality"),
        ("ImageOrientationPatient", [0.0, 1.0, 0.0, 0.0, 0.0, -1.0], "in orientation"),
        ("ImagePositionPatient", None, r"001\.dcm: it states no place in a volume"),
        ("PixelSpacing", [1, 1], "pixel spacing"),
        ("ImagePositionPatient", [-10.0, -20.0, 5.0], "4-D: its 5 slices lie at 4 positions, up to 2 at one"),
    ],
)
def test_files_that_are_no_volume_are_refused_with_the_one_that_differs(tmp_path, attribute, value, reason):
    folder = save_series(tmp_path / "mixed", VOLUME)
    dataset = pydicom.dcmread(folder / "001.dcm")
    setattr(dataset, attribute, value)
    save(dataset, folder / "001.dcm")
    with pytest.raises(InputError, match=reason):
        LOAD(list(folder.iterdir()))


@pytest.mark.parametrize("by_folder", [True, False])
def test_a_damaged_slice_is_no_silent_gap(tmp_path, by_folder):
    folder = save_series(tmp_path / "damaged", VOLUME)
    data = (folder / "003.dcm").read_bytes()
    (folder / "003.dcm").write_bytes(data[:-20])
    with pytest.raises(InputError, match=r"damaged: 003\.dcm: its pixel data"):
        LOAD(folder if by_folder else list(folder.iterdir()))


def test_compressed_colour_slices_are_a_volume(tmp_path):
    colours = np.random.default_rng(8).integers(0, 256, (3, 6, 8, 3)).astype(np.uint8)
    folder = save_series(tmp_path / "rgb", colours, photometric="RGB", SOPClassUID=SC, Modality="OT")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        save(dataset, path)
    image = LOAD(folder)
    assert np.array_equal(image.numpy(), np.moveaxis(colours, (0, 3), (3, 0)))
    stored = encoded_pixels(image.numpy(), image.meta["frerec"]["source"])
    assert all(np.array_equal(pixels.array, colours[index]) for index, pixels in enumerate(stored))


def test_other_files_beside_the_slices_are_passed_over_and_told(tmp_path):
    folder = save_series(tmp_path / "series", VOLUME)
    (folder / "readme.txt").write_text("notes")
    report = dicom_object(VOLUME[0], Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    save(report, folder / "report.dcm")
    image = LOAD(folder)
    assert warnings_of(image) == [
        "1 file(s) in the folder are not DICOM and were passed over",
        "1 DICOM object(s) in the folder are no images and were passed over",
    ]
    assert image.shape[-1] == 5


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("notes")
    with pytest.raises(InputError, match="no DICOM image in this folder"):
        LOAD(tmp_path)


def test_a_small_unevenness_is_only_a_warning(tmp_path):
    folder = save_series(tmp_path / "uneven", VOLUME)
    move(folder / "003.dcm", 11.1)
    assert warnings_of(LOAD(folder)) == ["its slices are off an even grid by up to 3.3 % of their spacing"]
