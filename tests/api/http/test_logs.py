import pytest

from mtad.api.http.logs import Logs
from mtad.mail.event import EventType
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.api.http.test_events import Journal, names
from tests.virtualclock import VirtualClock

LOG, LOGS = f"/v3/{DOMAIN}/log", "/v1/analytics/logs"
KEEP_S = 30 * 86_400.0
REPLY = {"code": 550, "message": "no such user", "description": ""}


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def house(tmp_path, clock):
    async with open_house(tmp_path, clock) as house:
        house.database.writer.follow(lambda: house.ids.last)
        yield house


@pytest.fixture
async def client(house):
    async with serve(house, [Logs(house.database, house.clock, lambda: KEEP_S)]) as client:
        yield client


@pytest.fixture
def writing(house, clock):
    return Journal(house, clock)


async def test_the_log_has_a_line_for_each_event_the_newest_first(client, writing, clock):
    [bob] = await writing.message("bob@example.net", message_id="m@x")
    clock.advance(1)
    detail = {"delivery-status": REPLY, "reason": "bounce"}
    await writing.happens(EventType.FAILED_PERMANENT, bob, **detail)
    await writing.message("eve@example.net", domain=2)
    found = await client.json("GET", LOG)
    assert found == {
        "total_count": 2,
        "items": [
            {
                "hap": "failed",
                "created_at": "Tue, 14 Nov 2023 22:13:21 GMT",
                "type": "error",
                "message": "Failed: ann@ours.example → bob@example.net 'Hello' (550 no such user)",
                "message_id": "m@x",
            },
            {
                "hap": "accepted",
                "created_at": "Tue, 14 Nov 2023 22:13:20 GMT",
                "type": "info",
                "message": "Accepted: ann@ours.example → bob@example.net 'Hello'",
                "message_id": "m@x",
            },
        ],
    }


async def test_the_log_is_paged_by_limit_and_skip(client, writing, clock):
    await writing.several(7)
    found = []
    for skip in range(0, 9, 3):
        page = await client.json("GET", f"{LOG}?limit=3&skip={skip}")
        assert page["total_count"] == 7
        found += [item["message"].split()[3].partition("@")[0] for item in page["items"]]
    assert found == ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]
    assert (await client.json("GET", f"{LOG}?skip=99999999999"))["items"] == []
    await client.json("GET", f"{LOG}?limit=0", 400)
    clock.advance(KEEP_S - 3)
    assert (await client.json("GET", LOG))["total_count"] == 3


async def ask(client, status=200, **body):
    return await client.json("POST", LOGS, status, json=body)


def only(attribute, *values, comparator="="):
    named = [{"label": text, "value": text} for text in values]
    return {"AND": [{"attribute": attribute, "comparator": comparator, "values": named}]}


async def test_logs_are_of_all_domains_unless_some_are_named(client, writing, clock):
    await writing.message("a@example.net")
    clock.advance(1)
    await writing.message("b@example.net", domain=2)
    assert names(await ask(client)) == ["b", "a"]
    assert names(await ask(client, pagination={"sort": "timestamp:asc"})) == ["a", "b"]
    assert names(await ask(client, filter=only("domain", OTHER.upper()))) == ["b"]
    assert names(await ask(client, filter=only("domain", OTHER, DOMAIN))) == ["b", "a"]
    assert names(await ask(client, filter=only("domain", OTHER, comparator="!="))) == ["a"]
    assert names(await ask(client, filter=only("domain", "nowhere.example"))) == []
    both = {"AND": [*only("domain", OTHER)["AND"], *only("domain", DOMAIN)["AND"]]}
    assert names(await ask(client, filter=both)) == []


async def test_logs_are_narrowed_by_time_event_and_what_events_are(client, writing, clock):
    start = clock.now()
    [ann] = await writing.message("ann@example.net", tags=["news"])
    clock.advance(3600)
    await writing.message("bob@example.net", message_id="m@x", subject="Other")
    await writing.happens(EventType.DELIVERED, ann, **{"delivery-status": {"code": 250}})
    found = await ask(client, start=start, end=start + 60)
    assert (names(found), found["start"]) == (["ann"], "Tue, 14 Nov 2023 22:13:20 +0000")
    assert names(await ask(client, duration="1h", end=start + 3601)) == ["ann", "bob"]
    assert [one["event"] for one in (await ask(client, events=["delivered", "failed"]))["items"]] == ["delivered"]
    for condition, wanted in (
        (only("recipient", "bob@example.net"), ["bob"]),
        (only("recipient", "bob@example.net", comparator="!="), ["ann", "ann"]),
        (only("message_id", "m@x"), ["bob"]),
        (only("tag", "News"), ["ann", "ann"]),
        (only("subject", "oth", comparator="contains"), ["bob"]),
        (only("event", "accepted"), ["bob", "ann"]),
    ):
        assert names(await ask(client, filter=condition)) == wanted, condition
        one_domain = {"AND": [*condition["AND"], *only("domain", DOMAIN)["AND"]]}
        assert names(await ask(client, filter=one_domain)) == wanted, condition


@pytest.mark.parametrize("more", [{}, {"filter": only("domain", DOMAIN)}, {"filter": only("domain", OTHER, DOMAIN)}])
async def test_pages_of_logs_skip_nothing_and_tell_nothing_twice(client, writing, more):
    await writing.several(7)
    await writing.message("stranger@example.net", domain=2)
    wanted = ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]
    if more.get("filter") != only("domain", DOMAIN):
        wanted = ["stranger", *wanted]
    page = await ask(client, pagination={"limit": 3}, **more)
    found = []
    while page["items"]:
        assert len(page["items"]) <= 3
        found += names(page)
        last, page = page, await ask(client, pagination={"token": page["pagination"]["next"]})
    assert found == wanted
    before = await ask(client, pagination={"token": last["pagination"]["previous"]})
    assert names(before) == wanted[-3 - len(last["items"]) : -len(last["items"])]
    assert names(await ask(client, pagination={"token": last["pagination"]["first"]})) == wanted[:3]
    assert names(await ask(client, pagination={"token": last["pagination"]["last"]})) == wanted[-3:]


@pytest.mark.parametrize(
    "body",
    [
        {"start": "x"},
        {"duration": "x"},
        {"pagination": {"limit": "x"}},
        {"pagination": {"limit": -1}},
        {"pagination": {"sort": "subject:asc"}},
        {"pagination": {"token": "x"}},
        {"filter": {"AND": [1]}},
        {"filter": only("shoe size", "1")},
        {"filter": only("domain", "x", comparator="~")},
        {"filter": only("recipient")},
        {"filter": only("recipient", 'a"b')},
    ],
)
async def test_what_cannot_be_asked_for_is_400(client, body):
    assert (await ask(client, 400, **body))["message"]
