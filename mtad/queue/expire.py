"""Expire: mail that nobody may try at present does not wait for ever: the age limit holds for it too.

Room: queue. May import: mail, storage.
"""

from collections.abc import Collection

from mtad.mail.reply import Deferred, Phase, Reply
from mtad.mail.waiting import WaitReason
from mtad.queue.book import Book
from mtad.queue.settle import Settler
from mtad.queue.work import NOWHERE, Held, Job, Tenants, lost
from mtad.storage import expiry
from mtad.storage.database import Database
from mtad.storage.expiry import Place
from mtad.storage.outgoing import Outgoing, StoredMessage

_BATCH = 200  # recipients leased at once
_PLACES = 10  # of which a batch is given up before others are looked at
_OUR_PACE = (WaitReason.WARM_UP, WaitReason.QUOTA)  # mail that we hold back ourselves does not grow too old by it


class Expiry:
    def __init__(
        self, *, database: Database, outgoing: Outgoing, book: Book, settler: Settler, tenants: Tenants
    ) -> None:
        self._database, self._outgoing, self._book = database, outgoing, book
        self._settler, self._tenants = settler, tenants

    async def look(self, now: float) -> bool:
        """Give up some of what has become too old where nobody may try it. True: there may be more."""
        whys = self._shut_places()
        if not whys:
            return False
        places = await self._database.read(lambda connection: expiry.places(connection, list(whys), now))
        more = [await self._expire_at(place, whys[place], now) for place in places[:_PLACES]]
        return any(more) or len(places) > _PLACES

    def _shut_places(self) -> dict[Place, str]:
        """Where nobody may try anything, and why."""
        whys: dict[Place, str] = {}
        for site in self._book:
            if site.shut is not None and site.shut.reason not in _OUR_PACE:
                whys[site.id, None] = site.shut.detail
                continue
            whys |= {(site.id, t): why.detail for t, why in site.hushed.items() if why.reason not in _OUR_PACE}
            for tenant, words in self._tenants.paused().items():
                whys[site.id, tenant] = f"the sending domain is paused: {words}"
        return whys

    async def _expire_at(self, place: Place, why: str, now: float) -> bool:
        """A batch of what is too old there. True: there may be more."""
        rows = await self._database.writer.write(lambda connection: expiry.lease(connection, place, now, _BATCH))
        messages = await self._messages({row.message_id for row in rows})
        for row in rows:
            said = f"; the last reply was: {row.last_reply}" if row.last_reply else ""
            words = Reply(451, "4.7", why + said)
            job = Job(Held(messages.get(row.message_id) or lost(row), 1), row, NOWHERE)
            self._settler.settle(job, Deferred(words, None, Phase.LOCAL))
        return len(rows) == _BATCH

    async def _messages(self, ids: Collection[int]) -> dict[int, StoredMessage]:
        return await self._database.read(lambda connection: self._outgoing.messages(connection, ids, 0))
