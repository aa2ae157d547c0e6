"""Training samples of the flow, and that a flow trained on them restores what can be known."""

from __future__ import annotations

import pytest
import torch

from frerec.rhm.flow import RestorationFlow
from frerec.rhm.flow_training import RandFlowSamplesd
from frerec.rhm.losses import VelocityLoss
from tests.rhm.test_flow import PROFILE, coloured


def test_samples_lie_on_the_line() -> None:
    flow = RestorationFlow(profile=PROFILE)
    x0, x1 = coloured(1, (40, 48), 1), coloured(1, (40, 48), 2)
    samples = RandFlowSamplesd("image", flow, (16, 16), num_samples=5).set_random_state(3)(
        {"image": x1[0], "label": x0[0], "condition": torch.tensor([0.1, 0.3, 1.0])}
    )
    (start, context), end = flow.whiten(x1), flow.whiten(x0)[0]
    assert len(samples) == 5
    for sample in samples:
        time = sample["condition"][0]
        assert 0 < time < 1 and sample["condition"][1:].tolist() == pytest.approx([0.1, 0.3, 1.0])
        whole = torch.cat([end + time * (start - end), context], dim=1)[0]
        windows = whole.unfold(1, 16, 1).unfold(2, 16, 1)
        distance = [
            (windows - crop[:, None, None]).abs().amax((0, 3, 4)).min()
            for crop in (sample["image"], sample["image"].flip(-1))
        ]
        assert min(map(float, distance)) < 1e-5 < max(map(float, distance))


def test_the_loss_weighs_long_waves_and_is_the_mean_squared_error_of_noise() -> None:
    noise = torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    loss = VelocityLoss()
    assert float(loss(noise, torch.zeros_like(noise))) == pytest.approx(1, abs=0.1)
    assert float(loss(torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))) == pytest.approx((1 + 4 + 16 + 64) / 4)
    assert float(loss(torch.ones(1, 1, 2, 3), torch.zeros(1, 1, 2, 3))) == pytest.approx(2.5)


def test_training_finds_the_way_from_noise_to_a_known_texture() -> None:
    """Images are all the same wave at two places: a trained flow makes one of the two from noise, not their mean."""
    torch.manual_seed(0)
    wave = torch.cos(torch.pi * 0.5 * (torch.arange(32) + 0.5)).expand(1, 32, 32) * 0.1 + 0.5
    images = torch.stack([wave, 1 - wave])
    flow = RestorationFlow(
        profile=torch.full((1, 20), -2.0),
        mask_ratio=0.05,
        transition=0.01,
        evaluations=8,
        features=(16, 24),
        num_blocks=1,
    )
    optimizer = torch.optim.Adam(flow.velocity.parameters(), 3e-3)
    draw = RandFlowSamplesd("image", flow, (32, 32), num_samples=1).set_random_state(0)
    loss_function = VelocityLoss(scales=(1,))
    for _ in range(150):
        samples = []
        for label in images[torch.randint(2, (8,))]:
            noisy = 0.5 + 0.1 * torch.randn(1, 32, 32)
            samples += draw({"image": noisy, "label": label, "condition": torch.tensor([0.05, 0.01, 1.0])})
        batch = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
        loss = loss_function(flow.velocity(batch["image"], batch["condition"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        made = flow(0.5 + 0.1 * torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(1)))
    correlation = [float(torch.corrcoef(torch.stack([m.flatten(), wave.flatten()]))[0, 1]) for m in made]
    assert min(map(abs, correlation)) > 0.8, correlation
    assert {value > 0 for value in correlation} == {True, False}, "one of the two waves was never made"
