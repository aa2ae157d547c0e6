"""Ignite handlers of the generator's training."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import LRScheduler


class ResumeEpoch:
    """Let a trainer go on at the epoch its learning rate schedule has reached; attach it after the loader.

    The state of MONAI's ``AdversarialTrainer`` holds whole networks, which a loader that runs no code refuses, so the
    checkpoint leaves the trainer out and the count is taken from the schedule.

    Args:
        schedule: schedule stepped once an epoch, restored by a ``CheckpointLoader`` attached before.
    """

    def __init__(self, schedule: LRScheduler) -> None:
        self.schedule = schedule

    def attach(self, engine: Engine) -> None:
        """Register with the engine's start."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Set epoch and iteration."""
        engine.state.epoch = self.schedule.last_epoch
        engine.state.iteration = self.schedule.last_epoch * (engine.state.epoch_length or 0)


def print_losses(engine: Engine) -> None:
    """Print the losses of an ``AdversarialTrainer``'s last step; an ``epoch_print_logger`` of MONAI's ``StatsHandler``.

    Args:
        engine: the trainer.
    """
    keys = ("reconstruction_loss", "generator_loss", "discriminator_loss")
    losses = {key: round(float(engine.state.output[key].detach()), 5) for key in keys}  # type: ignore[index]
    print("autoencoder epoch", engine.state.epoch, "of", engine.state.max_epochs, losses, flush=True)
