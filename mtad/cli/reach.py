"""Reach: a desk for a command's questions: the running daemon's, or the store itself when no daemon runs.

Room: cli. The daemon holds the folder's lock all its life, so the two never write to one store together.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from mtad.api.base import Impossible
from mtad.api.control import Desk, Direct, NotRunning, reach
from mtad.api.lock import hold
from mtad.api.operations import Operations
from mtad.cli.place import Place
from mtad.clock import Clock
from mtad.mail.ids import IdSource
from mtad.storage import journal
from mtad.storage.database import Database, open_database
from mtad.storage.outgoing import Outgoing
from mtad.storage.spool import Spool

_CACHE_OCTETS = 4_194_304


@asynccontextmanager
async def open_desk(place: Place, clock: Clock, *, create: bool = False) -> AsyncIterator[Desk]:
    """create: an empty store may be made in a folder that has none. Raises Impossible or StoreError."""
    async with AsyncExitStack() as stack:
        try:
            desk: Desk = await stack.enter_async_context(reach(place.folder))
        except NotRunning:
            desk = await stack.enter_async_context(_store_desk(place, clock, create))
        yield desk


@asynccontextmanager
async def _store_desk(place: Place, clock: Clock, create: bool) -> AsyncIterator[Desk]:
    folder = place.folder
    _must_exist(folder, create)
    with _as_owner(folder):
        async with (
            hold(folder, clock),
            open_database(folder, clock, cache_octets=_CACHE_OCTETS, readers=1) as database,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(database.writer.run(), name="writer")
            try:
                yield Direct(await _operations(place, database, clock))
            finally:
                database.writer.stop()


async def _operations(place: Place, database: Database, clock: Clock) -> Operations:
    async def changed() -> None:
        """Nobody else has anything in memory."""

    config = place.config
    return Operations(
        database=database,
        # The spool's files are not touched here: what is not needed any more goes at the daemon's next sweep.
        outgoing=Outgoing(Spool(place.folder / "spool"), config.store.inline_octets),
        ids=IdSource(clock.now, floor=await database.read(journal.newest_id)),
        clock=clock,
        runner=None,
        changed=changed,
        hostname=config.server.hostname or socket.getfqdn(),
        sources=config.delivery.sources,
        pools=config.delivery.pools if place.told else None,
    )


def _must_exist(folder: Path, create: bool) -> None:
    try:
        if not folder.is_dir():
            raise Impossible(f"no daemon is running, and there is no folder {folder}")
        if not create and not (folder / "mtad.sqlite").exists():
            raise Impossible(f"no daemon is running, and there is no store in {folder}")
    except PermissionError:
        raise Impossible(f"{folder} may not be read: run this as its owner, or as root") from None


@contextmanager
def _as_owner(folder: Path) -> Iterator[None]:
    """Root works as the folder's owner: a file of root's would keep the daemon from its own store."""
    about = folder.stat()
    if os.geteuid() != 0 or about.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(about.st_gid)
    os.seteuid(about.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
