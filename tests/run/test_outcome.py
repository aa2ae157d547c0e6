from __future__ import annotations

import errno

import pytest

from frerec.errors import ConfigError, FreRecError, InputError
from frerec.run.outcome import Outcome, exit_code, explain, is_input_error


def wrapped(error: Exception) -> Exception:
    """The error as MONAI's Compose hands it on."""
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("applying transform <Load>") from cause
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (InputError("a.dcm", "no pixel data", "Leave it out"), "no pixel data", "Leave it out"),
        (ConfigError("top_k", 9, "too many", "Use 3"), "top_k=9: too many", "Use 3"),
        (FreRecError("the bank is gray. Use another."), "the bank is gray", "Use another"),
        (OSError(errno.ENOSPC, "x"), "the system refused: No space left on device", "Check the disk"),
        (MemoryError(), "there is not enough memory", "Lower batch_size"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to"), "there is not enough memory", "Lower"),
    ],
)
def test_errors_are_put_into_words(error: Exception, reason: str, remedy: str) -> None:
    for raised in (error, wrapped(error)):
        told = explain(raised)
        assert told[0] == reason
        assert told[1].startswith(remedy)
        assert is_input_error(raised) is isinstance(error, InputError)


def test_messages_of_other_libraries_are_not_repeated() -> None:
    reason, remedy = explain(wrapped(ValueError("Invalid value for VR PN: 'Doe^Jane'")))
    assert "Doe" not in reason + remedy
    assert reason.startswith("ValueError at run/test_outcome.py:")


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"done": 3}, 0),
        ({"unchanged": 3, "ignored": 2}, 0),
        ({}, 0),
        ({"done": 1, "skipped": 1}, 1),
        ({"unchanged": 1, "failed": 1}, 1),
        ({"skipped": 2}, 2),
        ({"failed": 1, "ignored": 5}, 2),
    ],
)
def test_exit_codes(counts: dict[str, int], code: int) -> None:
    assert exit_code(counts) == code


def test_line_names_path_reason_and_remedy() -> None:
    outcome = Outcome("a/b.png", "skipped", reason="it is empty", remedy="Fetch it again")
    assert outcome.line() == "skipped: a/b.png: it is empty. Fetch it again."
