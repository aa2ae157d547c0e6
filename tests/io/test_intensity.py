from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRange
from PIL import Image

from frerec.errors import ConfigError
from frerec.io.intensity import NormalizeRange, NormalizeRanged, RestoreRange, RestoreRanged
from frerec.io.loader import LoadMedicalImage
from frerec.io.records import applied_to, source_of
from frerec.io.restoring import changed_voxels
from frerec.io.writer import encoded_pixels
from tests.io.dicom.objects import CT, dicom_object, save

LOAD = LoadMedicalImage()
NOISE = np.random.default_rng(2)


def bounds(image, **settings):
    normalized = NormalizeRange(**settings)(image)
    note = normalized.meta["frerec"]["applied"].normalize
    return note.lower, note.upper


def dicom(tmp_path, stored, **attributes):
    return LOAD(save(dicom_object(stored, **attributes), tmp_path / "a.dcm"))


def test_an_8_bit_picture_is_divided_by_255(tmp_path):
    stored = NOISE.integers(0, 200, (6, 7)).astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png")
    image = LOAD(tmp_path / "a.png")
    normalized = NormalizeRange()(image)
    assert normalized.dtype == torch.float32
    assert np.array_equal(normalized[0].numpy(), (stored / 255).astype(np.float32))
    assert image.meta["frerec"]["applied"].normalize is None


