"""Classifiers of the downstream study, all MONAI's, all trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.networks.nets import DenseNet121, ResNet, ViT, resnet50

from frerec.errors import ConfigError


class ViTClassifier(torch.nn.Module):
    """MONAI's ViT as a classifier that returns logits (MONAI's own returns a tuple with the hidden states)."""

    def __init__(self, spatial_dims: int, channels: int, n_classes: int, size: Sequence[int]) -> None:
        super().__init__()
        # B/16: patches of 16, width 768, MLP 3072, 12 layers, 12 heads. An empty post_activation gives logits.
        self.vit = ViT(
            in_channels=channels,
            img_size=tuple(size),
            patch_size=16,
            hidden_size=768,
            mlp_dim=3072,
            num_layers=12,
            num_heads=12,
            classification=True,
            num_classes=n_classes,
            spatial_dims=spatial_dims,
            qkv_bias=True,
            post_activation="",
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, n_classes) of images (N, C, *size)."""
        logits: torch.Tensor = self.vit(x)[0]
        return logits


def _small_resnet(spatial_dims: int, channels: int, n_classes: int, size: Sequence[int]) -> torch.nn.Module:
    # One basic block a stage and a quarter of ResNet-18's widths: 0.3 M parameters, about 75 ms a step of
    # 32 images of 128 x 128 on one CPU core.
    return ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 128], spatial_dims=spatial_dims, n_input_channels=channels,
        conv1_t_size=7, conv1_t_stride=2, num_classes=n_classes,
    )  # fmt: skip


def _resnet50(spatial_dims: int, channels: int, n_classes: int, size: Sequence[int]) -> torch.nn.Module:
    # MONAI's default keeps stride 1 in the first layer, made for small volumes; 2 is the ResNet of the literature.
    return resnet50(
        spatial_dims=spatial_dims, n_input_channels=channels, num_classes=n_classes, conv1_t_size=7, conv1_t_stride=2
    )


def _densenet121(spatial_dims: int, channels: int, n_classes: int, size: Sequence[int]) -> torch.nn.Module:
    return DenseNet121(spatial_dims=spatial_dims, in_channels=channels, out_channels=n_classes)


#: Known classifiers, each with the learning rate that the study uses unless told otherwise.
CLASSIFIERS: dict[str, tuple[Callable[[int, int, int, Sequence[int]], torch.nn.Module], float]] = {
    "small_resnet": (_small_resnet, 1e-3),
    "densenet121": (_densenet121, 5e-4),
    "resnet50": (_resnet50, 5e-4),
    "vit_b_16": (ViTClassifier, 1e-4),
}


def check_classifier(name: str, size: Sequence[int]) -> None:
    """Refuse a classifier that is not known or cannot take images of this size.

    Raises:
        ConfigError: with the reason.
    """
    if name not in CLASSIFIERS:
        raise ConfigError("classifiers", name, "no such classifier", f"Choose from {', '.join(CLASSIFIERS)}")
    multiple, least = (16, 16) if name == "vit_b_16" else (1, 32)
    if any(n % multiple or n < least for n in size):
        raise ConfigError(
            "image_size", list(size), f"{name} needs multiples of {multiple}, at least {least}", "Use 128 or 256"
        )


def build_classifier(
    name: str, spatial_dims: int, channels: int, n_classes: int, size: Sequence[int], seed: int
) -> torch.nn.Module:
    """Make an untrained classifier; equal seeds give equal weights, and the global random state is left alone.

    Args:
        name: a key of :data:`CLASSIFIERS`.
        spatial_dims: 2 or 3.
        channels: channels of the images.
        n_classes: number of classes.
        size: spatial size of the images.
        seed: of the initial weights.

    Returns:
        Module from (N, C, *size) to logits (N, n_classes).

    Raises:
        ConfigError: see :func:`check_classifier`.
    """
    check_classifier(name, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLASSIFIERS[name][0](spatial_dims, channels, n_classes, size)
