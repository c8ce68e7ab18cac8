import asyncio
import sqlite3

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.storage import lookups, search, upkeep
from mtad.storage.database import migrate
from mtad.storage.indexer import Indexer
from mtad.storage.lookups import Named
from mtad.storage.outgoing import Accept, Outgoing
from mtad.storage.record import Records, record
from mtad.storage.search import Need, Search, Wanted
from mtad.storage.spool import Spool

NOW = 1_700_000_000.0
DAY = 86_400.0
TOP = 1 << 62


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


class Time:
    """Goes on when it is told to."""

    def __init__(self):
        self.now = NOW
        self.ids = IdSource(lambda: self.now)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def outgoing(tmp_path):
    return Outgoing(Spool(tmp_path), 1000)


def message(ids, *addresses, domain=1, message_id="m@x.example", tags=()):
    number = ids.take(1 + len(addresses))
    options = orjson.dumps({"tags": tags}) if tags else None
    about = orjson.dumps({"message-id": message_id})
    row = (number, domain, "a@a.example", 1, len(addresses), 0, None, about, options, None)
    people = [
        (number + place, number, domain, 1, address, 2, 1, None, None, None, None, None)
        for place, address in enumerate(addresses, 1)
    ]
    events = [(ids.next(), 1, domain, number, one[0], None) for one in people]
    return Accept(row, b"", people, Records(events=events))


def indexed(connection, horizon):
    while True:
        gathered = lookups.gather(connection, lookups.upto(connection), horizon)
        lookups.add(connection, gathered)
        if not gathered.more:
            return


def found(connection, named, text, domain=1):
    return sorted(lookups.find(connection, [lookups.key_of(domain, named, text)], TOP, 1000))


def test_what_a_message_is_known_by_leads_to_it(connection, outgoing, time):
    one = message(time.ids, "Bob@b.example", "eve@b.example", message_id="<m@X.example>", tags=["News", "x"])
    outgoing.accept(connection, [one])
    alone = orjson.dumps({"recipient": "bob@b.example", "about": {"message-id": "m2@x.example"}})
    rejected = (time.ids.next(), int(EventType.REJECTED), 1, None, None, alone)
    record(connection, Records(events=[rejected]))
    indexed(connection, time.ids.last)
    number = one.message[0]
    assert found(connection, Named.ADDRESS, "bob@B.example") == [number + 1]
    assert found(connection, Named.MESSAGE_ID, "M@x.example") == [number]
    assert found(connection, Named.TAG, "news") == found(connection, Named.TAG, "X") == [number]
    assert found(connection, Named.ADDRESS_ALONE, "bob@b.example") == [rejected[0]]
    assert found(connection, Named.MESSAGE_ID_ALONE, "m2@x.example") == [rejected[0]]
    assert found(connection, Named.ADDRESS, "bob@b.example", domain=2) == []
    assert lookups.upto(connection) == time.ids.last


def test_nothing_beyond_the_horizon_is_taken_for_whole(connection, outgoing, time):
    first = message(time.ids, "a@b.example")
    horizon = time.ids.last
    late, later = message(time.ids, "b@b.example"), message(time.ids, "c@b.example")
    outgoing.accept(connection, [first, later])
    indexed(connection, horizon)
    assert lookups.upto(connection) == horizon
    outgoing.accept(connection, [late])
    indexed(connection, time.ids.last)
    for address in "abc":
        assert len(found(connection, Named.ADDRESS, f"{address}@b.example")) == 1


def test_batches_are_bounded_and_miss_nothing(connection, outgoing, time, monkeypatch):
    monkeypatch.setattr(lookups, "BATCH", 3)
    monkeypatch.setattr(lookups, "BATCH_RECIPIENTS", 4)
    sizes = [1, 1, 1, 1, 9, 2, 2, 1]
    for place, size in enumerate(sizes):
        accept = message(time.ids, *(f"r{n}@b.example" for n in range(size)), message_id=f"m{place}@x")
        outgoing.accept(connection, [accept])
    rounds, more = [], True
    while more:
        gathered = lookups.gather(connection, lookups.upto(connection), time.ids.last)
        lookups.add(connection, gathered)
        rounds.append(len(gathered.rows))
        more = gathered.more
    assert rounds == [6, 2, 10, 6, 2]
    assert len(found(connection, Named.ADDRESS, "r0@b.example")) == len(sizes)


def test_what_is_gone_is_forgotten_and_what_is_left_is_still_found(connection, outgoing, time):
    kept = message(time.ids, "bob@b.example", "eve@b.example")
    outgoing.accept(connection, [kept])
    for day in range(4):
        time.now = NOW + day * DAY
        outgoing.accept(connection, [message(time.ids, "bob@b.example")])
    record(connection, Records(events=[(time.ids.next(), 8, 1, kept.message[0], kept.recipients[0][0], None)]))
    indexed(connection, time.ids.last)
    assert upkeep.expire_messages(connection, NOW + 1.5 * DAY) == 2
    assert lookups.expire(connection, NOW + 1.5 * DAY) == 4
    assert lookups.expire(connection, NOW + 1.5 * DAY) == 0
    assert len(found(connection, Named.ADDRESS, "bob@b.example")) == 3
    assert len(found(connection, Named.ADDRESS, "eve@b.example")) == 1


