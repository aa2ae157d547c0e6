"""What a user sees when a workflow ends by an error: one line and an exit code, never a traceback."""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from tqdm import tqdm

from frerec import __version__
from frerec.errors import (
    EXIT_BROKE_OFF,
    EXIT_INTERRUPTED,
    EXIT_PREFLIGHT,
    EXIT_TERMINATED,
    ConfigError,
    FreRecError,
    InputError,
)
from frerec.io.quiet import quiet_process
from frerec.run.outcome import causes, explain, is_fault

LOG_NAME = "run.log"
#: Set to anything but an empty text, it leaves Python's own tracebacks as they are.
DEBUG = "FREREC_TRACEBACK"

# A loader's worker hands an error of ours on as the text of its traceback.
_OF_A_WORKER = re.compile(r"^frerec\.errors\.(?:Input|Config)Error: (.+)$", re.M)
_EXPRESSION = re.compile(r"^Failed to evaluate ConfigExpression: \s*(.+)", re.S)
_COMPONENT = re.compile(r"(?:component|path:) '([\w.]+)'")
_MISSING = re.compile(r"the referring item `@?(.+?)` is not defined|id='(.+?)' is not found in the config")
_FRAME = re.compile(r'^\s+File "(.+)", line (\d+), in (\S+)$', re.M)
_PACKAGES = ("monai", "torch", "numpy", "pytorch-ignite", "pydicom", "nibabel", "pillow", "tifffile")


class Terminated(BaseException):
    """The system asked the program to end (SIGTERM)."""


class _Run:
    """The workflow of this process; empty where the process is not a workflow's own program."""

    name = "the workflow"
    folder: Path | None = None
    is_program = False


def is_bundle_program() -> bool:
    """Whether this process is ``python -m monai.bundle``, and so nobody else's interpreter, server or test."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", None) == "monai.bundle.__main__"


def tell_failures() -> None:
    """Answer for the errors of this program; the first step of ``initialize``.

    Whatever ends the program from here on is told in one line on the standard error, with the exit codes of
    docs/reference/exit_codes.md; the libraries' own reports of it, which quote messages, are held back. A fault of
    ours leaves its trace in ``run.log`` in the output folder. Does nothing outside ``python -m monai.bundle``, or
    where the environment variable ``FREREC_TRACEBACK`` is set.
    """
    if not is_bundle_program() or os.environ.get(DEBUG) or _Run.is_program:
        return
    _Run.is_program = True
    quiet_process()
    sys.excepthook = _tell
    logging.setLogRecordFactory(_without_exceptions(logging.getLogRecordFactory()))
    # whoever started the program without an ear for SIGTERM (nohup and the like keep theirs) hears of it too
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def name_run(workflow: str, folder: str | os.PathLike[str] | None) -> None:
    """Say which workflow this process runs, for the words of :func:`tell_failures`.

    Args:
        workflow: its name.
        folder: where ``run.log`` goes, the output folder; None if there is none.
    """
    _Run.name, _Run.folder = workflow, Path(folder) if folder else None


def told(error: BaseException) -> tuple[str, str]:
    """Put an item's error into words; a fault of ours leaves its trace in ``run.log``, where the program has one.

    Args:
        error: what was raised.

    Returns:
        As :func:`frerec.run.outcome.explain`.
    """
    reason, remedy = explain(error)
    if _Run.is_program and is_fault(error):
        remedy = _logged(error)
    return reason, remedy


def trace(error: BaseException) -> str:
    """The full trace of an error without other libraries' messages, which may quote a patient's header.

    Args:
        error: what was raised.

    Returns:
        For each error of the chain of causes, innermost first, its kind, file, line and function of every frame, and
        its message if it is one of ours.
    """
    lines = []
    for cause in reversed(causes(error)):
        lines.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        if isinstance(cause, FreRecError):
            lines[-1] += f": {cause}"
        frames = traceback.extract_tb(cause.__traceback__)
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        lines += [f"  in a worker: {file}:{line} in {name}" for file, line, name in _FRAME.findall(str(cause))]
    return "\n".join(lines) + "\n"


def _tell(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """The program's exception hook: its last words, then the end with the exit code they stand for."""
    code, text = _last_words(error)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()  # what an error left open would stand before our words on their line
        print(f"{_Run.name} stopped: {text}", file=sys.stderr, flush=True)
    for child in multiprocessing.active_children():
        child.terminate()
    # at once: threads of a loader that are still in C++ code would abort an interpreter that takes leave around them
    os._exit(code)


