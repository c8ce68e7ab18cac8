import pytest

from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply
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


async def test_rows_are_leased_for_a_site_in_hand_and_wait_for_others(house):
    house.runner.take = lambda message, recipients: house.runner.refund(message, recipients)
    await house.world.route("b.example")
    number = await house.send("bob@b.example", "eve@unknown.example")
    [bob, eve] = sorted(await house.rows(number), key=lambda row: row.id)
    assert (bob.state, bob.attempts) == (State.LEASED, 1)
    assert eve.address == "eve@unknown.example"


async def test_a_message_and_its_events_are_in_one_commit(house):
    before = house.database.writer.commits
    number = await house.send("a@b.example", "b@b.example", deliver_at=house.clock.now() + 60)
    assert house.database.writer.commits - before <= 1
    assert [e.recipient for e in await house.events(number)] == ["a@b.example", "b@b.example"]
