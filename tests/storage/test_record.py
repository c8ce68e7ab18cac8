import sqlite3

import pytest

from mtad.mail.event import EventType
from mtad.mail.metric import Metric
from mtad.storage import suppressions
from mtad.storage.database import migrate
from mtad.storage.record import Records, apply, gather, record
from mtad.storage.suppressions import Table

NOW = 1_700_000_000.0
HOUR = int(NOW) // 3600


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


def test_the_same_counter_is_summed_within_a_batch_and_with_what_is_there(connection):
    count = (1, "t:news", int(Metric.OPENED), HOUR, 1)
    apply(connection, [Records(counts=[count, count]), Records(counts=[count])])
    record(connection, Records(counts=[(*count[:4], 4), (2, *count[1:])]))
    assert connection.execute("SELECT domain_id, n FROM counters ORDER BY 1").fetchall() == [(1, 7), (2, 1)]


def test_aggregates_are_summed_too(connection):
    row = (1, "", "country", "us", int(Metric.CLICKED), 7, 1)
    record(connection, gather([Records(aggregates=[row, row]), Records(aggregates=[row])]))
    record(connection, Records(aggregates=[row]))
    assert connection.execute("SELECT value, n FROM aggregates").fetchall() == [("us", 4)]


def test_a_tag_keeps_its_first_spelling_and_its_newest_time(connection):
    record(connection, Records(tags=[(1, "News", NOW + 5), (1, "NEWS", NOW), (2, "news", NOW)]))
    record(connection, Records(tags=[(1, "news", NOW + 9)]))
    record(connection, Records(tags=[(1, "news", NOW + 1)]))
    rows = connection.execute("SELECT domain_id, tag, shown, first_at, last_at FROM tags ORDER BY 1").fetchall()
    assert rows == [(1, "news", "News", NOW, NOW + 9), (2, "news", "news", NOW, NOW)]


@pytest.mark.parametrize("value", ["bob@b.example", "@b.example"])
def test_a_bounce_of_an_allowlisted_address_or_domain_is_not_entered(connection, value):
    suppressions.allow(connection, [(1, value, "", NOW)])
    rows = [(domain, "bob@b.example", "550", "no", "user-unknown", NOW) for domain in (1, 2)]
    record(connection, Records(bounces=rows))
    assert suppressions.get(connection, Table.BOUNCES, 1, "bob@b.example") is None
    assert suppressions.get(connection, Table.BOUNCES, 2, "bob@b.example").rule == "user-unknown"


def test_suppressions_are_entered_once_and_complaints_counted(connection):
    left, complained = (1, "bob@b.example", "*", NOW), (1, "bob@b.example", NOW)
    for later in (0, 5):
        record(connection, Records(unsubscribes=[left], complaints=[(1, "bob@b.example", NOW + later), complained]))
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, "bob@b.example").created_at == NOW
    assert suppressions.get(connection, Table.COMPLAINTS, 1, "bob@b.example").count == 4


def test_events_posts_and_files_go_where_they_belong(connection):
    event = (70, int(EventType.COMPLAINED), 1, 60, 61, b"{}")
    record(connection, Records([event], posts=[(71, 5, 70, NOW)], files=[(70, 1, "report", "text/plain", b"x")]))
    assert connection.execute("SELECT * FROM events").fetchall() == [event]
    assert connection.execute("SELECT * FROM outbox").fetchall() == [(71, 5, 70, 0, 0, NOW)]
    assert connection.execute("SELECT * FROM event_files").fetchall() == [(70, 1, "report", "text/plain", b"x")]
