"""Begun: which leased recipients have had their attempt begun, so that after a crash no others may have got two copies.

Room: storage. May import: mail. The lease is the durable record of an attempt, and stands before it begins. Many are
leased that still wait in memory for their turn; this file tells them apart. It is written and not synced, which costs
next to nothing: what was written outlives the process, and only with the machine it may be lost. So it counts only on
the boot it was written on, and for the run of the daemon that the store names; else every lease counts as begun.
"""

import contextlib
import os
import secrets
import sqlite3
import struct
from collections.abc import Iterable
from pathlib import Path

from mtad import log as log_module
from mtad.storage import settings

log = log_module.get("storage")

LARGE_OCTETS = 524_288  # it is made anew without what has been settled
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_RUN = "run"
_RUN_OCTETS, _BOOT_OCTETS = 16, 36
_RECORD = struct.Struct("<qq")  # recipient, attempt

Attempt = tuple[int, int]  # recipient id, number of the attempt


def leased(connection: sqlite3.Connection) -> list[Attempt]:
    return list(connection.execute("SELECT id, attempts FROM recipients WHERE state = 1"))


class Begun:
    """load(), then, once no lease of the run before is left, begin(); note() before each attempt."""

    def __init__(self, folder: Path, boot: Path = _BOOT) -> None:
        self._path, self._boot = folder / "begun", boot
        self._file: int | None = None
        self._run, self._octets = b"", 0
        self._since: list[bytes] | None = None  # records noted while the file is made anew

    def load(self, connection: sqlite3.Connection) -> set[Attempt] | None:
        """What the run before had begun; None: nobody can say."""
        try:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())  # raises if some of it could not be written back
                octets = file.read()
        except OSError:
            return None
        head = (settings.get(connection, _RUN) or b"") + self._boot_id()
        if len(head) != _RUN_OCTETS + _BOOT_OCTETS or not octets.startswith(head):
            return None
        records = octets[len(head) :]
        return set(_RECORD.iter_unpack(records[: len(records) // _RECORD.size * _RECORD.size]))

    def begin(self, connection: sqlite3.Connection) -> None:
        """A run of ours: in a transaction of the writer. Where the boot cannot be told nothing is noted."""
        self.close()
        self._run = secrets.token_bytes(_RUN_OCTETS)
        settings.put(connection, _RUN, self._run)
        if len(self._boot_id()) == _BOOT_OCTETS:
            try:
                self._replace(())
            except OSError as error:  # the one that is there names another run
                log.warning("begun-not-noted", cause=error)

    def note(self, attempts: Iterable[Attempt]) -> None:
        """They begin now. Raises OSError when that can be neither written nor be made to count for nothing."""
        if self._file is None:
            return
        octets = b"".join([_RECORD.pack(*one) for one in attempts])
        try:
            written = os.write(self._file, octets)
            if written != len(octets):
                raise OSError(f"{written} of {len(octets)} octets were written")
        except OSError as error:  # a full disk: the file does not tell all any more
            log.warning("begun-not-noted", cause=error)
            self._path.unlink(missing_ok=True)
            self.close()
            return
        self._octets += len(octets)
        if self._since is not None:
            self._since.append(octets)

    @property
    def is_large(self) -> bool:
        return self._file is not None and self._octets > LARGE_OCTETS

    def shrink(self) -> None:
        """To be called before the leases are read that shrunk() is given."""
        self._since = []

    def shrunk(self, now_leased: Iterable[Attempt]) -> None:
        """Make the file anew. now_leased: as the store has them, read since shrink()."""
        since, self._since = self._since or [], None
        if self._file is None:
            return
        known = self._path.read_bytes()[_RUN_OCTETS + _BOOT_OCTETS :]
        kept = set(now_leased).intersection(_RECORD.iter_unpack(known[: len(known) // _RECORD.size * _RECORD.size]))
        self._replace([*(_RECORD.pack(*one) for one in kept), *since])

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _replace(self, records: Iterable[bytes]) -> None:
        octets, fresh = b"".join((self._run, self._boot_id(), *records)), self._path.with_suffix(".new")
        with contextlib.ExitStack() as undo:
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o640)
            undo.callback(os.close, file)
            if os.write(file, octets) != len(octets):
                raise OSError("no room for the list of attempts that have begun")
            os.replace(fresh, self._path)
            undo.pop_all()
        self.close()
        self._file, self._octets = file, len(octets)

    def _boot_id(self) -> bytes:
        try:
            return self._boot.read_bytes().strip()
        except OSError:
            return b""
