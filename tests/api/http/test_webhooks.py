import asyncio

import pytest

from mtad.storage import webhooks
from mtad.webhooks.kinds import Kind
from mtad.webhooks.poster import Answer
from tests.api.http.account import open_account
from tests.api.http.house import DOMAIN, OTHER
from tests.virtualclock import VirtualClock

HOOKS = f"/v3/domains/{DOMAIN}/webhooks"
A, B, C, D = (f"https://{name}.example.org/hook" for name in "abcd")
OLDER = [kind.value for kind in Kind if kind.is_form]
NEWER = [kind.value for kind in Kind if not kind.is_form]


@pytest.fixture
async def account(tmp_path):
    async with open_account(tmp_path, VirtualClock()) as account:
        yield account


@pytest.fixture
def put(account):
    """put("clicked", A, B): sets it by POST."""

    async def call(name, *urls):
        return await account.json("POST", HOOKS, data=[("id", name), *(("url", url) for url in urls)])

    return call


def test_the_families_are_those_of_the_manual_and_of_today():
    assert OLDER == ["bounce", "deliver", "drop", "spam", "unsubscribe", "click", "open"]
    assert [
        *("accepted", "delivered", "opened", "clicked", "unsubscribed", "complained"),
        *("permanent_fail", "temporary_fail"),
    ] == NEWER


@pytest.mark.parametrize("name", OLDER)
async def test_an_older_id_has_one_url_and_never_urls(account, put, name):
    made = await put(name, A, B)  # the last one counts
    assert made == {"message": "Webhook has been created", "webhook": {"url": B}}
    assert await account.json("GET", f"{HOOKS}/{name}") == {"webhook": {"url": B}}
    changed = await account.json("PUT", f"{HOOKS}/{name}", data={"url": C})
    assert changed == {"message": "Webhook has been updated", "webhook": {"url": C}}
    assert await account.json("GET", HOOKS) == {"webhooks": {name: {"url": C}}}
    gone = await account.json("DELETE", f"{HOOKS}/{name}")
    assert gone == {"message": "Webhook has been deleted", "webhook": {"url": C}}
    assert await account.json("GET", HOOKS) == {"webhooks": {}}


@pytest.mark.parametrize("name", NEWER)
async def test_a_newer_id_has_up_to_three_urls_and_never_url(account, put, name):
    made = await put(name, A, B, C)
    assert made == {"message": "Webhook has been created", "webhook": {"urls": [A, B, C]}}
    assert await account.json("GET", f"{HOOKS}/{name}") == {"webhook": {"urls": [A, B, C]}}
    changed = await account.json("PUT", f"{HOOKS}/{name}", data=[("url", D)])
    assert changed == {"message": "Webhook has been updated", "webhook": {"urls": [D]}}
    gone = await account.json("DELETE", f"{HOOKS}/{name}")
    assert gone == {"message": "Webhook has been deleted", "webhook": {"urls": [D]}}


async def test_both_families_are_set_at_once_and_only_those_that_are_set_are_shown(account, put):
    await put("click", A)
    await put("clicked", B)
    await account.json("POST", f"/v3/domains/{OTHER}/webhooks", data={"id": "open", "url": C})
    assert await account.json("GET", HOOKS) == {"webhooks": {"click": {"url": A}, "clicked": {"urls": [B]}}}
    assert await account.json("GET", f"/v2/domains/{DOMAIN}/webhooks") == await account.json("GET", HOOKS)


async def test_a_json_list_of_urls_is_taken(account):
    made = await account.json("POST", HOOKS, json={"id": "opened", "url": [A, B]})
    assert made["webhook"] == {"urls": [A, B]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "id parameter is missing"),
        ([("id", "eaten"), ("url", A)], "'eaten' is no webhook id"),
        ([("id", "opened")], "url parameter is missing"),
        ([("id", "opened"), ("url", " ")], "url parameter is missing"),
        ([("id", "opened"), ("url", "ftp://a.example/")], "must begin with http:// or https://"),
        ([("id", "opened"), ("url", A), ("url", "nonsense")], "url parameter"),
        ([("id", "open"), ("url", "https:///")], "url parameter"),
        ([("id", "opened"), *(("url", url) for url in (A, B, C, D))], "more than 3 urls"),
        ([("event_types", "opened,eaten"), ("url", A)], "'eaten' is no webhook id"),
        ([("event_types", " ,"), ("url", A)], "event_types parameter is missing"),
        ([("event_types", "opened")], "url parameter is missing"),
    ],
)
async def test_what_can_be_no_webhook_is_400(account, data, said):
    assert said in (await account.json("POST", HOOKS, 400, data=data))["message"]
    assert await account.json("GET", HOOKS) == {"webhooks": {}}


