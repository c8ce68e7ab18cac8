"""Take: mail from the world for a domain of ours: who it is from, which routes want it, and what they do with it.

Room: inbound. May import: mail, message, storage, feedback, queue. All is decided before the 250, and the 250 says
that it is on disk: copies to addresses and URLs are recipients of the queue like any others; what a route stores is
done at once.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.inbound.arc import Sealer, seal
from mtad.inbound.doorstep import Doorstep
from mtad.inbound.routes.actions import Destination, Kind
from mtad.inbound.routes.engine import Decision, Keep, Matched
from mtad.inbound.routes.live import Routes
from mtad.inbound.spam import SpamAction, spam_action
from mtad.inbound.verdicts import Checker, DomainSettings, Verdicts
from mtad.mail.address import Address, BadAddress, Url, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.metric import Metric
from mtad.mail.reply import Refused, Reply
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.trace import too_many_hops
from mtad.queue.prepare import Copy, End
from mtad.queue.submit import Submit

log = log_module.get("inbound")

MAX_COPIES = 9_999  # that one message may make
LOOP_FIELD = b"x-loop"
_LOOP = Reply(554, "4.6", "This message has been here before: it goes round in a loop")
_TOO_MANY = Reply(554, "5.3", "The routes for this message make too many copies of it")
_NOBODY = Reply(550, "1.1", "No route of ours takes this message; check the address")
_HEADER_TOO_BIG = Reply(552, "3.4", "The header of the message is too long; make its fields fewer or shorter")


class Receiving(Protocol):
    """A domain of ours as inbound mail sees it."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def spam_action(self) -> str: ...


