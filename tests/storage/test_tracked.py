import sqlite3

import orjson
import pytest

from mtad.mail.event import EventType
from mtad.mail.ids import floor_at
from mtad.mail.metric import Metric
from mtad.mail.options import Options
from mtad.storage import suppressions, tracked
from mtad.storage.database import migrate
from mtad.storage.outgoing import Flag, Outgoing
from mtad.storage.spool import Spool
from mtad.storage.suppressions import Table
from mtad.storage.tracked import IDS_PER_VISIT, Client, Place, Scope, TrackedStore, Visit
from tests.storage.mail import NOW, accept

HOUR = int(NOW) // 3600
GMAIL = Client(bot="gmail", counted=False)
DESKTOP = Client("browser", "Linux", "desktop", "Firefox")
TEXAS = Place("US", "TX", "Austin")
MESSAGE = 1000
BOB = 1001


@pytest.fixture
def connection(tmp_path):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    outgoing = Outgoing(Spool(tmp_path), 1000)
    options = Options(tags=("News", "Sale"), campaigns=("c1",), campaign_keys=(1,)).to_json()
    for number, said, flags in ((MESSAGE, options, 0), (2000, None, 0), (3000, options, int(Flag.TEST_MODE))):
        one = accept(number, 2)
        one.message = (*one.message[:5], flags, *one.message[6:8], said, None)
        outgoing.accept(connection, [one])
    connection.execute("DELETE FROM events")
    yield connection
    connection.close()


@pytest.fixture
def noted():
    return []


@pytest.fixture
def visit(connection, noted):
    """visit(BOB, OPENED, …) writes one; visit.all([…]) several in one transaction."""
    ids = iter(range(floor_at(NOW), floor_at(NOW + 100), IDS_PER_VISIT))

    def hooks(kind, domain_id, suppressed):
        assert not suppressed
        return (7, 8) if kind is EventType.CLICKED else ()

    store = TrackedStore(hooks, lambda domain_id, key: noted.append((domain_id, key)))

    def make(recipient=BOB, kind=EventType.OPENED, client=DESKTOP, **more):
        return Visit(next(ids), kind, recipient, "192.0.2.5", "UA/1", client, TEXAS, **more)

    def one(*args, **kwargs):
        store.apply(connection, [make(*args, **kwargs)])

    one.make, one.all = make, lambda visits: store.apply(connection, visits)
    return one


def events(connection):
    rows = connection.execute("SELECT type, domain_id, message_id, recipient_id, detail FROM events ORDER BY id")
    return [(EventType(row[0]), *row[1:4], orjson.loads(row[4])) for row in rows]


def counted(connection, label=""):
    rows = connection.execute("SELECT metric, hour, n FROM counters WHERE label = ?", (label,)).fetchall()
    assert {hour for _, hour, _ in rows} <= {HOUR}
    return {Metric(metric): n for metric, _, n in rows}


def test_an_open_is_an_event_with_who_and_where(connection, visit):
    visit()
    [(kind, domain, message, recipient, detail)] = events(connection)
    assert (kind, domain, message, recipient) == (EventType.OPENED, 1, MESSAGE, BOB)
    assert detail == {
        "ip": "192.0.2.5",
        "geolocation": {"country": "US", "region": "TX", "city": "Austin"},
        "client-info": {
            "client-type": "browser",
            "client-os": "Linux",
            "device-type": "desktop",
            "client-name": "Firefox",
            "user-agent": "UA/1",
            "bot": "",
        },
    }


def test_each_open_is_an_event_but_unique_once(connection, visit):
    visit.all([visit.make(), visit.make()])
    visit()
    visit(BOB + 1)
    assert len(events(connection)) == 4
    for label in ("", "t:news", "t:sale", "c:1"):
        assert counted(connection, label) == {Metric.OPENED: 4, Metric.OPENED_UNIQUE: 2}


def test_clicks_and_opens_are_unique_apart(connection, visit):
    visit(kind=EventType.CLICKED, url="https://x.example/")
    visit()
    assert counted(connection) == {
        Metric.OPENED: 1,
        Metric.OPENED_UNIQUE: 1,
        Metric.CLICKED: 1,
        Metric.CLICKED_UNIQUE: 1,
    }
    assert events(connection)[0][4]["url"] == "https://x.example/"


