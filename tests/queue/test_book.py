import asyncio
import sqlite3

import pytest

from mtad.mail.reply import Deferred, Outcome, Phase, Reply
from mtad.mail.waiting import WaitReason
from mtad.queue.shaping import load_shaping
from mtad.queue.throttle import Pace
from mtad.storage import sites as table
from mtad.storage.sites import site_id
from tests.queue.house import World, hop, open_house
from tests.virtualclock import VirtualClock

HOUR, DAY = 3600.0, 86_400.0
B = "mx.b.example"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world) as made:
        yield made


def too_many(tx, domain) -> Outcome:
    return Deferred(Reply(421, "7.0", "too many connections"), hop(domain), Phase.RCPT)


def pace_of(house, key=B) -> Pace:
    site = house.runner.book.get(site_id(key))
    assert site is not None
    [pace] = site.paces.values()
    return pace


def row_of(house, key=B):
    return house.database.read(lambda connection: table.find(connection, key))


async def test_a_site_without_work_is_forgotten_and_comes_back_with_its_mail(house, world, clock):
    await world.route("b.example")
    await house.send("one@b.example")
    await house.send("two@b.example", deliver_at=clock.now() + HOUR)
    await house.go_on(120)
    assert house.runner.book.get(site_id(B)) is None
    assert (await row_of(house)).next_due == clock.now() - 120 + HOUR
    assert len(house.runner.book) == 1  # the place of domains not looked up yet
    await house.go_on(HOUR)
    assert world.recipients() == ["one@b.example", "two@b.example"]


async def test_a_forgotten_site_learns_of_earlier_mail_that_comes_later(house, world, clock):
    await house.send("one@b.example", deliver_at=clock.now() + DAY)
    await house.go_on(120)
    await house.send("two@b.example", deliver_at=clock.now() + HOUR)
    await house.go_on(HOUR + 30)
    assert world.recipients() == ["two@b.example"]


@pytest.mark.parametrize("idle_s", [0, 600])
async def test_a_suspension_holds_for_a_site_that_had_no_mail_then(house, world, idle_s):
    await house.operator.suspend(B, None, "maintenance")
    await house.go_on(idle_s)
    number = await house.send("bob@b.example")
    await house.go_on(120)
    assert world.sent == []
    why = await house.reason(number)
    assert (why.reason, why.detail) == (WaitReason.SITE_SUSPENDED, "maintenance")
    [row] = await house.rows(number)
    assert row.attempts == 0
    await house.operator.resume(B)
    await house.rest()
    assert world.recipients() == ["bob@b.example"]


async def test_a_suspension_outlives_a_restart_and_ends_at_its_time(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world) as house:
        await house.operator.suspend(B, clock.now() + HOUR, "maintenance")
    async with open_house(tmp_path, clock, world) as house:
        await house.send("bob@b.example")
        await house.go_on(HOUR - 30)
        assert world.sent == []
        await house.go_on(30)
        assert world.recipients() == ["bob@b.example"]


@pytest.mark.parametrize("restart", [True, False])
async def test_a_pace_outlives_a_restart_and_being_forgotten(tmp_path, clock, world, restart):
    world.answers["b.example"] = too_many
    async with open_house(tmp_path, clock, world) as house:
        number = await house.send("bob@b.example")
        await house.rest()
        learnt = pace_of(house).save()
        assert learnt.connections == 2.5
        await house.operator.drop([number], "enough")
        world.answers.clear()
        world.hold = asyncio.Event()
        if not restart:
            await house.go_on(300)
            assert house.runner.book.get(site_id(B)) is None
            await house.send("eve@b.example")
            await house.rest()
            assert pace_of(house).save() == learnt
    if restart:
        world.hold = asyncio.Event()
        async with open_house(tmp_path, clock, world) as again:
            await again.send("eve@b.example")
            await again.rest()
            assert pace_of(again).save() == learnt


async def test_a_thousand_new_sites_are_asked_for_in_few_questions(house, world, monkeypatch):
    asked = []
    of_ids = table.of_ids
    monkeypatch.setattr(table, "of_ids", lambda connection, ids: asked.append(len(ids)) or of_ids(connection, ids))
    await house.send(*[f"r@d{n}.example" for n in range(1000)])
    await house.rest()
    assert len(world.recipients()) == sum(asked) == 1000
    assert len(asked) <= 20


async def test_a_store_that_cannot_be_read_holds_new_sites_up_and_loses_nothing(house, world, monkeypatch):
    def fails(connection, ids):
        raise sqlite3.OperationalError("disk I/O error")

    of_ids = table.of_ids
    monkeypatch.setattr(table, "of_ids", fails)
    await house.send("bob@b.example")
    await house.go_on(10, 1.0)
    assert world.sent == []
    monkeypatch.setattr(table, "of_ids", of_ids)
    await house.go_on(10, 1.0)
    assert world.recipients() == ["bob@b.example"]
    assert (house.runner.count, house.memory.used) == (0, 0)


