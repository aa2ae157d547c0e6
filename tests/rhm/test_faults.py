"""The faults of generators, each against what it stands for."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from frerec.rhm.faults import RandGeneratorFaults, RandGeneratorFaultsd, checkerboard, jpeg, lattice, tilt
from frerec.spectrum.cosine import cosine_radius, dctn


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_tilt_attenuates_beyond_its_start_only() -> None:
    x = image(1, 32, 32)
    ratio = dctn(tilt(x, 1.0, 0.4)) / dctn(x)
    rho = cosine_radius((32, 32))
    torch.testing.assert_close(ratio[0], 10 ** -((rho - 0.4).clamp(min=0)), atol=2e-3, rtol=0)


def test_a_lattice_stands_at_the_harmonics_of_its_period() -> None:
    ramp = torch.linspace(0, 1, 64)[None, None].expand(1, 64, 64)
    added = lattice(ramp, 4, 1.0) - ramp
    power = torch.fft.rfft(added[0, 32, 8:-8] - added[0, 32, 8:-8].mean()).abs()
    assert int(power.argmax()) in (12, 24)  # 48 pixels hold 12 periods of 4


def test_a_checkerboard_alternates() -> None:
    torch.testing.assert_close(checkerboard(torch.ones(1, 2, 2), 0.1), torch.tensor([[[1.1, 0.9], [0.9, 1.1]]]))


def test_jpeg_is_pillows() -> None:
    x = image(3, 24, 40)
    stream = io.BytesIO()
    array = (x * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(array).save(stream, "JPEG", quality=60)
    expected = np.asarray(Image.open(stream)) / 255
    np.testing.assert_allclose(jpeg(x, 60).permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_faults_are_seeded_and_leave_the_target_alone() -> None:
    x = image(1, 40, 40)
    first, second = (RandGeneratorFaultsd("image").set_random_state(5) for _ in range(2))
    for _ in range(20):
        one, two = first({"image": x}), second({"image": x})
        assert torch.equal(one["image"], two["image"]) and torch.equal(one["label"], x)
        assert torch.isfinite(one["image"]).all()


def test_most_images_get_a_fault() -> None:
    x = image(1, 40, 40)
    faults = RandGeneratorFaults(0.8).set_random_state(0)
    changed = sum(not torch.equal(faults(x), x) for _ in range(100))
    assert 60 < changed < 95
