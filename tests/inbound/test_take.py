"""Mail from the world: what routes make of it for each recipient, over a real store; the checks say what they must."""

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtad.clock import SystemClock
from mtad.inbound import take as take_module
from mtad.inbound.arc import Arc, ArcResult, Sealer
from mtad.inbound.copies import Copies
from mtad.inbound.dmarc import Dmarc, DmarcResult
from mtad.inbound.doorstep import Doorstep
from mtad.inbound.onward import Onward
from mtad.inbound.postmaster import Postmaster, refusal
from mtad.inbound.results import Findings, User
from mtad.inbound.routes.live import Routes
from mtad.inbound.spam import Scan, Spam, SpamAction
from mtad.inbound.spf import Identity, Spf, SpfResult
from mtad.inbound.take import Take
from mtad.inbound.verdicts import DomainSettings, Verdicts, drops
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply
from mtad.storage import accounts, journal, routes, stored
from mtad.storage.accounts import DomainChanges
from mtad.storage.journal import EventFilter
from mtad.storage.outgoing import Flag
from mtad.storage.routes import RouteRow
from tests.api.http.house import DOMAIN, OTHER, House, open_house
from tests.inbound.zones import RSA_KEY

MAIL = b"From: Ann <ann@their.example>\r\nSubject: Order 17\r\nMessage-ID: <m1@their.example>\r\n\r\ntext\r\n"
FIELDS = b"X-Mailgun-Incoming: Yes\r\n"
REFUSAL = Reply(550, "7.1", "no")


@dataclass
class Checker:
    """refusal: for domains with these spam actions. spam: what the scan says. asked: the actions it was asked for.
    users: who was said to send.
    """

    refusal: dict[SpamAction, Reply] = field(default_factory=dict)
    spam: bool = False
    asked: list[SpamAction] = field(default_factory=list)
    users: list[User | None] = field(default_factory=list)

    async def check(self, content, block, peer, helo, reverse_path, settings: DomainSettings, user=None) -> Verdicts:
        self.users.append(user)
        action = settings.spam_action
        self.asked.append(action)
        scanned = action is not SpamAction.DISABLED
        spam = Spam(Scan.DONE, 9.0, 5.0, self.spam) if scanned else None
        found = Findings(
            Spf(SpfResult.NONE, Identity.MAILFROM, ""), (), Dmarc(DmarcResult.NONE), Arc(ArcResult.NONE), spam
        )
        fields = FIELDS + (b"X-Mailgun-Sflag: Yes\r\n" if self.spam and scanned else b"")
        return Verdicts(found, self.refusal.get(action), drops(found, settings), fields, content, "spf=none", 0.25)


@dataclass
class Hall:
    house: House
    take: Take
    checker: Checker

    async def route(self, expression: str, *actions: str, priority: int = 0) -> None:
        row = RouteRow(self.house.ids.next(), priority, "", expression, actions, 0.0)
        await self.house.database.writer.write(lambda c: routes.add(c, row))
        await self.take.routes.load()

    async def set(self, name: str, **changes: Any) -> None:
        await self.house.database.writer.write(lambda c: accounts.change_domain(c, name, DomainChanges(**changes)))
        await self.house.tenants.load()

    async def gets(
        self, *to: str, content: bytes = MAIL, sender: str = "ann@their.example", domain: str = "", login: str = ""
    ) -> int:
        people = [parse_address(one if "@" in one else f"{one}@{DOMAIN}") for one in to]
        path = parse_address(sender) if sender else None
        return await self.take(
            Submission(path, people, content, domain, 1.7e9, "smtp", login, peer="[192.0.2.9]", helo="mx.their.example")
        )

    async def refuses(self, *to: str, **more: Any) -> Reply:
        with pytest.raises(Refused) as refused:
            await self.gets(*to, **more)
        return refused.value.reply

    async def told(self) -> list[tuple[str, str, str]]:
        await self.house.database.writer.write(lambda c: None)  # behind what was told before
        found = await self.house.database.read(lambda c: journal.recent(c, EventFilter(), 100))
        return [(event.type.word, event.recipient, event.target) for event in found]

    async def rows(self) -> list[tuple[str, str | None, dict[str, Any]]]:
        """address, whom it came for, what is stored with the copy."""
        query = "SELECT address, orcpt, personal FROM recipients ORDER BY id"
        rows = await self.house.database.read(lambda c: c.execute(query).fetchall())
        return [(address, orcpt, json.loads(personal or b"{}")) for address, orcpt, personal in rows]


