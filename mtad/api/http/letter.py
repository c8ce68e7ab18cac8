"""Letter: the parameters of a send -> who gets it, what is asked for beside it, and its header.

Room: api. Pure. May import: mail, message. Values are read by message.values, as control headers are over SMTP; here
what cannot be read is refused, where a program can be told so.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mtad.api.http.answers import BadRequest
from mtad.api.http.params import Mailbox, Params, mailboxes, missing
from mtad.mail.address import Address
from mtad.mail.options import Clicks, Options, Variables
from mtad.message import fields
from mtad.message.values import (
    MAX_JSON,
    BadValue,
    parse_bool,
    parse_campaigns,
    parse_clicks,
    parse_deliver_at,
    parse_name,
    parse_object,
    parse_recipient_variables,
    parse_tags,
)

T = TypeVar("T")

MAX_RECIPIENTS = 1000
IDEMPOTENCY = "x-idempotency-key"

# Fields of which a message has one (RFC 5322 §3.6), and those that readers expect once.
_SINGLE = frozenset(
    (
        *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"),
        *("return-path", "list-unsubscribe", "list-unsubscribe-post", "list-id", "precedence", "x-priority"),
    )
)
_ADDRESSED = frozenset(["from", "sender", "reply-to", "to", "cc", "disposition-notification-to", "errors-to"])
_IDENTIFIERS = frozenset(["in-reply-to", "references", "date", "list-unsubscribe", "list-unsubscribe-post"])
_OURS = re.compile(r"mime-version|content-(?!id)|bcc\Z|resent-bcc\Z|received\Z|dkim-signature\Z|" + IDEMPOTENCY)
_FIELD_NAME = re.compile(r"[!-9;-~]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class People:
    """Every recipient once, those of To first."""

    to: Sequence[Mailbox]
    cc: Sequence[Mailbox]
    bcc: Sequence[Mailbox]
    recipients: list[Address]


def read_people(params: Params, names: Sequence[str] = ("to", "cc", "bcc")) -> People:
    """Raises BadRequest."""
    lists = [_list(params, name) for name in names]
    if not lists[0]:
        raise missing("to")
    unique = {one.address.key: one.address for some in reversed(lists) for one in reversed(some)}
    ordered = {one.address.key: None for some in lists for one in some}
    if len(unique) > MAX_RECIPIENTS:
        raise BadRequest(f"more than {MAX_RECIPIENTS} recipients")
    to, cc, bcc = (*lists, [], [])[:3]
    return People(to, cc, bcc, [unique[key] for key in ordered])


def _list(params: Params, name: str) -> list[Mailbox]:
    found: dict[str, Mailbox] = {}
    for text in params.all(name):
        for one in mailboxes(name, text):
            found.setdefault(one.address.key, one)
        if len(found) > MAX_RECIPIENTS:
            raise BadRequest(f"more than {MAX_RECIPIENTS} recipients")
    return list(found.values())


def check_size(params: Params, most: int) -> None:
    """most: octets of the names and values of all options together; 0: any number."""
    if (
        most
        and sum(
            len(name) + len(value.encode("utf-8", "surrogatepass"))
            for name, value in params
            if name[1:2] == ":" and name[0] in "ohvt"
        )
        > most
    ):
        raise BadRequest(f"options are larger than {most // 1024} kB")


def read_options(params: Params, now: float, max_schedule_s: float) -> Options:
    """What `o:`, `v:`, `t:` and recipient-variables say. Raises BadRequest. now: epoch seconds."""
    both = _flag_or_clicks(params, "o:tracking")
    opens = _flag(params, "o:tracking-opens")
    clicks = _flag_or_clicks(params, "o:tracking-clicks")
    return Options(
        tags=_several(params, "o:tag", parse_tags),
        campaigns=_several(params, "o:campaign", parse_campaigns),
        dkim=_flag(params, "o:dkim"),
        test_mode=_flag(params, "o:testmode") or False,
        deliver_at=_value(params, "o:deliverytime", lambda text: parse_deliver_at(text, now, max_schedule_s)),
        track_opens=opens if opens is not None else None if both is None else both is not Clicks.NO,
        track_clicks=both if clicks is None else clicks,
        pixel_top=_lenient(params, "o:tracking-pixel-location-top"),
        require_tls=_flag(params, "o:require-tls"),
        skip_verification=_flag(params, "o:skip-verification"),
        template=_value(params, "template", parse_name) or _header(params, "template-name", parse_name) or "",
        template_version=_value(params, "t:version", parse_name)
        or _header(params, "template-version", parse_name)
        or "",
        template_variables=_value(params, "t:variables", parse_object)
        or _header(params, "template-variables", parse_object)
        or {},
        variables={**_header_variables(params), **_own_variables(params)},
        recipient_variables=_batch(params),
    )


def _header_variables(params: Params) -> Variables:
    """Members of X-Mailgun-Variables keep their JSON types."""
    whole: Variables = {}
    for name, text in params.starting("h:"):
        if name.lower() == "x-mailgun-variables" and text.strip():
            try:
                whole.update(parse_object(text))
            except BadValue as error:
                raise BadRequest(f"h:{name} {error}") from None
    return whole


def _own_variables(params: Params) -> Variables:
    """`v:` values are texts, as sent. Raises BadRequest when they are more than a message may hold."""
    found: Variables = {name: text for name, text in params.starting("v:") if name}
    if sum(len(name) + len(text) for name, text in found.items()) > MAX_JSON:
        raise BadRequest(f"v: parameters are larger than {MAX_JSON // 1024} KiB together")
    return found


def _batch(params: Params) -> dict[str, Variables] | None:
    text = params.text("recipient-variables")
    if text is None or not text.strip():
        return None
    try:
        return parse_recipient_variables(text)
    except BadValue as error:
        wrong = str(error)
        said = wrong if wrong.startswith("has more") or "larger" in wrong else "is not a JSON object of objects"
        raise BadRequest(f"recipient-variables {said}") from None


def _value(params: Params, name: str, parse: Callable[[str], T]) -> T | None:
    """None: not said, or blank."""
    text = params.text(name)
    if text is None or not text.strip():
        return None
    try:
        return parse(text)
    except BadValue as error:
        raise BadRequest(f"{name} {error}") from None


def _header(params: Params, name: str, parse: Callable[[str], T]) -> T | None:
    """The control header X-Mailgun-<name> where it is a parameter: what is needed before the queue reads it."""
    texts = [text for one, text in params.starting("h:") if one.lower() == f"x-mailgun-{name}" and text.strip()]
    try:
        return parse(texts[-1]) if texts else None
    except BadValue as error:
        raise BadRequest(f"h:X-Mailgun-{name.title()} {error}") from None


def _flag(params: Params, name: str) -> bool | None:
    return _value(params, name, lambda text: parse_bool(text, form=True))


def _flag_or_clicks(params: Params, name: str) -> Clicks | None:
    """yes, no and htmlonly, and all words of a flag."""

    def parse(text: str) -> Clicks:
        try:
            return Clicks.YES if parse_bool(text, form=True) else Clicks.NO
        except BadValue:
            return parse_clicks(text)

    return _value(params, name, parse)


def _lenient(params: Params, name: str) -> bool | None:
    try:
        return _flag(params, name)
    except BadRequest:
        return None


def _several(params: Params, name: str, parse: Callable[[Iterable[str]], tuple[str, ...]]) -> tuple[str, ...]:
    try:
        return parse([text for text in params.all(name) if text.strip()])
    except BadValue as error:
        raise BadRequest(f"{name} {error}") from None


@dataclass(frozen=True, slots=True)
class Given:
    """Fields the caller set with `h:`. fields: whole, with line ends. names: lower case. message_id: without
    brackets, "" when none was set.
    """

    fields: Sequence[bytes]
    names: frozenset[str]
    message_id: str

    @property
    def replaced(self) -> frozenset[bytes]:
        """Fields of a MIME message that these take the place of; the others stand beside them."""
        return frozenset(name.encode("ascii") for name in self.names & _SINGLE)


def read_header(pairs: Iterable[tuple[str, str]]) -> Given:
    """pairs: names without "h:", texts. Raises BadRequest, and Unfillable when a field fits on no line."""
    singles: dict[str, bytes] = {}
    others: list[bytes] = []
    message_id, names = "", set()
    for name, text in pairs:
        if not name.isascii():
            raise BadRequest(f"header name is not ASCII: {name[:100]}")
        if not _FIELD_NAME.fullmatch(name):
            raise BadRequest(f"header name is not valid: {name[:100]}")
        lower = name.lower()
        if _OURS.match(lower) or lower == "x-mailgun-variables":
            continue
        names.add(lower)
        if lower == "message-id":
            message_id = fields.clean(text).strip().strip("<>").strip()
        written = _field(name, lower, text)
        if lower in _SINGLE:
            singles[lower] = written
        else:
            others.append(written)
    if "message-id" in names and not message_id:
        names.discard("message-id")
        del singles["message-id"]
    return Given([*singles.values(), *others], frozenset(names), message_id)


def _field(name: str, lower: str, text: str) -> bytes:
    shown = name.encode("ascii")
    if lower == "message-id":
        return fields.identifiers(shown, "<" + fields.clean(text).strip().strip("<>").strip() + ">")
    if lower in _ADDRESSED:
        entries = [fields.mailbox(fields.display(one.phrase), one.address, True) for one in fields.entries(text)]
        if entries and None not in entries:
            return fields.addresses(shown, [one for one in entries if one is not None])
    if lower in _IDENTIFIERS:
        return fields.identifiers(shown, text)
    return fields.unstructured(shown, text)


def address_field(name: bytes, people: Sequence[Mailbox]) -> bytes:
    """ "To: Bob <bob@example.org>, …", whole. Raises Unfillable."""
    written = [fields.mailbox(one.phrase, str(one.address), True) for one in people]
    return fields.addresses(name, [one for one in written if one is not None])
