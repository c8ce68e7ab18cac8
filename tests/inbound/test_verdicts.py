import asyncio
import threading

import dkim as dkimpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound import askers
from mtad.inbound.arc import Arc, ArcResult, Sealer, seal
from mtad.inbound.dmarc import Dmarc, DmarcResult, Policy
from mtad.inbound.lookup import MAX_QUESTIONS, Bridge, Kind, LookupTrouble, TooManyQuestions
from mtad.inbound.results import Findings, User
from mtad.inbound.spam import Scan, Spam, SpamAction
from mtad.inbound.spf import Identity, Spf, SpfResult
from mtad.inbound.verdicts import Checker, CheckSettings, DomainSettings, OnReject, drops, refusal_of
from mtad.mail.address import Address
from mtad.message.finish import finish
from mtad.message.headers import scan
from tests.dnsserver import DnsServer
from tests.inbound.zones import NOW, RSA_KEY, RSA_RECORD, RSA_SIGNER, TROUBLE, fill, quoted, resolver, said
from tests.virtualclock import VirtualClock

MAIL = b"From: Bob <bob@example.org>\r\nTo: amy@example.com\r\nSubject: hello\r\n\r\nhello\r\n"
BOB = Address("bob", "example.org")
US = CheckSettings(authserv_id="mx.mtad.test")


class FakeSpamd:
    fail_closed = False

    def __init__(self, found):
        self.found, self.scanned = found, []

    async def scan(self, head, content):
        self.scanned.append(head + content)
        return self.found


def signed(content=MAIL):
    return b"".join(finish(content, (RSA_SIGNER,), NOW))


class House:
    def __init__(self, server, **about):
        self.server, self.about = server, about

    async def check(self, content=MAIL, peer="192.0.2.1", sender=BOB, helo="mail.example.org", **about):
        about = {**self.about, **about}
        checker = Checker(
            about.get("settings", US), resolver(self.server), VirtualClock(NOW), about.get("spamd"), lambda: 0.5
        )
        try:
            action = about.get("spam_action", SpamAction.DISABLED)
            return await checker.check(
                content, about.get("block"), peer, helo, sender, DomainSettings(action), about.get("user")
            )
        finally:
            checker.close()


@pytest.fixture
async def house():
    async with DnsServer() as server:
        fill(server)
        yield House(server)


def words(verdicts):
    found = verdicts.findings
    return (
        str(found.spf.result),
        [str(one.result) for one in found.dkim],
        str(found.dmarc.result),
        str(found.arc.result),
    )


async def test_signed_mail_from_its_own_host_passes_everything(house):
    verdicts = await house.check(signed())
    assert words(verdicts) == ("pass", ["pass"], "pass", "none")
    assert (verdicts.refusal, verdicts.drop) == (None, False)
    assert verdicts.results.startswith("mx.mtad.test; spf=pass smtp.mailfrom=example.org; dkim=pass ")
    assert scan(verdicts.fields + verdicts.content).text(b"x-mailgun-incoming") == "Yes"


async def test_mail_of_somebody_else_in_their_name_is_refused(house):
    verdicts = await house.check(MAIL, peer="[198.51.100.1]")
    assert words(verdicts) == ("fail", [], "fail", "none")
    assert str(verdicts.refusal).startswith("550 5.7.1 ")


@pytest.mark.parametrize(("login", "said"), [("bob@example.org", "auth=pass smtp.auth=bob@example.org; "), ("", "")])
async def test_a_user_of_ours_is_not_judged_by_his_own_machine(house, login, said):
    verdicts = await house.check(MAIL, peer="198.51.100.1", user=User(login))
    assert (verdicts.refusal, verdicts.drop) == (None, False)
    assert verdicts.results == f"mx.mtad.test; {said}dkim=none; arc=none"


async def test_a_users_spam_is_marked_and_goes_on(house):
    spamd = FakeSpamd(Spam(Scan.DONE, 9.0, 5.0, True))
    verdicts = await house.check(spamd=spamd, spam_action=SpamAction.DELETE, user=User("bob@example.org"))
    assert not verdicts.drop
    assert b"X-Mailgun-Sflag: Yes\r\n" in verdicts.fields
    spamd.fail_closed, spamd.found = True, Spam(Scan.UNAVAILABLE)
    assert (await house.check(spamd=spamd, spam_action=SpamAction.TAG)).refusal.code == 451
    assert (await house.check(spamd=spamd, spam_action=SpamAction.TAG, user=User())).refusal is None


