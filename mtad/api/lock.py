"""Lock: one process works in a data folder. The daemon holds it all its life, a command for the moment it needs.

Room: api. An flock: the kernel lets go of it when the process ends, however it ends.
"""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mtad.clock import Clock
from mtad.storage.database import StoreError

_FILE = "lock"
_POLL_S = 0.05


@asynccontextmanager
async def hold(folder: Path, clock: Clock, wait_s: float = 5.0) -> AsyncIterator[None]:
    """Raises StoreError when another process still holds it after `wait_s`, or the folder is not ours."""
    path = folder / _FILE
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use the folder {folder}: {error.strerror or error}") from None
    try:
        until = clock.steady() + wait_s
        while not _taken(file):
            if clock.steady() >= until:
                raise StoreError(f"the store in {folder} is in use by another mtad{_owner(file)}")
            await clock.sleep(_POLL_S)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: int) -> str:
    number = os.pread(file, 20, 0).strip()
    return f" (process {int(number)})" if number.isdigit() else ""
