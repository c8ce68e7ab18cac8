import asyncio
import re

import pytest

from mtad.api.passwords import is_right
from mtad.storage import accounts
from mtad.storage.accounts import DomainChanges
from tests.api.http.account import HOST, WEB, open_account
from tests.api.http.house import DOMAIN, OTHER
from tests.inbound.zones import quoted
from tests.virtualclock import VirtualClock

NEW = "news.example.org"
OBJECT = {
    "name": DOMAIN,
    "created_at": "Tue, 14 Nov 2023 22:13:20 GMT",
    "smtp_login": f"postmaster@{DOMAIN}",
    "spam_action": "disabled",
    "wildcard": False,
    "state": "unverified",
    "type": "custom",
    "is_disabled": False,
    "require_tls": False,
    "skip_verification": False,
    "web_prefix": "email",
    "web_scheme": "http",
    "use_automatic_sender_security": False,
    "message_ttl": 259200,
}


@pytest.fixture
async def account(tmp_path):
    async with open_account(tmp_path, VirtualClock()) as account:
        yield account


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
async def test_the_domains_are_listed_with_all_that_clients_read(account, version):
    found = await account.json("GET", f"/v{version}/domains")
    assert found["total_count"] == 2
    first, second = found["items"]
    assert re.fullmatch(r"[0-9a-f]{24}", first.pop("id"))
    assert first == OBJECT
    assert second["name"] == OTHER


@pytest.mark.parametrize(
    ("query", "names", "total"),
    [
        ("limit=1", [DOMAIN], 2),
        ("limit=1&skip=1", [OTHER], 2),
        ("skip=2", [], 2),
        ("limit=5000", [DOMAIN, OTHER], 2),
        ("sort=name:desc", [OTHER, DOMAIN], 2),
        ("search=Other", [OTHER], 1),
        ("state=active", [], 0),
        ("state=unverified", [DOMAIN, OTHER], 2),
        (f"authority={OTHER}", [OTHER], 1),
    ],
)
async def test_the_list_is_cut_sorted_and_narrowed(account, query, names, total):
    found = await account.json("GET", f"/v4/domains?{query}")
    assert ([item["name"] for item in found["items"]], found["total_count"]) == (names, total)


@pytest.mark.parametrize("version", [2, 3, 4])
async def test_a_domain_is_made_with_its_records_and_the_login_postmaster(account, version):
    made = await account.json(
        "POST", f"/v{version}/domains", data={"name": "News.Example.ORG", "smtp_password": "geheim"}
    )
    assert made["message"] == "Domain has been created"
    assert made["domain"]["name"] == NEW
    # The first clients of all read the password back; today's must never see it.
    assert made["domain"].get("smtp_password") == ("geheim" if version == 2 else None)
    [mx] = made["receiving_dns_records"]
    assert mx == {
        "record_type": "MX",
        "priority": "10",
        "value": HOST,
        "valid": "unknown",
        "is_active": True,
        "cached": [],
        "name": NEW,
    }
    spf, dkim, web = made["sending_dns_records"]
    assert (spf["record_type"], spf["name"], spf["value"]) == ("TXT", NEW, f"v=spf1 a:{HOST} ~all")
    assert (dkim["record_type"], dkim["name"]) == ("TXT", f"mtad20231114._domainkey.{NEW}")
    assert "k=rsa; p=" in dkim["value"]
    assert (web["record_type"], web["name"], web["value"]) == ("CNAME", f"email.{NEW}", WEB)
    [login] = await account.house.database.read(accounts.credentials)
    assert login.login == f"postmaster@{NEW}"
    assert is_right(login.hash, "geheim")
    assert "smtp_password" not in (await account.json("GET", f"/v{version}/domains/{NEW}"))["domain"]


async def test_a_password_that_was_made_is_told_the_older_clients_once(account):
    made = await account.json("POST", "/v2/domains", data={"name": NEW})
    [login] = await account.house.database.read(accounts.credentials)
    assert is_right(login.hash, made["domain"]["smtp_password"])