def test_odd_rows_do_not_stop_it(connection, time):
    for about, options in ((b"{}", b"{}"), (b"", None), (b"no json", b"\xff"), (b'{"message-id": 5}', b'{"tags":[1]}')):
        number = time.ids.next()
        row = (number, 1, "", 1, 0, 0, about, options)
        connection.execute(
            "INSERT INTO messages (id, domain_id, reverse_path, size, recipients, flags, about, options)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    record(connection, Records(events=[(time.ids.next(), int(EventType.STORED), 1, None, None, b"no json")]))
    indexed(connection, time.ids.last)
    assert lookups.upto(connection) == time.ids.last


ADDRESSES = st.sampled_from(["a@x.example", "b@x.example", "C@x.example"])
TAGS = st.lists(st.sampled_from(["red", "Blue"]), unique=True, max_size=2)
MESSAGES = st.lists(st.tuples(st.lists(ADDRESSES, min_size=1, max_size=3), TAGS, st.integers(0, 3)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    messages=MESSAGES,
    share=st.floats(0, 1),
    most=st.integers(0, 12),
    descending=st.booleans(),
    address=st.none() | ADDRESSES,
    tag=st.none() | st.sampled_from(["red", "BLUE"]),
    types=st.sampled_from([search.PUBLIC, (EventType.ACCEPTED,), (EventType.OPENED, EventType.DELIVERED), ()]),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    step=st.integers(1, 5),
)
def test_a_search_finds_all_there_is_in_order_by_whatever_way(
    tmp_path_factory, messages, share, most, descending, address, tag, types, cut, step
):
    """However much is indexed and whatever counts as many, it passes over nothing that a plain look would find."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    old = search.MOST, search.SLICE
    search.MOST, search.SLICE = most, 3
    try:
        migrate(connection)
        outgoing, time = Outgoing(Spool(tmp_path_factory.getbasetemp()), 1000), Time()
        everything = []  # (id, type, address, tags)
        horizons = [0]
        for addresses, tags, opens in messages:
            accept = message(time.ids, *addresses, tags=tags)
            outgoing.accept(connection, [accept])
            everything += [(row[0], 1, one, tags) for row, one in zip(accept.records.events, addresses, strict=True)]
            for _ in range(opens):
                number, recipient = time.ids.next(), accept.recipients[0]
                record(connection, Records(events=[(number, 8, 1, accept.message[0], recipient[0], b"{}")]))
                everything.append((number, 8, addresses[0], tags))
            time.now += 3000.0
            horizons.append(time.ids.last)
        indexed(connection, horizons[int(share * (len(horizons) - 1))])
        above, below = sorted(horizons[int(part * (len(horizons) - 1))] for part in cut)
        needs = [Need(Named.ADDRESS, frozenset((address.lower(),)))] if address else []
        needs += [Need(Named.TAG, frozenset((tag,)))] if tag else []
        asked = Search(Wanted(1, above, below + 1, descending, types, tuple(needs)))
        seen = []
        while not asked.finished:
            seen += [event.id for event in asked.step(connection, step)]
        expected = [
            number
            for number, kind, to, tags in everything
            if above < number <= below
            and kind in types
            and (address is None or to.lower() == address.lower())
            and (tag is None or tag.lower() in [one.lower() for one in tags])
        ]
        assert seen == sorted(seen, reverse=descending)
        assert len(seen) == len(set(seen))
        assert set(expected) <= set(seen)
        assert set(seen) <= {row[0] for row in everything if row[1] in types and above < row[0] <= below}
    finally:
        search.MOST, search.SLICE = old
        connection.close()


async def test_the_indexer_follows_what_is_committed(database, clock, tmp_path):
    ids, outgoing = IdSource(clock.now), Outgoing(Spool(tmp_path / "spool"), 1000)
    database.writer.follow(lambda: ids.last)
    lane = database.writer.lane(outgoing.accept)
    indexer = Indexer(database, clock)
    running = asyncio.create_task(indexer.run())
    await lane.put(message(ids, "bob@b.example"))
    last = database.writer.horizon
    assert last == ids.last
    for _ in range(1000):
        if await database.read(lookups.upto) == last:
            break
        clock.advance(1)
        await asyncio.sleep(0)
    assert await database.read(lambda c: found(c, Named.ADDRESS, "bob@b.example"))
    indexer.stop()
    await running


async def test_the_horizon_waits_for_what_must_be_tried_again(idle, clock):
    ids = IdSource(clock.now)
    idle.writer.follow(lambda: ids.last)
    broken = True

    def write(connection, items):
        if broken:
            raise sqlite3.OperationalError("database or disk is full")
        record(connection, Records(events=[(number, 5, 1, None, None, None) for number in items]))

    shaky, sound = idle.writer.lane(write), idle.writer.lane(lambda connection, items: None)
    task = asyncio.create_task(idle.writer.run())
    before = ids.next()
    await sound.put(before)
    assert idle.writer.horizon == before
    shaky.tell(ids.next())
    await sound.put(ids.next())
    assert idle.writer.horizon == before
    broken = False
    await sound.put(ids.next())
    assert idle.writer.horizon == ids.last
    idle.writer.stop()
    await task
