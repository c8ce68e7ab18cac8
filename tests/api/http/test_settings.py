import pytest

from mtad.api.tenants import FOOTER_HTML, FOOTER_TEXT
from mtad.mail.options import Clicks
from tests.api.http.account import open_account
from tests.api.http.house import DOMAIN, OTHER
from tests.virtualclock import VirtualClock

ONE = f"/v3/domains/{DOMAIN}"
TRACKED = "Domain tracking settings have been updated"
CONNECTED = "Domain connection settings have been updated, may take 10 minutes to fully propagate"


@pytest.fixture
async def account(tmp_path):
    async with open_account(tmp_path, VirtualClock()) as account:
        yield account


def connection(require, skip):
    bare = {"require_tls": require, "skip_verification": skip}
    return {**bare, "connection": bare}


async def test_the_connection_is_shown_in_both_forms_and_changed(account):
    assert await account.json("GET", f"{ONE}/connection") == connection(False, False)
    changed = await account.json("PUT", f"{ONE}/connection", data={"require_tls": "true", "skip_verification": "no"})
    assert changed == {"message": CONNECTED, **connection(True, False)}
    await account.json("PUT", f"{ONE}/connection?skip_verification=yes")
    assert await account.json("GET", f"{ONE}/connection") == connection(True, True)
    row = await account.row(DOMAIN)
    assert (row.require_tls, row.skip_verification) == (True, True)
    assert account.house.tenants.flags(row.id) == row.flags != 0


async def test_nothing_is_tracked_at_first(account):
    found = await account.json("GET", f"{ONE}/tracking")
    assert found["tracking"] == {
        "open": {"active": False, "place_at_the_top": False},
        "click": {"active": False},
        "unsubscribe": {"active": False, "html_footer": FOOTER_HTML, "text_footer": FOOTER_TEXT},
        "web_scheme": "http",
    }
    assert "%unsubscribe_url%" in FOOTER_HTML
    assert "<%unsubscribe_url%>" in FOOTER_TEXT


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"active": "yes"}, {"active": True, "place_at_the_top": False}),
        ({"active": "True", "place_at_the_top": "true"}, {"active": True, "place_at_the_top": True}),
        ({"active": "off"}, {"active": False, "place_at_the_top": False}),
    ],
)
async def test_opens_are_tracked_or_not(account, data, shown):
    assert await account.json("PUT", f"{ONE}/tracking/open", data=data) == {"message": TRACKED, "open": shown}
    assert (await account.json("GET", f"{ONE}/tracking"))["tracking"]["open"] == shown
    row = await account.row(DOMAIN)
    assert (row.opens, row.pixel_top) == (shown["active"], shown["place_at_the_top"])


@pytest.mark.parametrize(
    ("text", "shown", "kept"),
    [
        ("yes", True, "yes"),
        ("htmlonly", "htmlonly", "htmlonly"),
        ("HtmlOnly", "htmlonly", "htmlonly"),
        ("0", False, "no"),
    ],
)
async def test_clicks_are_tracked_or_not_or_in_html_alone(account, text, shown, kept):
    changed = await account.json("PUT", f"{ONE}/tracking/click", data={"active": text})
    assert changed == {"message": TRACKED, "click": {"active": shown}}
    assert (await account.json("GET", f"{ONE}/tracking"))["tracking"]["click"] == {"active": shown}
    assert account.house.tenants.tracking(1).clicks is Clicks(kept)