async def test_every_setting_is_kept_at_creation_and_update(account):
    given = {
        "spam_action": "block",
        "wildcard": "yes",
        "web_scheme": "https",
        "web_prefix": "Track",
        "require_tls": "true",
        "skip_verification": "1",
    }
    kept = {**given, "wildcard": True, "web_prefix": "track", "require_tls": True, "skip_verification": True}
    made = await account.json("POST", "/v3/domains", data={"name": NEW, **given})
    assert kept.items() <= made["domain"].items()
    changed = await account.json("PUT", f"/v3/domains/{DOMAIN}?spam_action=delete", data={"wildcard": "True"})
    assert changed["message"] == "Domain has been updated"
    assert (changed["domain"]["spam_action"], changed["domain"]["wildcard"]) == ("delete", True)
    assert (await account.json("GET", f"/v4/domains/{DOMAIN}"))["domain"] == changed["domain"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "name parameter is missing"),
        ({"name": " "}, "name parameter is missing"),
        ({"name": "no domain"}, "is no domain name"),
        ({"name": "localhost"}, "no dot"),
        ({"name": DOMAIN}, "This domain name is already taken"),
        ({"name": DOMAIN.upper()}, "This domain name is already taken"),
        ({"name": NEW, "smtp_password": "tiny"}, "at least 5 characters"),
        ({"name": NEW, "smtp_password": "x" * 129}, "at most 128 characters"),
        ({"name": NEW, "spam_action": "eat"}, "spam_action parameter is none of disabled, tag, block and delete"),
        ({"name": NEW, "web_scheme": "gopher"}, "web_scheme parameter is none of http and https"),
        ({"name": NEW, "web_prefix": "a b"}, "web_prefix"),
        ({"name": NEW, "wildcard": "perhaps"}, "wildcard"),
        ({"name": NEW, "dkim_key_size": "512"}, "dkim_key_size parameter is neither 1024 nor 2048"),
        ({"name": NEW, "dkim_key_size": "many"}, "'dkim_key_size' parameter is not an integer"),
        ({"name": NEW, "dkim_selector": "a b"}, "no selector"),
    ],
)
async def test_what_cannot_be_made_is_told_and_nothing_is_left_of_it(account, data, said):
    found = await account.json("POST", "/v3/domains", 400, data=data)
    assert said in found["message"]
    assert "mtad " not in found["message"]
    assert (await account.json("GET", "/v3/domains"))["total_count"] == 2
    assert await account.house.database.read(accounts.credentials) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PUT", "/verify")],
)
async def test_an_unknown_domain_is_404(account, method, path):
    found = await account.json(method, f"/v3/domains/nowhere.example{path}", 404)
    assert found["message"].lower().startswith("domain not found")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "skip=-1", "state=gone", "sort=age", "sort=name:up"])
async def test_a_list_with_a_parameter_that_makes_no_sense_is_400(account, query):
    await account.json("GET", f"/v3/domains?{query}", 400)


async def test_a_removed_domain_is_gone(account):
    assert await account.json("DELETE", f"/v3/domains/{DOMAIN}") == {"message": "Domain has been deleted"}
    await account.json("GET", f"/v3/domains/{DOMAIN}", 404)


async def test_a_new_password_of_postmaster_comes_with_an_update(account):
    await account.json("PUT", f"/v3/domains/{DOMAIN}", data={"smtp_password": "another secret"})
    [login] = await account.house.database.read(accounts.credentials)
    assert is_right(login.hash, "another secret")


async def test_a_disabled_domain_says_so(account):
    await account.operations.domain_set(DOMAIN, changes=DomainChanges(is_disabled=True))
    shown = (await account.json("GET", f"/v3/domains/{DOMAIN}"))["domain"]
    assert (shown["state"], shown["is_disabled"]) == ("disabled", True)


async def test_the_short_key_is_made_only_when_asked_for(account):
    sizes = {}
    for name, data in (("a.example", {}), ("b.example", {"dkim_key_size": "1024", "dkim_selector": "Pic"})):
        made = await account.json("POST", "/v3/domains", data={"name": name, **data})
        sizes[made["sending_dns_records"][1]["name"]] = len(made["sending_dns_records"][1]["value"])
    assert sizes == {"mtad20231114._domainkey.a.example": 410, "pic._domainkey.b.example": 234}


