import asyncio
import sqlite3

import pytest

from mtad.capture.inbox import MAGIC_DOMAIN, SLOW_S, Inbox
from mtad.mail.envelope import Transaction
from mtad.mail.ids import IdSource, queue_id
from mtad.mail.reply import Deferred, Delivered, Failed, Phase
from mtad.storage import captured
from mtad.storage.database import open_database
from tests.virtualclock import VirtualClock

NUMBER = 256_194_799_206_400_000
MAIL = b"Received: from x by y with ESMTP id %b;\r\n date\r\nSubject: x\r\n\r\nText\r\n" % queue_id(NUMBER).encode()


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def database(tmp_path, clock):
    async with open_database(tmp_path, clock, cache_octets=1_000_000, readers=1) as database:
        writing = asyncio.create_task(database.writer.run())
        yield database
        database.writer.stop()
        await writing


@pytest.fixture
def reported():
    return []


@pytest.fixture
def inbox(database, clock, reported):
    ids = IdSource(clock.now)
    return Inbox(database.writer.lane(captured.add), ids, clock, lambda *about: reported.append(about))


async def send(inbox, *recipients, content=MAIL, sender="ann@a.example"):
    """The outcomes, as the queue gets them."""
    route = await inbox.route(recipients[0].rpartition("@")[2])
    visit = await inbox.open(route, "", False)
    assert (visit.alive, visit.stale, visit.sent) == (True, False, 0)
    outcomes = await visit.send(Transaction(sender, recipients, (content[:20], content[20:]), len(content)))
    assert visit.sent == 1
    visit.close()
    return outcomes


def magic(name):
    return f"{name}@{MAGIC_DOMAIN}"


def kept(database):
    return database.read(lambda connection: captured.newest(connection, 99))


async def test_what_is_taken_is_kept_whole_before_it_is_said_to_be(inbox, database, clock):
    [one, two] = await send(inbox, "bob@b.example", "eve@d.example")
    assert isinstance(one, Delivered)
    assert one == two
    assert (str(one.reply), one.hop.host) == ("250 2.0.0 Captured", "capture.mtad.test")
    [found] = await kept(database)
    assert found.recipients == ("bob@b.example", "eve@d.example")
    assert (found.content, found.reverse_path) == (MAIL, "ann@a.example")
    assert (found.message_id, found.captured_at) == (NUMBER, clock.now())


@pytest.mark.parametrize("content", [b"Subject: x\r\n\r\nText\r\n", b"Received: id nonsense-here\r\n\r\n", b"\r\n"])
async def test_mail_without_our_id_is_kept_all_the_same(inbox, database, content):
    await send(inbox, "bob@b.example", content=content, sender="")
    [found] = await kept(database)
    assert (found.message_id, found.content, found.reverse_path) == (0, content, "")


async def test_every_domain_is_at_the_one_place_there_is(inbox):
    route = inbox.known("a.example")
    assert route is not None
    assert route == await inbox.route("b.example") == inbox.known(MAGIC_DOMAIN)
    assert inbox.fixed_key == "capture"


@pytest.mark.parametrize(
    ("name", "kind", "said", "phase"),
    [
        ("tempfail", Deferred, "451 4.3.0", Phase.RCPT),
        ("HardFail", Failed, "550 5.1.1", Phase.RCPT),
        ("full", Deferred, "452 4.2.2", Phase.RCPT),
        ("spamblock", Failed, "554 5.7.1", Phase.FINAL),
    ],
)
async def test_a_magic_address_always_answers_the_same_and_keeps_nothing(inbox, database, name, kind, said, phase):
    for _ in range(2):
        [outcome] = await send(inbox, magic(name).swapcase())
        assert isinstance(outcome, kind)
        assert (str(outcome.reply)[:9], outcome.phase) == (said, phase)
    assert await kept(database) == []


async def test_one_that_loses_the_connection_leaves_the_outcome_unknown(inbox, database):
    [outcome] = await send(inbox, magic("disconnect"))
    assert isinstance(outcome, Deferred)
    assert outcome.unknown
    assert await kept(database) == []


async def test_a_greylisting_one_takes_each_message_the_second_time(inbox, database):
    other = MAIL.replace(queue_id(NUMBER).encode(), queue_id(NUMBER + 1).encode())
    kinds = [type((await send(inbox, magic("greylist"), content=content))[0]) for content in (MAIL, other, MAIL, other)]
    assert kinds == [Deferred, Deferred, Delivered, Delivered]
    assert len(await kept(database)) == 2


async def test_what_was_greylisted_is_forgotten_before_it_fills_the_memory(inbox):
    for n in range(10_001):
        await inbox._magic(magic("greylist"), n)
    await inbox._magic(magic("greylist"), 20_000)
    assert len(inbox._seen) <= 10_001


async def test_a_slow_one_takes_its_time_and_then_the_message(inbox, database, clock):
    sending = asyncio.create_task(send(inbox, magic("slow")))
    while not clock.sleepers:
        await asyncio.sleep(0)
    clock.advance(SLOW_S - 0.1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not sending.done()
    clock.advance(0.1)
    [outcome] = await sending
    assert isinstance(outcome, Delivered)
    assert outcome.took_s == SLOW_S
    assert len(await kept(database)) == 1


async def test_each_recipient_of_a_transaction_gets_his_own_answer(inbox, database):
    people = ("bob@b.example", magic("hardfail"), magic("unheard-of"), magic("tempfail"))
    outcomes = await send(inbox, *people)
    assert [type(one) for one in outcomes] == [Delivered, Failed, Delivered, Deferred]
    [found] = await kept(database)
    assert found.recipients == ("bob@b.example", magic("unheard-of"))


@pytest.mark.parametrize("name", ["bounce-later", "complain"])
async def test_some_take_the_message_and_report_afterwards(inbox, database, reported, name):
    [outcome] = await send(inbox, magic(name).upper())
    assert isinstance(outcome, Delivered)
    assert reported == [(name, "ann@a.example", magic(name).upper(), MAIL)]
    assert len(await kept(database)) == 1
    await send(inbox, magic(name), sender="")  # nobody to report to
    assert len(reported) == 1


async def test_the_magic_names_are_nothing_special_elsewhere(inbox):
    outcomes = await send(inbox, "hardfail@b.example", f"tempfail@sub.{MAGIC_DOMAIN}")
    assert [type(one) for one in outcomes] == [Delivered, Delivered]


async def test_what_cannot_be_kept_is_not_said_to_be(database, clock):
    def full(connection, rows):
        raise sqlite3.OperationalError("database or disk is full")

    inbox = Inbox(database.writer.lane(full), IdSource(clock.now), clock, print)
    with pytest.raises(sqlite3.OperationalError):
        await send(inbox, "bob@b.example")
