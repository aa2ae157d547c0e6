from __future__ import annotations

import json
import multiprocessing
import pickle
from pathlib import Path

import pytest

from frerec.errors import ConfigError, InputError
from frerec.run import lock
from frerec.run import manifest as module
from frerec.run.manifest import Manifest, merge_manifests, read_all_records, read_records
from frerec.run.outcome import Outcome


def done(path: str, output_dir: Path, content: bytes = b"x") -> Outcome:
    """The outcome of an item whose output is written."""
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / path).write_bytes(content)
    sha = module.file_sha256(output_dir / path)
    return Outcome(path, "done", sha256=f"in-{path}", outputs=[{"path": path, "sha256": sha}])


def test_lines_are_appended_at_once_and_ordered_at_the_end(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {"strength": 1})
    for name in ("b", "a"):
        manifest.append(done(name, tmp_path))
    assert [json.loads(line)["path"] for line in manifest.path.read_text().splitlines()] == ["b", "a"]
    manifest.append(Outcome("b", "unchanged"))
    manifest.close()
    lines = [json.loads(line) for line in manifest.path.read_text().splitlines()]
    assert [line["path"] for line in lines] == ["a", "b"]
    assert lines[0]["settings"] == {"strength": 1}
    assert lines[0]["fingerprint"] == manifest.fingerprint


def test_a_torn_last_line_is_dropped_and_redone(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {})
    manifest.append(done("a", tmp_path))
    manifest.append(done("b", tmp_path))
    whole = manifest.path.read_bytes()
    manifest.close()
    for cut in (1, 10, whole.rfind(b"\n", 0, -1) - 3):
        manifest.path.write_bytes(whole[: len(whole) - cut])
        again = Manifest(tmp_path, {})
        assert "b" not in again.previous()
        again.append(done("b", tmp_path))
        again.close()
        assert set(read_records(again.path)) >= {"b"}
        assert all(json.loads(line) for line in again.path.read_text().splitlines())


def test_unchanged_means_same_input_settings_and_output(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {"seed": 0})
    manifest.append(done("a", tmp_path))
    manifest.append(Outcome("bad", "skipped", sha256="in-bad", reason="r", remedy="m"))
    manifest.close()
    assert Manifest(tmp_path, {"seed": 0}).is_unchanged("a", "in-a")
    assert not Manifest(tmp_path, {"seed": 0}).is_unchanged("a", "another")
    assert not Manifest(tmp_path, {"seed": 1}).is_unchanged("a", "in-a")
    assert not Manifest(tmp_path, {"seed": 0}, overwrite=True).is_unchanged("a", "in-a")
    assert not Manifest(tmp_path, {"seed": 0}).is_unchanged("bad", "in-bad")
    (tmp_path / "a").write_bytes(b"y")
    assert not Manifest(tmp_path, {"seed": 0}).is_unchanged("a", "in-a")
    (tmp_path / "a").unlink()
    assert not Manifest(tmp_path, {"seed": 0}).is_unchanged("a", "in-a")


def test_shards_merge_into_one(tmp_path: Path) -> None:
    shards = [Manifest(tmp_path, {}, shard_index=i, shard_count=2) for i in range(2)]
    for i, shard in enumerate(shards):
        shard.append(done(f"item{i}", tmp_path))
    for shard in shards:
        shard.close()
    assert set(read_all_records(tmp_path)) == {"item0", "item1"}
    assert merge_manifests(tmp_path) == tmp_path / "manifest.jsonl"
    assert set(read_records(tmp_path / "manifest.jsonl")) == {"item0", "item1"}
    assert list(tmp_path.glob("manifest.*-of-*")) == []
    with pytest.raises(InputError, match="no manifest"):
        merge_manifests(tmp_path / "elsewhere")


def test_the_last_shard_to_finish_merges(tmp_path: Path) -> None:
    first, second = (Manifest(tmp_path, {}, shard_index=i, shard_count=2) for i in range(2))
    first.append(done("a", tmp_path))
    second.append(done("b", tmp_path))
    half = tmp_path / ".0123.frerec-part"
    half.write_bytes(b"half")
    first.close()
    assert first.path.name == "manifest.0-of-2.done.jsonl" and half.exists()
    assert not (tmp_path / "manifest.jsonl").exists()
    # started again before the other one is finished, it still knows what it did
    assert Manifest(tmp_path, {}, shard_index=0, shard_count=2).is_unchanged("a", "in-a")
    again = Manifest(tmp_path, {}, shard_index=0, shard_count=2)
    again.open()
    assert again.path.name == "manifest.0-of-2.jsonl"
    second.close()
    assert second.path.name == "manifest.1-of-2.done.jsonl"
    again.close()
    assert again.path == tmp_path / "manifest.jsonl"
    assert set(read_records(again.path)) == {"a", "b"}
    assert [path.name for path in tmp_path.glob("manifest*")] == ["manifest.jsonl"] and not half.exists()


