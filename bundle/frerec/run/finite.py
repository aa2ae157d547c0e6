"""Stop a training that learns nothing: no batch to learn from, or a loss that is no longer a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from frerec.errors import ConfigError, FreRecError


class RequireFiniteLoss:
    """Raise as soon as a loss is NaN or infinite, and at once where there is no batch to compute one from.

    Ignite's ``TerminateOnNan`` ends the engine too, but the workflow would go on and save what is left.

    Args:
        output_transform: gets the engine's output and returns the loss as a number.
    """

    def __init__(self, output_transform: Callable[[Any], float]) -> None:
        self.output_transform = output_transform

    def attach(self, engine: Engine) -> None:
        """Register with the end of each iteration.

        Raises:
            ConfigError: there are fewer images than a batch takes. MONAI would skip the training with a warning.
        """
        if getattr(engine.state, "epoch_length", None) == 0:
            raise ConfigError("batch_size", None, "there are fewer images than one batch takes", "Use a smaller one")
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Check the last loss.

        Raises:
            FreRecError: it is not finite; names the epoch and iteration.
        """
        loss = float(self.output_transform(engine.state.output))
        if not math.isfinite(loss):
            raise FreRecError(
                f"the loss became {loss} in epoch {engine.state.epoch}, iteration {engine.state.iteration}. "
                "Start again with a smaller learning_rate or another seed; it goes on from the last checkpoint."
            )
