"""Handlers: what a folder run tells while it goes on and when it ends, and what guards a training."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ignite.engine import Engine, Events
from tqdm import tqdm

from frerec.errors import EXIT_NOTHING_DONE, EXIT_OK, ConfigError, FreRecError, OutputError
from frerec.files import printable
from frerec.ranks import rank
from frerec.run.manifest import Manifest
from frerec.run.outcome import DONE, FAILED, IGNORED, SKIPPED, UNCHANGED, Outcome, exit_code
from frerec.shr.retrieval.familiarity import FOREIGNER, UNUSUAL

_PLAIN_INTERVAL_S = 30.0


class ManifestHandler:
    """Writes the manifest line of every item as soon as its batch is finished.

    Args:
        manifest: the run's manifest.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def attach(self, engine: Engine) -> None:
        """Register at the start, after every batch and at the end."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.broke_off)

    def broke_off(self, _engine: Engine, error: Exception) -> None:
        """Unlock the folder for the next run of this process, and pass the error on."""
        self.manifest.abandon()
        raise error

    def started(self, _engine: Engine) -> None:
        """Lock the output folder and open the manifest."""
        self.manifest.open()

    def iteration_completed(self, engine: Engine) -> None:
        """Append the batch's outcomes; unchanged items keep the line they have.

        Raises:
            OutputError: the manifest cannot be written any more, or is gone.
        """
        with self._writing():
            for outcome in _outcomes(engine):
                self.manifest.append(outcome)
            if not self.manifest.path.exists() and any(o.status != UNCHANGED for o in _outcomes(engine)):
                reason = "it was moved or deleted while the run wrote into it"
                raise OutputError(self.manifest.output_dir, reason, "Run the same command again for what is missing")

    def completed(self, _engine: Engine) -> None:
        """Bring the manifest into its final order and unlock the folder."""
        with self._writing():
            self.manifest.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.manifest.abandon()
            reason = f"the manifest cannot be written: {error.strerror or type(error).__name__}"
            remedy = "Check the disk, then run the same command again: what is done stays done"
            raise OutputError(self.manifest.path, reason, remedy) from error


class RunReport:
    """Progress while a folder run goes on, one line for each item that is not done, and the summary at the end.

    On a terminal a bar with the rate and the time left (of processes started together, that of the first); elsewhere (a
    log file) a line every half minute.

    Args:
        total: number of items this run works on.
        manifest: the run's manifest, named in the summary.
        stream: where everything goes but the summary, standard error if None.
    """

    def __init__(self, total: int, manifest: Manifest, stream: TextIO | None = None) -> None:
        self.total, self.manifest, self.stream = total, manifest, stream
        self.counts: Counter[str] = Counter()
        self.warned = 0
        self.grades: Counter[str] = Counter()
        self.told_kinds: set[str] = set()
        self._bar: tqdm[Any] | None = None
        self._start = self._told = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Register at the start, after every batch and at the end."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)

    def started(self, _engine: Engine) -> None:
        """Begin to count."""
        stream = self.stream or sys.stderr
        self.counts.clear()
        self.warned = 0
        self.grades.clear()
        self.told_kinds.clear()
        self._start = self._told = time.monotonic()
        outdated = self.manifest.outdated()
        if outdated:
            text = f"{outdated} items in {self.manifest.output_dir} were done with other settings or another version"
            print(printable(f"{text}: those of this folder are done anew"), file=stream, flush=True)
        self._bar = tqdm(total=self.total, unit="image", file=stream, disable=not stream.isatty() or rank() > 0)

    def iteration_completed(self, engine: Engine) -> None:
        """Count the batch and tell what went wrong in it."""
        stream = self.stream or sys.stderr
        for outcome in _outcomes(engine):
            self.counts[outcome.status] += 1
            self.warned += bool(outcome.warnings)
            if "bank_grade" in outcome.applied:
                self.grades[outcome.applied["bank_grade"]] += 1
            if outcome.status in (SKIPPED, FAILED):
                tqdm.write(outcome.line(), file=stream)
            for warning in outcome.warnings:
                # Each kind of warning once: a folder of the wrong kind would repeat it for every file.
                kind = "".join(c for c in warning if not c.isdigit())
                if kind not in self.told_kinds:
                    self.told_kinds.add(kind)
                    text = f"{outcome.path}: {warning} (told once; the manifest has all)"
                    tqdm.write(printable(text), file=stream)
        count = self.counts.total()
        if self._bar is not None:
            self._bar.update(count - self._bar.n)
        if not stream.isatty() and time.monotonic() - self._told > _PLAIN_INTERVAL_S:
            self._told = time.monotonic()
            left = (self._told - self._start) / count * (self.total - count)
            text = f"{self._share()}{count} of {self.total}, about {tqdm.format_interval(left)} left"
            print(text, file=stream, flush=True)

    def _share(self) -> str:
        index, count = self.manifest.shard_index, self.manifest.shard_count
        return f"shard {index} of {count}: " if count > 1 else ""

    def completed(self, _engine: Engine) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def familiarity(self) -> str:
        """A line that counts the images unlike those of the reference bank; empty where there are none."""
        unusual, foreign = self.grades[UNUSUAL], self.grades[FOREIGNER]
        if not unusual + foreign:
            return ""
        total = self.grades.total()
        counts = f"{unusual} of {total} images are unusual for the reference bank, {foreign} foreign to it"
        return f"{counts}: are bank_path and weights_path made from images of this kind and size?"

    def summary(self) -> str:
        """One line: how many items of each kind, the time, the rate, where the manifest is."""
        seconds = time.monotonic() - self._start
        worked = self.counts[DONE]
        rate = f", {worked / seconds:.2f} images/s" if worked and seconds > 0 else ""
        warned = f" ({self.warned} with a warning)" if self.warned else ""
        named = {
            DONE: f"done{warned}", UNCHANGED: "done before", SKIPPED: "skipped", FAILED: "failed",
            IGNORED: "no images",
        }  # fmt: skip
        counts = ", ".join(f"{self.counts[status]} {word}" for status, word in named.items())
        # a shard without an item has written none
        see = f"; see {self.manifest.path}" if self.manifest.path.exists() else ""
        return printable(f"{self._share()}{self.counts.total()} items: {counts}; {seconds:.1f} s{rate}{see}")

    def finish(self) -> int:
        """Print the summary and, unless everything went well, end the program with the exit code that says so.

        Returns:
            0. It returns at all only if every image is done.

        Raises:
            SystemExit: with code 1 if some images were skipped or failed, with 2 if none could be done.
        """
        print(*filter(None, (self.familiarity(), self.summary())), sep="\n", flush=True)
        code = exit_code(self.counts)
        if code == EXIT_NOTHING_DONE:
            print("nothing could be done: no image of the folder was usable", file=self.stream or sys.stderr)
        if code != EXIT_OK:
            raise SystemExit(code)
        return code


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


def _outcomes(engine: Engine) -> list[Outcome]:
    output = engine.state.output
    return list(output) if isinstance(output, list) else []