def test_a_killed_shard_keeps_the_others_from_merging(tmp_path: Path) -> None:
    killed = Manifest(tmp_path, {}, shard_index=1, shard_count=2)
    killed.append(done("b", tmp_path))
    killed.abandon()
    left = Manifest(tmp_path, {}, shard_index=0, shard_count=2)
    left.append(done("a", tmp_path))
    left.close()
    assert not (tmp_path / "manifest.jsonl").exists()
    # any other number of shards takes over what both have done
    for index in range(3):
        shard = Manifest(tmp_path, {}, shard_index=index, shard_count=3)
        shard.open()
        assert shard.is_unchanged("a", "in-a") and shard.is_unchanged("b", "in-b")
        shard.close()
    assert [path.name for path in tmp_path.glob("manifest*")] == ["manifest.jsonl"]
    assert set(read_records(tmp_path / "manifest.jsonl")) == {"a", "b"}


def test_where_the_lock_sees_nobody_the_names_of_the_manifests_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)  # as on Windows, or between two machines on NFS
    shards = [Manifest(tmp_path, {}, shard_index=i, shard_count=2) for i in range(2)]
    for name, shard in zip("ab", shards, strict=True):
        shard.append(done(name, tmp_path))
    shards[1].close()
    assert not (tmp_path / "manifest.jsonl").exists()
    shards[0].append(done("c", tmp_path))
    shards[0].close()
    assert set(read_records(tmp_path / "manifest.jsonl")) == {"a", "b", "c"}


def test_two_runs_of_the_same_shard_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PATIENCE_S", 0.3)
    first = Manifest(tmp_path, {}, shard_index=1, shard_count=2)
    first.append(done("a", tmp_path))
    with pytest.raises(InputError, match=r"another run is writing into it\. Give every run its own shard_index"):
        Manifest(tmp_path, {}, shard_index=1, shard_count=2).open()
    other = Manifest(tmp_path, {}, shard_index=0, shard_count=2)
    other.append(done("b", tmp_path))
    first.close()
    other.close()
    assert set(read_records(tmp_path / "manifest.jsonl")) == {"a", "b"}


def merge(folder: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    merge_manifests(folder)


def test_two_that_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        for index in range(8):
            shard = Manifest(folder, {}, shard_index=index, shard_count=8 + attempt)
            shard.append(done(f"item{index}", folder))
            shard.abandon()
        start = context.Event()
        both = [context.Process(target=merge, args=(str(folder), start)) for _ in range(3)]
        for process in both:
            process.start()
        start.set()
        for process in both:
            process.join()
        assert set(read_records(folder / "manifest.jsonl")) == {f"item{index}" for index in range(8)}


def test_leftovers_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    leftover = tmp_path / "sub" / ".0123.frerec-part"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    manifest = Manifest(tmp_path, {})
    manifest.open()
    manifest.close()
    assert not leftover.exists()


def hold(folder: str, ready: object, release: object) -> None:
    manifest = Manifest(folder, {})
    manifest.open()
    ready.set()  # type: ignore[attr-defined]
    release.wait()  # type: ignore[attr-defined]


def test_two_runs_into_one_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(tmp_path), ready, release))
    other.start()
    try:
        assert ready.wait(60)
        monkeypatch.setattr(lock, "_PATIENCE_S", 0.3)
        with pytest.raises(InputError, match="another run is writing"):
            Manifest(tmp_path, {}).open()
    finally:
        release.set()
        other.join()
    Manifest(tmp_path, {}).open()


def test_workers_get_the_memory_without_the_open_file(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, {})
    manifest.append(done("a", tmp_path))
    manifest.close()
    manifest.open()
    copy = pickle.loads(pickle.dumps(manifest))
    assert copy.is_unchanged("a", "in-a")
    manifest.close()


def test_wrong_shard_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shard_index=2"):
        Manifest(tmp_path, {}, shard_index=2, shard_count=2)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        Manifest(tmp_path / "file" / "out", {}).open()
