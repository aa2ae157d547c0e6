"""inference.json serves MONAI Label: used here as release 0.8.5 of its bundle app uses a config, without its server.

Label reads one self-contained inference.json, never runs `initialize`, loads models/model.pt itself, takes
`pre_transforms`, `inferer` and `postprocessing` apart, calls the inferer with one tensor, restores the size that the
image's metadata states, and writes the array without its channel axis, first axis x. It parses the config again for
every request.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, SaveImaged
from PIL import Image
from scipy.ndimage import gaussian_filter

from frerec import Recalibrate, load_image

ROOT = Path(__file__).resolve().parents[2]


class Host:
    """The steps of a Label server that touch a bundle."""

    def __init__(self, bundle: Path) -> None:
        self.parser = ConfigParser()
        self.parser.read_config(str(bundle / "configs" / "inference.json"))
        self.parser.config.update({"bundle_root": str(bundle)})
        self.network = self.parser.get_parsed_content("network_def", instantiate=True)
        checkpoint = torch.load(bundle / "models" / "model.pt", map_location="cpu", weights_only=True)
        state = checkpoint.get("model", checkpoint)
        # Label only warns where these differ
        assert state.keys() == self.network.state_dict().keys()
        self.network.load_state_dict(state)
        self.network.eval()
        self.shown = self.parser.get_parsed_content("displayable_configs", instantiate=True)

    def transforms(self, *keys: str) -> list[Any]:
        """Those of the last of the keys that the config has; all of them are instantiated."""
        found = [self.parser.get_parsed_content(key, instantiate=True) for key in keys if self.parser.get(key)]
        return list(found[-1].transforms) if isinstance(found[-1], Compose) else list(found[-1])

    def infer(self, path: Path, **request: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Answer one request; returns what the writer gets, and the data."""
        data: dict[str, Any] = {**self.shown, "device": "cpu", **request, "image": str(path), "image_path": str(path)}
        self.parser["displayable_configs"].update({key: data[key] for key in self.shown})
        self.parser.parse()
        self.parser.config.update({"device": "cpu"})
        for transform in self.transforms("preprocessing", "pre_transforms"):
            assert not isinstance(transform, LoadImaged), "Label would reconfigure it"
            data = transform(data)
        inferer = self.parser.get_parsed_content("inferer", instantiate=True)
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            data["pred"] = inferer(data["image"][None], network)[0]
        for transform in self.transforms("postprocessing", "post_transforms"):
            assert not isinstance(transform, SaveImaged), "Label would take it away"
            data = transform(data)
        size = data["image"].meta.get("spatial_shape")
        result = data["pred"]
        # Label's `Restored` takes the first axis for channels and resizes what differs from the image's size
        assert list(result.shape[1:]) == list(size)[-(result.ndim - 1) :]
        # the affine is written only with a third axis
        assert (result.ndim == 2) == (path.suffix == ".png")
        array = result.array if isinstance(result, MetaTensor) else result.numpy()
        return array.astype(data["result_dtype"]), data


