"""Campaigns: those of every domain as the running daemon holds them in memory, read anew at each change.

Room: queue. May import: mail, storage.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from mtad.mail.options import Options
from mtad.storage import campaigns
from mtad.storage.campaigns import CampaignRow
from mtad.storage.database import Database


class Campaigns:
    """Call load() before use and after each change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Mapping[tuple[int, str], CampaignRow] = {}
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        async with self._turn:  # who asked first may be answered last, and it would be the older answer that stays
            rows = await self._database.read(campaigns.all_campaigns)
            self._known = {(row.domain_id, row.id): row for row in rows}

    def known(self, domain_id: int, options: Options) -> Options:
        """With the campaigns that the domain has; others are left out."""
        found = [row for id in options.campaigns if (row := self._known.get((domain_id, id))) is not None]
        return replace(
            options,
            campaigns=tuple(row.id for row in found),
            campaign_keys=tuple(row.number for row in found),
            campaign_names=tuple(row.name for row in found),
        )
