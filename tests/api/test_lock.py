import asyncio
import os

import pytest

from mtad.api.lock import hold
from mtad.storage.database import StoreError
from tests.virtualclock import VirtualClock


async def test_the_second_is_told_who_holds_the_folder(tmp_path):
    async with hold(tmp_path, VirtualClock()):
        with pytest.raises(StoreError, match=rf"in use by another mtad \(process {os.getpid()}\)"):
            async with hold(tmp_path, VirtualClock(), wait_s=0.0):
                pytest.fail("two hold it")


async def test_the_second_comes_in_when_the_first_leaves_in_time(tmp_path):
    clock = VirtualClock()

    async def second():
        async with hold(tmp_path, clock, wait_s=5.0):
            return True

    async with hold(tmp_path, clock):
        waiting = asyncio.create_task(second())
        while not clock.sleepers:
            await asyncio.sleep(0)
    clock.advance(0.05)
    assert await waiting


async def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(StoreError, match="cannot use the folder"):
        async with hold(tmp_path / "none", VirtualClock()):
            pytest.fail("held")
