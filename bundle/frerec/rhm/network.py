"""The FreRec network: a Restormer skeleton of frequency-enhanced transformer (FET) blocks.

Source: C. Liu et al., arXiv 2511.12301, stage 2 (RHM), on MONAI's Restormer blocks
(``monai.networks.nets.restormer``). What the paper leaves open is explained in docs/explanation/network.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from monai.networks.blocks import Convolution, DownSample, UpSample
from monai.networks.blocks.cablock import CABlock, FeedForward
from monai.networks.nets.restormer import OverlapPatchEmbed
from monai.networks.utils import pixelunshuffle
from torch import nn
from torch.nn import functional

from frerec.errors import ConfigError, FreRecError
from frerec.rhm.presets import PRESETS, check_architecture
from frerec.rhm.rings import ring_windows
from frerec.spectrum.fourier import irfftn, rfftn

HEAD_CHANNELS = 8


class ChannelNorm(nn.Module):
    """Root-mean-square normalisation over channels at every pixel.

    In place of the instance norm of MONAI's block, whose statistics over the whole image tie the result to the
    image size and take away the contrast that tells noise from texture.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *[1] * spatial_dims))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x`` (B, C, *spatial); computed in float32, returned in the dtype of ``x``."""
        scale = torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-6)
        return x * scale.to(x.dtype) * self.weight.to(x.dtype)


class FESA(nn.Module):
    """Local frequency self-attention: a gate on the amplitude of every channel and ring; the phase is kept.

    The rings are the tokens. A token holds the log amplitude of each channel on its ring, attends to the rings
    within ``reach`` of it, and returns through a sigmoid one gate for each channel.

    Args:
        spatial_dims: 2 or 3.
        channels: feature channels.
        n_rings: rings from zero frequency to Nyquist.
        reach: how many rings to either side a ring attends to.
    """

    def __init__(self, spatial_dims: int, channels: int, n_rings: int, reach: int) -> None:
        super().__init__()
        self.spatial_dims, self.n_rings = spatial_dims, n_rings
        hidden = max(8, channels // 4)
        self.reduce = nn.Linear(channels, hidden)
        self.ring_embedding = nn.Parameter(torch.randn(n_rings, hidden) * 0.02)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.gate = nn.Linear(hidden, channels)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        ring = torch.arange(n_rings)
        far = (ring[:, None] - ring[None]).abs() > reach
        self.register_buffer("neighbourhood", torch.zeros(n_rings, n_rings).masked_fill(far, -1e4), persistent=False)

    def ring_gates(self, amplitude: torch.Tensor) -> torch.Tensor:
        """Gates in (0, 2) from mean ring amplitudes, both (B, n_rings, C)."""
        tokens = self.reduce(amplitude.log1p()) + self.ring_embedding
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + cast(torch.Tensor, self.neighbourhood)
        return 2 * torch.sigmoid(self.gate(tokens + scores.softmax(-1) @ v))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate the spectrum of ``x`` (B, C, *spatial); the whole of it in float32, whatever autocast says."""
        batch, channels, *shape = (int(n) for n in x.shape)
        average, spread = ring_windows(tuple(shape), self.n_rings, x.device)
        with torch.autocast(x.device.type, enabled=False):
            spectrum = rfftn(x, self.spatial_dims)
            amplitude = spectrum.abs().view(batch * channels, -1)
            # Both products have the few rings as rows, never as columns: CPU libraries are several times slower at
            # the latter. type_as changes nothing here; in a traced network the windows then follow the input's device.
            rings = average.type_as(amplitude) @ amplitude.t()
            gates = self.ring_gates(rings.view(-1, batch, channels).transpose(0, 1))
            change = (gates - 1).transpose(0, 1).reshape(-1, batch * channels)
            gain = 1 + (spread.type_as(amplitude) @ change).t().contiguous()
            return irfftn(spectrum * gain.view(spectrum.shape), shape).to(x.dtype)


