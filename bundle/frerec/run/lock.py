"""Locks on an output folder and on a shard's manifest, by which runs learn of each other."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from frerec.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock; two runs into one folder go unnoticed there
    fcntl = None  # type: ignore[assignment]

_PATIENCE_S = 15.0


class RunLock:
    """A lock on a folder or file that the system takes back when its holder dies.

    Holders on other machines are seen only where the file system says so, which NFS does not for folders. So it
    guards against mistakes, and nothing that would lose data may rest on it alone.

    Args:
        path: the folder or file, which must exist once the lock is taken.
        remedy: what to do where another run holds it.
    """

    def __init__(self, path: str | os.PathLike[str], remedy: str) -> None:
        self.path, self.remedy = Path(path), remedy
        self._descriptor: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        # the lock stays with the process that took it
        return {**self.__dict__, "_descriptor": None}

    def take(self, shared: bool) -> None:
        """Take the lock.

        Args:
            shared: together with others that share it; else alone.

        Raises:
            InputError: another run holds it.
            OSError: it cannot be opened.
        """
        if fcntl is None:
            return
        # NFS locks only what may be written to
        self._descriptor = os.open(self.path, os.O_RDONLY if self.path.is_dir() else os.O_RDWR)
        # loader workers of a killed run hold its lock until they notice, some seconds later
        patience = time.monotonic() + _PATIENCE_S
        while not self._try(fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > patience:
                self.release()
                raise InputError(self.path, "another run is writing into it", self.remedy)
            time.sleep(0.2)

    def take_alone(self) -> bool:
        """Make a shared lock one's own, where nobody else has a part in it; else it is gone.

        Of several holders that leave by this way, the last one gets it: the system lets go of the part of each one
        before it looks at the others'.

        Returns:
            Whether nobody else holds the lock; also where there are no locks.
        """
        return self._descriptor is None or self._try(fcntl.LOCK_EX)

    def release(self) -> None:
        """Let go of the lock, also on behalf of loader workers that still live."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            except OSError:
                pass  # a file system without locks
            finally:
                os.close(descriptor)

    def _try(self, mode: int) -> bool:
        try:
            fcntl.flock(self._descriptor, mode | fcntl.LOCK_NB)  # type: ignore[arg-type]
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True
