from __future__ import annotations

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frerec.errors import InputError
from frerec.io.intensity import NormalizeRange
from frerec.io.loader import LoadMedicalImage
from frerec.io.records import applied_to
from frerec.io.writer import encoded_pixels

LOAD = LoadMedicalImage()
OBLIQUE = np.array([[0.9, 0.1, 0.2, -5], [-0.1, 1.1, 0.3, 7], [0.05, -0.2, 2.5, 11], [0, 0, 0, 1]])


def save(path, stored, affine=OBLIQUE, kind=nib.Nifti1Image, slope=None, intercept=None):
    image = kind(stored, affine, dtype=stored.dtype)
    image.header.set_data_dtype(stored.dtype)
    image.header.set_slope_inter(slope, intercept)
    if slope is not None:
        # nibabel would divide by the slope: write header and raw values ourselves.
        header = image.header.copy()
        header["vox_offset"] = 352
        data = header.binaryblock + b"\0\0\0\0" + stored.tobytes(order="F")
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    else:
        nib.save(image, path)
    return path


def source_of(image):
    return image.meta["frerec"]["source"]


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_and_world_are_those_of_nibabel_and_itk(tmp_path, kind, name):
    stored = np.random.default_rng(0).integers(-50, 50, (4, 5, 6)).astype(np.int16)
    rotation = np.linalg.qr(OBLIQUE[:3, :3])[0] * [0.9, 1.1, 2.5]
    affine = np.block([[rotation, OBLIQUE[:3, 3:]], [np.zeros((1, 3)), np.ones((1, 1))]])
    path = save(tmp_path / name, stored, affine, kind)
    image = LOAD(path)
    assert np.array_equal(image[0].numpy(), stored.swapaxes(0, 1))
    assert np.allclose(image.affine.numpy() @ [2, 1, 3, 1], affine @ [1, 2, 3, 1], atol=1e-5)
    assert np.allclose(image.meta["spacing"], [1.1, 0.9, 2.5], atol=1e-5)
    if kind is nib.Nifti2Image:
        return  # which SimpleITK does not read
    theirs = sitk.ReadImage(str(path))
    assert np.array_equal(image[0].numpy(), np.moveaxis(sitk.GetArrayFromImage(theirs), 0, -1))
    place = np.array(theirs.TransformIndexToPhysicalPoint((1, 2, 3))) * [-1, -1, 1]
    assert np.allclose((image.affine.numpy() @ [2, 1, 3, 1])[:3], place, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 1, 1), (4, 5, 3, 1)])
