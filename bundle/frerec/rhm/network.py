"""The FreRec network: a Restormer skeleton of frequency-enhanced transformer (FET) blocks.

Source: C. Liu et al., arXiv 2511.12301, stage 2 (RHM), on MONAI's Restormer blocks
(``monai.networks.nets.restormer``). What the paper leaves open is explained in docs/explanation/network.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.blocks import DownSample, UpSample
from monai.networks.nets.restormer import OverlapPatchEmbed
from monai.networks.utils import pixelunshuffle
from torch import nn
from torch.nn import functional

from frerec.errors import ConfigError, FreRecError
from frerec.rhm.blocks import FETBlock, convolution
from frerec.rhm.own_weights import OwnWeights
from frerec.rhm.presets import PRESETS, check_architecture

HEAD_CHANNELS = 8


def _up(spatial_dims: int, in_channels: int, out_channels: int, factor: int) -> UpSample:
    up = UpSample(
        spatial_dims, in_channels, out_channels, factor, mode="pixelshuffle", bias=False, apply_pad_pool=False
    )
    # MONAI starts sub-pixel convolutions as a nearest-neighbour enlargement (ICNR): their output then has no detail
    # finer than the input grid, and a last convolution that starts at zero never finds any to learn from
    for weight in up.parameters():
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return up


class FreRecNet(OwnWeights):
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
        preset: ``small`` (about a million parameters, for CPUs and small GPUs), ``paper`` (2-4-6-8 blocks, 2
            refinement blocks, width 48), or None; the arguments below override it. None starts from ``small``.
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
        preset: str | None = "small",
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
        s = PRESETS[preset or "small"] | {k: v for k, v in given.items() if v is not None}
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
            self.reduces.append(nn.Identity() if wide else convolution(spatial_dims, 2 * here, here, 1))
            last = 2 * here if wide else here
            self.decoders.append(level(last, n, s["num_blocks"][n]))
        self.refinement = level(last, 0, s["num_refinement_blocks"])
        # the folded pixels are unfolded before the last convolution: a seam between them would be a checkerboard
        self.unfold: nn.Module = nn.Identity()
        if self.stem_stride > 1:
            # linear: a gate here, with nothing beside it, can close for good in the first steps
            self.unfold = nn.Sequential(_up(spatial_dims, last, HEAD_CHANNELS, self.stem_stride))
            last = HEAD_CHANNELS
        self.output = convolution(spatial_dims, last, out_channels, 3)
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
