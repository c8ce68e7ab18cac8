"""Reply rules: what a site says, and what the running queue does about it from then on."""

import asyncio

import pytest

from mtad.mail.event import EventType
from mtad.mail.reply import Deferred, Delivered, Failed, Outcome, Phase, Reply
from mtad.mail.waiting import WaitReason
from mtad.queue.shaping import load_shaping
from mtad.storage.outgoing import State
from mtad.storage.sites import site_id
from tests.queue.house import TAKEN, World, hop, open_house
from tests.virtualclock import VirtualClock

HOUR = 3600.0
RULES = load_shaping(
    """
[default]
start_rate = 8
max_rate = 64
min_rate = 1
burst = 64
start_connections = 8
max_connections = 64
rate_step = 60
connection_step = 60
settle_s = 1
[[default.reply]]
match = 'slow down'
action = "slow"
for_s = 600
[[default.reply]]
match = 'go away'
action = "suspend-site"
for_s = 3600
[[default.reply]]
match = 'your domain'
action = "suspend-tenant"
for_s = 3600
[[default.reply]]
match = 'no such person'
action = "hard"
[[default.reply]]
match = 'come back in a quarter'
action = "retry-in"
for_s = 900
[[default.reply]]
match = 'whatever'
action = "ignore"
""",
    "shaping.toml",
)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world, shaping=RULES) as made:
        yield made


def says(text: str, code: int = 451, *, sender: str = "", recipient: str = ""):
    """sender, recipient: to whom it is said; others are taken."""

    def answer(tx, domain) -> Outcome:
        if sender not in tx.reverse_path or recipient not in tx.recipients[0]:
            return Delivered(TAKEN, hop(domain))
        reply = Reply(code, "7.0", text)
        return (Failed if code >= 500 else Deferred)(reply, hop(domain), Phase.MAIL)

    return answer


def site_of(house):
    site = house.runner.book.get(site_id("mx.b.example"))
    assert site is not None
    return site


def pace_of(house):
    [pace] = site_of(house).paces.values()
    return pace.rate, pace.connection_limit


async def test_slow_halves_the_pace_which_does_not_grow_for_the_time_it_says(house, world, clock):
    world.answers["b.example"] = says("slow down")
    await house.send("bob@b.example")
    await house.rest()
    assert pace_of(house) == (4, 4)
    world.answers.clear()
    for _ in range(5):  # between them the site is forgotten
        await house.go_on(110, 10.0)
        await house.send("eve@b.example")
        await house.rest()
        assert pace_of(house) == (4, 4)
    await house.go_on(90)
    await house.send("eve@b.example")
    await house.rest()
    assert pace_of(house) == (44, 44)  # 40 s of growth
    assert world.recipients().count("bob@b.example") == 2


async def test_suspend_site_stops_everybodys_mail_there_until_its_end_in_the_words_of_the_host(house, world, clock):
    world.answers["b.example"] = says("go away", 550)
    world.hold = asyncio.Event()
    first = await house.send("bob@b.example")
    await house.rest()
    world.hold.set()
    await house.rest()
    world.answers.clear()
    second = await house.send("eve@b.example", domain="c.example", sender="cy@c.example")
    await house.send("tom@d.example")
    await house.go_on(HOUR - 30)
    assert world.recipients() == ["bob@b.example", "tom@d.example"]
    why = await house.reason(second)
    assert (why.reason, why.until) == (WaitReason.SITE_SUSPENDED, world.sent[0][0] + HOUR)
    assert why.detail == "mx.b.example said: 550 5.7.0 go away"
    await house.go_on(30)
    assert world.recipients()[2:] == ["eve@b.example"]
    assert [row.state for row in await house.rows(first)] == [State.FAILED]


async def test_suspend_tenant_stops_that_domain_alone_and_ends(house, world):
    world.answers["b.example"] = says("your domain", sender="@a.example")
    number = await house.send("bob@b.example")
    other = await house.send("eve@b.example", domain="c.example", sender="cy@c.example")
    await house.rest()
    world.answers.clear()
    late = await house.send("tom@b.example")
    await house.send("pat@b.example", domain="c.example", sender="cy@c.example")
    await house.go_on(HOUR - 30)
    assert sorted(world.recipients()) == ["bob@b.example", "eve@b.example", "pat@b.example"]
    assert [row.state for row in await house.rows(other)] == [State.DELIVERED]
    assert "your domain" in (await house.reason(late)).detail
    assert (await house.reason(number)).reason is WaitReason.SITE_SUSPENDED
    await house.go_on(30)
    assert sorted(world.recipients())[-1] == "tom@b.example"
    assert world.recipients().count("bob@b.example") == 2


