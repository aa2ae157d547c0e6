"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import frerec
from frerec.errors import ConfigError, InputError
from frerec.files import PART_SUFFIX, atomic_write, name_to_text, printable, remove_leftovers, text_to_name


def test_writes_bytes_and_text_and_makes_folders(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a" / "b.bin") as stream:
        stream.write(b"\x00\r\n")
    with atomic_write(tmp_path / "a" / "b.txt", "w") as stream:
        stream.write("grün\n")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "a" / "b.txt").read_bytes() == "grün\n".encode()


def test_nothing_is_visible_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    with atomic_write(target) as stream:
        stream.write(b"new")
        stream.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


def test_an_error_leaves_the_old_file_and_no_leftover(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(target) as stream:
        stream.write(b"half")
        raise RuntimeError("disk on fire")
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]
    assert target.read_bytes() == b"old"


def test_a_killed_writer_leaves_only_a_removable_leftover(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from frerec.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(frerec.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.bin")], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "x.bin").exists()
    assert [path.suffix for path in tmp_path.iterdir()] == [PART_SUFFIX]
    assert remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_names_at_the_limit_and_the_umask_are_respected(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".bin")
    before = os.umask(0o027)
    try:
        with atomic_write(target) as stream:
            stream.write(b"1")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640


def test_appending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode='ab'"), atomic_write(tmp_path / "x", "ab"):
        pass


@given(st.binary(max_size=60))
def test_any_name_is_text_and_comes_back(raw: bytes) -> None:
    name = os.fsdecode(raw)
    text = name_to_text(name)
    assert text.encode("utf-8").decode("utf-8") == text
    assert os.fsencode(text_to_name(text)) == raw
    assert printable(name).isprintable()


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_different_names_stay_different(one: bytes, other: bytes) -> None:
    assert (name_to_text(os.fsdecode(one)) == name_to_text(os.fsdecode(other))) == (one == other)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("Röntgen, 影像 [1].png", "Röntgen, 影像 [1].png", "Röntgen, 影像 [1].png"),
        (os.fsdecode(b"R\xf6ntgen"), r"R\xf6ntgen", r"R\xf6ntgen"),
        (r"R\xf6ntgen", r"R\\xf6ntgen", r"R\xf6ntgen"),
        ("a\nb\x1b[2J", "a\nb\x1b[2J", r"a\nb\x1b[2J"),
        ("x\u202egnp.exe", "x\u202egnp.exe", r"x\u202egnp.exe"),
        ("\ud800", r"\ud800", r"\ud800"),
    ],
)
def test_examples(name: str, text: str, shown: str) -> None:
    assert name_to_text(name) == text
    assert printable(name) == shown


def test_errors_are_one_safe_line() -> None:
    evil = "in/\x1b]0;title\x07\n\udcf6.png"
    for error in (
        InputError(evil, f"like {evil}", "Leave it out"),
        ConfigError("dataset_dir", evil, evil, "Use another"),
    ):
        assert str(error).isprintable()
        str(error).encode("utf-8")
    assert InputError(evil, "r", "m").path == evil
