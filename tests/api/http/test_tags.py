import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest
from mailgun.client import AsyncClient
from mailgun.client import Client as SyncClient

from mtad.api.http.analytics import Analytics
from mtad.api.http.events import Events
from mtad.api.http.stats import Stats
from mtad.api.http.tags import Tags
from mtad.mail.metric import Metric
from mtad.storage.record import Records, record
from tests.api.http.house import DOMAIN, KEY, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

NOW = 1_700_000_000.25


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock(NOW)) as house:
        yield house


@pytest.fixture
async def client(house):
    database = house.database
    database.writer.follow(lambda: house.ids.last)
    keep_s = lambda: 30 * 86_400.0  # noqa: E731
    chapters = [Tags(database), Stats(database, keep_s), Analytics(database), Events(database, house.clock, keep_s)]
    async with serve(house, chapters) as client:
        yield client


@pytest.fixture
def write(house):
    async def write(**records):
        await house.database.writer.write(lambda connection: record(connection, Records(**records)))

    return write


@pytest.fixture
async def used(write):
    """Three tags of the first domain, one of the other."""
    await write(tags=[(1, "Newsletter", NOW - 100), (1, "Newsletter", NOW), (1, "alpha", NOW), (1, "two words", NOW)])
    await write(tags=[(2, "newsletter", NOW)])
    hour = int(NOW) // 3600
    await write(counts=[(1, "t:newsletter", int(Metric.OPENED), hour, 5), (1, "", int(Metric.OPENED), hour, 9)])
    numbers = ((Metric.OPENED, 5), (Metric.OPENED_UNIQUE, 2))
    kinds = (("country", "us"), ("provider", "gmail.com"), ("device", "mobile"))
    await write(aggregates=[(1, "t:newsletter", *kind, int(metric), 1, n) for kind in kinds for metric, n in numbers])


def path_of(url):
    parts = urlsplit(url)
    return parts.path + "?" + parts.query


async def test_a_tag_in_any_case(client, used):
    found = await client.json("GET", f"/v3/{DOMAIN}/tags/NEWSLETTER")
    assert found == {
        "tag": "Newsletter",
        "description": "",
        "first-seen": "2023-11-14T22:11:40.250Z",
        "last-seen": "2023-11-14T22:13:20.250Z",
    }
    assert await client.json("GET", f"/v3/{DOMAIN}/tag?tag=newsletter") == found
    assert (await client.json("GET", f"/v3/{DOMAIN}/tags/two%20words"))["tag"] == "two words"


async def test_tags_in_pages(client, used):
    page = await client.json("GET", f"/v3/{DOMAIN}/tags?limit=2")
    assert [item["tag"] for item in page["items"]] == ["alpha", "Newsletter"]
    following = await client.json("GET", path_of(page["paging"]["next"]))
    assert [item["tag"] for item in following["items"]] == ["two words"]
    assert (await client.json("GET", path_of(following["paging"]["next"])))["items"] == []
    assert (await client.json("GET", path_of(following["paging"]["previous"])))["items"] == page["items"]
    last = await client.json("GET", path_of(page["paging"]["last"]))
    assert [item["tag"] for item in last["items"]] == ["Newsletter", "two words"]
    begun = await client.json("GET", f"/v3/{DOMAIN}/tags?prefix=NEWS")
    assert [item["tag"] for item in begun["items"]] == ["Newsletter"]
    assert "prefix=NEWS" in begun["paging"]["next"]


@pytest.mark.parametrize("path", ["tags/newsletter", "tag?tag=newsletter"])
async def test_a_tag_is_described_and_forgotten(client, used, path):
    url = f"/v3/{DOMAIN}/{path}"
    assert await client.json("PUT", url, data={"description": "Weekly"}) == {"message": "Tag updated"}
    assert (await client.json("GET", url))["description"] == "Weekly"
    assert await client.json("DELETE", url) == {"message": "Tag deleted"}
    assert await client.json("GET", url, 404) == {"message": "Tag not found"}
    assert await client.json("PUT", url, 404, data={"description": "x"}) == {"message": "Tag not found"}
    assert await client.json("DELETE", url) == {"message": "Tag deleted"}
    assert (await client.json("GET", f"/v3/{OTHER}/tags/newsletter"))["tag"] == "newsletter"


@pytest.mark.parametrize("path", ["tags/newsletter/stats?", "tag/stats?tag=newsletter&"])
async def test_the_numbers_of_a_tag(client, used, path):
    await client.json("PUT", f"/v3/{DOMAIN}/tags/newsletter?description=Weekly")
    found = await client.json("GET", f"/v3/{DOMAIN}/{path}event=opened&duration=1h&resolution=hour")
    assert (found["tag"], found["description"]) == ("Newsletter", "Weekly")
    assert [step["opened"]["total"] for step in found["stats"]] == [0, 5]
    await client.json("GET", f"/v3/{DOMAIN}/tags/nothing/stats?event=opened", 404)


