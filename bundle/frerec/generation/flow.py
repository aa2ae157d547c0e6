"""A class-conditional rectified flow over the latent grid, and the generator it makes with the autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.engines.utils import PrepareBatch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.rectified_flow import RFlowScheduler

from frerec.errors import ConfigError
from frerec.generation.autoencoder import LatentAutoencoder
from frerec.generation.conditional import ClassConditionalGenerator, drop_labels
from frerec.generation.source import GaussianSource

TRAIN_TIMESTEPS = 1000


class FlowPrepareBatch(PrepareBatch):
    """Prepare a training step of the flow for MONAI's ``SupervisedTrainer``.

    A rectified flow learns the constant velocity of the straight line from a source to a latent (X. Liu et al.,
    "Flow straight and fast", 2022). Times are drawn logit-normally, more often in the middle, where the velocity
    is hardest to tell (P. Esser et al., 2024).

    Args:
        source: draws the starting points.
        num_classes: labels run from 0 to ``num_classes - 1``; ``num_classes`` itself stands for "no label".
        label_dropout: share of samples trained without their label, for classifier-free guidance.
        latent_key: key of the latents (B, C, H, W).
        label_key: key of the labels (B,), integers.
    """

    def __init__(
        self,
        source: GaussianSource,
        num_classes: int,
        label_dropout: float = 0.1,
        latent_key: str = "latent",
        label_key: str = "label",
    ) -> None:
        self.source = source
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.latent_key, self.label_key = latent_key, label_key

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Return (noisy latents, velocity, (), {timesteps, class_labels}), the first two (B, C, H, W)."""
        latent = torch.as_tensor(batchdata[self.latent_key]).to(device, non_blocking=non_blocking)
        labels = torch.as_tensor(batchdata[self.label_key]).long().to(device, non_blocking=non_blocking)
        labels = drop_labels(labels, self.label_dropout, self.num_classes)
        noise = self.source(len(latent)).to(latent)
        time = torch.sigmoid(torch.randn(len(latent), device=latent.device)).view(-1, 1, 1, 1)
        noisy = (1 - time) * latent + time * noise
        inputs = {"timesteps": time.flatten() * TRAIN_TIMESTEPS, "class_labels": labels}
        return noisy, latent - noise, (), inputs


class LatentGenerator(ClassConditionalGenerator):
    """Class-conditional image generator: a rectified flow draws latents, the autoencoder decodes them.

    Args:
        autoencoder: trained :class:`LatentAutoencoder`.
        class_names: label of each class, in the order of the flow's class indices.
        image_size: height and width of generated images, divisible by ``autoencoder.factor`` and by two more for each
            level of the flow after the first.
        channels: widths of the flow's ``DiffusionModelUNet``.
        attention_levels: which of its levels have attention.
        num_res_blocks: residual blocks of each level.
        n_components: principal components of the flow's starting distribution.
        steps: Euler steps of a draw.
        guidance: classifier-free guidance weight; 1 for none.
        temperature: scale of the source's residual noise in a draw. A flow trained for an hour does not quite
            remove that noise, so the default leaves it out: cleaner images, less varied in detail.
    """

    def __init__(
        self,
        autoencoder: LatentAutoencoder,
        class_names: Sequence[str],
        image_size: Sequence[int] = (256, 256),
        channels: Sequence[int] = (96, 160),
        attention_levels: Sequence[bool] = (False, True),
        num_res_blocks: int = 1,
        n_components: int = 96,
        steps: int = 25,
        guidance: float = 1.0,
        temperature: float = 0.0,
    ) -> None:
        super().__init__(class_names, image_size, steps, guidance)
        step = autoencoder.factor * 2 ** (len(channels) - 1)
        if any(size % step for size in image_size):
            raise ConfigError(
                "image_size", tuple(image_size), f"not divisible by {step}, what autoencoder and flow need",
                f"Use multiples of {step}",
            )  # fmt: skip
        self.temperature, self.autoencoder = temperature, autoencoder
        size = [s // autoencoder.factor for s in self.image_size]
        self.source = GaussianSource((autoencoder.latent_channels, *size), n_components)
        self.flow = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=autoencoder.latent_channels,
            out_channels=autoencoder.latent_channels,
            num_res_blocks=num_res_blocks,
            channels=tuple(channels),
            attention_levels=tuple(attention_levels),
            num_head_channels=32,
            norm_num_groups=16,
            num_class_embeds=len(self.class_names) + 1,
        )

    def _draw(self, label: int, seed: int) -> torch.Tensor:
        latent = self.source(1, torch.Generator().manual_seed(int(seed)), self.temperature)
        scheduler = RFlowScheduler(num_train_timesteps=TRAIN_TIMESTEPS)
        scheduler.set_timesteps(self.steps)
        times = [*scheduler.timesteps.tolist(), 0]
        for now, after in pairwise(times):
            latent, _ = scheduler.step(self._guided(self.flow, latent, now, label), now, latent, after)
        return self.autoencoder.decode(latent).float().clamp(0, 1)
