"""Forward: a transport of the queue that posts: what a route sends to a URL goes out like mail, and is retried so.

Room: webhooks. May import: mail, message, storage, delivery. What is in a post is made by others (inbound.posting);
here it is signed anew for each attempt, encoded, and the answer is read as an outcome.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import urlencode, urlsplit

from mtad import log as log_module
from mtad.clock import Clock
from mtad.delivery.mx import MxHost, Route
from mtad.mail.envelope import Transaction
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Outcome, Phase, Reply
from mtad.webhooks.ladder import TAKEN, UNWANTED
from mtad.webhooks.memory import Memory
from mtad.webhooks.payload import FORM, Body, media_type, part, quoted, stamp
from mtad.webhooks.poster import Answer
from mtad.webhooks.targets import BadTarget, Target, parse_target

log = log_module.get("webhooks")

_NO_POSTER = Reply(451, "3.0", "Posts are not sent at present; the daemon is starting or stopping")
_GONE = Reply(554, "6.0", "The bytes of the message are not in the store any more")
_NO_ANSWER = 499  # a code no server sends
_INLINE = 65_536  # octets of a form that is made on the loop
_GROWS = 125  # percent: about what a message becomes as a form
_FIELD_OCTETS = 200  # what a field costs beside its value


class Text(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...


@runtime_checkable
class File(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def file_name(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def content(self) -> bytes: ...


Field = Text | File
# (the message, the recipient it came for, the reverse-path, what is stored with the copy) -> the fields in order
FieldsOf = Callable[[bytes, str, str, bytes | None], Awaitable[Sequence[Field]]]


class Posting(Protocol):
    async def post(self, target: Target, body: Body) -> Answer: ...


class WebTransport:
    """poster: set while the daemon runs. signing_key: the account's, as it is now. token: 50 random hex digits."""

    fixed_key: str | None = None

    def __init__(
        self, *, fields_of: FieldsOf, signing_key: Callable[[], str], token: Callable[[], str], clock: Clock
    ) -> None:
        self._fields_of, self._signing_key, self._token, self._clock = fields_of, signing_key, token, clock
        self.poster: Posting | None = None
        self.memory = Memory()

    def known(self, domain: str) -> Route | None:
        """domain: the whole URL. None: it is none that can be posted to, and route() says why."""
        try:
            target = parse_target(domain)
        except BadTarget:
            return None
        parts = urlsplit(target.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return Route(target.place, (MxHost(parts.hostname or "", 0),), port, web=True)

    async def route(self, domain: str) -> Route | Deferred | Failed:
        found = self.known(domain)
        if found is not None:
            return found
        try:
            parse_target(domain)
        except BadTarget as error:
            return Failed(Reply(554, "", str(error)), None, Phase.LOCAL)
        raise AssertionError("a good URL has a route")

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> "WebSession | Deferred | Failed":
        if self.poster is None:
            return Deferred(_NO_POSTER, None, Phase.LOCAL)
        return WebSession(self, self.poster, route.domain)

    async def body(self, tx: Transaction, content: bytes) -> Body:
        """Signed anew: receivers refuse old timestamps and tokens they have seen."""
        recipient = tx.orcpt[0].partition(";")[2] if tx.orcpt else ""
        personal = tx.personal[0] if tx.personal else None
        fields = await self._fields_of(content, recipient, tx.reverse_path, personal)
        mark = stamp(self._signing_key(), int(self._clock.now()), self._token())
        signed = [("timestamp", str(mark.timestamp)), ("token", mark.token), ("signature", mark.signature)]
        return await asyncio.to_thread(form_of, fields, signed) if _is_large(fields) else form_of(fields, signed)


def _is_large(fields: Sequence[Field]) -> bool:
    """To be encoded in a thread: a megabyte takes 70 ms, and a field with a short value some microseconds."""
    return sum([_FIELD_OCTETS + len(one.content if isinstance(one, File) else one.value) for one in fields]) > _INLINE


def form_of(fields: Sequence[Field], tail: Sequence[tuple[str, str]]) -> Body:
    """urlencoded, or multipart where there is a file."""
    if not any(isinstance(one, File) for one in fields):
        plain = urlencode([*((one.name, one.value) for one in fields if not isinstance(one, File)), *tail]).encode()
        return Body(FORM, plain, plain)
    boundary = f"mtad-{tail[1][1]}"  # nobody who wrote a field or a file could know the token
    parts = []
    for one in fields:
        if isinstance(one, File):
            about = f'; filename="{quoted(one.file_name or one.name)}"'
            parts.append(part(boundary, one.name, one.content, about, media_type(one.content_type)))
        else:
            parts.append(part(boundary, one.name, one.value))
    parts += [part(boundary, name, value) for name, value in tail]
    return Body(f"multipart/form-data; boundary={boundary}", b"".join((*parts, f"--{boundary}--\r\n".encode())), b"")


class WebSession:
    """Posts one after the other: connections are the poster's."""

    stale = False
    alive = True

    def __init__(self, transport: WebTransport, poster: Posting, place: str) -> None:
        self._transport, self._poster = transport, poster
        self.sent = 0
        self.hop = Hop(place, "", web=True)

    async def send(self, tx: Transaction) -> list[Outcome]:
        self.sent += 1
        return [await self._posted(url, tx) for url in tx.recipients]

    async def _posted(self, url: str, tx: Transaction) -> Outcome:
        try:
            target = parse_target(url)
        except BadTarget as error:
            return Failed(Reply(554, "", str(error)), None, Phase.LOCAL)
        memory = self._transport.memory
        async with memory.room(tx.size * _GROWS // 100, target.place) as room:
            async with memory.making(tx.size):
                body = await self._made(tx)
            if not isinstance(body, Body):
                return body
            if room.octets:
                memory.resize(room, len(body.content))
            answer = await self._poster.post(target, body)
        return self._outcome(answer)

    async def _made(self, tx: Transaction) -> Body | Deferred | Failed:
        try:
            content = b"".join(tx.chunks) if tx.read is None else await tx.read()
            if content is None:
                return Failed(_GONE, None, Phase.LOCAL)
            return await self._transport.body(tx, content)
        except Exception as error:  # a fault of ours, which may be mended before the message is given up
            log.exception("post-not-made", place=self.hop.host)
            words = f"The post could not be made ({type(error).__name__}); the log has the details"
            return Deferred(Reply(451, "3.0", words), None, Phase.LOCAL)

    def close(self) -> None:
        """Nothing is held open here."""

    def _outcome(self, answer: Answer) -> Outcome:
        if answer.status is None:
            words = f"{self.hop.host} gave no answer: {answer.error}"
            return Deferred(Reply(_NO_ANSWER, "", words), None, Phase.HTTP, answer.took_s)
        reply = Reply(min(max(answer.status, 200), 599), "", f"HTTP {answer.status}")
        if answer.status in TAKEN:
            return Delivered(reply, self.hop, answer.took_s)
        if answer.status == UNWANTED:
            return Failed(reply, self.hop, Phase.HTTP, answer.took_s)
        return Deferred(reply, self.hop, Phase.HTTP, answer.took_s)