async def test_a_forward_is_told_from_a_forgery_by_its_signature(house):
    verdicts = await house.check(signed(), peer="198.51.100.1")
    assert words(verdicts) == ("fail", ["pass"], "pass", "none")
    assert verdicts.refusal is None


async def test_a_sub_domain_that_wants_quarantine_is_not_refused(house):
    verdicts = await house.check(MAIL.replace(b"bob@example.org", b"bob@news.example.org"), peer="198.51.100.1")
    assert (words(verdicts)[2], verdicts.findings.dmarc.wanted, verdicts.refusal) == ("fail", Policy.QUARANTINE, None)


async def test_nothing_is_refused_where_it_is_only_to_be_marked(house):
    settings = CheckSettings(authserv_id="mx.mtad.test", on_reject=OnReject.MARK)
    verdicts = await house.check(MAIL, peer="198.51.100.1", settings=settings)
    assert (words(verdicts)[2], verdicts.refusal) == ("fail", None)


async def test_unknown_domains_have_no_results(house):
    mail = MAIL.replace(b"example.org", b"unknown.example")
    verdicts = await house.check(mail, sender=Address("bob", "unknown.example"))
    assert words(verdicts) == ("none", [], "none", "none")


async def test_the_null_path_is_judged_by_the_helo_name(house):
    house.server.add("mail.example.org", "TXT", quoted("v=spf1 a -all"))
    house.server.add("mail.example.org", "A", "192.0.2.1")
    verdicts = await house.check(MAIL, sender=None)
    assert words(verdicts)[::2] == ("pass", "pass")
    assert verdicts.findings.spf.identity is Identity.HELO
    assert "smtp.helo=mail.example.org" in verdicts.results
    assert b"X-Envelope-From: <>\r\n" in verdicts.fields


async def test_every_kind_of_question_spf_has_is_answered(house):
    server = house.server
    server.add("all.example", "TXT", quoted("v=spf1 a:four.example a:six.example mx ptr -all"))
    server.add("four.example", "A", "198.51.100.1")
    server.add("six.example", "AAAA", "2001:db8::1")
    server.add("all.example", "MX", "10 four.example")
    server.add("9.100.51.198.in-addr.arpa", "PTR", "host.all.example.")
    server.add("host.all.example", "A", "198.51.100.9")
    sender = Address("bob", "all.example")
    results = [
        str((await house.check(peer=peer, sender=sender)).findings.spf.result)
        for peer in ("198.51.100.1", "[IPv6:2001:db8::1]", "198.51.100.9", "198.51.100.10")
    ]
    assert results == ["pass", "pass", "pass", "fail"]


async def test_servers_that_fail_are_temporary_errors(house):
    for name in ("example.org", "r1._domainkey.example.org", "_dmarc.example.org"):
        house.server.fail(name)
    verdicts = await house.check(signed())
    assert words(verdicts) == ("temperror", ["temperror"], "temperror", "none")
    assert verdicts.refusal is None


@pytest.mark.parametrize(
    "silent", ["example.org", "included.example", "r1._domainkey.example.org", "_dmarc.example.org"]
)
async def test_servers_that_are_silent_cost_no_more_than_the_time_limit(house, silent):
    house.server.add("example.org", "TXT", quoted("v=spf1 include:included.example -all"))
    house.server.add("included.example", "TXT", quoted("v=spf1 ip4:192.0.2.0/24 -all"))
    house.server.silence(silent)
    settings = CheckSettings(authserv_id="mx.mtad.test", time_limit_s=0.5)
    verdicts = await house.check(signed(), settings=settings)
    expected = {
        "example.org": ("temperror", ["pass"], "pass", "none"),
        "included.example": ("temperror", ["pass"], "pass", "none"),
        "r1._domainkey.example.org": ("pass", ["temperror"], "pass", "none"),
        "_dmarc.example.org": ("pass", ["pass"], "temperror", "none"),
    }
    assert words(verdicts) == expected[silent]


