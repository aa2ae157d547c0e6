"""A trainer resumes at the epoch its schedule has reached."""

from __future__ import annotations

import torch
from ignite.engine import Engine

from frerec.generation.handlers import ResumeEpoch


def test_training_goes_on_where_the_schedule_is() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    for _ in range(3):
        schedule.step()
    seen: list[int] = []
    engine = Engine(lambda engine, batch: seen.append(engine.state.epoch))
    ResumeEpoch(schedule).attach(engine)
    engine.run([1, 2], max_epochs=5)
    assert seen == [4, 4, 5, 5]


def test_a_finished_training_does_nothing() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    schedule.step()
    seen: list[int] = []
    engine = Engine(lambda engine, batch: seen.append(batch))
    ResumeEpoch(schedule).attach(engine)
    engine.run([1], max_epochs=1)
    assert seen == []
