"""delivery.client: a Connection against a scripted peer: outcomes, time limits, reuse, and how it ends."""

import asyncio

import pytest

from mtad.mail.reply import Deferred, Delivered, Failed, Phase
from tests.delivery.opening import BODY, connected, transaction
from tests.scripted import DEAF, DROP, HANG, Act, Peer, both_loops

LARGE = (b"x" * 998 + b"\r\n") * 12_000  # more than the sockets' buffers hold
STEPWISE = ("8BITMIME",)
CHUNKED = ("PIPELINING", "CHUNKING")


async def closed(connection):
    await asyncio.wait_for(connection.wait_closed(), 10)


@both_loops
async def test_messages_follow_each_other_on_one_connection():
    for extensions in (STEPWISE, ("PIPELINING",), CHUNKED):
        async with Peer(*extensions) as peer:
            connection = await connected(peer)
            for number in range(3):
                (outcome,) = await connection.send(transaction(f"bob{number}@x.example", body=b".dot\r\n..\r\n"))
                assert isinstance(outcome, Delivered)
            assert [taken.rcpts for taken in peer.taken] == [[f"bob{number}@x.example"] for number in range(3)]
            assert {taken.content for taken in peer.taken} == {b".dot\r\n..\r\n"}
            assert connection.sent == 3
            assert connection.alive
            connection.close()
            await closed(connection)
            assert peer.commands[-1] == "QUIT"
            assert not connection.alive


@both_loops
async def test_a_large_body_arrives_whole_in_order():
    for extensions in (("PIPELINING",), CHUNKED):
        async with Peer(*extensions) as peer:
            connection = await connected(peer)
            body = b"".join([b".%d%b\r\n" % (number, b"x" * 990) for number in range(12_000)])
            assert len(body) >= len(LARGE) - 100_000
            (outcome,) = await connection.send(transaction(body=body))
            assert isinstance(outcome, Delivered)
            assert peer.taken[0].content == body
            connection.close()
            await closed(connection)


async def test_several_recipients_have_their_own_outcomes():
    async with Peer(**{"rcpt ann@x.example": "550 5.1.1 who?", "rcpt joe@x.example": "452 4.2.2 full"}) as peer:
        connection = await connected(peer)
        ann, bob, joe = await connection.send(transaction("ann@x.example", "bob@x.example", "joe@x.example"))
        assert isinstance(ann, Failed)
        assert isinstance(bob, Delivered)
        assert isinstance(joe, Deferred)
        assert bob.took_s > 0
        assert bob.hop.host == "mx.example"
        assert peer.taken[0].rcpts == ["bob@x.example"]
        connection.close()
        await closed(connection)


PHASES = ["mail", "rcpt", "data", "final"]