async def test_a_thread_that_waits_for_dns_ends_when_nobody_waits_for_it(house):
    house.server.add("example.org", "TXT", quoted("v=spf1 include:silent.example -all"))
    house.server.silence("silent.example")
    checking = asyncio.ensure_future(house.check())
    await house.server.until_asked("silent.example")
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    for thread in threading.enumerate():
        if thread.name.startswith("spf"):
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()


async def test_more_checks_than_threads_all_come_to_an_end(house):
    settings = CheckSettings(authserv_id="mx.mtad.test", threads=2)
    checker = Checker(settings, resolver(house.server), VirtualClock(NOW), None, lambda: 0.5)
    house.server.add("example.org", "TXT", quoted("v=spf1 a:host.example.org -all"))
    house.server.add("host.example.org", "A", "192.0.2.1")
    try:
        checks = [checker.check(signed(), None, "192.0.2.1", "x", BOB, DomainSettings()) for _ in range(20)]
        assert {words(one)[0] for one in await asyncio.gather(*checks)} == {"pass"}
    finally:
        checker.close()


async def test_senders_whose_dns_is_slow_keep_nobody_else_waiting(house):
    house.server.add("slow.example", "TXT", quoted("v=spf1 include:silent.example -all"))
    house.server.silence("silent.example")
    house.server.add("example.org", "TXT", quoted("v=spf1 a:host.example.org -all"))
    house.server.add("host.example.org", "A", "192.0.2.1")
    checker = Checker(US, resolver(house.server), VirtualClock(NOW), None, lambda: 0.5)
    mail, slow = MAIL.replace(b"example.org", b"slow.example"), Address("a", "slow.example")
    held = [
        asyncio.ensure_future(checker.check(mail, None, "198.51.100.1", "x", slow, DomainSettings())) for _ in range(60)
    ]
    try:
        await house.server.until_asked("silent.example")
        async with asyncio.timeout(5):
            found = await asyncio.gather(
                *[checker.check(MAIL, None, "192.0.2.1", "x", BOB, DomainSettings()) for _ in range(20)]
            )
        assert {words(one)[0] for one in found} == {"pass"}
        assert not any(one.done() for one in held)
    finally:
        for one in held:
            one.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        checker.close()


async def test_one_question_has_a_time_of_its_own(house):
    house.server.add("example.org", "TXT", quoted("v=spf1 include:silent.example -all"))
    house.server.silence("silent.example")
    settings = CheckSettings(authserv_id="mx.mtad.test", lookup_s=0.05)
    async with asyncio.timeout(2):
        found = (await house.check(settings=settings)).findings.spf
    assert (str(found.result), found.reason) == ("temperror", "SPF Temporary Error: DNS: no answer in time")


async def test_few_threads_are_at_work_and_none_while_it_waits(house, monkeypatch):
    lock, counts, real = threading.Lock(), [0], askers.evaluate

    def count(change):
        with lock:
            counts.append(counts[-1] + change)

    def noted(sender, peer_ip, helo, now, ask):
        def asked(name, kind):
            count(-1)
            try:
                return ask(name, kind)
            finally:
                count(1)

        count(1)
        try:
            return real(sender, peer_ip, helo, now, asked)
        finally:
            count(-1)

    monkeypatch.setattr(askers, "evaluate", noted)
    house.server.add("example.org", "TXT", quoted("v=spf1 a:host.example.org -all"))
    house.server.add("host.example.org", "A", "192.0.2.1")
    let_go = house.server.hold("host.example.org")
    checker = Checker(US, resolver(house.server), VirtualClock(NOW), None, lambda: 0.5)
    try:
        checks = [
            asyncio.ensure_future(checker.check(MAIL, None, "192.0.2.1", "x", BOB, DomainSettings())) for _ in range(30)
        ]
        await house.server.until_asked("host.example.org")
        let_go.set()
        assert {words(one)[0] for one in await asyncio.gather(*checks)} == {"pass"}
    finally:
        checker.close()
    assert 1 <= max(counts) <= askers.AT_WORK


