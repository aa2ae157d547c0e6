"""The file a reference bank lives in: safetensors, memory-mapped, with checksums over header and data.

The layout is that of the safetensors format (8 bytes of header length, a JSON header, the tensors without gaps),
so any safetensors library can read it. The library itself wants every tensor in memory to write a file and
copies what it reads; a bank with pixels can be larger than memory, so here reading maps and writing streams.

The last tensor holds the SHA-256 of each block of 64 kB of the others, and the header's checksum covers the header and
that table. So opening a file reads two small pieces whatever its size, and each block is compared when something in it
is read for the first time. Files of format version 1 have no such table; they are read as a whole when opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError
from frerec.shr.bank.rows import BLOCK, BlockCheck, CheckedRows, Rows

_DTYPES = {"F32": "<f4", "F16": "<f2", "U8": "|u1", "U16": "<u2", "I32": "<i4", "I64": "<i8"}
_NAMES = {np.dtype(v): k for k, v in _DTYPES.items()}
_CHECKSUM = "sha256"
_TABLE = "block_sha256"
_BLANK = "0" * 64
_CHUNK = 1 << 22
_HEADER_LIMIT = 1 << 20
_REBUILD = "Copy the file again, or build the bank anew with configs/build_bank.json"

#: Tensors by name, each as parts that follow one another along the first axis.
Parts = Mapping[str, Sequence[Rows]]


def write_tensors(path: str | os.PathLike[str], tensors: Parts, metadata: Mapping[str, str]) -> str:
    """Write tensors to a safetensors file; it appears whole or not at all.

    Args:
        path: the file; an existing one is replaced.
        tensors: name to the parts of a tensor along its first axis.
        metadata: text by name; a ``sha256`` of header and block hashes is added.

    Returns:
        The checksum, hexadecimal.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    tensors = _ordered(tensors)
    table = _block_table(tensors)
    header = _header(tensors, table, metadata)
    checksum = _checksum(header, table)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(len(header).to_bytes(8, "little"))
            file.write(header.replace(_BLANK.encode(), checksum.encode(), 1))
            for parts in tensors.values():
                for chunk in _chunks(parts):
                    file.write(chunk)
            file.write(table)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise InputError(path, f"cannot be written ({error.strerror})", "Choose another bank_path") from error
    return checksum


def tensors_checksum(tensors: Parts, metadata: Mapping[str, str]) -> str:
    """The checksum :func:`write_tensors` would give the file.

    SHA-256 of the header, with zeros in place of the checksum itself, and of the block hashes, so that a changed header
    is noticed as well as changed data.
    """
    tensors = _ordered(tensors)
    table = _block_table(tensors)
    return _checksum(_header(tensors, table, metadata), table)


def map_tensors(path: str | os.PathLike[str], verify: bool = True) -> tuple[dict[str, Rows], dict[str, str]]:
    """Map the tensors of a file into memory, read-only, without copying or unpickling anything.

    Args:
        path: the file.
        verify: compare the checksum of header and block hashes, and in a file without such hashes, that of it all.

    Returns:
        ``(tensors, metadata)``; metadata with ``sha256``. A tensor that block hashes cover is compared with them where
        it is read, and raises InputError then.

    Raises:
        InputError: the file is missing, truncated, no safetensors file, or differs from its checksum.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            raw = file.read(length) if length <= _HEADER_LIMIT else b""
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "Check bank_path") from error
    try:
        entries = json.loads(raw)
        metadata = dict(entries.pop("__metadata__"))
        layout = {name: _Extent.from_entry(entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(path, "is not a reference bank (no safetensors header)", "Check bank_path") from error
    data = 8 + length
    expected = data + max((extent.end for extent in layout.values()), default=0)
    if size != expected or not all(extent.consistent for extent in layout.values()):
        raise InputError(path, f"is truncated or damaged: {size} bytes where its header says {expected}", _REBUILD)
    table = layout.pop(_TABLE, None)
    if verify:
        _verify(path, raw, data + (table.start if table else 0), str(metadata.get(_CHECKSUM)))
    maps = {name: extent.map(path, data) for name, extent in layout.items()}
    if table is None:
        return dict(maps), metadata
    covered = _Extent(np.dtype(np.uint8), (table.start,), 0, table.start)
    if table.shape != (-(-table.start // BLOCK), hashlib.sha256().digest_size) or table.dtype != np.uint8:
        raise InputError(path, "is damaged: its block hashes do not cover its data", _REBUILD)
    check = BlockCheck(path, covered.map(path, data), np.array(table.map(path, data)), _REBUILD)
    return {name: CheckedRows(maps[name], extent.start, check) for name, extent in layout.items()}, metadata


class _Extent(NamedTuple):
    """Where a tensor lies in the data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> _Extent:
        start, end = (int(offset) for offset in entry["data_offsets"])
        return cls(np.dtype(_DTYPES[entry["dtype"]]), tuple(int(n) for n in entry["shape"]), start, end)

    @property
    def consistent(self) -> bool:
        return self.start >= 0 and self.end - self.start == math.prod(self.shape) * self.dtype.itemsize

    def map(self, path: Path, data: int) -> npt.NDArray[Any]:
        if self.end == self.start:  # what is empty cannot be mapped
            return np.zeros(self.shape, self.dtype)
        return np.memmap(path, self.dtype, "r", data + self.start, self.shape)


def _verify(path: Path, raw_header: bytes, start: int, checksum: str) -> None:
    state = hashlib.sha256(raw_header.replace(checksum.encode(), _BLANK.encode(), 1))
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    if state.hexdigest() != checksum:
        raise InputError(
            path,
            f"its content does not match its checksum (says {checksum[:12]}, is {state.hexdigest()[:12]})",
            _REBUILD,
        )


def _ordered(tensors: Parts) -> dict[str, Sequence[Rows]]:
    # wide elements first, so that every tensor starts aligned
    return dict(sorted(tensors.items(), key=lambda item: (-item[1][0].dtype.itemsize, item[0])))


def _checksum(header: bytes, table: bytes) -> str:
    return hashlib.sha256(header + table).hexdigest()


def _block_table(tensors: Parts) -> bytes:
    digests, state, missing = [], hashlib.sha256(), BLOCK
    for parts in tensors.values():
        for chunk in _chunks(parts):
            while len(chunk) >= missing:
                state.update(chunk[:missing])
                digests.append(state.digest())
                chunk, state, missing = chunk[missing:], hashlib.sha256(), BLOCK
            state.update(chunk)
            missing -= len(chunk)
    if missing < BLOCK:
        digests.append(state.digest())
    return b"".join(digests)


def _header(tensors: Parts, table: bytes, metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {_CHECKSUM: _BLANK, **metadata}}
    offset = 0
    for name, parts in tensors.items():
        size = sum(part.nbytes for part in parts)
        entries[name] = {
            "dtype": _NAMES[parts[0].dtype.newbyteorder("<")],
            "shape": [sum(len(part) for part in parts), *parts[0].shape[1:]],
            "data_offsets": [offset, offset + size],
        }
        offset += size
    width = hashlib.sha256().digest_size
    entries[_TABLE] = {
        "dtype": "U8",
        "shape": [len(table) // width, width],
        "data_offsets": [offset, offset + len(table)],
    }
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _chunks(parts: Sequence[Rows]) -> Iterator[memoryview]:
    for part in parts:
        rows = max(1, _CHUNK // max(1, part[:1].nbytes))
        for first in range(0, len(part), rows):
            yield np.ascontiguousarray(part[first : first + rows]).data.cast("B")
