from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path

import pytest

from frerec.errors import ConfigError, FreRecError, InputError, OutputError
from frerec.run import failure


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The error with a traceback, wrapped as MONAI wraps it."""
    try:
        try:
            raise cause or error
        except BaseException as inner:
            if cause is None:
                raise
            raise error from inner
    except BaseException as outer:
        return outer


WORKER = (
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    '  File "/x/loader.py", line 7, in load\n    read(path)  # Doe^Jane\n'
    "frerec.errors.InputError: a.dcm: no pixel data. Leave it out.\n\nThe above exception was the direct cause"
)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (raised(RuntimeError("x"), ConfigError("top_k", 9, "too many", "Use 3")), 3, "top_k=9: too many. Use 3."),
        (raised(RuntimeError("x"), InputError("a.csv", "no list", "Write one")), 3, "a.csv: no list. Write one."),
        (raised(OutputError("out", "it is gone", "Run again")), 4, "out: it is gone. Run again."),
        (raised(FreRecError("the loss became nan. Start again.")), 4, "the loss became nan. Start again."),
        (raised(RuntimeError(WORKER)), 3, "a.dcm: no pixel data. Leave it out."),
        (raised(OSError(errno.ENOSPC, "x", "/out/a.png")), 4, "/out/a.png: the system refused: No space left"),
        (raised(RuntimeError("DataLoader worker (pid 7) is killed by signal")), 4, "there is not enough memory"),
        (raised(RuntimeError("basic_ios::clear: iostream error")), 4, "a file could not be written to its end"),
        (raised(KeyboardInterrupt()), 130, "interrupted (Ctrl-C)."),
        (raised(failure.Terminated()), 143, "the system asked it to end (SIGTERM)."),
    ],
)
def test_last_words_and_exit_codes(error: BaseException, code: int, text: str) -> None:
    told = failure._last_words(error)
    assert told[0] == code
    assert told[1].startswith(text)
    assert "\n" not in told[1]


def test_a_fault_of_ours_leaves_its_trace_without_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure._Run, "folder", tmp_path / "new")
    error = raised(RuntimeError("applying transform to Doe^Jane"), KeyError("Doe^Jane"))
    code, text = failure._last_words(error)
    assert code == 4
    assert text.startswith("KeyError at run/test_failure.py:")
    assert str(tmp_path / "new" / "run.log") in text
    log = (tmp_path / "new" / "run.log").read_text()
    assert "Doe" not in text + log
    assert log.index("builtins.KeyError") < log.index("builtins.RuntimeError")
    assert "test_failure.py:" in log and " in raised" in log
    assert f"Python {sys.version_info.major}." in log


def test_frames_of_a_worker_and_our_own_messages_are_in_the_trace() -> None:
    text = failure.trace(raised(RuntimeError(WORKER), ConfigError("bands", 0, "none", "Use 1")))
    assert "in a worker: /x/loader.py:7 in load" in text
    assert "bands=0: none. Use 1." in text
    assert "Doe" not in text


def test_a_folder_that_takes_no_log_is_no_second_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(failure._Run, "folder", tmp_path / "file")
    monkeypatch.setattr(failure.tempfile, "gettempdir", lambda: str(tmp_path))
    assert str(tmp_path / "frerec-run.log") in failure._last_words(raised(KeyError(1)))[1]


def test_nothing_happens_in_a_program_of_somebody_else(caplog: pytest.LogCaptureFixture) -> None:
    before = sys.excepthook, logging.getLogRecordFactory(), logging.raiseExceptions
    failure.tell_failures()
    assert (sys.excepthook, logging.getLogRecordFactory(), logging.raiseExceptions) == before
    assert not failure.is_bundle_program()
    # an item's fault has words, and nobody is told of a log that is not there
    assert failure.told(raised(KeyError(1)))[1] == "Please report this as a fault, with this line"


def test_reports_of_exceptions_that_are_passed_on_reach_no_handler(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = logging.getLogRecordFactory()
    logging.setLogRecordFactory(failure._without_exceptions(plain))
    try:
        logger = logging.getLogger("ignite.engine")
        logger.error("Engine run is terminating due to exception: Doe^Jane")
        logger.error("told", exc_info=raised(ValueError("Doe^Jane")))
        logger.error("something else")
    finally:
        logging.setLogRecordFactory(plain)
    assert [record.message for record in caplog.records] == ["something else"]
