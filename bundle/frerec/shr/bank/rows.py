"""Rows of a mapped tensor that are compared with the hashes of their file's blocks before they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frerec.errors import InputError

#: Bytes a block: small enough that reading single rows of a large file stays cheap.
BLOCK = 1 << 16


class BlockCheck:
    """Compares blocks of a file's data with their hashes, each once.

    Args:
        path: the file, for the error.
        data: uint8 (n,), mapped.
        digests: uint8 (blocks, 32), SHA-256 of each :data:`BLOCK` bytes of it.
        remedy: what to do about damage, for the error.
    """

    def __init__(self, path: Path, data: npt.NDArray[Any], digests: npt.NDArray[Any], remedy: str) -> None:
        self._path, self._data, self._digests, self._remedy = path, data, digests, remedy
        self._known = np.zeros(len(digests), dtype=bool)

    def __call__(self, start: int, end: int) -> None:
        """Compare what was not compared yet of the bytes ``start`` to ``end``.

        Raises:
            InputError: a block differs from its hash.
        """
        first, last = start // BLOCK, -(-end // BLOCK)
        for block in first + np.flatnonzero(~self._known[first:last]):
            content = self._data[block * BLOCK : (block + 1) * BLOCK]
            if hashlib.sha256(content.data).digest() != self._digests[block].tobytes():
                reason = f"is damaged: bytes {block * BLOCK} to {block * BLOCK + len(content)} of its data do not match"
                raise InputError(self._path, f"{reason} their checksum", self._remedy)
            self._known[block] = True


class CheckedRows:
    """A mapped array whose rows are compared with their block hashes before they are handed out.

    Indexing works as with numpy along the first axis; ``numpy.asarray`` reads it all.

    Args:
        array: (N, ...), mapped.
        start: where its first byte lies in the data that ``check`` knows.
        check: compares bytes.
    """

    def __init__(self, array: npt.NDArray[Any], start: int, check: BlockCheck) -> None:
        self._array, self._start, self._check = array, start, check
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        whole = np.asarray(self[:], dtype=dtype)
        return whole.copy() if copy else whole

    def tolist(self) -> list[Any]:
        """All of it as nested lists, as ``numpy.ndarray.tolist``."""
        return np.asarray(self).tolist()

    def __getitem__(self, key: Any) -> Any:
        rows = key[0] if isinstance(key, tuple) else key
        size = self.nbytes // max(len(self), 1)
        if isinstance(rows, slice):
            low, high, step = rows.indices(len(self))
            spans = [(low, high)] if step == 1 else [(0, len(self))]
        elif isinstance(rows, (int, np.integer)):
            spans = [(int(rows) % max(len(self), 1), int(rows) % max(len(self), 1) + 1)]
        elif isinstance(rows, (list, np.ndarray)) and np.asarray(rows).dtype.kind in "iu":
            spans = [(row, row + 1) for row in np.unique(np.asarray(rows) % max(len(self), 1)).tolist()]
        else:  # an ellipsis, a mask: all of it
            spans = [(0, len(self))]
        for low, high in spans:
            if high > low:
                self._check(self._start + low * size, self._start + high * size)
        return self._array[key]


#: A tensor of a bank: in memory, or mapped from a file.
Rows = npt.NDArray[Any] | CheckedRows
