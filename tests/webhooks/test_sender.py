import asyncio
import base64
import logging
import sqlite3
import zlib
from dataclasses import replace

import orjson
import pytest

from mtad.mail.event import EventType
from mtad.storage import outbox
from mtad.storage import webhooks as store
from mtad.storage.outbox import PostFilter, PostState
from mtad.webhooks.kinds import Kind
from mtad.webhooks.settings import WebhookConfig
from tests.virtualclock import VirtualClock
from tests.webhooks.house import HARD, open_house, open_receiver

MINUTE, HOUR = 60.0, 3600.0
LADDER = [10 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR]
LOCAL = WebhookConfig(allow_private=True)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def receiver():
    async with open_receiver() as receiver:
        yield receiver


@pytest.fixture
async def house(tmp_path, clock):
    async with open_house(tmp_path, clock) as house:
        yield house


async def test_an_event_is_posted_signed_and_kept_in_the_ledger(house, receiver):
    await house.hook("deliver", receiver.url("/a?x=1&y=%2f"))
    [post] = await house.events(EventType.DELIVERED, message=await house.message())
    [done] = await house.settled([post])
    [got] = receiver.got
    assert got.path == "/a?x=1&y=%2f"
    assert got.headers["User-Agent"].startswith("mtad/")
    assert got.form["event"] == "delivered"
    assert ["Subject", "Hello"] in orjson.loads(got.form["message-headers"])
    assert len(got.form["token"]) == 50
    assert done.state is PostState.DONE
    [made] = done.made
    assert (made.status, made.error, made.request) == (200, "", got.body)


async def test_both_families_and_all_urls_are_posted_each_for_itself(house, receiver):
    await house.hook("drop", receiver.url("/drop"))
    await house.hook("bounce", receiver.url("/bounce"))
    await house.hook("permanent_fail", receiver.url("/one"))
    await house.hook("permanent_fail", receiver.url("/two"))
    await house.settled(await house.events(EventType.FAILED_PERMANENT, **HARD))
    assert sorted(got.path for got in receiver.got) == ["/bounce", "/drop", "/one", "/two"]
    receiver.got.clear()
    await house.settled(await house.events(EventType.FAILED_PERMANENT, suppressed=True))
    assert sorted(got.path for got in receiver.got) == ["/drop", "/one", "/two"]


async def test_a_bounce_that_no_host_made_is_not_posted(house, receiver):
    await house.hook("bounce", receiver.url())
    old = {"delivery-status": {"code": 602, "description": "too old"}, "reason": "old"}
    [done] = await house.settled(await house.events(EventType.FAILED_PERMANENT, **old))
    assert (done.state, done.made, receiver.got) == (PostState.DONE, (), [])


async def test_the_ladder_is_climbed_to_its_end_with_a_fresh_signature_each_time(house, receiver, clock, caplog):
    receiver.answers = [500]
    await house.hook("delivered", receiver.url())
    [post] = await house.events(EventType.DELIVERED)
    started = clock.now()
    waits = []
    for number in range(1, 9):
        await house.until(lambda number=number: len(receiver.got) >= number)
        [one] = await house.settled([post])
        assert len(one.made) == number
        if one.due_at is not None:
            waits.append(one.due_at - clock.now())
            clock.advance(one.due_at - clock.now() - 1)
    assert waits == pytest.approx(LADDER, abs=1)
    assert one.state is PostState.GIVEN_UP
    assert clock.now() - started == pytest.approx(sum(LADDER), abs=30)
    signed = [orjson.loads(got.body)["signature"] for got in receiver.got]
    assert len({mark["token"] for mark in signed}) == len({mark["timestamp"] for mark in signed}) == 8
    [line] = [record.getMessage() for record in caplog.records if "webhook-given-up" in record.getMessage()]
    assert "status=500" in line


async def test_all_waits_are_scaled_by_one_factor(tmp_path, receiver, clock):
    receiver.answers = [500]
    async with open_house(tmp_path, clock, replace(LOCAL, scale=0.001)) as house:
        await house.hook("delivered", receiver.url())
        [post] = await house.events(EventType.DELIVERED)
        await house.until(lambda: len(receiver.got) == 8, step_s=0.1)
        [one] = await house.settled([post])
        assert one.state is PostState.GIVEN_UP
        assert clock.now() - 1_700_000_000 < sum(LADDER) / 1000 + 10


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_success_ends_it(house, receiver, status):
    receiver.answers = [status]
    await house.hook("opened", receiver.url())
    [one] = await house.settled(await house.events(EventType.OPENED))
    assert (one.state, one.made[0].status) == (PostState.DONE, status)


