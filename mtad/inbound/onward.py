"""Onward: the fields above a message that goes on to an address: that we saw it as it was (ARC), and that it was here.

Room: inbound. May import: mail, message. Source: RFC 8617 §5.1.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mtad.clock import Clock
from mtad.inbound.arc import Sealer, seal
from mtad.inbound.verdicts import Verdicts
from mtad.mail.address import Address
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.listed import loop_mark

_FIELD = b"x-loop"


@dataclass(frozen=True, slots=True)
class Onward:
    """sealer: in the name of which domain it is sealed, None: it is not. loop_key: of the marks."""

    sealer: Callable[[str], Sealer | None]
    loop_key: bytes
    clock: Clock

    def has_been(self, block: HeaderBlock, recipients: Iterable[Address]) -> bool:
        """We sent it on for one of them before."""
        marks = {value.decode("ascii", "replace") for value in block.all(_FIELD)}
        return not marks.isdisjoint(map(self._mark, recipients))

    async def fields(self, domain: str, recipients: Iterable[Address], verdicts: Verdicts) -> bytes:
        """domain: of ours, to which it came. To go above the fields of the verdicts."""
        marks = b"".join([b"X-Loop: %b%b" % (self._mark(one).encode(), CRLF) for one in recipients])
        sealer = self.sealer(domain)
        if sealer is None:
            return marks
        whole, now = scan(verdicts.fields + verdicts.content), self.clock.now()
        return await asyncio.to_thread(seal, whole, sealer, verdicts.findings.arc, verdicts.results, now) + marks

    def _mark(self, address: Address) -> str:
        """Nobody can tell from it whom the mail was for."""
        return loop_mark(self.loop_key, address.key)
