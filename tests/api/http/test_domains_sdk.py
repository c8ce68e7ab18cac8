"""The PyPI client of today, sync and async, through every family on domains it has."""

import asyncio
import warnings
from contextlib import contextmanager

import pytest

from tests.api.http.account import HOST, open_account
from tests.api.http.house import DOMAIN, KEY
from tests.api.http.test_dkim import pem
from tests.inbound.zones import RSA_KEY, RSA_RECORD

mailgun = pytest.importorskip("mailgun.client")

NEW = "python.test.example"
HOOK, OTHER_HOOK = "https://a.example.org/hook", "https://b.example.org/hook"


@pytest.fixture
async def account(tmp_path):
    async with open_account(tmp_path) as account:
        yield account


@contextmanager
def quiet():
    """What the client or its libraries deprecate is their affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Sync:
    """client("domains", "get", domain=…) -> (status, JSON), in a thread beside the loop that answers."""

    def __init__(self, base):
        self._client = mailgun.Client(auth=("api", KEY), api_url=base)

    async def __call__(self, family, method, **more):
        def ask():
            with quiet():
                response = getattr(getattr(self._client, family), method)(**more)
                return response.status_code, response.json()

        return await asyncio.to_thread(ask)

    async def close(self):
        self._client.close()


class Async:
    def __init__(self, base):
        self._client = mailgun.AsyncClient(auth=("api", KEY), api_url=base)

    async def __call__(self, family, method, **more):
        with quiet():
            response = await getattr(getattr(self._client, family), method)(**more)
            return response.status_code, response.json()

    async def close(self):
        await self._client.aclose()


@pytest.fixture(params=[Sync, Async])
async def sdk(account, request):
    client = request.param(account.client.base)

    async def call(family, method, status=200, **more):
        code, found = await client(family, method, **more)
        assert code == status, found
        return found

    yield call
    await client.close()


async def test_a_domain_from_creation_to_removal(account, sdk):
    made = await sdk("domains", "create", data={"name": NEW})
    assert made["domain"]["name"] == NEW
    account.dns.add(HOST, "A", "192.0.2.1")
    for record in made["sending_dns_records"]:
        if record["record_type"] == "TXT":
            value = record["value"]
            account.dns.add(record["name"], "TXT", f'"{value[:250]}" "{value[250:]}"')
    assert (await sdk("domainlist", "get"))["total_count"] == 3
    assert (await sdk("domains", "get", domain=NEW))["domain"]["state"] == "unverified"
    changed = await sdk("domains", "put", data={"name": NEW, "spam_action": "tag"}, domain=NEW)
    assert changed["domain"]["spam_action"] == "tag"
    assert (await sdk("domains", "put", domain=NEW, verify=True))["domain"]["state"] == "active"
    assert (await sdk("domains", "delete", domain=NEW))["message"] == "Domain has been deleted"
    await sdk("domains", "get", 404, domain=NEW)


async def test_credentials(sdk):
    data = {"login": f"alice_bob@{DOMAIN}", "password": "test_new_creds123"}
    made = await sdk("domains_credentials", "create", domain=DOMAIN, data=data)
    assert made["message"] == "Created 1 credentials pair(s)"
    found = await sdk("domains_credentials", "get", domain=DOMAIN)
    assert found["items"][0]["login"] == f"alice_bob@{DOMAIN}"
    one = {"domain": DOMAIN, "login": f"alice_bob@{DOMAIN}"}
    changed = await sdk("domains_credentials", "put", data={"password": "test_new_creds12356"}, **one)
    assert changed["message"] == "Password changed"
    assert (await sdk("domains_credentials", "delete", **one))["spec"] == f"alice_bob@{DOMAIN}"
    assert (await sdk("domains_credentials", "delete", domain=DOMAIN))["count"] == 0


async def test_connection_and_tracking(sdk):
    found = await sdk("domains_connection", "get", domain=DOMAIN)
    assert found["connection"] == {"require_tls": False, "skip_verification": False}
    data = {"require_tls": "true", "skip_verification": "false"}
    assert (await sdk("domains_connection", "put", domain=DOMAIN, data=data))["require_tls"] is True
    data = {"active": "yes", "skip_verification": "false"}
    assert (await sdk("domains_tracking_open", "put", domain=DOMAIN, data=data))["open"]["active"] is True
    data = {"active": "htmlonly"}
    assert (await sdk("domains_tracking_click", "put", domain=DOMAIN, data=data))["click"]["active"] == "htmlonly"
    data = {"active": "yes", "html_footer": "<p>%unsubscribe_url%</p>", "text_footer": "%unsubscribe_url%"}
    changed = await sdk("domains_tracking_unsubscribe", "put", domain=DOMAIN, data=data)
    assert changed["unsubscribe"] == {**data, "active": True}
    found = (await sdk("domains_tracking", "get", domain=DOMAIN))["tracking"]
    assert (found["open"]["active"], found["click"]["active"]) == (True, "htmlonly")


async def test_dkim_keys_selector_authority_and_prefix(sdk):
    data = {"signing_domain": DOMAIN, "selector": "smtp", "bits": "2048"}
    made = await sdk("dkim_keys", "create", data=data, files=[("pem", ("server.key", pem(RSA_KEY)))])
    assert made["dns_record"]["value"] == RSA_RECORD
    sample = {"page": "string", "limit": "0", "signing_domain": DOMAIN, "selector": "smtp"}
    assert len((await sdk("dkim_keys", "get", filters=sample))["items"]) == 1
    assert (await sdk("domains_keys", "get", domain=DOMAIN))["items"][0]["selector"] == "smtp"
    data = {"self": "true"}
    assert (await sdk("domains_dkimauthority", "put", domain=DOMAIN, data=data))["changed"] is False
    data = {"dkim_selector": "s"}
    assert (await sdk("domains_dkimselector", "put", domain=DOMAIN, data=data))["message"] == "DKIM selector changed"
    data = {"web_prefix": "python"}
    found = await sdk("domains_webprefix", "put", domain=DOMAIN, data=data)
    assert found["message"] == "Domain web prefix updated"
    query = {"signing_domain": DOMAIN, "selector": "s"}
    assert await sdk("dkim_keys", "delete", filters=query) == {"message": "success"}


async def test_webhooks_by_id_and_by_event_types(sdk):
    made = await sdk("domains_webhooks", "create", domain=DOMAIN, data={"id": "clicked", "url": [HOOK]})
    assert made["webhook"] == {"urls": [HOOK]}
    one = {"domain": DOMAIN, "webhook_name": "clicked"}
    assert (await sdk("domains_webhooks", "get", **one))["webhook"] == {"urls": [HOOK]}
    changed = await sdk("domains_webhooks", "put", data={"url": [HOOK, OTHER_HOOK]}, **one)
    assert changed["webhook"] == {"urls": [HOOK, OTHER_HOOK]}
    data = {"event_types": "opened,delivered", "url": HOOK}
    assert set((await sdk("domains_webhooks", "create", domain=DOMAIN, data=data))["webhooks"]) == {
        *("clicked", "opened", "delivered")
    }
    assert (
        "accepted"
        in (await sdk("domains_webhooks", "put", domain=DOMAIN, data={"event_types": "accepted", "url": HOOK}))[
            "webhooks"
        ]
    )
    left = await sdk("domains_webhooks", "delete", domain=DOMAIN, filters={"url": HOOK})
    assert left["webhooks"] == {"clicked": {"urls": [OTHER_HOOK]}}
    assert (await sdk("domains_webhooks", "delete", **one))["message"] == "Webhook has been deleted"
    assert (await sdk("domains_webhooks", "get", domain=DOMAIN))["webhooks"] == {}
