"""Warm-ups: what each new source address may send, kept over restarts.

Room: queue. May import: mail, storage.
"""

import json
from functools import partial

from mtad.clock import Clock
from mtad.mail.waiting import Waiting
from mtad.queue.shaping import Shaping
from mtad.queue.throttle import WarmUp, WarmUpState
from mtad.storage import sites as table
from mtad.storage.database import Database
from mtad.storage.sites import site_id


class WarmUps:
    """load() before use; save() now and then. State is kept in the sites table, under "source <address>"."""

    def __init__(self, database: Database, shaping: Shaping, clock: Clock) -> None:
        self._database, self._shaping, self._clock = database, shaping, clock
        self._warm_ups: dict[str, WarmUp] = {}

    async def load(self, sources: tuple[str, ...]) -> None:
        for source in sources:
            curve = self._shaping.warms(source)
            if curve is None:
                continue
            row = await self._database.read(partial(table.find, key=_key(source)))
            saved = WarmUpState.from_json(row.paces[source]) if row and source in row.paces else None
            self._warm_ups[source] = WarmUp(curve, self._clock.now(), saved)

    def gate(self, source: str, now: float) -> Waiting | None:
        warm_up = self._warm_ups.get(source)
        return warm_up.gate(now) if warm_up is not None else None

    def room(self, source: str, now: float) -> int | None:
        """Recipients that may leave from there now; None: any number."""
        warm_up = self._warm_ups.get(source)
        return warm_up.room(now) if warm_up is not None else None

    def sent(self, source: str, recipients: int) -> None:
        warm_up = self._warm_ups.get(source)
        if warm_up is not None:
            warm_up.take(self._clock.now(), recipients)

    async def save(self) -> None:
        if not self._warm_ups:
            return
        keys = [(site_id(_key(source)), _key(source)) for source in self._warm_ups]
        states = [
            (site_id(_key(source)), json.dumps({source: warm_up.save().to_json()}))
            for source, warm_up in self._warm_ups.items()
        ]
        await self._database.writer.write(partial(table.ensure, sites=keys))
        await self._database.writer.write(partial(table.save_paces, paces=states))


def _key(source: str) -> str:
    return f"source {source}"
