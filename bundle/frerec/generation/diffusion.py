"""A class-conditional diffusion model over pixels: a second kind of generator, with artefacts of another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.engines.utils import PrepareBatch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import nn

from frerec.errors import ConfigError
from frerec.generation.conditional import ClassConditionalGenerator, drop_labels
from frerec.generation.source import GaussianSource

TRAIN_TIMESTEPS = 1000
#: Standard deviation that images on [-1, 1] are taken to have.
DATA_STD = 0.5


class PixelDiffusion(ClassConditionalGenerator):
    """Class-conditional image generator: a truncated diffusion chain over pixels, sampled by DDIM.

    The chain ends early, where the images are half noise, and a draw starts there from a Gaussian fitted to the
    training images of its class instead of from white noise (truncated diffusion: H. Zheng et al., 2023). So a small
    network has only details to learn, which an hour on a CPU core is enough for. It sees the image folded into cells of
    ``shuffle`` x ``shuffle`` pixels, which spares it the convolutions at full resolution.

    Args:
        class_names: label of each class, in the order of the class indices.
        in_channels: image channels.
        image_size: height and width of the images, divisible by ``shuffle`` and by two more for each level after
            the first.
        shuffle: side of a cell, in pixels.
        channels: widths of the ``DiffusionModelUNet``.
        attention_levels: which of its levels have attention.
        num_res_blocks: residual blocks of each level.
        n_components: principal components of the starting distribution.
        start: share of the chain that is kept, in (0, 1]; 1 starts from white noise, as an ordinary diffusion model.
            Part of the weights: loaded ones bring their own.
        steps: DDIM steps of a draw; at most one for each noise level is taken.
        guidance: classifier-free guidance weight; 1 for none.

    Raises:
        ConfigError: the image size does not fit, or ``start`` is out of range.
    """

    levels: torch.Tensor
    start: torch.Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        in_channels: int = 1,
        image_size: Sequence[int] = (128, 128),
        shuffle: int = 4,
        channels: Sequence[int] = (48, 96, 128),
        attention_levels: Sequence[bool] = (False, False, True),
        num_res_blocks: int = 1,
        n_components: int = 96,
        start: float = 0.5,
        steps: int = 12,
        guidance: float = 1.0,
    ) -> None:
        super().__init__(class_names, image_size, steps, guidance)
        step = shuffle * 2 ** (len(channels) - 1)
        if any(size % step for size in image_size):
            raise ConfigError(
                "image_size", tuple(image_size), f"not divisible by {step}, what the network needs",
                f"Use multiples of {step}",
            )  # fmt: skip
        if not 0 < start <= 1:
            raise ConfigError("start", start, "not a share of the chain", "Use a number above 0 and up to 1")
        # Kept with the weights, because a draw must start where the training did.
        self.register_buffer("start", torch.tensor(float(start)))
        alphas = DDPMScheduler(TRAIN_TIMESTEPS, schedule="cosine").alphas_cumprod
        levels = torch.stack([alphas.sqrt(), (1 - alphas).sqrt()]).float()
        self.register_buffer("levels", levels, persistent=False)
        self.signal, self.noise = levels.tolist()
        self.to_depth, self.to_space = nn.PixelUnshuffle(shuffle), nn.PixelShuffle(shuffle)
        self.source = GaussianSource((in_channels, *self.image_size), n_components, len(self.class_names))
        self.net = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=in_channels * shuffle**2,
            out_channels=in_channels * shuffle**2,
            num_res_blocks=num_res_blocks,
            channels=tuple(channels),
            attention_levels=tuple(attention_levels),
            num_head_channels=32,
            norm_num_groups=16,
            num_class_embeds=len(self.class_names) + 1,
        )

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
        """Predict v (T. Salimans and J. Ho, 2022) of noisy images.

        The network adds to the best linear guess, in units of what that leaves open (preconditioning of T. Karras et
        al., 2022, written for v): noise in the finest detail is then removed from the first step of training on.

        Args:
            x: (B, C, H, W), images in [-1, 1] with noise.
            timesteps: (B,), from 0 to ``TRAIN_TIMESTEPS - 1``.
            class_labels: (B,) class indices; the number of classes stands for "no label".

        Returns:
            (B, C, H, W).
        """
        step = timesteps.long().clamp(0, TRAIN_TIMESTEPS - 1)
        a, s = (self.levels[:, step].to(x)[:, :, None, None, None]).unbind(0)
        spread = (a * DATA_STD).square() + s.square()
        learnt = self.to_space(self.net(self.to_depth(x / spread.sqrt()), timesteps, class_labels=class_labels))
        return a * s * (1 - DATA_STD**2) / spread * x + DATA_STD / spread.sqrt() * learnt

    def _draw(self, label: int, seed: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(int(seed))
        image = 2 * self.source(1, chance, label=label) - 1
        noise = torch.randn(image.shape, generator=chance).to(image)
        first = max(1, round(float(self.start) * TRAIN_TIMESTEPS)) - 1
        times = torch.linspace(-1, first, min(self.steps, first + 1) + 1).round().int().tolist()[::-1]
        image = self.signal[times[0]] * image + self.noise[times[0]] * noise
        # DDIM without added noise (J. Song et al., 2021), written out: MONAI's scheduler takes all its steps to be
        # TRAIN_TIMESTEPS // steps long, and where that does not divide evenly some noise stays in the picture.
        for time, after in pairwise(times):
            v = self._guided(self, image, time, label)
            clean = (self.signal[time] * image - self.noise[time] * v).clamp(-1, 1)
            rest = self.noise[time] * image + self.signal[time] * v
            image = clean if after < 0 else self.signal[after] * clean + self.noise[after] * rest
        return ((image + 1) / 2).float().clamp(0, 1)


class DiffusionPrepareBatch(PrepareBatch):
    """Prepare a training step of :class:`PixelDiffusion` for MONAI's ``SupervisedTrainer``.

    Args:
        num_classes: labels run from 0 to ``num_classes - 1``; ``num_classes`` itself stands for "no label".
        start: share of the chain that is trained, as in the generator.
        label_dropout: share of samples trained without their label, for classifier-free guidance.
        image_key: key of images (B, C, H, W) in [0, 1].
        label_key: key of the labels (B,), integers.
    """

    def __init__(
        self,
        num_classes: int,
        start: float = 0.5,
        label_dropout: float = 0.1,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        self.num_classes, self.start, self.label_dropout = num_classes, start, label_dropout
        self.image_key, self.label_key = image_key, label_key
        self.scheduler = DDPMScheduler(TRAIN_TIMESTEPS, schedule="cosine", prediction_type="v_prediction")

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict[str, torch.Tensor]]:
        """Return (noisy images, v, (), {timesteps, class_labels}), the first two (B, C, H, W)."""
        image = 2 * torch.as_tensor(batchdata[self.image_key]).to(device, non_blocking=non_blocking) - 1
        labels = torch.as_tensor(batchdata[self.label_key]).long().to(image.device)
        labels = drop_labels(labels, self.label_dropout, self.num_classes)
        noise = torch.randn_like(image)
        last = max(1, round(self.start * TRAIN_TIMESTEPS))
        timesteps = torch.randint(0, last, (len(image),), device=image.device)
        noisy = self.scheduler.add_noise(image, noise, timesteps)
        target = self.scheduler.get_velocity(image, noise, timesteps)
        return noisy, target, (), {"timesteps": timesteps, "class_labels": labels}