async def test_several_sessions_in_threads_do_not_mix_their_answers(house):
    senders = [f"d{number}.example" for number in range(12)]
    for number, name in enumerate(senders):
        house.server.add(name, "TXT", quoted(f"v=spf1 a:host.{name} {'-' if number % 2 else '~'}all"))
        house.server.add(f"host.{name}", "A", f"198.51.100.{number}")
    checker = Checker(US, resolver(house.server), VirtualClock(NOW), None, lambda: 0.5)
    try:
        found = await asyncio.gather(
            *[checker.check(MAIL, None, "198.51.100.3", "x", Address("a", name), DomainSettings()) for name in senders]
        )
    finally:
        checker.close()
    assert [str(one.findings.spf.result) for one in found] == [
        "pass" if number == 3 else "fail" if number % 2 else "softfail" for number in range(12)
    ]


def sealed_by_list(mail):
    """As a list that changes the subject passes it on."""
    changed = mail.replace(b"Subject: hello", b"Subject: [list] hello")
    sealer = Sealer("list.example", "k1", RSA_KEY)
    return seal(scan(changed), sealer, Arc(ArcResult.NONE), "list.example; dmarc=pass", NOW) + changed


@pytest.mark.parametrize(("trusted", "refused"), [(frozenset(), True), (frozenset({"list.example"}), False)])
async def test_a_trusted_list_s_seal_stands_in_for_dmarc(house, trusted, refused):
    house.server.add("k1._domainkey.list.example", "TXT", quoted(RSA_RECORD))
    settings = CheckSettings(authserv_id="mx.mtad.test", trusted_sealers=trusted)
    verdicts = await house.check(sealed_by_list(signed()), peer="198.51.100.1", settings=settings)
    assert words(verdicts) == ("fail", ["fail"], "fail", "pass")
    assert (verdicts.refusal is not None) is refused


async def test_a_chain_that_is_none_is_a_failed_one(house):
    verdicts = await house.check(b"ARC-Seal: i=1\r\n" + signed())
    assert words(verdicts) == ("pass", ["pass"], "pass", "fail")


async def test_what_claims_to_be_ours_is_taken_out(house):
    forged = b"Authentication-Results: mx.mtad.test; spf=pass\r\nX-Mailgun-Sflag: No\r\n"
    verdicts = await house.check(forged + signed())
    assert verdicts.content == signed()
    assert verdicts.fields.count(b"Authentication-Results") == 1


@pytest.mark.parametrize(
    ("action", "drop", "flag"),
    [(SpamAction.DISABLED, False, ""), (SpamAction.TAG, False, "Yes"), (SpamAction.DELETE, True, "Yes")],
)
async def test_spam_is_let_through_marked_or_dropped_as_the_domain_wants(house, action, drop, flag):
    spamd = FakeSpamd(Spam(Scan.DONE, 9.0, 5.0, True, ("BAD",)))
    verdicts = await house.check(signed(), spamd=spamd, spam_action=action)
    assert verdicts.drop is drop
    assert scan(verdicts.fields).text(b"x-mailgun-sflag") == flag
    assert len(spamd.scanned) == (action is not SpamAction.DISABLED)


@pytest.mark.parametrize("closed", [True, False])
async def test_a_filter_that_is_down_lets_mail_wait_or_pass(house, closed):
    spamd = FakeSpamd(Spam(Scan.UNAVAILABLE))
    spamd.fail_closed = closed
    verdicts = await house.check(signed(), spamd=spamd, spam_action=SpamAction.DELETE)
    assert str(verdicts.refusal)[:9] == ("451 4.7.1" if closed else "None")
    assert not verdicts.drop


async def test_without_a_spamd_a_filter_still_shows_what_spf_says(house):
    verdicts = await house.check(signed(), spam_action=SpamAction.TAG)
    assert scan(verdicts.fields).text(b"x-mailgun-spf") == "Pass"
    assert b"sflag" not in verdicts.fields.lower()


