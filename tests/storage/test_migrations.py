"""A store that an earlier mtad left is brought up to date with nothing lost.

tests/data/stores/NNNN.sql is such a store, dumped when its schema was the newest; these files are never made anew. A
version without a file is made from the newest file before it.
"""

import sqlite3
from pathlib import Path

import pytest

from mtad.storage import accounts, journal, queue_view, sites, upkeep
from mtad.storage import database as module
from mtad.storage.database import StoreError, migrate, migrations, open_database
from mtad.storage.outgoing import State
from mtad.storage.queue_view import QueueFilter

STORES = Path(__file__).resolve().parents[1] / "data" / "stores"
VERSIONS = [number for number, _ in migrations()]
FIRST = 256_194_799_206_400_000  # id of the first message of each


def left_by(version: int) -> sqlite3.Connection:
    found = max(number for number in range(1, version + 1) if (STORES / f"{number:04}.sql").exists())
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript((STORES / f"{found:04}.sql").read_text("utf-8"))
    for number, sql in migrations():
        if found < number <= version:
            connection.executescript(f"{sql}\nPRAGMA user_version = {number};")
    return connection


def tables(connection):
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted(row[0] for row in rows)


def columns(connection, table):
    return [row[1:] for row in connection.execute(f"PRAGMA table_xinfo({table})")]


def schema(connection):
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type <> 'table' ORDER BY name").fetchall()
    return {table: sorted(columns(connection, table), key=str) for table in tables(connection)}, indexes


def contents(connection):
    """table -> (names of columns, rows)."""
    found = {}
    for table in tables(connection):
        names = ", ".join(column[0] for column in columns(connection, table))
        found[table] = names, sorted(connection.execute(f"SELECT {names} FROM {table}").fetchall(), key=repr)
    return found


@pytest.fixture(params=VERSIONS[:-1], ids=lambda version: f"{version:04}")
def store(request):
    connection = left_by(request.param)
    yield connection
    connection.close()


def test_it_has_the_schema_of_a_new_store(store):
    new = sqlite3.connect(":memory:", isolation_level=None)
    migrate(new)
    migrate(store)
    assert schema(store) == schema(new)
    assert store.execute("PRAGMA user_version").fetchone() == (VERSIONS[-1],)
    assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert store.execute("PRAGMA foreign_key_check").fetchall() == []
    new.close()


def test_every_value_is_as_it_was(store):
    before = contents(store)
    migrate(store)
    for table, (names, rows) in before.items():
        assert sorted(store.execute(f"SELECT {names} FROM {table}").fetchall(), key=repr) == rows


def test_what_it_says_can_be_read(store):
    migrate(store)
    assert upkeep.check(store) == upkeep.CheckResult(upkeep.Counts(4, 1, 0, 2, 1), ())
    [ours, other] = accounts.domains(store)
    assert (ours.name, ours.pool, ours.dsn, ours.paused_why) == ("a.example", "news", False, "unpaid")
    assert (other.opens, other.clicks, other.footer, other.hourly_limit) == (False, "no", False, 0)
    assert [(key.domain, key.selector) for key in accounts.dkim_keys(store)] == [("a.example", "mtad1")]
    assert [key.name for key in accounts.api_keys(store)] == ["main", "of c"]
    site = sites.get(store, 77)
    assert (site.suspended_why, site.paces) == ("maintenance", {"": "{}"})
    waiting = {row.address: row for row in queue_view.waiting(store, QueueFilter(), 10)}
    assert (waiting["eve@b.example"].attempts, waiting["eve@b.example"].last_reply) == (3, "451 4.3.0 later")
    assert waiting["pat@b.example"].state is State.LEASED
    assert [event.type.word for event in journal.timeline(store, FIRST)] == [
        "accepted",
        "accepted",
        "delivered",
        "failed",
    ]


def test_migrating_again_changes_nothing(store):
    migrate(store)
    before = contents(store), schema(store)
    migrate(store)
    assert (contents(store), schema(store)) == before


async def test_a_step_that_fails_leaves_the_store_at_the_step_before_it(tmp_path, clock, monkeypatch):
    good, bad = VERSIONS[-1] + 1, VERSIONS[-1] + 2
    steps = [
        *migrations(),
        (good, "CREATE TABLE fine (x);"),
        (bad, "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);"),
    ]
    monkeypatch.setattr(module, "migrations", lambda: steps)
    with pytest.raises(StoreError, match=r"cannot open the store .*: no such table: nowhere"):
        async with open_database(tmp_path, clock, cache_octets=1_000_000):
            pass
    connection = sqlite3.connect(tmp_path / "mtad.sqlite")
    names = tables(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (good,)
    assert ("fine" in names, "half" in names) == (True, False)
    connection.close()