def test_ct_has_one_scale_for_all(tmp_path):
    stored = NOISE.integers(0, 3000, (6, 7)).astype(np.int16)
    image = dicom(tmp_path, stored, SOPClassUID=CT, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    assert bounds(image) == (-1024.0, 3071.0)


def test_a_radiograph_is_scaled_by_its_window_turned_over_with_monochrome1(tmp_path):
    stored = NOISE.integers(0, 1024, (6, 7)).astype(np.uint16)
    window = {"bits": 10, "Modality": "DX", "WindowCenter": [300.5, 1], "WindowWidth": [201, 1]}
    assert bounds(dicom(tmp_path, stored, **window)) == (200.0, 400.0)
    assert bounds(dicom(tmp_path, stored, photometric="MONOCHROME1", **window)) == (623.0, 823.0)
    exact = dicom(
        tmp_path, stored, VOILUTFunction="LINEAR_EXACT", **{**window, "WindowCenter": 300, "WindowWidth": 200}
    )
    assert bounds(exact) == (200.0, 400.0)


def test_mr_is_scaled_by_percentiles_without_padding(tmp_path):
    stored = NOISE.integers(100, 1100, (40, 40)).astype(np.int16)
    stored[:10] = -32000
    image = dicom(tmp_path, stored, Modality="MR", PixelPaddingValue=-32000)
    expected = np.percentile(stored[10:], [0.5, 99.5])
    assert np.allclose(bounds(image), expected)
    assert bounds(image, rule="measured") == (stored[10:].min(), stored[10:].max())
    assert bounds(image, lower=-7, upper=9) == (-7.0, 9.0)
    assert bounds(image, rule="window") == bounds(image)


def test_a_tensor_from_elsewhere_is_measured_itself():
    values = torch.linspace(-3, 5, 1001).reshape(1, 7, 143)
    assert np.allclose(bounds(values), np.percentile(values.numpy(), [0.5, 99.5]))
    assert np.allclose(RestoreRange()(NormalizeRange()(values)).numpy(), values.numpy(), atol=1e-6)
    with pytest.raises(ConfigError, match="the image is constant"):
        NormalizeRange()(torch.ones(1, 2, 2))


def test_it_is_monais_linear_map_without_clipping():
    values = torch.randn(1, 9, 9) * 500
    theirs = ScaleIntensityRange(-100, 300, 0, 1, clip=False)(values)
    ours = NormalizeRange(lower=-100, upper=300)(values)
    assert np.allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    assert ours.min() < 0
    assert ours.max() > 1


@settings(max_examples=60, deadline=None)
@given(
    lower=st.floats(-1e5, 1e5),
    width=st.floats(1e-2, 1e6),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([1e-3, 1.0, 1e5]),
)
def test_there_and_back_counts_as_unchanged_and_integers_are_exact(lower, width, seed, spread):
    values = torch.from_numpy(np.random.default_rng(seed).normal(0, spread, (1, 8, 8)).astype(np.float32))
    upper = lower + width
    back = RestoreRange()(NormalizeRange(lower=lower, upper=upper)(values)).numpy()
    scale = max(abs(lower), abs(upper), float(values.abs().max()))
    assert not changed_voxels(back, values.numpy(), scale).any()
    integers = torch.arange(65536.0).reshape(1, 256, 256)
    if lower >= 0 and upper < 65536:
        assert np.array_equal(np.rint(RestoreRange()(NormalizeRange(lower=lower, upper=upper)(integers))), integers)


def test_a_change_of_one_16_bit_level_is_never_taken_for_rounding(tmp_path):
    stored = NOISE.integers(0, 65536, (16, 16)).astype(np.uint16)
    stored[0, 0], stored[0, 1] = 65535, 0
    image = dicom(tmp_path, stored, Modality="MR")
    normalized = NormalizeRange(rule="stored")(image)
    nudged = normalized + torch.where(normalized > 0.5, -1.0, 1.0) / 65535
    back = RestoreRange()(nudged, normalized)
    source = image.meta["frerec"]["source"]
    result = encoded_pixels(back.numpy(), source, normalized.meta["frerec"]["applied"])[0].array.astype(int)
    assert np.array_equal(np.abs(result - stored), np.ones((16, 16)))


def test_dictionary_versions_take_the_range_from_the_reference(tmp_path):
    stored = NOISE.integers(0, 4000, (6, 7)).astype(np.uint16)
    data = NormalizeRanged("image")({"image": dicom(tmp_path, stored, Modality="MR"), "label": 1})
    data["pred"] = data["image"].as_tensor().clone()
    data = RestoreRanged("pred", reference_key="image")(data)
    assert isinstance(data["pred"], MetaTensor)
    assert source_of(data["pred"]) is source_of(data["image"])
    assert applied_to(data["pred"]) is applied_to(data["image"])
    assert np.array_equal(data["pred"].affine, data["image"].affine)
    assert np.allclose(data["pred"][0].numpy(), stored, atol=1e-3)
    assert data["label"] == 1
    with pytest.raises(ConfigError, match="Apply NormalizeRanged to the reference image first"):
        RestoreRanged("pred")({"pred": torch.zeros(1, 2, 2)})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rule": "zscore"}, "rule='zscore': no such intensity range. Use one of auto"),
        ({"lower": 1.0}, "only one bound is given"),
        ({"lower": 1.0, "upper": 1.0}, "not increasing"),
    ],
)
def test_unusable_settings_are_told(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        NormalizeRange(**settings)


def test_what_the_file_can_store_is_known_on_the_new_scale(tmp_path):
    Image.fromarray(NOISE.integers(0, 200, (6, 7)).astype(np.uint8)).save(tmp_path / "a.png")
    assert NormalizeRange()(LOAD(tmp_path / "a.png")).meta["frerec"]["applied"].storable == (0.0, 1.0)
    stored = NOISE.integers(0, 1024, (6, 7)).astype(np.uint16)
    radiograph = dicom(tmp_path, stored, bits=10, Modality="DX", WindowCenter=300.5, WindowWidth=201)
    storable = NormalizeRange()(radiograph).meta["frerec"]["applied"].storable
    assert storable == ((0 - 200) / 200, (1023 - 200) / 200)
    assert NormalizeRange()(torch.rand(1, 4, 4)).meta["frerec"]["applied"].storable == (-np.inf, np.inf)
    image = nib.Nifti1Image(NOISE.integers(0, 900, (6, 7, 3)).astype(np.uint16), np.eye(4))
    nib.save(image, tmp_path / "a.nii.gz")
    lower, upper = 10.0, 810.0
    volume = NormalizeRange(lower=lower, upper=upper)(LOAD(tmp_path / "a.nii.gz"))
    assert volume.meta["frerec"]["applied"].storable == ((0 - lower) / 800, (65535 - lower) / 800)


@pytest.mark.parametrize(
    ("name", "step"),
    [("gray.png", 1.0), ("deep.png", 1.0), ("scaled.nii.gz", 0.5), ("real.nii.gz", 0.0), ("ct.dcm", 2.0)],
)
def test_the_step_of_what_a_file_stores_is_known(tmp_path: Path, name: str, step: float) -> None:
    values = np.random.default_rng(0).integers(0, 200, (40, 40))
    path = tmp_path / name
    if name.endswith(".png"):
        deep = name == "deep.png"
        Image.fromarray((values * (300 if deep else 1)).astype(np.uint16 if deep else np.uint8)).save(path)
    elif name.endswith(".dcm"):
        save(
            dicom_object(values.astype(np.uint16) * 10, SOPClassUID=CT, RescaleSlope="2", RescaleIntercept="-1000"),
            path,
        )
    else:
        image = nib.Nifti1Image(values.astype(np.float32 if name == "real.nii.gz" else np.int16), np.eye(4))
        if step:
            image.header.set_slope_inter(step, 3)
        nib.save(image, path)
    normalised = NormalizeRange()(LoadMedicalImage()(path))
    done = applied_to(normalised)
    assert done.normalize is not None
    assert done.step * (done.normalize.upper - done.normalize.lower) == pytest.approx(step)