async def test_a_fault_of_ours_is_a_temporary_error(house, caplog):
    class Broken(NoDns):
        async def txt(self, name):
            raise RuntimeError("a bug")

    checker = Checker(US, Broken(), VirtualClock(NOW), None, lambda: 0.5)
    try:
        verdicts = await checker.check(signed(), None, "192.0.2.1", "x", BOB, DomainSettings())
    finally:
        checker.close()
    assert words(verdicts) == ("temperror", [], "temperror", "temperror")
    assert verdicts.refusal is None
    assert "check-crashed" in caplog.text


async def test_mail_that_goes_on_is_sealed_with_what_was_found(house):
    verdicts = await house.check(signed())
    ours = verdicts.fields + verdicts.content
    sent = seal(scan(ours), Sealer("mtad.test", "k1", RSA_KEY), verdicts.findings.arc, verdicts.results, NOW) + ours
    result, sets, _ = dkimpy.ARC(sent).verify(dnsfunc=lambda name, timeout=5: RSA_RECORD.encode())
    assert result == b"pass"
    assert sets[0]["aar-value"].startswith(b"i=1; mx.mtad.test; spf=pass smtp.mailfrom=example.org; dkim=pass ")


async def test_a_peer_without_an_address_has_no_spf(house):
    assert words(await house.check(signed(), peer=""))[0] == "none"


@pytest.mark.parametrize(
    ("wanted", "on_reject", "refused"),
    [
        (Policy.REJECT, OnReject.REFUSE, True),
        (Policy.REJECT, OnReject.MARK, False),
        (Policy.QUARANTINE, OnReject.REFUSE, False),
        (Policy.NONE, OnReject.REFUSE, False),
    ],
)
def test_what_is_refused(wanted, on_reject, refused):
    failed = Dmarc(DmarcResult.FAIL, "example.org", Policy.REJECT, wanted)
    found = Findings(Spf(SpfResult.FAIL, Identity.MAILFROM, "example.org"), (), failed, Arc(ArcResult.NONE))
    settings = CheckSettings(authserv_id="x", on_reject=on_reject)
    assert (refusal_of(found, settings, fail_closed=True) is not None) is refused
    assert not drops(found, DomainSettings(SpamAction.DELETE))


async def test_a_bridge_asks_each_question_once_and_not_too_many():
    class Counting:
        asked = 0

        async def txt(self, name):
            self.asked += 1
            return TROUBLE if name == "trouble.example" else said("text")

    counting = Counting()
    bridge = Bridge(counting)

    def ask():
        assert [bridge.ask(name, Kind.TXT) for name in ("a.example", "A.example")] == [("text",), ("text",)]
        with pytest.raises(LookupTrouble, match="SERVFAIL"):
            bridge.ask("trouble.example", Kind.TXT)
        for number in range(MAX_QUESTIONS - 2):
            bridge.ask(f"n{number}.example", Kind.TXT)
        with pytest.raises(TooManyQuestions):
            bridge.ask("one-more.example", Kind.TXT)

    await asyncio.to_thread(ask)
    assert counting.asked == MAX_QUESTIONS
    bridge.stop()
    with pytest.raises((LookupTrouble, TooManyQuestions)):
        await asyncio.to_thread(bridge.ask, "new.example", Kind.TXT)


class NoDns:
    """Knows nothing, at once."""

    async def txt(self, name):
        return said()

    mx = ptr = ipv6_addresses = txt

    async def addresses(self, name, *, ipv6=True):
        return said()


PIECES = [b"From: ", b"a@b.example", b"\r\n", b"DKIM-Signature: v=1; ", b"ARC-Seal: i=1;", b" ", b"\xff", b":"]


@settings(max_examples=80)
@given(
    st.lists(st.sampled_from(PIECES), max_size=15).map(b"".join),
    st.binary(max_size=100),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_no_message_and_no_session_breaks_it(header, body, peer, helo):
    async def check():
        checker = Checker(US, NoDns(), VirtualClock(NOW), None, lambda: 0.5)
        try:
            return await checker.check(header + body, None, peer, helo, None, DomainSettings(SpamAction.TAG))
        finally:
            checker.close()

    verdicts = asyncio.run(check())
    assert words(verdicts)[2] in {"none", "permerror"}
    assert not scan(verdicts.fields + b"\r\n").broken
