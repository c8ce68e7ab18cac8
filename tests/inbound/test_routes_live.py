"""The routes in force, with a real store."""

import asyncio
import logging

import pytest

from mtad.inbound.routes.explain import Verdict
from mtad.inbound.routes.live import Routes
from mtad.inbound.routes.looking import Headers
from mtad.mail.address import parse_address
from mtad.message.headers import scan
from mtad.storage import routes
from mtad.storage.database import open_database
from mtad.storage.routes import RouteRow
from tests.virtualclock import VirtualClock

BOB = parse_address("bob@example.org")
SLOW = 'match_header("x-slow", "(?:a|aa)+(?!b)$")'


@pytest.fixture
async def house(tmp_path):
    """house(expression, …) -> the routes in force after these are added."""
    clock = VirtualClock()
    async with (
        open_database(tmp_path, clock, cache_octets=1_000_000, readers=1) as database,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(database.writer.run())
        live = Routes(database, clock)

        async def add(*expressions):
            for expression in expressions:
                count = await database.read(routes.count)
                row = RouteRow(count + 1, 0, "", expression, ("store()",), 0.0)
                await database.writer.write(lambda connection, row=row: routes.add(connection, row))
            await live.load()
            return live

        try:
            yield add
        finally:
            database.writer.stop()


async def test_a_change_is_in_force_once_loaded(house):
    live = await house()
    assert not live.may_take(BOB)
    await house('match_recipient("bob")')
    assert live.may_take(BOB)
    decision = await live.decide(BOB, Headers(scan(b"\r\n"), live.budget()), "m1")
    assert [one.row.number for one in decision.matched] == [1]
    [verdict] = await live.explain(BOB, scan(b"\r\n"))
    assert verdict.verdict is Verdict.MATCHED


async def test_a_row_that_cannot_be_used_is_in_the_log_and_the_rest_is_in_force(house, caplog):
    caplog.set_level(logging.INFO, "mtad")
    live = await house("nonsense", "catch_all()")
    assert len(live.table.routes) == 1
    assert "route-unusable" in caplog.text


async def test_a_runaway_pattern_is_in_the_log_with_who_brought_the_message(house, caplog):
    caplog.set_level(logging.INFO, "mtad")
    live = await house(SLOW, "catch_all()")
    headers = Headers(scan(b"X-Slow: " + b"a" * 60 + b"b\r\n\r\n"), live.budget())
    for _ in range(2):  # recipients
        decision = await live.decide(BOB, headers, "192.0.2.9")
        assert [one.row.number for one in decision.matched] == [2]
    assert caplog.text.count("route-fault") == 1
    assert "peer=192.0.2.9" in caplog.text
