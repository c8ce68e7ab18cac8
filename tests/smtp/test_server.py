"""One connection as its client sees it: commits, AUTH, TLS, PROXY, limits and deadlines."""

import asyncio
import base64
import logging
import smtplib
import ssl
import struct
from ipaddress import ip_address

import pytest

from mtad.mail.ids import from_queue_id
from mtad.mail.reply import Refused, Reply
from mtad.smtp.limits import Budget
from mtad.smtp.session import Listener
from tests.smtp.house import LOGIN, PASSWORD, house
from tests.virtualclock import VirtualClock


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def plain(login, password):
    return base64.b64encode(f"\0{login}\0{password}".encode()).decode()


def b64(text):
    return base64.b64encode(text.encode()).decode()


# A message and its reply


async def test_the_reply_names_the_message():
    async with house() as one:
        client = await (await one.connect()).in_data()
        answer = await finish(client)
        assert answer.startswith("250 2.0.0 Queued as ")
        assert from_queue_id(answer.split()[-1]) == 1
        assert (one.taken[0].peer, one.taken[0].domain) == ("127.0.0.1", "")
        assert one.taken[0].received_at > 1_600_000_000
        assert (await client.ask("QUIT")).startswith("221 ")
        assert await client.is_closed()


async def finish(client, text="Subject: hi\r\n\r\n"):
    client.send(text + ".\r\n")
    return await client.answer()


async def test_nothing_says_250_before_the_commit_has_ended():
    async with house() as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\nNOOP\r\n")
        await one.until(lambda: one.waiting)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.readline(), 0.05)
        one.settle()
        assert [(await client.answer())[:3], (await client.answer())[:3]] == ["250", "250"]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (Refused(Reply(554, "6.0", "too many hops")), "554 5.6.0 too many hops"),
        (Refused(Reply(452, "3.1", "disk full")), "452 4.3.1 disk full"),
        (OSError("disk on fire"), "451 4.3.0"),
    ],
)
async def test_a_commit_that_fails_is_never_a_250(error, answer):
    async with house() as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\n")
        await one.until(lambda: one.waiting)
        one.settle(error)
        assert (await client.answer()).startswith(answer)
        one.hold, one.refusal = False, error
        await client.ask("MAIL FROM:<a@b.test>", "RCPT TO:<bob@ours.test>", "DATA")
        assert (await finish(client)).startswith(answer)
        assert one.counters["messages"] == 0


async def test_a_cancelled_commit_is_a_451():
    async with house() as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\n")
        await one.until(lambda: one.waiting)
        one.waiting.pop().cancel()
        assert (await client.answer()).startswith("451 4.3.0")


async def test_a_client_that_leaves_during_the_commit_does_not_take_the_message_with_it():
    async with house() as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\n")
        await one.until(lambda: one.waiting)
        client.reset()
        await one.until(lambda: one.listeners.connections == 0)
        assert not one.waiting[0].cancelled()
        assert one.budget.used > 0
        one.settle()
        await one.until(lambda: one.counters["messages"] == 1)


async def test_a_client_that_ends_its_side_early_still_gets_its_reply():
    async with house() as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\n")
        client.writer.write_eof()
        await one.until(lambda: one.waiting)
        await asyncio.sleep(0.01)
        one.settle()
        assert (await client.answer()).startswith("250 ")
        assert await client.is_closed()


async def test_what_comes_behind_a_message_being_committed_stays_in_the_kernel():
    async with house() as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\n")
        await one.until(lambda: one.waiting)
        [door] = one.listeners._shared.doors
        client.send(b"NOOP xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n" * 9_000)
        await one.until(lambda: door._read_paused)
        assert door._receiver.buffered < 600_000
        one.settle()
        for _ in range(9_001):
            assert (await client.answer()).startswith("250 ")


async def test_replies_that_nobody_reads_stop_the_work():
    async with house(max_commands=1_000_000) as one:
        client = await (await one.connect()).greeted()
        client.writer.transport.pause_reading()
        for _ in range(200):
            client.send(b"EHLO a\r\n" * 4_000)
        [door] = one.listeners._shared.doors
        await one.until(lambda: door._write_paused and door._read_paused)
        assert door.transport.get_write_buffer_size() < 1_000_000
        assert door._receiver.buffered < 1_000_000
        client.reset()
        await one.until(lambda: one.listeners.connections == 0)


