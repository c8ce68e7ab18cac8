"""Long questions have a connection of their own, and an end."""

import asyncio
import sqlite3
import threading

import pytest

from mtad.storage.database import TooLong

FOREVER = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


def never():
    return False


def names(connection):
    return [row[0] for row in connection.execute("SELECT name FROM domains")]


async def test_it_sees_what_was_committed_and_writes_nothing(database):
    await database.writer.write(
        lambda connection: connection.execute("INSERT INTO domains (name, created_at) VALUES ('a.example', 0)").rowcount
    )
    assert await database.study(names, never) == ["a.example"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.study(lambda connection: connection.execute("DELETE FROM domains").rowcount, never)


async def test_a_question_that_takes_too_long_ends_and_the_next_one_is_answered(database):
    looks = iter([False, False, False])
    with pytest.raises(TooLong):
        await database.study(lambda connection: connection.execute(FOREVER).fetchone(), lambda: next(looks, True))
    assert await database.study(names, never) == []


async def test_a_question_whose_time_went_by_in_the_line_is_not_asked(database):
    with pytest.raises(TooLong):
        await database.study(lambda connection: pytest.fail("asked"), lambda: True)


async def test_nobody_else_waits_for_it(database):
    released = threading.Event()

    def slow(connection):
        assert released.wait(10)
        return names(connection)

    long = asyncio.create_task(database.study(slow, never))
    try:
        for _ in range(4):
            assert await asyncio.wait_for(database.read(names), 5) == []
    finally:
        released.set()
    assert await long == []
