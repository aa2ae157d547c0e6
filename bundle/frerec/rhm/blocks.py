"""The frequency-enhanced transformer (FET) block, of which the network consists.

Source: C. Liu et al., arXiv 2511.12301, stage 2 (RHM). The global branch and the feed-forward network are those of
MONAI's Restormer (``monai.networks.blocks.cablock``): the same parameters under the same names and the same function,
computed in another memory layout. What the paper leaves open is explained in docs/explanation/network.md.

Inside a block, features are (B, *spatial, C). With the channels last a 1 x 1 convolution is one matrix product over all
pixels, the norm over channels reads memory in order, and depthwise convolutions have their fast kernels, in bfloat16
above all.
"""

from __future__ import annotations

from typing import cast

import torch
from monai.networks.blocks import Convolution
from monai.networks.blocks.cablock import CABlock, FeedForward
from torch import nn
from torch.nn import functional

from frerec.rhm.rings import ring_windows
from frerec.spectrum.fourier import irfftn, rfftn


def convolution(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int) -> Convolution:
    """MONAI's convolution without bias, norm and activation."""
    return Convolution(spatial_dims, in_channels, out_channels, kernel_size=kernel_size, bias=False, conv_only=True)


def kernel(module: nn.Module) -> torch.Tensor:
    """The kernel of a MONAI convolution, (C', C over groups, *sizes)."""
    return cast(torch.Tensor, cast(nn.Module, module.conv).weight)


def pointwise(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve ``x`` (B, *spatial, C) by a 1 x 1 kernel (C', C, 1, ...)."""
    # over a list of pixels: from an image torch would make a batch of small products, one for each row
    return functional.linear(x.flatten(0, -2), weight.flatten(1)).unflatten(0, x.shape[:-1])


def depthwise(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Convolve each channel of ``x`` (B, *spatial, C) by its own 3 x 3 kernel (C, 1, 3, ...)."""
    convolve = functional.conv2d if x.ndim == 4 else functional.conv3d
    return convolve(x.movedim(-1, 1), weight, padding=1, groups=weight.shape[0]).movedim(1, -1)


def inverse_norm(x: torch.Tensor) -> torch.Tensor:
    """One over the norm of each channel of ``x`` (B, pixels, C) over all pixels, float32 (B, 1, C)."""
    # torch's own norm along this axis takes four times as long; the constant keeps an all-zero channel finite
    return torch.rsqrt(x.float().square().sum(1, keepdim=True) + 1e-24)


class ChannelNorm(nn.Module):
    """Root-mean-square normalisation over channels at every pixel.

    In place of the instance norm of MONAI's block, whose statistics over the whole image tie the result to the
    image size and take away the contrast that tells noise from texture.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *[1] * spatial_dims))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``x`` (B, *spatial, C); computed in float32, returned in the dtype of ``x``."""
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
        return x * scale.to(x.dtype) * self.weight.flatten().to(x.dtype)


class ChannelAttention(CABlock):
    """Restormer's transposed attention, in which channels attend to channels over all pixels."""

    def forward(self, x: torch.Tensor, projection: torch.Tensor | None = None) -> torch.Tensor:
        """Mix the channels of ``x``.

        Args:
            x: features (B, *spatial, C).
            projection: the 1 x 1 kernel (C', C, 1, ...) that follows the attention, ``project_out`` if None.

        Returns:
            Features (B, *spatial, C').
        """
        projection = kernel(self.project_out) if projection is None else projection
        q, k, v = depthwise(pointwise(x, kernel(self.qkv)), kernel(self.qkv_dwconv)).flatten(1, -2).chunk(3, -1)
        q, k = (part * inverse_norm(part).to(part.dtype) for part in (q, k))
        q, k = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (q, k))  # (B, heads, pixels, c)
        attention = ((q.transpose(-2, -1) @ k) * self.temperature).softmax(-1)  # (B, heads, c, c)
        # attention and projection are two linear maps of the channels in a row: one small matrix for each image
        by_head = projection.flatten(1).unflatten(1, (self.num_heads, -1)).transpose(0, 1)  # (heads, C', c)
        mixing = (by_head @ attention).transpose(1, 2).flatten(2)  # (B, C', C)
        return (v @ mixing.transpose(1, 2).to(v.dtype)).unflatten(1, x.shape[1:-1])


class GatedFeedForward(FeedForward):
    """Restormer's feed-forward network, in which one half of the hidden channels opens the other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features in, features out, (B, *spatial, C)."""
        # each half by itself: both are then dense in memory, which the activation needs to be fast
        halves = zip(kernel(self.project_in).chunk(2), kernel(self.dwconv).chunk(2), strict=True)
        gate, value = (depthwise(pointwise(x, spread), local) for spread, local in halves)
        return pointwise(functional.gelu(gate) * value, kernel(self.project_out))


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
            gain = 1 + (spread.type_as(amplitude) @ change).t()
            # real and imaginary part by the real gain: torch would make a complex number of it first
            gated = torch.view_as_real(spectrum) * gain.reshape(spectrum.shape)[..., None]
            return irfftn(torch.view_as_complex(gated), shape).to(x.dtype)


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
        self.attention = ChannelAttention(spatial_dims, channels, heads, bias=False)
        self.fesa: FESA | None = None
        if fesa:
            self.attention.register_module("project_out", nn.Identity())
            self.fesa = FESA(spatial_dims, channels, n_rings, ring_reach)
            self.fuse = convolution(spatial_dims, 2 * channels, channels, 1)
        self.norm2 = ChannelNorm(spatial_dims, channels)
        self.ffn = GatedFeedForward(spatial_dims, channels, ffn_expansion, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features in, features out, (B, C, *spatial)."""
        x = x.movedim(1, -1).contiguous()
        y = self.norm1(x)
        if self.fesa is None:
            x = x + self.attention(y)
        else:
            # a 1 x 1 convolution of two concatenated maps is the sum of one convolution of each
            of_attention, of_fesa = kernel(self.fuse).chunk(2, dim=1)
            gated = self.fesa(y.movedim(-1, 1)).movedim(1, -1)
            x = x + self.attention(y, of_attention) + pointwise(gated, of_fesa)
        x = x + self.ffn(self.norm2(x))
        return x.movedim(-1, 1)