@pytest.fixture
def bundle(artefacts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle as a server's user copies it into Label's app; the package is installed in the server's environment."""
    root = tmp_path / "frerec_bundle"
    shutil.copytree(ROOT / "configs", root / "configs")
    (root / "models").mkdir()
    config = json.loads((root / "configs" / "inference.json").read_text())
    shutil.copy(artefacts["weights_path"], root / "models" / "model.pt")
    # the shipped bank is larger than this test needs
    config["bank_path"], config["top_k"] = artefacts["bank_path"], artefacts["top_k"]
    (root / "configs" / "inference.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    return root


def assert_same_low_frequencies(array: np.ndarray, expected: np.ndarray) -> None:
    """All that is left of a texture at the strength of the defaults, in its own units."""
    smooth, wanted = (gaussian_filter(values.astype(float), (4, 4, 0)[: values.ndim]) for values in (array, expected))
    assert np.corrcoef(smooth.ravel(), wanted.ravel())[0, 1] > 0.95
    assert abs(array.mean() - expected.mean()) < 0.05 * expected.std()


@pytest.fixture
def picture(mixed_folder: Path) -> Path:
    return mixed_folder / "sub" / "picture_1.png"


def test_a_picture_comes_back_x_first_and_changed(bundle: Path, picture: Path) -> None:
    array, data = Host(bundle).infer(picture, strength=0.3)
    pixels = np.asarray(Image.open(picture), dtype=np.float32)
    assert array.shape == pixels.T.shape
    assert array.dtype == np.float32
    assert not np.array_equal(array, pixels.T)
    # in the picture's units, and still that picture, though it is smoother than the bank's
    assert np.corrcoef(array.ravel(), pixels.T.ravel())[0, 1] > 0.8
    assert data["result_extension"] == ".nii.gz"


def test_a_volume_comes_back_on_its_own_axes(bundle: Path, mixed_folder: Path) -> None:
    path = mixed_folder / "scan_2.nii.gz"
    array, data = Host(bundle).infer(path, strength=0.3)
    expected = nib.load(path)
    assert array.shape == expected.shape
    assert_same_low_frequencies(array, expected.get_fdata())
    assert np.allclose(data["image"].meta["original_affine"], expected.affine)


def test_one_slice_keeps_its_place(bundle: Path, tmp_path: Path) -> None:
    affine = np.array([[-0.6, 0.8, 0, 10], [0.8, 0.6, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    values = gaussian_filter(np.random.default_rng(0).normal(500, 200, (40, 36)), 1).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "flat.nii.gz")
    array, data = Host(bundle).infer(tmp_path / "flat.nii.gz", strength=0)
    np.testing.assert_allclose(array, values[..., None], atol=1e-3)
    np.testing.assert_allclose(data["image"].meta["original_affine"], affine, atol=1e-5)


def test_a_request_sets_more_than_the_strength(bundle: Path, picture: Path) -> None:
    host = Host(bundle)
    host.network = host.network.at(0.9)
    array, _ = host.infer(picture, strength=0.5, mask_ratio=0.3, transition=0.2, seed=3)
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    expected = Recalibrate.from_bundle(
        weights_path=bundle / "models" / "model.pt", bank_path=config["bank_path"], top_k=config["top_k"],
        strength=0.5, mask_ratio=0.3, transition=0.2, seed=3,
    )(load_image(picture))  # fmt: skip
    np.testing.assert_allclose(array, expected[0].numpy().T, atol=1e-3)


@pytest.mark.parametrize(("name", "value"), [("strength", "0.5"), ("strength", None), ("mask_ratio", 2), ("seed", -1)])
def test_a_wrong_setting_is_an_answer_and_the_next_request_is_served(
    bundle: Path, picture: Path, name: str, value: Any
) -> None:
    host = Host(bundle)
    with pytest.raises(Exception, match=f"^(400: )?{name}={value!r}: not "):
        host.infer(picture, **{name: value})
    array, _ = host.infer(picture, strength=0)
    np.testing.assert_allclose(array, np.asarray(Image.open(picture), dtype=np.float32).T, atol=1e-3)


def test_an_unknown_image_is_not_the_working_directory(bundle: Path) -> None:
    host = Host(bundle)
    with pytest.raises(Exception, match="no image of this name is known"):
        host.infer("")  # type: ignore[arg-type]  # what Label makes of an id that it does not have


def test_only_weights_that_fit_are_offered() -> None:
    assert [path.name for path in (ROOT / "models").glob("*.pt")] == ["model.pt"]


def test_requests_repeat_and_the_shown_strength_counts(bundle: Path, picture: Path) -> None:
    host = Host(bundle)
    first, _ = host.infer(picture)
    other, _ = host.infer(picture, strength=0.5)
    off, _ = host.infer(picture, strength=0)
    pixels = np.asarray(Image.open(picture), dtype=np.float32)
    again, _ = host.infer(picture)
    assert np.array_equal(first, again)
    # the network was made before the request came, and is told the strength all the same
    host.network = host.network.at(0.4)
    same, _ = host.infer(picture)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(off, pixels.T, atol=1e-3)


def test_the_names_label_looks_at(bundle: Path) -> None:
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]
    assert next(iter(metadata["inputs"])) == "image"
    assert next(iter(metadata["outputs"])) == "pred"
    # such a word in the folder's name would change what Label takes the bundle for
    assert not any(word in ROOT.name.lower() for word in ("deepedit", "deepgrow", "detection", "classification"))
