"""Payload: an event -> what is posted of it: form fields for the older ids, JSON for the newer ones; and the signature.

Room: webhooks. Pure: time and token are told. May import: mail, storage. Source: the webhook tables of the HTTP API
(docs/webhooks.rst); RFC 7578 for multipart/form-data.
"""

import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from mtad.mail.event import Event, EventType
from mtad.storage.outbox import Content
from mtad.webhooks.event_json import (
    campaigns_of,
    client_of,
    event_json,
    geolocation_of,
    message_id_of,
    tags_of,
)
from mtad.webhooks.kinds import Kind, is_refused
from mtad.webhooks.personal import headers_of, variables_of

Fields = list[tuple[str, str]]

FORM = "application/x-www-form-urlencoded; charset=utf-8"
JSON = "application/json"
_WORDS = {
    Kind.DELIVER: "delivered",
    Kind.BOUNCE: "bounced",
    Kind.DROP: "dropped",
    Kind.SPAM: "complained",
    Kind.UNSUBSCRIBE: "unsubscribed",
    Kind.CLICK: "clicked",
    Kind.OPEN: "opened",
}
_ENGAGED = frozenset((Kind.UNSUBSCRIBE, Kind.CLICK, Kind.OPEN))
_WITH_FILES = frozenset((Kind.BOUNCE, Kind.DROP, Kind.SPAM))
_TAG_FIELD = {Kind.DELIVER: "X-Mailgun-Tag", Kind.DROP: "X-Mailgun-Tag"}
_SAME_REASON = frozenset(("espblock", "old", "suppress-bounce", "suppress-unsubscribe", "suppress-complaint"))
_VARIABLES = "X-Mailgun-Variables"
_FIELD = re.compile(rb"([!-9;-~]{1,998})[ \t]*:((?:[^\r\n]*)(?:\r?\n[ \t][^\r\n]*)*)(?:\r?\n|\Z)")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(?:; charset=[\w.:+-]{1,60})?", re.ASCII)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
# What no recipient sees, though the sender's header had it.
_NOT_SENT = re.compile(
    rb"bcc|resent-bcc|return-path|x-mailgun-(?:tag|campaign-id|dkim|deliver-by|deliver-within|drop-message|track"
    rb"|track-clicks|track-opens|variables|recipient-variables|require-tls|skip-verification|template-name"
    rb"|template-version|template-variables|track(?:ing)?-pixel-location-top|delivery-time-optimize-period"
    rb"|time-zone-localize|sending-ip|sending-ip-pool|archive-to|suppress-headers|secondary-dkim"
    rb"|secondary-dkim-public|native-send)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """timestamp: epoch seconds, whole. token: 50 hexadecimal digits, new for each post."""

    timestamp: int
    token: str
    signature: str


@dataclass(frozen=True, slots=True)
class Body:
    """content: what goes out. kept: of it what the ledger shows, without files."""

    content_type: str
    content: bytes
    kept: bytes


def stamp(key: str, timestamp: int, token: str) -> Stamp:
    """HMAC-SHA256 of the timestamp's digits and the token behind them."""
    return Stamp(timestamp, token, hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex())


def body_of(kind: Kind, content: Content, mark: Stamp) -> Body:
    """One post of an event to a webhook of that id."""
    return form_body(kind, content, mark) if kind.is_form else json_body(content.event, mark)


def json_body(event: Event, mark: Stamp) -> Body:
    signature = {"timestamp": str(mark.timestamp), "token": mark.token, "signature": mark.signature}
    octets = orjson.dumps({"signature": signature, "event-data": event_json(event)})
    return Body(JSON, octets, octets)


def form_body(kind: Kind, content: Content, mark: Stamp) -> Body:
    """The event's fields, then the sender's own, then the signature: the last of a name is the one to be trusted."""
    files = content.files if kind in _WITH_FILES else ()
    fields = [*event_fields(kind, content)]
    if files:
        fields.append(("attachment-count", str(len(files))))
    tail = [
        *_custom(content.event),
        ("timestamp", str(mark.timestamp)),
        ("token", mark.token),
        ("signature", mark.signature),
    ]
    plain = urlencode([*fields, *tail]).encode()
    if not files:
        return Body(FORM, plain, plain)
    boundary = f"mtad-{mark.token}"  # nobody who wrote a field or a file could know the token
    parts = [part(boundary, name, value) for name, value in fields]
    for place, file in enumerate(files, 1):
        about = f'; filename="{quoted(file.name or f"attachment-{place}")}"'
        parts.append(part(boundary, f"attachment-{place}", file.content, about, media_type(file.type)))
    parts += [part(boundary, name, value) for name, value in tail]
    whole = b"".join((*parts, f"--{boundary}--\r\n".encode()))
    return Body(f"multipart/form-data; boundary={boundary}", whole, plain)


def event_fields(kind: Kind, content: Content) -> Iterator[tuple[str, str]]:
    """What is posted of the event itself, in the order of the table. Nothing that is not in it: receivers take an
    unknown field for custom data."""
    event = content.event
    yield "event", _WORDS[kind]
    yield "recipient", event.recipient
    yield "domain", event.domain
    if kind in _ENGAGED:
        yield "message-id", message_id_of(event)
        yield from _engagement(kind, event)
    else:
        yield from _headers(content)
        yield from _outcome(kind, event)
    for id, name in campaigns_of(event):
        yield "campaign-id", id
        yield "campaign-name", name
    tags = list(event.options.tags) if kind is Kind.UNSUBSCRIBE and event.options else tags_of(event)
    for tag in tags:
        yield _TAG_FIELD.get(kind, "tag"), tag
    address = (event.detail.get("mailing-list") or event.about.get("mailing-list") or {}).get("address")
    if address:
        yield "mailing-list", str(address)


def _headers(content: Content) -> Iterator[tuple[str, str]]:
    pairs = header_pairs(content)
    yield "message-headers", orjson.dumps(pairs).decode()
    yield "Message-Id", f"<{message_id_of(content.event)}>"
    sid = next((value for name, value in pairs if name.lower() == "x-mailgun-sid"), "")
    if sid:
        yield "X-Mailgun-Sid", sid


def header_pairs(content: Content) -> list[list[str]]:
    """[name, value] of the header as sent: from the octets where they were kept, else from what is known of them."""
    event = content.event
    if content.header is not None:
        pairs = [
            [name.decode("ascii"), _FOLD.sub(b"", value).strip().decode("utf-8", "replace")]
            for name, value in _FIELD.findall(content.header)
            if not _NOT_SENT.fullmatch(name)
        ]
        if not any(name.lower() == "message-id" for name, _ in pairs):
            pairs.append(["Message-Id", f"<{message_id_of(event)}>"])
    else:
        known = {**headers_of(event), "date": str(event.about.get("date") or "")}
        pairs = [[name, known[name.lower()]] for name in ("From", "To", "Subject", "Date") if known[name.lower()]]
        pairs.append(["Message-Id", f"<{message_id_of(event)}>"])
    variables = variables_of(event)
    if variables:
        pairs.append([_VARIABLES, orjson.dumps(variables).decode()])
    return pairs


def _outcome(kind: Kind, event: Event) -> Iterator[tuple[str, str]]:
    status = event.detail.get("delivery-status") or {}
    code, said, ours = status.get("code") or 0, str(status.get("message") or ""), str(status.get("description") or "")
    if kind is Kind.BOUNCE:
        yield "code", str(status.get("enhanced-code") or code)
        yield "error", said or ours
        longer = str(event.detail.get("notification") or (ours if said else ""))
        if longer:
            yield "notification", longer
    elif kind is Kind.DROP:
        yield "reason", drop_reason(event)
        if code:
            yield "code", str(code)
        yield "description", ours or said


def drop_reason(event: Event) -> str:
    reason = str(event.detail.get("reason") or "")
    # "bounce": it will never be taken, which also DNS may have said, or a rule of ours about a 4xx.
    if reason == "bounce" or (is_refused(event) and reason != "espblock"):
        return "hardfail"
    return reason if reason in _SAME_REASON else "generic"


def _engagement(kind: Kind, event: Event) -> Iterator[tuple[str, str]]:
    yield "ip", str(event.detail.get("ip") or "")
    for name, value in geolocation_of(event).items():
        yield name, "unknown" if value == "Unknown" else value
    client = client_of(event)
    for name in ("user-agent", "device-type", "client-type", "client-name", "client-os"):
        yield name, client[name]
    if kind is Kind.CLICK:
        yield "url", str(event.detail.get("url") or "")


def _custom(event: Event) -> Iterator[tuple[str, str]]:
    """Texts as they are, everything else as JSON. message-headers is read whole by receivers, so it stays ours."""
    for name, value in variables_of(event).items():
        if name != "message-headers":
            yield name, value if isinstance(value, str) else orjson.dumps(value).decode()


def part(boundary: str, name: str, value: str | bytes, more: str = "", kind: str = "") -> bytes:
    """One part of multipart/form-data. more: parameters behind the name, quoted. kind: a media type, "" none."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{quoted(name)}"{more}\r\n'
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return b"".join((head.encode(), b"\r\n", value if isinstance(value, bytes) else value.encode(), b"\r\n"))


def quoted(text: str) -> str:
    """RFC 7578 §2 and the practice of browsers: these three would end the parameter or the line."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def media_type(text: str) -> str:
    """A media type, its charset where it has one, and nothing else: it was written by a stranger."""
    return text if _MEDIA_TYPE.fullmatch(text) else "application/octet-stream"


def sample_event(kind: Kind, domain: str, number: int, at: float) -> Event:
    """What `mtad webhook test` posts."""
    detail: dict[str, Any] = {}
    client = {
        "client-type": "browser",
        "client-os": "Linux",
        "device-type": "desktop",
        "client-name": "Firefox",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    }
    status: dict[str, Any] = {"code": 250, "message": "OK", "description": "", "attempt-no": 1, "mx-host": "mx.example"}
    type_ = _SAMPLES[kind]
    if type_ in (EventType.OPENED, EventType.CLICKED, EventType.UNSUBSCRIBED):
        detail = {"ip": "192.0.2.1", "client-info": client, "url": "https://www.example.com/"}
    elif type_ is EventType.FAILED_TEMPORARY:
        more = {"code": 451, "message": "Try again later", "retry-seconds": 60.0}
        detail = {"reason": "generic", "delivery-status": {**status, **more}}
    elif type_ is EventType.FAILED_PERMANENT:
        more = {"code": 550, "enhanced-code": "5.1.1", "message": "No such user"}
        detail = {"reason": "bounce", "delivery-status": {**status, **more}}
    elif type_ is EventType.DELIVERED:
        detail = {"delivery-status": status}
    about = {
        "message-id": f"sample@{domain}",
        "from": f"Sample <sample@{domain}>",
        "to": "alice@example.com",
        "subject": "A sample event",
        "method": "http",
    }
    return Event(number, type_, at, domain, "", "alice@example.com", f"sample@{domain}", 512, about, detail)


_SAMPLES = {
    Kind.BOUNCE: EventType.FAILED_PERMANENT,
    Kind.DROP: EventType.FAILED_PERMANENT,
    Kind.PERMANENT_FAIL: EventType.FAILED_PERMANENT,
    Kind.TEMPORARY_FAIL: EventType.FAILED_TEMPORARY,
    Kind.DELIVER: EventType.DELIVERED,
    Kind.DELIVERED: EventType.DELIVERED,
    Kind.ACCEPTED: EventType.ACCEPTED,
    Kind.SPAM: EventType.COMPLAINED,
    Kind.COMPLAINED: EventType.COMPLAINED,
    Kind.OPEN: EventType.OPENED,
    Kind.OPENED: EventType.OPENED,
    Kind.CLICK: EventType.CLICKED,
    Kind.CLICKED: EventType.CLICKED,
    Kind.UNSUBSCRIBE: EventType.UNSUBSCRIBED,
    Kind.UNSUBSCRIBED: EventType.UNSUBSCRIBED,
}
