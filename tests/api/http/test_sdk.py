"""The official Python client, sync and async, with nothing changed but its URL and key."""

import asyncio

import pytest

from mtad.api.http.stubs import Stubs
from tests.api.http.house import DOMAIN, KEY, open_house, serve

pytest.importorskip("mailgun.client")

from mailgun.client import AsyncClient, Client

DATA = {
    "from": f"Ann <ann@{DOMAIN}>",
    "to": ["bob@example.net", "Cy <cy@example.net>"],
    "cc": "dan@example.net",
    "subject": "Grüße",
    "text": "Text",
    "html": "<p>Text</p>",
    "o:tag": ["one", "two"],
    "o:tracking": False,
    "v:my-var": '{"a": 1}',
    "h:X-Own": "yes",
}
FILES = [("attachment", ("a ä.txt", b"abc")), ("inline", ("logo.png", b"\x89PNG"))]


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path) as house:
        yield house


@pytest.fixture
async def base(house):
    async with serve(house, [house.messages(), Stubs()]) as client:
        yield client.base


async def check(house, found):
    assert found.status_code == 200
    assert found.json()["message"] == "Queued. Thank you."
    kept = await house.only()
    assert kept.message["Message-Id"] == found.json()["id"]
    assert kept.recipients == ["bob@example.net", "cy@example.net", "dan@example.net"]
    assert kept.options.tags == ("one", "two")
    assert kept.options.track_opens is False
    assert kept.options.variables == {"my-var": '{"a": 1}'}
    assert kept.message["Subject"] == "Grüße"
    assert kept.message["X-Own"] == "yes"
    return kept.message


@pytest.mark.parametrize("files", [None, FILES])
async def test_the_client_sends(house, base, files):
    def work():
        with Client(auth=("api", KEY), api_url=base) as client:
            return client.messages.create(data=DATA, files=files, domain=DOMAIN)

    message = await check(house, await asyncio.to_thread(work))
    assert [one.get_filename() for one in message.iter_attachments()] == (["a ä.txt"] if files else [])


@pytest.mark.parametrize("files", [None, FILES])
async def test_the_async_client_sends(house, base, files):
    async with AsyncClient(auth=("api", KEY), api_url=base) as client:
        await check(house, await client.messages.create(data=DATA, files=files, domain=DOMAIN))


async def test_the_client_sends_mime(house, base):
    raw = b"From: ann@mg.example.com\nSubject: Raw\n\nText\n"

    def work():
        with Client(auth=("api", KEY), api_url=base) as client:
            return client.mimemessage.create(data={"to": "bob@example.net"}, files={"message": raw}, domain=DOMAIN)

    found = await asyncio.to_thread(work)
    assert found.status_code == 200
    assert (await house.only()).message["Subject"] == "Raw"


async def test_the_client_is_told_what_is_wrong(base):
    async with AsyncClient(auth=("api", KEY), api_url=base) as client:
        found = await client.messages.create(data={**DATA, "from": "nobody"}, domain=DOMAIN)
        assert (found.status_code, found.json()) == (400, {"message": "from parameter is not a valid address"})
    async with AsyncClient(auth=("api", "key-wrong"), api_url=base) as client:
        assert (await client.messages.create(data=DATA, domain=DOMAIN)).status_code == 401
