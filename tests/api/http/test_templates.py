import asyncio
import io
import json

import aiohttp
import pytest

from mtad.api.http import templates as chapter
from mtad.api.http.templates import Render, TemplateChapter
from mtad.api.templates import MAX_KEPT, NoTemplate, Templates
from mtad.message.handlebars.nodes import MAX_SOURCE
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

BASE, ACCOUNT = f"/v3/{DOMAIN}/templates", "/v4/templates"
SEND = f"/v3/{DOMAIN}/messages"
NOW = "Tue, 14 Nov 2023 22:13:20 GMT"
TO = {"from": f"ann@{DOMAIN}", "to": "bob@example.net"}


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        yield house


@pytest.fixture
def using(house):
    return Templates(house.database)


@pytest.fixture
async def client(house, using):
    chapters = [TemplateChapter(house.database, house.ids, house.clock, using), house.messages(render=Render(using))]
    async with serve(house, chapters) as client:
        yield client


async def store(client, name="Welcome", content="Hello {{name}}", base=BASE, **more):
    return await client.json("POST", base, data={"name": name, "template": content, **more})


async def names(client, base=BASE):
    return [one["name"] for one in (await client.json("GET", base))["items"]]


# --- templates ---


@pytest.mark.parametrize("base", [BASE, ACCOUNT])
async def test_a_template_is_stored_with_its_first_version(client, base):
    made = await store(
        client, base=base, description="About", createdBy="ann", comment="why", headers='{"Subject": "Hi {{name}}"}'
    )
    template = made["template"]
    assert made["message"] == "template has been stored"
    assert template.pop("id")
    assert template["version"].pop("id")
    assert template == {
        "name": "welcome",
        "description": "About",
        "createdAt": NOW,
        "createdBy": "ann",
        "version": {
            "tag": "initial",
            "template": "Hello {{name}}",
            "engine": "handlebars",
            "mjml": "",
            "createdAt": NOW,
            "comment": "why",
            "active": True,
            "headers": {"Subject": "Hi {{name}}"},
        },
    }
    found = (await client.json("GET", f"{base}/WELCOME?active=yes"))["template"]
    assert {key: found[key] for key in ("name", "description", "createdBy")} == {
        "name": "welcome",
        "description": "About",
        "createdBy": "ann",
    }
    assert found["version"]["template"] == "Hello {{name}}"
    assert "version" not in (await client.json("GET", f"{base}/welcome"))["template"]


async def test_a_template_may_come_without_a_version_as_json_or_as_a_file(client):
    made = await client.json("POST", BASE, data={"name": "a"})
    assert "version" not in made["template"]
    made = await client.json(
        "POST", BASE, json={"name": "b", "template": "x", "tag": "V1", "headers": {"Subject": "s"}}
    )
    assert (made["template"]["version"]["tag"], made["template"]["version"]["headers"]) == ("v1", {"Subject": "s"})
    form = aiohttp.FormData()
    form.add_field("name", "c")
    form.add_field("template", io.BytesIO("\ufeffgrün".encode()), filename="c.hbs")
    made = await client.json("POST", BASE, data=form)
    assert made["template"]["version"]["template"] == "grün"
    assert await names(client) == ["a", "b", "c"]


async def test_domains_and_the_account_have_their_own(client):
    for base in (BASE, ACCOUNT, f"/v3/{OTHER}/templates"):
        await store(client, base=base)
        await client.json("POST", base, 400, data={"name": "WELCOME", "template": "x"})
    await client.json("DELETE", f"{BASE}/welcome")
    assert [len(await names(client, base)) for base in (BASE, ACCOUNT, f"/v3/{OTHER}/templates")] == [0, 1, 1]


async def test_a_template_is_described_and_deleted(client):
    await store(client)
    assert await client.json("PUT", f"{BASE}/Welcome", data={"description": "New"}) == {
        "message": "template has been updated",
        "template": {"name": "welcome"},
    }
    assert (await client.json("GET", f"{BASE}/welcome"))["template"]["description"] == "New"
    assert await client.json("DELETE", f"{BASE}/welcome") == {
        "message": "template has been deleted",
        "template": {"name": "welcome"},
    }
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/versions"), ("GET", "/versions/initial")):
        assert await client.json(method, f"{BASE}/welcome{path}", 404) == {"message": "template not found"}


