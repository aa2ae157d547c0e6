from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from frerec.errors import FreRecError, OutputError
from frerec.run.manifest import read_records


def records(output_dir: Path) -> dict[str, dict[str, Any]]:
    """The manifest without what differs between two runs that do the same."""
    return {
        path: {k: v for k, v in record.items() if k not in ("seconds", "finished")}
        for path, record in read_records(output_dir / "manifest.jsonl").items()
    }


def test_a_folder_of_mixed_sizes_is_mirrored(tmp_path: Path, plain: SimpleNamespace) -> None:
    source = plain.make_folder(tmp_path / "in")
    (source / "broken.png").write_bytes(b"")
    report, _ = plain.run(source, tmp_path / "out", batch_size=3)
    found = records(tmp_path / "out")
    assert report.counts == {"done": 6, "skipped": 1}
    for path in source.rglob("image_*.png"):
        name = path.relative_to(source).as_posix()
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), 255 - np.asarray(Image.open(path)))
        assert found[name]["status"] == "done"
        assert isinstance(found[name]["applied"]["shr"]["index"], int)
    assert found["broken.png"]["outputs"] == []


def test_a_rerun_does_only_what_is_missing(tmp_path: Path, plain: SimpleNamespace) -> None:
    source, out = plain.make_folder(tmp_path / "in"), tmp_path / "out"
    plain.run(source, out)
    before = plain.tree(out)
    report, _ = plain.run(source, out)
    assert report.counts == {"unchanged": 6}
    assert plain.tree(out) == before
    (out / "image_00.png").unlink()
    (source / "image_01.png").write_bytes((source / "image_03.png").read_bytes())
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(source / "new.png")
    report, _ = plain.run(source, out)
    assert report.counts == {"unchanged": 4, "done": 3}
    assert plain.run(source, out, settings={"strength": 0.9})[0].counts == {"done": 7}
    assert plain.run(source, out, settings={"strength": 0.9}, overwrite=True)[0].counts == {"done": 7}


def test_workers_batches_and_shards_change_nothing(tmp_path: Path, plain: SimpleNamespace) -> None:
    source = plain.make_folder(tmp_path / "in", count=7)
    plain.run(source, tmp_path / "a", batch_size=1)
    plain.run(source, tmp_path / "b", batch_size=4, num_workers=2)
    for i in range(2):
        plain.run(source, tmp_path / "c", shard_index=i, shard_count=2)
    assert plain.run(source, tmp_path / "c")[0].counts == {"unchanged": 7}
    expected = plain.tree(tmp_path / "a")
    expected.pop("manifest.jsonl")
    for name in ("b", "c"):
        assert records(tmp_path / name) == records(tmp_path / "a")
        found = plain.tree(tmp_path / name)
        found.pop("manifest.jsonl")
        assert found == expected


class FailsTogether(torch.nn.Module):
    """A network that runs out of memory with more than one image, and never takes a dark one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        if x.max() < 0.5:
            raise FreRecError("the image is too dark. Use a brighter one.")
        return x


def test_a_failing_batch_is_retried_one_by_one(tmp_path: Path, plain: SimpleNamespace) -> None:
    source = plain.make_folder(tmp_path / "in", count=3, sizes=((8, 8),))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(source / "dark.png")
    report, _ = plain.run(source, tmp_path / "out", network=FailsTogether(), batch_size=4)
    assert report.counts == {"done": 3, "failed": 1}
    assert records(tmp_path / "out")["dark.png"]["reason"] == "the image is too dark"


def test_a_failing_saver_fails_its_item_only(tmp_path: Path, plain: SimpleNamespace) -> None:
    source = plain.make_folder(tmp_path / "in", count=3)
    save = plain.Save(tmp_path / "out")

    def saver(data: dict[str, Any]) -> dict[str, Any]:
        if data["relative_path"] == "image_01.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if data["relative_path"] == "image_00.png":
            return data
        return save(data)

    report, _ = plain.run(source, tmp_path / "out", saver=saver)
    assert report.counts == {"done": 1, "failed": 2}
    found = records(tmp_path / "out")
    assert "No space left" in found["image_01.png"]["reason"]
    assert "wrote nothing" in found["image_00.png"]["reason"]


def test_a_run_that_broke_off_leaves_the_folder_to_the_next_one(tmp_path: Path, plain: SimpleNamespace) -> None:
    source = plain.make_folder(tmp_path / "in", count=3)
    save = plain.Save(tmp_path / "out")

    def saver(data: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / "out" / "manifest.jsonl").unlink()
        return save(data)

    with pytest.raises(OutputError, match="moved or deleted"):
        plain.run(source, tmp_path / "out", saver=saver, batch_size=1)
    report, _ = plain.run(source, tmp_path / "out")
    assert report.counts == {"done": 3}


def test_an_interrupted_run_keeps_what_is_done(tmp_path: Path, plain: SimpleNamespace) -> None:
    source = plain.make_folder(tmp_path / "in", count=4, sizes=((8, 8),))
    save = plain.Save(tmp_path / "out")
    written = []

    def saver(data: dict[str, Any]) -> dict[str, Any]:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(data["relative_path"])
        return save(data)

    with pytest.raises(KeyboardInterrupt):
        plain.run(source, tmp_path / "out", saver=saver, batch_size=1)
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == written
