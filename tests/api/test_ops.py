import asyncio
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from mtad.api.ops import SNAPSHOT_S, TOP_SITES, Gauges, Snapshots, ops_app
from mtad.storage import sites
from mtad.storage.outgoing import State
from mtad.storage.sites import site_id
from tests.api.house import SITE, open_house
from tests.virtualclock import VirtualClock

WELL = Gauges(
    store_failure=lambda: None,
    disk=lambda: (10_000, 1_000),
    memory=lambda: (10, 1_000),
    lag_s=lambda: 0.001,
)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
async def house(tmp_path, clock):
    async with open_house(tmp_path, clock) as house:
        yield house


@pytest.fixture
async def ask(house, clock):
    """ask(gauges) -> a client of a fresh application."""
    clients = []

    async def make(gauges=WELL):
        client = TestClient(TestServer(ops_app(gauges, Snapshots(house.database, clock))))
        await client.start_server()
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


async def scraped(client):
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(await response.text())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


async def test_a_well_daemon_says_so(ask):
    response = await (await ask()).get("/health")
    assert response.status == 200
    page = await response.json()
    assert (page["status"], page["reasons"], page["disk_free_octets"]) == ("ok", [], 10_000)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"store_failure": lambda: "disk I/O error"}, "the store is unhealthy: disk I/O error"),
        ({"disk": lambda: (999, 1_000)}, "the disk is nearly full: 999 octets free, 1000 needed"),
        ({"memory": lambda: (951, 1_000)}, "messages take 951 of 1000 octets of memory"),
        ({"lag_s": lambda: 2.5}, "the event loop is 2.5 s behind"),
        ({"other_troubles": lambda: ["the certificate has expired"]}, "the certificate has expired"),
    ],
)
async def test_what_is_wrong_is_a_503_that_says_it(ask, wrong, said):
    client = await ask(replace(WELL, **wrong))
    response = await client.get("/health")
    assert response.status == 503
    page = await response.json()
    assert page["reasons"] == [said]
    assert page["message"] == said
    assert (await scraped(client))[("mtad_healthy",)] == 0


async def test_several_reasons_are_all_told(ask):
    response = await (await ask(replace(WELL, disk=lambda: (0, 1), lag_s=lambda: 9.0))).get("/health")
    assert len((await response.json())["reasons"]) == 2


async def test_totals_and_present_numbers_are_read_at_each_scrape(ask):
    numbers = {"accepted": 1}
    gauges = replace(
        WELL,
        accepted=lambda: numbers["accepted"],
        failed=lambda: {"no-such-user": 4, "spam": 1},
        smtp=lambda: [("refused-too-big", 2)],
        visits_lost=lambda: 3,
        inbound_refused=lambda: {"loop": 4},
        inbound_copies=lambda: {"posted": 5},
        reports=lambda: {"bounces": 6},
        posts=lambda: {"done": 7},
        connections_out=lambda: 7,
        http_connections=lambda: 8,
        http_refused=lambda: 9,
        commit_s=lambda: 1.5,
        paused=lambda: True,
    )
    client = await ask(gauges)
    assert (await scraped(client))[("mtad_recipients_accepted_total",)] == 1
    numbers["accepted"] = 5
    found = await scraped(client)
    assert found[("mtad_recipients_accepted_total",)] == 5
    assert (found[("mtad_http_connections",)], found[("mtad_http_connections_refused_total",)]) == (8, 9)
    assert found[("mtad_recipients_failed_total", "no-such-user")] == 4
    assert found[("mtad_smtp_total", "refused-too-big")] == 2
    assert found[("mtad_visits_lost_total",)] == 3
    assert found[("mtad_inbound_refused_total", "loop")] == 4
    assert found[("mtad_inbound_copies_total", "posted")] == 5
    assert found[("mtad_reports_total", "bounces")] == 6
    assert found[("mtad_webhook_posts_total", "done")] == 7
    assert found[("mtad_connections_out",)] == 7
    assert found[("mtad_store_commit_seconds_total",)] == 1.5
    assert found[("mtad_queue_paused",)] == 1
    assert found[("mtad_message_memory_limit_octets",)] == 1_000


async def test_the_queue_is_told_by_state_and_by_site(house, ask):
    await house.message("a@x.example", "b@x.example", states=(State.WAITING, State.LEASED))
    found = await scraped(await ask())
    assert found[("mtad_queue_recipients", "waiting")] == 1
    assert found[("mtad_queue_recipients", "sending")] == 1
    assert found[("mtad_site_recipients", SITE)] == 2
    assert found[("mtad_site_suspended", SITE)] == 0
    assert found[("mtad_spool_octets",)] == 0


async def test_no_more_sites_than_the_largest_get_a_label(house, ask):
    keys = [f"mx.site{number}.example" for number in range(TOP_SITES + 10)]
    for key in keys:
        await house.database.writer.write(lambda c, key=key: sites.suspend(c, site_id(key), key, None, "test"))
    found = await scraped(await ask())
    assert sum(name[0] == "mtad_site_suspended" for name in found) == TOP_SITES


async def test_many_scrapes_ask_the_store_once_for_a_while(house, ask, clock, monkeypatch):
    asked = []
    read = house.database.read

    async def counted(work):
        asked.append(work)
        return await read(work)

    monkeypatch.setattr(house.database, "read", counted)
    client = await ask()
    await asyncio.gather(*[scraped(client) for _ in range(5)])
    assert len(asked) == 2
    clock.advance(SNAPSHOT_S + 1)
    await scraped(client)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/x%00y", 404), ("POST", "/health", 405)]
)
async def test_errors_are_json_and_tell_no_versions(ask, method, path, status):
    response = await (await ask()).request(method, path)
    assert response.status == status
    assert isinstance((await response.json())["message"], str)
    assert response.headers["Server"] == "mtad"
    if status == 405:
        assert "GET" in response.headers["Allow"]
