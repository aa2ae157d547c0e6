"""Masks and label maps are refused in every format, real images with few grey levels are not."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from frerec.errors import ConfigError, InputError
from frerec.io.loader import LoadMedicalImage, LoadMedicalImaged

RNG = np.random.default_rng(5)
REFUSED = "a mask or label map, not an image"


def regions(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Each place the number of the nearest of ``count`` seeds."""
    seeds = np.stack([RNG.random(count) * size for size in shape], axis=1)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return cKDTree(seeds).query(grid)[1]


def vessels(size: int = 160) -> np.ndarray:
    found = np.zeros((size, size), np.uint8)
    for _ in range(15):
        place, angle = RNG.random(2) * size, RNG.random() * 2 * np.pi
        for _ in range(100):
            angle += RNG.normal() * 0.15
            place += np.sin(angle), np.cos(angle)
            found[tuple(place.astype(int) % size)] = 1
    return ndimage.grey_dilation(found, 3)


def lesions(shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(shape, np.uint8)
    for label, radius in ((2, 9), (1, 7), (4, 4)):
        grid = np.indices(shape) - np.reshape([side // 2 for side in shape], (-1, *[1] * len(shape)))
        found[(grid**2).sum(0) < radius**2] = label
    return found


MAPS = {
    "mask": (regions((40, 50), 2)).astype(np.uint8),
    "mask of 255": 255 * (regions((40, 50), 6) % 2).astype(np.uint8),
    "four": regions((40, 50), 4).astype(np.uint8),
    "lesions": lesions((60, 70)),
    "vessels": vessels(),
    "parcels": regions((96, 112), 60).astype(np.uint8),
    "volume": regions((30, 32, 20), 3).astype(np.uint8),
    "volume of 40": regions((30, 32, 20), 40).astype(np.uint8),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">f4"])
def test_nifti(tmp_path, name, dtype):
    nib.save(nib.Nifti1Image(MAPS[name].astype(dtype), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(InputError, match=REFUSED):
        LoadMedicalImage()(tmp_path / "a.nii")
    accepted = LoadMedicalImaged("image", label_maps="accept")({"image": tmp_path / "a.nii"})["image"]
    assert np.array_equal(accepted[0].numpy(), MAPS[name].swapaxes(0, 1))


@pytest.mark.parametrize("name", [name for name in MAPS if not name.startswith("volume")])
def test_pictures(tmp_path, name):
    array = MAPS[name]
    Image.fromarray(array).save(tmp_path / "gray.png")
    Image.fromarray(array).convert("RGB").save(tmp_path / "colour.png")
    tifffile.imwrite(tmp_path / "wide.tif", array.astype("u2"))
    tifffile.imwrite(tmp_path / "real.tif", array / 7)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError, match=REFUSED):
            LoadMedicalImage()(path)


def test_coloured_palette(tmp_path):
    indexed = Image.fromarray(regions((60, 70), 12).astype(np.uint8), "L").convert("P")
    indexed.putpalette(RNG.integers(0, 256, 768).tolist())
    indexed.save(tmp_path / "a.png")
    with pytest.raises(InputError, match="only 12 different colours"):
        LoadMedicalImage()(tmp_path / "a.png")


def test_dicom(tmp_path, make_dicom):
    path = make_dicom(tmp_path / "a.dcm", MAPS["four"])
    with pytest.raises(InputError, match=REFUSED):
        LoadMedicalImage()(path)
    assert LoadMedicalImage(label_maps="accept")(path).shape == (1, 40, 50)


def test_soft_edges(tmp_path):
    disc = lesions((200, 220)) > 0
    disc = 255 * ndimage.zoom(disc[60:140, 70:150].astype(float), 3, order=1)
    Image.fromarray(disc.astype(np.uint8)).save(tmp_path / "a.jpg", quality=90)
    probability = ndimage.gaussian_filter(disc, 1) / 255
    nib.save(nib.Nifti1Image(probability.astype("f4"), np.eye(4)), tmp_path / "b.nii.gz")
    for name in ("a.jpg", "b.nii.gz"):
        with pytest.raises(InputError, match="the lowest or the highest"):
            LoadMedicalImage()(tmp_path / name)


def test_what_the_header_says(tmp_path):
    image = nib.Nifti1Image(RNG.integers(0, 2000, (9, 8, 7)).astype("i2"), np.eye(4))
    image.header.set_intent("label")
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="its header says that its values are labels"):
        LoadMedicalImage()(tmp_path / "a.nii.gz")
    assert LoadMedicalImage(label_maps="accept")(tmp_path / "a.nii.gz").shape == (1, 8, 9, 7)
    with pytest.raises(ConfigError, match="unknown label_maps"):
        LoadMedicalImage(label_maps="maybe")(tmp_path / "a.nii.gz")


def test_few_grey_levels_are_no_labels(tmp_path):
    smooth = ndimage.gaussian_filter(RNG.normal(size=(128, 128)), 6)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    speckle = np.clip(smooth * RNG.rayleigh(0.7, smooth.shape), 0, 1)
    images = {
        "low contrast": 90 + np.rint(11 * smooth),
        "lowest contrast": 17 + np.rint(3 * smooth),
        "ultrasound of 16 levels": 17 * np.rint(15 * speckle),
        "smooth, 16 levels": 17 * np.rint(15 * smooth),
        "nearly black": np.rint(np.maximum(3 * smooth + RNG.normal(0, 0.6, smooth.shape), 0)),
        "nearly black, two levels": RNG.random(smooth.shape) < 0.03,
        "dithered": 255 * np.asarray(Image.fromarray((255 * smooth).astype(np.uint8)).convert("1")),
        "object on black": np.where(smooth > 0.8, 255 * speckle, 0),
    }
    for name, values in images.items():
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / "a.png")
        assert LoadMedicalImage()(tmp_path / "a.png").shape == (1, 128, 128), name
    volume = np.zeros((40, 40, 30), "i2")
    volume[15:20, 15:20, 15:20] = RNG.integers(1, 9, (5, 5, 5))
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "mostly_zero.nii")
    assert LoadMedicalImage()(tmp_path / "mostly_zero.nii").shape == (1, 40, 40, 30)


def test_real_pictures_of_few_levels(tmp_path, shared_data):
    for name in ("chest_xray", "brain_mri", "mammo_cdcgan"):
        picture = Image.open(sorted((shared_data / name / "images").rglob("*.png"))[5]).convert("L")
        for levels in (16, 24):
            reduced = np.rint(np.asarray(picture) / 255 * (levels - 1)).astype(np.uint8)
            Image.fromarray(reduced).save(tmp_path / "a.png")
            assert LoadMedicalImage()(tmp_path / "a.png").shape[0] == 1
