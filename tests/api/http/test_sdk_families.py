"""The official Python client, sync and async, against a whole daemon: the families that have no file of their own.

What mtad has no use for says so, in JSON and with a status that the client knows.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mailgun.client import AsyncClient, Client

from tests.flows.application import NameServer
from tests.flows.inland import API_KEY, DOMAIN, Inland
from tests.live import wait_until

Ask = Callable[..., tuple[int, Any]]
JSON = {"Content-Type": "application/json"}
FILTER = {"AND": [{"attribute": "domain", "comparator": "=", "values": [{"label": DOMAIN, "value": DOMAIN}]}]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inland]:
    with NameServer(lambda server: None) as names, Inland(tmp_path_factory.mktemp("daemon"), names) as daemon:
        yield daemon


@pytest.fixture(scope="module", params=["sync", "async"])
def ask(request: pytest.FixtureRequest, daemon: Inland) -> Iterator[Ask]:
    """ask("ips", "get", ip=…) -> the status and the JSON of the client's answer."""
    account = {"auth": ("api", API_KEY), "api_url": daemon.ready["http"]}

    def told(answer: Any) -> tuple[int, Any]:
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        return answer.status_code, answer.json()

    if request.param == "sync":
        with Client(**account) as client:
            yield lambda family, verb, **more: told(getattr(getattr(client, family), verb)(**more))
        return
    with asyncio.Runner() as runner:
        both = AsyncClient(**account)

        async def one(family: str, verb: str, more: dict[str, Any]) -> Any:
            return await getattr(getattr(both, family), verb)(**more)

        yield lambda family, verb, **more: told(runner.run(one(family, verb, more)))
        runner.run(both.aclose())


@pytest.fixture(scope="module")
def sent(daemon: Inland) -> str:
    """The Message-Id of a message with a tag, delivered."""
    with Client(auth=("api", API_KEY), api_url=daemon.ready["http"]) as client:
        data = {"from": f"ann@{DOMAIN}", "to": "accept@outcome.mtad.test", "text": "x", "o:tag": "news"}
        number = str(client.messages.create(data=data, domain=DOMAIN).json()["id"]).strip("<>")
        filters = {"event": "delivered", "message-id": number}
        wait_until(lambda: client.events.get(domain=DOMAIN, filters=filters).json()["items"], what="delivered")
    return number


def test_metrics(ask: Ask, sent: str) -> None:
    asked = {
        "duration": "1m",
        "dimensions": ["time"],
        "metrics": ["accepted_count", "delivered_count", "clicked_rate", "opened_rate"],
        "filter": FILTER,
        "include_subaccounts": True,
        "include_aggregates": True,
    }
    status, found = ask("analytics_metrics", "create", data=json.dumps(asked), headers=JSON)
    assert status == 200
    wanted = {"accepted_count": 1, "delivered_count": 1, "clicked_rate": "0.0000", "opened_rate": "0.0000"}
    assert found["aggregates"]["metrics"] == wanted
    assert found["items"][-1]["metrics"] == wanted


def test_logs(ask: Ask, sent: str) -> None:
    asked = {
        "events": ["accepted", "delivered"],
        "filter": FILTER,
        "include_subaccounts": True,
        "include_totals": True,
        "pagination": {"sort": "timestamp:asc", "limit": 1},
    }
    found = []
    while True:
        status, page = ask("analytics_logs", "create", data=asked)
        assert status == 200
        if not page["items"]:
            break
        found += [one["event"] for one in page["items"] if one["message"]["headers"]["message-id"] == sent]
        asked["pagination"] = {"token": page["pagination"]["next"]}
    assert found == ["accepted", "delivered"]


def test_tags_of_the_account(ask: Ask, sent: str) -> None:
    status, found = ask("analytics_tags", "create", data={"pagination": {"limit": 10}, "include_subaccounts": True})
    assert (status, [one["tag"] for one in found["items"]]) == (200, ["news"])
    changed = {"tag": "news", "description": "About"}
    assert ask("analytics_tags", "update", data=changed) == (200, {"message": "Tag updated"})
    assert ask("analytics_tags", "create", data={})[1]["items"][0]["description"] == "About"
    assert ask("analytics_tags", "delete", data={"tag": "never"}) == (200, {"message": "Tag deleted"})
    assert ask("analytics_tags_limits", "get")[1]["count"] == 1