@dataclass(slots=True)
class Tally:
    """Since the start, for /metrics."""

    taken: int = 0
    refused: int = 0
    dropped: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Take:
    """receiving: the domain of ours that takes mail for a name, with its sub-domains where it is so set; None: none.

    sealer: in whose name forwarded mail is sealed (ARC), None: it is not. stored_url: where a stored message is found,
    from its domain and key. key: fresh random text for URLs. loop_key: marks mail we have sent on.
    """

    submit: Submit
    checker: Checker
    routes: Routes
    receiving: Callable[[str], Receiving | None]
    sealer: Callable[[str], Sealer | None]
    stored_url: Callable[[str, str], str]
    key: Callable[[], str]
    loop_key: bytes
    ids: IdSource
    clock: Clock
    max_hops: int
    doorstep: Doorstep
    tally: Tally = field(default_factory=Tally)

    def takes(self, address: Address) -> bool:
        """Some route may want mail for this address: asked at RCPT."""
        return self.receiving(address.domain) is not None and self.routes.may_take(address)

    async def __call__(self, submission: Submission) -> int:
        """The message's id once all is on disk. Raises Refused."""
        block, number = scan(submission.content), 0
        if block.oversized:
            raise Refused(_HEADER_TOO_BIG)
        marks = {self._mark(address): address for address in submission.recipients}
        been = {value.decode("ascii", "replace") for value in block.all(LOOP_FIELD)}
        if too_many_hops(block, self.max_hops) or not been.isdisjoint(marks):
            self.tally.refused += 1
            log.info("inbound-loop", peer=submission.peer, recipients=len(submission.recipients))
            raise Refused(_LOOP)
        unwanted = await self.doorstep.refusal(submission)
        if unwanted is not None:
            self.tally.refused += 1
            raise Refused(unwanted)
        for domain, places in self._by_domain(submission).items():
            number = await self._for_domain(submission, block, domain, places)
        return number

    def _by_domain(self, submission: Submission) -> dict[str, list[int]]:
        """Places of recipients by the domain of ours: each decides alone what becomes of spam."""
        found: dict[str, list[int]] = {}
        for place, address in enumerate(submission.recipients):
            domain = self.receiving(address.domain)
            if domain is not None:
                found.setdefault(domain.name, []).append(place)
        if not found:
            raise Refused(_NOBODY)
        return found

    async def _for_domain(self, submission: Submission, block: HeaderBlock, name: str, places: list[int]) -> int:
        domain = self.receiving(name)
        assert domain is not None
        verdicts = await self.checker.check(
            submission.content,
            block,
            submission.peer,
            submission.helo,
            submission.reverse_path,
            DomainSettings(spam_action(domain.spam_action) if domain.spam_action else SpamAction.DISABLED),
        )
        self.tally.seconds += verdicts.took_s
        if verdicts.refusal is not None:
            self.tally.refused += 1
            self.submit.reject(submission, block, verdicts.refusal, domain.name)
            raise Refused(verdicts.refusal)
        if verdicts.drop:
            self.tally.dropped += 1
            self.submit.reject(submission, block, _spam_reply(verdicts), domain.name)
            return self.ids.next()
        return await self._route(submission, domain, verdicts, places)

    async def _route(self, submission: Submission, domain: Receiving, verdicts: Verdicts, places: list[int]) -> int:
        """Ask the routes, with our own fields in the header; then all copies in one commit."""
        head = scan(verdicts.fields + verdicts.content)
        decisions = {
            place: await self.routes.decide(submission.recipients[place], head, submission.peer) for place in places
        }
        if not any(decision.matched for decision in decisions.values()):
            self.tally.refused += 1
            self.submit.reject(submission, head, _NOBODY, domain.name)
            raise Refused(_NOBODY)
        copies = [copy for place in places for copy in self._copies(submission, domain, place, decisions[place])]
        if len(copies) > MAX_COPIES:
            raise Refused(_TOO_MANY)
        content = verdicts.fields + verdicts.content
        if any(isinstance(copy.address, Address) and copy.end is None for copy in copies):
            content = await self._sealed(submission, domain, verdicts, content, places)
        submission = _with(submission, content, domain.name)
        kept = any(copy.end is not None and copy.end.key for copy in copies)
        number = await self.submit.routed(submission, copies, kept=kept)
        self.tally.taken += 1
        return number

    def _copies(self, submission: Submission, domain: Receiving, place: int, decision: Decision) -> Iterator[Copy]:
        recipient = submission.recipients[place]
        orcpt = f"rfc822;{recipient}"
        routes = [_route_json(one, recipient) for one in decision.matched]
        told = orjson.dumps({"routes": routes}) if routes else None
        routed = orjson.dumps({"flags": {"is-routed": True}, "routes": routes})
        made = 0
        for to in decision.forwards:
            address = _target(to)
            if address is None:
                log.warning("route-target-bad", target=to.text[:200], rcpt=str(recipient))
                continue
            made += 1
            personal = None
            if isinstance(address, Url):
                personal = orjson.dumps({"kind": "raw" if to.kind is Kind.RAW_URL else "forward"})
            yield Copy(address, place, personal, orcpt, routed)
        for keep in decision.keeps:
            made += 1
            yield from self._kept(domain, recipient, place, keep, told)
        if not made:
            detail = orjson.dumps({"delivery-status": _consumed(decision), "recipient": str(recipient)})
            yield Copy(recipient, place, None, orcpt, told, End(EventType.DELIVERED, Metric.DELIVERED_SMTP, detail))

    def _kept(
        self, domain: Receiving, recipient: Address, place: int, keep: Keep, told: bytes | None
    ) -> Iterator[Copy]:
        key = self.key()
        url = self.stored_url(domain.name, key)
        detail = orjson.dumps({"storage": {"url": url, "key": key}})
        end = End(EventType.STORED, Metric.STORED, detail, key, (str(recipient),))
        yield Copy(recipient, place, None, f"rfc822;{recipient}", told, end)
        if keep.notify is not None:
            personal = orjson.dumps({"kind": "notify", "key": key, "url": url, "domain": domain.name})
            yield Copy(Url(keep.notify.text), place, personal, f"rfc822;{recipient}", told)

    async def _sealed(
        self, submission: Submission, domain: Receiving, verdicts: Verdicts, content: bytes, places: Sequence[int]
    ) -> bytes:
        """What goes on to an address says that we saw it as it was, and that it was here."""
        marks = b"".join(
            [b"X-Loop: %b%b" % (self._mark(submission.recipients[place]).encode(), CRLF) for place in places]
        )
        sealer = self.sealer(domain.name)
        if sealer is None:
            return marks + content
        found, now = verdicts.findings.arc, self.clock.now()
        fields = await asyncio.to_thread(seal, scan(content), sealer, found, verdicts.results, now)
        return fields + marks + content

    def _mark(self, address: Address) -> str:
        """Nobody can tell from it whom the mail was for."""
        return blake2b(address.key.encode("utf-8", "replace"), key=self.loop_key, digest_size=8).hexdigest()


def _target(to: Destination) -> Address | Url | None:
    if to.kind is not Kind.ADDRESS:
        return Url(to.text)
    try:
        return parse_address(to.text)
    except BadAddress:
        return None


def _with(submission: Submission, content: bytes, domain: str) -> Submission:
    return Submission(
        reverse_path=submission.reverse_path,
        recipients=submission.recipients,
        content=content,
        domain=domain,
        received_at=submission.received_at,
        method=submission.method,
        peer=submission.peer,
        helo=submission.helo,
        protocol=submission.protocol,
        smtputf8=submission.smtputf8,
        eight_bit=submission.eight_bit,
    )


def _route_json(matched: Matched, recipient: Address) -> dict[str, Any]:
    row = matched.row
    return {
        "id": row.id,
        "expression": row.expression,
        "priority": row.priority,
        "description": row.description,
        "actions": list(row.actions),
        "match": {"recipient": str(recipient)},
    }


def _consumed(decision: Decision) -> dict[str, Any]:
    """A recipient for whom no route had anything to do but to stop, or none matched while others' did."""
    why = "stop() alone: nothing was to be done with it" if decision.matched else "no route matched this recipient"
    return {"code": 250, "message": "", "description": why, "attempt-no": 0}


def _spam_reply(verdicts: Verdicts) -> Reply:
    spam = verdicts.findings.spam
    score = f", score {spam.score:g}" if spam is not None else ""
    return Reply(550, "7.1", f"Taken for spam{score}, and the domain wants none")