@pytest.mark.parametrize("extensions", [STEPWISE, ("PIPELINING",), CHUNKED], ids=["stepwise", "pipelined", "chunked"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("reply", "kind"), [("451 4.3.0 later", Deferred), ("554 5.7.1 never", Failed)])
async def test_a_refusal_at_each_phase_and_the_next_message_still_goes(extensions, phase, reply, kind):
    if phase == "data" and extensions is CHUNKED:
        phase = "final"
    async with Peer(*extensions, **{phase: [reply, {"data": "354 go"}.get(phase, "250 ok")]}) as peer:
        connection = await connected(peer)
        (outcome,) = await connection.send(transaction())
        assert isinstance(outcome, kind)
        assert (str(outcome.reply), outcome.phase) == (reply, phase)
        assert connection.alive
        (outcome,) = await connection.send(transaction())
        assert isinstance(outcome, Delivered)
        assert "RSET" in peer.commands
        assert len(peer.taken) == 1
        connection.close()
        await closed(connection)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("act", [DROP, Act("421 4.3.2 bye", drop=True)], ids=["dropped", "421"])
async def test_a_connection_ended_at_each_phase(phase, act):
    async with Peer(*STEPWISE, **{phase: act}) as peer:
        connection = await connected(peer)
        (outcome,) = await connection.send(transaction())
        assert isinstance(outcome, Deferred)
        assert outcome.phase == phase
        assert outcome.unknown is (phase == "final" and not act.reply)
        assert outcome.reply.code == (421 if act.reply else 499)
        assert not connection.alive
        assert not connection.stale
        assert isinstance((await connection.send(transaction()))[0], Deferred)
        await closed(connection)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_silent_host_is_given_up_in_time_and_words_say_where(phase):
    limit = {f"{phase}_timeout_s": 0.05}
    async with Peer(*STEPWISE, **{phase: HANG}) as peer:
        connection = await connected(peer, **limit)
        (outcome,) = await connection.send(transaction())
        assert isinstance(outcome, Deferred)
        assert outcome.phase == phase
        assert outcome.unknown is (phase == "final")
        assert "within 0.05 s" in outcome.reply.text
        await closed(connection)


async def test_dripping_lines_earn_no_more_time():
    async with Peer(*STEPWISE, mail=HANG) as peer:
        connection = await connected(peer, mail_timeout_s=0.1)
        sending = asyncio.ensure_future(connection.send(transaction()))
        while not sending.done():
            peer.say(b"250-wait\r\n")
            await asyncio.sleep(0.01)
        assert "sent no reply to MAIL FROM within 0.1 s" in (await sending)[0].reply.text
        await closed(connection)


@both_loops
async def test_a_host_that_stops_reading_is_given_up_and_the_outcome_is_known():
    async with Peer("PIPELINING", data=Act("354 go", deaf=True)) as peer:
        connection = await connected(peer, block_timeout_s=0.05)
        (outcome,) = await connection.send(transaction(body=LARGE))
        assert isinstance(outcome, Deferred)
        assert outcome.reply.text == "mx.example took no more of what we sent for 0.05 s"
        assert not outcome.unknown
        await closed(connection)


async def test_a_refusal_in_mid_message_is_the_outcome_and_ends_the_connection():
    async with Peer("PIPELINING", data=Act("354 go\r\n552 5.3.4 too much", deaf=True)) as peer:
        connection = await connected(peer)
        (outcome,) = await connection.send(transaction(body=LARGE))
        assert isinstance(outcome, Failed)
        assert not connection.alive
        await closed(connection)


@both_loops
async def test_an_idle_connection_that_the_host_ends_is_noticed():
    for end in (lambda peer: peer.say(b"421 4.4.2 idle\r\n"), lambda peer: peer.drop()):
        async with Peer() as peer:
            connection = await connected(peer)
            gone = asyncio.Event()
            connection.on_closed = lambda _, gone=gone: gone.set()
            await connection.send(transaction())
            end(peer)
            await asyncio.wait_for(gone.wait(), 10)
            assert not connection.alive
            assert connection.farewell
            (outcome,) = await connection.send(transaction())
            assert isinstance(outcome, Deferred)
            assert connection.stale
            assert len(peer.taken) == 1


async def test_421_instead_of_the_second_message_is_stale_but_on_the_first_it_is_an_answer():
    async with Peer(mail=["250 ok", Act("421 4.4.2 enough", drop=True)]) as peer:
        connection = await connected(peer)
        await connection.send(transaction())
        (outcome,) = await connection.send(transaction())
        assert str(outcome.reply) == "421 4.4.2 enough"
        assert connection.stale
        await closed(connection)
    async with Peer(mail=Act("421 4.7.0 not you", drop=True)) as peer:
        connection = await connected(peer)
        await connection.send(transaction())
        assert not connection.stale
        await closed(connection)


async def test_the_hosts_limit_of_messages_is_kept():
    async with Peer("PIPELINING", "LIMITS MAILMAX=2 RCPTMAX=5") as peer:
        connection = await connected(peer)
        assert (connection.features.max_messages, connection.features.max_recipients) == (2, 5)
        await connection.send(transaction())
        assert connection.alive
        await connection.send(transaction())
        assert not connection.alive
        connection.close()
        await closed(connection)


async def test_a_message_that_demands_tls_does_not_leave_in_the_clear():
    async with Peer() as peer:
        connection = await connected(peer)
        (outcome,) = await connection.send(transaction(require_tls=True))
        assert isinstance(outcome, Deferred)
        assert (outcome.phase, outcome.reply.enhanced) == (Phase.TLS, "4.7.4")
        assert "MAIL" not in "".join(peer.commands)
        connection.close()
        await closed(connection)


@pytest.mark.parametrize("extensions", [("PIPELINING",), CHUNKED])
async def test_content_that_could_smuggle_never_reaches_the_wire(extensions):
    async with Peer(*extensions) as peer:
        connection = await connected(peer)
        for body in (b"a\r\n.\nMAIL FROM:<x@y>\r\n", b"a\r\n.\rb\r\n", b"a\n.\r\n", b"a\n.\nb\r\n", b"\0\r\n", b"a"):
            with pytest.raises(ValueError):
                await connection.send(transaction(body=body))
        with pytest.raises(ValueError):
            await connection.send(transaction("a@x>\r\nRSET\r\n"))
        (outcome,) = await connection.send(transaction())
        assert isinstance(outcome, Delivered)
        assert peer.commands[1].startswith("MAIL FROM:<ann@s.example>")
        assert peer.received.count(b"MAIL") == len(peer.taken) == 1
        connection.close()
        await closed(connection)


async def test_a_lone_dot_line_goes_out_stuffed_and_arrives_as_it_was():
    async with Peer("PIPELINING") as peer:
        connection = await connected(peer)
        body = b".\r\nQUIT\r\n.\r\n"
        await connection.send(transaction(body=body))
        assert peer.taken[0].content == body
        assert b"\r\n.\r\nQUIT" not in peer.received
        connection.close()
        await closed(connection)


async def test_a_cancelled_send_cuts_the_connection():
    async with Peer(data=HANG) as peer:
        connection = await connected(peer)
        sending = asyncio.ensure_future(connection.send(transaction()))
        while "DATA" not in peer.commands:
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.alive
        await closed(connection)


async def test_two_transactions_at_once_are_a_mistake():
    async with Peer(mail=HANG) as peer:
        connection = await connected(peer)
        sending = asyncio.ensure_future(connection.send(transaction()))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await connection.send(transaction())
        connection.close()  # with a transaction under way this is an abort
        assert isinstance((await sending)[0], Deferred)
        await closed(connection)


@both_loops
async def test_close_leaves_a_host_that_does_not_answer_quit():
    async with Peer(quit=HANG) as peer:
        connection = await connected(peer, quit_timeout_s=0.05)
        await connection.send(transaction())
        connection.close()
        assert not connection.alive
        await closed(connection)
        assert peer.commands[-1] == "QUIT"


async def test_a_host_that_stops_reading_does_not_hold_close_up():
    async with Peer("PIPELINING", data=DEAF) as peer:
        connection = await connected(peer)
        sending = asyncio.ensure_future(connection.send(transaction()))
        while "DATA" not in peer.commands:
            await asyncio.sleep(0)
        connection.close()
        assert isinstance((await sending)[0], Deferred)
        await closed(connection)


async def test_an_idle_connection_has_no_timer():
    async with Peer() as peer:
        connection = await connected(peer, data_timeout_s=0.01)
        await connection.send(transaction(body=BODY))
        await asyncio.sleep(0.03)
        assert connection.alive
        assert connection._timer is None
        connection.close()
        await closed(connection)