def test_trailing_singletons_are_dropped_and_remembered(tmp_path, shape):
    stored = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    image = LOAD(save(tmp_path / "a.nii", stored))
    assert image.shape == (1, 5, 4, *(size for size in shape[2:3] if size > 1))
    back = encoded_pixels(image.numpy() + 1, source_of(image))[0].array
    assert back.shape == shape
    assert np.array_equal(back, stored + 1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", ">i2", ">u2", ">i4", ">f4", ">f8"]),
    scaling=st.sampled_from([(None, None), (0.5, -3.0), (1e-3, 2.0), (-7.25, 0.0)]),
    shape=st.lists(st.integers(2, 6), min_size=2, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_type_and_scaling_comes_back_bit_for_bit(tmp_path, dtype, scaling, shape, seed):
    dtype, noise = np.dtype(dtype), np.random.default_rng(seed)
    if dtype.kind == "f":
        stored = noise.normal(0, 1e3, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        stored = noise.integers(limits.min, limits.max, shape, dtype.newbyteorder("="), endpoint=True).astype(dtype)
    stored.flat[:2] = 1, 2
    header = nib.Nifti1Header(endianness=">" if dtype.byteorder == ">" else "<")
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_slope_inter(*scaling)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + b"\0\0\0\0" + stored.tobytes(order="F"))
    image = LOAD(path)
    expected = nib.load(path).get_fdata(dtype=np.float64).swapaxes(0, 1).astype(np.float32)
    assert np.array_equal(image[0].numpy(), expected)
    back = encoded_pixels(image.numpy(), source_of(image))[0]
    assert not back.changed
    assert back.array.tobytes() == stored.tobytes()


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (np.zeros((2, 3, 4, 5), np.uint8), r"a 4-D image \(2 x 3 x 4 x 5\), but 2-D and 3-D are read"),
        (np.full((2, 3), np.nan, np.float32), "NaN voxels"),
        (np.array([[1, np.inf], [2, 3]], np.float64), "infinite voxels"),
        (np.array([[1, 1e300], [2, 3]], np.float64), "beyond single precision"),
        (np.ones((2, 3), np.complex64), "complex voxels"),
        (np.zeros((2, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colour or structured voxels"),
        (np.full((3, 3), 5, np.int16), "constant image: every voxel is 5"),
    ],
)
def test_what_cannot_be_recalibrated_is_refused(tmp_path, stored, reason):
    with pytest.raises(InputError, match=reason):
        LOAD(save(tmp_path / "a.nii", stored))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_files_are_refused(tmp_path, name):
    path = save(tmp_path / name, np.random.default_rng(1).integers(0, 99, (8, 8, 8)).astype(np.int16))
    data = path.read_bytes()
    for share in (0.3, 0.7, 0.99):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=r"truncated|damaged|not an image"):
            LOAD(path)


def test_format_is_told_by_content_not_by_name(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.arange(12, dtype=np.int16).reshape(3, 4))
    for name in ("b.nii", "b.img", "b"):
        shutil.copy(path, tmp_path / name)
        assert np.array_equal(LOAD(tmp_path / name).numpy(), LOAD(path).numpy())


def test_a_pair_of_files_is_refused_with_the_way_out(tmp_path):
    nib.save(nib.Nifti1Pair(np.arange(12, dtype=np.int16).reshape(3, 4), np.eye(4)), tmp_path / "a.hdr")
    with pytest.raises(InputError, match=r"Convert the pair to one \.nii file"):
        LOAD(tmp_path / "a.hdr")


def made(path, stored, tail=b"", **fields):
    """A NIfTI-1 file whose header says what it is told to say."""
    header = nib.Nifti1Header()
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    data = header.binaryblock + b"\0\0\0\0" + stored.tobytes(order="F") + tail
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


STEPS = np.arange(60, dtype="<i2").reshape(3, 4, 5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dim": [3, 32000, 32000, 32000, 1, 1, 1, 1]}, "its header promises 65536000000352 bytes"),
        ({"dim": [3, 3, -4, 5, 1, 1, 1, 1]}, "damaged: its header states the size 3 x -4 x 5"),
        ({"dim": [3, 3, 0, 5, 1, 1, 1, 1]}, r"zero-size image \(3 x 0 x 5\)"),
        ({"vox_offset": 8}, "the voxels begin at byte 8, which is inside the header"),
        ({"vox_offset": np.nan}, "the voxels begin at byte nan"),
        ({"intent_code": 3006}, "a CIFTI file"),
        ({"datatype": 1}, "voxels of 1 bit"),
        ({"datatype": 1536}, "floating point voxels of 128 bits"),
        ({"datatype": 2304}, "RGBA32"),
        ({"datatype": 77}, r"voxels of unknown type \(datatype 77\)"),
        ({"scl_slope": 1, "scl_inter": np.inf}, "its scl_inter inf is unusable"),
    ],
)
def test_reasons_are_true(tmp_path, name, fields, reason):
    with pytest.raises(InputError, match=reason):
        LOAD(made(tmp_path / name, STEPS, **fields))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.nii.gz"
    header = nib.Nifti1Header()
    header.set_data_shape((2000, 2000, 300))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(3_000_000)))
    with pytest.raises(InputError, match=r"promises 1200000352 bytes|unpack from"):
        LOAD(path)