async def test_the_footer_is_added_with_the_domains_own_words_or_ours(account):
    html, text = '<p><a href="%unsubscribe_url%">Bye</a></p>', "Bye: <%unsubscribe_url%>"
    data = {"active": "yes", "html_footer": html, "text_footer": text}
    shown = {"active": True, "html_footer": html, "text_footer": text}
    changed = await account.json("PUT", f"{ONE}/tracking/unsubscribe", data=data)
    assert changed == {"message": TRACKED, "unsubscribe": shown}
    tracking = account.house.tenants.tracking(1)
    assert (tracking.footer_html, tracking.footer_text) == (html, text)
    await account.json("PUT", f"{ONE}/tracking/unsubscribe", data={"html_footer": ""})
    again = (await account.json("GET", f"{ONE}/tracking"))["tracking"]["unsubscribe"]
    assert again == {"active": True, "html_footer": FOOTER_HTML, "text_footer": text}


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("tracking/open", {}, "active parameter is missing"),
        ("tracking/open", {"active": "htmlonly"}, "active"),
        ("tracking/click", {}, "active parameter is missing"),
        ("tracking/click", {"active": "sometimes"}, "active parameter is none of yes, no and htmlonly"),
        ("tracking/unsubscribe", {}, "active parameter is missing"),
        ("tracking/unsubscribe", {"text_footer": "x" * 65_537}, "at most 65536 characters"),
        ("connection", {"require_tls": "maybe"}, "require_tls"),
        ("dkim_authority", {}, "self parameter is missing"),
        ("dkim_authority", {"self": "x"}, "self"),
        ("dkim_selector", {}, "dkim_selector parameter is missing"),
        ("dkim_selector", {"dkim_selector": "no selector"}, "no selector"),
        ("web_prefix", {}, "web_prefix parameter is missing"),
        ("web_prefix", {"web_prefix": "not/ok"}, "web_prefix"),
    ],
)
async def test_a_setting_that_cannot_be_is_400(account, path, data, said):
    before = await account.row(DOMAIN)
    assert said in (await account.json("PUT", f"{ONE}/{path}", 400, data=data))["message"]
    assert await account.row(DOMAIN) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "connection"),
        ("PUT", "connection"),
        ("GET", "tracking"),
        ("PUT", "tracking/open"),
        ("PUT", "tracking/click"),
        ("PUT", "tracking/unsubscribe"),
        ("PUT", "dkim_authority"),
        ("PUT", "dkim_selector"),
        ("PUT", "web_prefix"),
    ],
)
async def test_a_setting_of_a_domain_of_others_is_404(account, method, path):
    found = await account.json(method, f"/v3/domains/nowhere.example/{path}", 404)
    assert found["message"].lower().startswith("domain not found")


async def test_an_unknown_kind_of_tracking_is_404(account):
    await account.json("PUT", f"{ONE}/tracking/sleep", 404, data={"active": "yes"})


async def test_the_prefix_of_links_is_changed_by_the_query_alone(account):
    changed = await account.json("PUT", f"{ONE}/web_prefix?web_prefix=Go")
    assert changed == {"message": "Domain web prefix updated"}
    shown = await account.json("GET", ONE)
    assert shown["domain"]["web_prefix"] == "go"
    assert shown["sending_dns_records"][-1]["name"] == f"go.{DOMAIN}"


async def test_the_authority_is_the_domain_above_or_itself(account):
    await account.json("POST", "/v3/domains", data={"name": "example.com"})  # above both
    own = {"message": "Domain DKIM authority has not been changed", "changed": False}
    found = await account.json("PUT", f"{ONE}/dkim_authority?self=true")
    assert own.items() <= found.items()
    found = await account.json("PUT", f"{ONE}/dkim_authority", data={"self": "no"})
    assert (found["message"], found["changed"]) == ("Domain DKIM authority has been changed", True)
    assert found["sending_dns_records"][1]["name"].endswith("._domainkey.example.com")
    assert [signer.domain for signer in account.house.tenants.signers(1)] == ["example.com"]
    found = await account.json("PUT", f"{ONE}/dkim_authority", 400, data={"self": "yes"})
    assert found["message"] == f"{DOMAIN} has no key that signs: its mail would go out unsigned"
    await account.json("POST", "/v1/dkim/keys", data={"signing_domain": DOMAIN, "selector": "own"})
    found = await account.json("PUT", f"{ONE}/dkim_authority", data={"self": "yes"})
    assert found["changed"]
    assert [signer.domain for signer in account.house.tenants.signers(1)] == [DOMAIN]
    found = await account.json("PUT", "/v3/domains/example.com/dkim_authority", data={"self": "no"})
    assert not found["changed"]  # there is nobody above


async def test_the_selector_is_another_for_the_same_key(account):
    await account.json("POST", "/v1/dkim/keys", data={"signing_domain": DOMAIN, "selector": "a"})
    [before] = (await account.json("GET", f"/v4/domains/{DOMAIN}/keys"))["items"]
    changed = await account.json("PUT", f"{ONE}/dkim_selector?dkim_selector=B.next")
    assert changed == {"message": "DKIM selector changed"}
    [after] = (await account.json("GET", f"/v4/domains/{DOMAIN}/keys"))["items"]
    assert (before["selector"], after["selector"]) == ("a", "b.next")
    assert after["dns_record"]["value"] == before["dns_record"]["value"]
    assert [signer.selector for signer in account.house.tenants.signers(1)] == ["b.next"]


async def test_the_selector_of_another_key_makes_that_one_sign(account):
    for selector in ("a", "b"):
        await account.json("POST", "/v1/dkim/keys", data={"signing_domain": DOMAIN, "selector": selector})
    await account.json("PUT", f"{ONE}/dkim_selector?dkim_selector=b")
    assert [signer.selector for signer in account.house.tenants.signers(1)] == ["b"]
    await account.json("PUT", f"/v3/domains/{OTHER}/dkim_selector?dkim_selector=b", 404)  # no key to give it to
