"""frerec.rhm.presets: the named sizes, and the refusal of sizes that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from frerec.errors import ConfigError
from frerec.rhm.network import FreRecNet
from frerec.rhm.presets import PRESETS


def test_the_paper_preset_holds_what_the_paper_tells() -> None:
    assert PRESETS["paper"]["num_blocks"] == (2, 4, 6, 8)
    assert PRESETS["paper"]["num_refinement_blocks"] == 2


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_arguments_override_a_preset(preset: str) -> None:
    net = FreRecNet(preset=preset, width=8, num_blocks=(1, 1), heads=(1, 2), num_refinement_blocks=0)
    assert net.levels == 2 and len(net.refinement) == 0
    assert net.embed.conv.weight.shape[0] == 8
    assert net.stem_stride == PRESETS[preset]["stem_stride"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"spatial_dims": 4}, "spatial_dims"),
        ({"preset": "huge"}, "preset"),
        ({"in_channels": 0}, "in_channels"),
        ({"width": 9}, "width"),
        ({"width": 0}, "width"),
        ({"num_blocks": (2,), "heads": (1,)}, "num_blocks"),
        ({"num_blocks": (2, 0, 1)}, "num_blocks[1]"),
        ({"heads": (1, 2)}, "heads"),
        ({"n_rings": 1}, "n_rings"),
        ({"spatial_dims": 3, "width": 6, "heads": (1, 1, 1)}, "width"),
    ],
)
def test_impossible_networks_are_refused_by_argument(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FreRecNet(**arguments)
    assert caught.value.config_id == name
