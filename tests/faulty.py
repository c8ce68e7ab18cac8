"""mtad with faults that a test switches on and off while it runs:

    python -m tests.faulty FOLDER dev --data …

A fault is on while there is a file of its name in FOLDER. They are made by wrapping what the product calls, from
outside; it knows nothing of them.

commit  SQLite fails in each commit, with everything written and before it is synced
read    SQLite fails in each read
spool   the disk has no room for a spool file
full    the file system says that nothing is free
clock   the file says how many seconds the time of day is wrong
"""

import errno
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from mtad.__main__ import main
from mtad.clock import SystemClock
from mtad.queue import health
from mtad.storage import database
from tests.flows.application import NameServer
from tests.flows.inland import Inland
from tests.live import wait_until

LOOK_S = 0.02


class Switches:
    """What is on, as of LOOK_S ago at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.on: dict[str, str] = {}
        self._look()
        threading.Thread(target=self._watch, daemon=True).start()

    def _look(self) -> None:
        self.on = {path.name: path.read_text() for path in self._folder.iterdir() if not path.name.startswith(".")}
        (self._folder / ".seen").write_text(" ".join(sorted(f"{name}={text}" for name, text in self.on.items())))

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_S)
            try:
                self._look()
            except FileNotFoundError:
                continue


def fail(switches: Switches, name: str, error: Callable[[], Exception], owner: Any, function: str) -> None:
    """owner.function raises error() while the switch is on."""
    inner = getattr(owner, function)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if name in switches.on:
            raise error()
        return inner(*arguments, **named)

    setattr(owner, function, wrapped)


class FailingCommit(sqlite3.Connection):
    """Of what is written alone: the transactions of readers change nothing."""

    switches: Switches
    writes = False

    def execute(self, sql: str, *arguments: Any) -> Any:
        self.writes |= sql == "BEGIN IMMEDIATE"
        if self.writes and sql == "COMMIT" and "commit" in self.switches.on:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


def install(switches: Switches) -> None:
    FailingCommit.switches = switches

    async def connect(path: Path) -> Any:
        return await aiosqlite.connect(path, isolation_level=None, cached_statements=512, factory=FailingCommit)

    database._connect = connect
    inner_read = database.Database.read

    async def read(self: Any, work: Any) -> Any:
        def failing(connection: sqlite3.Connection) -> Any:
            if "read" in switches.on:
                raise sqlite3.OperationalError("disk I/O error")
            return work(connection)

        return await inner_read(self, failing)

    database.Database.read = read  # type: ignore[method-assign]
    fail(switches, "spool", lambda: OSError(errno.ENOSPC, "No space left on device"), os, "pwritev")
    free = health.free_octets
    health.free_octets = lambda folder: 0 if "full" in switches.on else free(folder)
    SystemClock.now = staticmethod(lambda: time.time() + float(switches.on.get("clock") or 0))  # type: ignore[method-assign]


class Faulty(Inland):
    """A daemon with switches."""

    def __init__(self, folder: Path, names: NameServer, *settings: str, relay: str = "") -> None:
        super().__init__(folder, names, *settings, relay=relay)
        self.switches = folder / "switches"
        self.switches.mkdir()

    def start(self, *program: str) -> None:
        super().start(*(program or ("-m", "tests.faulty", str(self.switches))))

    def _switch(self, change: Callable[[], object]) -> None:
        change()
        found = [path for path in self.switches.iterdir() if not path.name.startswith(".")]
        wanted = " ".join(sorted(f"{path.name}={path.read_text()}" for path in found))
        if self.process is not None:
            wait_until(lambda: (self.switches / ".seen").read_text() == wanted, what="the switches are seen")

    def set(self, name: str, text: str = "") -> None:
        self._switch(lambda: os.replace(self._written(text), self.switches / name))

    def _written(self, text: str) -> Path:
        path = self.switches / ".new"
        path.write_text(text)
        return path

    def clear(self, name: str) -> None:
        self._switch((self.switches / name).unlink)

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        self.set(name)
        try:
            yield
        finally:
            self.clear(name)


def run(arguments: Sequence[str]) -> None:
    folder, *rest = arguments
    install(Switches(Path(folder)))
    sys.argv = ["mtad", *rest]
    main()


def copy_of(daemon: Faulty, name: str) -> Path:
    """The data folder as it is now, for taking it to pieces."""
    return Path(shutil.copytree(daemon.data, daemon.folder / name, ignore=shutil.ignore_patterns("*.sock")))


if __name__ == "__main__":
    run(sys.argv[1:])
