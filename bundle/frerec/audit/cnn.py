"""Convolutional detectors of generated images: one on pixels, one on what a high-pass leaves; seconds to train."""

from __future__ import annotations

import hashlib
import heapq

import numpy as np
import torch
from torch import nn

from frerec.rhm.precision import network_dtype

#: Side of the stored tiles, and of the crops that the networks see.
TILE, CROP = 64, 48


class TileReservoir:
    """A bounded, order-independent random sample of the images of a set, as tiles at native resolution.

    Which images and which of their tiles are kept depends on names and the seed only, not on the order the images come
    in; memory is bounded by ``limit`` times ``tiles`` tiles in half precision (40 MB a channel).

    Args:
        limit: largest number of images kept.
        tiles: largest number of tiles of an image.
        size: side of a tile in pixels; smaller images are padded by reflection.
        seed: seed of the choice.
    """

    def __init__(self, limit: int = 300, tiles: int = 16, size: int = TILE, seed: int = 0) -> None:
        self.limit = limit
        self.tiles = tiles
        self.size = size
        self.seed = seed
        self._heap: list[tuple[int, str, np.ndarray]] = []

    def add(self, image: torch.Tensor, name: str) -> None:
        """Offer an image (C, H, W) on a nominal [0, 1] range."""
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:8], "big")
        # heapq keeps the smallest on top, so the key is negated to throw out the largest
        if len(self._heap) >= self.limit and -key <= self._heap[0][0]:
            return
        entry = (-key, name, tiles_of(image, self.size, self.tiles, key).cpu().numpy())
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def contents(self) -> tuple[list[np.ndarray], list[str]]:
        """Tiles of each image, float16 (T, C, size, size), and the names, sorted by name."""
        chosen = sorted(self._heap, key=lambda entry: entry[1])
        return [entry[2] for entry in chosen], [entry[1] for entry in chosen]


