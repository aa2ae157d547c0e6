"""The flow finished against a discriminator: one evaluation gives what many gave, and edges as sharp as real ones.

A velocity learnt with squared errors smears what it cannot be sure of, and asked once only, it smears most. So the
network is trained on as a generator: a discriminator learns to tell its images, stored as files are, from the real
ones that they were made from (adversarial diffusion distillation, A. Sauer et al., 2023; with relativistic losses and
penalised gradients, Y. Huang et al., "The GAN is dead; long live the GAN", 2024). It sees real images only, as the
paper wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ignite.distributed as idist
import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.networks.layers import GaussianFilter
from monai.networks.layers.factories import Conv
from monai.utils import AdversarialIterationEvents, AdversarialKeys
from monai.utils import CommonKeys as Keys
from torch import nn
from torch.nn import functional

from frerec.errors import ConfigError
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.losses import AmplitudeLoss, VelocityLoss
from frerec.rhm.precision import network_dtype

#: Width in pixels of the blur that the high-passed view leaves out, and the noise of the gradient penalty.
BLUR, NOISE = 1.5, 0.05


class PatchDiscriminator(nn.Sequential):
    """Convolutions without normalisation to a map of logits; the first at full resolution, to see fine texture.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the view.
        features: channels of the convolutions, all but the first of stride 2.
    """

    def __init__(self, spatial_dims: int, in_channels: int, features: Sequence[int] = (32, 48, 64, 96)) -> None:
        kind, layers = Conv[Conv.CONV, spatial_dims], []
        for index, width in enumerate((*features, features[-1])):
            stride = 2 if 0 < index < len(features) else 1
            layers += [kind(in_channels, width, 3, stride, 1, padding_mode="reflect"), nn.LeakyReLU(0.2)]
            in_channels = width
        layers.append(kind(in_channels, 1, 1))
        super().__init__(*layers)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, 0.2)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if spatial_dims == 2:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Discriminator(nn.Module):
    """Looks at an image in three ways: whitened, whitened at half the resolution, and high-passed.

    In whitened images every frequency counts alike; the high-passed view is what classifiers in training latch on to.
    Beside the whitened ones it sees the low frequencies that the image was made from, to tell where things belong.

    Args:
        flow: the network that is trained, for its whitening.
        features: of each :class:`PatchDiscriminator`.

    Raises:
        ConfigError: ``flow`` is another network.
    """

    def __init__(self, flow: RestorationFlow, features: Sequence[int] = (32, 48, 64, 96)) -> None:
        super().__init__()
        if not isinstance(flow, RestorationFlow):
            reason = "only the flow is finished against a discriminator"
            raise ConfigError("preset", type(flow).__name__, reason, "Use preset compact")
        dims, channels = flow.spatial_dims, flow.in_channels
        self.dims, self.channels = dims, channels
        # methods, so that the network's weights are not among ours
        self._whiten, self._amplitude = flow.whiten, flow.amplitude
        self.blur = GaussianFilter(dims, BLUR)
        self.discriminators = nn.ModuleList(PatchDiscriminator(dims, n * channels, features) for n in (3, 3, 1))

    def views(self, images: torch.Tensor, replaced: torch.Tensor) -> list[torch.Tensor]:
        """What is looked at.

        Args:
            images: float32 (B, C, *spatial) in [0, 1], real or made.
            replaced: output of stage 1 that they were made from, of the same shape.

        Returns:
            Three tensors, of unit power or about it, whose first C channels show the image.
        """
        white, (_, context) = self._whiten(images)[0], self._whiten(replaced)
        whole = torch.cat([torch.asinh(white), context.detach() / 3], dim=1)
        pool = functional.avg_pool2d if self.dims == 2 else functional.avg_pool3d
        high = images - self.blur(images)
        power = self._amplitude(images.shape[2:])
        power = torch.where(torch.isfinite(power), power, 0.0).square().mean().sqrt()
        return [whole, pool(whole, 2) * 1.5, torch.asinh(high / power)]

    def forward(self, views: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Logits (B, 1, *smaller) of each view; large where it looks real."""
        if self.dims == 2:
            views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        return [one(view).float() for one, view in zip(self.discriminators, views, strict=True)]

    def perturbed(self, views: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The views with a little noise on the image: a discriminator must not change its mind for it."""
        noisy = []
        for view in views:
            noise = NOISE * torch.randn_like(view)
            noise[:, self.channels :] = 0
            noisy.append(view + noise)
        return noisy


class AnatomyLoss(nn.Module):
    """Keeps a generator to its task: anatomy of the target in long waves, and the target's power at every radius.

    Args:
        flow: the network, for its whitening.
        anatomy: weight of the squared error of means over 8 pixels a side, whitened.
        power: weight of the mean absolute difference of log10 radial powers.
    """

    def __init__(self, flow: RestorationFlow, anatomy: float = 0.05, power: float = 1.0) -> None:
        super().__init__()
        self._whiten, self.anatomy, self.power = flow.whiten, anatomy, power
        self.means, self.radial = VelocityLoss(flow.spatial_dims, (8,)), AmplitudeLoss(flow.spatial_dims, "radial")

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar; both (B, C, *spatial)."""
        white, wanted = self._whiten(prediction)[0], self._whiten(target)[0]
        return self.anatomy * self.means(white, wanted) + self.power * self.radial(prediction, target)


def stored(image: torch.Tensor, step: float) -> torch.Tensor:
    """Clipped to [0, 1] and rounded to multiples of ``step``, 0 for no rounding; the gradient passes the rounding."""
    clipped = image.clamp(0, 1)
    return clipped + ((clipped / step).round() * step - clipped).detach() if step > 0 else clipped


class AdversarialRestorationTrainer(AdversarialTrainer):
    """MONAI's adversarial trainer with a relativistic loss: real and made are judged against each other, in pairs.

    Batches hold the output of stage 1, the real image and the condition (mask ratio, transition, strength).

    Args:
        storage_step: distance of values in stored files, in nominal [0, 1].
        penalty: weight of the squared change that noise makes to the discriminator's logits.
        kwargs: as in MONAI's class; ``g_loss_function`` and ``d_loss_function`` are not used.

    Raises:
        ConfigError: several processes train together.
    """

    def __init__(self, *, storage_step: float = 1 / 255, penalty: float = 10.0, **kwargs: Any) -> None:
        if idist.get_world_size() > 1:
            reason = "the discriminators of several processes would drift apart"
            raise ConfigError("WORLD_SIZE", idist.get_world_size(), reason, "Start this training as one process")
        amp = kwargs.pop("amp", False)
        super().__init__(g_loss_function=functional.softplus, d_loss_function=functional.softplus, **kwargs)
        self.storage_step, self.penalty = storage_step, penalty
        self.dtype = network_dtype(self.state.device, amp)

    def _complete_state_dict_user_keys(self) -> None:
        """Nothing beside the counts: networks and optimisers are saved as state dicts of their own, not pickled."""

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        replaced, target, (condition,), _ = engine.prepare_batch(
            batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs
        )
        generator, discriminator = engine.state.g_network, engine.state.d_network
        generator.train()
        output: dict[str, Any] = {Keys.IMAGE: replaced, Keys.LABEL: target}
        engine.state.output = output
        with torch.autocast(replaced.device.type, self.dtype, enabled=self.dtype != torch.float32):
            made = generator(replaced, condition)
        made = stored(made, self.storage_step)
        with torch.no_grad():
            real_views = discriminator.views(target, replaced)
        made_views = discriminator.views(made, replaced)

        def logits(*views: list[torch.Tensor]) -> list[tuple[torch.Tensor, ...]]:
            together = [torch.cat(parts) for parts in zip(*views, strict=True)]
            with torch.autocast(replaced.device.type, self.dtype, enabled=self.dtype != torch.float32):
                return [one.chunk(len(views)) for one in discriminator(together)]

        shown = [view.detach() for view in made_views]
        loss = torch.zeros((), device=replaced.device)
        for real, fake, near_real, near_fake in logits(
            real_views, shown, discriminator.perturbed(real_views), discriminator.perturbed(shown)
        ):
            change = (real - near_real).square().mean() + (fake - near_fake).square().mean()
            loss = loss + functional.softplus(fake - real).mean() + self.penalty * change
        engine.state.d_optimizer.zero_grad()
        loss.backward()
        engine.state.d_optimizer.step()
        output[AdversarialKeys.DISCRIMINATOR_LOSS] = loss.detach()

        discriminator.requires_grad_(False)
        adversarial = torch.zeros((), device=replaced.device)
        for real, fake in logits(real_views, made_views):
            adversarial = adversarial + functional.softplus(real - fake).mean()
        discriminator.requires_grad_(True)
        reconstruction = engine.state.recon_loss_function(made, target)
        engine.state.g_optimizer.zero_grad()
        (adversarial + reconstruction).backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        engine.fire_event(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED)
        engine.state.g_optimizer.step()
        output[AdversarialKeys.GENERATOR_LOSS] = adversarial.detach()
        output[AdversarialKeys.RECONSTRUCTION_LOSS] = reconstruction.detach()
        output[Keys.LOSS] = (adversarial + reconstruction).detach()
        output[Keys.PRED] = made.detach()
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output  # in parts, one of each image, where they were decollated
