from __future__ import annotations

import subprocess
import sys

import pytest

# Stands for `python -m monai.bundle`, whose process alone is ours to change.
PROGRAM = """
import sys
from types import SimpleNamespace
sys.modules["__main__"].__spec__ = SimpleNamespace(name={name!r})
from frerec.run.process import prepare_process
hook = sys.excepthook
prepare_process()
print(sys.excepthook is hook)
raise {error}
"""


@pytest.mark.parametrize(
    ("name", "error", "code", "told"),
    [
        ("monai.bundle.__main__", "KeyboardInterrupt", 130, "the workflow stopped: interrupted (Ctrl-C)."),
        ("monai.bundle.__main__", "MemoryError", 4, "the workflow stopped: "),
        ("somebody.else", "ValueError('theirs')", 1, "Traceback"),
    ],
)
def test_errors_are_answered_for_in_our_own_program_alone(name: str, error: str, code: int, told: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(name=name, error=error)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.startswith(told)
    assert done.stdout == f"{name == 'somebody.else'}\n"
