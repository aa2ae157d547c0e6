"""What mixed precision means: bfloat16 where the processor computes in it, float32 elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

# Instructions that multiply bfloat16: Intel's and AMD's, Intel's matrix unit, Arm's.
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")

logger = logging.getLogger(__name__)


def network_dtype(device: torch.device | str, amp: bool) -> torch.dtype:
    """The number format in which a network's products and convolutions are computed.

    Without instructions of its own for it, a processor is slower in bfloat16 than in float32; there, and where torch
    does not tell (a CPU before torch 2.10), ``amp`` changes nothing.

    Args:
        device: where the network runs.
        amp: whether mixed precision is wanted.

    Returns:
        ``torch.bfloat16`` or ``torch.float32``.
    """
    return torch.bfloat16 if amp and _computes_bfloat16(torch.device(device)) else torch.float32


def applied_precision(device: torch.device | str, amp: bool) -> str:
    """The name under which a run records :func:`network_dtype`; one line of the log says if it is not what was asked.

    Args:
        device: where the network runs.
        amp: whether mixed precision is wanted.

    Returns:
        ``"bfloat16"`` or ``"float32"``.
    """
    dtype = network_dtype(device, amp)
    if amp and dtype == torch.float32:
        logger.warning("amp=True: this %s does not compute in bfloat16, so float32 is used", torch.device(device).type)
    return str(dtype).removeprefix("torch.")


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in _INSTRUCTIONS)