async def test_a_sub_domain_is_signed_for_by_the_domain_above_unless_it_insists(account):
    await account.json("POST", "/v3/domains", data={"name": NEW})
    signed = {}
    for name, force in ((f"a.{NEW}", "no"), (f"b.{NEW}", "yes")):
        made = await account.json("POST", "/v3/domains", data={"name": name, "force_dkim_authority": force})
        signed[name] = made["sending_dns_records"][1]["name"].partition("._domainkey.")[2]
    assert signed == {f"a.{NEW}": NEW, f"b.{NEW}": f"b.{NEW}"}
    tenants = account.house.tenants
    for name, domain in signed.items():
        assert [signer.domain for signer in tenants.signers(tenants.id_of(name))] == [domain]
    await account.json("DELETE", f"/v3/domains/{NEW}")  # and nobody is left without a signature
    assert [signer.domain for signer in tenants.signers(tenants.id_of(f"a.{NEW}"))] == [f"a.{NEW}"]


# --- verification ---


def publish(account, shown, *, leave_out=()):
    """Every record of the answer into DNS."""
    for record in [*shown["receiving_dns_records"], *shown["sending_dns_records"]]:
        kind, name, value = record["record_type"], record["name"], record["value"]
        if name in leave_out or kind in leave_out:
            continue
        value = quoted(value) if kind == "TXT" else f"{record['priority']} {value}" if kind == "MX" else value
        account.dns.add(name, kind, value)


def verdicts(shown):
    records = [*shown["receiving_dns_records"], *shown["sending_dns_records"]]
    return [record["valid"] for record in records]


async def test_a_domain_whose_records_are_published_is_active(account):
    made = await account.json("POST", "/v3/domains", data={"name": NEW})
    account.dns.add(HOST, "A", "192.0.2.25")
    publish(account, made)
    found = await account.json("PUT", f"/v3/domains/{NEW}/verify")
    assert found["message"] == "Domain DNS records have been updated"
    assert verdicts(found) == ["valid"] * 4
    assert found["domain"]["state"] == "active"
    assert found["sending_dns_records"][0]["cached"] == [f"v=spf1 a:{HOST} ~all"]
    again = await account.json("GET", f"/v3/domains/{NEW}")
    assert (verdicts(again), again["domain"]["state"]) == (["valid"] * 4, "active")
    assert [item["name"] for item in (await account.json("GET", "/v4/domains?state=active"))["items"]] == [NEW]


async def test_neither_mx_nor_alias_is_needed_to_be_active(account):
    made = await account.json("POST", "/v3/domains", data={"name": NEW})
    account.dns.add(HOST, "A", "192.0.2.25")
    publish(account, made, leave_out=("MX", "CNAME"))
    found = await account.json("PUT", f"/v3/domains/{NEW}/verify")
    assert verdicts(found) == ["invalid", "valid", "valid", "invalid"]
    assert found["domain"]["state"] == "active"


async def test_links_lead_to_the_domains_own_host_from_when_its_alias_is_seen(account):
    made = await account.json("POST", "/v3/domains", data={"name": NEW, "web_scheme": "https"})
    tenants = account.house.tenants
    tenants.public_url = "http://links.example.net"
    account.dns.add(f"email.{NEW}", "CNAME", WEB)
    await account.json("PUT", f"/v3/domains/{NEW}/verify")
    assert tenants.tracking(tenants.id_of(NEW)).web_url == f"https://email.{NEW}"
    assert made["domain"]["web_prefix"] == "email"
    await account.json("PUT", f"/v3/domains/{NEW}/web_prefix?web_prefix=t")
    assert tenants.tracking(tenants.id_of(NEW)).web_url == "http://links.example.net"
    account.dns.add(f"t.{NEW}", "CNAME", WEB)
    await account.json("PUT", f"/v3/domains/{NEW}/verify")
    assert tenants.tracking(tenants.id_of(NEW)).web_url == f"https://t.{NEW}"
    account.dns.remove(f"t.{NEW}")
    await account.json("PUT", f"/v3/domains/{NEW}/verify")
    assert tenants.tracking(tenants.id_of(NEW)).web_url == "http://links.example.net"