async def test_a_site_that_the_store_did_not_let_go_is_not_forgotten(house, world, clock, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    await house.send("one@b.example")
    await house.send("two@b.example", deliver_at=clock.now() + HOUR)
    let_go = table.let_go
    monkeypatch.setattr(table, "let_go", full)
    await house.go_on(300)
    assert house.runner.book.get(site_id(B)) is not None
    monkeypatch.setattr(table, "let_go", let_go)
    await house.go_on(HOUR)
    assert world.recipients() == ["one@b.example", "two@b.example"]


async def test_more_sites_than_memory_holds_are_served_in_turns(tmp_path, clock, world, monkeypatch):
    monkeypatch.setattr("mtad.queue.book.MAX_SITES", 10)
    async with open_house(tmp_path, clock, world) as house:
        for n in range(60):
            await world.route(f"d{n}.example")
            await house.send(f"r@d{n}.example", deliver_at=clock.now() + HOUR)
        await house.go_on(150)
        assert len(house.runner.book) == 1
        await house.go_on(2 * HOUR)
        assert len(world.recipients()) == 60


async def test_mail_of_paused_domains_takes_no_place_from_others(tmp_path, clock, world, monkeypatch):
    monkeypatch.setattr("mtad.queue.book.MAX_SITES", 10)
    async with open_house(tmp_path, clock, world) as house:
        house.ours.held[1] = "unpaid"
        for n in range(40):
            await world.route(f"d{n}.example")
            await house.send(f"r@d{n}.example")
        await house.send("eve@b.example", domain="c.example", sender="cy@c.example", deliver_at=clock.now() + 600)
        await house.go_on(900)
        assert world.recipients() == ["eve@b.example"]
        house.ours.held.clear()
        house.operator.look_again()
        await house.go_on(600)
        assert len(world.recipients()) == 41


async def test_new_shaping_keeps_what_was_learnt_within_its_limits(house, world):
    world.answers["b.example"] = too_many
    await house.send("bob@b.example")
    await house.rest()
    text = "[default]\nmax_connections = {}\nstart_connections = 1\nmax_rate = 7\nstart_rate = 7\nmin_rate = 1"
    house.runner.book.reload(load_shaping(text.format(9), "s.toml"))
    assert (pace_of(house).connection_limit, pace_of(house).rate) == (2, 7)
    house.runner.book.reload(load_shaping(text.format(1), "s.toml"))
    assert pace_of(house).connection_limit == 1
    world.answers.clear()
    await house.go_on(400)
    assert "bob@b.example" in world.recipients()


async def test_domains_with_the_same_hosts_share_one_site(house, world):
    world.routes["d.example"] = await world.route("b.example")
    world.answers["b.example"] = too_many
    await house.send("one@b.example", "two@d.example")
    await house.rest()
    rows = await house.waiting()
    assert {row.site_key for row in rows} == {B}
    assert len({row.address for row in rows}) == 2


async def test_a_captured_inbox_is_one_site_for_all_domains(tmp_path, clock):
    world = World(clock, fixed_key="capture")
    async with open_house(tmp_path, clock, world) as house:
        world.hold = asyncio.Event()
        await house.send("one@b.example", "two@d.example")
        await house.rest()
        assert [site.key for site in house.runner.book] == ["?", "capture"]


async def test_only_paces_that_changed_are_saved_again(house, world, clock, monkeypatch):
    await house.send("one@b.example")
    await house.send("one@c.example")
    await house.rest()
    written: list[list[int]] = []
    save = table.save_paces

    def save_paces(connection, paces):
        written.append([number for number, _ in paces])
        save(connection, paces)

    monkeypatch.setattr(table, "save_paces", save_paces)
    book = house.runner.book
    await book.save_paces()
    await book.save_paces()
    assert [sorted(numbers) for numbers in written] == [sorted([site_id(B), site_id("mx.c.example")])]
    world.answers["b.example"] = too_many
    await house.send("two@b.example")
    await house.rest()
    await book.save_paces()
    assert written[1:] == [[site_id(B)]]


async def test_paces_that_could_not_be_saved_are_saved_the_next_time(house, world, clock, monkeypatch):
    await house.send("one@b.example")
    await house.rest()

    def broken(connection, paces):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(table, "save_paces", broken)
        with pytest.raises(sqlite3.Error):
            await house.runner.book.save_paces()
    await house.runner.book.save_paces()
    assert (await row_of(house)).paces