async def test_all_are_deleted_together(client):
    for n in range(105):
        await client.json("POST", BASE, data={"name": f"t{n}"})
    await store(client, base=ACCOUNT)
    assert await client.json("DELETE", BASE) == {"message": "templates have been deleted"}
    assert await names(client) == []
    assert await names(client, ACCOUNT) == ["welcome"]


async def test_the_links_lead_through_all_templates(client):
    for n in range(5):
        await store(client, f"t{n}", "x" * n)
    seen, found = [], await client.json("GET", f"{BASE}?limit=2&active=yes")
    while found["items"]:
        seen += [(one["name"], one["version"]["template"]) for one in found["items"] if "version" in one]
        found = await client.json("GET", found["paging"]["next"].removeprefix(client.base))
    assert seen == [(f"t{n}", "x" * n) for n in range(1, 5)]
    found = await client.json("GET", f"{BASE}?page=last&limit=2")
    assert [one["name"] for one in found["items"]] == ["t3", "t4"]
    assert "version" not in found["items"][0]
    found = await client.json("GET", found["paging"]["previous"].removeprefix(client.base))
    assert [one["name"] for one in found["items"]] == ["t1", "t2"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "name parameter is missing"),
        ({"name": " "}, "name parameter is missing"),
        ({"name": "x" * 256}, "name parameter is longer than 255 characters"),
        ({"name": "a\nb"}, "name parameter has a control character"),
        ({"name": "a", "template": "{{#if}}"}, "template parameter: line 1: {{#if}} takes 1 value"),
        ({"name": "a", "template": "x", "headers": '{"Subject": "{{"}'}, "header Subject: line 1: a tag has no }}"),
        ({"name": "a", "template": "x" * (MAX_SOURCE + 1)}, "the template has more than"),
        ({"name": "a", "template": "x", "engine": "go"}, "engine parameter is not handlebars"),
        ({"name": "a", "template": "x", "headers": "[]"}, "headers parameter is not a JSON object"),
        ({"name": "a", "template": "x", "headers": '{"a": 1}'}, "headers parameter is not a JSON object of texts"),
        ({"name": "a", "template": "x", "headers": json.dumps({"a": "x" * 10_001})}, "headers parameter: a is longer"),
        (
            {"name": "a", "template": "x", "headers": json.dumps({str(n): "" for n in range(21)})},
            "more than 20 members",
        ),
        ({"name": "a", "description": "x" * 2001}, "description parameter is longer than 2000 characters"),
        ({"name": "a", "template": "x", "active": "perhaps"}, "active parameter is neither yes nor no"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_stored(client, form, said):
    assert said in (await client.json("POST", BASE, 400, data=form))["message"]
    assert await names(client) == []


async def test_there_are_so_many_and_no_more(client, monkeypatch):
    monkeypatch.setattr(chapter, "MAX_TEMPLATES", 2)
    monkeypatch.setattr(chapter, "MAX_VERSIONS", 2)
    await store(client, "a")
    await store(client, "b")
    assert "there are 2 templates" in (await client.json("POST", BASE, 400, data={"name": "c"}))["message"]
    form = {"template": "x", "tag": "v2"}
    await client.json("POST", f"{BASE}/a/versions", data=form)
    found = await client.json("POST", f"{BASE}/a/versions", 400, data={**form, "tag": "v3"})
    assert found["message"].startswith("there are 2 versions")


# --- versions ---


async def test_versions_are_stored_shown_changed_and_deleted(client):
    await store(client)
    form = {"template": "Hi {{name}}", "tag": "V2", "comment": "shorter"}
    made = await client.json("POST", f"{BASE}/welcome/versions", data=form)
    assert made["message"] == "new version of the template has been stored"
    assert made["template"]["name"] == "welcome"
    assert (made["template"]["version"]["tag"], made["template"]["version"]["active"]) == ("v2", False)
    found = await client.json("POST", f"{BASE}/welcome/versions", 400, data=form)
    assert found == {"message": "version with tag 'v2' already exists"}

    found = await client.json("GET", f"{BASE}/welcome/versions")
    assert [(one["tag"], one["active"]) for one in found["template"]["versions"]] == [("initial", True), ("v2", False)]
    assert not any("template" in one for one in found["template"]["versions"])
    assert set(found["paging"]) == {"first", "next", "previous", "last"}
    following = await client.json("GET", f"{BASE}/welcome/versions?page=next&p=initial")
    assert [one["tag"] for one in following["template"]["versions"]] == ["v2"]

    assert await client.json("PUT", f"{BASE}/welcome/versions/V2", data={"active": "yes", "comment": "new"}) == {
        "message": "version has been updated",
        "template": {"name": "welcome", "version": {"tag": "v2"}},
    }
    shown = (await client.json("GET", f"{BASE}/welcome/versions/v2"))["template"]["version"]
    assert (shown["template"], shown["comment"], shown["active"]) == ("Hi {{name}}", "new", True)
    shown = (await client.json("GET", f"{BASE}/welcome/versions/initial"))["template"]["version"]
    assert shown["active"] is False

    assert await client.json("DELETE", f"{BASE}/welcome/versions/v2") == {
        "message": "version has been deleted",
        "template": {"name": "welcome", "version": {"tag": "v2"}},
    }
    for method in ("GET", "PUT", "DELETE"):
        assert await client.json(method, f"{BASE}/welcome/versions/v2", 404) == {"message": "version not found"}


async def test_a_version_is_copied_over_another(client):
    await store(client, headers='{"Subject": "s"}', comment="why")
    made = await client.json("PUT", f"{BASE}/welcome/versions/initial/copy/Next?comment=copied")
    assert made["message"] == "version has been copied"
    assert made["version"] == made["template"]["version"]
    shown = made["version"]
    assert (shown["tag"], shown["template"], shown["comment"], shown["active"], shown["headers"]) == (
        "next",
        "Hello {{name}}",
        "copied",
        False,
        {"Subject": "s"},
    )
    await client.json("PUT", f"{BASE}/welcome/versions/initial", data={"template": "Changed", "headers": "{}"})
    made = await client.json("PUT", f"{BASE}/welcome/versions/initial/copy/next")
    assert (made["version"]["template"], made["version"]["headers"]) == ("Changed", {})
    await client.json("PUT", f"{BASE}/welcome/versions/none/copy/x", 404)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"tag": "v2"}, "template parameter is missing"),
        ({"template": "x"}, "tag parameter is missing"),
        ({"template": "{{", "tag": "v2"}, "template parameter: line 1: a tag has no }}"),
    ],
)
async def test_a_version_that_cannot_be_used_is_refused(client, form, said):
    await store(client)
    assert await client.json("POST", f"{BASE}/welcome/versions", 400, data=form) == {"message": said}
    found = await client.json("PUT", f"{BASE}/welcome/versions/initial", 400, data={"template": "{{/x}}"})
    assert "closes nothing" in found["message"]


