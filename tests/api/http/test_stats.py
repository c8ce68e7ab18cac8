import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.http.analytics import Analytics
from mtad.api.http.answers import BadRequest
from mtad.api.http.params import Params
from mtad.api.http.stats import Stats
from mtad.api.http.totals import read_time
from mtad.mail.metric import Metric
from mtad.storage.counters import MAX_STEPS
from mtad.storage.record import Records, record
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

NOW = calendar.timegm((2026, 3, 3, 10, 30, 0))
DAY = 86_400


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock(NOW)) as house:
        yield house


@pytest.fixture
async def client(house):
    chapters = [Stats(house.database, lambda: 183 * DAY), Analytics(house.database)]
    async with serve(house, chapters) as client:
        yield client


@pytest.fixture
def count(house):
    async def count(metric, n=1, ago=0, *, label="", domain=1):
        hour = int(NOW - ago) // 3600
        counts = [(domain, label, int(metric), hour, n)]
        await house.database.writer.write(lambda connection: record(connection, Records(counts=counts)))

    return count


async def test_each_day_with_a_number_is_an_item_newest_first(client, count):
    await count(Metric.OPENED, 31)
    await count(Metric.OPENED, 12, label="t:newsletter")
    await count(Metric.ACCEPTED_OUTGOING, 5, ago=DAY)
    await count(Metric.FAILED_BOUNCE, 2, ago=2 * DAY)
    await count(Metric.OPENED, 99, domain=2)
    await count(Metric.OPENED, 99, ago=200 * DAY)
    found = await client.json("GET", f"/v2/{DOMAIN}/stats")
    assert found["total_count"] == 6
    assert [(item["event"], item["total_count"], item["created_at"][:11]) for item in found["items"]] == [
        ("opened", 31, "Tue, 03 Mar"),
        ("sent", 5, "Mon, 02 Mar"),
        ("accepted", 5, "Mon, 02 Mar"),
        ("failed", 2, "Sun, 01 Mar"),
        ("bounced", 2, "Sun, 01 Mar"),
        ("dropped", 2, "Sun, 01 Mar"),
    ]
    first = found["items"][0]
    assert first["tags"] == {"newsletter": 12}
    assert first["created_at"] == "Tue, 03 Mar 2026 00:00:00 GMT"
    assert len(first["id"]) == 24
    assert (await client.json("GET", f"/v3/{DOMAIN}/stats"))["items"][0]["id"] == first["id"]


async def test_the_days_can_be_asked_for_in_parts(client, count):
    for ago in range(4):
        await count(Metric.OPENED, ago + 1, ago=ago * DAY)
        await count(Metric.CLICKED, 9, ago=ago * DAY)
    url = f"/v3/{DOMAIN}/stats"
    found = await client.json("GET", f"{url}?event=opened&limit=2&skip=1")
    assert (found["total_count"], [item["total_count"] for item in found["items"]]) == (4, [2, 3])
    assert (await client.json("GET", f"{url}?event=open&event=click&start-date=2026-03-02"))["total_count"] == 4
    assert (await client.json("GET", f"{url}?event=opened&skip=9")) == {"total_count": 4, "items": []}
    assert "none of sent" in (await client.json("GET", f"{url}?event=exploded", 400))["message"]


async def test_totals_have_every_step_and_only_what_was_asked(client, count):
    await count(Metric.ACCEPTED_OUTGOING, 3)
    await count(Metric.ACCEPTED_INCOMING, 4)
    await count(Metric.FAILED_ESPBLOCK, 1, ago=DAY)
    await count(Metric.FAILED_TEMPORARY, 2, ago=DAY)
    await count(Metric.SUPPRESSED_BOUNCE, 5, ago=DAY)
    await count(Metric.FAILED_BOUNCE, 6, ago=DAY)
    found = await client.json("GET", f"/v3/{DOMAIN}/stats/total?event=accepted&event=failed&duration=2d")
    assert (found["start"], found["end"], found["resolution"], found["description"]) == (
        "Sun, 01 Mar 2026 00:00:00 GMT",
        "Tue, 03 Mar 2026 00:00:00 GMT",
        "day",
        "",
    )
    assert [step["time"][:7] for step in found["stats"]] == ["Sun, 01", "Mon, 02", "Tue, 03"]
    assert set(found["stats"][0]) == {"time", "accepted", "failed"}
    assert found["stats"][2]["accepted"] == {"outgoing": 3, "incoming": 4, "total": 7}
    assert found["stats"][1]["failed"] == {
        "temporary": {"espblock": 1, "total": 3},
        "permanent": {
            "suppress-bounce": 5,
            "suppress-unsubscribe": 0,
            "suppress-complaint": 0,
            "bounce": 6,
            "delayed-bounce": 0,
            "total": 11,
        },
    }


async def test_every_event_has_its_shape(client):
    events = ("delivered", "opened", "clicked", "unsubscribed", "complained", "stored")
    query = "&".join(f"event={event}" for event in events)
    [step] = (await client.json("GET", f"/v3/{DOMAIN}/stats/total?{query}&start={NOW}"))["stats"]
    del step["time"]
    assert step == {
        "delivered": {"smtp": 0, "http": 0, "optimized": 0, "total": 0},
        "opened": {"total": 0, "unique": 0},
        "clicked": {"total": 0, "unique": 0},
        "unsubscribed": {"total": 0},
        "complained": {"total": 0},
        "stored": {"total": 0},
    }


