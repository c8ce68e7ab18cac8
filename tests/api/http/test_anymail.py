"""django-anymail's Mailgun backend, with nothing changed but its URL and key."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from mtad.mail.options import Clicks
from tests.api.http.house import DOMAIN, KEY, open_house, serve

pytest.importorskip("anymail.backends.mailgun")


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path) as house:
        yield house


@pytest.fixture
async def send(house):
    """send("everything@domain", …) -> what the Django program tells of it."""
    async with serve(house, [house.messages()]) as client:

        async def ask(*words):
            command = [str(Path(__file__).with_name("anymail_sender.py")), client.base, KEY, *words]
            process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
            told, _ = await process.communicate()
            return json.loads(told)

        yield ask


async def test_a_message_with_everything_arrives(house, send):
    told = await send(f"everything@{DOMAIN}")
    kept = await house.only()
    message = kept.message
    assert told == {"status": ["queued"], "id": message["Message-Id"]}
    assert kept.recipients == ["bob@example.net", "cy@example.net", "dan@example.net"]
    assert kept.options.tags == ("one", "two")
    assert kept.options.variables == {"order": "7"}
    assert (kept.options.track_opens, kept.options.track_clicks) == (True, Clicks.NO)
    assert [str(message[name]) for name in ("Subject", "Reply-To", "X-Own")] == ["Grüße", "r@example.net", "yes"]
    (picture,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    html = message.get_body(("html",)).get_content()
    assert f"cid:{picture['Content-Id'].strip('<>')}" in html
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content().strip()) == ("ä.txt", "attached")


async def test_a_message_for_later_is_for_later(house, send):
    at = int(house.clock.now()) + 3600
    await send(f"later@{DOMAIN}", str(at))
    assert (await house.only()).deliver_at == at


async def test_a_batch_is_personal(house, send):
    assert (await send(f"batch@{DOMAIN}"))["status"] == ["queued"]
    kept = await house.only()
    assert kept.recipients == ["a@x.org", "b@x.org"]
    assert kept.options.batch


async def test_an_unknown_domain_is_recognised(send):
    assert "Domain not found: nowhere.example" in (await send("later@nowhere.example", "0"))["error"]