def tiles_of(image: torch.Tensor, size: int = TILE, limit: int = 16, seed: int = 0) -> torch.Tensor:
    """Tiles that cover an image, or a random choice of them.

    Args:
        image: (C, H, W).
        size: side of a tile.
        limit: largest number of tiles; those without any contrast come last.
        seed: seed of the choice.

    Returns:
        float16 (T, C, size, size), T from 1 to ``limit``; neighbours overlap where the size does not divide the image.
    """
    for axis in (-2, -1):
        missing = size - image.shape[axis]
        if missing > 0:
            index = torch.arange(size) - missing // 2
            # reflection without repeating the border, for any amount of padding
            period = max(2 * (image.shape[axis] - 1), 1)
            index = index.remainder(period)
            image = image.index_select(axis, torch.where(index < image.shape[axis], index, period - index))
    starts = [np.linspace(0, n - size, -(-n // size)).round().astype(int) for n in image.shape[-2:]]
    corners = [(top, left) for top in starts[0] for left in starts[1]]
    if len(corners) > limit:
        order = np.random.default_rng(seed).permutation(len(corners))
        plain = {i for i in order if _is_constant(image, corners[i], size)} if len(order) < 4096 else set()
        corners = [corners[i] for i in sorted(sorted(order, key=lambda i: i in plain)[:limit])]
    return torch.stack([image[..., top : top + size, left : left + size] for top, left in corners]).half()


def _is_constant(image: torch.Tensor, corner: tuple[int, int], size: int) -> bool:
    part = image[..., corner[0] : corner[0] + size, corner[1] : corner[1] + size]
    return bool(part.amax() == part.amin())


def high_pass(x: torch.Tensor, sigma: float = 1.5) -> torch.Tensor:
    """Images less their Gaussian blur; half the amplitude is left at an eighth of the sampling rate (sigma 1.5).

    Args:
        x: float32 (B, C, H, W).
        sigma: of the blur, in pixels.

    Returns:
        (B, C, H - 2 r, W - 2 r) with r = 4 sigma rounded: pixels that the border reaches are left out.
    """
    reach = round(4 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device) / sigma).square())
    kernel = kernel / kernel.sum()
    channels = x.shape[1]
    blurred = nn.functional.conv2d(x, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    blurred = nn.functional.conv2d(blurred, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return x[..., reach:-reach, reach:-reach] - blurred


class DetectorNetwork(nn.Sequential):
    """Four 3 x 3 convolutions with batch norm, the first two at full resolution so that fine texture is seen.

    Args:
        channels: image channels.
        widths: channels of the convolutions.
        strides: their strides.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...] = (16, 16, 32, 64),
        strides: tuple[int, ...] = (1, 2, 2, 2),
    ) -> None:
        layers: list[nn.Module] = []
        for width, stride in zip(widths, strides, strict=True):
            layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1))


class FitCNN:
    """``fit`` of :class:`frerec.audit.detector.DetectorMetric` by a small convolutional network.

    Trained on random crops of random tiles; the score of an image is the mean over its tiles. bfloat16 where the
    processor computes in it.

    Args:
        high_passed: train on :func:`high_pass` of the tiles instead of their pixels.
        steps: training steps.
        batch_size: images a step, one crop of each.
        device: where to train.
        learning_rate: peak of the one-cycle schedule.
    """

    def __init__(
        self,
        high_passed: bool = False,
        steps: int = 600,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
        learning_rate: float = 3e-3,
    ) -> None:
        self.high_passed = high_passed
        self.steps = steps
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.learning_rate = learning_rate
        self.dtype = network_dtype(self.device, amp=True)

    def __call__(self, train_x: np.ndarray, train_labels: np.ndarray, test_x: np.ndarray, seed: int) -> np.ndarray:
        """Scores (n,) of ``test_x`` (n, T, C, S, S) after training on ``train_x`` (N, T, C, S, S) of the same kind."""
        draw = torch.Generator().manual_seed(seed)
        train, test = self._prepared(train_x), self._prepared(test_x)
        values = train.flatten()[:: max(train.numel() // 1_000_000, 1)].float()
        # what a high-pass leaves has few large values: at edges; the scale must be that of the texture between them
        mean = 0.0 if self.high_passed else float(values.mean())
        spread = float(values.abs().median() if self.high_passed else values.std()) or 1.0
        labels = torch.from_numpy(train_labels).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = DetectorNetwork(train.shape[2]).to(self.device)
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)

        def logits(batch: torch.Tensor) -> torch.Tensor:
            x = (batch.float() - mean) / spread
            x = x.asinh() if self.high_passed else x
            x = x.to(self.device, memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                return network(x)[:, 0].float()

        sides = [torch.from_numpy(np.flatnonzero(train_labels == side)) for side in (0, 1)]
        network.train()
        for _ in range(self.steps):
            half = self.batch_size // 2
            chosen = torch.cat([side[torch.randint(len(side), (half,), generator=draw)] for side in sides])
            crop = min(CROP, train.shape[-1])
            tile = torch.randint(train.shape[1], (len(chosen),), generator=draw)
            corner = torch.randint(train.shape[-1] - crop + 1, (len(chosen), 2), generator=draw).tolist()
            batch = torch.stack(
                [
                    train[i, t, :, top : top + crop, left : left + crop]
                    for i, t, (top, left) in zip(chosen.tolist(), tile.tolist(), corner, strict=True)
                ]
            )
            loss = nn.functional.binary_cross_entropy_with_logits(logits(batch), labels[chosen].to(self.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            scores = torch.cat([logits(batch).cpu() for batch in test.flatten(0, 1).split(64)])
        return scores.view(len(test), -1).mean(1).numpy().astype(np.float64)

    def _prepared(self, x: np.ndarray) -> torch.Tensor:
        tiles = torch.from_numpy(x)
        if not self.high_passed:
            return tiles
        flat = tiles.flatten(0, 1)
        passed = torch.cat([high_pass(part.float()) for part in flat.split(256)])
        return passed.view(*tiles.shape[:2], *passed.shape[1:])
