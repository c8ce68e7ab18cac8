"""The writer when something goes wrong in a batch: what is bad fails alone, and what is good is on disk."""

import asyncio
import sqlite3

import pytest

from mtad.storage import upkeep
from mtad.storage.database import insert_rows
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.spool import Spool
from tests.storage.mail import accept, settled

TABLE = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"
FULL = sqlite3.OperationalError("database or disk is full")


def put_notes(connection, items):
    insert_rows(connection, "INSERT INTO notes (id, text) VALUES ", 2, items)


def notes(connection):
    return [row[0] for row in connection.execute("SELECT id FROM notes ORDER BY id")]


@pytest.fixture
async def writer(idle):
    """With a table of notes. It does not run yet, so a test can fill one batch."""
    await_table = idle.writer.write(lambda connection: connection.execute(TABLE) and None)
    running = asyncio.create_task(idle.writer.run())
    await await_table
    yield idle.writer
    idle.writer.stop()
    async with asyncio.timeout(5):
        await running


async def outcomes(*futures):
    return [type(one) if one is not None else None for one in await asyncio.gather(*futures, return_exceptions=True)]


@pytest.mark.parametrize(
    "bad",
    [
        (2, None),  # no text
        (1, "twice"),
        (1 << 70, "no number of SQLite's"),
        (2, "\ud800"),
        (2, object()),
    ],
)
async def test_a_bad_intent_fails_alone_whatever_is_wrong_with_it(idle, writer, bad):
    first, second = writer.lane(put_notes), writer.lane(put_notes)
    before = writer.commits
    found = await outcomes(
        first.put((1, "a")),
        first.put(bad),
        first.put((3, "c")),
        second.put((4, "d")),
        writer.write(lambda connection: put_notes(connection, [(5, "e")])),
    )
    assert [one is None for one in found] == [True, False, True, True, True]
    assert await idle.read(notes) == [1, 3, 4, 5]
    assert writer.failure is None
    assert writer.commits - before == 1  # and not one for each
    await second.put((6, "f"))  # and it goes on


async def test_bad_ones_in_several_lanes_and_a_bad_single_take_nobody_with_them(idle, writer):
    def half(connection):
        put_notes(connection, [(50, "gone")])
        raise ValueError("no")

    lanes = [writer.lane(put_notes) for _ in range(3)]
    futures = [lane.put((n * 10 + m, None if m == n else "x")) for n, lane in enumerate(lanes) for m in range(3)]
    found = await outcomes(*futures, writer.write(half), writer.write(lambda connection: 7))
    assert [one is not None for one in found] == [n == m for n in range(3) for m in range(3)] + [True, True]
    assert found[-2:] == [ValueError, int]
    assert await idle.read(notes) == [1, 2, 10, 12, 20, 21]


async def test_one_bad_among_a_thousand_costs_one_commit_more(writer, idle):
    lane = writer.lane(put_notes)
    before = writer.commits
    found = await outcomes(*[lane.put((n, "x" if n != 500 else None)) for n in range(1000)])
    assert found.count(None) == 999
    assert writer.commits - before == 1
    assert writer.intents == 999


async def test_a_told_intent_that_can_never_be_written_is_let_go_and_blocks_nobody(idle, writer):
    lane = writer.lane(put_notes)
    lane.tell((1, None))
    lane.tell((2, "x"))
    await lane.put((3, "x"))
    assert await idle.read(notes) == [2, 3]
    assert (writer.backlog, writer.failure) == (0, None)


async def test_told_intents_that_had_to_wait_keep_their_order(idle, writer, monkeypatch):
    monkeypatch.setattr("mtad.storage.database.PROBE_S", 0.01)
    full, applied = True, []

    def apply(connection, items):
        if full:
            raise FULL
        applied.extend(items)

    lane = writer.lane(apply)
    for n in range(3):
        lane.tell(n)
    while writer.failure is None:
        await asyncio.sleep(0)
    lane.tell(3)
    full = False
    await lane.put(4)
    assert applied == [0, 1, 2, 3, 4]


async def test_a_disk_that_fails_under_the_spool_is_a_refusal_and_no_end_of_the_writer(
    idle, writer, tmp_path, monkeypatch
):
    """The spool's own errors are the operating system's, not SQLite's."""
    spool = Spool(tmp_path / "spool")
    await writer.write(spool.open)
    outgoing = Outgoing(spool, 100)
    lane, settle = writer.lane(outgoing.accept), writer.lane(outgoing.settle)
    await lane.put(accept(500_000, state=State.LEASED))

    def full(*_):
        raise OSError(28, "No space left on device")

    large = b"Subject: large\r\n\r\n" + b"x" * 500 + b"\r\n"
    with monkeypatch.context() as patch:
        patch.setattr("mtad.storage.spool._write_all", full)
        settle.tell(settled(500_001))
        found = await outcomes(lane.put(accept(1_000_000, content=large)), lane.put(accept(2_000_000)))
    assert found == [OSError, None]
    assert writer.failure is None  # the small one was taken
    counts = (await idle.read(upkeep.check)).counts
    assert (counts.accepted, counts.delivered) == (2, 1)
    await lane.put(accept(3_000_000, content=large))
    assert (await idle.read(upkeep.check)).faults == ()
    spool.close()


async def test_a_store_where_nothing_can_be_written_is_unwell_until_something_can(idle, writer):
    broken = True

    def apply(connection, items):
        if broken:
            raise OSError(5, "Input/output error")
        put_notes(connection, items)

    lane = writer.lane(apply)
    assert await outcomes(lane.put((1, "x"))) == [OSError]
    assert "Input/output error" in writer.failure
    broken = False
    await lane.put((2, "x"))
    assert writer.failure is None
    assert await idle.read(notes) == [2]


async def test_a_bad_intent_alone_in_its_batch_is_no_illness_of_the_store(writer):
    lane = writer.lane(put_notes)
    assert await outcomes(lane.put((1, None))) == [sqlite3.IntegrityError]
    assert writer.failure is None


async def test_a_writer_that_is_stopped_does_not_wait_for_a_store_that_fails(idle):
    def apply(connection, items):
        raise FULL

    lane = idle.writer.lane(apply)
    lane.tell(1)
    idle.writer.stop()
    async with asyncio.timeout(5):
        await idle.writer.run()
    assert idle.writer.backlog == 1


async def test_whoever_waits_for_commits_hears_of_one_that_was_made_apart(writer):
    heard = []
    writer.on_commit = lambda: heard.append(1)
    lane = writer.lane(put_notes)
    await outcomes(lane.put((1, "x")), lane.put((2, None)))
    assert len(heard) == 1