async def test_406_is_never_asked_again(house, receiver):
    receiver.answers = [406]
    await house.hook("opened", receiver.url())
    [one] = await house.settled(await house.events(EventType.OPENED))
    assert (one.state, one.due_at) == (PostState.REFUSED, None)


async def test_a_redirect_is_not_followed(house, receiver):
    receiver.answers = [302]
    await house.hook("opened", receiver.url())
    [one] = await house.settled(await house.events(EventType.OPENED))
    assert (one.state, one.made[0].status) == (PostState.WAITING, 302)
    assert [got.path for got in receiver.got] == ["/hook"]


async def test_deliver_is_posted_once_whatever_the_answer_and_delivered_again(house, receiver):
    receiver.answers = [500]
    once = await house.hook("deliver", receiver.url("/once"))
    await house.hook("delivered", receiver.url("/again"))
    found = await house.settled(await house.events(EventType.DELIVERED))
    assert {one.lane == once: one.state for one in found} == {True: PostState.GIVEN_UP, False: PostState.WAITING}


async def test_user_and_password_go_into_a_header_and_nowhere_else(house, receiver, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.answers = [500]
    await house.hook("opened", receiver.url(user="bob:s3cr3t%21@"))
    [one] = await house.settled(await house.events(EventType.OPENED))
    assert receiver.got[0].headers["Authorization"] == "Basic " + base64.b64encode(b"bob:s3cr3t!").decode()
    assert one.made[0].url == receiver.url()
    assert "s3cr3t" not in caplog.text
    with sqlite3.connect(tmp_path / "mtad.sqlite") as connection:
        rows = connection.execute("SELECT * FROM outbox_attempts").fetchall()
    connection.close()
    assert len(rows) == 1
    assert not any("s3cr3t" in str(value) for value in rows[0])
    assert b"s3cr3t" not in zlib.decompress(rows[0][-1])


async def test_a_long_answer_is_cut_off_and_counts_by_its_status(house, receiver):
    receiver.answer_body = b"x" * 5_000_000
    await house.hook("opened", receiver.url())
    [one] = await house.settled(await house.events(EventType.OPENED))
    assert one.state is PostState.DONE


async def test_a_receiver_that_does_not_answer_is_a_failed_attempt(tmp_path, receiver, clock):
    async with open_house(tmp_path, clock, replace(LOCAL, total_s=0.1)) as house:
        await house.hook("opened", receiver.url("/stuck"))
        [one] = await house.settled(await house.events(EventType.OPENED))
    assert (one.state, one.made[0].status, one.made[0].error) == (PostState.WAITING, None, "timed out")


async def test_nobody_there_is_a_failed_attempt(house, receiver):
    await house.hook("opened", "http://nowhere.example/")
    await house.hook("opened", "http://127.0.0.1:1/")
    found = await house.settled(await house.events(EventType.OPENED))
    assert sorted(one.made[0].error for one in found) == ["Connection refused", "the name has no address"]


async def test_a_kept_connection_that_the_receiver_closes_as_we_use_it_costs_no_attempt(house):
    connections, asked = [], []

    async def talk(reader, writer):
        """One answer a connection; the second request on it is read and dropped."""
        connections.append(writer)
        for turn in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            asked.append(turn)
            if turn == 0:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        await house.hook("opened", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await house.settled(await house.events(EventType.OPENED))
        [one] = await house.settled(await house.events(EventType.OPENED))
        for writer in connections:
            writer.close()
    assert asked == [0, 1, 0]
    assert (one.state, len(one.made)) == (PostState.DONE, 1)


async def test_a_receiver_that_closes_a_new_connection_without_an_answer_is_asked_once_an_attempt(house):
    asked = []

    async def talk(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        asked.append(head)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        await house.hook("deliver", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        [one] = await house.settled(await house.events(EventType.DELIVERED))
    assert len(asked) == 1
    assert (one.state, len(one.made), one.made[0].status) == (PostState.GIVEN_UP, 1, None)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "localhost.", "[::1]",
        "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "receiver.example", "①②⑦.0.0.1",
    ],
)  # fmt: skip
async def test_private_addresses_are_refused_in_every_spelling(tmp_path, receiver, clock, host):
    async def system(name):
        """As getaddrinfo reads numbers."""
        odd = {"127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "localhost.", "receiver.example"}
        return ["127.0.0.1"] if name in odd else []

    async with open_house(tmp_path, clock, WebhookConfig(), system) as house:
        await house.hook("opened", receiver.url(host=host))
        [one] = await house.settled(await house.events(EventType.OPENED))
    assert receiver.got == []
    assert one.made[0].status is None
    assert one.made[0].error


async def test_a_name_that_points_elsewhere_the_second_time_gets_nobody_through(tmp_path, receiver, clock):
    asked = []

    async def rebinding(name):
        asked.append(name)
        return ["93.184.216.34", "127.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]

    config = WebhookConfig(total_s=0.3, connect_s=0.2)
    async with open_house(tmp_path, clock, config, rebinding) as house:
        await house.hook("opened", receiver.url(host="x.example"))
        await house.settled(await house.events(EventType.OPENED, 3))
    assert asked
    assert receiver.got == []


async def test_a_paused_webhook_keeps_its_events_and_posts_them_later(house, receiver):
    number = await house.hook("opened", receiver.url())
    other = await house.hook("opened", receiver.url("/other"))
    await house.change(lambda c: store.pause_webhook(c, number, "upgrade"))
    posts = await house.events(EventType.OPENED, 3)
    await house.until(lambda: len(receiver.got) == 3)
    waiting = [one for one in await house.log() if one.state is PostState.WAITING and one.lane == number]
    assert len(waiting) == 3
    assert {got.path for got in receiver.got} == {"/other"}
    await house.change(lambda c: store.pause_webhook(c, number, None))
    found = await house.settled(posts)
    assert {one.state for one in found} == {PostState.DONE}
    assert len(receiver.got) == 6
    assert other


async def test_posts_of_a_removed_webhook_are_given_up(house, receiver):
    receiver.answers = [500]
    number = await house.hook("opened", receiver.url())
    posts = await house.events(EventType.OPENED, 3)
    await house.settled(posts)
    await house.change(lambda c: store.remove_webhook(c, number))
    ends = []
    while len(ends) < 3:
        ends = [one for one in await house.log() if one.state is PostState.GIVEN_UP]
        house.clock.advance(0.02)
        await asyncio.sleep(0.001)
    assert len(receiver.got) == 3


async def test_what_was_not_posted_or_not_settled_before_a_crash_is_posted_after_it(tmp_path, clock, receiver):
    async with open_house(tmp_path, clock, crash=True) as house:
        await house.hook("opened", receiver.url("/stuck"))
        posts = await house.events(EventType.OPENED, 9)
        await house.until(lambda: len(receiver.got) == 4)
    receiver.got.clear()
    receiver.gate.set()
    async with open_house(tmp_path, clock) as house:
        found = await house.settled(posts)
    assert len(receiver.got) == 9
    assert {one.state for one in found} == {PostState.DONE}


async def test_the_place_on_the_ladder_survives_a_restart(tmp_path, clock, receiver):
    receiver.answers = [500]
    async with open_house(tmp_path, clock) as house:
        await house.hook("opened", receiver.url())
        [post] = await house.events(EventType.OPENED)
        [before] = await house.settled([post])
    async with open_house(tmp_path, clock) as house:
        [after] = await house.settled([post])
        assert after == before
        clock.advance(10 * MINUTE)
        await house.until(lambda: len(receiver.got) == 2)
        [again] = await house.settled([post])
        assert again.due_at - clock.now() == pytest.approx(10 * MINUTE, abs=2)


async def test_a_dead_receiver_delays_nobody(tmp_path, clock, receiver):
    async with open_house(tmp_path, clock, replace(LOCAL, at_once=6)) as house:
        async with open_receiver() as dead:
            for n in range(5):
                await house.hook("opened", dead.url(f"/stuck/{n}"))
            await house.hook("opened", receiver.url())
            await house.events(EventType.OPENED, 60)
            await house.until(lambda: len(receiver.got) == 60)
            assert dead.most_at_once <= 10
            dead.gate.set()
            found = await house.settled()
    assert {one.state for one in found} == {PostState.DONE}


async def test_slow_hosts_together_leave_half_of_the_places_to_others(tmp_path, clock, receiver):
    config = replace(LOCAL, at_once=8, at_once_slow=8, at_once_host=8, total_s=0.2)
    async with open_house(tmp_path, clock, config) as house:
        for n in range(4):
            await house.hook("opened", receiver.url(f"/stuck/{n}"))
        await house.events(EventType.OPENED, 6)
        await house.until(lambda: house.sender.tally.unanswered >= 8)
        receiver.most_at_once = 0
        before = house.sender.tally.posted
        await house.until(lambda: house.sender.tally.posted >= before + 8)
        assert house.sender.at_once <= 4
        receiver.gate.set()


async def test_one_webhook_gets_so_many_posts_at_a_time(house, receiver):
    await house.hook("opened", receiver.url("/stuck"))
    posts = await house.events(EventType.OPENED, 40)
    await house.until(lambda: len(receiver.got) == 4)
    assert house.sender.at_once == 4
    receiver.gate.set()
    await house.settled(posts)
    assert receiver.most_at_once == 4
    assert len(receiver.got) == 40


async def test_more_than_the_window_holds_is_posted_each_once(tmp_path, clock, receiver):
    async with open_house(tmp_path, clock, replace(LOCAL, window=8, memory_octets=20_000)) as house:
        await house.hook("opened", receiver.url("/a"))
        await house.hook("open", receiver.url("/b"))
        posts = await house.events(EventType.OPENED, 150)
        await house.settled(posts)
    assert len(receiver.got) == 300


async def test_a_post_whose_event_is_gone_is_given_up(house, receiver):
    number = await house.hook("opened", receiver.url())
    await house.change(lambda c: store.pause_webhook(c, number, "x"))
    posts = await house.events(EventType.OPENED)
    await house.change(lambda c: c.execute("DELETE FROM events"))
    await house.change(lambda c: store.pause_webhook(c, number, None))
    [one] = await house.settled(posts)
    assert (one.state, receiver.got) == (PostState.GIVEN_UP, [])


async def test_a_replay_posts_again_and_starts_the_ladder_anew(house, receiver):
    receiver.answers = [406, 200]
    await house.hook("opened", receiver.url())
    [post] = await house.events(EventType.OPENED)
    await house.settled([post])
    now = house.clock.now()
    assert await house.database.writer.write(lambda c: outbox.replay(c, PostFilter(failed=True), now)) == (1, None)
    house.sender.wake.set()
    [one] = await house.settled([post])
    assert (one.state, [made.status for made in one.made]) == (PostState.DONE, [406, 200])


async def test_a_store_that_cannot_take_the_outcome_gets_it_later_and_nothing_is_posted_twice(house, receiver):
    await house.hook("opened", receiver.url())
    await house.change(
        lambda c: c.execute("CREATE TRIGGER no BEFORE INSERT ON outbox_attempts BEGIN SELECT RAISE(ABORT, 'full'); END")
    )
    [post] = await house.events(EventType.OPENED)
    await house.until(lambda: house.sender.tally.done)
    for _ in range(3):
        await house.change(lambda c: None)  # the outcome was in one of these commits, and failed
    assert (await house.log())[0].state is PostState.WAITING
    await house.change(lambda c: c.execute("DROP TRIGGER no"))
    [one] = await house.settled([post])
    assert one.state is PostState.DONE
    assert len(receiver.got) == 1


async def test_a_sample_is_posted_signed_and_leaves_no_trace(house, receiver):
    receiver.answers = [418]
    answer = await house.sender.test(Kind.BOUNCE, "ours.example", receiver.url())
    assert answer.status == 418
    assert receiver.got[0].form["code"] == "5.1.1"
    assert await house.log() == []


async def test_files_of_a_report_are_uploaded(house, receiver):
    await house.hook("bounce", receiver.url())
    number = await house.hook("spam", receiver.url("/paused"))
    assert number
    await house.change(lambda c: store.pause_webhook(c, 1, "x"))
    [post] = await house.events(EventType.FAILED_LATE, **HARD)
    [row] = await house.log()
    add = "INSERT INTO event_files VALUES (?, 1, 'report.txt', 'text/plain', ?)"
    await house.change(lambda c: c.execute(add, (row.event_id, b"it failed")))
    await house.change(lambda c: store.pause_webhook(c, 1, None))
    await house.settled([post])
    [got] = receiver.got
    assert got.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'filename="report.txt"' in got.body
    assert b"it failed" in got.body


async def test_a_domain_without_webhooks_makes_no_posts(house, receiver):
    await house.hook("opened", receiver.url())
    assert house.hooks.posts_for(EventType.OPENED, 2) == ()
    assert house.hooks.posts_for(EventType.CLICKED, 1) == ()
    assert len(house.hooks.posts_for(EventType.OPENED, 1, True)) == 1


async def test_the_signing_key_is_made_once_and_can_be_set(house, tmp_path, clock):
    key = house.hooks.signing_key
    assert len(key) == 36
    await house.hooks.load()
    assert house.hooks.signing_key == key
    await house.change(lambda c: store.set_signing_key(c, "mine"))
    assert house.hooks.signing_key == "mine"
