"""A reader with a real browser: he opens a letter, follows a link, and leaves."""

import asyncio
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.flows.browser import Site, open_browser
from tests.live import Daemon, wait_until

OURS, READER = "sandbox.mtad.test", "una@readers.example"


def letter(target: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"app@{OURS}", READER, "News"
    message["X-Mailgun-Track"] = "yes"
    message.set_content(
        f'<html><body><p><a id="shop" href="{target}">To the shop</a></p>'
        '<p><a id="leave" href="%unsubscribe_url%">Leave</a></p></body></html>',
        "html",
    )
    return message


def told(daemon: Daemon, word: str) -> list[dict[str, Any]]:
    return [one for one in daemon.events("--event", word) if one["recipient"] == READER]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
async def test_a_letter_is_opened_its_link_followed_and_its_list_left(
    tmp_path: Path, require_peer: Callable[..., Path], scripts: bool
) -> None:
    chromium = require_peer("chromium")
    with Site() as site, Daemon(tmp_path, "tracking.unsubscribe_on_get=false") as daemon:
        with daemon.client() as client:
            assert client.send_message(letter(site.url("/shop?of=una"))) == {}
        site.pages["/shop?of=una"] = "<h1>The shop</h1>"
        captured = email.message_from_bytes(daemon.captured(READER), policy=email.policy.default)
        site.pages["/letter"] = captured.get_content()

        async with open_browser(chromium, tmp_path / "profile", scripts=scripts) as browser:
            await browser.open(site.url("/letter"))
            [opened] = await asyncio.to_thread(wait_until, lambda: told(daemon, "opened"))
            assert opened["client-info"]["client-name"] == "Chrome"
            assert opened["client-info"]["bot"] == ""

            await browser.click("#shop")
            await browser.until("location.href", site.url("/shop?of=una"))
            [clicked] = await asyncio.to_thread(wait_until, lambda: told(daemon, "clicked"))
            assert clicked["url"] == site.url("/shop?of=una")
            await browser.until("document.body?.innerText", "The shop")

            await browser.open(site.url("/letter"))
            await browser.click("#leave")
            await browser.until("document.title", "Unsubscribe?")
            assert told(daemon, "unsubscribed") == []
            await browser.click("button")
            await browser.until("document.title", "You are unsubscribed")
            [left] = await asyncio.to_thread(wait_until, lambda: told(daemon, "unsubscribed"))
            assert left["tags"] == ["*"]
        done = daemon.mtad("suppression", "list", OURS, "unsubscribes")
        assert READER in done.stdout