@asynccontextmanager
async def hall_in(folder) -> AsyncIterator[Hall]:
    async with open_house(folder, SystemClock()) as house:
        live, checker = Routes(house.database, house.clock), Checker()
        keys = (f"key-{number}" for number in range(100_000))
        made = Take(
            submit=house.submit,
            checker=checker,
            routes=live,
            receiving=house.tenants.receiving,
            copies=Copies(lambda domain, key: f"http://us/v3/domains/{domain}/messages/{key}", lambda: next(keys)),
            onward=Onward(
                lambda domain: Sealer(domain, "s1", RSA_KEY) if domain == DOMAIN else None, b"l" * 32, house.clock
            ),
            ids=house.ids,
            clock=house.clock,
            max_hops=5,
            doorstep=Doorstep(None, house.clock, (), 0.0),
        )
        yield Hall(house, made, checker)


@pytest.fixture
async def hall(tmp_path):
    async with hall_in(tmp_path) as hall:
        yield hall


async def test_each_recipient_has_a_copy_for_each_destination(hall):
    await hall.route(
        'match_recipient("(.*)@")', r'forward("http://a.example/\1, https://u:p@b.example/mime, c@d.example")'
    )
    await hall.gets("bob", "eve")
    wanted = []
    for who in ("bob", "eve"):
        orcpt = f"rfc822;{who}@{DOMAIN}"
        wanted += [
            (f"http://a.example/{who}", orcpt, {"kind": "forward"}),
            ("https://u:p@b.example/mime", orcpt, {"kind": "raw"}),
            ("c@d.example", orcpt, {}),
        ]
    assert await hall.rows() == wanted
    people = [recipient for word, recipient, _ in await hall.told() if word == "accepted"]
    assert people == [f"bob@{DOMAIN}", f"bob@{DOMAIN}", "c@d.example", f"eve@{DOMAIN}", f"eve@{DOMAIN}", "c@d.example"]


async def test_two_routes_to_one_place_make_two_copies(hall):
    for priority in (0, 1):
        await hall.route('match_recipient("b")', 'forward("http://a.example/")', priority=priority)
    await hall.gets("bob")
    assert [address for address, *_ in await hall.rows()] == ["http://a.example/"] * 2


async def test_events_show_routes_without_the_passwords_of_their_urls(hall):
    await hall.route('match_recipient("b")', 'forward("https://u:s3cret@b.example/, HTTP://x:s3cret@y, c@d.example")')
    await hall.gets("bob")
    [first, *_] = await hall.house.database.read(lambda c: journal.recent(c, EventFilter(), 100))
    assert first.detail["routes"][0]["actions"] == ['forward("https://b.example/, HTTP://y, c@d.example")']
    assert first.about["is-routed"] is True
    assert "s3cret" not in repr(await hall.house.database.read(lambda c: journal.recent(c, EventFilter(), 100)))


async def test_what_is_stored_is_stored_at_once_and_its_notice_goes_out_like_a_post(hall):
    await hall.route('match_recipient("bob")', 'store(notify="http://a.example/n")')
    await hall.gets("bob")
    [one] = await hall.house.database.read(lambda c: stored.newest(c, 10))
    assert (one.key, one.domain, one.recipients, one.sender) == (
        "key-0",
        DOMAIN,
        (f"bob@{DOMAIN}",),
        "ann@their.example",
    )
    content = await hall.house.database.read(lambda c: stored.content(c, hall.house.outgoing, one))
    assert content.endswith(FIELDS + MAIL)
    [(kept, _, _), (url, _, personal)] = await hall.rows()
    assert (kept, url) == (f"bob@{DOMAIN}", "http://a.example/n")
    assert personal == {
        "kind": "notify",
        "key": "key-0",
        "url": f"http://us/v3/domains/{DOMAIN}/messages/key-0",
        "domain": DOMAIN,
    }
    assert [word for word, _, _ in await hall.told()] == ["accepted", "accepted", "stored"]


async def test_a_recipient_that_nothing_is_done_for_is_done(hall):
    await hall.route('match_recipient("bob")', "stop()")
    await hall.gets("bob")
    assert [word for word, _, _ in await hall.told()] == ["accepted", "delivered"]
    assert await hall.house.database.read(lambda c: c.execute("SELECT count(*) FROM bodies").fetchone()) == (0,)