async def test_memory_for_content_is_shared_by_all_connections():
    async with house(budget=Budget(100_000)) as one:
        first = await (await one.connect()).in_data()
        second = await (await one.connect()).in_data()
        first.send("x" * 90_000)
        await one.until(lambda: one.budget.used >= 90_000)
        second.send("x" * 20_000)
        assert (await finish(second, "\r\n")).startswith("452 4.3.1")
        assert (await finish(first, "\r\n")).startswith("250 ")


# AUTH and TLS


def by_smtplib(port, context, mechanism, implicit):
    kind = smtplib.SMTP_SSL if implicit else smtplib.SMTP
    with kind("127.0.0.1", port, timeout=10, **({"context": context} if implicit else {})) as client:
        if not implicit:
            client.ehlo()
            assert not client.has_extn("auth")
            client.starttls(context=context)
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        client.esmtp_features["auth"] = mechanism
        client.login(LOGIN, PASSWORD)
        return client.sendmail("ann@elsewhere.test", ["x@far.test"], b"Subject: hi\r\n\r\n.dot\r\n")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("kind", list(Listener))
async def test_smtplib_logs_in_under_tls_and_sends_anywhere(certificate, authority, mechanism, kind):
    async with house(certificate) as one:
        implicit = kind is Listener.SUBMISSIONS
        refused = await asyncio.to_thread(by_smtplib, one.port(kind), trusting(authority), mechanism, implicit)
        assert refused == {}
        [taken] = one.taken
        assert taken.content == b"Subject: hi\r\n\r\n.dot\r\n"
        assert (taken.login, taken.domain, taken.protocol) == (LOGIN, "ours.test", "ESMTPSA")


async def test_auth_in_the_clear_only_where_it_is_allowed(certificate):
    async with house(certificate) as one:
        client = await (await one.connect()).greeted()
        assert (await client.ask("AUTH PLAIN " + plain(LOGIN, PASSWORD))).startswith("538 5.7.11")
    async with house(auth_without_tls=True) as one:
        client = await (await one.connect(Listener.SUBMISSION)).greeted()
        assert (await client.ask("MAIL FROM:<a@b.test>")).startswith("530 5.7.0")
        assert (await client.ask("AUTH PLAIN " + plain(LOGIN, PASSWORD))).startswith("235 2.7.0")
        assert (await client.ask("MAIL FROM:<a@b.test>", "RCPT TO:<far@away.test>")).startswith("250 2.1.5")


async def test_the_dialogue_of_auth():
    async with house(auth_without_tls=True, auth_delay_s=0.0) as one:
        client = await (await one.connect()).greeted()
        assert await client.ask("AUTH LOGIN") == "334 " + b64("Username:")
        assert await client.ask("*") == "501 5.7.0 Auth aborted"
        assert await client.ask("AUTH PLAIN") == "334"
        assert (await client.ask("?not base64?")).startswith("501 5.5.2")
        assert (await client.ask("AUTH PLAIN " + b64("no zeros"))).startswith("501 5.5.2")
        assert (await client.ask("AUTH PLAIN =")).startswith("501 5.5.2")
        assert await client.ask("auth login " + b64(LOGIN)) == "334 " + b64("Password:")
        assert (await client.ask(b64("wrong"))).startswith("535 5.7.8")
        assert (await client.ask("AUTH PLAIN " + plain("broken", "x"))).startswith("454 4.7.0")
        client.send(f"AUTH LOGIN\r\n{b64(LOGIN)}\r\n{b64(PASSWORD)}\r\nNOOP\r\n")  # pipelined, against all manners
        assert [(await client.answer())[:3] for _ in range(4)] == ["334", "334", "235", "250"]


async def test_passwords_beyond_ascii_and_of_any_length_are_checked():
    async with house(auth_without_tls=True) as one:
        one.passwords["jürgen@ours.test"] = "pässwörd" * 800
        client = await (await one.connect()).greeted()
        assert await client.ask("AUTH PLAIN") == "334"
        assert (await client.ask(plain("jürgen@ours.test", "pässwörd" * 800))).startswith("235 ")


