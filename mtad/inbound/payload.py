"""Payload: a message that came in -> the fields that are posted of it, in their order.

Room: inbound. Pure. May import: message. Three kinds of post: `forwarded`, the message taken to pieces; `raw`, the
message as it is; `stored`, the notice that it can be fetched. Who posts them adds timestamp, token and signature
behind the last field. There is never a field `event`, and `attachments` is in the notice of a stored message alone:
receivers tell the kinds of post apart by them. Header fields begin with a capital, so no name is like one of ours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from mtad.message.headers import scan
from mtad.message.htmltext import html_to_text
from mtad.message.parse import Attachment, Parsed, header_pairs
from mtad.message.postable import postable

if TYPE_CHECKING:
    from mtad.message.quotes import Split


@dataclass(frozen=True, slots=True)
class Text:
    """One field. A name may come again."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class File:
    """One file; a post with one is multipart/form-data."""

    name: str
    file_name: str
    content_type: str
    content: bytes


Field = Text | File


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a stored message is found. attachment_url: number, counted from 1 -> its URL."""

    domain: str
    message_url: str
    attachment_url: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Letter:
    """A parsed message and what was made of it once, whoever it is then posted to.

    stripped: the new text of an answer, and the signature. stripped_html: None when there is no html.
    """

    parsed: Parsed
    stripped: "Split"
    stripped_html: str | None


def letter(parsed: Parsed) -> Letter:
    """What a message says without what it quotes."""
    # With their words of many languages they are half a megabyte, and not all mail comes to be parsed.
    from mtad.message.htmlquotes import split_html
    from mtad.message.quotes import split_text

    if parsed.html is None:
        return Letter(parsed, split_text(parsed.plain, parsed.subject), None)
    html = split_html(parsed.html, parsed.subject)
    plain = parsed.plain
    if parsed.plain_from_html and html != parsed.html:
        plain = html_to_text(html)  # html marks its quotations, and the text that was made of it does not
    return Letter(parsed, split_text(plain, parsed.subject), html)


def forwarded(message: Letter, recipient: str, sender: str) -> Iterator[Field]:
    """recipient, sender: of the envelope, "" for the null path. Attachments are among the fields, in their place."""
    yield from _about(message.parsed, recipient, sender)
    yield from _bodies(message)
    attachments = message.parsed.attachments
    if attachments:
        yield Text("attachment-count", str(len(attachments)))
    for number, one in enumerate(attachments, 1):
        yield File(f"attachment-{number}", one.name, one.content_type, one.content)
    ids = {content_id: f"attachment-{number}" for content_id, number in message.parsed.content_ids.items()}
    if ids:
        yield Text("content-id-map", _json(ids))
    yield from _headers(message.parsed.headers)


def raw(content: bytes, recipient: str, sender: str) -> Iterator[Field]:
    """content: the whole message, with the fields that were added on arrival."""
    headers = header_pairs(scan(content))
    yield Text("recipient", recipient)
    yield Text("sender", sender)
    yield Text("from", _first(headers, "From"))
    yield Text("subject", _first(headers, "Subject"))
    yield Text("body-mime", postable(content))
    yield from _headers(headers)


def stored(message: Letter, recipient: str, sender: str, place: Stored) -> Iterator[Field]:
    """The notice of a stored message: no files, but where they are."""
    yield from _about(message.parsed, recipient, sender)
    yield Text("domain", place.domain)
    yield from _bodies(message)
    attachments = message.parsed.attachments
    if attachments:
        yield Text("attachment-count", str(len(attachments)))
        yield Text("attachments", _json(attachment_list(attachments, place.attachment_url)))
    yield Text("message-url", place.message_url)
    ids = content_id_map(message.parsed, place.attachment_url)
    if ids:
        yield Text("content-id-map", _json(ids))
    yield from _headers(message.parsed.headers)


def attachment_list(attachments: Sequence[Attachment], url: Callable[[int], str]) -> list[dict[str, str | int]]:
    """As the notice and the API tell them."""
    return [_told(one, url(number)) for number, one in enumerate(attachments, 1)]


def content_id_map(parsed: Parsed, url: Callable[[int], str]) -> dict[str, dict[str, str | int]]:
    """Content-ID, with brackets -> the attachment, as in the list."""
    return {
        content_id: _told(parsed.attachments[number - 1], url(number))
        for content_id, number in parsed.content_ids.items()
    }


def _told(one: Attachment, url: str) -> dict[str, str | int]:
    return {"url": url, "content-type": one.content_type, "name": one.name, "size": one.size}


def _about(parsed: Parsed, recipient: str, sender: str) -> Iterator[Text]:
    yield Text("recipient", recipient)
    yield Text("sender", sender)
    yield Text("from", parsed.header("From"))
    yield Text("subject", parsed.subject)


def _bodies(message: Letter) -> Iterator[Text]:
    parsed = message.parsed
    yield Text("body-plain", parsed.plain)
    yield Text("stripped-text", message.stripped.text)
    yield Text("stripped-signature", message.stripped.signature)
    if parsed.html is not None:
        yield Text("body-html", parsed.html)
    if message.stripped_html is not None:
        yield Text("stripped-html", message.stripped_html)
    for kind, text in parsed.others:
        yield Text(f"body-{kind}", text)


def _headers(pairs: Sequence[tuple[str, str]]) -> Iterator[Text]:
    yield Text("message-headers", _json(pairs))
    for name, value in pairs:
        yield Text(name, value)


def _first(pairs: Sequence[tuple[str, str]], name: str) -> str:
    return next((value for one, value in pairs if one == name), "")


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
