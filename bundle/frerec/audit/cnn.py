"""A small convolutional real-versus-synthetic detector, trained in seconds."""

from __future__ import annotations

import hashlib
import heapq

import numpy as np
import torch
from monai.networks.blocks import Convolution
from torch import nn


class PixelReservoir:
    """A bounded, order-independent random sample of native-resolution crops of a set.

    Which images are kept depends on their names and the seed only, not on the order they come in; memory is
    bounded by ``limit`` crops in half precision.

    Args:
        limit: largest number of images kept.
        size: side of the central crop; smaller images are padded by reflection.
        seed: seed of the choice.
    """

    def __init__(self, limit: int = 300, size: int = 128, seed: int = 0) -> None:
        self.limit = limit
        self.size = size
        self.seed = seed
        self._heap: list[tuple[int, str, np.ndarray]] = []

    def add(self, image: torch.Tensor, name: str) -> None:
        """Offer an image (C, H, W) on a nominal [0, 1] range."""
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:8], "big")
        # heapq keeps the smallest on top, so the key is negated to throw out the largest
        if len(self._heap) >= self.limit and -key <= self._heap[0][0]:
            return
        entry = (-key, name, self._crop(image).numpy().astype(np.float16))
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def _crop(self, image: torch.Tensor) -> torch.Tensor:
        for axis in (-2, -1):
            missing = self.size - image.shape[axis]
            if missing > 0:
                index = torch.arange(self.size) - missing // 2
                # reflection without repeating the border, for any amount of padding
                period = max(2 * (image.shape[axis] - 1), 1)
                index = index.remainder(period)
                index = torch.where(index < image.shape[axis], index, period - index)
                image = image.index_select(axis, index)
        top, left = (image.shape[-2] - self.size) // 2, (image.shape[-1] - self.size) // 2
        return image[..., top : top + self.size, left : left + self.size].cpu()

    def contents(self) -> tuple[torch.Tensor, list[str]]:
        """Crops, float16 (N, C, size, size), and their names, sorted by name."""
        chosen = sorted(self._heap, key=lambda entry: entry[1])
        return torch.from_numpy(np.stack([entry[2] for entry in chosen])), [entry[1] for entry in chosen]


def detector_network(channels: int) -> nn.Sequential:
    """Four 3x3 convolutions, the first two at full resolution, so that fine texture is seen; about 25 k weights."""
    widths, strides = (16, 16, 32, 64), (1, 2, 2, 2)
    layers: list[nn.Module] = []
    for width, stride in zip(widths, strides, strict=True):
        layers.append(Convolution(2, channels, width, strides=stride, kernel_size=3, act="relu", norm="batch"))
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1))


class FitCNN:
    """``fit`` of :class:`frerec.audit.detector.DetectorMetric` by a small convolutional network.

    Args:
        epochs: passes over the training images; more where that would be fewer than ``least_steps`` steps.
        crop: side of the random crop taken in training; scores are of whole crops as stored.
        batch_size: images a step.
        device: where to train.
        least_steps: steps that a small set is trained for as well.
    """

    def __init__(
        self,
        epochs: int = 6,
        crop: int = 96,
        batch_size: int = 16,
        device: torch.device | str = "cpu",
        least_steps: int = 80,
    ) -> None:
        self.epochs = epochs
        self.least_steps = least_steps
        self.crop = crop
        self.batch_size = batch_size
        self.device = torch.device(device)

    def __call__(self, train_x: np.ndarray, train_labels: np.ndarray, test_x: np.ndarray, seed: int) -> np.ndarray:
        """Scores (n,) of ``test_x`` (n, C, S, S) after training on ``train_x``."""
        x, labels = torch.from_numpy(train_x), torch.from_numpy(train_labels).float()
        mean, spread = float(train_x.mean(dtype=np.float64)), float(train_x.std(dtype=np.float64)) or 1.0
        draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = detector_network(x.shape[1]).to(self.device)
        steps = max(len(x) // self.batch_size, 1)
        epochs = max(self.epochs, -(-self.least_steps // steps))
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps * epochs)
        crop = min(self.crop, x.shape[-1])
        network.train()
        for _ in range(epochs):
            for index in torch.randperm(len(x), generator=draw)[: steps * self.batch_size].split(self.batch_size):
                top, left = torch.randint(0, x.shape[-1] - crop + 1, (2,), generator=draw).tolist()
                batch = x[index][..., top : top + crop, left : left + crop].float()
                logits = network(((batch - mean) / spread).to(self.device))[:, 0]
                loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[index].to(self.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        network.eval()
        with torch.no_grad():
            batches = torch.from_numpy(test_x).split(64)
            scores = [network(((b.float() - mean) / spread).to(self.device))[:, 0].cpu() for b in batches]
        return torch.cat(scores).numpy().astype(np.float64)
