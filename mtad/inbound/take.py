"""Take: mail for a domain of ours, from the world or one of our users: who it is from, which routes want it, and what
they do with it.

Room: inbound. May import: mail, message, storage, feedback, queue. All is decided before the 250, and the 250 says
that it is on disk: copies to addresses and URLs are recipients of the queue like any others; what a route stores is
done at once.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NoReturn, Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.inbound.arc import Sealer, seal
from mtad.inbound.doorstep import Doorstep
from mtad.inbound.listed import Listed, judge
from mtad.inbound.postmaster import Postmaster
from mtad.inbound.results import User
from mtad.inbound.routes.actions import Destination, Kind
from mtad.inbound.routes.engine import Decision, Keep, Matched
from mtad.inbound.routes.live import Routes
from mtad.inbound.routes.looking import Headers
from mtad.inbound.spam import SpamAction, spam_action
from mtad.inbound.verdicts import Checker, DomainSettings, Verdicts
from mtad.lists.known import Lists
from mtad.mail.address import Address, BadAddress, ListPost, Url, parse_address, without_password
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.metric import Metric
from mtad.mail.reply import Refused, Reply
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.listed import loop_mark
from mtad.message.trace import too_many_hops
from mtad.queue.prepare import Copy, End
from mtad.queue.submit import Submit

log = log_module.get("inbound")

MAX_COPIES = 9_999  # that one message may make
LOOP_FIELD = b"x-loop"
_LOOP = Reply(554, "4.6", "This message has been here before: it goes round in a loop")
_TOO_MANY = Reply(554, "5.3", "The routes for this message make too many copies of it")
_TOO_LONG = Reply(
    451, "3.0", "The routes' patterns took too long for this message; try again later, or send to fewer at a time"
)
_NOBODY = Reply(550, "1.1", "No route of ours takes this message; check the address")
_PASSWORD = re.compile(r"""(https?://)[^/?#,"'\s]*@""", re.IGNORECASE)  # events tell of a URL no more than where it is
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
class _Part:
    """What is for one domain of ours. head: with our own fields. decisions: by place in Submission.recipients."""

    domain: Receiving
    places: list[int]
    verdicts: Verdicts
    decisions: dict[int, Decision] = field(default_factory=dict)
    listed: Listed = field(default_factory=Listed)
    copies: list[Copy] = field(default_factory=list)
    head: HeaderBlock = field(init=False)

    def __post_init__(self) -> None:
        self.head = scan(self.verdicts.fields + self.verdicts.content)

    @property
    def matched(self) -> bool:
        return self.listed.taken or any(decision.matched for decision in self.decisions.values())

    @property
    def kept(self) -> bool:
        return any(copy.end is not None and copy.end.key for copy in self.copies)


@dataclass(slots=True)
class Tally:
    """Since the start, for /metrics. refused: messages by cause. copies: what was made of those taken, by what becomes
    of it. seconds: of all checks.
    """

    received: int = 0
    taken: int = 0
    dropped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(slots=True)
class Take:
    """receiving: the domain of ours that takes mail for a name, with its sub-domains where it is so set; None: none.

    sealer: in whose name forwarded mail is sealed (ARC), None: it is not. stored_url: where a stored message is found,
    from its domain and key. key: fresh random text for URLs. loop_key: marks mail we have sent on. spare: the domain
    that takes our own host's mail for the postmaster where the host is none itself.
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
    postmaster: Postmaster = field(default_factory=Postmaster)
    spare: Callable[[], Receiving | None] = lambda: None
    lists: Lists | None = None
    tally: Tally = field(default_factory=Tally)

    def takes(self, address: Address) -> bool:
        """Some route may want mail for this address, or it is a list that may: asked at RCPT."""
        return self.routes_take(address) or (self.lists is not None and self.lists.open_to_strangers(address))

    def routes_take(self, address: Address) -> bool:
        """Not only a mailing list."""
        if self.receiving(address.domain) is None:
            return self._domain_of(address) is not None
        return self.routes.may_take(address) or self.postmaster.takes(address)

    def _domain_of(self, address: Address) -> Receiving | None:
        found = self.receiving(address.domain)
        return self.spare() if found is None and self.postmaster.is_at_host(address) else found

    async def __call__(self, submission: Submission) -> int:
        """The message's id once all is on disk. Raises Refused."""
        self.tally.received += 1
        block = scan(submission.content)
        if block.oversized:
            raise self._refused("header", _HEADER_TOO_BIG)
        marks = {self._mark(address): address for address in submission.recipients}
        been = {value.decode("ascii", "replace") for value in block.all(LOOP_FIELD)}
        if too_many_hops(block, self.max_hops) or not been.isdisjoint(marks):
            log.info("inbound-loop", peer=submission.peer, recipients=len(submission.recipients))
            raise self._refused("loop", _LOOP)
        unwanted = None if submission.domain else await self.doorstep.refusal(submission)
        if unwanted is not None:
            raise self._refused("doorstep", unwanted)
        return await self._judged(submission, block)

    async def _judged(self, submission: Submission, block: HeaderBlock) -> int:
        """For all domains together, and only then anything is stored: one reply answers for all recipients."""
        judged: dict[SpamAction, Verdicts] = {}
        wanted: list[_Part] = []
        for domain, places in self._by_domain(submission):
            action = spam_action(domain.spam_action) if domain.spam_action else SpamAction.DISABLED
            if action not in judged:
                judged[action] = await self._check(submission, block, DomainSettings(action))
            verdicts = judged[action]
            theirs = replace(submission, recipients=[submission.recipients[place] for place in places])
            if verdicts.refusal is not None:
                self._refuse("checks", theirs, block, verdicts.refusal, domain)
            if verdicts.drop:
                self.tally.dropped += 1
                self.submit.reject(theirs, block, _spam_reply(verdicts), domain.name)
            else:
                wanted.append(_Part(domain, places, verdicts))
        return await self._route(submission, wanted) if wanted else self.ids.next()

    async def _check(self, submission: Submission, block: HeaderBlock, settings: DomainSettings) -> Verdicts:
        user = User(submission.login) if submission.domain else None
        verdicts = await self.checker.check(
            submission.content, block, submission.peer, submission.helo, submission.reverse_path, settings, user
        )
        self.tally.seconds += verdicts.took_s
        return verdicts

    def _refuse(
        self, cause: str, submission: Submission, block: HeaderBlock, reply: Reply, domain: Receiving
    ) -> NoReturn:
        self.submit.reject(submission, block, reply, domain.name)
        raise self._refused(cause, reply)

    def _refused(self, cause: str, reply: Reply) -> Refused:
        self.tally.refused[cause] += 1
        return Refused(reply)

    def _by_domain(self, submission: Submission) -> list[tuple[Receiving, list[int]]]:
        """Places of recipients by the domain of ours: each decides alone what becomes of spam."""
        found: dict[int, tuple[Receiving, list[int]]] = {}
        for place, address in enumerate(submission.recipients):
            domain = self._domain_of(address)
            if domain is not None:
                found.setdefault(domain.id, (domain, []))[1].append(place)
        if not found:
            raise self._refused("nobody", _NOBODY)
        return list(found.values())

    async def _route(self, submission: Submission, parts: Sequence[_Part]) -> int:
        """Ask the routes, with our own fields in the header; then all copies at once."""
        budget = self.routes.budget()
        for part in parts:
            await self._decide(submission, part, Headers(part.head, budget))
            part.listed = await judge(self.lists, submission, part.places, part.head, part.verdicts.findings)
        self._refuse_unwanted(submission, parts)
        left = MAX_COPIES
        for part in parts:
            copies = self._all_copies(submission, part)
            part.copies = list(islice(copies, left + 1))
            left -= len(part.copies)
            if left < 0:
                self._refuse("copies", submission, part.head, _TOO_MANY, part.domain)
        made = [part for part in parts if part.copies]  # of a user's mail for a list alone nothing is made here
        contents = [await self._content(submission, part) for part in made]
        try:
            taken = [
                self.submit.routed(_with(submission, content, part.domain.name), part.copies, kept=part.kept)
                for part, content in zip(made, contents, strict=True)
            ]
            number = max(await asyncio.gather(*taken), default=0)
        except Refused as refused:
            raise self._refused("store", refused.reply) from None
        self.tally.taken += 1
        self.tally.copies.update(_fate(copy) for part in made for copy in part.copies)
        return number or self.ids.next()

    def _refuse_unwanted(self, submission: Submission, parts: Sequence[_Part]) -> None:
        """Raises Refused when nobody takes it, and when a list cannot say now; a list that refuses what others take
        is told of by an event.
        """
        refused = [(part, place, why) for part in parts for place, why in part.listed.refused.items()]
        later = [one for one in refused if not one[2].is_permanent]
        for part, _, why in later or (refused if not any(part.matched for part in parts) else []):
            self._refuse("list", submission, part.head, why, part.domain)
        if not any(part.matched for part in parts):
            self._refuse("nobody", submission, parts[0].head, _NOBODY, parts[0].domain)
        for part, place, why in refused:
            theirs = replace(submission, recipients=[submission.recipients[place]])
            self.submit.reject(theirs, part.head, why, part.domain.name)

    async def _decide(self, submission: Submission, part: _Part, headers: Headers) -> None:
        for number, place in enumerate(part.places):
            if number:
                await self.clock.sleep(0.0)  # others have their turn between two recipients
            found = await self.routes.decide(submission.recipients[place], headers, submission.peer)
            if found.cut:  # another time, or for fewer at a time, it may be said; without an answer nothing is done
                self._refuse("patterns", submission, part.head, _TOO_LONG, part.domain)
            part.decisions[place] = self.postmaster.instead(found, submission.recipients[place])

    def _all_copies(self, submission: Submission, part: _Part) -> Iterator[Copy]:
        for place in part.places:
            if place in part.listed.posts:
                yield Copy(part.listed.posts[place], place, None, f"rfc822;{submission.recipients[place]}")
            if part.decisions[place].matched or not part.listed.has(place):
                yield from self._copies(submission, part.domain, place, part.decisions[place])

    async def _content(self, submission: Submission, part: _Part) -> bytes:
        content = part.verdicts.fields + part.verdicts.content
        if any(isinstance(copy.address, Address) and copy.end is None for copy in part.copies):
            return await self._sealed(submission, part.domain, part.verdicts, content, part.places)
        return content

    def _copies(self, submission: Submission, domain: Receiving, place: int, decision: Decision) -> Iterator[Copy]:
        recipient = submission.recipients[place]
        orcpt = f"rfc822;{recipient}"
        routes = [_route_json(one, recipient) for one in decision.matched]
        told = orjson.dumps({"routes": routes}) if routes else None
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
            yield Copy(address, place, personal, orcpt, told)
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
        return loop_mark(self.loop_key, address.key)


def _fate(copy: Copy) -> str:
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
        "actions": [_PASSWORD.sub(r"\1", action) for action in row.actions],
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