# --- sending ---


async def html(house):
    part = (await house.stored())[-1].message.get_body(("html",))
    return part.get_content().strip()


async def test_a_message_is_made_of_a_template(client, house):
    headers = {"Subject": "For {{name}} & {{{name}}}\r\nX: y", "Reply-To": "{{reply}}", "From": "no@x.org"}
    content = "<p>Hello {{name}}</p>{{#each items}}<i>{{this}}</i>{{/each}} %recipient.id%"
    await store(client, "welcome", content, headers=json.dumps(headers))
    variables = {"name": "<Ann>", "items": [1, 2], "reply": "Help <help@mg.example.com>"}
    form = {**TO, "template": "WELCOME", "t:variables": json.dumps(variables), "t:text": "yes"}
    await client.json("POST", SEND, data=form)
    message = (await house.only()).message
    assert await html(house) == "<p>Hello &lt;Ann&gt;</p><i>1</i><i>2</i> %recipient.id%"
    assert message.get_body(("plain",)).get_content().split() == ["Hello", "<Ann>", "12", "%recipient.id%"]
    assert message["Subject"] == "For <Ann> & <Ann> X: y"
    assert message["Reply-To"] == "Help <help@mg.example.com>"
    assert message["From"] == TO["from"]
    await client.json("POST", SEND, data={**form, "subject": "Mine", "text": "Text"})
    message = (await house.stored())[-1].message
    assert message["Subject"] == "Mine"
    assert message.get_body(("plain",)).get_content().strip() == "Text"