class FETBlock(nn.Module):
    """Frequency-enhanced transformer block.

    Transposed (channel) attention and FESA side by side, concatenated, fused by a 1 x 1 convolution and added to
    the input; then Restormer's gated feed-forward network. The fusion takes the place of the attention's own
    output projection: two linear maps in a row would be one.

    Args:
        spatial_dims: 2 or 3.
        channels: feature channels.
        heads: attention heads, a divisor of ``channels``.
        ffn_expansion: hidden width of the feed-forward network over ``channels``.
        n_rings: see :class:`FESA`.
        ring_reach: see :class:`FESA`.
        fesa: False leaves the frequency branch out (the paper's ablation).
    """

    def __init__(
        self, spatial_dims: int, channels: int, heads: int, ffn_expansion: float, n_rings: int, ring_reach: int,
        fesa: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1 = ChannelNorm(spatial_dims, channels)
        self.attention = CABlock(spatial_dims, channels, heads, bias=False)
        self.fesa, self.fuse = None, None
        if fesa:
            self.attention.register_module("project_out", nn.Identity())
            self.fesa = FESA(spatial_dims, channels, n_rings, ring_reach)
            self.fuse = _conv(spatial_dims, 2 * channels, channels, 1)
        self.norm2 = ChannelNorm(spatial_dims, channels)
        self.ffn = FeedForward(spatial_dims, channels, ffn_expansion, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features in, features out, (B, C, *spatial)."""
        y = self.norm1(x)
        mixed = self.attention(y)
        if self.fesa is not None and self.fuse is not None:
            mixed = self.fuse(torch.cat([mixed, self.fesa(y)], dim=1))
        x = x + mixed
        return cast(torch.Tensor, x + self.ffn(self.norm2(x)))


def _conv(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int) -> Convolution:
    return Convolution(spatial_dims, in_channels, out_channels, kernel_size=kernel_size, bias=False, conv_only=True)


def _up(spatial_dims: int, in_channels: int, out_channels: int, factor: int) -> UpSample:
    up = UpSample(
        spatial_dims, in_channels, out_channels, factor, mode="pixelshuffle", bias=False, apply_pad_pool=False
    )
    # MONAI starts sub-pixel convolutions as a nearest-neighbour enlargement (ICNR): their output then has no detail
    # finer than the input grid, and a last convolution that starts at zero never finds any to learn from
    for weight in up.parameters():
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return up


class FreRecNet(nn.Module):
    """Maps images after SHR to the frequencies of real ones.

    A U-shaped network of :class:`FETBlock` levels, each at half the size and twice the channels of the one
    before, with skip connections and refinement blocks at the end. It predicts what to add to its input, and
    that starts at zero: untrained, it returns its input exactly. (Where input and output differ in channels there
    is nothing to add to, and it predicts the image itself.)

    Images of any size are padded on the right (by reflection, or by repeating the border where the image is too
    small to reflect) and cropped back. One tensor in, one out: the network is blind to the strength of SHR.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        preset: ``compact`` (about a million parameters, for CPUs and small GPUs), ``paper`` (2-4-6-8 blocks, 2
            refinement blocks, width 48), or None; the arguments below override it. None starts from ``compact``.
        num_blocks: blocks of each level, at least two levels.
        num_refinement_blocks: blocks after the last decoder level.
        width: channels of the first level, a multiple of 2 (4 in 3-D) and of its heads.
        heads: attention heads of each level.
        stem_stride: 1 works on pixels; n folds n x n pixels into channels first.
        wide_decoder: keep the last decoder level at twice ``width``, as Restormer does.
        ffn_expansion: hidden width of the feed-forward networks over the level's channels.
        n_rings: FESA's rings from zero frequency to Nyquist.
        ring_reach: how many rings to either side a ring attends to.
        fesa: False leaves FESA out (the paper's ablation).

    Raises:
        ConfigError: an argument that no network can be built from.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        preset: str | None = "compact",
        num_blocks: Sequence[int] | None = None,
        num_refinement_blocks: int | None = None,
        width: int | None = None,
        heads: Sequence[int] | None = None,
        stem_stride: int | None = None,
        wide_decoder: bool | None = None,
        ffn_expansion: float | None = None,
        n_rings: int = 16,
        ring_reach: int = 2,
        fesa: bool = True,
    ) -> None:
        super().__init__()
        given = {
            "num_blocks": num_blocks, "num_refinement_blocks": num_refinement_blocks, "width": width,
            "heads": heads, "stem_stride": stem_stride, "wide_decoder": wide_decoder,
            "ffn_expansion": ffn_expansion, "n_rings": n_rings, "ring_reach": ring_reach, "in_channels": in_channels,
            "out_channels": out_channels,
        }  # fmt: skip
        if preset is not None and preset not in PRESETS:
            raise ConfigError("preset", preset, "unknown preset", f"Use one of {', '.join(PRESETS)}")
        s = PRESETS[preset or "compact"] | {k: v for k, v in given.items() if v is not None}
        check_architecture(spatial_dims, s)
        self.spatial_dims, self.in_channels, self.out_channels = spatial_dims, in_channels, out_channels
        self.stem_stride, self.levels = s["stem_stride"], len(s["num_blocks"])

        def level(channels: int, n: int, blocks: int) -> nn.Sequential:
            return nn.Sequential(*[
                FETBlock(spatial_dims, channels, s["heads"][n], s["ffn_expansion"], n_rings, ring_reach, fesa)
                for _ in range(blocks)
            ])  # fmt: skip

        width, folded = s["width"], s["stem_stride"] ** spatial_dims
        self.embed = OverlapPatchEmbed(spatial_dims, in_channels * folded, width)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.downs, self.ups, self.reduces = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for n in range(self.levels - 1):
            here = width * 2**n
            self.encoders.append(level(here, n, s["num_blocks"][n]))
            narrow = 2 * here // 2**spatial_dims
            self.downs.append(DownSample(spatial_dims, here, narrow, mode="pixelunshuffle", bias=False))
        self.bottom = level(width * 2 ** (self.levels - 1), self.levels - 1, s["num_blocks"][-1])
        for n in reversed(range(self.levels - 1)):
            here = width * 2**n
            self.ups.append(_up(spatial_dims, 2 * here, here, 2))
            wide = n == 0 and s["wide_decoder"]
            self.reduces.append(nn.Identity() if wide else _conv(spatial_dims, 2 * here, here, 1))
            last = 2 * here if wide else here
            self.decoders.append(level(last, n, s["num_blocks"][n]))
        self.refinement = level(last, 0, s["num_refinement_blocks"])
        # the folded pixels are unfolded before the last convolution: a seam between them would be a checkerboard
        self.unfold: nn.Module = nn.Identity()
        if self.stem_stride > 1:
            # linear: a gate here, with nothing beside it, can close for good in the first steps
            self.unfold = nn.Sequential(_up(spatial_dims, last, HEAD_CHANNELS, self.stem_stride))
            last = HEAD_CHANNELS
        self.output = _conv(spatial_dims, last, out_channels, 3)
        if in_channels == out_channels:
            nn.init.zeros_(next(self.output.parameters()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Recalibrate a batch.

        Args:
            x: float tensor (B, in_channels, *spatial), values nominally in [0, 1], each spatial size at least 1.

        Returns:
            Tensor (B, out_channels, *spatial).

        Raises:
            FreRecError: ``x`` has other dimensions or channels than the network was built for.
        """
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels or min(x.shape) < 1:
            raise FreRecError(
                f"input of shape {tuple(x.shape)}: this network takes (B, {self.in_channels}, "
                f"{'H, W' if self.spatial_dims == 2 else 'H, W, D'}). Check spatial_dims and channels of the "
                "network against the images, or run a 2-D network over volumes with RecalibrationInferer."
            )
        shape = tuple(int(n) for n in x.shape[2:])
        features = self.embed(pixelunshuffle(self._pad(x), self.spatial_dims, self.stem_stride))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.bottom(features)
        for up, reduce, decoder in zip(self.ups, self.reduces, self.decoders, strict=True):
            features = decoder(reduce(torch.cat([up(features), skips.pop()], dim=1)))
        out = self.output(self.unfold(self.refinement(features)))
        for axis, n in enumerate(shape, start=2):
            out = out.narrow(axis, 0, n)
        return x + out if self.in_channels == self.out_channels else out

    def _pad(self, x: torch.Tensor) -> torch.Tensor:
        multiple = self.stem_stride * 2 ** (self.levels - 1)
        for axis in range(2, x.ndim):
            n = int(x.shape[axis])
            pads = [0] * (2 * self.spatial_dims)
            pads[2 * (x.ndim - 1 - axis) + 1] = -n % multiple
            if any(pads):
                x = functional.pad(x, pads, mode="reflect" if max(pads) < n else "replicate")
        return x
