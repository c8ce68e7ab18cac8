from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.storage import routes
from mtad.storage.routes import RouteRow, from_public_id, public_id

ROW = RouteRow(5, 0, "", "catch_all()", ('forward("a@example.org")', "stop()"), 1_790_000_000.5)


@pytest.fixture
def ask(database):
    async def call(work, *args):
        return await database.writer.write(lambda connection: work(connection, *args))

    return call


async def test_what_is_added_is_found_as_it_was(ask, database):
    row = replace(ROW, priority=-3, description="Größe", expression='match_recipient("\\d\n")')
    await ask(routes.add, row)
    assert await database.read(routes.routes) == [row]
    assert await ask(routes.find, 5) == row
    assert await ask(routes.find, 6) is None


async def test_routes_come_by_priority_and_then_by_creation(ask, database):
    for number, priority in ((1, 5), (2, -1), (3, 5), (4, 0)):
        await ask(routes.add, replace(ROW, number=number, priority=priority))
    assert [row.number for row in await database.read(routes.routes)] == [2, 4, 1, 3]
    total, part = await ask(routes.page, 2, 1)
    assert (total, [row.number for row in part]) == (4, [4, 1])
    assert await ask(routes.page, 0, 9) == (4, [])
    assert await ask(routes.count) == 4


async def test_all_but_number_and_time_of_creation_can_be_replaced(ask):
    await ask(routes.add, ROW)
    new = replace(ROW, priority=7, description="d", expression="catchall()", actions=("stop()",))
    assert await ask(routes.replace, replace(new, created_at=0.0))
    assert await ask(routes.find, 5) == new
    assert not await ask(routes.replace, replace(new, number=6))


async def test_a_route_is_removed_once(ask):
    await ask(routes.add, ROW)
    assert await ask(routes.remove, 5)
    assert not await ask(routes.remove, 5)


@given(st.integers(0, (1 << 63) - 1))
def test_the_public_id_is_read_back(number):
    text = public_id(number)
    assert len(text) == 24
    assert from_public_id(f" {text.upper()}") == number


@given(st.text(max_size=30) | st.text("0123456789abcdef", min_size=24, max_size=24))
def test_any_text_is_an_id_or_none(text):
    number = from_public_id(text)
    assert number is None or public_id(number) == text.strip().lower()


def test_an_id_with_a_slip_is_none():
    text = public_id(77)
    assert from_public_id(text[:15] + "f" + text[16:]) is None