async def test_numbers_by_country_provider_and_device(client, used):
    url = f"/v3/{DOMAIN}/tags/newsletter/stats/aggregates"
    numbers = {"clicked": 0, "complained": 0, "opened": 5, "unique_clicked": 0, "unique_opened": 2, "unsubscribed": 0}
    assert await client.json("GET", f"{url}/countries") == {"tag": "Newsletter", "country": {"us": numbers}}
    providers = await client.json("GET", f"{url}/providers")
    assert providers["provider"] == {"gmail.com": {**numbers, "accepted": 0, "delivered": 0}}
    devices = await client.json("GET", f"{url}/devices")
    assert set(devices["device"]) == {"desktop", "mobile", "tablet", "unknown"}
    assert devices["device"]["mobile"] == numbers
    assert await client.json("GET", f"/v3/{DOMAIN}/tag/stats/aggregates?type=device&tag=newsletter") == devices
    await client.json("GET", f"{url}/planets", 404)
    await client.json("GET", f"/v3/{DOMAIN}/tags/nothing/stats/aggregates/devices", 404)


async def test_how_many_tags(client, used):
    assert await client.json("GET", f"/v3/domains/{DOMAIN}/limits/tag") == {"id": "tag", "limit": 4000, "count": 3}
    found = await client.json("GET", "/v1/analytics/tags/limits")
    assert found == {"limit": 100_000, "count": 3, "limit_reached": False}


async def test_the_tags_of_all_domains(client, used):
    url = "/v1/analytics/tags"
    found = await client.json("POST", url, json={"pagination": {"limit": 1, "skip": 1}})
    assert [item["tag"] for item in found["items"]] == ["Newsletter"]
    assert found["pagination"] == {"sort": "tag:asc", "limit": 1, "skip": 1, "total": 3}
    assert await client.json("PUT", url, json={"tag": "NEWSLETTER", "description": "W"}) == {"message": "Tag updated"}
    for domain in (DOMAIN, OTHER):
        assert (await client.json("GET", f"/v3/{domain}/tags/newsletter"))["description"] == "W"
    assert await client.json("DELETE", url, json={"tag": "newsletter"}) == {"message": "Tag deleted"}
    for domain in (DOMAIN, OTHER):
        await client.json("GET", f"/v3/{domain}/tags/newsletter", 404)
    assert await client.json("PUT", url, 404, json={"tag": "nothing"}) == {"message": "Tag not found"}


# The client of the service's own makers.


@contextlib.contextmanager
def _quiet():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


async def test_the_python_client_reads_tags_stats_and_events(client, used, house):
    def work():
        with _quiet(), SyncClient(auth=("api", KEY), api_url=client.base) as mailgun:
            named = {"domain": DOMAIN, "tag_name": "newsletter"}
            told = [mailgun.tags.get(domain=DOMAIN), mailgun.tags.get(**named)]
            told.append(mailgun.tags.put(**named, data={"description": "Weekly"}))
            told.append(mailgun.tags_stats.get(**named, filters={"event": "opened"}))
            told += [
                getattr(mailgun, f"tags_stats_aggregates_{kind}").get(**named)
                for kind in ("countries", "providers", "devices")
            ]
            told.append(mailgun.stats_total.get(domain=DOMAIN, filters={"event": ["opened", "clicked"]}))
            told.append(mailgun.events.get(domain=DOMAIN, filters={"event": "rejected OR failed", "limit": 1}))
            told.append(mailgun.analytics_metrics.create(data={"metrics": ["opened_count"]}))
            told.append(mailgun.analytics_tags.create(data={}))
            told.append(mailgun.tags.delete(**named))
            return [response.status_code for response in told], told[7].json()

    codes, stats = await asyncio.to_thread(work)
    assert codes == [200] * 12
    assert set(stats["stats"][0]) == {"time", "opened", "clicked"}


async def test_the_python_client_goes_through_all_pages_of_events(client, house, write):
    rows = [(house.ids.next(), 5, 1, None, None, b'{"recipient":"r@example.net"}') for _ in range(7)]
    await write(events=rows)

    def work():
        with _quiet(), SyncClient(auth=("api", KEY), api_url=client.base) as mailgun:
            return [event["id"] for event in mailgun.events.stream(domain=DOMAIN, filters={"limit": 3})]

    found = await asyncio.to_thread(work)
    assert len(found) == len(set(found)) == 7
    with _quiet():
        async with AsyncClient(auth=("api", KEY), api_url=client.base) as mailgun:
            again = [event["id"] async for event in mailgun.events.stream(domain=DOMAIN, filters={"limit": 3})]
    assert again == found