def test_a_robot_is_an_event_but_neither_unique_nor_aggregated(connection, visit):
    visit.all([visit.make(client=GMAIL), visit.make()])
    assert [event[4]["client-info"]["bot"] for event in events(connection)] == ["gmail", ""]
    assert counted(connection) == {Metric.OPENED: 2, Metric.OPENED_UNIQUE: 1}
    rows = connection.execute("SELECT kind, value, metric, n FROM aggregates WHERE label = 't:news'").fetchall()
    expected = {
        (kind, value, int(metric), 1)
        for kind, value in (("country", "us"), ("provider", "b.example"), ("device", "desktop"))
        for metric in (Metric.OPENED, Metric.OPENED_UNIQUE)
    }
    assert set(rows) == expected


def test_a_robot_does_not_use_up_the_persons_first_time(connection, visit):
    visit(client=GMAIL)
    assert counted(connection) == {Metric.OPENED: 1}
    visit()
    assert counted(connection) == {Metric.OPENED: 2, Metric.OPENED_UNIQUE: 1}


def test_test_messages_and_recipients_that_are_gone_leave_nothing(connection, visit, noted):
    for number in (3001, 999_999, 2**64 - 1):
        for kind in (EventType.OPENED, EventType.CLICKED, EventType.UNSUBSCRIBED):
            visit(number, kind)
    for table in ("events", "counters", "aggregates", "firsts", "unsubscribes", "outbox"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert noted == []


def test_the_posts_have_ids_of_the_visit(connection, visit):
    made = visit.make(kind=EventType.CLICKED)
    visit.all([made])
    rows = connection.execute("SELECT id, lane, event_id, state FROM outbox ORDER BY id").fetchall()
    assert rows == [(made.event_id + 1, 7, made.event_id, 0), (made.event_id + 2, 8, made.event_id, 0)]


def test_leaving_the_domain_suppresses_and_says_so_once(connection, visit, noted):
    visit.all([visit.make(kind=EventType.UNSUBSCRIBED), visit.make(kind=EventType.UNSUBSCRIBED)])
    visit(kind=EventType.UNSUBSCRIBED)
    [event] = events(connection)
    assert event[0] is EventType.UNSUBSCRIBED
    assert event[4]["tags"] == ["*"]
    assert counted(connection) == {Metric.UNSUBSCRIBED: 1}
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, "r0@b.example").tags == ("*",)
    assert noted == [(1, "r0@b.example")]


def test_who_was_let_in_again_can_leave_again(connection, visit):
    visit(kind=EventType.UNSUBSCRIBED)
    suppressions.remove(connection, Table.UNSUBSCRIBES, 1, "r0@b.example")
    visit(kind=EventType.UNSUBSCRIBED)
    assert counted(connection) == {Metric.UNSUBSCRIBED: 2}


def test_leaving_the_tags_leaves_those_of_the_message(connection, visit):
    visit(kind=EventType.UNSUBSCRIBED, scope=Scope.TAGS)
    assert events(connection)[0][4]["tags"] == ["News", "Sale"]
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, "r0@b.example").tags == ("news", "sale")
    visit(kind=EventType.UNSUBSCRIBED)
    assert suppressions.get(connection, Table.UNSUBSCRIBES, 1, "r0@b.example").tags == ("*", "news", "sale")


@pytest.mark.parametrize(("recipient", "scope"), [(2001, Scope.TAGS), (2001, Scope.LIST), (BOB, Scope.LIST)])
def test_without_tags_or_list_it_is_the_domain_that_is_left(connection, visit, recipient, scope):
    visit(recipient, EventType.UNSUBSCRIBED, scope=scope)
    assert events(connection)[0][4]["tags"] == ["*"]


def test_a_bad_word_in_the_options_column_harms_nobody(connection, visit):
    connection.execute("UPDATE messages SET options = ? WHERE id = ?", (b"{no json", MESSAGE))
    visit()
    assert counted(connection) == {Metric.OPENED: 1, Metric.OPENED_UNIQUE: 1}


def test_first_times_of_old_messages_are_forgotten(connection, visit):
    visit()
    assert tracked.expire_firsts(connection, 0.0) == 0
    assert tracked.expire_firsts(connection, NOW) == 1
    assert tracked.expire_firsts(connection, NOW) == 0
