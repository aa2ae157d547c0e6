from __future__ import annotations

import pytest
from ignite.engine import Engine

from frerec.errors import ConfigError, FreRecError
from frerec.run.handlers import RequireFiniteLoss


def test_training_stops_at_the_first_loss_that_is_no_number() -> None:
    losses = [1.0, 0.5, float("nan"), 0.1]
    engine = Engine(lambda _, batch: {"loss": losses[batch]})
    RequireFiniteLoss(lambda output: output["loss"]).attach(engine)
    with pytest.raises(FreRecError, match=r"became nan in epoch 1, iteration 3\. Start again"):
        engine.run(range(4), max_epochs=1)
    assert engine.state.iteration == 3


def test_finite_losses_pass() -> None:
    engine = Engine(lambda _, batch: {"loss": 1.0 / (batch + 1)})
    RequireFiniteLoss(lambda output: output["loss"]).attach(engine)
    assert engine.run(range(3), max_epochs=2).iteration == 6


def test_a_training_without_a_batch_does_not_begin() -> None:
    engine = Engine(lambda _, batch: {"loss": 1.0})
    engine.state.epoch_length = 0
    with pytest.raises(ConfigError, match="fewer images than one batch takes"):
        RequireFiniteLoss(lambda output: output["loss"]).attach(engine)
