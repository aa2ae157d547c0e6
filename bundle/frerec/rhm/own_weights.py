"""A network that takes its own weights only, however it is asked to load them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from frerec.errors import FreRecError


class OwnWeights(nn.Module):
    """Refuses the weights of another network with ``strict=False`` too.

    MONAI Label loads that way whichever file of ``models/`` a client names: the network would stay as it was made, or
    half so, and the client would get an image all the same.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in PyTorch, but for what is raised.

        Raises:
            RuntimeError: with ``strict``, as in PyTorch.
            FreRecError: without, where a tensor is missing, has another shape, or belongs elsewhere.
        """
        given = {name: tuple(value.shape) for name, value in state_dict.items() if hasattr(value, "shape")}
        own = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        if not strict and given != own:
            other = sum(given.get(name, shape) != shape for name, shape in own.items())
            raise FreRecError(
                f"these are weights of another network: of its {len(own)} tensors {len(own.keys() - given.keys())} are "
                f"missing and {other} have another shape, {len(given.keys() - own.keys())} belong elsewhere. Use "
                "weights of this preset, number of channels and spatial_dims."
            )
        return super().load_state_dict(state_dict, strict, assign)