@pytest.mark.parametrize(
    "fields",
    [
        {"pixdim": [1, np.nan, -2, 0, 0, 0, 0, 0]},
        {"qform_code": 1, "quatern_b": 3.0, "quatern_c": 5.0, "pixdim": [1, 1, -2, 1, 0, 0, 0, 0]},
        {"sform_code": 1, "srow_x": [np.nan] * 4, "pixdim": [1, 1, 2, 1, 0, 0, 0, 0]},
        {"sform_code": 1, "srow_x": [0] * 4, "pixdim": [1, 1, 2, 1, 0, 0, 0, 0]},
    ],
)
def test_unusable_geometry_gives_way_to_voxel_sizes(tmp_path, fields):
    image = LOAD(made(tmp_path / "a.nii", STEPS, **fields))
    assert image.meta["spacing"].tolist() == [2, 1, 1]
    assert source_of(image).warnings == ("its affine is not invertible; voxel sizes of the header are used instead",)
    assert encoded_pixels(image.numpy(), source_of(image))[0].array.tobytes() == STEPS.tobytes()


def test_cifti_of_other_libraries(tmp_path):
    brain = nib.cifti2.BrainModelAxis.from_mask(np.ones((3, 4, 5), bool), affine=np.eye(4))
    series = nib.cifti2.SeriesAxis(0, 1, 3)
    values = np.random.default_rng(0).random((3, 60)).astype("f4")
    nib.save(nib.Cifti2Image(values, (series, brain)), tmp_path / "a.dtseries.nii")
    with pytest.raises(InputError, match=r"a CIFTI file.*wb_command -cifti-separate"):
        LOAD(tmp_path / "a.dtseries.nii")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (bytes(nib.AnalyzeHeader().binaryblock), "Analyze 7.5 pair"),
        (nib.AnalyzeHeader(endianness=">").binaryblock, "Analyze 7.5 pair"),
        (nib.MGHImage(STEPS.astype("f4"), np.eye(4)).to_bytes(), "an MGH volume of FreeSurfer"),
        (nib.GiftiImage().to_bytes(), "a GIFTI surface"),
        (b"\ntype = string-attribute\nname = DATASET_NAME\n", "an AFNI pair"),
    ],
)
def test_other_volumes_are_named(tmp_path, head, reason):
    (tmp_path / "a").write_bytes(head)
    with pytest.raises(InputError, match=reason):
        LOAD(tmp_path / "a")


def chosen(tmp_path, values):
    nib.save(nib.Nifti1Image(values, np.diag([0.7, 0.7, 2, 1])), tmp_path / "a.nii.gz")
    return applied_to(NormalizeRange()(LoadMedicalImage()(tmp_path / "a.nii.gz"))).normalize


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_ct_is_told_by_its_air_and_put_on_its_scale(tmp_path, dtype):
    rng = np.random.default_rng(0)
    values = rng.normal(40, 15, (48, 40, 3))
    values[:8] = rng.normal(-1000, 12, (8, 40, 3))
    values[20:24] = 800
    found = chosen(tmp_path, np.rint(values).astype(dtype))
    assert (found.rule, found.lower, found.upper) == ("hounsfield", -1024, 3071)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).integers(-4096, 4096, (48, 40, 3)).astype(np.int16),  # MR phase
        np.random.default_rng(1).normal(300, 90, (48, 40, 3)).astype(np.int16),  # MR
        np.random.default_rng(1).normal(40, 15, (48, 40, 3)).astype(np.int16),  # CT without air, flat on its scale
        np.random.default_rng(1).normal(-1000, 20, (48, 40, 3)).astype(np.int16),  # nothing but air
    ],
)
def test_what_shows_no_body_in_air_is_scaled_by_its_own_values(tmp_path, values):
    assert chosen(tmp_path, values).rule == "robust"


def test_hounsfield_can_be_asked_for(tmp_path):
    values = np.random.default_rng(1).normal(40, 15, (48, 40)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    assert applied_to(NormalizeRange("hounsfield")(LoadMedicalImage()(tmp_path / "a.nii"))).normalize.upper == 3071
