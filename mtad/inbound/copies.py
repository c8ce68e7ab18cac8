"""Copies: what a message becomes for one recipient: a copy for each destination of its routes, and one that is done
already where a route stores it, or where nothing is to be done.

Room: inbound. May import: mail, queue. Keys are handed in.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mtad import log as log_module
from mtad.inbound.routes.actions import Destination, Kind
from mtad.inbound.routes.engine import Decision, Keep, Matched
from mtad.mail.address import Address, BadAddress, ListPost, Url, parse_address, without_password
from mtad.mail.event import EventType
from mtad.mail.metric import Metric
from mtad.queue.prepare import Copy, End

log = log_module.get("inbound")

_PASSWORD = re.compile(r"""(https?://)[^/?#,"'\s]*@""", re.IGNORECASE)  # events tell of a URL no more than where it is


@dataclass(frozen=True, slots=True)
class Copies:
    """stored_url: where a stored message is found, from its domain and key. key: fresh random text for URLs."""

    stored_url: Callable[[str, str], str]
    key: Callable[[], str]

    def of(self, recipient: Address, domain: str, place: int, decision: Decision) -> Iterator[Copy]:
        """domain: of ours, which takes the recipient's mail. place: his in Submission.recipients."""
        orcpt = f"rfc822;{recipient}"
        routes = [_route_json(one, recipient) for one in decision.matched]
        told = {"routes": routes} if routes else {}
        plain = orjson.dumps(told) if told else None
        made = 0
        for to in decision.forwards:
            address = _target(to)
            if address is None:
                log.warning("route-target-bad", target=without_password(to.text)[:200], rcpt=str(recipient))
                continue
            made += 1
            personal = None
            if isinstance(address, Url):
                personal = orjson.dumps({"kind": "raw" if to.kind is Kind.RAW_URL else "forward"})
            yield Copy(address, place, personal, orcpt, plain)
        for keep in decision.keeps:
            made += 1
            yield from self._kept(recipient, domain, place, keep, told)
        if not made:
            detail = orjson.dumps({"delivery-status": _consumed(decision), "recipient": str(recipient)})
            yield Copy(recipient, place, None, orcpt, plain, End(EventType.DELIVERED, Metric.DELIVERED_SMTP, detail))

    def _kept(self, recipient: Address, domain: str, place: int, keep: Keep, told: Mapping[str, Any]) -> Iterator[Copy]:
        key = self.key()
        url = self.stored_url(domain, key)
        storage = {"storage": {"url": url, "key": key}}
        end = End(EventType.STORED, Metric.STORED, orjson.dumps(storage), key, (str(recipient),))
        accepted = orjson.dumps({**told, **storage})
        yield Copy(recipient, place, None, f"rfc822;{recipient}", accepted, end)
        if keep.notify is not None:
            personal = orjson.dumps({"kind": "notify", "key": key, "url": url, "domain": domain})
            yield Copy(Url(keep.notify.text), place, personal, f"rfc822;{recipient}", accepted)


def fate(copy: Copy) -> str:
    """What becomes of it, for the metrics."""
    if copy.end is not None:
        return "stored" if copy.end.key else "consumed"
    if isinstance(copy.address, ListPost):
        return "listed"
    return "posted" if isinstance(copy.address, Url) else "forwarded"


def _target(to: Destination) -> Address | Url | None:
    if to.kind is not Kind.ADDRESS:
        return Url(to.text)
    try:
        return parse_address(to.text)
    except BadAddress:
        return None


def _route_json(matched: Matched, recipient: Address) -> dict[str, Any]:
    row = matched.row
    return {
        "id": row.id,
        "expression": row.expression,
        "priority": row.priority,
        "description": row.description,
        "actions": [_PASSWORD.sub(r"\1", action) for action in row.actions],
        "match": {"recipient": str(recipient)},
    }


def _consumed(decision: Decision) -> dict[str, Any]:
    """A recipient for whom no route had anything to do but to stop, or none matched while others' did."""
    why = "stop() alone: nothing was to be done with it" if decision.matched else "no route matched this recipient"
    return {"code": 250, "message": "", "description": why, "attempt-no": 0}
