"""What became of one item of a folder, in words a user can act on, and how a whole run ends."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from frerec.errors import (
    EXIT_NOTHING_DONE,
    EXIT_OK,
    EXIT_SOME_FAILED,
    ConfigError,
    FreRecError,
    InputError,
    OutputError,
)
from frerec.files import printable

#: Written and checked.
DONE = "done"
#: An input that cannot be used (broken, no pixels, unsupported); nothing was written for it.
SKIPPED = "skipped"
#: A usable input for which something else went wrong (memory, disk, a fault of ours); a rerun tries again.
FAILED = "failed"
#: A file that does not claim to be an image (notes, tables); named in the manifest, never a problem.
IGNORED = "ignored"
#: Done by an earlier run with the same input and settings; exists in summaries, not in manifests.
UNCHANGED = "unchanged"

STATUSES = (DONE, UNCHANGED, SKIPPED, FAILED, IGNORED)


@dataclass
class Outcome:
    """What became of one item.

    Attributes:
        path: the item, relative to ``dataset_dir``, with forward slashes.
        status: one of :data:`STATUSES`.
        sha256: checksum of the input, None where it could not be read.
        outputs: what was written: ``{"path": relative to output_dir, "sha256": ...}``.
        reason: why it is not done, one sentence without a full stop.
        remedy: what the user can do, one sentence without a full stop.
        warnings: what a user should know although it was done.
        applied: parameters applied to this item, enough to replay it together with the run's settings.
        files: for an item of several files (a series), their names relative to ``dataset_dir``.
        seconds: time spent on it.
    """

    path: str
    status: str
    sha256: str | None = None
    outputs: list[dict[str, str]] = field(default_factory=list)
    reason: str | None = None
    remedy: str | None = None
    warnings: list[str] = field(default_factory=list)
    applied: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """The one line a user sees for an item that is not done."""
        return printable(f"{self.status}: {self.path}: {self.reason}. {self.remedy}.")


# how PyTorch says that its own memory, or that of a loader's worker, is exhausted
_NO_MEMORY = ("not enough memory", "is killed by signal", "exited unexpectedly", "unable to allocate shared memory")
# how torch.save says that the disk is full
_TORN_FILE = ("iostream error", "PytorchStreamWriter failed", "unexpected pos")


def explain(error: BaseException) -> tuple[str, str]:
    """Put an error into words that can be shown and logged.

    MONAI wraps what a transform raises, so the whole chain of causes is searched for an error of ours. Of any
    other error only the kind and the place are told, never its message: messages of DICOM libraries quote header
    values, and a patient's name must not reach a log.

    Returns:
        ``(reason, remedy)``, each one sentence without a full stop.
    """
    known = _known(error)
    if known is not None:
        return known
    last = causes(error)[-1]
    return f"{type(last).__name__} at {_place(last)}", "Please report this as a fault, with this line"


def is_fault(error: BaseException) -> bool:
    """Whether an error is none that a user could mend: a fault of this software."""
    return _known(error) is None


def _known(error: BaseException) -> tuple[str, str] | None:
    """The words for an error whose cause is understood."""
    chain = causes(error)
    for cause in chain:
        if isinstance(cause, InputError | OutputError):
            return cause.reason, cause.remedy
        if isinstance(cause, ConfigError):
            return f"{cause.config_id}={cause.value!r}: {cause.reason}", cause.remedy
        if isinstance(cause, FreRecError):
            reason, _, remedy = str(cause).rstrip(".").partition(". ")
            return reason, remedy or "See the documentation of this step"
    for cause in chain:
        short = any(words in str(cause) for words in _NO_MEMORY)
        if short or isinstance(cause, (torch.cuda.OutOfMemoryError, MemoryError)):
            return "there is not enough memory", "Lower batch_size or num_workers, or use a machine with more memory"
    if any(words in str(cause) for cause in chain for words in _TORN_FILE):
        return "a file could not be written to its end", "Make room on the disk, then run again"
    last = chain[-1]
    if isinstance(last, OSError) and last.errno is not None:
        return f"the system refused: {os.strerror(last.errno)}", "Check the disk and the permissions, then run again"
    return None


def is_input_error(error: BaseException) -> bool:
    """Whether the input itself is to blame, by an :class:`~frerec.errors.InputError` in the chain of causes."""
    return any(isinstance(cause, InputError) for cause in causes(error))


def causes(error: BaseException) -> list[BaseException]:
    """An error and what led to it, outermost first."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    frame = frames[-1]
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"


def exit_code(counts: Mapping[str, int]) -> int:
    """Exit code of a run from the number of items of each status.

    Args:
        counts: number of items by status; absent ones count as 0.

    Returns:
        0: every image is done; 1: some are, some were skipped or failed; 2: there were images and none is done.
    """
    good = counts.get(DONE, 0) + counts.get(UNCHANGED, 0)
    bad = counts.get(SKIPPED, 0) + counts.get(FAILED, 0)
    if bad == 0:
        return EXIT_OK
    return EXIT_SOME_FAILED if good else EXIT_NOTHING_DONE