async def test_mail_that_no_route_wants_is_refused_and_told(hall):
    await hall.route('match_header("subject", "Invoice")', "stop()")
    assert (await hall.refuses("bob")).code == 550
    assert await hall.told() == [("rejected", f"bob@{DOMAIN}", "")]


async def test_a_recipient_of_several_that_no_route_wants_is_done_with_the_others(hall):
    await hall.route('match_recipient("bob")', 'forward("http://a.example/")')
    await hall.gets("bob", "eve")
    assert [address for address, _, _ in await hall.rows()] == ["http://a.example/", f"eve@{DOMAIN}"]


async def test_only_what_goes_on_to_an_address_is_sealed_and_marked(hall):
    await hall.route('match_recipient("post")', 'forward("http://a.example/")')
    await hall.route('match_recipient("mail")', 'forward("c@d.example")')
    await hall.gets("post")
    await hall.gets("mail")
    posted, mailed = [one.raw for one in await hall.house.stored()]
    assert b"ARC-Seal" not in posted
    assert b"X-Loop" not in posted
    assert mailed.count(b"ARC-Seal: ") == mailed.count(b"X-Loop: ") == 1
    assert posted.endswith(FIELDS + MAIL)
    assert mailed.endswith(FIELDS + MAIL)
    assert b"mail@" not in mailed[mailed.index(b"X-Loop") : mailed.index(b"\r\n", mailed.index(b"X-Loop"))]


async def test_what_was_forwarded_is_not_taken_for_the_same_recipient_again(hall):
    await hall.route('match_recipient("bob")', 'forward("c@d.example")')
    await hall.route('match_recipient("eve")', 'forward("e@d.example")')
    await hall.gets("bob")
    [first] = await hall.house.stored()
    assert (await hall.refuses("bob", content=first.raw)).code == 554
    await hall.gets("eve", content=first.raw)
    assert (await hall.refuses("BOB", content=b"X-Loop: x\r\n" + first.raw)).detail == "4.6"


async def test_a_mark_that_another_wrote_is_none_of_ours(hall):
    await hall.route("catch_all()", "stop()")
    await hall.gets("bob", content=b"X-Loop: bob@mg.example.com\r\nX-Loop: 0123456789abcdef\r\nX-Loop: \xff\r\n" + MAIL)


async def test_mail_that_has_come_a_long_way_is_refused(hall):
    await hall.route("catch_all()", "stop()")
    assert (await hall.refuses("bob", content=b"Received: x\r\n" * 6 + MAIL)).detail == "4.6"


async def test_a_header_without_end_is_refused(hall):
    await hall.route("catch_all()", "stop()")
    assert (await hall.refuses("bob", content=b"X-Long: " + b"x" * 2_000_000 + b"\r\n\r\n")).code == 552


async def test_what_the_checks_refuse_is_refused_and_told(hall):
    hall.checker.refusal = {SpamAction.DISABLED: REFUSAL}
    await hall.route("catch_all()", "stop()")
    assert await hall.refuses("bob") == REFUSAL
    assert await hall.told() == [("rejected", f"bob@{DOMAIN}", "")]
    assert (hall.take.tally.refused, hall.take.tally.seconds) == ({"checks": 1}, 0.25)


class _Nobody:
    """A doorstep that lets no stranger in."""

    async def refusal(self, submission: Submission) -> Reply:
        return REFUSAL


async def test_our_own_users_are_no_strangers_at_the_door(hall):
    hall.take.doorstep = _Nobody()
    await hall.route("catch_all()", "stop()")
    assert await hall.refuses("bob") == REFUSAL
    await hall.gets("bob", domain=OTHER, login=f"eve@{OTHER}")
    await hall.gets("bob", domain=OTHER)
    assert hall.checker.users == [User(f"eve@{OTHER}"), User("")]


async def test_domains_with_the_same_wish_are_checked_for_once(hall):
    await hall.route("catch_all()", "stop()")
    await hall.gets(f"bob@{DOMAIN}", f"bob@{OTHER}", f"eve@{DOMAIN}")
    assert hall.checker.asked == [SpamAction.DISABLED]
    assert len(await hall.house.stored()) == 2


async def test_spam_is_dropped_for_one_domain_and_marked_for_another(hall):
    hall.checker.spam = True
    await hall.set(DOMAIN, spam_action="delete")
    await hall.set(OTHER, spam_action="tag")
    await hall.route('match_header("X-Mailgun-Sflag", "Yes")', 'forward("http://a.example/")')
    await hall.gets(f"bob@{DOMAIN}", f"bob@{OTHER}")
    assert ("rejected", f"bob@{DOMAIN}", "") in await hall.told()
    assert [orcpt for _, orcpt, _ in await hall.rows()] == [f"rfc822;bob@{OTHER}"]
    assert hall.take.tally.dropped == 1


