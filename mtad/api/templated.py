"""Templated: mail over SMTP that names a stored template gets its text from there, before the queue takes it.

Room: api. May import: mail, message, queue. Over HTTP the same is done by http.messages.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mtad.api.templates import NoTemplate
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply
from mtad.message import fields
from mtad.message.build import File, Letter, build
from mtad.message.control import read_control
from mtad.message.handlebars.letter import Filled
from mtad.message.handlebars.nodes import BadTemplate
from mtad.message.headers import HeaderBlock, scan
from mtad.message.parse import parse
from mtad.message.variables import Unfillable

_NAMED = re.compile(rb"^X-Mailgun-Template-Name[ \t]*:", re.IGNORECASE | re.MULTILINE)
_MIME = (b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"mime-version")


class Taking(Protocol):
    """The way into the queue (queue.submit)."""

    def __call__(self, submission: Submission) -> "asyncio.Future[int]": ...
    def reject(self, submission: Submission, block: HeaderBlock, refusal: Reply) -> None:
        """An event tells of it."""


class Filling(Protocol):
    async def fill(
        self, domain_id: int, name: str, version: str, variables: Mapping[str, Any], *, text: bool = False
    ) -> Filled: ...


class Templated:
    """Call it like queue.submit. id_of: the id of a domain of ours. mark: random ASCII text, 20 characters or more."""

    def __init__(
        self,
        submit: Taking,
        templates: Filling,
        id_of: Callable[[str], int],
        now: Callable[[], float],
        mark: Callable[[], str],
    ) -> None:
        self._submit, self._templates, self._id_of, self._now, self._mark = submit, templates, id_of, now, mark

    def __call__(self, submission: Submission) -> "asyncio.Future[int]":
        block = scan(submission.content)
        if not _NAMED.search(submission.content, 0, block.end):  # nearly all: without taking the header to pieces
            return self._submit(submission)
        return asyncio.ensure_future(self._filled(submission, block))

    async def _filled(self, submission: Submission, block: HeaderBlock) -> int:
        options = read_control(block, self._now(), float("inf")).options
        if not options.template:
            return await self._submit(submission)
        variables = options.template_variables or options.variables
        try:
            filled = await self._templates.fill(
                self._id_of(submission.domain), options.template, options.template_version, variables, text=True
            )
            submission.content = await asyncio.to_thread(
                with_texts, block, filled.html, filled.text, filled.headers, self._mark()
            )
        except (NoTemplate, BadTemplate, Unfillable) as error:
            refusal = Reply(554, "6.0", f"The template cannot be used: {error}"[:500])
            self._submit.reject(submission, block, refusal)
            raise Refused(refusal) from None
        return await self._submit(submission)


def with_texts(block: HeaderBlock, html: str, text: str, headers: Mapping[str, str], mark: str) -> bytes:
    """The message's own header and files, with the texts of a template; of its header fields, those it lacks."""
    own = [raw for name, raw in block.fields if name not in _MIME]
    for name, value in headers.items():
        if name.lower() in ("subject", "reply-to") and name.lower().encode() not in block.by_name:
            own.append(fields.unstructured(name.encode("ascii", "replace"), value))
    files = [File(one.name, one.content_type, one.content) for one in parse(block.content).attachments]
    return build(Letter(header=own, text=text or None, html=html, attached=files, mark=mark))
