"""frerec.rhm.blocks against MONAI's own blocks, and the block written out with concatenation and convolutions."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from monai.networks.blocks.cablock import CABlock, FeedForward
from torch import nn

from frerec.rhm.blocks import ChannelAttention, ChannelNorm, FETBlock, GatedFeedForward

SHAPES = [(2, 8, 13, 10), (1, 8, 1, 7), (2, 8, 5, 6, 7)]
# single precision, sums over at most some hundred values near 1
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def randomised(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return module


def pair(ours: nn.Module, monais: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Our block and MONAI's with the same random parameters."""
    monais.load_state_dict(randomised(ours).state_dict(), strict=True)
    return ours, monais


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_and_feed_forward_are_those_of_monai(shape: tuple[int, ...], heads: int) -> None:
    dims = len(shape) - 2
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    blocks: list[tuple[nn.Module, nn.Module]] = [
        pair(ChannelAttention(dims, 8, heads, bias=False), CABlock(dims, 8, heads, bias=False)),
        pair(GatedFeedForward(dims, 8, 2.66, bias=False), FeedForward(dims, 8, 2.66, bias=False)),
    ]
    for ours, monais in blocks:
        last = x.movedim(1, -1).clone().requires_grad_()
        first = x.clone().requires_grad_()
        out, expected = ours(last).movedim(-1, 1), monais(first)
        torch.testing.assert_close(out, expected, **CLOSE)
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
        (out * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(cast(torch.Tensor, last.grad).movedim(-1, 1), first.grad, rtol=1e-4, atol=1e-5)
        for (name, mine), theirs in zip(ours.named_parameters(), monais.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fesa", [True, False])
def test_the_block_is_what_the_paper_draws(shape: tuple[int, ...], fesa: bool) -> None:
    """Both branches concatenated, fused, added; then the feed-forward network: with MONAI's modules, channels first."""
    dims = len(shape) - 2
    block = cast(Any, randomised(FETBlock(dims, 8, 2, 2.66, n_rings=6, ring_reach=2, fesa=fesa)))
    attention, ffn = CABlock(dims, 8, 2, bias=False), FeedForward(dims, 8, 2.66, bias=False)
    if fesa:
        attention.register_module("project_out", nn.Identity())
    attention.load_state_dict(block.attention.state_dict(), strict=True)
    ffn.load_state_dict(block.ffn.state_dict(), strict=True)

    def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() * weight

    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    y = norm(x, block.norm1.weight)
    mixed = attention(y)
    if fesa:
        mixed = block.fuse(torch.cat([mixed, block.fesa(y)], dim=1))
    x = x + mixed
    expected = x + ffn(norm(x, block.norm2.weight))
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(block(given), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        block(given.contiguous(memory_format=torch.channels_last if dims == 2 else torch.channels_last_3d)), expected,
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_the_norm_brings_every_pixel_to_root_mean_square_one() -> None:
    x = torch.randn(2, 9, 7, 16) * torch.logspace(-1, 2, 7)[:, None]
    out = ChannelNorm(2, 16)(x)
    torch.testing.assert_close(out.square().mean(-1), torch.ones(2, 9, 7), rtol=1e-2, atol=0)
    half = ChannelNorm(2, 16)(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), out, rtol=0.03, atol=0.01)
