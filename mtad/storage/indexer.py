"""Indexer: keeps the table `lookups` a second or so behind what is committed.

Room: storage. May import: mail.
"""

import asyncio
import sqlite3

from mtad import log as log_module
from mtad.clock import Clock
from mtad.storage import lookups
from mtad.storage.database import PROBE_S, Database
from mtad.storage.lookups import Gathered

log = log_module.get("storage")

PAUSE_S = 1.0  # between two looks: what gathers meanwhile goes in sorted, which is what makes it cheap
BUSY_PAUSE_S = 0.02  # when there is more already: the intake goes first

_FAR = 60_000 << 21  # ids of a minute


class Indexer:
    """Run `run()`. Without it searches find the same, and take longer."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until stop()."""
        while not self._stopping.is_set():
            try:
                more = await self.round()
                pause_s = BUSY_PAUSE_S if more else PAUSE_S
            except sqlite3.Error as error:
                log.error("lookups-unwritable", cause=error)
                pause_s = PROBE_S
            await self._clock.nap(self._stopping, pause_s)

    def stop(self) -> None:
        self._stopping.set()

    async def round(self) -> bool:
        """Take in one batch; True: there is more."""
        horizon = self._database.writer.horizon
        gathered = await self._database.read(lambda connection: _next(connection, horizon))
        if gathered is None:
            return False
        await self._database.writer.write(lambda connection: lookups.add(connection, gathered))
        return gathered.more


def _next(connection: sqlite3.Connection, horizon: int) -> Gathered | None:
    """None: nothing to write."""
    upto = lookups.upto(connection)
    if horizon <= upto:
        return None
    gathered = lookups.gather(connection, upto, horizon)
    # Events of older messages need no rows, but passing over them again and again would cost more and more.
    return gathered if gathered.rows or gathered.upto - upto >= _FAR else None
