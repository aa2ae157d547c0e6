"""One run: it learns, selects on validation alone, and repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from frerec.errors import ConfigError
from frerec.study.classifiers import build_classifier
from frerec.study.training import Part, Schedule, Trained, train_classifier


@pytest.fixture(scope="module")
def parts(pictures: Any, picture_loader: Any) -> list[Part]:
    def read(split: str) -> Part:
        rows = pictures(split, 24, contrast=0.2)
        images = torch.stack([picture_loader(row)["image"] for row in rows])
        return Part(images.half(), torch.tensor([int(row["label"][-1]) for row in rows]))

    return [read(split) for split in ("train", "val", "test")]


def train(parts: list[Part], seed: int = 0, augment: Any = None, **settings: Any) -> Trained:
    network = build_classifier("small_resnet", 2, 1, 2, (32, 32), seed)
    schedule = Schedule(**{"max_steps": 30, "batch_size": 16, "validations": 5, **settings})
    return train_classifier(network, *parts, schedule, 2e-3, seed, augment=augment)


@pytest.fixture(scope="module")
def trained(parts: list[Part]) -> Trained:
    return train(parts)


def test_training_lowers_the_loss_and_learns_the_task(trained: Trained, parts: list[Part]) -> None:
    assert trained.history[-1][1] < 0.6 * trained.history[0][1]
    assert roc_auc_score(parts[2].labels, trained.test[:, 1]) > 0.9
    np.testing.assert_allclose(trained.test.sum(1), 1, atol=1e-9)


def test_the_step_is_chosen_on_validation_alone(trained: Trained, parts: list[Part]) -> None:
    assert [step for step, _, _ in trained.history] == [6, 12, 18, 24, 30]
    best = max(auc for _, _, auc in trained.history)
    assert trained.val_auc == best
    assert trained.best_step == max(step for step, _, auc in trained.history if auc == best)
    assert trained.val_auc == pytest.approx(roc_auc_score(parts[1].labels, trained.val[:, 1]))
    # Another test set changes nothing but its own predictions.
    shuffled = Part(parts[2].images.flip(0), parts[2].labels)
    again = train([parts[0], parts[1], shuffled])
    assert again.history == trained.history
    np.testing.assert_allclose(again.test[::-1], trained.test, atol=1e-6)


def test_a_run_repeats_itself_and_seeds_differ(trained: Trained, parts: list[Part]) -> None:
    before = torch.get_rng_state()
    again = train(parts)
    assert np.array_equal(again.test, trained.test)
    assert again.history == trained.history
    assert torch.equal(torch.get_rng_state(), before), "the global random state is left alone"
    assert not np.array_equal(train(parts, seed=1, max_steps=6, validations=1).test, trained.test)


def test_augmentation_gets_batches_in_the_unit_range_and_seeded_chances(parts: list[Part]) -> None:
    seen: list[tuple[float, float]] = []

    def jitter(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append((float(batch.min()), float(batch.max())))
        return batch + 0.1 * torch.rand(len(batch), 1, 1, 1, generator=generator)

    runs = [train(parts, augment=jitter, max_steps=4, validations=1) for _ in range(2)]
    assert np.array_equal(runs[0].test, runs[1].test)
    assert len(seen) == 8
    assert min(low for low, _ in seen) >= 0 and max(high for _, high in seen) <= 1


def test_every_case_is_seen_before_any_comes_again(parts: list[Part]) -> None:
    seen: list[torch.Tensor] = []

    def watch(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append(batch.clone())
        return batch

    train(parts, augment=watch, max_steps=3, validations=1)
    batches = torch.cat(seen).flatten(1)
    assert len({row.numpy().tobytes() for row in batches}) == len(batches) == 48


def test_balanced_training_shows_every_class_equally_often(parts: list[Part]) -> None:
    train_part, val, test = parts
    kept = torch.cat([(train_part.labels == 0).nonzero()[:, 0], (train_part.labels == 1).nonzero()[:4, 0]])
    few = Part(torch.zeros(len(kept), 1, 32, 32).half(), train_part.labels[kept])
    # each image shows its own number, so that a batch tells which images are in it
    few.images[:, 0, 0, 0] = torch.arange(len(kept)) / len(kept)
    seen: list[int] = []

    def watch(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.extend((batch[:, 0, 0, 0] * len(kept)).round().int().tolist())
        return batch

    network = build_classifier("small_resnet", 2, 1, 2, (32, 32), 0)
    schedule = Schedule(max_steps=9, batch_size=16, validations=1)
    train_classifier(network, few, val, test, schedule, 2e-3, 0, augment=watch, balanced=True)
    counts = np.bincount(seen, minlength=len(kept))
    # 24 images of one class and 4 of the other, six times each, make 48; three times that in 9 batches of 16
    assert counts[:24].tolist() == [3] * 24
    assert counts[24:].tolist() == [18] * 4


def test_bfloat16_learns_too(parts: list[Part]) -> None:
    assert roc_auc_score(parts[2].labels, train(parts, amp=True).test[:, 1]) > 0.85


def test_a_budget_that_makes_no_sense_is_refused() -> None:
    for settings in ({"max_steps": 0}, {"batch_size": 1}, {"validations": 0}, {"max_steps": 3, "validations": 4}):
        with pytest.raises(ConfigError):
            Schedule(**settings)
