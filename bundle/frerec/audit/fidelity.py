"""How much of an image recalibration changed: PSNR, SSIM and MS-SSIM between input and output."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric, MultiScaleSSIMMetric, PSNRMetric, SSIMMetric

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: Columns of the metric's buffer.
COLUMNS = ("psnr", "ssim", "ms_ssim", "ms_ssim_scales")


def ms_ssim_scales(shape: tuple[int, ...], kernel_size: int = 11) -> int:
    """The most scales, at most the paper's five, that MONAI's MS-SSIM takes for an image of this size."""
    for scales in range(len(MS_SSIM_WEIGHTS), 0, -1):
        # MONAI checks the first bound; the image is in truth halved for every further scale
        if min(shape) // max((scales - 1) ** 2, 2 ** (scales - 1)) >= kernel_size:
            return scales
    return 0


class FidelityMetric(CumulativeIterationMetric):
    """PSNR, SSIM and MS-SSIM of changed images by MONAI's metrics, on a data range of 1.

    Volumes are measured slice by slice. Images below 161 pixels are too small for the five scales of MS-SSIM; they
    get as many as fit, with the weights scaled to the same sum, and the number of scales is reported.
    """

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Measures (B, 4) in the order of :data:`COLUMNS`; PSNR is inf for an unchanged image, NaN is "too small".

        Args:
            y_pred: changed images (B, C, *spatial), nominal range [0, 1].
            y: the images they were made from.
            kwargs: not used.
        """
        if y is None:
            raise ValueError("y is the input the images were made from and must be given")
        return torch.cat(
            [
                self._one(a[None].float().contiguous(), b[None].float().contiguous())
                for a, b in zip(y_pred, y, strict=True)
            ]
        )

    @staticmethod
    def _one(changed: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
        psnr = PSNRMetric(max_val=1.0)._compute_metric(changed, original).reshape(1)
        if changed.ndim == 5:
            changed, original = (x[0].permute(3, 0, 1, 2) for x in (changed, original))
        scales = ms_ssim_scales(tuple(changed.shape[-2:]))
        ssim = ms_ssim = torch.full((1,), float("nan"))
        if scales:
            weights = [w * sum(MS_SSIM_WEIGHTS) / sum(MS_SSIM_WEIGHTS[:scales]) for w in MS_SSIM_WEIGHTS[:scales]]
            ssim = SSIMMetric(2)._compute_metric(changed, original).mean().reshape(1).cpu()
            ms_ssim = MultiScaleSSIMMetric(2, weights=weights)._compute_metric(changed, original).mean().reshape(1)
        return torch.stack([psnr.cpu(), ssim, ms_ssim.cpu(), torch.tensor([float(scales)])], dim=1).double()

    def aggregate(self) -> dict[str, Any]:
        """Mean, 5th percentile and minimum of each measure, and how many images are unchanged."""
        values = self.get_buffer()
        result: dict[str, Any] = {"n": len(values), "unchanged": int(torch.isinf(values[:, 0]).sum())}
        for column, name in enumerate(COLUMNS[:3]):
            column_values = values[:, column]
            finite = column_values[torch.isfinite(column_values)]
            if len(finite):
                result[name] = {
                    "mean": float(finite.mean()),
                    "low": float(finite.quantile(0.05)),
                    "minimum": float(finite.min()),
                }
        result["ms_ssim_scales"] = int(values[:, 3].min())
        return result
