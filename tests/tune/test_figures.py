"""The figures against other implementations, and which candidates they leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from frerec.tune.figures import Figures, Looks, shortlist, worst


def noise(count: int, seed: int, smooth: bool = False) -> torch.Tensor:
    images = torch.rand(count, 1, 48, 48, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(images, 3, 1, 1) if smooth else images


def test_images_of_one_kind_are_alike_and_others_are_not() -> None:
    real = Looks(noise(40, 0))
    assert Looks(noise(40, 1)).against(real, noise(40, 1)).alike
    assert Looks(noise(40, 2, smooth=True)).against(real, noise(40, 2)).detector == 1.0
    lattice = noise(40, 3) + 0.06 * (1 - 2 * (torch.arange(48) % 4 < 2).float()) * torch.ones(48, 1)
    found = Looks(lattice).against(real, noise(40, 3))
    assert found.artefact > 0.25 and not found.alike


def test_psnr_and_gap_are_what_others_measure() -> None:
    real, before = noise(30, 0), noise(24, 1)
    after = (before + 0.02).clamp(0, 1) * 0.9
    found = Looks(after).against(Looks(real), before)
    pairs = zip(after.numpy(), before.numpy(), strict=True)
    assert found.psnr == pytest.approx(np.mean([peak_signal_noise_ratio(b, a, data_range=1) for a, b in pairs]))
    assert Looks(real).against(Looks(real), real).gap == 0
    # white noise at 0.9 of its amplitude lies 2 log10(0.9) decades lower at every frequency
    assert Looks(0.9 * real).against(Looks(real), real).gap == pytest.approx(-2 * np.log10(0.9), abs=1e-3)
    assert Looks(real).against(Looks(real), real).psnr == float("inf")


def test_too_few_images_for_a_detector_are_not_called_alike() -> None:
    found = Looks(noise(19, 0)).against(Looks(noise(40, 1)), noise(19, 0))
    assert found.radial is None and not found.alike


def figures(detector: float, gap: float, psnr: float, peak: float = 0.0) -> Figures:
    return Figures(gap, detector, 0.5, peak, 10.0, psnr)


def test_the_worst_class_counts() -> None:
    assert worst([figures(0.9, 0.1, 30), figures(0.6, 0.3, 20, 0.5)]) == figures(0.9, 0.3, 20, 0.5)
    unknown = Figures(0.1, None, None, 0.0, 0.0, 30.0)
    assert worst([unknown, figures(0.6, 0.3, 20)]).radial is None


def test_what_another_beats_in_all_figures_is_left_out() -> None:
    known = {
        "aligned": figures(0.55, 0.01, 20), "between": figures(0.7, 0.02, 25), "too": figures(0.8, 0.03, 28),
        "faithful": figures(0.9, 0.05, 35), "beaten": figures(0.75, 0.03, 24),
    }  # fmt: skip
    bad = figures(1.0, 0.5, float("inf"))
    kept, why = shortlist(known, bad, 2)
    assert kept == ["aligned", "faithful"]
    assert why["beaten"] == "another is better in every figure"
    assert why.keys() == {"beaten", "between", "too"}
    assert shortlist(known, bad, 9)[0] == ["aligned", "between", "too", "faithful"]
    assert shortlist(known, figures(0.6, 0.5, float("inf")), 2)[0] == [], "nothing to repair"
    assert shortlist(known, figures(0.6, 0.5, float("inf"), peak=0.3), 2)[0] != [], "a lattice is"