def _last_words(error: BaseException) -> tuple[int, str]:
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "interrupted (Ctrl-C). What is finished is kept; run the same command again."
    if isinstance(error, Terminated):
        return EXIT_TERMINATED, "the system asked it to end (SIGTERM). What is finished is kept; run it again."
    ours = next((cause for cause in causes(error) if isinstance(cause, FreRecError)), None) or _wrong_config(error)
    if ours is not None:
        return EXIT_PREFLIGHT if isinstance(ours, InputError | ConfigError) else EXIT_BROKE_OFF, str(ours)
    from_worker = next((m for cause in causes(error) if (m := _OF_A_WORKER.search(str(cause)))), None)
    if from_worker is not None:
        return EXIT_PREFLIGHT, from_worker[1]
    reason, remedy = explain(error)
    if is_fault(error):
        remedy = _logged(error)
        if wired := _wired():
            # parts of components, which no preflight can judge
            remedy = f"Look at {', '.join(wired)} on the command line first. {remedy}"
    last = causes(error)[-1]
    place = (last.filename or _Run.folder) if isinstance(last, OSError) else None
    return EXIT_BROKE_OFF, f"{place}: {reason}. {remedy}." if place else f"{reason}. {remedy}."


def _wired() -> list[str]:
    """The overrides of parts of components (``--dataloader#batch_size``) on the command line."""
    words = (word[2:].partition("=")[0] for word in sys.argv[1:] if word.startswith("--"))
    return [word for word in words if "#" in word or "::" in word]


def _wrong_config(error: BaseException) -> ConfigError | None:
    """A mistake in the wiring of a config, by what MONAI's parser says about it."""
    last = causes(error)[-1]
    frames = traceback.extract_tb(last.__traceback__)
    places = [Path(frame.filename).parts[-3:] for frame in frames]
    failed = next((m[1] for e in causes(error) if (m := _EXPRESSION.search(str(e)))), None)
    if failed and frames and frames[-1].filename == "<string>":
        # as it stands in the config, without the quotes and line ends of MONAI's message
        shown = re.sub(r"__local_refs\[\\?'(.+?)\\?'\]", r"@\1", "".join(re.split(r"\"\n *\"", failed))).strip("'\"() ")
        reason = f"this expression of the config cannot be evaluated ({type(last).__name__})"
        remedy = "Look at what was overridden; a text that begins with $ is Python"
        return ConfigError("expression", shown if len(shown) < 100 else f"{shown[:97]}...", reason, remedy)
    if not places or places[-1][:1] != ("monai",):
        return None
    if places[-1][1:] == ("bundle", "workflows.py") and (match := re.match(r"run ID '(.*?)' doesn't exist", str(last))):
        return ConfigError("run_id", match[1], "the config has no such id", "Put a value with spaces into quotes")
    missing = next((m for e in causes(error) if (m := _MISSING.search(str(e)))), None)
    if missing:
        name = missing[1] or missing[2]
        return ConfigError(name, None, "the config refers to this id and has none", "Look at what was overridden")
    if places[-1][1:] == ("utils", "module.py") and isinstance(last, ModuleNotFoundError | TypeError):
        component = next((m[1] for e in causes(error) if (m := _COMPONENT.search(str(e)))), None)
        return ConfigError("_target_", component, "no such component, or it does not take the arguments it is given",
                           "Look at what was overridden")  # fmt: skip
    return None


def _logged(error: BaseException) -> str:
    """Write the trace to ``run.log``; returns what to do with it."""
    text = f"{datetime.now(timezone.utc).isoformat(timespec='seconds')} {_Run.name}, {_versions()}\n{trace(error)}\n"
    places = [_Run.folder / LOG_NAME] if _Run.folder else []
    for path in [*places, Path(tempfile.gettempdir()) / f"frerec-{LOG_NAME}"]:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # one write, so that traces of several processes do not mix
            with path.open("ab", buffering=0) as log:
                log.write(text.encode("utf-8", "backslashreplace"))
            return f"Please report this as a fault, with this line and the trace in {path}"
    return "Please report this as a fault, with this line"


def _versions() -> str:
    found = [f"frerec {__version__}", f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def _without_exceptions(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Factory of log records in which what MONAI and ignite say of an exception they pass on reaches no handler.

    They tell its message and traceback, each to a handler of its own; we tell it once, without either.
    """

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        if made.exc_info or "terminating due to exception" in str(made.msg):
            made.levelno = -1
        return made

    return record


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
