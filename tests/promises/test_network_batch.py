"""Promise: an image comes out the same whatever batch it went in with, to the last bit through our inferer."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer

from frerec.rhm.inferer import RecalibrationInferer
from frerec.rhm.network import FreRecNet


@pytest.fixture(scope="module")
def network() -> FreRecNet:
    generator = torch.Generator().manual_seed(0)
    net = FreRecNet(num_blocks=(1, 1), num_refinement_blocks=1, width=16, heads=(1, 2), stem_stride=2).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return net


@pytest.mark.parametrize("shape", [(5, 1, 33, 40), (2, 1, 33, 40, 3)])
@pytest.mark.parametrize("amp", [False, True])
@torch.no_grad()
def test_batch_order_and_company_do_not_matter(network: FreRecNet, shape: tuple[int, ...], amp: bool) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    inferer = RecalibrationInferer(amp=amp)
    together = inferer(images, network)
    alone = torch.cat([inferer(image[None], network) for image in images])
    order = torch.arange(shape[0]).flip(0)
    reordered = inferer(images[order], network)[order]
    assert torch.equal(together, alone) and torch.equal(together, reordered)
    assert (together - images).abs().max() > 0.01, "the network must do something for this to mean something"


@torch.no_grad()
def test_larger_sub_batches_agree_to_rounding(network: FreRecNet) -> None:
    volume = torch.rand(1, 1, 33, 40, 7, generator=torch.Generator().manual_seed(1))
    one = RecalibrationInferer()(volume, network)
    for sub_batch_size in (2, 3, 7):
        other = RecalibrationInferer(sub_batch_size=sub_batch_size)(volume, network)
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("amp", [False, True])
def test_threads_do_not_matter(network: FreRecNet, amp: bool) -> None:
    volume = torch.rand(1, 1, 64, 72, 3, generator=torch.Generator().manual_seed(1))
    before, outputs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            outputs.append(RecalibrationInferer(amp=amp)(volume, network))
    finally:
        torch.set_num_threads(before)
    # a sum may be split between threads, so the last bits are not promised: one step of an 8 bit image at most
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], rtol=0, atol=1 / 255 if amp else 1e-6)


@torch.no_grad()
def test_the_network_itself_holds_no_statistics_over_the_batch(network: FreRecNet) -> None:
    """MONAI's own inferer, with the network in training mode, where batch statistics would show."""
    images = torch.rand(4, 1, 30, 26, generator=torch.Generator().manual_seed(1))
    network.train()
    together = SimpleInferer()(images, network)
    alone = torch.cat([SimpleInferer()(image[None], network) for image in images])
    network.eval()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
