import sqlite3

import pytest

from mtad.storage import set_back
from mtad.storage.database import migrate
from mtad.storage.outgoing import Outgoing
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, accept


@pytest.fixture
def connection(tmp_path):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    Outgoing(Spool(tmp_path), 1000).accept(connection, [accept(1000 * n, due=NOW + 7200 + n) for n in range(1, 6)])
    yield connection
    connection.close()


def due(connection):
    return [row[0] for row in connection.execute("SELECT due_at FROM recipients ORDER BY id")]


def test_what_waits_is_due_now_and_what_is_scheduled_keeps_its_time(connection, monkeypatch):
    monkeypatch.setattr(set_back, "BATCH", 2)
    connection.execute("UPDATE messages SET deliver_at = ? WHERE id IN (1000, 2000)", (NOW + 7201,))
    connection.execute("UPDATE recipients SET attempts = 1 WHERE message_id = 2000")  # its time has been: a retry
    connection.execute("UPDATE recipients SET due_at = ? WHERE message_id = 3000", (NOW - 5,))
    assert [set_back.recipients(connection, NOW) for _ in range(3)] == [2, 1, 0]
    assert due(connection) == [NOW + 7201, NOW, NOW - 5, NOW, NOW]


def test_posts_that_wait_are_due_now(connection):
    connection.executemany(
        "INSERT INTO outbox (id, lane, event_id, state, attempts, due_at) VALUES (?, 1, 1, ?, 0, ?)",
        [(1, 0, NOW + 7200), (2, 0, NOW - 1), (3, 1, None)],
    )
    assert set_back.posts(connection, NOW) == 1
    assert connection.execute("SELECT due_at FROM outbox ORDER BY id").fetchall() == [(NOW,), (NOW - 1,), (None,)]
