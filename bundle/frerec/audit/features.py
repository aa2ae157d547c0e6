"""The feature space of FID, KID and their kin: a network of the user's, or one trained on the user's real images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import SimpleInferer
from monai.networks.blocks import ResidualUnit
from torch import nn

from frerec.audit.dataset import UNREADABLE, AuditDataset, collate_audit
from frerec.errors import InputError

logger = logging.getLogger(__name__)

#: Channels of the residual units of our own network; the last is the number of features.
WIDTHS = (16, 32, 64, 128)


class FeatureNetwork(nn.Module):
    """Maps images to feature vectors.

    Args:
        path: TorchScript file that maps (B, C, size, size) to (B, F) or (B, F, ...); None for a small residual
            network of MONAI's residual units (128 features) to be trained by :class:`FeatureTraining`.
        channels: image channels.
        path_channels: channels the TorchScript network takes; a grey image is repeated to that many.
        seed: seed of the initial weights.

    Attributes:
        description: where the features come from, in words for the report.
    """

    def __init__(
        self, path: str | None = None, channels: int = 1, path_channels: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.path = path
        self.repeat = path_channels if path and path_channels and channels == 1 else 1
        if path:
            if not Path(path).is_file():
                raise InputError(path, "no such feature network", "Set features_path to a TorchScript file, or to null")
            try:
                self.body = torch.jit.load(path, map_location="cpu")
            except RuntimeError as error:
                raise InputError(path, "not a TorchScript file", "Save the network by torch.jit.save") from error
            self.description = f"features of the network {Path(path).name} given by the user"
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential()
            for width in WIDTHS:
                # group norm has no running statistics, so that even the untrained network has features of order 1
                norm = ("group", {"num_groups": 8})
                self.body.append(ResidualUnit(2, channels, width, strides=2, act="relu", norm=norm))
                channels = width
        self.description = f"features of an untrained residual network (random weights, seed {seed})"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, F) of images (B, C, H, W) on a nominal [0, 1] range; maps are averaged over space."""
        if self.repeat > 1:
            x = x.expand(-1, self.repeat, -1, -1)
        features = self.body(x)
        return features.flatten(2).mean(2) if features.ndim > 2 else features


class FeatureInferer(SimpleInferer):
    """MONAI's simple inferer that also takes a batch without a readable image."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Features (B, F) of ``inputs`` (B, C, H, W)."""
        return super().__call__(inputs, network, *args, **kwargs) if len(inputs) else inputs.new_zeros(0, 0)


class FeatureTraining:
    """Trains a :class:`FeatureNetwork` to tell the labels of the user's real training images.

    Does nothing where the network was given as a file, or where fewer than two labels are known; then the features
    stay those of random weights, which the report says.

    Args:
        network: the network, trained in place.
        dataset: items and how to read them; those of the group ``training`` with a label are used.
        size: side of the square the network sees.
        epochs: passes over the images; 0 to leave random weights.
        limit: at most this many images, evenly spread over the list.
        batch_size: images a step.
        device: where to train.
        seed: seed of the order.
        save_path: TorchScript file to write the trained network to, or None; give it as ``features_path`` to a
            later audit so that the numbers can be compared.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        dataset: AuditDataset,
        size: int = 128,
        epochs: int = 8,
        limit: int = 2000,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
        seed: int = 0,
        save_path: str | None = None,
    ) -> None:
        self.network = network
        self.dataset = dataset
        self.size = size
        self.epochs = epochs
        self.limit = limit
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.seed = seed
        self.save_path = save_path

    def run(self) -> None:
        """Train, then put the network in evaluation mode."""
        self.network.to(self.device).eval()
        rows = [row for row in self.dataset.data if row["group"] == "training" and row["label"]]
        classes = sorted({row["label"] for row in rows})
        if self.network.path or self.epochs < 1 or len(classes) < 2:
            return
        rows = [rows[i * len(rows) // min(len(rows), self.limit)] for i in range(min(len(rows), self.limit))]
        images, labels = self._read(rows, classes)
        accuracy = self._train(images, labels, len(classes))
        self.network.description = (
            f"features of a small classifier trained on {len(images)} of your real training images to tell "
            f"{', '.join(classes)} (training accuracy {accuracy:.2f}, seed {self.seed})"
        )
        if self.save_path:
            Path(self.save_path).parent.mkdir(parents=True, exist_ok=True)
            example = torch.zeros(1, *images.shape[1:], device=self.device)
            torch.jit.trace(self.network, example).save(self.save_path)

    def _read(self, rows: Sequence[dict[str, Any]], classes: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = [], []
        for row in rows:
            try:
                item = self.dataset.read(row)
            except UNREADABLE:
                continue  # the audit reads it again and reports it
            images.append(collate_audit([item], self.size, self.dataset.spatial_dims)["image"].half())
            labels.append(classes.index(row["label"]))
        return torch.cat(images), torch.tensor(labels)

    def _train(self, images: torch.Tensor, labels: torch.Tensor, n_classes: int) -> float:
        draw = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = nn.Linear(WIDTHS[-1], n_classes).to(self.device)
        parameters = [*self.network.parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-2)
        batches = max(len(images) // self.batch_size, 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=batches * self.epochs)
        weight = len(labels) / (n_classes * torch.bincount(labels, minlength=n_classes).clamp(min=1).float())
        correct, seen = 0, 0
        self.network.train()
        for epoch in range(self.epochs):
            correct, seen = 0, 0
            order = torch.randperm(len(images), generator=draw)[: batches * self.batch_size]
            for index in order.split(self.batch_size):
                batch = images[index].float()
                if torch.rand(1, generator=draw) < 0.5:
                    batch = batch.flip(-1)
                target = labels[index].to(self.device)
                logits = head(self.network(batch.to(self.device)))
                loss = nn.functional.cross_entropy(logits, target, weight.to(self.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                correct += int((logits.argmax(1) == target).sum())
                seen += len(index)
            logger.info("feature network: epoch %d/%d, accuracy %.3f", epoch + 1, self.epochs, correct / seen)
        self.network.eval()
        return correct / max(seen, 1)
