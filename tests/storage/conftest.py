"""An open store for each test; its writer runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtad.storage.database import Database, open_database
from tests.virtualclock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def idle(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Database]:
    """A store whose writer does not run yet."""
    async with open_database(tmp_path, clock, cache_octets=1_000_000, readers=1) as database:
        yield database


@pytest.fixture
async def database(idle: Database) -> AsyncIterator[Database]:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(idle.writer.run())
        try:
            yield idle
        finally:
            idle.writer.stop()