async def test_spam_for_domains_that_want_none_gets_its_250(hall):
    hall.checker.spam = True
    await hall.set(DOMAIN, spam_action="delete")
    await hall.route("catch_all()", "stop()")
    assert await hall.gets("bob") > 0
    assert await hall.rows() == []


async def test_each_domain_is_told_when_a_message_for_several_is_refused(hall):
    hall.checker.refusal = {SpamAction.DISABLED: REFUSAL}
    await hall.route("catch_all()", "stop()")
    assert await hall.refuses(f"bob@{DOMAIN}", f"eve@{DOMAIN}", f"bob@{OTHER}") == REFUSAL
    await hall.told()
    found = await hall.house.database.read(lambda c: journal.recent(c, EventFilter(), 9))
    assert [(event.type.word, event.domain, event.recipient) for event in found] == [
        ("rejected", DOMAIN, f"bob@{DOMAIN}"),
        ("rejected", OTHER, f"bob@{OTHER}"),
    ]
    assert sum(hall.take.tally.refused.values()) == 1


async def test_spam_is_not_told_as_dropped_while_the_message_is_refused_for_another_domain(hall):
    hall.checker.spam = True
    hall.checker.refusal = {SpamAction.TAG: Reply(451, "7.1", "later")}
    await hall.set(DOMAIN, spam_action="delete")
    await hall.set(OTHER, spam_action="tag")
    assert (await hall.refuses(f"bob@{DOMAIN}", f"bob@{OTHER}")).code == 451
    await hall.told()
    found = await hall.house.database.read(lambda c: journal.recent(c, EventFilter(), 9))
    assert ["later" in event.detail["reject"]["description"] for event in found] == [True, True]
    assert hall.take.tally.dropped == 0


async def test_a_large_message_is_copied_few_times(hall, tmp_path):
    (tmp_path / "spool").mkdir()
    await hall.route("catch_all()", 'forward("http://a.example/, c@d.example")')
    large = MAIL + b"x" * 30_000_000
    await hall.gets("bob")  # what is loaded once is loaded
    tracemalloc.start()
    try:
        await hall.gets("bob", content=large)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2.5 * len(large)  # beside the one that came


async def test_nothing_is_stored_when_the_filter_of_one_domain_gives_no_answer(hall):
    hall.checker.refusal = {SpamAction.TAG: Reply(451, "7.1", "later")}
    await hall.set(OTHER, spam_action="tag")
    await hall.route("catch_all()", "stop()")
    assert (await hall.refuses(f"bob@{DOMAIN}", f"bob@{OTHER}")).code == 451
    assert await hall.rows() == []


async def test_more_copies_than_one_message_may_make_are_refused_before_they_are_made(hall, monkeypatch):
    monkeypatch.setattr(take_module, "MAX_COPIES", 30)
    made = []
    counted = Copies.of
    monkeypatch.setattr(Copies, "of", lambda self, *a: (made.append(one) or one for one in counted(self, *a)))
    for number in range(5):
        urls = ", ".join(f"http://a{number}.example/{n}" for n in range(10))
        await hall.route("match_recipient('.*')", f'forward("{urls}")')
    assert (await hall.refuses("bob")).detail == "5.3"
    assert len(made) == 31
    assert await hall.rows() == []


async def test_a_store_that_takes_nothing_is_told_so_for_all(hall):
    await hall.route("catch_all()", "stop()")
    hall.house.gate = Reply(452, "3.1", "full")
    assert (await hall.refuses(f"bob@{DOMAIN}", f"bob@{OTHER}")).code == 452


