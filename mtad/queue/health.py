"""Health: whether mail can be taken and sent at present, and the words for when not.

Room: queue. May import: mail, storage.
"""

import os
from collections.abc import Callable
from pathlib import Path

from mtad.mail.reply import Reply
from mtad.storage.database import Writer

MAX_BACKLOG = 5000  # intents that wait for the writer: more means the disk does not keep up
_STORE = Reply(451, "3.0", "The message store has a problem; try again later")
_DISK = Reply(452, "3.1", "Not enough disk space here; try again later")
_BUSY = Reply(451, "3.2", "Too much mail at once; try again in a minute")


class Health:
    """look() once a second or so; the rest answers from memory."""

    def __init__(self, folder: Path, writer: Writer, min_free_octets: int, free: Callable[[Path], int] | None = None):
        self._folder, self._writer, self._min_free = folder, writer, min_free_octets
        self._free = free or free_octets
        self.free = self._free(folder)
        self.lag_s = 0.0

    def look(self) -> None:
        self.free = self._free(self._folder)

    @property
    def disk_low(self) -> bool:
        return self.free < self._min_free

    @property
    def disk(self) -> tuple[int, int]:
        return self.free, self._min_free

    def unwell(self) -> str | None:
        """Why no delivery may begin."""
        if self._writer.failure is not None:
            return f"the message store has a problem: {self._writer.failure}"
        if self.disk_low:
            return f"the disk is nearly full: {self.free} octets are free, {self._min_free} are needed"
        return None

    def gate(self, size: int) -> Reply | None:
        """What to tell a client with a message of `size` octets; None: come in."""
        if self._writer.failure is not None:
            return _STORE
        if self.free - size < self._min_free:
            return _DISK
        return _BUSY if self._writer.backlog > MAX_BACKLOG else None


def free_octets(folder: Path) -> int:
    """What an ordinary user may still write there."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize
