"""Stage 2 as a flow: noise in the high band becomes the high frequencies that real images have there.

Stage 1 leaves an image whose high band holds, in a share that rises with the radius, noise of the power that real
images have. A rectified flow (X. Liu et al., "Flow straight and fast", 2022) learns on real images the way back along
the straight line from there to the image itself. A network trained for the smallest error gives the mean of all images
that could be meant, and a mean has no high frequencies; a flow gives one of them. Both ends are divided by the power
that real images have at each radius, so that every frequency counts alike. Not in the paper: our choice, see
docs/explanation/network.md.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from monai.networks.layers.factories import Conv
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import nn
from torch.nn import functional

from frerec.errors import ConfigError, FreRecError
from frerec.spectrum.cosine import at_radius, cosine_radius, dctn, idctn

#: Radii at which the two low-pass images end that the network sees beside the state, and the gain of the first.
CONTEXT_RADII = (0.12, 0.08)
CONTEXT_GAIN = 10.0
CONDITIONS = 4
#: Rings of the profile that is kept, whatever the bank's have.
RINGS = 181
FREQUENCIES = 4


def _convolution(dims: int, in_channels: int, out_channels: int) -> nn.Conv2d | nn.Conv3d:
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    return kind(in_channels, out_channels, 3, padding=1, padding_mode="reflect")


def _start_at_zero(layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ConditionedBlock(nn.Module):
    """Two convolutions added to their input; scale and shift of the first one's input come from the condition."""

    def __init__(self, dims: int, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, affine=False)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.first = _convolution(dims, channels, channels)
        self.second = _convolution(dims, channels, channels)
        _start_at_zero(self.modulation)
        _start_at_zero(self.second)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Features (B, C, *spatial) and embedding (B, E) to features of the same shape."""
        scale, shift = self.modulation(embedding).view(*x.shape[:1], -1, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        return x + self.second(functional.silu(self.first(functional.silu(self.norm(x) * (1 + scale) + shift))))


class VelocityNet(nn.Module):
    """Residual U-Net on folded pixels: the velocity of the flow at every pixel.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of state and context together.
        out_channels: of the velocity.
        channels: features of each level, from the finest, where 2 x 2 pixels are folded into one position, down.
        num_blocks: residual blocks of each level on the way down, and as many on the way up.
        embedding: size of the embedding of the condition.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 160),
        num_blocks: int = 2,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        self.dims, self.multiple, fold = spatial_dims, 2 ** len(channels), 2**spatial_dims
        self.embed = nn.Sequential(
            nn.Linear(2 * FREQUENCIES * CONDITIONS, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )

        def level(width: int) -> nn.ModuleList:
            return nn.ModuleList(ConditionedBlock(spatial_dims, width, embedding) for _ in range(num_blocks))

        steps = list(pairwise(channels))
        down, up = Conv[Conv.CONV, spatial_dims], Conv[Conv.CONVTRANS, spatial_dims]
        self.input = _convolution(spatial_dims, in_channels * fold, channels[0])
        self.encoders, self.decoders = (nn.ModuleList(map(level, channels[: -1 if n else None])) for n in range(2))
        self.downs = nn.ModuleList(down(fine, coarse, kernel_size=2, stride=2) for fine, coarse in steps)
        self.ups = nn.ModuleList(up(coarse, fine, kernel_size=2, stride=2) for fine, coarse in steps)
        self.output = _convolution(spatial_dims, channels[0], out_channels * fold)
        _start_at_zero(self.output)
        if spatial_dims == 2:  # as the features are below; convolutions in bfloat16 are several times faster so
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Velocity.

        Args:
            x: state and context (B, C, *spatial).
            condition: (B, 4): time, mask ratio, transition and strength.

        Returns:
            (B, out_channels, *spatial).
        """
        octaves = 2.0 ** torch.arange(FREQUENCIES, device=x.device, dtype=condition.dtype)
        angle = (condition[..., None] * math.pi * octaves).flatten(1)
        embedding = self.embed(torch.cat([angle.sin(), angle.cos()], dim=1))
        shape = x.shape[2:]
        # the coarsest level has two positions along each axis at least, which reflection at its borders needs
        padded = [max(2, math.ceil(n / self.multiple)) * self.multiple for n in shape]
        pads = [pad for n, m in zip(reversed(shape), reversed(padded), strict=True) for pad in (0, m - n)]
        if any(pads):
            x = functional.pad(x, pads, mode="reflect" if max(pads) < min(shape) else "replicate")
        if self.dims == 2:
            x = x.contiguous(memory_format=torch.channels_last)
        features = self.input(pixelunshuffle(x, self.dims, 2))
        skips: list[torch.Tensor] = []
        for depth, encoder in enumerate(self.encoders):
            for block in cast(nn.ModuleList, encoder):
                features = block(features, embedding)
            if depth < len(self.downs):
                skips.append(features)
                features = self.downs[depth](features)
        for up, decoder in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            features = skips.pop() + up(features)
            for block in cast(nn.ModuleList, decoder):
                features = block(features, embedding)
        out = pixelshuffle(self.output(features), self.dims, 2)
        for axis, n in enumerate(shape, start=2):
            out = out.narrow(axis, 0, n)
        return out


class RestorationFlow(nn.Module):
    """The second stage as a flow from stage 1's output to an image with the high frequencies of a real one.

    Everything random is in the noise that stage 1 mixed in, so the same input gives the same output.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the images.
        out_channels: the same.
        profile: log10 mean power of real images on rings of equal width, (C, R), as
            :meth:`frerec.shr.bank.reference.ReferenceBank.profiles_of` gives for each; None where weights are loaded.
        mask_ratio: of stage 1; below it nothing is changed.
        transition: of stage 1.
        strength: of stage 1; 0 gives the input back.
        evaluations: how often the network is asked. Once suffices for weights that the adversarial training finished
            (:mod:`frerec.rhm.adversarial`); the flow alone needs an even number, two for each step of the midpoint
            method: two leave an error of 5 % of the change, four of 1 %.
        features: channels of :class:`VelocityNet`.
        num_blocks: see there.

    Raises:
        ConfigError: an argument is out of range.
    """

    profile: torch.Tensor

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        profile: torch.Tensor | None = None,
        mask_ratio: float = 0.1,
        transition: float = 0.1,
        strength: float = 1.0,
        evaluations: int = 1,
        features: Sequence[int] = (32, 64, 128, 160),
        num_blocks: int = 2,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ConfigError("spatial_dims", spatial_dims, "images have 2 or 3 spatial dimensions", "Use 2 or 3")
        if in_channels != out_channels:
            raise ConfigError("channels", out_channels, f"the images have {in_channels}", "Use the same number twice")
        if evaluations < 1 or (evaluations > 1 and evaluations % 2):
            raise ConfigError("evaluations", evaluations, "a step asks the network twice", "Use 1 or an even number")
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        self.mask_ratio, self.transition, self.strength, self.evaluations = (
            mask_ratio,
            transition,
            strength,
            evaluations,
        )
        self.velocity = VelocityNet(spatial_dims, 3 * in_channels, in_channels, features, num_blocks)
        known = torch.zeros(in_channels, RINGS)
        if profile is not None:
            known = functional.interpolate(torch.as_tensor(profile).float()[None], RINGS, mode="linear")[0]
        self.register_buffer("profile", known)

    def amplitude(self, shape: Sequence[int]) -> torch.Tensor:
        """Root mean square of real images' coefficients (C, *shape); the mean of an image is left out of the flow."""
        # not written in place, which OpenVINO cannot convert
        mean = cosine_radius(tuple(int(n) for n in shape)).to(self.profile.device) == 0
        return torch.where(mean, math.inf, 10 ** (at_radius(self.profile, shape) / 2))

    def whiten(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The image as the flow sees it.

        Args:
            x: (B, C, *spatial), nominally in [0, 1].

        Returns:
            State (B, C, *spatial) of unit power at all frequencies and context (B, 2C, *spatial): its low frequencies,
            amplified, and the smoothed intensities.
        """
        dims, shape = self.spatial_dims, tuple(int(n) for n in x.shape[2:])
        spectrum, rho = dctn(x, dims), cosine_radius(shape).to(x.device)
        white = spectrum / self.amplitude(shape)
        low, smooth = (torch.exp(-(rho / end).square()) for end in CONTEXT_RADII)
        context = [idctn(white * low, dims) * CONTEXT_GAIN, idctn(spectrum * smooth, dims) * 2 - 1]
        return idctn(white, dims), torch.cat(context, dim=1)

    def colour(self, change: torch.Tensor, mask_ratio: float | torch.Tensor | None = None) -> torch.Tensor:
        """A change of the state (B, C, *spatial) as one of the image: none below ``mask_ratio``, ours if None."""
        shape = tuple(int(n) for n in change.shape[2:])
        inside = cosine_radius(shape).to(change.device) >= (self.mask_ratio if mask_ratio is None else mask_ratio)
        amplitude = torch.where(inside, self.amplitude(shape), 0.0)
        return idctn(dctn(change, self.spatial_dims) * amplitude, self.spatial_dims)

    def at(self, strength: float) -> RestorationFlow:
        """The same network, parameters and all, for the output of stage 1 at another strength."""
        other = copy.copy(self)
        other.strength = strength
        return other

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Restore.

        Args:
            x: output of stage 1 (B, C, *spatial), nominally in [0, 1].
            condition: mask ratio, transition and strength of each image (B, 3), for training; None for ours.

        Returns:
            Tensor of the shape of ``x``, float32.

        Raises:
            FreRecError: ``x`` has other dimensions or channels than the network was built for.
        """
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels or min(x.shape) < 1:
            raise FreRecError(
                f"input of shape {tuple(x.shape)}: this network takes (B, {self.in_channels}, "
                f"{'H, W' if self.spatial_dims == 2 else 'H, W, D'}). Check spatial_dims and channels of the "
                "network against the images, or run a 2-D network over volumes with RecalibrationInferer."
            )
        if self.strength == 0:
            return x
        with torch.autocast(x.device.type, enabled=False):  # powers span eight decades
            x = x.float()
            start, context = self.whiten(x)
        mask_ratio = None if condition is None else condition[:, :1].view(-1, *[1] * (x.ndim - 1))
        if condition is None:
            condition = x.new_tensor([self.mask_ratio, self.transition, self.strength]).expand(len(x), -1)
        state, steps = start, self.evaluations // 2
        if self.evaluations == 1:
            state = start - self._velocity(start, context, 1.0, condition)
        for time in (1 - n / steps for n in range(steps)):
            middle = state - self._velocity(state, context, time, condition) / (2 * steps)
            state = state - self._velocity(middle, context, time - 1 / (2 * steps), condition) / steps
        with torch.autocast(x.device.type, enabled=False):
            return x + self.colour(state - start, mask_ratio)

    def _velocity(
        self, state: torch.Tensor, context: torch.Tensor, time: float, condition: torch.Tensor
    ) -> torch.Tensor:
        condition = functional.pad(condition, (1, 0), value=time)
        return self.velocity(torch.cat([state, context], dim=1), condition).float()
