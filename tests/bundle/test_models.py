"""What ships in models/ is listed with its checksum, described by a card, small, and loads without pickle."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = sorted(
    path.relative_to(MODELS).as_posix()
    for path in MODELS.rglob("*")
    if path.is_file() and path.suffix != ".md" and path.name != "checksums.sha256"
)


def listed() -> dict[str, str]:
    """File name to sha256, as `sha256sum --check checksums.sha256` reads it."""
    lines = (MODELS / "checksums.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def test_the_bundle_ships_weights() -> None:
    assert "model.pt" in SHIPPED


def test_every_file_is_listed_and_every_listed_file_is_there() -> None:
    assert sorted(listed()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_checksum(name: str) -> None:
    assert hashlib.sha256((MODELS / name).read_bytes()).hexdigest() == listed()[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_file_has_a_card(name: str) -> None:
    text = (MODELS / "README.md").read_text()
    card = re.search(rf"^## `{re.escape(name)}`$(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert card is not None, f"models/README.md has no section for {name}"
    for question in ("What", "Data", "Licence", "Made by", "Figures", "Limits"):
        assert re.search(rf"^\| {question} \| \S", card.group(1), re.M), f"the card of {name} does not say: {question}"


@pytest.mark.parametrize("name", SHIPPED)
def test_loads_without_running_code(name: str) -> None:
    if name.endswith(".safetensors"):
        with safe_open(str(MODELS / name), framework="pt") as file:
            assert len(list(file.keys())) > 0
    elif name.endswith(".pt"):
        assert torch.load(MODELS / name, map_location="cpu", weights_only=True)
    else:
        assert name.endswith((".json", ".csv", ".png")), f"{name} is of a kind that no test opens"


def test_all_models_together_stay_small() -> None:
    assert sum((MODELS / name).stat().st_size for name in SHIPPED) < 40_000_000
