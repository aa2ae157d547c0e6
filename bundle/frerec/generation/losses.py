"""Losses of the autoencoder's adversarial training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import PatchAdversarialLoss

from frerec.rhm.losses import AmplitudeLoss


class AutoencoderLosses:
    """The three losses that MONAI's ``AdversarialTrainer`` asks for; least squares against a patch discriminator.

    Args:
        adversarial_weight: weight of the discriminator's term in the autoencoder's loss.
        spectral_weight: weight of the distance of the amplitude spectra in it, beside the mean absolute difference.
    """

    def __init__(self, adversarial_weight: float, spectral_weight: float) -> None:
        self.adversarial_weight, self.spectral_weight = adversarial_weight, spectral_weight
        self._adversarial = PatchAdversarialLoss(criterion="least_squares")
        self._amplitude = AmplitudeLoss(spatial_dims=2, kind="amplitude")

    def reconstruction(self, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Distance of reconstructions to their images, both (B, C, H, W)."""
        return torch.nn.functional.l1_loss(fake, real) + self.spectral_weight * self._amplitude(fake, real)

    def generator(self, fake: Sequence[torch.Tensor]) -> torch.Tensor:
        """How little the discriminator takes reconstructions for real; ``fake`` are its layers' outputs for them."""
        return self.adversarial_weight * self._adversarial(fake[-1], True, False)

    def discriminator(self, real: Sequence[torch.Tensor], fake: Sequence[torch.Tensor]) -> torch.Tensor:
        """How badly the discriminator tells real images from reconstructions, by its layers' outputs for both."""
        on_real = self._adversarial(real[-1], True, True)
        return 0.5 * (on_real + self._adversarial(fake[-1], False, True))
