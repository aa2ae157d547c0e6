"""The record of what was done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from frerec.errors import ConfigError
from frerec.io.provenance import Generator, Provenance, canonical_json, plain

WHOLE = Provenance(
    "a/b.png", "0" * 64, {"strength": 0.3, "seed": 1}, {"drawn": 4}, "f" * 64, True, Generator("ACME", "GAN", "2")
)


def test_the_record_is_json_and_complete() -> None:
    record = json.loads(canonical_json(WHOLE.record()))
    assert record["software"] == "FreRec" and record["synthetic"] is True
    assert record["generator"] == {"manufacturer": "ACME", "model": "GAN", "version": "2"}
    assert record["source"] == {"name": "a/b.png", "sha256": "0" * 64}
    assert record["settings"] == {"strength": 0.3, "seed": 1} and record["sample"] == {"drawn": 4}


def test_files_of_one_run_share_its_key_and_other_runs_do_not() -> None:
    other_file = replace(WHOLE, source_name="c.png", source_sha256="1" * 64, sample={"drawn": 9})
    assert other_file.run_key() == WHOLE.run_key()
    for change in (
        {"settings": {"strength": 0.4, "seed": 1}},
        {"weights_sha256": None},
        {"synthetic": False},
        {"generator": None},
        {"version": "99"},
    ):
        assert replace(WHOLE, **change).run_key() != WHOLE.run_key()


def test_the_sentence_is_ascii_and_names_everything() -> None:
    sentence = WHOLE.sentence()
    assert sentence.isascii() and sentence.startswith("FreRec ")
    for word in ("strength=0.3", "seed=1", f"weights_sha256={'f' * 64}"):
        assert word in sentence
    assert "weights_sha256=none" in replace(WHOLE, weights_sha256=None).sentence()


def test_values_left_by_batching_become_plain() -> None:
    mixed = {"a": torch.tensor(2.0), "b": np.float32(0.5), "c": [np.arange(2), Path("x")], 1: torch.ones(2)}
    assert plain(mixed) == {"a": 2.0, "b": 0.5, "c": [[0, 1], "x"], "1": [1.0, 1.0]}


@pytest.mark.parametrize("text", ["", "x" * 65, "caf\u00e9", "a\\b", "a\nb", 5])
def test_generator_texts_must_fit_into_dicom(text: object) -> None:
    with pytest.raises(ConfigError, match=r"generator\.manufacturer"):
        Generator.from_config({"manufacturer": text})
