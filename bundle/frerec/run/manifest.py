"""The manifest: one JSON line per file of the input folder, safe against a kill at any moment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from frerec.errors import ConfigError, InputError
from frerec.files import atomic_write, file_sha256, name_to_text, printable, remove_leftovers, text_to_name
from frerec.io.provenance import RunSettings
from frerec.run.lock import RunLock
from frerec.run.outcome import DONE, STATUSES, UNCHANGED, Outcome

NAME = "manifest.jsonl"
# json escapes the controls below the space itself
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: A line of the manifest as a dict.
Record = dict[str, Any]


def read_records(path: str | os.PathLike[str]) -> dict[str, Record]:
    """Read one manifest file.

    A line that a killed run left unfinished, or that somebody damaged, is passed over: its file is then redone.

    Args:
        path: the file; may be absent.

    Returns:
        The last record of every item, by the item's path as text (:func:`frerec.files.name_to_text`).
    """
    records: dict[str, Record] = {}
    try:
        text = Path(path).read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return records
    # what follows the last line end was never finished, even where it happens to be complete
    for line in text.split("\n")[:-1]:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("path"), str) and record.get("status") in STATUSES:
            records[record["path"]] = record
    return records


def read_all_records(output_dir: str | os.PathLike[str]) -> dict[str, Record]:
    """Read the manifest of a folder and those of all its shards; of several records of an item the latest counts."""
    return _latest(_manifest_files(output_dir))


def merge_manifests(output_dir: str | os.PathLike[str]) -> Path:
    """Put the manifests of all shards into one ``manifest.jsonl`` and delete theirs.

    Args:
        output_dir: folder that the shards wrote into; none of them may still be running.

    Raises:
        InputError: there is no manifest.
    """
    *shards, target = files = _manifest_files(output_dir)
    if not shards and not target.exists():
        raise InputError(output_dir, "no manifest in it", "Name the output_dir of a finished run")
    records = _latest(files)
    # what is missing now, another process has just merged
    if all(path.exists() for path in shards):
        _write(target, records.values())
        for path in shards:
            path.unlink(missing_ok=True)
    return target


def _latest(files: Iterable[Path]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for path in files:
        for key, record in read_records(path).items():
            if key not in records or str(record.get("finished")) >= str(records[key].get("finished")):
                records[key] = record
    return records


def _manifest_files(output_dir: str | os.PathLike[str]) -> list[Path]:
    """Those of the shards, and at last the merged one: what another process takes away, it has put there before."""
    folder = Path(output_dir)
    return [*sorted(folder.glob("manifest.*-of-*.jsonl")), folder / NAME]


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with atomic_write(path, "w") as stream:
        for record in sorted(records, key=lambda r: str(r["path"])):
            stream.write(_line(record))


def _line(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=False, separators=(", ", ": "))
    # what a terminal obeys, or what some readers take for the end of a line
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


class Manifest:
    """The manifest of a run, its memory of earlier runs, and the lock on the output folder.

    A run appends a line for each finished item and forces it to the disk before the next one, so that after a kill
    at most the items in work are redone. At the end the file is rewritten with one line per item in order of path.

    Args:
        output_dir: folder of the outputs; made where absent.
        settings: what the outputs depend on, from :func:`frerec.io.provenance.run_settings`.
        overwrite: redo everything, whatever earlier runs did.
        shard_index: which of ``shard_count`` parts of the folder this run works on, from 0.
        shard_count: number of runs that share the work. Each writes its own ``manifest.<index>-of-<count>.jsonl``,
            ``manifest.<index>-of-<count>.done.jsonl`` once it is finished. Whichever finds no unfinished one beside its
            own, or the next run without sharding, or :func:`merge_manifests`, merges them.

    Attributes:
        path: the file that holds the lines of this run: its own while it runs, then the merged one if there is.

    Raises:
        ConfigError: ``shard_index`` is not below ``shard_count``.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        settings: Mapping[str, Any],
        overwrite: bool = False,
        shard_index: int = 0,
        shard_count: int = 1,
    ) -> None:
        if not 0 <= shard_index < shard_count:
            raise ConfigError(
                "shard_index", shard_index, f"with shard_count={shard_count} the shards are 0 to {shard_count - 1}",
                "Give every run its own number from 0",
            )  # fmt: skip
        self.output_dir = Path(output_dir)
        self.settings = RunSettings(settings)
        self.fingerprint = self.settings.fingerprint
        self.overwrite = overwrite
        self.shard_index, self.shard_count = shard_index, shard_count
        name = NAME if shard_count == 1 else f"manifest.{shard_index}-of-{shard_count}.jsonl"
        self._own = self.path = self.output_dir / name
        self._previous: dict[str, Record] | None = None
        self._stream: IO[bytes] | None = None
        remedy = "Wait for it, choose another output_dir, or share the work by shard_index and shard_count"
        self._lock = RunLock(self.output_dir, remedy)
        self._shard_lock = RunLock(self._own, "Give every run its own shard_index")

    def __getstate__(self) -> dict[str, Any]:
        # loader workers get the memory, not the open file
        self.previous()
        return {**self.__dict__, "_stream": None}

    def previous(self) -> dict[str, Record]:
        """Records of earlier runs into the same folder, by path; read once."""
        if self._previous is None:
            self._previous = read_all_records(self.output_dir)
        return self._previous

    def is_unchanged(self, path: str, sha256: str) -> bool:
        """Whether an earlier run did this item from the same input with the same settings, and its outputs are there.

        Args:
            path: the item, relative to ``dataset_dir``.
            sha256: checksum of the input as it is now.
        """
        record = None if self.overwrite else self.previous().get(name_to_text(path))
        if (
            record is None
            or record["status"] != DONE
            or record.get("sha256") != sha256
            or record.get("fingerprint") != self.fingerprint
            or not record.get("outputs")
        ):
            return False
        try:
            files = [(self.output_dir / text_to_name(out["path"]), out["sha256"]) for out in record["outputs"]]
            return all(file_sha256(path) == sha256 for path, sha256 in files)
        except OSError:
            return False

    def outdated(self) -> int:
        """How many items an earlier run did with other settings or another version, which are therefore done anew."""
        return sum(r["status"] == DONE and r.get("fingerprint") != self.fingerprint for r in self.previous().values())

    def open(self) -> IO[bytes]:
        """Lock the folder, clear what killed runs left half-written, and open the manifest for appending.

        Raises:
            InputError: the folder cannot be written to, or another run is writing into it or does the same shard.
        """
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._lock.take(shared=self.shard_count > 1)
            if self.shard_count == 1:
                remove_leftovers(self.output_dir)
            self.path = self._own
            if self._finished.exists():
                self._finished.replace(self.path)
            self._stream = self.path.open("ab")
            if self.shard_count > 1:
                self._shard_lock.take(shared=False)
            self._drop_torn_line()
        except InputError:
            self.abandon()
            raise
        except OSError as error:
            raise InputError(
                self.output_dir, f"cannot be written to ({error.strerror})", "Choose another output_dir"
            ) from error
        return self._stream

    def append(self, outcome: Outcome) -> None:
        """Add the line of a finished item and force it to the disk.

        Args:
            outcome: what became of the item. An unchanged one keeps the line it has.
        """
        if outcome.status == UNCHANGED:
            return
        stream = self._stream or self.open()
        stream.write(_line(self.record(outcome)).encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())

    def record(self, outcome: Outcome) -> Record:
        """The manifest record of an outcome; see docs/reference/manifest.md."""
        record: Record = {"path": name_to_text(outcome.path), "status": outcome.status, "sha256": outcome.sha256}
        if outcome.files:
            record["files"] = [name_to_text(name) for name in outcome.files]
        record |= {
            "outputs": [{**out, "path": name_to_text(out["path"])} for out in outcome.outputs],
            "reason": outcome.reason and printable(outcome.reason),
            "remedy": outcome.remedy and printable(outcome.remedy),
            "warnings": [printable(warning) for warning in outcome.warnings],
        }
        if outcome.status == DONE:
            record |= {"fingerprint": self.fingerprint, "settings": self.settings, "applied": outcome.applied}
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return record | {"seconds": round(outcome.seconds, 3), "finished": now}

    def close(self) -> None:
        """Rewrite the manifest with one line per item in order of path, merge it with those of the shards, unlock.

        A shard leaves the merging to those that have not finished yet, where there are any.
        """
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        if self.shard_count == 1:
            self.path = merge_manifests(self.output_dir)
        else:
            _write(self.path, read_records(self.path).values())
            self.path = self.path.replace(self._finished)
            # On a network file system the lock knows of this machine alone, and without locks of nobody.
            if self._lock.take_alone() and not self._unfinished():
                self.path = merge_manifests(self.output_dir)
                remove_leftovers(self.output_dir)
        self._previous = None
        self._release()

    def abandon(self) -> None:
        """Let go of the manifest of a run that broke off, and of the folder; what the disk did not take is lost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        self._release()

    def _release(self) -> None:
        self._shard_lock.release()
        self._lock.release()

    @property
    def _finished(self) -> Path:
        return self._own.with_suffix(".done.jsonl")

    def _unfinished(self) -> list[Path]:
        """Manifests of the other shards that are still running, or were killed; one that has yet to start has none."""
        names = self.output_dir.glob(f"manifest.*-of-{self.shard_count}.jsonl")
        return [path for path in names if path != self._own]

    def _drop_torn_line(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("r+b") as stream:
            data = stream.read()
            keep = data.rfind(b"\n") + 1
            if keep < len(data):
                stream.truncate(keep)
