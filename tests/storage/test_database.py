import asyncio
import sqlite3

import pytest

from mtad.storage.database import StoreError, insert_rows, migrations, open_database

TABLE = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"


def put_notes(connection, items):
    insert_rows(connection, "INSERT INTO notes (id, text) VALUES ", 2, items)


def notes(connection):
    return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY id")]


async def running(database):
    return asyncio.create_task(database.writer.run())


async def end(database, task):
    database.writer.stop()
    await task


async def test_many_intents_share_few_commits(idle):
    lane = idle.writer.lane(put_notes)
    made = idle.writer.write(lambda connection: connection.execute(TABLE) and None)
    task = await running(idle)
    await made
    before = idle.writer.commits
    await asyncio.gather(*[lane.put((n, "x")) for n in range(700)])
    assert idle.writer.commits - before <= 3
    assert idle.writer.intents == 700
    assert await idle.read(notes) == list(range(700))
    await end(idle, task)


async def test_an_intent_is_on_disk_when_its_future_is_done(idle):
    lane = idle.writer.lane(put_notes)
    task = await running(idle)
    await idle.writer.write(lambda connection: connection.execute(TABLE) and None)
    await lane.put((1, "x"))
    other = sqlite3.connect(idle.path)
    try:
        assert notes(other) == [1]
    finally:
        other.close()
    await end(idle, task)


async def test_one_bad_intent_fails_alone(idle):
    lane = idle.writer.lane(put_notes)
    task = await running(idle)
    await idle.writer.write(lambda connection: connection.execute(TABLE) and None)
    results = await asyncio.gather(*[lane.put(n) for n in ((1, "a"), (2, None), (3, "c"))], return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert results[2] is None
    assert await idle.read(notes) == [1, 3]
    assert idle.writer.failure is None
    await end(idle, task)


async def test_a_single_work_that_raises_is_rolled_back_alone(idle):
    task = await running(idle)
    await idle.writer.write(lambda connection: connection.execute(TABLE) and None)

    def half(connection):
        put_notes(connection, [(1, "gone")])
        raise ValueError("no")

    bad, good = idle.writer.write(half), idle.writer.write(lambda connection: put_notes(connection, [(2, "kept")]))
    with pytest.raises(ValueError, match="no"):
        await bad
    await good
    assert await idle.read(notes) == [2]
    await end(idle, task)


async def test_a_told_intent_outlives_a_failing_store_and_the_store_recovers(idle, monkeypatch):
    monkeypatch.setattr("mtad.storage.database.PROBE_S", 0.01)
    full = True

    def apply(connection, items):
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        put_notes(connection, items)

    lane = idle.writer.lane(apply)
    task = await running(idle)
    await idle.writer.write(lambda connection: connection.execute(TABLE) and None)
    lane.tell((7, "fact"))
    with pytest.raises(sqlite3.OperationalError):
        await lane.put((8, "wish"))
    assert idle.writer.failure == "database or disk is full"
    full = False
    async with asyncio.timeout(5):
        while idle.writer.failure is not None:
            await asyncio.sleep(0.005)
    assert await idle.read(notes) == [7]
    await end(idle, task)


async def test_what_is_left_is_committed_after_stop(idle):
    lane = idle.writer.lane(put_notes, patient=True)
    made = idle.writer.write(lambda connection: connection.execute(TABLE) and None)
    task = await running(idle)
    await made
    lane.tell((1, "late"))
    idle.writer.stop()
    await task
    assert await idle.read(notes) == [1]


async def test_a_reader_cannot_write(idle):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await idle.read(lambda connection: connection.execute("DELETE FROM sites"))


async def test_an_empty_folder_becomes_a_store_of_the_newest_schema(idle):
    [version] = await idle.read(lambda connection: connection.execute("PRAGMA user_version").fetchone())
    assert version == migrations()[-1][0] > 0
    [mode] = await idle.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone())
    assert mode == "wal"


async def test_the_writer_syncs_every_commit(idle):
    task = await running(idle)
    value = await idle.writer.write(lambda connection: connection.execute("PRAGMA synchronous").fetchone()[0])
    assert value == 2  # FULL
    await end(idle, task)


async def test_a_store_of_a_newer_mtad_is_refused(tmp_path, clock):
    connection = sqlite3.connect(tmp_path / "mtad.sqlite")
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(StoreError, match="newer mtad"):
        async with open_database(tmp_path, clock, cache_octets=1_000_000):
            pass


async def test_a_file_that_is_no_store_is_refused_with_one_sentence(tmp_path, clock):
    (tmp_path / "mtad.sqlite").write_bytes(b"This is no database. " * 100)
    with pytest.raises(StoreError, match="cannot open the store"):
        async with open_database(tmp_path, clock, cache_octets=1_000_000):
            pass


@pytest.mark.parametrize("count", [0, 1, 3, 4, 255, 256, 257, 600])
def test_every_row_is_inserted_once_whatever_their_number(count):
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(TABLE)
        put_notes(connection, [(n, "x") for n in range(count)])
        assert notes(connection) == list(range(count))
    finally:
        connection.close()
