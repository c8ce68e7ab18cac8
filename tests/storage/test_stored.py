import sqlite3

import pytest

from mtad.mail.ids import floor_at
from mtad.storage import accounts, stored
from mtad.storage.database import migrate
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, accept, settled

LARGE = b"Subject: x\r\n\r\n" + b"x" * 100_000 + b"\r\n"


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    accounts.add_domain(connection, "ours.example", 0.0)
    accounts.add_domain(connection, "other.example", 0.0)
    yield connection
    connection.close()


@pytest.fixture
def outgoing(tmp_path, connection):
    spool = Spool(tmp_path / "spool")
    spool.open(connection)
    yield Outgoing(spool, 65_536)
    spool.close()


def keep(
    connection, outgoing, key, *, number=None, domain=1, content=b"Subject: x\r\n\r\nText\r\n", state=State.DELIVERED
):
    number = number or floor_at(NOW) + 1000
    one = accept(number, domain=domain, content=content, state=state)
    one.records.stored.append((number + 50, key, domain, number, '["bob@ours.example"]', "ann@their.example", NOW))
    outgoing.accept(connection, [one])
    return number


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nText\r\n", LARGE])
def test_what_was_stored_is_found_by_its_key_and_read(connection, outgoing, content):
    number = keep(connection, outgoing, "k1", content=content)
    found = stored.get(connection, "k1")
    assert (found.domain, found.message_id, found.recipients) == ("ours.example", number, ("bob@ours.example",))
    assert (found.sender, found.stored_at, found.size) == ("ann@their.example", NOW, len(content))
    assert stored.content(connection, outgoing, found) == content
    assert stored.get(connection, "k2") is None


def test_it_is_of_its_own_domain_alone(connection, outgoing):
    keep(connection, outgoing, "k1", domain=2)
    assert stored.get(connection, "k1", 1) is None
    assert stored.get(connection, "k1", 2).key == "k1"
    assert stored.newest(connection, 10, 1) == []


def test_the_newest_come_first(connection, outgoing):
    for n in range(4):
        keep(connection, outgoing, f"k{n}", number=floor_at(NOW + n) + 1000)
    assert [one.key for one in stored.newest(connection, 3)] == ["k3", "k2", "k1"]


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nText\r\n", LARGE])
def test_what_is_removed_takes_its_octets_along(connection, outgoing, content):
    keep(connection, outgoing, "k1", content=content)
    found = stored.get(connection, "k1")
    assert stored.remove(connection, outgoing, "k1")
    assert not stored.remove(connection, outgoing, "k1")
    assert stored.content(connection, outgoing, found) is None


def test_octets_that_a_copy_on_its_way_needs_stay_until_it_is_done(connection, outgoing):
    number = keep(connection, outgoing, "k1", state=State.LEASED)
    found = stored.get(connection, "k1")
    stored.remove(connection, outgoing, "k1")
    assert stored.content(connection, outgoing, found) is not None
    outgoing.settle(connection, [settled(number + 1)])
    assert stored.content(connection, outgoing, found) is None


def test_octets_that_are_stored_stay_when_the_last_copy_is_done(connection, outgoing):
    number = keep(connection, outgoing, "k1", state=State.LEASED)
    outgoing.settle(connection, [settled(number + 1)])
    assert stored.content(connection, outgoing, stored.get(connection, "k1")) is not None


def test_what_is_too_old_goes_and_the_rest_stays(connection, outgoing):
    for n in range(3):
        keep(connection, outgoing, f"k{n}", number=floor_at(NOW + n) + 1000)
    assert stored.expire(connection, outgoing, NOW + 1.5) == 2
    assert [one.key for one in stored.newest(connection, 10)] == ["k2"]
    assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (1,)
