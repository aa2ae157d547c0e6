"""One run of the study: train a classifier, keep the step that is best on validation, predict the test set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from frerec.errors import ConfigError
from frerec.rhm.precision import network_dtype
from frerec.study.measures import macro_auc

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """How every arm is trained: AdamW with a linear warm-up and a cosine decay over a fixed number of steps.

    The number of optimiser steps is the same in every arm, however many images it has, so that no arm wins by
    longer training.

    Args:
        max_steps: optimiser steps.
        batch_size: images a step.
        learning_rate: peak; None for the classifier's own.
        weight_decay: AdamW's.
        warmup: share of the steps that the warm-up takes.
        validations: how often the validation set is looked at, at equal distances.
        amp: compute in bfloat16 where the processor can; on one core with AVX512-BF16 a step of the small ResNet took
            29 ms instead of 40, one of DenseNet121 0.83 s instead of 1.64.

    Raises:
        ConfigError: a value out of range.
    """

    max_steps: int = 300
    batch_size: int = 32
    learning_rate: float | None = None
    weight_decay: float = 0.05
    warmup: float = 0.1
    validations: int = 10
    amp: bool = True

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("batch_size", 2), ("validations", 1)):
            if int(getattr(self, name)) < least:
                raise ConfigError(name, getattr(self, name), "too small", f"Use {least} or more")
        if self.validations > self.max_steps:
            raise ConfigError("validations", self.validations, "more than max_steps", "Validate less often")


@dataclass(frozen=True)
class Part:
    """Images and labels on the way to a classifier.

    Args:
        images: (N, C, *spatial) in [0, 1], any floating type.
        labels: (N,) int64.
    """

    images: torch.Tensor
    labels: torch.Tensor


@dataclass
class Trained:
    """What a run leaves behind.

    Args:
        best_step: optimiser step of the selected weights.
        val_auc: their validation AUC.
        history: ``(step, training loss since the last entry, validation AUC)`` of each validation.
        val: (N, C) probabilities of the validation cases.
        test: (N, C) probabilities of the test cases.
        predict: probabilities (N, C) of any images (N, C, *spatial), by the selected weights.
    """

    best_step: int = 0
    val_auc: float = -1.0
    history: list[tuple[int, float, float]] = field(default_factory=list)
    val: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    test: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    predict: Callable[[torch.Tensor], NDArray[np.float64]] = lambda images: np.empty((len(images), 0))


def train_classifier(
    network: torch.nn.Module,
    train: Part,
    val: Part,
    test: Part,
    schedule: Schedule,
    learning_rate: float,
    seed: int,
    device: torch.device | str = "cpu",
    augment: Augment | None = None,
    balanced: bool = False,
) -> Trained:
    """Train, select on validation AUC alone, and predict.

    Args:
        network: untrained classifier; trained in place.
        train: training cases.
        val: validation cases. Of equally good steps the latest is taken.
        test: test cases; predicted once, by the selected weights.
        schedule: the training budget.
        learning_rate: peak.
        seed: of the order of batches, augmentation and dropout.
        device: where to train.
        augment: changes a training batch of values in [0, 1]; gets a CPU generator of its own.
        balanced: draw images of every class equally often, instead of every image.

    Returns:
        Predictions and the record of training. The same arguments give the same result on the same machine and
        number of threads.
    """
    device = torch.device(device)
    mixed = network_dtype(device, schedule.amp) == torch.bfloat16
    network = network.to(device)
    if train.images.ndim == 4:
        # Half again as fast on CPUs, and faster with tensor cores.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    axes = [0, *range(2, train.images.ndim)]
    # Standardised by the training images of this arm, in float64 because sums of float16 overflow.
    std, mean = torch.std_mean(train.images.double(), dim=axes, keepdim=True)
    mean, std = mean.float().to(device), std.float().clamp(min=1e-6).to(device)

    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=schedule.weight_decay)
    steps, warm = schedule.max_steps, max(1, round(schedule.warmup * schedule.max_steps))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda k: (k + 1) / warm if k < warm else 0.5 + 0.5 * float(np.cos(np.pi * (k - warm) / max(1, steps - warm))),
    )
    checks = {round(steps * (i + 1) / schedule.validations) for i in range(schedule.validations)}
    drawn = _balanced(train.labels, seed) if balanced else torch.arange(len(train.labels))
    batches, chances = _batches(len(drawn), schedule.batch_size, seed), torch.Generator().manual_seed(seed)
    result, selected, losses = Trained(), copy.deepcopy(network.state_dict()), list[torch.Tensor]()

    @torch.inference_mode()
    def predict(images: torch.Tensor) -> NDArray[np.float64]:
        network.eval()
        found = []
        for part in images.split(2 * schedule.batch_size):
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logits = network((part.to(device).float() - mean) / std)
            found.append(torch.softmax(logits.double(), 1).cpu())
        return torch.cat(found).numpy()

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for step in range(1, steps + 1):
            chosen = drawn[next(batches)]
            images = train.images[chosen].to(device).float()
            images = augment(images, chances) if augment else images
            network.train()
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logits = network((images - mean) / std)
            loss = torch.nn.functional.cross_entropy(logits.float(), train.labels[chosen].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            scheduler.step()
            losses.append(loss.detach())
            if step in checks:
                predicted = predict(val.images)
                auc = float(macro_auc(predicted, val.labels.numpy())[0])
                result.history.append((step, float(torch.stack(losses).mean()), auc))
                losses.clear()
                if auc >= result.val_auc:
                    result.best_step, result.val_auc, result.val = step, auc, predicted
                    selected = copy.deepcopy(network.state_dict())
    network.load_state_dict(selected)
    result.predict = predict
    result.test = predict(test.images)
    return result


def _balanced(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Case numbers with those of the smaller classes repeated until all classes are of one size."""
    generator = torch.Generator().manual_seed(seed)
    members = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    size = max(len(member) for member in members)
    rounds = [
        torch.cat([member[torch.randperm(len(member), generator=generator)] for _ in range(-(-size // len(member)))])
        for member in members
    ]
    return torch.cat([member[:size] for member in rounds])


def _batches(n: int, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches of case numbers: every case once before any comes again, batches always full."""
    generator, waiting = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=generator)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]
