"""Dense SSIM against three independent implementations, and the strided estimate against the dense one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import SSIMMetric
from skimage.metrics import structural_similarity

from frerec.errors import FreRecError
from frerec.shr.retrieval.ssim import WINDOW, gaussian_window, ssim
from frerec.shr.retrieval.windows import local_moments, strided_ssim

SHAPES = [(1, 32, 32), (3, 33, 47), (1, 11, 60), (2, 14, 16, 13)]


def pair(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(sum(shape))
    x = random.random((2, *shape))
    y = 0.7 * x + 0.3 * random.random((2, *shape))
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scikit_image(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    found = ssim(x, y, len(shape) - 1)
    for i in range(len(x)):
        wanted = structural_similarity(
            x[i].double().numpy(), y[i].double().numpy(), data_range=1, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, channel_axis=0,
        )  # fmt: skip
        assert found[i].item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_monai(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    wanted = SSIMMetric(spatial_dims=len(shape) - 1)(x, y).squeeze(1)
    torch.testing.assert_close(ssim(x, y, len(shape) - 1).float(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_equals_torchmetrics(shape: tuple[int, ...]) -> None:
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except (ImportError, RuntimeError) as error:  # a torchvision made for another torch breaks its import
        pytest.skip(f"torchmetrics cannot be imported: {error}")
    x, y = pair(shape)
    _, full = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none", return_full_image=True)
    # its mean counts windows across the border too, over reflected pixels
    inside = full[..., 5:-5, 5:-5].flatten(1).mean(1)
    torch.testing.assert_close(ssim(x, y, 2).float(), inside, atol=1e-5, rtol=0)


def test_keeps_its_digits_on_nearly_flat_images() -> None:
    # float32 differences of squares lose the variance of a faint pattern on a bright ground
    random = np.random.default_rng(0)
    x, y = (0.95 + 1e-3 * random.random((2, 1, 40, 40))).astype(np.float32)
    wanted = structural_similarity(
        x[0].astype(float), y[0].astype(float), data_range=1, gaussian_weights=True, use_sample_covariance=False
    )
    assert ssim(torch.from_numpy(x)[None], torch.from_numpy(y)[None], 2).item() == pytest.approx(wanted, abs=1e-5)


def test_one_query_against_many_and_any_range() -> None:
    x, y = pair((1, 40, 40))
    together = ssim(x[:1], y, 2)
    assert torch.equal(together, torch.cat([ssim(x[:1], y[i : i + 1], 2) for i in range(2)]))
    torch.testing.assert_close(ssim(255 * x[:1], 255 * y, 2, data_range=255), together, atol=1e-5, rtol=0)
    assert ssim(x, x, 2).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_what_cannot_be_compared_is_refused() -> None:
    x, y = pair((1, 32, 32))
    with pytest.raises(FreRecError, match=r"one shape.*\(2, 1, 32, 32\) and \(2, 1, 32, 31\)"):
        ssim(x, y[..., 1:], 2)
    with pytest.raises(FreRecError, match=r"\(10, 32\) is smaller than the SSIM window of 11"):
        ssim(x[:, :, :10], y[:, :, :10], 2)
    with pytest.raises(FreRecError, match="smaller than the SSIM window"):
        local_moments(x[:, :, :10], 2)


def moments_by_numpy(x: np.ndarray, first: tuple[int, int]) -> tuple[float, float]:
    """Weighted variance and mean of one window."""
    weights = np.outer(gaussian_window().numpy(), gaussian_window().numpy())
    window = x[first[0] : first[0] + WINDOW, first[1] : first[1] + WINDOW].astype(float)
    mean = (weights * window).sum()
    return (weights * window**2).sum() - mean**2, mean


def test_local_moments_are_those_of_the_windows() -> None:
    x, _ = pair((2, 75, 43))
    found = local_moments(x, 2)
    rows, columns = range(0, 65, 2), range(0, 33, 1)
    assert found.shape == (2, 7, 2 * len(rows) * len(columns))
    flat = found[1].reshape(7, 2, len(rows), len(columns))
    for channel, i, j in ((0, 0, 0), (1, 32, 32), (0, 17, 5)):
        variance, mean = moments_by_numpy(x[1, channel].numpy(), (rows[i], columns[j]))
        assert flat[0, channel, i, j].item() == pytest.approx(variance, abs=1e-6)
        assert flat[1, channel, i, j].item() + 0.5 == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("shape", [(44, 38), (14, 13, 15)])
def test_the_estimate_is_exact_where_windows_are_quadratic(shape: tuple[int, ...]) -> None:
    # polynomials of second order are all the moments hold; on small images every position is visited
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij"))
    random = torch.Generator().manual_seed(0)

    def quadratic() -> torch.Tensor:
        linear, square = torch.randn(2, len(shape), generator=random)
        product = torch.randn((), generator=random) * grid[0] * grid[1]
        values = torch.einsum("i,i...->...", linear, grid) + torch.einsum("i,i...->...", square, grid**2) + product
        return ((values - values.min()) / (values.max() - values.min()))[None, None]

    x, y = quadratic(), torch.cat([quadratic(), quadratic()])
    estimate = strided_ssim(local_moments(x, len(shape))[0], local_moments(y, len(shape)))
    torch.testing.assert_close(estimate.double(), ssim(x, y, len(shape)), atol=2e-5, rtol=0)


def test_the_estimate_is_close_on_real_images(chest_images: tuple[torch.Tensor, torch.Tensor]) -> None:
    bank, queries = chest_images
    for query in queries[:3]:
        dense = ssim(query[None], bank[:60], 2)
        estimate = strided_ssim(local_moments(query[None], 2)[0], local_moments(bank[:60], 2).half()).double()
        assert (estimate - dense).std() < 0.1 * dense.std()
