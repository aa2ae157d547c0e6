"""Commands of the pages name what exists; the model card says what the metadata say, and its example runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from frerec.run.command_line import wrong_words

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").glob("*.md")])
CARD = (ROOT / "docs" / "model_card.md").read_text()


def commands(page: Path) -> list[list[str]]:
    """Every run of a workflow in the code blocks of a page: its config files, then the words after them."""
    found = []
    for block in re.findall(r"^```(?:bash)?\n(.*?)\n```$", page.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.count("'") % 2 or line.count('"') % 2:  # a text of several lines
                continue
            words = shlex.split(line.split("&&")[-1].split(" | ")[0], comments=True)
            words = words[words.index("frerec") :] if words[:2] == ["docker", "run"] and "frerec" in words else words
            if words[:1] == ["frerec"] and len(words) > 1 and not words[1].startswith("-"):
                count = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
                # a file without a folder of the bundle before it is the reader's
                names = [word for word in words[1:count] if "configs/" in word or not word.endswith(".json")]
                files = [f"{Path(name).stem.replace('-', '_')}.json" for name in names]
                found.append([repr([str(ROOT / "configs" / file) for file in files]), *words[count:]])
            elif "monai.bundle" in words and words[words.index("monai.bundle") + 1] == "run":
                rest = words[words.index("--config_file") + 1 :]
                files = re.findall(r"configs/(\w+\.json)", rest[0])
                found.append([repr([str(ROOT / "configs" / file) for file in files]), *rest[1:]])
    return found


def test_commands_are_found() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_config_and_id_of_a_page_exists(page: Path) -> None:
    for files, *words in commands(page):
        assert all(Path(name).is_file() for name in re.findall(r"'([^']+)'", files)), files
        assert wrong_words(["monai/bundle/__main__.py", "run", "--config_file", files, *words]) == []


def test_the_model_card_has_the_figures_of_the_metadata() -> None:
    metrics = json.loads((ROOT / "configs" / "metadata.json").read_text())["eval_metrics"]
    assert f"{metrics['psnr']} dB" in CARD
    rows = [row.split("|")[1:-1] for row in re.findall(r"^\|.*\|$", CARD, re.M)[2:]]
    told = {cells[0].strip(): float(cells[-1]) for cells in rows}
    detectors = ("radial", "radial_hann", "cnn_high_pass", "cnn_pixels")
    assert list(told.values()) == [metrics[f"auc_{name}"] for name in detectors]


def test_the_model_card_begins_with_what_hugging_face_reads() -> None:
    front = CARD.split("---\n")[1]
    plain = dict(re.findall(r"^(\w+): (\S+)$", front, re.M))
    assert plain == {"license": "apache-2.0", "library_name": "monai", "pipeline_tag": "image-to-image"}
    assert re.findall(r"^- (\S+)$", front, re.M)[:2] == ["monai", "medical"]
    # it is copied to another folder
    assert not re.findall(r"\]\((?!https?://)", CARD)


def test_the_example_of_the_model_card_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)\n```$", CARD, re.M | re.S)
    names: dict = {}
    exec(code, names)
    assert names["image"].shape == (256, 256) and names["image"].dtype == np.uint8