async def test_a_target_that_a_stranger_made_unusable_is_left_out_and_the_rest_is_done(hall, caplog):
    caplog.set_level(logging.INFO, "mtad")
    action = r'forward("http://user:s3cret@\1.a.example/")', 'forward("http://b.example/")'
    await hall.route('match_header("subject", "(.*)")', *action)
    await hall.gets("bob", content=MAIL.replace(b"Order 17", b"evil.example/x?"))
    assert [address for address, _, _ in await hall.rows()] == ["http://b.example/"]
    assert "route-fault" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_message_that_patterns_take_too_long_for_waits_and_nothing_of_it_is_done(hall):
    await hall.route('match_recipient("(?:a|aa)+(?!b)$")', 'forward("http://a.example/")')
    await hall.route("catch_all()", 'forward("http://b.example/")', priority=1)
    people = ["a" * 50 + f"b{number}" for number in range(15)]
    assert (await hall.refuses(*people)).code == 451
    assert await hall.rows() == []
    [(word, _, _)] = await hall.told()
    assert word == "rejected"
    await hall.gets(people[0])
    assert [address for address, *_ in await hall.rows()] == ["http://b.example/"]


async def test_others_have_their_turn_while_a_message_for_many_is_routed(hall):
    await hall.route('match_recipient("n")', "stop()")
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await hall.gets(*[f"n{number}" for number in range(200)])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert turns >= 199


async def test_mail_for_the_postmaster_that_no_route_takes_goes_where_it_was_said(hall):
    hall.take.postmaster = Postmaster(parse_address("ops@their.example"), "mx.ours.example")
    await hall.route('match_recipient("bob@")', "stop()")
    for role in ("postmaster", "Abuse"):
        assert hall.take.takes(parse_address(f"{role}@{DOMAIN}"))
        await hall.gets(role)
    assert [row[:2] for row in await hall.rows()] == [
        ("ops@their.example", f"rfc822;postmaster@{DOMAIN}"),
        ("ops@their.example", f"rfc822;Abuse@{DOMAIN}"),
    ]
    [flags] = await hall.house.database.read(lambda c: c.execute("SELECT DISTINCT flags FROM messages").fetchone())
    assert flags & Flag.VERP  # its reports come to us, not to whoever wrote
    first, _ = await hall.house.stored()
    assert (await hall.refuses("postmaster", content=first.raw)).detail == "4.6"  # it has been here


async def test_a_route_comes_before_the_postmaster(hall):
    hall.take.postmaster = Postmaster(parse_address("ops@their.example"))
    await hall.route('match_recipient("postmaster@")', 'forward("eve@their.example")')
    await hall.gets("postmaster")
    assert [row[0] for row in await hall.rows()] == ["eve@their.example"]


async def test_the_postmaster_of_our_own_host_is_that_of_the_first_domain(hall):
    hall.take.postmaster = Postmaster(parse_address("ops@their.example"), "mx.ours.example")
    hall.take.spare = lambda: hall.house.tenants.find(DOMAIN)
    assert not hall.take.takes(parse_address("bob@mx.ours.example"))
    assert not hall.take.takes(parse_address("postmaster@their.example"))
    assert hall.take.takes(parse_address("postmaster@mx.ours.example"))
    await hall.gets("postmaster@mx.ours.example")
    assert [row[:2] for row in await hall.rows()] == [("ops@their.example", "rfc822;postmaster@mx.ours.example")]


async def test_without_a_postmaster_the_refusal_says_what_is_to_be_set(hall):
    assert not hall.take.takes(parse_address(f"postmaster@{DOMAIN}"))
    assert "inbound.postmaster" in refusal(parse_address(f"PostMaster@{DOMAIN}")).text
    assert "inbound.postmaster" not in refusal(parse_address(f"bob@{DOMAIN}")).text


async def test_what_comes_is_counted_by_what_becomes_of_it(hall):
    await hall.route('match_recipient("a@")', 'forward("http://a.example/, c@d.example")', "store()")
    await hall.route('match_recipient("b@")', "stop()")
    await hall.gets("a", "b")
    await hall.gets("a")
    await hall.refuses("nobody")
    await hall.refuses("a", content=b"Received: x\r\n" * 6 + MAIL)
    tally = hall.take.tally
    assert (tally.received, tally.taken, tally.dropped) == (4, 2, 0)
    assert tally.copies == {"posted": 2, "forwarded": 2, "stored": 2, "consumed": 1}
    assert tally.refused == {"nobody": 1, "loop": 1}


async def test_who_is_taken_at_rcpt(hall):
    await hall.set(DOMAIN, wildcard=True)
    await hall.route('match_recipient("bob@")', "stop()")
    for text, taken in (
        (f"bob@{DOMAIN}", True),
        (f"bob@sub.{DOMAIN}", True),
        (f"eve@{DOMAIN}", False),
        (f"bob@sub.{OTHER}", False),
        ("bob@their.example", False),
    ):
        assert hall.take.takes(parse_address(text)) is taken
