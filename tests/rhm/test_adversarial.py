"""The discriminator and the training against it."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader

from frerec.errors import ConfigError
from frerec.rhm.adversarial import AdversarialRestorationTrainer, AnatomyLoss, Discriminator, stored
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.network import FreRecNet
from frerec.spectrum.power import radial_power
from tests.rhm.test_flow import PROFILE, coloured


@pytest.mark.parametrize("dims", [2, 3])
def test_the_discriminator_shares_no_weights_with_the_network_and_sees_three_views(dims: int) -> None:
    flow = RestorationFlow(dims, 1, 1, PROFILE, features=(8, 8), num_blocks=1)
    discriminator = Discriminator(flow, (4, 4))
    assert not {id(p) for p in discriminator.parameters()} & {id(p) for p in flow.parameters()}
    image, replaced = (coloured(1, (16,) * dims, seed)[:1].clamp(0, 1) for seed in (1, 2))
    views = discriminator.views(image, replaced)
    assert [view.shape[1:] for view in views] == [(3, *[16] * dims), (3, *[8] * dims), (1, *[16] * dims)]
    assert [logit.shape[:2] for logit in discriminator(views)] == [(1, 1)] * 3
    inside = tuple([0, 0] + [slice(6, 10)] * dims)
    sigma = [0, 0] + [1.5] * dims
    expected = (image.numpy() - gaussian_filter(image.numpy(), sigma, mode="constant"))[inside]
    power = flow.amplitude(image.shape[2:])
    rms = power[torch.isfinite(power)].square().sum().div(power.numel()).sqrt()
    torch.testing.assert_close(torch.sinh(views[2])[inside] * rms, torch.from_numpy(expected), atol=2e-3, rtol=0)


def test_noise_of_the_penalty_is_on_the_image_only() -> None:
    discriminator = Discriminator(RestorationFlow(profile=PROFILE, features=(8, 8)), (4, 4))
    views = discriminator.views(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16))
    for view, noisy in zip(views, discriminator.perturbed(views), strict=True):
        change = noisy - view
        assert 0.04 < float(change[:, :1].std()) < 0.06
        assert not change[:, 1:].any()


def test_stored_values_are_those_of_a_file_and_pass_the_gradient() -> None:
    x = torch.tensor([-0.2, 0.1234, 0.5, 1.3], requires_grad=True)
    out = stored(x, 1 / 255)
    torch.testing.assert_close(out * 255, torch.tensor([0.0, 31.0, 128.0, 255.0]), atol=1.0, rtol=0)
    torch.testing.assert_close(out * 255, (out * 255).round(), atol=1e-4, rtol=0)
    out.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0, 1, 1, 0]
    assert torch.equal(stored(x, 0), x.clamp(0, 1))


@pytest.mark.parametrize("learns", ["discriminator", "network"])
def test_each_side_learns_to_win_against_the_other_at_rest(learns: str) -> None:
    """Real images have sharp bars; what comes in has noise of the same power instead."""
    torch.manual_seed(0)
    targets = torch.full((12, 1, 32, 32), 0.4)
    for number, target in enumerate(targets):
        target[:, :, 2 * number + 2 : 2 * number + 6] = 0.55
    flow = RestorationFlow(profile=radial_power(targets, 2).mean(0), mask_ratio=0.05, features=(16, 24), num_blocks=1)
    noise = flow.colour(torch.randn(12, 1, 32, 32) - flow.whiten(targets)[0])
    parts = {"image": targets + noise, "label": targets, "condition": torch.tensor([[0.05, 0.1, 1.0]]).expand(12, 3)}
    data = [{key: part[n] for key, part in parts.items()} for n in range(12)]
    discriminator, losses = Discriminator(flow, (8, 12)), []

    def advantage() -> float:
        with torch.no_grad():
            made = stored(flow(parts["image"], parts["condition"]), 1 / 255)
            sides = [discriminator(discriminator.views(images, parts["image"])) for images in (targets, made)]
        return float(sum((real - fake).mean() for real, fake in zip(*sides, strict=True)))

    speed = {side: 2e-3 if side == learns else 0.0 for side in ("discriminator", "network")}
    trainer = AdversarialRestorationTrainer(
        device="cpu", max_epochs=10, train_data_loader=DataLoader(data, batch_size=6),
        g_network=flow, g_optimizer=torch.optim.Adam(flow.velocity.parameters(), speed["network"]),
        d_network=discriminator, d_optimizer=torch.optim.Adam(discriminator.parameters(), speed["discriminator"]),
        recon_loss_function=AnatomyLoss(flow),
        prepare_batch=lambda batch, *_, **__: (batch["image"], batch["label"], (batch["condition"],), {}),
        decollate=False,
    )  # fmt: skip
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    before = advantage()
    trainer.run()
    change = advantage() - before
    assert change > 0.5 if learns == "discriminator" else change < -0.05
    key = "discriminator_loss" if learns == "discriminator" else "loss"
    assert float(losses[-1][key]) < float(losses[0][key])


def test_only_the_flow_is_finished_so() -> None:
    with pytest.raises(ConfigError, match="preset='FreRecNet'"):
        Discriminator(FreRecNet(preset="small"))  # type: ignore[arg-type]
