"""What class-conditional generators share: draws from one seed each, and classifier-free guidance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import nn


def drop_labels(labels: torch.Tensor, share: float, num_classes: int) -> torch.Tensor:
    """Replace a random share of class indices (B,) by ``num_classes``, which stands for "no label"."""
    return labels.masked_fill(torch.rand(labels.shape, device=labels.device) < share, num_classes)


class ClassConditionalGenerator(nn.Module, ABC):
    """Generator of images of given classes, drawn one at a time.

    Args:
        class_names: label of each class, in the order of the class indices.
        image_size: height and width of the images.
        steps: steps of a draw.
        guidance: classifier-free guidance weight; 1 for none.
    """

    def __init__(self, class_names: Sequence[str], image_size: Sequence[int], steps: int, guidance: float) -> None:
        super().__init__()
        self.class_names, self.image_size = list(class_names), tuple(image_size)
        self.steps, self.guidance = steps, guidance

    @torch.no_grad()
    def sample(self, labels: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
        """Generate images, each from a seed of its own.

        They are drawn one at a time: a convolution over a batch rounds differently from one over a single image, and
        many steps would carry that into the picture.

        Args:
            labels: class index of each image.
            seeds: seed of each image.

        Returns:
            float32 tensor (len(labels), C, *image_size) clipped to [0, 1].
        """
        return torch.cat([self._draw(label, seed) for label, seed in zip(labels, seeds, strict=True)])

    @abstractmethod
    def _draw(self, label: int, seed: int) -> torch.Tensor:
        """One image (1, C, *image_size) clipped to [0, 1]."""

    def _guided(self, network: Callable[..., torch.Tensor], x: torch.Tensor, time: float, label: int) -> torch.Tensor:
        """The network's answer for ``x`` (1, ...) at a time, moved away from its answer without a label."""
        guided = self.guidance != 1
        classes = torch.tensor([int(label), len(self.class_names)][: 1 + guided], device=x.device)
        times = torch.full((len(classes),), float(time), device=x.device)
        found = network(x.expand(len(classes), -1, -1, -1), times, class_labels=classes)
        return found[1:] + self.guidance * (found[:1] - found[1:]) if guided else found
