from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frerec.errors import ConfigError, InputError
from frerec.text import name_to_text, printable, text_to_name


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
