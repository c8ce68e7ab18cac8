import asyncio

import pytest

from mtad.api.base import Impossible
from mtad.api.passwords import is_right
from mtad.mail.event import EventType
from mtad.mail.ids import queue_id
from mtad.mail.waiting import WaitReason
from mtad.storage import accounts
from mtad.storage.outgoing import State
from tests.api.house import LATER, SITE, FakeRunner, FakeSite, open_house
from tests.virtualclock import VirtualClock


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def runner():
    return FakeRunner()


@pytest.fixture
async def house(tmp_path, clock, runner):
    async with open_house(tmp_path, clock, runner) as house:
        yield house


@pytest.fixture
async def lonely(tmp_path, clock):
    """Without a runner: no daemon."""
    async with open_house(tmp_path, clock) as house:
        yield house


async def test_what_waits_is_listed_with_the_reason_of_the_object_that_holds_it_up(house):
    number = await house.message("bob@example.net", "eve@example.net")
    found = await house.operations.queue_list()
    assert [(item.recipient, item.message, item.why) for item in found.items] == [
        ("bob@example.net", queue_id(number), LATER),
        ("eve@example.net", queue_id(number), LATER),
    ]
    assert (found.waiting, found.sending, found.daemon) == (2, 0, True)


async def test_without_a_daemon_nobody_claims_to_know_why(lonely):
    await lonely.message("bob@example.net")
    found = await lonely.operations.queue_list()
    assert not found.daemon
    assert found.items[0].why is None


@pytest.mark.parametrize(
    ("narrow", "left"),
    [
        ({}, ["bob@example.net", "Eve@other.example"]),
        ({"recipient": "BOB@example.net"}, ["bob@example.net"]),
        ({"recipient": "@other.example"}, ["Eve@other.example"]),
        ({"recipient": "@example"}, []),
        ({"domain": "ours.example"}, ["bob@example.net", "Eve@other.example"]),
        ({"domain": "theirs.example"}, []),
        ({"site": SITE}, ["bob@example.net", "Eve@other.example"]),
        ({"site": "gmail"}, []),
        ({"limit": 1}, ["bob@example.net"]),
        ({"limit": 0}, []),
    ],
)
async def test_a_list_is_narrowed(house, narrow, left):
    await house.message("bob@example.net", "Eve@other.example")
    found = await house.operations.queue_list(**narrow)
    assert [item.recipient for item in found.items] == left


async def test_what_is_being_sent_comes_first_and_what_is_done_not_at_all(house):
    kinds = (State.WAITING, State.LEASED, State.DELIVERED, State.FAILED)
    await house.message("a@x.example", "b@x.example", "c@x.example", "d@x.example", states=kinds)
    found = await house.operations.queue_list()
    assert [(item.recipient, item.state) for item in found.items] == [
        ("b@x.example", "sending"),
        ("a@x.example", "waiting"),
    ]


