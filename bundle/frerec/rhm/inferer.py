"""How the network is run over images of any size, and over volumes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from monai.inferers import Inferer, sliding_window_inference
from monai.utils import convert_to_dst_type, convert_to_tensor

from frerec.errors import ConfigError, FreRecError
from frerec.rhm.flow import RestorationFlow
from frerec.rhm.precision import network_dtype

# Windows have a multiple of this many pixels a side: Fourier transforms are slow where a size has large factors.
ROUND_TO = 32
# Width of the Gaussian weights over the side of a window: of .08 to .35 the one that shows the borders of windows least
# where an eighth of them overlaps (scripts/measure_seams.py).
BLENDING = 0.18


class RecalibrationInferer(Inferer):
    """Runs a recalibration network whole, in windows, or slice by slice, as the input asks for.

    - An image (a volume, for a 3-D network) no longer than ``max_size`` along any axis goes through whole: FESA
      and the channel attention then see what they are meant to see, the spectrum of the image.
    - A larger one goes through in overlapping windows blended by Gaussian weights: as few of equal size, none
      longer than ``max_size``, as cover it. So a pixel costs as much in a large image as in a small one.
    - A volume with a 2-D network goes through slice by slice along its last axis, each slice like an image.
    - With ``torch.nn.Identity()``, which stands for no network, the input comes back as it is.

    The network gets ``sub_batch_size`` images, windows or slices at a time, whatever the batch it comes in. At 1
    the output does not depend on the batch to the last bit; above 1 it is faster on a GPU and may differ in the
    last bits, because convolution libraries choose their algorithm by batch size.

    Args:
        spatial_dims: dimensions of the network, 2 or 3.
        max_size: longest side that goes through whole; None for 1024 in 2-D and 128 in 3-D.
        roi_size: size of a window, one number or one for each axis; None for the fewest windows.
        overlap: share of a window that its neighbour covers too at least, from 0 to below 1.
        sub_batch_size: how much goes through the network at once.
        amp: let the network compute in bfloat16 where the processor can (:mod:`frerec.rhm.precision`).
        strength: of stage 1 for what comes in, told to a :class:`frerec.rhm.flow.RestorationFlow`. A server makes the
            network once and the inferer for each request. None leaves it at what the network was made with.
        mask_ratio: of stage 1, likewise.
        transition: of stage 1, likewise.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        max_size: int | None = None,
        roi_size: int | Sequence[int] | None = None,
        overlap: float = 0.125,
        sub_batch_size: int = 1,
        amp: bool = False,
        strength: float | None = None,
        mask_ratio: float | None = None,
        transition: float | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ConfigError("spatial_dims", spatial_dims, "images have 2 or 3 spatial dimensions", "Use 2 or 3")
        if max_size is None:
            max_size = 1024 if spatial_dims == 2 else 128
        roi = [roi_size] * spatial_dims if isinstance(roi_size, int) else roi_size and list(roi_size)
        if roi is not None and (len(roi) != spatial_dims or min(roi) < 1 or max(roi) > max_size):
            raise ConfigError(
                "roi_size", roi_size, f"a window has {spatial_dims} sides from 1 to max_size={max_size}",
                "Use a smaller window or a larger max_size",
            )  # fmt: skip
        if not 0 <= overlap < 1:
            raise ConfigError("overlap", overlap, "a share of the window", "Use a number from 0 to below 1")
        if sub_batch_size < 1:
            raise ConfigError("sub_batch_size", sub_batch_size, "nothing would go through", "Use 1 or more")
        self.spatial_dims, self.max_size, self.roi_size = spatial_dims, max_size, roi
        self.overlap, self.sub_batch_size, self.amp = overlap, sub_batch_size, amp
        self.stage_1 = {"strength": strength, "mask_ratio": mask_ratio, "transition": transition}

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run ``network`` over a batch.

        Args:
            inputs: float tensor or MetaTensor (B, C, *spatial), nominally in [0, 1]; with a 2-D network also
                (B, C, H, W, D).
            network: maps (b, C, *spatial) to (b, C', *spatial).
            args: passed on to ``network``.
            kwargs: passed on to ``network``.

        Returns:
            Tensor (B, C', *spatial) of the dtype and device of ``inputs``; a MetaTensor with the metadata of
            ``inputs`` if that is one.

        Raises:
            FreRecError: ``inputs`` has other dimensions.
        """
        if isinstance(network, torch.nn.Identity):
            return inputs.clone()  # no network: nothing is to change, and blended windows would change the last bits
        if isinstance(network, RestorationFlow):
            network = network.at(**self.stage_1)
        x: torch.Tensor = convert_to_tensor(inputs, track_meta=False)
        slices = x.ndim == 5 and self.spatial_dims == 2
        if not slices and x.ndim != self.spatial_dims + 2:
            raise FreRecError(
                f"input of shape {tuple(x.shape)}: a {self.spatial_dims}-D network is run over (B, C, "
                f"{'H, W) or (B, C, H, W, D)' if self.spatial_dims == 2 else 'H, W, D)'}. Check spatial_dims and "
                "the loader's channel dimension."
            )
        if min(x.shape) < 1:
            raise FreRecError(f"input of shape {tuple(x.shape)} is empty. Give images of at least one pixel.")
        if slices:
            batch, depth = x.shape[0], x.shape[-1]
            out = self._images(x.movedim(-1, 1).flatten(0, 1), network, *args, **kwargs)
            out = out.unflatten(0, (batch, depth)).movedim(1, -1)
        else:
            out = self._images(x, network, *args, **kwargs)
        return convert_to_dst_type(out.contiguous(), inputs)[0]

    def _images(self, x: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        whole = max(x.shape[2:]) <= self.max_size
        dtype = network_dtype(x.device, self.amp)
        outputs = []
        for part in x.contiguous().split(self.sub_batch_size):
            with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
                if whole:
                    out = network(part, *args, **kwargs)
                else:
                    out = self._windows(part, partial(network, *args, **kwargs))
            outputs.append(out.to(x.dtype))
        return torch.cat(outputs)

    def _windows(self, x: torch.Tensor, network: Callable[..., torch.Tensor]) -> torch.Tensor:
        def on_a_copy(window: torch.Tensor) -> torch.Tensor:
            # MONAI multiplies what comes back by the weights of the window, in place: a network that returns its
            # input, or a part of it, would hand it the image itself
            return network(window.clone()).to(window.dtype)

        sides = [self.window_side(n) for n in x.shape[2:]] if self.roi_size is None else self.roi_size
        # a window longer than the image would be padded with zeros, which no network has seen
        roi = [min(r, n) for r, n in zip(sides, x.shape[2:], strict=True)]
        out = sliding_window_inference(
            x, roi, self.sub_batch_size, on_a_copy, self.overlap, mode="gaussian", sigma_scale=BLENDING
        )
        return cast(torch.Tensor, out)

    def window_side(self, n: int) -> int:
        """Side of the fewest equal windows, each no longer than ``max_size``, that cover ``n`` pixels."""
        count, side = 1, n
        while side > self.max_size:
            count += 1
            side = math.ceil(n / (1 + (count - 1) * (1 - self.overlap)))
        return min(n, self.max_size, math.ceil(side / ROUND_TO) * ROUND_TO)
