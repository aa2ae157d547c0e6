from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from frerec.audit.fidelity import COLUMNS, FidelityMetric, ms_ssim_scales


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    original = torch.rand(2, *shape, generator=random)
    return (original + 0.05 * torch.randn(original.shape, generator=random)).clamp(0, 1), original


def test_equals_scikit_image_and_torchmetrics() -> None:
    changed, original = pair(1, 176, 200)
    values = dict(zip(COLUMNS, FidelityMetric()(changed, original).T, strict=True))
    for i, (a, b) in enumerate(zip(original[:, 0].double().numpy(), changed[:, 0].double().numpy(), strict=True)):
        assert float(values["psnr"][i]) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-4)
        ssim = structural_similarity(
            a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11
        )
        assert float(values["ssim"][i]) == pytest.approx(ssim, abs=1e-5)
        one = changed[i : i + 1], original[i : i + 1]
        expected = multiscale_structural_similarity_index_measure(*one, data_range=1.0)
        # torchmetrics pads the border by reflection, MONAI leaves it out
        assert float(values["ms_ssim"][i]) == pytest.approx(float(expected), abs=2e-3)
    assert values["ms_ssim_scales"].tolist() == [5, 5]


def test_summary_leaves_unchanged_images_out_of_the_psnr() -> None:
    changed, original = pair(1, 64, 64)
    changed[1] = original[1]
    metric = FidelityMetric()
    metric(changed, original)
    result = metric.aggregate()
    assert result["unchanged"] == 1
    assert result["n"] == 2
    assert np.isfinite(result["psnr"]["mean"])
    assert result["ssim"]["mean"] == pytest.approx((1 + result["ssim"]["minimum"]) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("size", "scales"), [(256, 5), (176, 5), (175, 4), (128, 4), (64, 3), (24, 2), (20, 1), (10, 0)]
)
def test_as_many_scales_as_fit(size: int, scales: int) -> None:
    assert ms_ssim_scales((size, 300)) == scales
    values = FidelityMetric()(*pair(1, size, 300))
    assert torch.isfinite(values[:, 2]).all() == (scales > 0)


def test_volumes_count_slice_by_slice() -> None:
    changed, original = pair(1, 40, 44, 3)
    values = FidelityMetric()(changed, original)
    slices = [FidelityMetric()(changed[:1, ..., z], original[:1, ..., z])[0, 1] for z in range(3)]
    assert float(values[0, 1]) == pytest.approx(float(np.mean(slices)), abs=1e-6)


def test_memory_layout_does_not_matter() -> None:
    made, given = torch.rand(2, 1, 40, 48, 3).unbind(0)
    results = []
    for layout in (lambda x: x.permute(0, 3, 1, 2), lambda x: x.permute(0, 3, 1, 2).contiguous()):
        metric = FidelityMetric()
        metric(layout(made), layout(given))
        results.append(metric.aggregate())
    assert results[0] == results[1]