async def test_the_account_is_all_domains_together(client, count):
    await count(Metric.OPENED, 1)
    await count(Metric.OPENED, 2, domain=2)
    query = "event=opened&duration=1h&resolution=hour"

    async def last(path):
        return (await client.json("GET", path))["stats"][-1]["opened"]["total"]

    assert await last(f"/v3/stats/total?{query}") == 3
    assert await last(f"/v3/stats/filter?{query}&filter=domain:{OTHER}") == 2
    assert await last(f"/v3/{OTHER}/stats/total?{query}") == 2
    await client.json("GET", f"/v3/stats/filter?{query}&filter=domain:nowhere.example", 404)
    await client.json("GET", f"/v3/stats/filter?{query}&filter=provider:x", 400)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "event parameter is missing"),
        ("event=sent", "none of accepted"),
        ("event=opened&resolution=week", "none of hour, day and month"),
        ("event=opened&duration=7", "such as 7d"),
        ("event=opened&start=1700000000&end=1600000000", "later than end"),
        ("event=opened&start=0&resolution=hour", f"more than {MAX_STEPS} steps"),
        ("event=opened&start=soon", "start is neither"),
    ],
)
async def test_what_cannot_be_counted_is_told(client, query, said):
    assert said in (await client.json("GET", f"/v3/{DOMAIN}/stats/total?{query}", 400))["message"]


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        ({}, (2026, 2, 24), (2026, 3, 3)),
        ({"duration": "1m", "resolution": "month"}, (2026, 2, 1), (2026, 3, 1)),
        ({"duration": "3m", "end": "2026-03-31"}, (2025, 12, 31), (2026, 3, 31)),
        ({"duration": "1m", "end": "2026-03-31"}, (2026, 2, 28), (2026, 3, 31)),
        ({"duration": "24h", "start": "0"}, (2026, 3, 2), (2026, 3, 3)),
        ({"duration": "99999m"}, (1970, 1, 1), (2026, 3, 3)),
        ({"start": "Mon, 02 Mar 2026 23:59:59 -0100"}, (2026, 3, 3), (2026, 3, 3)),
    ],
)
def test_the_time_that_is_asked_for(query, since, until):
    asked = read_time(Params(query.items()), NOW)
    assert (asked.since, asked.until) == (calendar.timegm((*since, 0, 0, 0)), calendar.timegm((*until, 0, 0, 0)))


@given(
    start=st.none() | st.floats(-1e12, 1e12),
    end=st.none() | st.floats(-1e12, 1e12),
    duration=st.sampled_from(["", "1h", "500d", "99999m"]),
    resolution=st.sampled_from(["hour", "day", "month"]),
)
def test_any_time_begins_before_it_ends_or_is_refused(start, end, duration, resolution):
    query = {"duration": duration, "resolution": resolution}
    query |= {name: repr(at) for name, at in (("start", start), ("end", end)) if at is not None}
    try:
        asked = read_time(Params(query.items()), NOW)
    except BadRequest:
        return
    assert 0 <= asked.since <= asked.until <= 4e9


async def test_metrics_by_time_and_of_some_domains(client, count):
    await count(Metric.OPENED, 1)
    await count(Metric.OPENED_UNIQUE, 1, ago=DAY)
    await count(Metric.OPENED, 2, domain=2)
    body = {"dimensions": ["time"], "metrics": ["opened_count", "unique_opened_count"], "duration": "1d"}
    found = await client.json("POST", "/v1/analytics/metrics", json=body)
    assert [item["metrics"] for item in found["items"]] == [
        {"opened_count": 0, "unique_opened_count": 1},
        {"opened_count": 3, "unique_opened_count": 0},
    ]
    assert found["items"][0]["dimensions"][0]["value"] == "Mon, 02 Mar 2026 00:00:00 +0000"
    assert found["aggregates"]["metrics"] == {"opened_count": 3, "unique_opened_count": 1}
    allowed = {"AND": [{"attribute": "domain", "comparator": "=", "values": [{"value": OTHER}]}]}
    found = await client.json("POST", "/v1/analytics/metrics", json={**body, "filter": allowed, "dimensions": []})
    assert [item["metrics"]["opened_count"] for item in found["items"]] == [2]
    found = await client.json("POST", "/v1/analytics/metrics", json={"dimensions": ["provider"]})
    assert found["items"] == []
    for bad in ({"filter": {"AND": [1]}}, {"pagination": {"limit": "x"}}, {"duration": "x"}, {"start": "x"}):
        await client.json("POST", "/v1/analytics/metrics", 400, json=bad)


async def test_rates_are_texts_and_never_a_division_by_nothing(client, count):
    await count(Metric.DELIVERED_SMTP, 3)
    await count(Metric.FAILED_BOUNCE, 1)
    await count(Metric.CLICKED, 1)
    names = ["delivered_rate", "clicked_rate", "bounced_rate", "delivered_count", "unheard_of"]
    body = {"dimensions": ["time"], "metrics": names, "duration": "1d"}
    found = await client.json("POST", "/v1/analytics/metrics", json=body)
    nothing = {"delivered_rate": "0.0000", "clicked_rate": "0.0000", "bounced_rate": "0.0000", "delivered_count": 0}
    some = {"delivered_rate": "0.7500", "clicked_rate": "0.3333", "bounced_rate": "0.2500", "delivered_count": 3}
    assert [item["metrics"] for item in found["items"]] == [nothing, some]
