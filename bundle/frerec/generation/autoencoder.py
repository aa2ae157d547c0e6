"""A small autoencoder whose latent grid a generative model can learn on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from torch import nn


class LatentAutoencoder(nn.Module):
    """Autoencoder from images to a latent grid of mean 0 and variance 1.

    MONAI's ``AutoencoderKL`` behind a space-to-depth step, which spares a CPU the convolutions at full
    resolution. The latent is standardised by a batch normalisation without parameters rather than pulled to a
    Gaussian by a KL term: a rectified flow needs the scale, not the shape, and nothing has to be weighed against
    the reconstruction. During training the decoder sees latents with a little noise, so that it forgives what
    the flow gets slightly wrong.

    Args:
        in_channels: image channels.
        channels: widths of the levels of ``AutoencoderKL``; each after the first halves the grid.
        code_channels: channels of the autoencoder's code, a grid ``shuffle * 2 ** (len(channels) - 1)`` times
            coarser than the image.
        shuffle: factor of the space-to-depth step before the autoencoder.
        patch: the latent handed out is the code folded once more into ``patch`` x ``patch`` cells, so that the
            generative model works on a coarser grid with more channels; the image size must be divisible by
            ``factor``, the product of all three steps.
        num_res_blocks: residual blocks of each level.
        latent_noise: standard deviation of the noise added to latents in training.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (64, 96),
        code_channels: int = 4,
        shuffle: int = 4,
        patch: int = 2,
        num_res_blocks: int = 1,
        latent_noise: float = 0.05,
    ) -> None:
        super().__init__()
        self.latent_channels, self.latent_noise = code_channels * patch**2, latent_noise
        self.factor = shuffle * 2 ** (len(channels) - 1) * patch
        self.fold, self.unfold = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.to_depth, self.to_space = nn.PixelUnshuffle(shuffle), nn.PixelShuffle(shuffle)
        self.net = AutoencoderKL(
            spatial_dims=2,
            in_channels=in_channels * shuffle**2,
            out_channels=in_channels * shuffle**2,
            num_res_blocks=num_res_blocks,
            channels=tuple(channels),
            attention_levels=(False,) * len(channels),
            latent_channels=code_channels,
            norm_num_groups=8,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.standardise = nn.BatchNorm2d(code_channels, affine=False, momentum=0.01)
        # AutoencoderKL's head for a posterior variance, which a bounded latent has no use for
        del self.net.quant_conv_log_sigma

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) in [0, 1] to latents (B, latent_channels, H / factor, W / factor), standardised."""
        hidden = self.net.encoder(self.to_depth(2 * x - 1))
        return self.fold(self.standardise(self.net.quant_conv_mu(hidden)))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Latents to images (B, C, H, W), nominally in [0, 1] but not clipped."""
        return (self.to_space(self.net.decode(self.unfold(z))) + 1) / 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct images (B, C, H, W) in [0, 1]."""
        z = self.encode(x)
        if self.training and self.latent_noise:
            z = z + self.latent_noise * torch.randn_like(z)
        return self.decode(z)