async def test_an_endless_auth_line_ends_the_session():
    async with house(auth_without_tls=True) as one:
        client = await (await one.connect()).greeted()
        await client.ask("AUTH PLAIN")
        client.send("A" * 20_000)
        assert (await client.answer()).startswith("500 5.5.2")
        assert await client.is_closed()


async def test_no_password_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    async with house(auth_without_tls=True, auth_delay_s=0.0) as one:
        client = await (await one.connect()).greeted()
        await client.ask("AUTH PLAIN " + plain(LOGIN, "hunter2"))
        await client.ask("AUTH LOGIN", b64(LOGIN))
        await client.ask("hunter2!")
        await client.ask("AUTH PLAIN " + plain("broken", "hunter2"))
    assert "auth-wrong" in caplog.text
    assert "hunter2" not in caplog.text
    assert plain(LOGIN, "hunter2") not in caplog.text
    assert b64("hunter2") not in caplog.text


async def test_a_wrong_password_waits_longer_each_time_then_the_address_is_shut_out():
    clock = VirtualClock()
    async with house(auth_without_tls=True, auth_failures_per_address=3, clock=clock) as one:
        for wait_s, code in ((1.0, "535 5.7.8"), (2.0, "535 5.7.8"), (4.0, "421 4.7.0")):
            client = await (await one.connect()).greeted()
            client.send(f"AUTH PLAIN {plain(LOGIN, 'wrong')}\r\n")
            await one.until(lambda: clock.sleepers == 2)  # the sweeper's and this one
            clock.advance(wait_s - 0.1)
            await asyncio.sleep(0.01)
            assert [door for door in one.listeners._shared.doors if door._lines]
            clock.advance(0.2)
            assert (await client.answer()).startswith(code)
        client = await (await one.connect()).greeted()
        assert (await client.ask("AUTH PLAIN " + plain(LOGIN, PASSWORD))).startswith("421 4.7.0")
        assert await client.is_closed()
        clock.advance(601)
        client = await (await one.connect()).greeted()
        assert (await client.ask("AUTH PLAIN " + plain(LOGIN, PASSWORD))).startswith("235 ")


async def test_a_client_that_leaves_during_auth_leaves_nothing_behind():
    async with house(auth_without_tls=True) as one:
        client = await (await one.connect()).greeted()
        await client.ask("AUTH LOGIN")
        client.reset()
        await one.until(lambda: not one.listeners.connections and not one.listeners._shared.tasks)


async def test_starttls_starts_afresh(certificate, authority):
    async with house(certificate) as one:
        client = await (await one.connect()).greeted()
        assert (await client.ask("MAIL FROM:<a@b.test>", "STARTTLS")).startswith("220 ")
        await client.writer.start_tls(trusting(authority), server_hostname="127.0.0.1")
        assert (await client.ask("MAIL FROM:<a@b.test>")).startswith("503 5.5.1")
        await client.ask("EHLO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<bob@ours.test>", "DATA")
        assert (await finish(client)).startswith("250 ")
        assert one.taken[0].protocol == "ESMTPS"


async def test_what_is_sent_in_the_clear_behind_starttls_is_never_obeyed(certificate):
    async with house(certificate) as one:
        client = await (await one.connect()).greeted()
        client.send("STARTTLS\r\nNOOP\r\n")
        assert (await client.answer()).startswith("554 5.5.1")
        assert await client.is_closed()
        late = await (await one.connect()).greeted()
        assert (await late.ask("STARTTLS")).startswith("220 ")
        late.send("NOOP\r\nNOOP\r\n")
        assert b"250" not in await asyncio.wait_for(late.reader.read(), 10)
        await one.until(lambda: one.counters["tls-failures"] == 1 and one.listeners.connections == 0)


async def test_a_client_that_leaves_in_the_handshake_leaves_nothing_behind(certificate):
    async with house(certificate) as one:
        client = await one.connect(Listener.SUBMISSIONS)
        await one.until(lambda: one.listeners.connections == 1)
        client.reset()
        await one.until(lambda: one.listeners.connections == 0)
        assert one.listeners._shared.connections.total == 0