async def test_without_t_variables_the_v_values_are_used(client, house):
    await store(client, "t", "{{a}} {{b.c}} {{#each d}}{{.}}{{/each}}")
    await client.json("POST", SEND, data={**TO, "template": "t", "v:a": "x", "v:b": '{"c": 1}', "v:d": "[1, 2]"})
    assert await html(house) == "x 1 12"


async def test_the_active_version_is_used_unless_one_is_named(client, house):
    await store(client, "t", "one")
    await client.json("POST", f"{BASE}/t/versions", data={"template": "two", "tag": "v2"})

    async def sent(**more):
        await client.json("POST", SEND, data={**TO, "template": "t", **more})
        return await html(house)

    assert await sent() == "one"
    assert await sent(**{"t:version": "V2"}) == "two"
    await client.json("PUT", f"{BASE}/t/versions/v2", data={"active": "yes"})
    assert await sent() == "two"
    await client.json("PUT", f"{BASE}/t/versions/v2", data={"template": "three"})
    assert await sent() == "three"
    await client.json("DELETE", f"{BASE}/t/versions/v2")
    found = await client.json("POST", SEND, 404, data={**TO, "template": "t"})
    assert found == {"message": "template 't' has no active version"}


async def test_a_template_of_the_domain_goes_before_one_of_the_account(client, house):
    await store(client, "t", "account", base=ACCOUNT)
    await client.json("POST", SEND, data={**TO, "template": "t"})
    assert await html(house) == "account"
    await store(client, "t", "domain")
    await client.json("POST", SEND, data={**TO, "template": "t"})
    assert await html(house) == "domain"
    await store(client, "s", "other", base=f"/v3/{OTHER}/templates")
    assert await client.json("POST", SEND, 404, data={**TO, "template": "s"}) == {"message": "template 's' not found"}


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"template": "none"}, 404, "template 'none' not found"),
        ({"template": "t", "t:version": "v9"}, 404, "template 't' has no version 'v9'"),
        ({"template": "t", "t:variables": json.dumps({"l": list(range(2000))})}, 400, "the template repeats too much"),
    ],
)
async def test_a_message_that_cannot_be_made_is_not_queued(client, house, more, status, said):
    await store(client, "t", "{{#each l}}{{#each ../l}}{{this}}{{/each}}{{/each}}")
    assert said in (await client.json("POST", SEND, status, data={**TO, **more}))["message"]
    assert await house.stored() == []


async def test_what_was_read_before_a_change_is_not_kept_after_it(client, using):
    await store(client, "t", "old")
    reading = asyncio.ensure_future(using.find(1, "t"))
    await asyncio.sleep(0)
    using.changed()
    old = await reading
    assert old.fill({}).html == "old"
    assert await using.find(1, "t") is not old


async def test_templates_are_kept_up_to_a_bound(client, using):
    for n in range(10):
        await store(client, f"t{n}", "x" * (MAX_KEPT // 4 - 1))
    first = await using.find(1, "T0")
    assert await using.find(1, "t0") is first
    for n in range(1, 10):
        await using.find(1, f"t{n}")
    assert using._size <= MAX_KEPT
    assert await using.find(1, "t0") is not first
    with pytest.raises(NoTemplate, match="template 'none' not found"):
        await using.find(1, "none")
