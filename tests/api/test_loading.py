"""What is held in memory of the store: whoever asks last decides, whichever of its readers answers first."""

import asyncio
from typing import Any

import aiohttp
import pytest

from mtad.api.http.keys import Keys, hash_of
from mtad.api.tenants import Tenants
from mtad.clock import SystemClock
from mtad.config import DeliveryConfig
from mtad.mail.event import EventType
from mtad.mail.options import Options
from mtad.queue.campaigns import Campaigns
from mtad.storage import accounts, campaigns, keys, webhooks
from mtad.storage.accounts import DomainRow
from mtad.storage.campaigns import CampaignRow
from mtad.storage.keys import KeyRow
from mtad.storage.webhooks import WebhookRow
from mtad.webhooks.hooks import Hooks

KEY = KeyRow(1, None, "ci", hash_of("secret"), 0.0)
HOOK = WebhookRow(1, 1, "ours.example", "delivered", "http://app.example/", 0, None, 0.0)
CAMPAIGN = CampaignRow(1, 1, "spring", "Spring sale", 0.0)
DOMAIN = DomainRow(1, "ours.example", 0.0, "", True, None)


class Readers:
    """The first that is asked answers last, with what was there when it was asked."""

    def __init__(self, work: Any) -> None:
        self._work, self.rows, self._asked = work, list[Any](), 0
        self.writer = self

    async def read(self, work: Any) -> list[Any]:
        found = list(self.rows) if work is self._work else []
        self._asked += 1
        for _ in range(20 if self._asked == 1 else 0):
            await asyncio.sleep(0)
        return found

    async def write(self, work: Any) -> str:
        return "signing-key"


def held_keys(readers):
    held = Keys(readers, SystemClock())
    return held, lambda: held.principal(aiohttp.encode_basic_auth("api", "secret"))


def held_domains(readers):
    held = Tenants(readers, DeliveryConfig())
    return held, lambda: held.find("ours.example")


def held_hooks(readers):
    held = Hooks(readers)
    return held, lambda: held.posts_for(EventType.DELIVERED, 1)


def held_campaigns(readers):
    held = Campaigns(readers)
    return held, lambda: held.known(1, Options(campaigns=("spring",))).campaigns


@pytest.mark.parametrize(
    ("make", "work", "row"),
    [
        (held_keys, keys.keys, KEY),
        (held_domains, accounts.domains, DOMAIN),
        (held_hooks, webhooks.webhooks, HOOK),
        (held_campaigns, campaigns.all_campaigns, CAMPAIGN),
    ],
)
@pytest.mark.parametrize("comes", [True, False])
async def test_a_change_is_not_undone_by_a_reader_that_answers_late(make, work, row, comes):
    readers = Readers(work)
    held, found = make(readers)
    readers.rows = [] if comes else [row]
    before = asyncio.create_task(held.load())
    await asyncio.sleep(0)
    readers.rows = [row] if comes else []
    await held.load()
    await before
    assert bool(found()) is comes
