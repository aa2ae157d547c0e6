"""The cache never gives an image that the present settings would not give."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, GaussianSmooth, Lambdad, Resize
from PIL import Image

from frerec.errors import ConfigError, InputError
from frerec.study.cache import ImageCache, fingerprint, fit_image
from frerec.study.cohort import Case

Load = Callable[[dict[str, Any]], dict[str, Any]]


class Scale:
    """A transform with a setting, a memory and a count of its calls."""

    def __init__(self, factor: float) -> None:
        self.factor, self.memory = factor, {}
        self.calls = 0

    @property
    def fingerprint(self) -> str:
        return f"scale {self.factor}"

    def __call__(self, data: dict[str, Any]) -> torch.Tensor:
        self.calls += 1
        return data["image"] * self.factor


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(4):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (24, 20), dtype=np.uint8)).save(path)
        found.append(Case(str(path), i % 2, str(i), "train"))
    return found


def test_images_are_loaded_fitted_and_kept_to_half_precision(
    tmp_path: Path, cases: list[Case], picture_loader: Load
) -> None:
    cache = ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20))
    images = cache.images(cases)
    expected = np.stack([np.asarray(Image.open(case.image))[None] / 255 for case in cases])
    np.testing.assert_allclose(images.numpy(), expected, atol=2.5e-4)
    assert images.dtype == torch.float16


def test_nothing_is_computed_twice_and_nothing_stale_is_read(
    tmp_path: Path, cases: list[Case], picture_loader: Load
) -> None:
    half, again, third = Scale(0.5), Scale(0.5), Scale(1 / 3)
    first = ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20)).images(cases, half)
    second = ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20)).images(cases, again, start=2)
    assert (half.calls, again.calls) == (4, 0)
    assert torch.equal(first, second)
    assert not torch.equal(first, ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20)).images(cases, third))
    Image.new("L", (20, 24), 255).save(cases[1].image)
    changed = ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20)).images(cases, again)
    assert again.calls == 1
    assert (changed[1] == 0.5).all()
    assert torch.equal(changed[[0, 2, 3]], first[[0, 2, 3]])
    assert ImageCache(tmp_path / "cache", picture_loader, 1, (12, 10)).images(cases, half).shape == (4, 1, 12, 10)


def test_a_transform_that_fails_is_told_with_the_file(tmp_path: Path, cases: list[Case], picture_loader: Load) -> None:
    cache = ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20))
    for wrong in (lambda data: data["image"][:, :5], lambda data: data["image"] / 0):
        with pytest.raises(InputError, match=r"0\.png.*transform of an arm"):
            cache.images(cases, wrong)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_key_survives_what_a_transform_learns_when_used(
    tmp_path: Path, cases: list[Case], picture_loader: Load
) -> None:
    class Lazy:
        def __init__(self) -> None:
            self.table = None

        def __call__(self, data: dict[str, Any]) -> torch.Tensor:
            self.table = torch.arange(3)
            return data["image"]

    cache, lazy = ImageCache(tmp_path / "cache", picture_loader, 1, (24, 20)), Lazy()
    before = cache.key(lazy)
    cache.images(cases, lazy)
    assert cache.key(lazy) == before


def test_fingerprints_tell_settings_weights_and_files_apart(tmp_path: Path) -> None:
    def layer(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Conv2d(1, 1, 3)

    table = tmp_path / "table.txt"
    table.write_text("1")
    things = [
        GaussianSmooth(1.0), GaussianSmooth(2.0), layer(0), layer(1), Scale(1), Scale(2), {"a": 1}, {"a": 2}, [1], (1,),
        np.arange(3), np.arange(3.0), "name", str(table), functools.partial(max, 1), functools.partial(min, 1),
        Compose([GaussianSmooth(1.0)]), Compose([GaussianSmooth(1.0), Lambdad("image", abs)]), None, 0, False,
        lambda x: x, lambda x: x + 1,
    ]  # fmt: skip
    prints = [fingerprint(thing) for thing in things]
    assert len(set(prints)) == len(things)
    assert prints == [fingerprint(thing) for thing in things]
    assert fingerprint(layer(0)) == prints[2]
    table.write_text("2")
    assert fingerprint(str(table)) != prints[13]
    copy = tmp_path / "copy.txt"
    copy.write_text("2")
    assert fingerprint(copy) == fingerprint(str(table)), "the content of a file counts, not its name"


def test_functions_count_by_code_constants_and_closure() -> None:
    def scaled(factor: float) -> Any:
        return lambda x, power=1: factor * x**power

    prints = [fingerprint(f) for f in (scaled(1), scaled(2), lambda x: x + 1, lambda x: x + 2, lambda x, y=3: x + 1)]
    assert len(set(prints)) == 5
    assert fingerprint(scaled(2)) == prints[1]


def test_fingerprints_end_on_circles() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    assert fingerprint(circle) == fingerprint(circle)


def test_fitting_is_monai_resize_and_keeps_meta() -> None:
    image = MetaTensor(torch.rand(1, 32, 48), meta={"note": "kept"})
    fitted = fit_image(image, 1, (16, 24))
    expected = Resize((16, 24), anti_aliasing=True)(image.as_tensor()).as_tensor()
    assert torch.equal(fitted.as_tensor(), expected.clamp(0, 1))
    assert fitted.meta["note"] == "kept"
    assert torch.equal(fit_image(image, 1, (32, 48)).as_tensor(), image.as_tensor())


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"channels=1: an image has 3"):
        fit_image(torch.rand(3, 4, 4), 1, (4, 4))
    with pytest.raises(ConfigError, match="image_size"):
        fit_image(torch.rand(1, 4, 4, 4), 1, (4, 4))