class Told:
    """What webhooks are asked of: each event, and whether no host refused it."""

    def __init__(self) -> None:
        self.asked: list[tuple[EventType, bool]] = []

    def rows(self, kind, domain_id, events, at, *, suppressed=False):
        self.asked.append((kind, suppressed))
        return []


async def test_hard_makes_a_soft_reply_a_bounce_and_slows_nothing(house, world):
    told = house.operator._settler._posts = Told()
    world.answers["b.example"] = says("no such person")
    number = await house.send("bob@b.example")
    await house.rest()
    [*_, last] = await house.events(number)
    assert (last.type, last.detail["reason"]) == (EventType.FAILED_PERMANENT, "bounce")
    assert last.detail["delivery-status"]["code"] == 451
    assert told.asked == [(EventType.FAILED_PERMANENT, False)]  # to webhooks too it is a refusal
    assert pace_of(house) == (8, 8)


async def test_retry_in_names_the_wait_even_of_a_permanent_refusal(house, world, clock):
    world.answers["b.example"] = says("come back in a quarter", 550)
    await house.send("bob@b.example")
    await house.rest()
    [row] = await house.waiting()
    assert row.due_at == clock.now() + 900
    world.answers.clear()
    await house.go_on(870)
    assert len(world.sent) == 1
    await house.go_on(30)
    assert len(world.sent) == 2
    assert await house.waiting() == []


async def test_ignore_leaves_the_pace_alone_where_the_words_would_lower_it(house, world):
    world.answers["b.example"] = says("whatever, too many connections", 421)
    await house.send("bob@b.example")
    await house.rest()
    assert pace_of(house) == (8, 8)


async def test_at_the_lowest_pace_the_site_rests_and_goes_on_by_itself(house, world):
    world.answers["b.example"] = says("slow down")
    number = await house.send("bob@b.example")
    for _ in range(4):  # 8, 4, 2, 1 a second; then a rest
        await house.go_on(30)
        await house.operator.retry(None, [number])
        await house.rest()
    fresh = await house.send("eve@b.example")
    await house.rest()
    why = await house.reason(fresh)
    assert why.reason is WaitReason.SITE_RATE
    assert why.detail.startswith("Resting 60 s at the lowest pace, since the host said: 451 4.7.0 slow down")
    world.answers.clear()
    await house.go_on(90)
    assert "eve@b.example" in world.recipients()


async def test_no_more_connections_and_messages_than_the_pace_allows(house, world, clock):
    world.hold = asyncio.Event()
    await world.route("b.example")
    for n in range(30):
        await house.send(f"r{n}@b.example")
    await house.rest()
    assert len(world.dialled) == len(world.sent) == 8  # start_connections; the bucket holds 8 as well
    world.hold.set()
    await house.rest()
    began = clock.now()
    await house.go_on(60, 0.25)
    times = [at - began for at, _ in world.sent]
    assert len(times) == 30
    for n, at in enumerate(times):
        assert n + 1 <= 8 + (8 + 60 / 60 * at) * max(0.0, at) + 1  # the rate, and what it may have grown
    assert times[-1] > 1


async def test_a_suspended_site_waits_no_longer_when_the_clock_is_set_back(house, world, clock):
    await house.operator.suspend("mx.b.example", clock.now() + 1800, "maintenance")
    await house.send("bob@b.example")
    await house.rest()
    clock._now -= 3600
    await house.operator.clock_set_back(3600)
    await house.go_on(1740)
    assert world.sent == []
    await house.go_on(120)
    assert world.recipients() == ["bob@b.example"]


async def test_a_domain_that_a_site_does_not_want_waits_no_longer_when_the_clock_is_set_back(house, world, clock):
    world.answers["b.example"] = says("your domain")
    await house.send("bob@b.example")
    await house.rest()
    why = await house.reason(await house.send("tom@b.example"))
    wait_s = why.until - clock.now()
    world.answers.clear()
    clock._now -= 5 * wait_s
    await house.operator.clock_set_back(5 * wait_s)
    await house.go_on(wait_s + 60)
    assert sorted(world.recipients()[1:]) == ["bob@b.example", "tom@b.example"]