async def test_the_first_octets_of_tls_are_not_lost_however_soon_they_come(certificate, authority):
    """uvloop reads on after connection_made even when told not to; so a client in the same loop comes too early."""
    async with house(certificate) as one:
        tries = [one.connect(Listener.SUBMISSIONS, ssl=trusting(authority)) for _ in range(20)]
        for client in await asyncio.wait_for(asyncio.gather(*tries), 10):
            assert (await client.answer()).startswith("220 ")


async def test_nobody_is_greeted_before_tls_on_the_tls_port(certificate):
    async with house(certificate) as one:
        client = await one.connect(Listener.SUBMISSIONS)
        client.send("EHLO a\r\n")
        assert b"220" not in await asyncio.wait_for(client.reader.read(), 10)


# PROXY


V2_SOURCE = ip_address("2001:db8::9").packed + ip_address("::1").packed + struct.pack("!HH", 1234, 25)
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21" + struct.pack("!H", len(V2_SOURCE)) + V2_SOURCE


@pytest.mark.parametrize(
    ("header", "peer"), [(b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\r\n", "192.0.2.9"), (V2, "2001:db8::9")]
)
async def test_a_balancer_names_the_client(header, peer):
    async with house(proxy_networks=("127.0.0.0/8",)) as one:
        client = await one.connect()
        client.send(header[:20])
        await asyncio.sleep(0.01)
        client.send(header[20:] + b"EHLO early\r\n")
        assert (await client.answer()).startswith("220 ")
        assert (await client.answer()).startswith("250 ")
        await client.ask("MAIL FROM:<a@b.test>", "RCPT TO:<bob@ours.test>", "DATA")
        await finish(client)
        assert one.taken[0].peer == peer


async def test_trust_is_in_the_client_not_in_its_balancer():
    async with house(proxy_networks=("127.0.0.0/8",), trusted_networks=("127.0.0.0/8",)) as one:
        client = await one.connect(Listener.SUBMISSION)
        client.send("PROXY TCP4 192.0.2.9 127.0.0.1 1234 25\r\nEHLO a\r\nMAIL FROM:<a@b.test>\r\n")
        assert [(await client.answer())[:3] for _ in range(3)] == ["220", "250", "530"]


async def test_trusted_networks_submit_without_auth_but_never_by_mx():
    async with house(trusted_networks=("127.0.0.0/8",)) as one:
        client = await (await one.connect(Listener.SUBMISSION)).in_data("x@far.test")
        await finish(client)
        assert (one.taken[0].domain, one.taken[0].login) == ("ours.test", "")
        stranger = await (await one.connect(Listener.MX)).greeted()
        assert (await stranger.ask("MAIL FROM:<a@ours.test>", "RCPT TO:<x@far.test>")).startswith("550 5.7.1")


async def test_bare_newlines_are_mended_for_listed_networks_only():
    for networks, code in ((("127.0.0.0/8",), "250 2.0.0"), (("192.0.2.0/24",), "554 5.6.11")):
        async with house(bare_newline_networks=networks) as one:
            client = await (await one.connect()).in_data()
            assert (await finish(client, "a\nb\r\n")).startswith(code)


async def test_a_balancer_without_a_header_is_refused():
    async with house(proxy_networks=("127.0.0.0/8",)) as one:
        client = await one.connect()
        client.send("EHLO a\r\nMAIL FROM:<a@b.test>\r\n")
        assert (await client.answer()).startswith("421 4.7.0")
        assert await client.is_closed()


async def test_a_header_from_anybody_else_is_refused():
    async with house(proxy_networks=("192.0.2.0/24",)) as one:
        client = await one.connect()
        await client.answer()
        assert (await client.ask("PROXY TCP4 192.0.2.9 127.0.0.1 1234 25")).startswith("421 4.7.0")
        assert await client.is_closed()


@pytest.mark.parametrize("together", [True, False])
async def test_tls_may_follow_the_header_at_once(certificate, authority, together):
    """The client's first TLS octets come in one piece with the header, or after it."""
    async with house(certificate, proxy_networks=("127.0.0.0/8",)) as one:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        client = await one.connect(Listener.SUBMISSIONS)
        client.send(b"PROXY TCP4 192.0.2.9 127.0.0.1 1234 465\r\n")
        if not together:
            await one.until(lambda: one.listeners._shared.tasks)

        async def work(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    client.send(outgoing.read())
                    data = await asyncio.wait_for(client.reader.read(65_536), 10)
                    assert data
                    incoming.write(data)

        await work(tls.do_handshake)
        assert (await work(lambda: tls.read(100))).startswith(b"220 ")
        tls.write(b"EHLO a\r\n")
        assert b"AUTH PLAIN LOGIN" in await work(lambda: tls.read(1000))
        [door] = one.listeners._shared.doors
        assert door._receiver.session.peer == "192.0.2.9"
        client.reset()


# Limits and deadlines


async def test_an_address_holds_so_many_connections():
    async with house(max_connections_per_address=2) as one:
        held = [await (await one.connect()).greeted() for _ in range(2)]
        third = await one.connect()
        assert (await third.answer()).startswith("421 4.7.0")
        assert await third.is_closed()
        assert one.counters["refused-connections"] == 1
        await held[0].ask("QUIT")
        await one.until(lambda: one.listeners._shared.connections.total == 1)
        await (await one.connect()).greeted()


async def test_all_addresses_together_hold_so_many_connections(certificate):
    async with house(certificate, max_connections=1) as one:
        await (await one.connect()).greeted()
        second = await one.connect()
        assert (await second.answer()).startswith("421 4.3.2")
        third = await one.connect(Listener.SUBMISSIONS)
        assert await third.is_closed()


async def swept(one, clock, by_s, times=1):
    for _ in range(times):
        await one.until(lambda: clock.sleepers)
        clock.advance(by_s)
        await asyncio.sleep(0.005)


async def test_an_idle_client_is_told_and_closed():
    clock = VirtualClock()
    async with house(clock=clock) as one:
        client = await (await one.connect()).greeted()
        await swept(one, clock, 5, 2)
        await swept(one, clock, 290)
        assert one.listeners.connections == 1
        client.send("N")  # a stray octet is no life
        await swept(one, clock, 6)
        await swept(one, clock, 6)
        assert (await client.answer()).startswith("421 4.4.2")
        assert await client.is_closed()
        assert one.counters["timeouts-idle"] == 1


async def test_a_client_that_goes_on_is_not_closed():
    clock = VirtualClock()
    async with house(clock=clock) as one:
        client = await (await one.connect()).greeted()
        for _ in range(5):
            await swept(one, clock, 200)
            assert (await client.ask("NOOP")).startswith("250 ")


async def test_content_that_drips_is_cut_off():
    clock = VirtualClock()
    async with house(clock=clock) as one:
        client = await (await one.connect()).in_data()
        for _ in range(7):
            client.send("drip\r\n")
            await swept(one, clock, 100)
        assert (await client.answer()).startswith("421 4.4.2")
        assert one.counters["timeouts-data"] == 1


async def test_a_chunk_that_is_only_read_away_may_take_its_time_too():
    clock = VirtualClock()
    async with house(clock=clock) as one:
        client = await (await one.connect()).greeted()
        for _ in range(4):
            await swept(one, clock, 200)
            assert (await client.ask("NOOP")).startswith("250 ")
        client.send("BDAT 10 LAST\r\nabc")
        await swept(one, clock, 100)
        client.send("defghij")
        assert (await client.answer()).startswith("503 5.5.1")
        assert (await client.ask("NOOP")).startswith("250 ")
        client.send("BDAT 10 LAST\r\nabc")
        for _ in range(7):
            await swept(one, clock, 100)
        assert (await client.answer()).startswith("421 4.4.2")


async def test_a_slow_commit_is_no_idle_client():
    clock = VirtualClock()
    async with house(clock=clock) as one:
        one.hold = True
        client = await (await one.connect()).in_data()
        client.send("text\r\n.\r\n")
        await one.until(lambda: one.waiting)
        await swept(one, clock, 200, 10)
        one.settle()
        assert (await client.answer()).startswith("250 ")


async def test_a_client_that_takes_no_reply_is_cut_off():
    clock = VirtualClock()
    async with house(clock=clock, max_commands=1_000_000) as one:
        client = await (await one.connect()).greeted()
        client.writer.transport.pause_reading()
        client.send(b"EHLO a\r\n" * 800_000)
        [door] = one.listeners._shared.doors
        await one.until(lambda: door._write_paused and door._read_paused)
        await swept(one, clock, 200, 4)
        await one.until(lambda: one.listeners.connections == 0)
        client.reset()
