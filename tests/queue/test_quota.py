"""How many recipients a domain may send to in an hour: never more, in the end all of them, and with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.waiting import WaitReason
from mtad.queue.quota import SlidingHour
from mtad.storage.outgoing import State
from tests.queue import house as house_module
from tests.queue.house import Ours, World, later, open_house
from tests.virtualclock import VirtualClock

HOUR = 3600.0
A, C = 1, 2  # a.example, c.example


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


async def limit(house, **by_name):
    """limit(house, a=10): as `mtad domain set` would."""
    house.ours.limits = {{"a": A, "c": C}[name]: number for name, number in by_name.items()}
    house.operator.look_again()
    await house.rest()


@pytest.fixture
async def house(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world) as made:
        await limit(made, a=10)
        yield made


def most_in_an_hour(world, domain="a.example"):
    times = [at for at, tx in world.sent for _ in tx.recipients if tx.reverse_path.endswith(domain)]
    return max(sum(1 for at in times if start <= at < start + HOUR) for start in times)


async def test_no_hour_has_more_than_the_limit_and_all_of_it_leaves_in_the_end(house, world):
    for n in range(35):
        await house.send(f"r{n}@{'bd'[n % 2]}.example")
    await house.rest()
    assert len(world.recipients()) == 10
    await house.go_on(4 * HOUR, 60.0)
    assert sorted(world.recipients()) == sorted(f"r{n}@{'bd'[n % 2]}.example" for n in range(35))
    assert most_in_an_hour(world) == 10
    assert (house.runner.count, house.memory.used) == (0, 0)
    assert (await house.check()).faults == ()


async def test_many_recipients_of_one_message_stop_at_the_limit_too(house, world):
    await house.send(*[f"r{n}@b.example" for n in range(25)])
    await house.rest()
    assert len(world.recipients()) == 10
    assert len(await house.waiting()) == 15
    await house.go_on(3 * HOUR, 60.0)
    assert sorted(world.recipients()) == sorted(f"r{n}@b.example" for n in range(25))


async def test_others_are_not_held_up(house, world):
    for n in range(30):
        await house.send(f"r{n}@b.example")
        await house.send(f"s{n}@b.example", sender="cy@c.example", domain="c.example")
    await house.rest()
    assert len([one for one in world.recipients() if one.startswith("s")]) == 30


async def test_what_waits_says_why_and_until_when(house, clock):
    await house.send(*[f"r{n}@b.example" for n in range(11)])
    await house.send("late@elsewhere.example")
    await house.rest()
    for row in await house.waiting():
        why = house.operator.explain(row)
        assert why.reason is WaitReason.QUOTA
        assert HOUR <= why.until - clock.now() <= HOUR + 60
        assert why.detail == "its domain has sent to 10 recipients within an hour, and 10 is its limit"


async def test_attempts_that_fail_count(house, world):
    world.answers["b.example"] = later
    await house.send("bob@b.example")
    await house.go_on(HOUR - 120, 30.0)
    tries = len(world.sent)
    assert tries >= 4
    await house.send(*[f"r{n}@d.example" for n in range(12)])
    await house.rest()
    assert len(world.recipients()) == 10


async def test_a_restart_gives_no_second_allowance(tmp_path, clock, world, monkeypatch):
    monkeypatch.setattr(house_module, "Ours", lambda: Ours(limits={A: 10}))
    async with open_house(tmp_path, clock, world) as first:
        await first.send(*[f"r{n}@b.example" for n in range(14)])
        await first.go_on(600)
        assert len(world.recipients()) == 10
    async with open_house(tmp_path, clock, world) as again:
        await again.go_on(HOUR - 700)
        assert len(world.recipients()) == 10
        await again.go_on(200)
        assert len(world.recipients()) == 14


async def test_a_higher_limit_lets_the_waiting_go_at_once_and_none_lets_all(house, world):
    await house.send(*[f"r{n}@b.example" for n in range(40)])
    await house.rest()
    await limit(house, a=25, c=1)
    assert len(world.recipients()) == 25
    await limit(house)
    assert len(world.recipients()) == 40


async def test_a_limit_that_comes_later_counts_what_was_sent_before_it(house, world):
    for n in range(8):
        await house.send(f"s{n}@b.example", sender="cy@c.example", domain="c.example")
    await house.rest()
    await limit(house, c=10)
    for n in range(8):
        await house.send(f"t{n}@b.example", sender="cy@c.example", domain="c.example")
    await house.rest()
    assert len(world.recipients()) == 10


async def test_retrying_by_hand_does_not_lift_the_limit(house, world):
    number = await house.send(*[f"r{n}@b.example" for n in range(12)])
    await house.rest()
    await house.operator.retry(None, ())
    await house.go_on(60)
    assert len(world.recipients()) == 10
    assert [row.state for row in await house.rows(number)].count(State.WAITING) == 2


async def test_mail_that_met_a_dead_idle_connection_is_not_counted_twice(house, world, monkeypatch):
    await limit(house, a=1)
    opened = world.open
    stale = [True]

    async def open_stale(*asked):
        visit = await opened(*asked)
        if stale.pop() if stale else False:
            send = visit.send

            async def once(tx):
                visit.stale = True
                world.sent.clear()
                return await send(tx)

            visit.send = once
        else:
            world.sent.clear()
        return visit

    monkeypatch.setattr(world, "open", open_stale)
    await house.send("bob@b.example")
    await house.go_on(5, 1.0)
    assert len(world.opened) == 2
    assert world.recipients() == ["bob@b.example"]


@given(st.lists(st.tuples(st.floats(0, 900), st.integers(1, 5)), max_size=60), st.integers(1, 20))
def test_whatever_is_asked_when_no_hour_has_more_than_the_limit(asked, limit):
    hour, now, taken = SlidingHour(limit), 1e9, []
    for wait_s, wanted in asked:
        now += wait_s
        count = min(wanted, hour.room(now))
        if count:
            hour.add(now, count)
            taken.append((now, count))
        else:
            at = hour.more_at()
            assert now < at <= now + HOUR + 60
            again = SlidingHour(limit)
            for then, some in taken:
                again.add(then, some)
            assert at - 61 < now or again.room(at - 61) == 0
            assert again.room(at) > 0
    for start, _ in taken:
        assert sum(count for at, count in taken if start <= at < start + HOUR) <= limit


def test_a_clock_that_is_set_back_makes_no_hour_longer():
    hour = SlidingHour(2)
    hour.add(1e9 + 100_000, 2)
    assert hour.room(1e9) == 0
    assert hour.room(1e9 + HOUR + 61) == 2


async def test_a_limit_that_was_lowered_holds_when_an_attempt_was_not_made_after_all(house, world):
    await house.send(*[f"r{n}@b.example" for n in range(8)])
    await house.rest()
    await limit(house, a=3)
    quotas = house.runner.quotas
    assert not quotas.take_back(A, 1)
    assert A in quotas.over()
    await house.send("tom@d.example")
    await house.rest()
    assert "tom@d.example" not in world.recipients()
    assert (await house.waiting())[0].state is State.WAITING
    assert house.runner.count == 0
