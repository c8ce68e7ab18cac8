"""Compose: stored message and one recipient -> the octets and the reverse-path of one attempt.

Room: queue. May import: mail, message, storage. The work itself is message.template's and message.finish's; here is
decided what a message needs, and what was parsed is kept with the message while it is in memory.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from mtad.clock import Clock
from mtad.mail.address import is_list, is_url
from mtad.mail.options import Clicks, Options, Tracking
from mtad.mail.token import PATHS, Purpose, Tokens
from mtad.message.dkim import Signer
from mtad.message.finish import Finisher
from mtad.message.template import Plan, compile
from mtad.message.variables import Person, Unfillable
from mtad.queue.prepare import personal_from
from mtad.queue.work import Held, Job
from mtad.storage.outgoing import Flag, StoredMessage, StoredRecipient

_INLINE_OCTETS = 262_144  # a larger message is parsed and filled in a thread
_NO_OPTIONS = Options()


class Uncomposable(Exception):
    """The recipient's octets cannot be made. The text says why."""


class Domains(Protocol):
    """What composition asks about the domains that send."""

    def name_of(self, number: int) -> str: ...
    def tracking(self, domain_id: int) -> Tracking: ...
    def signers(self, domain_id: int) -> Sequence[Signer]: ...


class Composer:
    """verp: the reverse-path of mail of our domains names message and recipient, so that late reports find them."""

    def __init__(self, *, domains: Domains, tokens: Tokens, finisher: Finisher, clock: Clock, verp: bool) -> None:
        self._domains, self._tokens, self._finisher, self._clock = domains, tokens, finisher, clock
        self.verp = verp

    def alone(self, held: Held) -> bool:
        """Each recipient has octets or a reverse-path of his own."""
        return self.needs(held) or self._is_verp(held.message) or bool(held.message.flags & Flag.ROUTED)

    def reverse_path(self, job: Job) -> str:
        message = job.held.message
        if not self._is_verp(message) or is_url(job.recipient.address) or is_list(job.recipient.address):
            return message.reverse_path
        local = self._tokens.local_part(Purpose.BOUNCE, job.recipient.id)
        return f"{local}@{self._domains.name_of(message.domain_id)}"

    def chunks(self, job: Job, content: bytes) -> tuple[bytes, ...] | Awaitable[tuple[bytes, ...]]:
        held = job.held
        if is_list(job.recipient.address):  # its members' copies are composed, each when it is sent
            return (content,)
        if self.needs(held):
            return self._composed(job, content)
        return self._finished(held, content)

    def _finished(self, held: Held, content: bytes) -> tuple[bytes, ...] | Awaitable[tuple[bytes, ...]]:
        unsigned = bool(held.message.flags & Flag.ROUTED) or (held.options is not None and held.options.dkim is False)
        signers = () if unsigned else self._domains.signers(held.message.domain_id)
        if not signers:
            return (content,)
        return self._finisher.finish(content, signers, self._clock.now())

    async def _composed(self, job: Job, content: bytes) -> tuple[bytes, ...]:
        held = job.held
        template = held.template
        if template is None:
            plan = self.plan(held)
            large = len(content) > _INLINE_OCTETS
            template = await asyncio.to_thread(compile, content, plan) if large else compile(content, plan)
            held.template = template
        if template.static:
            octets = content
        else:
            person = self.person(held, job.recipient)
            try:
                large = len(content) > _INLINE_OCTETS
                octets = await asyncio.to_thread(template.fill, person) if large else template.fill(person)
            except Unfillable as error:
                raise Uncomposable(str(error)) from None
        finished = self._finished(held, octets)
        return finished if isinstance(finished, tuple) else await finished

    def _is_verp(self, message: StoredMessage) -> bool:
        return bool(self.verp and message.flags & Flag.VERP and self._domains.name_of(message.domain_id))

    def needs(self, held: Held) -> bool:
        """The message is composed for each recipient."""
        flags = held.message.flags
        if flags & Flag.COMPOSE:
            return True
        if not flags & Flag.TRACK:
            return False
        wanted, options = self._domains.tracking(held.message.domain_id), held.options
        if options is None:
            return wanted.wanted
        opens = wanted.opens if options.track_opens is None else options.track_opens
        clicks = wanted.clicks if options.track_clicks is None else options.track_clicks
        return opens or clicks is not Clicks.NO or wanted.list_unsubscribe

    def plan(self, held: Held) -> Plan:
        options = held.options or _NO_OPTIONS
        through_list = options.list_number > 0
        wanted = self._domains.tracking(held.message.domain_id)
        tracked = bool(held.message.flags & Flag.TRACK and wanted.web_url)
        opens = wanted.opens if options.track_opens is None else options.track_opens
        clicks = wanted.clicks if options.track_clicks is None else options.track_clicks
        top = wanted.pixel_top if options.pixel_top is None else options.pixel_top
        return Plan(
            opens=opens and tracked,
            clicks=clicks if tracked else Clicks.NO,
            pixel_top=top,
            footer_html=wanted.footer_html,
            footer_text=wanted.footer_text,
            batch=options.batch,
            via_list=through_list,
            user_variables=options.variables if options.batch or through_list else {},
            list_unsubscribe=wanted.list_unsubscribe or through_list,
            own=wanted.web_url,
        )

    def person(self, held: Held, recipient: StoredRecipient) -> Person:
        own = personal_from(recipient.personal)
        variables = {**(held.options.shared_variables if held.options else {}), **(own.variables or {})}
        links = _PersonLinks(self._tokens, recipient, self._domains.name_of(recipient.domain_id), self._base(held))
        return Person(own.to or recipient.address, own.name, variables, "", links)

    def _base(self, held: Held) -> str:
        return self._domains.tracking(held.message.domain_id).web_url


class _PersonLinks:
    """The links of one recipient."""

    def __init__(self, tokens: Tokens, recipient: StoredRecipient, domain: str, base: str) -> None:
        self._tokens, self._id, self._domain, self._base = tokens, recipient.id, domain, base
        self._click = tokens.clicks(recipient.id)

    def open_url(self) -> str:
        return f"{self._base}{PATHS[Purpose.OPEN]}{self._tokens.link(Purpose.OPEN, self._id)}"

    def click_url(self, target: str) -> str:
        return f"{self._base}{PATHS[Purpose.CLICK]}{self._click(target)}"

    def unsubscribe_url(self) -> str:
        return f"{self._base}{PATHS[Purpose.UNSUBSCRIBE]}{self._tokens.link(Purpose.UNSUBSCRIBE, self._id)}"

    def tag_unsubscribe_url(self) -> str:
        return f"{self._base}{PATHS[Purpose.UNSUBSCRIBE_TAGS]}{self._tokens.link(Purpose.UNSUBSCRIBE_TAGS, self._id)}"

    def mailing_list_unsubscribe_url(self) -> str:
        return f"{self._base}{PATHS[Purpose.UNSUBSCRIBE_LIST]}{self._tokens.link(Purpose.UNSUBSCRIBE_LIST, self._id)}"

    def unsubscribe_email(self) -> str:
        return f"{self._tokens.local_part(Purpose.LEAVE, self._id)}@{self._domain}"
