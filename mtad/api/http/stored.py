"""Stored messages: mail from the world that a route kept: read, fetched in pieces, sent again, deleted.

Room: api. May import: mail, message, storage, queue, inbound.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from mtad.api.http.answers import Answer, Forbidden, NotFound, answer, said
from mtad.api.http.bodies import Allowance
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.letter import read_people
from mtad.inbound.payload import Letter, attachment_list, content_id_map, letter
from mtad.mail.address import Address
from mtad.mail.envelope import Submission
from mtad.mail.ids import queue_id
from mtad.message.files import files_of
from mtad.message.headers import scan
from mtad.message.parse import Attachment, header_pairs, parse
from mtad.message.postable import postable
from mtad.storage import stored
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing
from mtad.storage.stored import Stored

MEMORY_OCTETS = 134_217_728  # of messages that are read at one time; others wait their turn
GROWTH = 4  # a message, its parts, what is said of them, and the answer
_NOT_FOUND = "Message not found"
_RAW = "message/rfc2822"
_NUMBER = re.compile(r"[0-9]{1,9}")
_UNQUOTED = re.compile(r'[^ -~]|["\\%]')  # what readers of a quoted name take differently
Submit = Callable[[Submission], Awaitable[int]]


class StoredMessages:
    """submit: the queue's own door, for sending a message again. memory: octets, see MEMORY_OCTETS."""

    def __init__(self, database: Database, outgoing: Outgoing, submit: Submit, memory: int = MEMORY_OCTETS) -> None:
        self._database, self._outgoing, self._submit = database, outgoing, submit
        self._allowance = Allowance(memory)

    def rows(self) -> Sequence[Row]:
        row = partial(Row, chapter="Stored messages", versions=(2, 3))
        base = "/domains/{domain}/messages/{key}"
        return (
            row(method="GET", path=base, handler=self.show, about="A stored message, taken to pieces or as it is"),
            row(method="DELETE", path=base, handler=self.delete, about="Delete a stored message"),
            row(
                method="POST",
                path=base,
                handler=self.resend,
                about="Send a stored message again",
                params=(Param("to", "whom to", required=True, many=True),),
            ),
            row(
                method="GET",
                path=base + "/attachments/{number}",
                handler=self.attachment,
                about="One attachment, its octets",
            ),
        )

    async def show(self, call: Call) -> Answer:
        async with self._read(call) as (found, content):
            if _RAW in call.headers.get("Accept", "").lower():
                return answer(await asyncio.to_thread(_raw, found, content))
            url = f"{call.base_url}/v{call.version}/domains/{quote(call.domain.name)}/messages/{quote(found.key)}"
            made = await asyncio.to_thread(lambda: letter(parse(content)))
            return answer(_parsed(found, made, url))

    async def attachment(self, call: Call) -> Answer:
        async with self._read(call) as (_, content):
            parsed = await asyncio.to_thread(parse, content)
        number = call["number"]
        if not _NUMBER.fullmatch(number) or not 1 <= int(number) <= len(parsed.attachments):
            raise NotFound("Attachment not found")
        one: Attachment = parsed.attachments[int(number) - 1]
        headers = {
            "Content-Disposition": f"attachment; {_named(one.name)}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Answer(one.content, 200, one.content_type or "application/octet-stream", headers)

    async def delete(self, call: Call) -> Answer:
        found = await self._find(call)
        removed = await self._database.writer.write(
            lambda connection: stored.remove(connection, self._outgoing, found.key)
        )
        if not removed:
            raise NotFound(_NOT_FOUND)
        return said("Message has been deleted")

    async def resend(self, call: Call) -> Answer:
        """The same message, to others: what we added on its way in stays in it."""
        if call.domain.is_disabled:
            raise Forbidden(f"Domain {call.domain.name} is not allowed to send: it was disabled")
        async with self._read(call) as (_, content):
            recipients = read_people(call.params, ("to",)).recipients
            submission = Submission(
                reverse_path=Address("postmaster", call.domain.name),
                recipients=recipients,
                content=content,
                domain=call.domain.name,
                received_at=call.now,
                method="http",
                login=f"key {call.principal.name}",
                peer=call.peer,
                protocol="HTTP",
                controls=False,
                files=await asyncio.to_thread(files_of, scan(content)),
            )
            number = await self._submit(submission)
            message_id = scan(content).message_id or f"{queue_id(number)}@{call.domain.name}"
            return said("Queued. Thank you.", id=f"<{message_id}>")

    async def _find(self, call: Call) -> Stored:
        key, domain_id = call["key"], call.domain.id
        found = await self._database.read(lambda connection: stored.get(connection, key, domain_id))
        if found is None:
            raise NotFound(_NOT_FOUND)
        return found

    @asynccontextmanager
    async def _read(self, call: Call) -> AsyncIterator[tuple[Stored, bytes]]:
        """The message, once there is room for it and what is made of it."""
        found = await self._find(call)
        async with self._allowance.take(found.size * GROWTH):
            content = await self._database.read(lambda connection: stored.content(connection, self._outgoing, found))
            if content is None:
                raise NotFound(_NOT_FOUND)
            yield found, content


def _named(name: str) -> str:
    """RFC 6266 §4.3: filename for every reader, and filename* before it for those who know it, where it says more."""
    plain = _UNQUOTED.sub("_", name)
    encoded = f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'filename="{plain}"' + (encoded if plain != name else "")


def _about(found: Stored) -> dict[str, Any]:
    recipients = ", ".join(found.recipients)
    return {"recipients": recipients, "recipient": recipients, "sender": found.sender}


def _raw(found: Stored, content: bytes) -> dict[str, Any]:
    headers = dict(reversed(header_pairs(scan(content))))  # the topmost of a name counts
    return {
        **_about(found),
        "from": headers.get("From", ""),
        "subject": headers.get("Subject", ""),
        "body-mime": postable(content),
    }


def _parsed(found: Stored, made: Letter, url: str) -> dict[str, Any]:
    parsed = made.parsed
    place = partial(_attachment_url, url)
    members: dict[str, Any] = dict(reversed(parsed.headers))
    members |= _about(found)
    members |= {
        "from": parsed.header("From"),
        "subject": parsed.subject,
        "body-plain": parsed.plain,
        "stripped-text": made.stripped.text,
        "stripped-signature": made.stripped.signature,
        "attachments": attachment_list(parsed.attachments, place),
        "content-id-map": content_id_map(parsed, place),
        "message-headers": [list(pair) for pair in parsed.headers],
        "message-url": url,
    }
    if parsed.html is not None:
        members["body-html"] = parsed.html
    if made.stripped_html is not None:
        members["stripped-html"] = made.stripped_html
    return members | {f"body-{kind}": text for kind, text in parsed.others}


def _attachment_url(url: str, number: int) -> str:
    return f"{url}/attachments/{number}"
