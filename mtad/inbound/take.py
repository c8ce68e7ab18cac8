"""Take: mail for a domain of ours, from the world or one of our users: who it is from, which routes want it, and what
they do with it.

Room: inbound. May import: mail, message, storage, feedback, queue. All is decided before the 250, and the 250 says
that it is on disk: copies to addresses and URLs are recipients of the queue like any others; what a route stores is
done at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NoReturn, Protocol

from mtad import log as log_module
from mtad.clock import Clock
from mtad.inbound.copies import Copies, fate
from mtad.inbound.doorstep import Doorstep
from mtad.inbound.listed import Listed, judge
from mtad.inbound.onward import Onward
from mtad.inbound.postmaster import Postmaster
from mtad.inbound.results import User
from mtad.inbound.routes.engine import Decision
from mtad.inbound.routes.live import Routes
from mtad.inbound.routes.looking import Headers
from mtad.inbound.spam import SpamAction, spam_action
from mtad.inbound.verdicts import Checker, DomainSettings, Verdicts
from mtad.lists.known import Lists
from mtad.mail.address import Address
from mtad.mail.envelope import Submission
from mtad.mail.ids import IdSource
from mtad.mail.reply import Refused, Reply
from mtad.message.headers import HeaderBlock, scan
from mtad.message.trace import too_many_hops
from mtad.queue.prepare import Copy
from mtad.queue.submit import Submit

log = log_module.get("inbound")

MAX_COPIES = 9_999  # that one message may make
_LOOP = Reply(554, "4.6", "This message has been here before: it goes round in a loop")
_TOO_MANY = Reply(554, "5.3", "The routes for this message make too many copies of it")
_TOO_LONG = Reply(
    451, "3.0", "The routes' patterns took too long for this message; try again later, or send to fewer at a time"
)
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
        content = self.verdicts.content
        self.head = scan(self.verdicts.fields + content[: scan(content).end])  # large messages are copied seldom

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

    spare: the domain that takes our own host's mail for the postmaster where the host is none itself.
    """

    submit: Submit
    checker: Checker
    routes: Routes
    receiving: Callable[[str], Receiving | None]
    copies: Copies
    onward: Onward
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
        if too_many_hops(block, self.max_hops) or self.onward.has_been(block, submission.recipients):
            log.info("inbound-loop", peer=submission.peer, recipients=len(submission.recipients))
            raise self._refused("loop", _LOOP)
        unwanted = None if submission.domain else await self.doorstep.refusal(submission)
        if unwanted is not None:
            raise self._refused("doorstep", unwanted)
        return await self._judged(submission, block)

    async def _judged(self, submission: Submission, block: HeaderBlock) -> int:
        """For all domains together, and only then anything is stored: one reply answers for all recipients."""
        judged: dict[SpamAction, Verdicts] = {}
        parts: list[_Part] = []
        for domain, places in self._by_domain(submission):
            action = spam_action(domain.spam_action) if domain.spam_action else SpamAction.DISABLED
            if action not in judged:
                judged[action] = await self._check(submission, block, DomainSettings(action))
            parts.append(_Part(domain, places, judged[action]))
        refusal = next((part.verdicts.refusal for part in parts if part.verdicts.refusal is not None), None)
        if refusal is not None:
            self._refuse("checks", submission, parts, refusal)
        wanted = [part for part in parts if not part.verdicts.drop]
        number = await self._route(submission, wanted) if wanted else self.ids.next()
        for part in parts:
            if part.verdicts.drop:
                self.tally.dropped += 1
                self._tell(submission, part, _spam_reply(part.verdicts))
        return number

    async def _check(self, submission: Submission, block: HeaderBlock, settings: DomainSettings) -> Verdicts:
        user = User(submission.login) if submission.domain else None
        verdicts = await self.checker.check(
            submission.content, block, submission.peer, submission.helo, submission.reverse_path, settings, user
        )
        self.tally.seconds += verdicts.took_s
        return verdicts

    def _refuse(self, cause: str, submission: Submission, parts: Sequence[_Part], reply: Reply) -> NoReturn:
        """One reply is for all recipients: each of the domains is told by an event."""
        for part in parts:
            self._tell(submission, part, reply)
        raise self._refused(cause, reply)

    def _tell(self, submission: Submission, part: _Part, reply: Reply, places: Sequence[int] = ()) -> None:
        """By an event, that the part got nothing; places: those of it, () all."""
        theirs = replace(submission, recipients=[submission.recipients[place] for place in places or part.places])
        self.submit.reject(theirs, part.head, reply, part.domain.name)

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
            if not await self._decide(submission, part, Headers(part.head, budget)):
                self._refuse("patterns", submission, parts, _TOO_LONG)
            part.listed = await judge(self.lists, submission, part.places, part.head, part.verdicts.findings)
        self._refuse_unwanted(submission, parts)
        left = MAX_COPIES
        for part in parts:
            copies = self._all_copies(submission, part)
            part.copies = list(islice(copies, left + 1))
            left -= len(part.copies)
            if left < 0:
                self._refuse("copies", submission, parts, _TOO_MANY)
        made = [part for part in parts if part.copies]  # of a user's mail for a list alone nothing is made here
        contents = [await self._content(submission, part) for part in made]
        try:
            taken = []
            for part in made:  # what is handed over is not held here, too: a message may be large
                theirs = _with(submission, contents.pop(0), part.domain.name)
                taken.append(self.submit.routed(theirs, part.copies, kept=part.kept))
                del theirs
            number = max(await asyncio.gather(*taken), default=0)
        except Refused as refused:
            raise self._refused("store", refused.reply) from None
        self.tally.taken += 1
        self.tally.copies.update(fate(copy) for part in made for copy in part.copies)
        return number or self.ids.next()

    def _refuse_unwanted(self, submission: Submission, parts: Sequence[_Part]) -> None:
        """Raises Refused when nobody takes it, and when a list cannot say now; a list that refuses what others take
        is told of by an event.
        """
        refused = [(part, place, why) for part in parts for place, why in part.listed.refused.items()]
        later = [one for one in refused if not one[2].is_permanent]
        nobody = not any(part.matched for part in parts)
        for _, _, why in later or (refused if nobody else []):
            self._refuse("list", submission, parts, why)
        if nobody:
            self._refuse("nobody", submission, parts, _NOBODY)
        for part, place, why in refused:
            self._tell(submission, part, why, [place])

    async def _decide(self, submission: Submission, part: _Part, headers: Headers) -> bool:
        """False: time was up. Another time, or for fewer at a time, it may be said; till then nothing is done."""
        for number, place in enumerate(part.places):
            if number:
                await self.clock.sleep(0.0)  # others have their turn between two recipients
            found = await self.routes.decide(submission.recipients[place], headers, submission.peer)
            if found.cut:
                return False
            part.decisions[place] = self.postmaster.instead(found, submission.recipients[place])
        return True

    def _all_copies(self, submission: Submission, part: _Part) -> Iterator[Copy]:
        for place in part.places:
            if place in part.listed.posts:
                yield Copy(part.listed.posts[place], place, None, f"rfc822;{submission.recipients[place]}")
            if part.decisions[place].matched or not part.listed.has(place):
                recipient = submission.recipients[place]
                yield from self.copies.of(recipient, part.domain.name, place, part.decisions[place])

    async def _content(self, submission: Submission, part: _Part) -> bytes:
        verdicts = part.verdicts
        if any(isinstance(copy.address, Address) and copy.end is None for copy in part.copies):
            people = [submission.recipients[place] for place in part.places]
            above = await self.onward.fields(part.domain.name, people, verdicts)
            return b"".join((above, verdicts.fields, verdicts.content))
        return verdicts.fields + verdicts.content


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


def _spam_reply(verdicts: Verdicts) -> Reply:
    spam = verdicts.findings.spam
    score = f", score {spam.score:g}" if spam is not None else ""
    return Reply(550, "7.1", f"Taken for spam{score}, and the domain wants none")
