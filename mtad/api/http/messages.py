"""Messages: POST /<domain>/messages and /<domain>/messages.mime.

Room: api. May import: mail, message, queue. 200 means: on disk, and ours to deliver.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import orjson

from mtad import log as log_module
from mtad.api.http.answers import Answer, BadRequest, Forbidden, TooLarge, answer
from mtad.api.http.call import Call, Needs, Param, Row
from mtad.api.http.idempotency import Claim, Idempotency
from mtad.api.http.letter import (
    IDEMPOTENCY,
    Given,
    People,
    address_field,
    check_size,
    read_header,
    read_options,
    read_people,
)
from mtad.api.http.params import Params, mailboxes, missing
from mtad.api.templated import with_texts
from mtad.mail.address import Address
from mtad.mail.envelope import AttachedFile, Submission
from mtad.mail.options import Options, Variables
from mtad.message import fields
from mtad.message.build import MAX_FILENAME, File, Letter, build, media_type
from mtad.message.control import has_control, read_control
from mtad.message.files import files_of
from mtad.message.headers import scan
from mtad.storage.accounts import DomainRow

log = log_module.get("api")

_QUEUED = "Queued. Thank you."
_LARGE = 262_144  # octets: a message that takes longer than some milliseconds is built beside the loop
_LINE_END = re.compile(rb"\r\n?|\n")

Submitting = Callable[[Submission], "asyncio.Future[int]"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A template with its variables filled in. text: "" when none was asked for. headers: From, Subject, Reply-To of
    the template; what the caller says himself goes before.
    """

    html: str
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Rendering(Protocol):
    async def __call__(self, domain: DomainRow, name: str, version: str, variables: Variables, text: bool) -> Rendered:
        """version "": the active one. text: a text part is wanted too. Raises NotFound and BadRequest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """message: octets of a finished one. options: octets of o:, h:, v: and t: together, 0 any number."""

    message: int = 26_214_400
    options: int = 16_384
    schedule_s: float = 3 * 86_400


@dataclass(frozen=True, slots=True)
class _Order:
    """One request, read: what is left is to build the message and hand it over."""

    people: People
    options: Options
    given: Given
    smtputf8: bool


_ADDRESSES = "addresses, with names if you like, in several values or with commas between"
_COMMON = (
    Param("o:tag", "at most 3", many=True),
    Param("o:campaign", "id of a campaign, at most 3", many=True),
    Param("o:dkim", "sign or not", "boolean"),
    Param("o:deliverytime", "RFC 2822 date or Unix seconds"),
    Param("o:testmode", "accept, and do not send", "boolean"),
    Param("o:tracking", "of clicks and opens", "boolean"),
    Param("o:tracking-clicks", "yes, no or htmlonly"),
    Param("o:tracking-opens", "", "boolean"),
    Param("o:tracking-pixel-location-top", "", "boolean"),
    Param("o:require-tls", "", "boolean"),
    Param("o:skip-verification", "", "boolean"),
    Param("recipient-variables", "JSON: an object by address; each recipient gets a message of his own", "object"),
    Param("template", "name of a template"),
    Param("t:version", "of the template"),
    Param("t:text", "make a text part too", "boolean"),
    Param("t:variables", "JSON for the template", "object"),
)
_MESSAGE = (
    Param("from", "address, with a name if you like", required=True, many=True),
    Param("to", _ADDRESSES, required=True, many=True),
    Param("cc", _ADDRESSES, many=True),
    Param("bcc", _ADDRESSES, many=True),
    Param("subject"),
    Param("text", "at least one of text, html, amp-html and template is needed"),
    Param("html"),
    Param("amp-html"),
    Param("attachment", "", "file", many=True),
    Param("inline", 'shown where the html says "cid:" and the name of the file', "file", many=True),
    *_COMMON,
)
_MIME = (
    Param("to", _ADDRESSES, required=True, many=True),
    Param("message", "a whole MIME message", "file", required=True),
    *_COMMON,
)


class Messages:
    """submit: queue.submit. render: None: no templates. mark: fresh random ASCII, 20 characters or more."""

    def __init__(
        self,
        *,
        submit: Submitting,
        idempotency: Idempotency,
        mark: Callable[[], str],
        render: Rendering | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._submit, self._idempotency, self._mark, self._render = submit, idempotency, mark, render
        self._limits = limits or Limits()

    def rows(self) -> Sequence[Row]:
        row = partial(Row, method="POST", chapter="Messages", needs=Needs.SENDING)
        return (
            row(path="/{domain}/messages", handler=self.send, about="Send a message", params=_MESSAGE),
            row(path="/{domain}/messages.mime", handler=self.send_mime, about="Send a MIME message", params=_MIME),
        )

    async def send(self, call: Call) -> Answer:
        return await self._once(call, self._letter)

    async def send_mime(self, call: Call) -> Answer:
        return await self._once(call, self._mime)

    async def _once(self, call: Call, make: "Callable[[Call], Any]") -> Answer:
        if call.domain.is_disabled:
            raise Forbidden(f"Domain {call.domain.name} is not allowed to send: it was disabled")
        key = _idempotency_key(call)
        if not key:
            return await self._queue(call, await make(call), None)
        async with self._idempotency.claim(call.domain.id, key) as claim:
            if claim.first is not None:
                return Answer(claim.first)
            return await self._queue(call, await make(call), claim)

    async def _queue(self, call: Call, submission: Submission, claim: Claim | None) -> Answer:
        if len(submission.content) > self._limits.message:
            raise TooLarge(f"The message is larger than {self._limits.message // 1_048_576} MiB")
        future = self._submit(submission)
        submission.content = b""  # the queue has made its own of it, which may be tens of megabytes
        result = answer({"id": f"<{submission.message_id}>", "message": _QUEUED})
        if claim is not None:
            claim.answered(submission.number, result.body, call.now)
        await future
        return result

    # --- messages ---

    async def _letter(self, call: Call) -> Submission:
        params = call.params
        sender = [one for text in params.all("from") for one in mailboxes("from", text)]
        if not sender:
            raise missing("from")
        order = self._order(call, ("to", "cc", "bcc"))
        texts = await self._texts(call, order.options)
        files = {name: [_file(one) for one in call.files if one.name == name and one.filename] for name in _FILES}
        header = self._header(order, sender, texts)
        letter = Letter(
            header=header,
            text=texts.text,
            html=texts.html,
            amp=params.text("amp-html"),
            inline=files["inline"],
            attached=files["attachment"],
            mark=self._mark(),
        )
        content = await _built(letter)
        told = tuple([_told(one) for name in ("inline", "attachment") for one in files[name]])
        return self._submission(call, order, content, sender[0].address, told)

    async def _texts(self, call: Call, options: Options) -> "_Texts":
        params = call.params
        text, html = params.text("text"), params.text("html")
        subject = params.text("subject")
        if options.template:
            if html is not None:
                raise BadRequest("html and template exclude each other")
            rendered = await self._rendered(call, options)
            shown = text if text is not None else rendered.text or None
            headers = {name.lower(): value for name, value in rendered.headers.items()}
            own = headers.pop("subject", None)
            return _Texts(shown, rendered.html, own if subject is None else subject, headers)
        if text is None and html is None and "amp-html" not in params:
            raise BadRequest("text, html or template is needed")
        return _Texts(text, html, subject, {})

    async def _rendered(self, call: Call, options: Options) -> Rendered:
        if self._render is None:
            raise BadRequest("templates are not available")
        variables = options.template_variables or {
            name: _json_or_text(value) for name, value in options.variables.items()
        }
        wants_text = call.params.flag("t:text", False)
        return await self._render(
            call.domain, options.template, options.template_version, variables, wants_text and "text" not in call.params
        )

    def _header(self, order: _Order, sender: Sequence[Any], texts: "_Texts") -> list[bytes]:
        """What the caller sets with h: goes before what is made of the other parameters, and that before a template."""
        given, people = order.given, order.people
        header = []
        if "from" not in given.names:
            header.append(address_field(b"From", sender))
            if len(sender) > 1 and "sender" not in given.names:  # RFC 5322 §3.6.2
                header.append(address_field(b"Sender", sender[:1]))
        for name, some in (("to", people.to), ("cc", people.cc)):
            if some and name not in given.names:
                header.append(address_field(name.capitalize().encode(), some))
        if people.bcc and order.options.batch:
            header.append(address_field(b"Bcc", people.bcc))  # tells the copies apart; taken off before it is stored
        if "subject" not in given.names and texts.subject is not None:
            header.append(fields.unstructured(b"Subject", texts.subject))
        if "reply-to" in texts.headers and "reply-to" not in given.names:
            header += read_header([("Reply-To", texts.headers["reply-to"])]).fields
        return [*header, *given.fields]

    # --- messages.mime ---

    async def _mime(self, call: Call) -> Submission:
        order = self._order(call, ("to",))
        content = _mime_text(call)
        if not content.strip():
            raise missing("message")
        if len(content) > self._limits.message:
            raise TooLarge(f"The message is larger than {self._limits.message // 1_048_576} MiB")
        if b"\0" in content:
            raise BadRequest("message parameter holds a NUL octet")
        content = await asyncio.to_thread(_crlf, content) if len(content) > _LARGE else _crlf(content)
        if order.given.fields:
            block = scan(content)
            kept = block.without(order.given.replaced)
            content = b"".join((*order.given.fields, kept, content[block.end :]))
        content = await self._templated(call, order.options, content)
        block = scan(content)
        files = await asyncio.to_thread(files_of, block) if len(content) > _LARGE else files_of(block)
        return self._submission(call, order, content, Address("postmaster", call.domain.name), files)

    async def _templated(self, call: Call, given: Options, content: bytes) -> bytes:
        """With the texts of the template that the request names, or else the message itself."""
        block = scan(content)
        within = read_control(block, call.now, float("inf")).options if has_control(block) else Options()
        named = given if given.template else within
        if not named.template:
            return content
        rendered = await self._rendered(
            call,
            replace(
                named,
                template_variables=given.template_variables or within.template_variables,
                variables={**within.variables, **given.variables},
            ),
        )
        return await asyncio.to_thread(with_texts, block, rendered.html, rendered.text, rendered.headers, self._mark())

    # --- both ---

    def _order(self, call: Call, names: Sequence[str]) -> _Order:
        params = call.params
        check_size(params, self._limits.options)
        people = read_people(params, names)
        options = read_options(params, call.now, self._limits.schedule_s)
        given = read_header(params.starting("h:"))
        return _Order(people, options, given, any(one.needs_utf8 for one in people.recipients))

    def _submission(
        self, call: Call, order: _Order, content: bytes, sender: Address, files: tuple[AttachedFile, ...]
    ) -> Submission:
        """The envelope sender is the author where he is of the domain itself, and else its postmaster."""
        domain = call.domain.name
        return Submission(
            reverse_path=sender if sender.domain == domain and not sender.needs_utf8 else Address("postmaster", domain),
            recipients=order.people.recipients,
            content=content,
            domain=domain,
            received_at=call.now,
            method="http",
            login=f"key {call.principal.name}",
            bound=call.principal.domain is not None,
            peer=call.peer,
            protocol="HTTP",
            smtputf8=order.smtputf8,
            options=order.options,
            files=files,
        )


_FILES = ("attachment", "inline")


@dataclass(frozen=True, slots=True)
class _Texts:
    text: str | None
    html: str | None
    subject: str | None
    headers: Mapping[str, str]


async def _built(letter: Letter) -> bytes:
    size = sum(len(one.content) for some in (letter.inline, letter.attached) for one in some)
    size += sum(len(one) for one in (letter.text, letter.html, letter.amp) if one)
    return await asyncio.to_thread(build, letter) if size > _LARGE else build(letter)


def _file(upload: Any) -> File:
    return File(upload.filename, upload.content_type, upload.content)


def _told(file: File) -> AttachedFile:
    kind = media_type(file.content_type, file.filename).partition(";")[0]
    return AttachedFile(file.filename[:MAX_FILENAME], kind, len(file.content))


def _mime_text(call: Call) -> bytes:
    """A file part, or a plain field."""
    for upload in call.files:
        if upload.name == "message":
            return upload.content
    return call.params.text("message", "").encode("utf-8")


def _crlf(content: bytes) -> bytes:
    returns, feeds = content.count(b"\r"), content.count(b"\n")
    if returns == feeds == content.count(b"\r\n"):
        return content
    return content.replace(b"\n", b"\r\n") if not returns else _LINE_END.sub(b"\r\n", content)


def _json_or_text(value: Any) -> Any:
    """A `v:` value as a template sees it: what it says when it is JSON, else the text."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _idempotency_key(call: Call) -> str:
    """Of the message's own field, or of the request's."""
    named = [text for name, text in call.params.starting("h:") if name.lower() == IDEMPOTENCY]
    return (named[-1] if named else call.headers.get("Idempotency-Key", "")).strip()


__all__ = ["Limits", "Messages", "Params", "Rendered", "Rendering", "Submitting"]
