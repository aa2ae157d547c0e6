"""Losses for the restoration of images after SHR: the paper's, and ones that see amplitudes.

All take ``(pred, target)``, float tensors (B, C, *spatial) with values nominally in [0, 1], and return a scalar.
Means over the spectrum are over the full plane: a half-plane coefficient that stands for two counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from frerec.errors import ConfigError
from frerec.spectrum.bands import default_rings, hermitian_weights, ring_index, ring_mean
from frerec.spectrum.fourier import rfftn

# Amplitudes (orthonormal FFT) below this are lost in the rounding of 8 bit images: 1 / 255 / sqrt(12) = 1.1e-3.
AMPLITUDE_FLOOR = 1e-3
AMPLITUDE_KINDS = ("amplitude", "log_amplitude", "radial")


def complex_spectral_mse(pred: torch.Tensor, target: torch.Tensor, spatial_dims: int) -> torch.Tensor:
    """Mean squared modulus of the difference of the spectra; by Parseval equal to the mean squared pixel error."""
    shape = pred.shape[-spatial_dims:]
    weights = hermitian_weights(shape, pred.device)
    squared = torch.view_as_real(rfftn(pred - target, spatial_dims)).square().sum(-1)
    return (squared * weights).mean() / weights.mean()


class SpectralReconstructionLoss(nn.Module):
    """The paper's loss: ``||x - A(x')||^2 + ||F(x) - F(A(x'))||^2`` with an orthonormal Fourier transform.

    The two terms are equal (Parseval), so this is twice the pixel MSE and holds no preference for the
    amplitude: the best answer to an uncertain high frequency is none at all, which is over-smoothing.

    Args:
        spatial_dims: 2 or 3.
        weight: factor of the spectral term.
    """

    def __init__(self, spatial_dims: int = 2, weight: float = 1.0) -> None:
        super().__init__()
        self.spatial_dims, self.weight = spatial_dims, weight

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of ``pred`` against ``target``, both (B, C, *spatial)."""
        pred, target = pred.float(), target.float()
        pixel = functional.mse_loss(pred, target)
        return pixel + self.weight * complex_spectral_mse(pred, target, self.spatial_dims)


class AmplitudeLoss(nn.Module):
    """Distance of amplitude spectra, blind to phase.

    Args:
        spatial_dims: 2 or 3.
        kind: ``amplitude``, mean squared difference of amplitudes (MONAI's JukeboxLoss, but without its transform
            over channels and finite in the gradient at zero amplitude); ``log_amplitude``, mean absolute
            difference of log amplitudes, so that the faint high frequencies weigh as much as the strong low ones;
            ``radial``, mean absolute difference of the log10 radial power of each image, ring by ring.

    Raises:
        ConfigError: an unknown ``kind``.
    """

    def __init__(self, spatial_dims: int = 2, kind: str = "log_amplitude") -> None:
        super().__init__()
        if kind not in AMPLITUDE_KINDS:
            raise ConfigError("kind", kind, "unknown amplitude loss", f"Use one of {', '.join(AMPLITUDE_KINDS)}")
        self.spatial_dims, self.kind = spatial_dims, kind

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of ``pred`` against ``target``, both (B, C, *spatial)."""
        a, b = (rfftn(x, self.spatial_dims).abs() for x in (pred, target))
        shape = pred.shape[-self.spatial_dims :]
        weights = hermitian_weights(shape, pred.device)
        if self.kind == "radial":
            n_rings = default_rings(shape)
            index = ring_index(shape, n_rings, device=pred.device)
            floor = AMPLITUDE_FLOOR**2
            p, q = (ring_mean(x.square(), index, weights, n_rings).add(floor).log10() for x in (a, b))
            return (p - q).abs().nanmean()
        if self.kind == "log_amplitude":
            difference = (a.add(AMPLITUDE_FLOOR).log() - b.add(AMPLITUDE_FLOOR).log()).abs()
        else:
            difference = (a - b).square()
        return (difference * weights).mean() / weights.mean()


class RestorationLoss(nn.Module):
    """Pixel loss plus weighted spectral loss.

    Args:
        spatial_dims: 2 or 3.
        pixel: ``l1`` or ``mse``.
        spectral: ``none``, ``complex`` (the paper's second term) or a kind of :class:`AmplitudeLoss`.
        weight: factor of the spectral loss, 0 or more.

    Raises:
        ConfigError: an unknown ``pixel`` or ``spectral``, or a negative ``weight``.
    """

    def __init__(
        self, spatial_dims: int = 2, pixel: str = "l1", spectral: str = "log_amplitude", weight: float = 0.01
    ) -> None:
        super().__init__()
        if pixel not in ("l1", "mse"):
            raise ConfigError("pixel", pixel, "unknown pixel loss", "Use l1 or mse")
        if spectral not in ("none", "complex", *AMPLITUDE_KINDS):
            known = ", ".join(("none", "complex", *AMPLITUDE_KINDS))
            raise ConfigError("spectral", spectral, "unknown spectral loss", f"Use one of {known}")
        if not weight >= 0:
            raise ConfigError("weight", weight, "a negative loss rewards error", "Use 0 or more")
        self.spatial_dims, self.pixel, self.spectral, self.weight = spatial_dims, pixel, spectral, weight
        self.amplitude = AmplitudeLoss(spatial_dims, spectral) if spectral in AMPLITUDE_KINDS else None

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of ``pred`` against ``target``, both (B, C, *spatial)."""
        pred, target = pred.float(), target.float()
        loss = (functional.l1_loss if self.pixel == "l1" else functional.mse_loss)(pred, target)
        if self.amplitude is not None:
            return loss + self.weight * self.amplitude(pred, target)
        if self.spectral == "complex":
            return loss + self.weight * complex_spectral_mse(pred, target, self.spatial_dims)
        return loss


class VelocityLoss(nn.Module):
    """Squared error of the flow's velocity, at full resolution and of means over 2, 4 and 8 pixels a side.

    Anatomy lies in few coefficients of long waves and texture in many short ones. A velocity of unit power at all
    frequencies therefore teaches mostly texture; the means, weighted by the pixels they hold, teach both. The minimum
    is the same, the conditional mean.

    Args:
        spatial_dims: 2 or 3.
        scales: sides of the blocks whose means are compared.
    """

    def __init__(self, spatial_dims: int = 2, scales: Sequence[int] = (1, 2, 4, 8)) -> None:
        super().__init__()
        self.spatial_dims, self.scales = spatial_dims, tuple(scales)

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over scales, a scalar; both (B, C, *spatial)."""
        error = prediction.float() - target.float()
        pool = functional.avg_pool2d if self.spatial_dims == 2 else functional.avg_pool3d
        used = [side for side in self.scales if side <= min(error.shape[2:])]
        parts = [pool(error, side).square().mean() * side**self.spatial_dims for side in used]
        return torch.stack(parts).mean()
