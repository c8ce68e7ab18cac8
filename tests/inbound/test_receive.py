"""Reports, complaints and wishes to leave that come in by mail: what is written, told and answered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtad.feedback import pretend
from mtad.feedback.classify import Classifier, load_rules
from mtad.feedback.record import Posts
from mtad.inbound.receive import Receive
from mtad.mail.address import Address, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.reply import Refused
from mtad.mail.token import Purpose, Tokens
from mtad.storage import journal
from mtad.storage.outgoing import State
from tests.api.house import House, open_house
from tests.virtualclock import VirtualClock

REPO = Path(__file__).resolve().parents[2]
TOKENS = Tokens(b"k" * 32)
BOB = "Bob@their.example"
SENT = b"Message-ID: <m1@ours.example>\r\nFrom: ann@ours.example\r\nSubject: x\r\n\r\ntext\r\n"


class Desk:
    """A Receive with a store of one message to BOB, delivered. failed, suppressed: what it told others."""

    def __init__(self, house: House, recipient: int) -> None:
        self.house, self.recipient = house, recipient
        self.failed: list[tuple[str, str]] = []
        self.suppressed: list[tuple[int, str]] = []
        rules = load_rules((REPO / "conf" / "bounces.toml").read_text("utf-8"), "bounces.toml")
        self.receive = Receive(
            tokens=TOKENS,
            database=house.database,
            ids=house.ids,
            clock=house.clock,
            posts=Posts(lambda kind, domain_id, suppressed: (7,), house.ids, lambda domain_id: True),
            classifier=lambda: Classifier(rules),
            is_ours=lambda name: name == "ours.example",
            name_of=lambda number: "ours.example",
            failed=lambda held, one, reply, hop: self.failed.append((one.address, str(reply))),
            suppressed=lambda domain_id, key: self.suppressed.append((domain_id, key)),
        )

    def address(self, purpose: Purpose = Purpose.BOUNCE, recipient: int | None = None) -> Address:
        return Address(TOKENS.local_part(purpose, self.recipient if recipient is None else recipient), "ours.example")

    async def gets(self, content: bytes, *to: Address, reverse_path: str = "") -> int:
        path = parse_address(reverse_path) if reverse_path else None
        return await self.receive(Submission(path, list(to), content, "", 0.0, peer="[192.0.2.9]"))

    async def kinds(self) -> list[EventType]:
        events = await self.house.database.read(lambda connection: journal.timeline(connection, self.recipient - 1))
        return [event.type for event in events if event.type is not EventType.ACCEPTED]

    async def rows(self, query: str) -> list[tuple]:
        return await self.house.database.read(lambda connection: connection.execute(query).fetchall())

    def bounce(self) -> bytes:
        return pretend.late_bounce(SENT, self.address(), parse_address(BOB), "mx.their.example", 1.7e9)

    def complaint(self) -> bytes:
        return pretend.complaint(SENT, self.address(), parse_address(BOB), "mx.their.example", 1.7e9)


@pytest.fixture
async def desk(tmp_path) -> AsyncIterator[Desk]:
    async with open_house(tmp_path, VirtualClock()) as house:
        message = await house.message(BOB)
        await house.settle(message + 1, EventType.DELIVERED, State.DELIVERED, {})
        yield Desk(house, message + 1)


async def test_a_late_bounce_is_an_event_a_suppression_and_a_post_and_the_sender_may_be_told(desk):
    await desk.gets(desk.bounce(), desk.address())
    assert await desk.kinds() == [EventType.DELIVERED, EventType.FAILED_LATE]
    assert await desk.rows("SELECT address, code FROM bounces") == [("bob@their.example", "5.1.1")]
    assert await desk.rows("SELECT lane FROM outbox") == [(7,)]
    assert await desk.rows("SELECT count(*) > 0 FROM event_files") == [(1,)]
    assert await desk.rows("SELECT metric, n FROM counters") == [(9, 1)]
    assert desk.suppressed == [(1, "bob@their.example")]
    [(address, reply)] = desk.failed
    assert (address, reply[:9]) == (BOB, "550 5.1.1")


async def test_the_same_report_twice_is_told_once(desk):
    for _ in range(2):
        await desk.gets(desk.bounce(), desk.address())
        await desk.gets(desk.complaint(), desk.address())
    assert await desk.kinds() == [EventType.DELIVERED, EventType.FAILED_LATE, EventType.COMPLAINED]
    assert await desk.rows("SELECT count FROM complaints") == [(1,)]
    assert len(desk.failed) == 1


async def test_the_recipient_is_the_tokens_also_where_mail_was_forwarded(desk):
    elsewhere = pretend.late_bounce(SENT, desk.address(), parse_address("bobby@else.example"), "mx.else.example", 1.7e9)
    await desk.gets(elsewhere, desk.address())
    assert await desk.rows("SELECT address FROM bounces") == [("bob@their.example",)]


async def test_a_wish_to_leave_is_followed_once_and_again_after_it_was_taken_back(desk):
    for _ in range(2):
        await desk.gets(b"Subject: leave\r\n\r\n", desk.address(Purpose.LEAVE), reverse_path="bob@their.example")
    assert await desk.kinds() == [EventType.DELIVERED, EventType.UNSUBSCRIBED]
    assert await desk.rows("SELECT address, tag FROM unsubscribes") == [("bob@their.example", "*")]
    await desk.house.database.writer.write(lambda connection: connection.execute("DELETE FROM unsubscribes"))
    await desk.gets(b"Subject: leave\r\n\r\n", desk.address(Purpose.LEAVE), reverse_path="bob@their.example")
    assert await desk.rows("SELECT address, tag FROM unsubscribes") == [("bob@their.example", "*")]


@pytest.mark.parametrize(
    "content",
    [
        b"Auto-Submitted: auto-replied\r\nSubject: on holiday\r\n\r\nBack on Monday. 550 5.1.1\r\n",
        b"Subject: Out of office\r\nX-Autoreply: yes\r\n\r\nI am away.\r\n",
    ],
)
async def test_an_automatic_answer_is_no_bounce(desk, content):
    await desk.gets(content, desk.address())
    assert await desk.kinds() == [EventType.DELIVERED]
    assert desk.suppressed == []


async def test_a_letter_to_a_return_path_is_refused_while_its_sender_still_listens(desk):
    with pytest.raises(Refused, match="delivery reports"):
        await desk.gets(b"Subject: hello\r\n\r\nHow are you?\r\n", desk.address(), reverse_path="bob@their.example")


async def test_a_report_about_somebody_who_is_forgotten_is_taken_and_leaves_nothing(desk):
    await desk.gets(desk.bounce(), desk.address(recipient=desk.recipient + 4096))
    assert await desk.kinds() == [EventType.DELIVERED]
    assert desk.receive.tally.ignored == 1


def test_only_what_we_signed_is_taken():
    receive = Receive(
        tokens=TOKENS,
        database=None,
        ids=None,
        clock=None,
        posts=None,
        classifier=None,
        is_ours=lambda name: name == "ours.example",
        name_of=None,
        failed=None,
        suppressed=None,
    )
    local = TOKENS.local_part(Purpose.BOUNCE, 77)
    assert receive.takes(Address(local, "ours.example"))
    assert receive.takes(Address(local.upper(), "ours.example"))
    assert not receive.takes(Address(local, "their.example"))
    assert not receive.takes(Address(local.replace("bounce", "unsubscribe"), "ours.example"))
    assert not receive.takes(Address("postmaster", "ours.example"))
    forged = Tokens(b"x" * 32).local_part(Purpose.BOUNCE, 77)
    assert not receive.takes(Address(forged, "ours.example"))


async def test_a_flood_of_reports_is_put_off(desk):
    desk.receive.at_once = 0
    with pytest.raises(Refused, match=r"452 4\.4\.5|452 4\.5"):
        await desk.gets(desk.bounce(), desk.address())


@pytest.mark.parametrize(
    ("first", "second", "put_off"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("[IPv6:2001:db8:0:1::1]", "[IPv6:2001:db8:0:1::2]", True),
    ],
)
async def test_one_site_cannot_keep_the_others_out(desk, first, second, put_off):
    desk.receive.at_once_each = 1

    def gets(peer):
        return desk.receive(Submission(None, [desk.address()], desk.bounce(), "", 0.0, peer=peer))

    under_way = [gets(first)]
    if put_off:
        with pytest.raises(Refused, match=r"452"):
            gets(second)
    else:
        under_way.append(gets(second))
    await asyncio.gather(*under_way)
    await gets(second)