def test_addresses_pools_and_queues(ask: Ask) -> None:
    nothing = {"items": [], "total_count": 0}
    assert ask("ips", "get", filters={"dedicated": "true"}) == (200, nothing)
    assert ask("domains_ips", "get", domain=DOMAIN) == (200, nothing)
    assert ask("domains_ips", "create", domain=DOMAIN, data={"ip": "192.0.2.1"}) == (200, {"message": "success"})
    assert ask("domains_ips", "delete", domain=DOMAIN, ip="192.0.2.1") == (200, {"message": "success"})
    assert ask("ippools", "get") == (200, {"ip_pools": [], "message": "success"})
    assert ask("ippools", "create", data={"name": "x", "add_ip": "192.0.2.1"})[0] == 200
    assert ask("ippools", "patch", pool_id="x", data={"name": "y"})[0] == 200
    assert ask("ippools", "delete", pool_id="x")[0] == 200
    status, queues = ask("domains_sendingqueues", "get", domain=DOMAIN)
    assert (status, queues["regular"]["is_disabled"], queues["scheduled"]["is_disabled"]) == (200, False, False)


@pytest.mark.parametrize("verb", ["get", "create"])
def test_one_address_is_judged(ask: Ask, verb: str) -> None:
    given = {"filters" if verb == "get" else "data": {"address": "info@x.org"}}
    status, found = ask("addressvalidate", verb, **given)
    assert (status, found["result"], found["is_role_address"]) == (200, "unknown", True)


def test_addresses_are_taken_apart(ask: Ask) -> None:
    status, found = ask("addressparse", "get", filters={"addresses": "Ann <a@x.org>,nonsense"})
    assert (status, found) == (200, {"parsed": ["Ann <a@x.org>"], "unparseable": ["nonsense"]})


TEST = {"domain": DOMAIN, "from": f"ann@{DOMAIN}", "subject": "x", "html": "<p>"}
KEY = {"email": "ann@x.org", "kind": "web", "role": "admin", "user_name": "Ann", "description": "x"}
CLASSES = {"dimensions": ["entity-name"], "metrics": ["critical_bounce_count"], "pagination": {"limit": 10}}


@pytest.mark.parametrize(
    ("family", "verb", "more"),
    [
        ("keys", "get", {"filters": {"domain_name": DOMAIN, "kind": "web"}}),
        ("keys", "create", {"data": KEY}),
        ("keys", "delete", {"key_id": "x"}),
        ("keys_public", "create", {}),
        ("users", "get", {}),
        ("users", "get", {"user_id": "me"}),
        ("users", "get", {"user_id": "0123"}),
        ("accounts", "get", {}),
        ("accounts_subaccounts", "get", {}),
        ("subaccount_ip_pools", "get", {"subaccountId": "x"}),
        ("sandbox_auth_recipients", "get", {}),
        ("bounce_classification", "create", {"data": json.dumps(CLASSES), "headers": JSON}),
        ("inbox_tests", "get", {}),
        ("inbox_tests", "create", {"data": TEST}),
        ("inbox_tests", "get", {"test_id": "x"}),
        ("inbox_tests", "get", {"test_id": "x", "counters": True}),
        ("inbox_tests", "get", {"test_id": "x", "checks": True}),
        ("inbox_tests", "get", {"test_id": "x", "checks": True, "address": "a@x.org"}),
        ("inbox_tests", "delete", {"test_id": "x"}),
        ("analytics_usage_metrics", "create", {"data": {"metrics": ["processed_count"]}}),
        ("address_bulk", "get", {}),
        ("address_bulk", "create", {"list_name": "x", "files": {"file": b"email\na@x.org\n"}}),
        ("address_bulk", "delete", {"list_name": "x"}),
        ("address_preview", "get", {}),
        ("alerts_events", "get", {}),
        ("thresholds", "get", {}),
        ("dynamic_pools", "get", {}),
        ("ip_warmups", "get", {}),
        ("ip_whitelist", "get", {}),
        ("reputation", "get", {}),
        ("reputationanalytics", "get", {}),
        ("dmarc_domains", "get", {}),
        ("inboxready_domains", "get", {}),
        ("inspect", "get", {}),
        ("maverick_score", "get", {}),
        ("monitoring", "get", {}),
        ("preview_tests", "get", {}),
        ("spamtraps", "get", {}),
        ("x509", "get", {"domain": DOMAIN}),
        ("x509_status", "get", {"domain": DOMAIN}),
        ("dkim_management_rotation", "put", {"domain": DOMAIN, "data": {"rotation_enabled": "true"}}),
        ("account_webhooks", "get", {}),
    ],
)
def test_what_mtad_has_no_use_for_is_not_found(ask: Ask, family: str, verb: str, more: dict[str, Any]) -> None:
    assert ask(family, verb, **more) == (404, {"message": "Not Found"})
