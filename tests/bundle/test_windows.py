"""Nothing that only POSIX systems have is used without asking. It was not run on Windows; this stands in for that."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundle.conftest import SmallCohort

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("bundle", "scripts") for path in (ROOT / folder).rglob("*.py"))
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
#: What the documentation of Python marks "Availability: Unix" and might be of use here.
NAMES = {
    "os": {
        "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "chown", "chroot", "fchmod", "fork", "geteuid", "getgid",
        "getloadavg", "getpgid", "getuid", "killpg", "lchown", "mkfifo", "nice", "sched_getaffinity", "setsid",
        "statvfs", "sysconf", "uname", "wait", "wait3", "wait4",
    },
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "alarm", "setitimer"},
    "time": {"tzset", "pthread_getcpuclockid"},
}  # fmt: skip


def unguarded(tree: ast.Module) -> list[str]:
    """POSIX modules that are not tried, and POSIX names of a file that asks for them nowhere by hasattr."""
    tried = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(handler) for handler in node.handlers)
        for part in ast.walk(node)
    }
    asked = {
        (ast.unparse(node.args[0]), node.args[1].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr" and isinstance(node.args[1], ast.Constant)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in tried:
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = {alias.name for alias in node.names}
            found += sorted(({module} if module else names) & MODULES)
            found += sorted(f"{module}.{name}" for name in names & NAMES.get(module or "", set()))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            if name in NAMES.get(module, ()) and (module, name) not in asked:
                found.append(f"{module}.{name}")
    return found


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import resource", ["resource"]),
        ("from fcntl import flock", ["fcntl"]),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", []),
        ("import os\nos.nice(3)", ["os.nice"]),
        ("from signal import SIGPIPE", ["signal.SIGPIPE"]),
        ("import os\nif hasattr(os, 'nice'):\n    os.nice(3)\nos.fork()", ["os.fork"]),
    ],
)
def test_the_check_finds_what_it_should(code: str, told: list[str]) -> None:
    assert unguarded(ast.parse(code)) == told


def test_posix_names_are_guarded() -> None:
    found = {path.relative_to(ROOT).as_posix(): unguarded(ast.parse(path.read_text())) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_folder_is_recalibrated_without_the_posix_modules(small_cohort: SmallCohort, tmp_path: Path) -> None:
    gone = sorted(f"signal.{name}" for name in NAMES["signal"] if hasattr(signal, name))
    # what the standard library itself needs to start a process on this system has to stay
    gone += ["os.nice", "os.sched_getaffinity", "os.statvfs", "os.getloadavg", "os.killpg", "os.mkfifo"]
    program = f"""
import os, signal, sys
for name in {sorted(MODULES - {"posix"})}:
    sys.modules[name] = None
for name in {gone}:
    module, _dot, key = name.partition(".")
    vars(sys.modules[module]).pop(key, None)
from frerec.__main__ import main
main(sys.argv[1:])
"""
    words = ["inference", "--dataset_dir", small_cohort.folder, "--output_dir", tmp_path / "out", "--device", "cpu",
             "--bank_path", small_cohort.bank, "--weights_path", small_cohort.weights, "--top_k", "4"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "bundle"), "USERNAME": "somebody"},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert len(list((tmp_path / "out").glob("*.png"))) == 24
