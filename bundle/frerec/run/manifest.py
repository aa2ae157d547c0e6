"""The manifest: one JSON line per file of the input folder, safe against a kill at any moment."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from frerec.errors import ConfigError, InputError
from frerec.files import atomic_write, file_sha256, name_to_text, printable, remove_leftovers, text_to_name
from frerec.io.provenance import RunSettings
from frerec.run.outcome import DONE, STATUSES, UNCHANGED, Outcome

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs into one folder go unnoticed there
    fcntl = None  # type: ignore[assignment]

NAME = "manifest.jsonl"
_LOCK_PATIENCE_S = 15.0
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
    records: dict[str, Record] = {}
    for path in _manifest_files(output_dir):
        for key, record in read_records(path).items():
            if key not in records or str(record.get("finished")) >= str(records[key].get("finished")):
                records[key] = record
    return records


def merge_manifests(output_dir: str | os.PathLike[str]) -> Path:
    """Put the manifests of all shards into one ``manifest.jsonl`` and delete theirs.

    Args:
        output_dir: folder that the shards wrote into; none of them may still be running.

    Raises:
        InputError: there is no manifest.
    """
    files = _manifest_files(output_dir)
    if not files:
        raise InputError(output_dir, "no manifest in it", "Name the output_dir of a finished run")
    target = Path(output_dir) / NAME
    _write(target, read_all_records(output_dir).values())
    for path in files:
        if path != target:
            path.unlink()
    return target


def _manifest_files(output_dir: str | os.PathLike[str]) -> list[Path]:
    folder = Path(output_dir)
    return sorted([*folder.glob("manifest.*-of-*.jsonl"), *folder.glob(NAME)])


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
        shard_count: number of runs that share the work. Each writes its own ``manifest.<index>-of-<count>.jsonl``;
            the next run without sharding, or :func:`merge_manifests`, merges them.

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
        self.path = self.output_dir / name
        self._previous: dict[str, Record] | None = None
        self._stream: IO[bytes] | None = None
        self._lock: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        # loader workers get the memory, not the open file or the lock
        self.previous()
        return {**self.__dict__, "_stream": None, "_lock": None}

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
            InputError: the folder cannot be written to, or another run is writing into it.
        """
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            alone = self._take_lock()
            if alone:
                remove_leftovers(self.output_dir)
            self._drop_torn_line()
            self._stream = self.path.open("ab")
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
        """Rewrite the manifest with one line per item in order of path, merge shards if not sharded, unlock."""
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        if self.shard_count == 1:
            merge_manifests(self.output_dir)
        else:
            _write(self.path, read_records(self.path).values())
        self._previous = None
        self._unlock()

    def abandon(self) -> None:
        """Let go of the manifest of a run that broke off, and of the folder; what the disk did not take is lost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _drop_torn_line(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("r+b") as stream:
            data = stream.read()
            keep = data.rfind(b"\n") + 1
            if keep < len(data):
                stream.truncate(keep)

    def _take_lock(self) -> bool:
        """Lock the folder: shards together, an unsharded run alone. Returns whether nobody else is in it."""
        if fcntl is None:
            return self.shard_count == 1
        self._lock = os.open(self.output_dir, os.O_RDONLY)
        # loader workers of a killed run hold its lock until they notice, some seconds later
        patience = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            for mode in (fcntl.LOCK_EX, fcntl.LOCK_SH)[: 1 if self.shard_count == 1 else 2]:
                try:
                    fcntl.flock(self._lock, mode | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                except OSError:  # a file system without locks
                    return self.shard_count == 1
                if mode == fcntl.LOCK_EX and self.shard_count > 1:
                    fcntl.flock(self._lock, fcntl.LOCK_SH)
                return mode == fcntl.LOCK_EX
            if time.monotonic() > patience:
                raise InputError(
                    self.output_dir, "another run is writing into it",
                    "Wait for it, choose another output_dir, or share the work by shard_index and shard_count",
                )  # fmt: skip
            time.sleep(0.2)
