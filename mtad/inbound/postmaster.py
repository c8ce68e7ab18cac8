"""Postmaster: mail for those who answer for a domain, where no route takes it.

Room: inbound. Pure. May import: mail, message, storage. Source: RFC 5321 §4.5.1 (postmaster must be taken, with and
without a domain), RFC 2142 §4 (abuse). What they get is a route that stands behind all others.
"""

from dataclasses import dataclass, replace

from mtad.inbound.routes.actions import Destination, Kind
from mtad.inbound.routes.engine import Decision, ForwardTo, Matched
from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.storage.routes import RouteRow

_ROLES = frozenset(("postmaster", "abuse"))
_NAME = "inbound.postmaster"


def is_role(address: Address) -> bool:
    return address.local.casefold() in _ROLES


@dataclass(frozen=True, slots=True)
class Postmaster:
    """to: who gets the mail, None: nobody is named. host: our own name, which <postmaster> without a domain is at."""

    to: Address | None = None
    host: str = ""

    def takes(self, address: Address) -> bool:
        return self.to is not None and is_role(address)

    def is_at_host(self, address: Address) -> bool:
        """Also where that is no domain that mail is taken for."""
        return address.domain == self.host and self.takes(address)

    def instead(self, decision: Decision, recipient: Address) -> Decision:
        """What is done when no route matched."""
        if decision.matched or decision.cut or self.to is None or not is_role(recipient):
            return decision
        action = ForwardTo((Destination(Kind.ADDRESS, str(self.to)),))
        row = RouteRow(0, 0, _NAME, f'match_recipient("{recipient}")', (f'forward("{self.to}")',), 0.0)
        return replace(decision, matched=(Matched(row, (action,)),))


def refusal(address: Address) -> Reply:
    """What a stranger is told of a mailbox that is not there."""
    if is_role(address):
        return Reply(550, "1.1", f"<{address}>: nobody reads this mailbox yet: its host has to set {_NAME}, or a route")
    return Reply(550, "1.1", f"<{address}>: there is no such mailbox here; check the address")