async def test_when_dns_fails_records_are_unknown_and_the_state_is_what_it_was(account):
    made = await account.json("POST", "/v3/domains", data={"name": NEW})
    account.dns.add(HOST, "A", "192.0.2.25")
    publish(account, made)
    await account.json("PUT", f"/v3/domains/{NEW}/verify")
    tenants = account.house.tenants
    links = tenants.tracking(tenants.id_of(NEW)).web_url
    names = [record["name"] for record in made["sending_dns_records"]]
    for name in names:
        account.dns.fail(name)
    found = await account.json("PUT", f"/v3/domains/{NEW}/verify")
    assert verdicts(found) == ["unknown"] * 4
    assert found["domain"]["state"] == "active"
    assert tenants.tracking(tenants.id_of(NEW)).web_url == links
    for name in names:
        account.dns.remove(name)
    assert (await account.json("PUT", f"/v3/domains/{NEW}/verify"))["domain"]["state"] == "unverified"


async def test_another_selector_must_be_published_before_the_domain_is_active_again(account):
    made = await account.json("POST", "/v3/domains", data={"name": NEW})
    account.dns.add(HOST, "A", "192.0.2.25")
    publish(account, made)
    await account.json("PUT", f"/v3/domains/{NEW}/verify")
    await account.json("PUT", f"/v3/domains/{NEW}/dkim_selector?dkim_selector=next")
    shown = await account.json("GET", f"/v3/domains/{NEW}")
    assert shown["domain"]["state"] == "unverified"
    publish(account, shown)
    assert (await account.json("PUT", f"/v3/domains/{NEW}/verify"))["domain"]["state"] == "active"


async def test_no_domain_of_the_development_sandbox_waits_for_dns(account):
    made = await account.json("POST", "/v3/domains", data={"name": "sandbox.mtad.test"})
    assert (made["domain"]["state"], made["domain"]["type"]) == ("active", "sandbox")


async def test_requests_are_counted_by_the_minute(tmp_path):
    async with open_account(tmp_path, VirtualClock(), rate_limits=True) as account:
        for _ in range(300):
            response = await account.client("GET", f"/v3/domains/{DOMAIN}/connection")
            assert response.status == 200
        assert response.headers["X-RateLimit-Remaining"] == "0"
        refused = await account.client("GET", f"/v3/domains/{DOMAIN}/webhooks")
        assert refused.status == 429
        assert 0 < (await refused.json())["retry-seconds"] <= 61


async def test_the_description_has_every_row_once(account):
    response = await account.client("GET", "/openapi.json", key=None)
    found = await response.json()
    rows = account.client.api.table.rows
    described = {(method.upper(), path) for path, some in found["paths"].items() for method in some}
    assert described == {(row.method, f"/v{version}{row.path}") for row in rows for version in row.versions}
    names = [one["operationId"] for some in found["paths"].values() for one in some.values()]
    assert len(names) == len(set(names))
    assert all(row.limited for row in rows if "/domains" in row.path or "credentials" in row.path)


async def test_a_check_waits_for_its_turn_and_one_of_a_domain_gone_meanwhile_is_404(account, monkeypatch):
    monkeypatch.setattr("mtad.api.verify_operations.AT_ONCE", 1)
    gate = account.dns.hold(DOMAIN)
    first = asyncio.create_task(account.client("PUT", f"/v3/domains/{DOMAIN}/verify"))
    await account.dns.until_asked(DOMAIN)
    second = asyncio.create_task(account.client("PUT", f"/v3/domains/{OTHER}/verify"))
    await account.json("DELETE", f"/v3/domains/{DOMAIN}")
    assert account.dns.count(OTHER) == 0
    gate.set()
    assert [(await one).status for one in (first, second)] == [404, 200]
    assert account.dns.count(OTHER) > 0
