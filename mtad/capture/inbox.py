"""Inbox: where `mtad dev` delivers to: every message is kept, and magic recipients choose the answer.

Room: capture. May import: mail, storage, delivery. To the queue it is a transport like the world: it answers as a
remote host would, and what it accepted is on disk before it says so.
"""

import re
from collections.abc import Callable

import orjson

from mtad.clock import Clock
from mtad.delivery.mx import MxHost, Route
from mtad.mail.envelope import Transaction
from mtad.mail.ids import IdSource, from_queue_id
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Outcome, Phase, Reply
from mtad.storage.captured import CapturedRow
from mtad.storage.database import Lane

MAGIC_DOMAIN = "outcome.mtad.test"
REPORTING = frozenset(("bounce-later", "complain"))
SLOW_S = 5.0
_ROUTE = Route("capture", (MxHost("capture", 0),), 0)
_HOP = Hop("capture.mtad.test", "127.0.0.1")
_TAKEN = Reply(250, "0.0", "Captured")
_QUEUE_ID = re.compile(rb"Received: .*?\bid ([0-9a-z]{13})\b", re.DOTALL)
_SAYS = "as this address always answers"
_REFUSALS: dict[str, Outcome] = {
    "tempfail": Deferred(Reply(451, "3.0", f"Temporary failure, {_SAYS}"), _HOP, Phase.RCPT),
    "hardfail": Failed(Reply(550, "1.1", f"No such user, {_SAYS}"), _HOP, Phase.RCPT),
    "full": Deferred(Reply(452, "2.2", f"Mailbox full, {_SAYS}"), _HOP, Phase.RCPT),
    "spamblock": Failed(Reply(554, "7.1", f"Message refused as spam, {_SAYS}"), _HOP, Phase.FINAL),
}
_GREYLISTED = Reply(451, "7.1", "Greylisted, try again")
_DROPPED = Reply(451, "4.2", "The connection was lost after the message was sent, before the reply came")


class Inbox:
    """The transport. later: told of what was taken for an address that reports afterwards: its name, the reverse-path,
    the recipient and the content. Addresses that were greylisted once are forgotten at the end of the process.
    """

    fixed_key: str | None = "capture"

    def __init__(
        self, lane: Lane[CapturedRow], ids: IdSource, clock: Clock, later: Callable[[str, str, str, bytes], None]
    ) -> None:
        self._lane, self._ids, self._clock, self._later = lane, ids, clock, later
        self._seen: set[tuple[int, str]] = set()

    def known(self, domain: str) -> Route | None:
        return _ROUTE

    async def route(self, domain: str) -> Route | Deferred | Failed:
        return _ROUTE

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> "Visit | Deferred | Failed":
        return Visit(self)

    async def take(self, tx: Transaction) -> list[Outcome]:
        started = self._clock.steady()
        content = b"".join(tx.chunks)
        found = _QUEUE_ID.search(content[:4096])
        message = (from_queue_id(found[1].decode()) if found else None) or 0
        answers: list[Outcome | None] = [await self._magic(address, message) for address in tx.recipients]
        kept = [address for address, answer in zip(tx.recipients, answers, strict=True) if answer is None]
        if kept:
            recipients = orjson.dumps(kept).decode()
            row = (self._ids.next(), self._clock.now(), message, tx.reverse_path, recipients, content)
            await self._lane.put(row)
            for address in kept:
                name, _, domain = address.lower().rpartition("@")
                if domain == MAGIC_DOMAIN and name in REPORTING and tx.reverse_path:
                    self._later(name, tx.reverse_path, address, content)
        taken = Delivered(_TAKEN, _HOP, self._clock.steady() - started)
        return [answer or taken for answer in answers]

    async def _magic(self, address: str, message: int) -> Outcome | None:
        """What the address asks for; None: the message is simply taken."""
        name, _, domain = address.lower().rpartition("@")
        if domain != MAGIC_DOMAIN:
            return None
        if name in _REFUSALS:
            return _REFUSALS[name]
        if name == "greylist" and (message, address) not in self._seen:
            if len(self._seen) > 10_000:
                self._seen.clear()
            self._seen.add((message, address))
            return Deferred(_GREYLISTED, _HOP, Phase.RCPT)
        if name == "slow":
            await self._clock.sleep(SLOW_S)
        if name == "disconnect":
            return Deferred(_DROPPED, _HOP, Phase.FINAL, unknown=True)
        return None


class Visit:
    """A session with the inbox: it never ends by itself."""

    hop = _HOP
    alive = True
    stale = False

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.sent = 0

    async def send(self, tx: Transaction) -> list[Outcome]:
        self.sent += 1
        return await self._inbox.take(tx)

    def close(self) -> None:
        """Nothing is open."""