async def test_a_message_is_shown_with_all_its_recipients_by_any_of_its_ids(house):
    kinds = (State.DELIVERED, State.WAITING)
    number = await house.message("a@x.example", "b@x.example", states=kinds)
    await house.message("z@x.example")
    for text in (queue_id(number), queue_id(number + 2), f" {queue_id(number).upper()} "):
        view = await house.operations.queue_show(text)
        assert [(item.recipient, item.state) for item in view.recipients] == [
            ("b@x.example", "waiting"),
            ("a@x.example", "delivered"),
        ]
        assert view.recipients[1].why is None
        assert (view.id, view.domain, view.about["login"]) == (queue_id(number), "ours.example", "ann@ours.example")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda ops: ops.queue_show("nonsense"), "no queue id"),
        (lambda ops: ops.queue_show("0000000000001"), "no message 0000000000001"),
        (lambda ops: ops.queue_retry(("0000000000001",)), "nothing in the store has the id 0000000000001"),
        (lambda ops: ops.queue_retry(), "name what to try"),
        (lambda ops: ops.queue_retry(("0000000000001",), every=True), "name what to try"),
        (lambda ops: ops.queue_retry(site="gmial"), "no site 'gmial' has been seen"),
        (lambda ops: ops.queue_drop(()), "name what to drop"),
        (lambda ops: ops.site_show("gmial"), "no site"),
        (lambda ops: ops.site_suspend("gmial"), "no site"),
        (lambda ops: ops.site_suspend(SITE, -1.0), "more than nothing"),
        (lambda ops: ops.domain_add("ours.example"), "there already"),
        (lambda ops: ops.domain_add("no domain"), "no domain name"),
        (lambda ops: ops.domain_add("localhost"), "no dot"),
        (lambda ops: ops.domain_show("x.example"), "no domain of ours"),
        (lambda ops: ops.domain_remove("x.example"), "no domain of ours"),
        (lambda ops: ops.domain_pause("x.example"), "no domain of ours"),
        (lambda ops: ops.domain_set("x.example", dsn=True), "no domain of ours"),
        (lambda ops: ops.credential_add("bob"), "no login"),
        (lambda ops: ops.credential_add("bob@x.example"), "no domain of ours"),
        (lambda ops: ops.credential_add("bob@ours.example", "tiny"), "at least 5"),
        (lambda ops: ops.credential_add("bob@ours.example", "with\0nul and more"), "control characters"),
        (lambda ops: ops.credential_add("bob@ours.example", "x" * 129), "at most 128"),
        (lambda ops: ops.credential_remove("bob@ours.example"), "no login"),
        (lambda ops: ops.events(words=("eaten",)), "no event is called"),
        (lambda ops: ops.captured_show("0000000000001"), "no captured message"),
    ],
)
async def test_a_refusal_is_one_line_that_says_why(house, work, said):
    with pytest.raises(Impossible) as refused:
        await work(house.operations)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert house.changes == 0


async def test_a_running_daemon_is_told_what_to_try_drop_and_hold(house, runner, clock):
    number = await house.message("bob@example.net")
    text = queue_id(number)
    assert await house.operations.queue_retry((text,)) == 3
    await house.operations.queue_retry(site=SITE)
    await house.operations.queue_retry(every=True)
    await house.operations.queue_drop((text,), "wrong\nlist\x1b[0m")
    await house.operations.site_suspend(SITE, 60.0, "they asked")
    await house.operations.site_suspend(SITE)
    await house.operations.site_resume(SITE)
    await house.operations.queue_pause()
    await house.operations.queue_unpause()
    assert runner.told == [
        ("retry", None, number),
        ("retry", SITE),
        ("retry", None),
        ("drop", "wrong list [0m", number),
        ("suspend", SITE, clock.now() + 60, "suspended by the operator: they asked"),
        ("suspend", SITE, None, "suspended by the operator"),
        ("resume", SITE),
        ("pause", "the queue is paused by the operator"),
        ("unpause",),
    ]


async def test_without_a_daemon_retry_makes_the_rows_due(lonely, clock):
    first = await lonely.message("a@x.example", "b@x.example")
    await lonely.message("c@x.example")
    assert await lonely.operations.queue_retry((queue_id(first + 1),)) == 1
    assert await lonely.operations.queue_retry(site=SITE) == 2
    assert await lonely.operations.queue_retry(every=True) == 0
    assert {item.due_at for item in (await lonely.operations.queue_list()).items} == {clock.now()}


async def test_without_a_daemon_drop_ends_each_recipient_once_and_the_store_stays_whole(lonely):
    number = await lonely.message("a@x.example", "b@x.example")
    assert await lonely.operations.queue_drop((queue_id(number),), "wrong list") == 2
    assert await lonely.operations.queue_drop((queue_id(number),)) == 0
    report = await lonely.operations.check()
    assert (report.accepted, report.failed, report.waiting, report.faults) == (2, 2, 0, ())
    last = (await lonely.operations.events())[-1]
    assert last.type is EventType.FAILED_PERMANENT
    assert last.detail["delivery-status"]["message"] == "wrong list"


