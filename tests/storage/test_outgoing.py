import sqlite3

import pytest

from mtad.storage import upkeep
from mtad.storage.database import migrate
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, SITE, accept, settled

LARGE = b"Subject: large\r\n\r\n" + b"x" * 5000 + b"\r\n"


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def spool(tmp_path, connection):
    spool = Spool(tmp_path / "spool")
    spool.open(connection)
    yield spool
    spool.close()


@pytest.fixture
def outgoing(spool):
    return Outgoing(spool, 1000)


def states(connection):
    return [State(row[0]) for row in connection.execute("SELECT state FROM recipients ORDER BY id")]


def bodies(connection):
    return connection.execute("SELECT count(*) FROM bodies").fetchone()[0]


def claim(outgoing, connection, limit=10, *, now=NOW, have=(), paused=(), octets=1 << 20):
    return outgoing.claim(connection, SITE, now, limit, have, paused, octets)


def test_what_is_accepted_can_be_claimed_once(outgoing, connection):
    outgoing.accept(connection, [accept(1000, 2), accept(2000)])
    found = claim(outgoing, connection)
    assert [r.id for r in found.recipients] == [1001, 1002, 2001]
    assert {r.attempts for r in found.recipients} == {1}
    assert found.messages[1000].content == b"Subject: x\r\n\r\nText\r\n"
    assert claim(outgoing, connection).recipients == []
    assert upkeep.check(connection).faults == ()


def test_what_is_not_due_is_left_and_its_time_is_told(outgoing, connection):
    outgoing.accept(connection, [accept(1000, due=NOW + 60)])
    found = claim(outgoing, connection)
    assert found.recipients == []
    assert found.next_due == NOW + 60
    assert found.late == set()
    assert len(claim(outgoing, connection, now=NOW + 60).recipients) == 1


def test_a_claim_is_shared_among_the_domains_that_send(outgoing, connection):
    outgoing.accept(connection, [accept(1000, 50, domain=1), accept(2000, 3, domain=2), accept(3000, 50, domain=3)])
    found = claim(outgoing, connection, 30)
    shares = {d: sum(r.domain_id == d for r in found.recipients) for d in (1, 2, 3)}
    assert shares == {1: 10, 2: 3, 3: 17}
    assert found.late == {1, 3}


def test_mail_of_a_paused_domain_is_left_alone(outgoing, connection):
    outgoing.accept(connection, [accept(1000, domain=1), accept(2000, domain=2)])
    assert [r.domain_id for r in claim(outgoing, connection, paused={1}).recipients] == [2]


def test_bytes_beyond_the_budget_are_not_read(outgoing, connection):
    outgoing.accept(connection, [accept(1000), accept(2000)])
    found = claim(outgoing, connection, octets=1)
    assert [found.messages[n].content is None for n in (1000, 2000)] == [False, True]
    assert outgoing.content(connection, found.messages[2000]) is not None


def test_the_bytes_go_when_the_last_recipient_is_done(outgoing, connection):
    outgoing.accept(connection, [accept(1000, 2, state=State.LEASED)])
    outgoing.settle(connection, [settled(1001, message=1000)])
    assert bodies(connection) == 1
    outgoing.settle(connection, [settled(1002, State.FAILED, message=1000)])
    assert bodies(connection) == 0
    assert states(connection) == [State.DELIVERED, State.FAILED]
    assert upkeep.check(connection).faults == ()


def test_a_recipient_that_waits_again_keeps_what_was_said(outgoing, connection):
    outgoing.accept(connection, [accept(1000, state=State.LEASED)])
    outgoing.settle(connection, [settled(1001, State.WAITING, due=NOW + 900)])
    assert claim(outgoing, connection).next_due == NOW + 900
    [again] = claim(outgoing, connection, now=NOW + 900).recipients
    assert (again.attempts, again.last_reply) == (2, "451 later")
    assert bodies(connection) == 1


def test_large_bytes_are_spooled_and_released(outgoing, connection):
    outgoing.accept(connection, [accept(1000, content=LARGE), accept(2000)])
    assert bodies(connection) == 1
    found = claim(outgoing, connection)
    assert found.messages[1000].content == LARGE
    assert found.messages[1000].segment is not None
    assert connection.execute("SELECT live FROM spool_segments").fetchone() == (len(LARGE),)
    outgoing.settle(connection, [settled(1001, spooled=True)])
    assert connection.execute("SELECT live FROM spool_segments").fetchone() == (0,)
    assert outgoing.messages(connection, [1000], 1 << 20)[1000].content is None


def test_leases_of_a_dead_daemon_are_found(outgoing, connection):
    outgoing.accept(connection, [accept(1000, state=State.LEASED), accept(2000)])
    assert [(r.id, r.attempts) for r in outgoing.leased(connection, 10)] == [(1001, 1)]


def test_only_what_waited_too_long_expires(outgoing, connection):
    outgoing.accept(connection, [accept(1000), accept(2000, due=NOW + 3600)])
    assert outgoing.expired(connection, SITE, NOW + 28_799, 10) == []
    assert [r.id for r in outgoing.expired(connection, SITE, NOW + 28_800, 10)] == [1001]
    assert states(connection) == [State.LEASED, State.WAITING]


def test_retry_now_leaves_scheduled_mail_alone(outgoing, connection):
    outgoing.accept(connection, [accept(1000, state=State.LEASED), accept(2000, due=NOW + 3600)])
    outgoing.settle(connection, [settled(1001, State.WAITING, due=NOW + 900)])
    assert outgoing.retry_now(connection, NOW, 10, SITE + 1, []) == []
    assert outgoing.retry_now(connection, NOW, 10, None, [2000]) == []
    assert outgoing.retry_now(connection, NOW, 10, SITE, [1000]) == [SITE]
    assert [r.id for r in claim(outgoing, connection).recipients] == [1001]


def test_what_is_dropped_is_taken_out_of_the_queue(outgoing, connection):
    outgoing.accept(connection, [accept(1000, 2), accept(2000)])
    assert [r.id for r in outgoing.lease_for_drop(connection, [1002])] == [1002]
    assert [r.id for r in outgoing.lease_for_drop(connection, [1000])] == [1001]
    assert states(connection) == [State.LEASED, State.LEASED, State.WAITING]
