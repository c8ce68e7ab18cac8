import asyncio

import pytest

from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.reply import Refused, Reply
from mtad.storage import journal
from mtad.storage.outgoing import State
from tests.queue.house import World, open_house
from tests.virtualclock import VirtualClock


@pytest.fixture
async def house(tmp_path):
    clock = VirtualClock()
    async with open_house(tmp_path, clock, World(clock)) as made:
        yield made


async def code_of(house, **more):
    with pytest.raises(Refused) as refused:
        await house.send("bob@b.example", **more)
    assert (await house.check()).counts.accepted == 0
    return str(refused.value.reply)


async def test_mail_that_goes_round_is_refused(house):
    content = b"Received: from x by y\r\n" * 60 + b"Subject: x\r\n\r\nText\r\n"
    reverse, bob = parse_address("ann@a.example"), parse_address("bob@b.example")
    with pytest.raises(Refused, match=r"554 5\.4\.6"):
        await house.submit(Submission(reverse, [bob], content, "a.example", house.clock.now()))


async def test_a_shut_gate_is_told_as_it_is(house):
    house.shut = Reply(452, "3.1", "Not enough disk space here")
    assert await code_of(house) == "452 4.3.1 Not enough disk space here"


async def test_mail_scheduled_too_far_ahead_is_refused(house):
    assert (await code_of(house, deliver_at=house.clock.now() + 4 * 86_400)).startswith("554 5.5.4")


async def test_a_store_that_fails_is_told_as_451_and_nothing_is_kept(house):
    await house.send("x@b.example")  # the route is known from here on
    await house.rest()
    await house.database.writer.write(
        lambda connection: connection.execute("ALTER TABLE bodies RENAME TO away") and None
    )
    with pytest.raises(Refused, match=r"451 4\.3\.0"):
        await house.send("bob@b.example")
    await house.database.writer.write(
        lambda connection: connection.execute("ALTER TABLE away RENAME TO bodies") and None
    )
    assert (await house.check()).counts.accepted == 1
    assert (house.runner.count, house.memory.used) == (0, 0)


async def test_the_commit_that_takes_a_message_leases_what_is_begun_at_once_and_no_more(house):
    """The lease is the durable record of attempt 1: a daemon that dies before or in it finds it."""
    house.runner.desk.take = house.runner.desk.refund  # so the rows stay as they were committed
    await house.operator.suspend("mx.d.example", None, "maintenance")
    for domain in ("b.example", "d.example"):
        await house.world.route(domain)
    number = await house.send("bob@b.example", "eve@unknown.example", "tom@d.example")
    rows = {row.address: (row.state, row.attempts, row.site_key) for row in await house.rows(number)}
    assert rows == {
        "bob@b.example": (State.LEASED, 1, "mx.b.example"),
        "eve@unknown.example": (State.LEASED, 1, "?"),
        "tom@d.example": (State.WAITING, 0, "mx.d.example"),
    }
    [row] = await house.rows(await house.send("bob@b.example", deliver_at=house.clock.now() + 60))
    assert (row.state, row.attempts, row.due_at) == (State.WAITING, 0, house.clock.now() + 60)


async def test_what_the_window_has_no_room_for_waits_without_a_lease(tmp_path):
    clock = VirtualClock()
    world = World(clock)
    await world.route("b.example")
    async with open_house(tmp_path, clock, world, window=3) as house:
        world.hold = asyncio.Event()
        number = await house.send(*[f"r{n}@b.example" for n in range(5)])
        states = [(row.state, row.attempts) for row in sorted(await house.rows(number), key=lambda row: row.id)]
        assert states == [(State.LEASED, 1)] * 3 + [(State.WAITING, 0)] * 2
        world.hold.set()
        await house.rest()
        assert len(world.recipients()) == 5


async def rejections(house):
    wanted = journal.EventFilter(types=(EventType.REJECTED,))
    return await house.database.read(lambda connection: journal.recent(connection, wanted, 10))


@pytest.mark.parametrize(
    ("fields", "more", "said"),
    [
        (b"Received: from x by y\r\n" * 60, {}, "554 5.4.6 Too many Received fields"),
        (b"", {"deliver_at": 2e9}, "554 5.5.4 Scheduled too far ahead: at most 3 days"),
        (b"X-Long: " + b"x" * 900 + b"\r\n" + b"X-Long: y\r\n" * 60_000, {}, "552 5.3.4 The header"),
    ],
)
async def test_what_is_refused_for_good_is_a_rejected_event_of_its_domain(house, fields, more, said):
    content = fields + b"From: ann@a.example\r\nSubject: Hello\r\n\r\nText\r\n"
    ann, bob, eve = (parse_address(one) for one in ("ann@a.example", "bob@b.example", "eve@b.example"))
    with pytest.raises(Refused) as refused:
        await house.submit(Submission(ann, [bob, eve], content, "a.example", house.clock.now(), **more))
    await house.rest()
    [event] = await rejections(house)
    assert str(refused.value.reply).startswith(said)
    assert event.detail["reject"] == {"reason": "generic", "description": str(refused.value.reply)}
    assert (event.domain, event.recipient, event.queue_id) == ("a.example", "bob@b.example", "")
    assert house.submit.rejected == 1
    assert (await house.check()).counts.accepted == 0


async def test_what_may_come_again_is_no_rejected_event(house):
    house.shut = Reply(452, "3.1", "Not enough disk space here")
    await code_of(house)
    await house.rest()
    assert await rejections(house) == []
    assert house.submit.rejected == 0


async def test_a_message_and_its_events_are_in_one_commit(house):
    before = house.database.writer.commits
    number = await house.send("a@b.example", "b@b.example", deliver_at=house.clock.now() + 60)
    assert house.database.writer.commits - before <= 1
    assert [e.recipient for e in await house.events(number)] == ["a@b.example", "b@b.example"]


@pytest.mark.parametrize("text", [b"Text", b"For %recipient%"])
async def test_what_has_something_to_be_filled_in_is_told_with_its_files_and_the_rest_is_not_taken_apart(house, text):
    head = b'Subject: x\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    file = b"Content-Type: image/png; name=a.png\r\n\r\n123\r\n"
    content = head + b"--b\r\n\r\n" + text + b"\r\n--b\r\n" + file + b"--b--\r\n"
    reverse, bob = parse_address("ann@a.example"), parse_address("bob@b.example")
    number = await house.submit(Submission(reverse, [bob], content, "a.example", house.clock.now()))
    told = [{"filename": "a.png", "content-type": "image/png", "size": 3}]
    [event] = (await house.events(number))[:1]
    assert event.about.get("attachments") == (told if b"%" in text else None)


async def test_a_disabled_domain_may_not_send_but_reports_and_what_waits_go_out(house):
    waiting = await house.send("bob@b.example", deliver_at=house.clock.now() + 60)
    house.ours.disabled.add("a.example")
    with pytest.raises(Refused, match=r"550 5\.7\.1 The domain a\.example is not allowed to send"):
        await house.send("bob@b.example")
    content = b"Subject: report\r\n\r\nText\r\n"
    bob = [parse_address("bob@b.example")]
    await house.submit(Submission(None, bob, content, "a.example", house.clock.now()), report=True)
    await house.go_on(by_s=90)
    assert EventType.DELIVERED in [event.type for event in await house.events(waiting)]