async def test_check_finds_a_recipient_that_ended_without_an_event(house):
    await house.message("a@x.example", states=(State.DELIVERED,))
    report = await house.operations.check()
    assert report.faults == ("1 finished recipients without exactly one terminal event",)


async def test_without_a_daemon_pausing_is_refused_because_nothing_moves(lonely):
    with pytest.raises(Impossible, match="no daemon is running"):
        await lonely.operations.queue_pause("x")


async def test_a_suspension_in_the_store_is_shown_until_it_is_over(lonely, clock):
    await lonely.operations.site_suspend(SITE, 60.0, "they asked")
    (item,) = await lonely.operations.site_list()
    assert item.why is not None
    assert (item.why.reason, item.why.detail) == (WaitReason.SITE_SUSPENDED, "suspended by the operator: they asked")
    clock.advance(61)
    assert (await lonely.operations.site_show(SITE)).why is None
    await lonely.operations.site_resume(SITE)
    assert await lonely.operations.site_list() == ()


async def test_a_site_in_hand_is_shown_with_its_pace(house, runner):
    await house.message("a@x.example")
    runner.site = FakeSite(shut=LATER)
    item = await house.operations.site_show(SITE)
    assert (item.waiting, item.connections, item.connection_limit, item.in_memory, item.why) == (1, 2, 5, 7, LATER)
    assert item.sources[0].source == "192.0.2.1"


async def test_a_new_domain_has_its_keys_and_says_what_to_publish(house):
    made = await house.operations.domain_add("News.Example.", ed25519=True)
    view = made.domain
    assert (view.credentials, len(made.password)) == (1, 24)
    records = {record.name: record for record in view.records if record.type == "TXT"}
    rsa, ed25519 = view.selectors
    assert view.name == "news.example"
    assert records[f"{rsa}._domainkey.news.example"].value.startswith("v=DKIM1; k=rsa; p=")
    assert records[f"{ed25519}._domainkey.news.example"].value.startswith("v=DKIM1; k=ed25519; p=")
    assert records["news.example"].value == "v=spf1 a:mail.ours.example ~all"
    assert [record.value for record in view.records if record.type == "MX"] == ["10 mail.ours.example"]
    assert house.changes == 1
    stored = await house.database.read(accounts.dkim_keys)
    assert [key.domain for key in stored] == ["news.example", "news.example"]


async def test_two_who_add_one_domain_at_one_time_get_one_domain_and_one_clear_no(house):
    work = [house.operations.domain_add("news.example") for _ in range(2)]
    results = await asyncio.gather(*work, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Impossible)]
    assert len(refused) == 1
    assert len(await house.database.read(accounts.dkim_keys)) == 1


async def test_a_pool_must_be_one_that_is_configured(house):
    operations = house.operations
    operations._pools, operations._sources = {"news": ("192.0.2.26", "2001:db8::26"), "bulk": ("192.0.2.27",)}, ()
    with pytest.raises(Impossible, match=r"no pool 'gnus': delivery\.pools names bulk, news"):
        await operations.domain_set("ours.example", pool="gnus")
    assert (await operations.domain_show("ours.example")).pool == ""
    view = await operations.domain_set("ours.example", pool="news")
    [spf] = [record.value for record in view.records if record.value.startswith("v=spf1")]
    assert spf == "v=spf1 ip4:192.0.2.26 ip6:2001:db8::26 ~all"
    view = await operations.domain_set("ours.example", pool="")
    assert [r.value for r in view.records if r.value.startswith("v=spf1")] == ["v=spf1 a:mail.ours.example ~all"]
    operations._pools = {}
    with pytest.raises(Impossible, match="names none yet"):
        await operations.domain_set("ours.example", pool="news")