async def test_what_is_set_is_not_created_again(account, put):
    await put("opened", A)
    found = await account.json("POST", HOOKS, 400, data={"id": "opened", "url": B})
    assert "already" in found["message"]
    answers = await asyncio.gather(*(account.client("POST", HOOKS, data={"id": "spam", "url": A}) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "opened", 404),
        ("PUT", "opened", 404),
        ("DELETE", "opened", 404),
        ("PUT", "opened/test", 404),
        ("GET", "eaten", 404),
        ("PUT", "eaten", 400),
        ("DELETE", "eaten", 400),
        ("PUT", "eaten/test", 400),
    ],
)
async def test_what_is_not_set_is_404_and_what_cannot_be_400(account, method, path, status):
    data = {"url": A} if path in ("opened", "eaten") and method == "PUT" else None
    await account.json(method, f"{HOOKS}/{path}", status, data=data)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("open", (False, "no"), (True, "no")),
        ("click", (False, "no"), (False, "yes")),
        ("click", (False, "htmlonly"), (False, "htmlonly")),
        ("opened", (False, "no"), (False, "no")),
        ("bounce", (False, "no"), (False, "no")),
    ],
)
async def test_open_and_click_turn_their_tracking_on_and_removing_leaves_it(account, put, name, before, after):
    if before[1] != "no":
        await account.json("PUT", f"/v3/domains/{DOMAIN}/tracking/click", data={"active": before[1]})
    await put(name, A)
    await account.json("DELETE", f"{HOOKS}/{name}")
    row = await account.row(DOMAIN)
    assert (row.opens, row.clicks) == after
    assert account.house.tenants.tracking(1).opens is after[0]


async def test_a_url_is_shown_as_it_was_given_password_and_all(account, put):
    url = "https://user:geheim@a.example.org/hook?x=1#no"
    assert (await put("opened", url))["webhook"] == {"urls": [url]}


@pytest.mark.parametrize(("method", "word"), [("POST", "created"), ("PUT", "updated")])
async def test_one_url_for_several_kinds_is_added_to_each(account, put, method, word):
    await put("opened", B)
    await put("open", B)
    data = [("event_types", "opened, clicked"), ("event_types", "open"), ("url", A)]
    found = await account.json(method, f"/v4/domains/{DOMAIN}/webhooks", data=data)
    wanted = {"opened": {"urls": [B, A]}, "clicked": {"urls": [A]}, "open": {"url": A}}
    assert found == {"message": f"Webhook has been {word}", "webhooks": wanted}
    assert await account.json("GET", HOOKS) == {"webhooks": wanted}


async def test_a_kind_that_is_full_takes_no_url_more_and_nothing_is_half_done(account, put):
    await put("clicked", A, B, C)
    data = {"event_types": "accepted,clicked", "url": D}
    assert "3 urls already" in (await account.json("POST", HOOKS, 400, data=data))["message"]
    assert await account.json("GET", HOOKS) == {"webhooks": {"clicked": {"urls": [A, B, C]}}}


async def test_a_url_is_removed_everywhere(account, put):
    await put("opened", A, B)
    await put("click", A)
    found = await account.json("DELETE", f"/v4/domains/{DOMAIN}/webhooks?url={A}")
    assert found == {"message": "Webhook has been deleted", "webhooks": {"opened": {"urls": [B]}}}
    await account.json("DELETE", f"/v4/domains/{DOMAIN}/webhooks?url={A}", 404)
    await account.json("DELETE", f"/v4/domains/{DOMAIN}/webhooks", 400)


async def test_urls_that_stay_keep_their_posts(account, put):
    await put("opened", A, B)
    before = {row.url: row.id for row in await account.house.database.read(webhooks.webhooks)}
    await account.json("PUT", f"{HOOKS}/opened", data=[("url", B), ("url", C)])
    after = {row.url: row.id for row in await account.house.database.read(webhooks.webhooks)}
    assert after[B] == before[B]
    assert set(after) == {B, C}


async def test_a_sample_is_posted_to_what_is_set_or_to_any_url(account, put):
    await put("opened", A, B)
    found = await account.json("PUT", f"{HOOKS}/opened/test", data={"url": C})
    assert (found["code"], found["message"]) == (200, "The receiver answered 200")
    await account.json("PUT", f"{HOOKS}/opened/test")
    assert account.posting.tested == [("opened", DOMAIN, C), ("opened", DOMAIN, A), ("opened", DOMAIN, B)]
    account.posting.says = Answer(500, "", 0.1)
    assert (await account.json("PUT", f"{HOOKS}/bounce/test", data={"url": C}))["code"] == 500
    account.posting.says = Answer(None, "Connection refused", 0.1)
    found = await account.json("PUT", f"{HOOKS}/bounce/test", 402, data={"url": C})
    assert found["message"] == "The receiver did not answer: Connection refused"
    await account.json("PUT", f"{HOOKS}/bounce/test", 400, data={"url": "nonsense"})


async def test_the_signing_key_is_read_and_made_anew(account):
    path = "/v5/accounts/http_signing_key"
    first = await account.json("GET", path)
    assert first["message"] == "success"
    assert await account.json("GET", path) == first
    second = await account.json("POST", path)
    assert second["http_signing_key"] != first["http_signing_key"]
    assert await account.json("GET", path) == second


@pytest.mark.parametrize("path", ["", "/opened", "/opened/test"])
async def test_webhooks_of_a_domain_of_others_are_404(account, path):
    method = "PUT" if path.endswith("test") else "GET"
    found = await account.json(method, f"/v3/domains/nowhere.example/webhooks{path}", 404)
    assert found["message"].lower().startswith("domain not found")


async def test_webhooks_of_the_account_are_not_there(account):
    await account.json("GET", "/v1/webhooks", 404)
