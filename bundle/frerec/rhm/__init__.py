"""Reconstructive high-frequency mapping: the network, its losses and how it is run over large images and volumes."""

from frerec.rhm.inferer import RecalibrationInferer
from frerec.rhm.losses import AmplitudeLoss, RestorationLoss, SpectralReconstructionLoss
from frerec.rhm.network import FreRecNet

__all__ = ["AmplitudeLoss", "FreRecNet", "RecalibrationInferer", "RestorationLoss", "SpectralReconstructionLoss"]