async def test_an_hourly_limit_is_kept_and_taken_back(house):
    assert (await house.operations.domain_set("ours.example", hourly_limit=100)).hourly_limit == 100
    assert (await house.operations.domain_set("ours.example", dsn=False)).hourly_limit == 100
    assert (await house.operations.domain_set("ours.example", hourly_limit=0)).hourly_limit == 0
    for wrong in (-1, 10**10):
        with pytest.raises(Impossible, match="an hourly limit is 0"):
            await house.operations.domain_set("ours.example", hourly_limit=wrong)


async def test_a_domain_is_changed_paused_and_removed_and_the_daemon_hears_of_each(house):
    await house.operations.domain_set("ours.example", pool="news", dsn=False)
    await house.operations.domain_pause("OURS.example", "unpaid")
    view = await house.operations.domain_show("ours.example")
    assert (view.pool, view.dsn, view.paused_why) == ("news", False, "unpaid")
    await house.operations.domain_resume("ours.example")
    assert (await house.operations.domain_list())[0].paused_why is None
    await house.operations.domain_remove("ours.example")
    assert await house.operations.domain_list() == ()
    assert house.changes == 4


async def test_a_made_password_works_is_told_once_and_stored_as_a_hash(house):
    made = await house.operations.credential_add("Bob@Ours.example")
    assert made.login == "bob@ours.example"
    assert made.password is not None
    assert len(made.password) == 24
    (row,) = await house.database.read(accounts.credentials)
    assert row.hash.startswith("$argon2id$")
    assert made.password not in row.hash
    assert is_right(row.hash, made.password)
    assert not is_right(row.hash, made.password + "x")
    assert not is_right("no hash", made.password)
    again = await house.operations.credential_add("bob@ours.example", "a password given")
    assert (again.replaced, again.password) == (True, None)
    assert [item.login for item in await house.operations.credential_list("ours.example")] == ["bob@ours.example"]
    await house.operations.credential_remove("bob@OURS.example")
    assert await house.operations.credential_list() == ()
    assert house.changes == 3


async def test_events_are_narrowed_and_followed(house, clock):
    number = await house.message("bob@example.net")
    clock.advance(10)
    await house.settle(number + 1, EventType.DELIVERED, State.DELIVERED, {"delivery-status": {"code": 250}})
    operations = house.operations
    assert [event.type.word for event in await operations.events()] == ["accepted", "delivered"]
    assert [event.type.word for event in await operations.events(limit=1)] == ["delivered"]
    assert [event.type.word for event in await operations.events(words=("accepted",))] == ["accepted"]
    assert [event.type.word for event in await operations.events(since=clock.now() - 5)] == ["delivered"]
    assert await operations.events(recipient="eve@example.net") == ()
    first = (await operations.events())[0]
    assert [event.type.word for event in await operations.events(after=first.id)] == ["delivered"]


async def test_a_timeline_tells_internal_facts_too(house):
    number = await house.message("bob@example.net")
    await house.settle(number + 1, EventType.INTERRUPTED, State.WAITING, {"attempt-no": 1})
    timeline = await house.operations.message_show(queue_id(number))
    assert [event.type.word for event in timeline.events] == ["accepted", "interrupted"]
    assert [event.type.word for event in await house.operations.events()] == ["accepted"]


async def test_captured_mail_is_listed_shown_by_either_id_and_cleared(house):
    message = await house.message("bob@example.net")
    number = await house.capture(message)
    (item,) = await house.operations.captured_list("BOB@example.net")
    assert (item.sender, item.subject) == ("Ann <ann@ours.example>", "Hello [red]")
    for one in (number, message):
        found = await house.operations.captured_show(queue_id(one))
        assert found.item.id == queue_id(number)
        assert b"Subject: Hello [red]" in found.content
    assert await house.operations.captured_clear() == 1
    assert await house.operations.captured_list() == ()
