"""Actions: what a route does with a message, and where to, with captured text put in.

Room: inbound. Pure. May import: mail. Source: RFC 3986 §2.3 (unreserved characters).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never
from urllib.parse import quote, urlsplit

from mtad.inbound.routes.lexing import BadRoute, Token, Tokens
from mtad.mail.address import BadAddress, parse_address

MAX_DESTINATIONS = 20  # of one forward
MAX_ACTIONS = 20  # of one route
MAX_URL = 2048  # characters, with captured text in it
MAX_CAPTURE = 1024  # characters of captured text that go into a destination
_REFERENCE = re.compile(r"\\(?:([1-9])|g<(\w{1,64})>)")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_AUTHORITY = re.compile(r"https?://[^/?#]*+", re.IGNORECASE)
_HOST_TEXT = re.compile(r"[A-Za-z0-9.-]+")
_FORMS = 'forward("…"), store(), store(notify="http…") or stop()'


@dataclass(frozen=True, slots=True)
class Forward:
    """destinations: each an address or a URL, with references to captured text in them."""

    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """notify: the URL that is told of it, "" for none."""

    notify: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """No later route is looked at."""


Action = Forward | Store | Stop


class Kind(StrEnum):
    ADDRESS = "address"
    URL = "url"
    RAW_URL = "raw-url"  # gets the message itself, not its parts


@dataclass(frozen=True, slots=True)
class Destination:
    kind: Kind
    text: str


# The text a reference stands for: a number ("1") or a name; "" for a group that took no part. None: there is none.
Captured = Callable[[str], str | None]


def parse_action(text: str) -> Action:
    """Raises BadRoute."""
    tokens = Tokens(text, "action")
    word = tokens.next
    name = word.text.lower()
    if word.kind != "word" or name not in ("forward", "store", "stop"):
        raise tokens.wrong(f"{_FORMS} is expected")
    tokens.take()
    tokens.expect("(", f"after {word.text}")
    match name:
        case "forward":
            action: Action = _read_forward(tokens)
        case "store":
            action = _read_store(tokens)
        case _:
            action = Stop()
    tokens.expect(")", "at the end of the action")
    if tokens.next.kind != "end":
        raise tokens.wrong("the end is expected: each action is given on its own")
    return action


def _read_forward(tokens: Tokens) -> Forward:
    token = tokens.string("a destination: addresses and URLs, with commas between them,")
    parts = tuple(part.strip() for part in token.text.split(","))
    if len(parts) > MAX_DESTINATIONS:
        raise tokens.wrong(f"more than {MAX_DESTINATIONS} destinations", token)
    for part in parts:
        _check(tokens, token, part)
    return Forward(parts)


def _read_store(tokens: Tokens) -> Store:
    if tokens.next.kind == "mark" and tokens.next.text == ")":
        return Store()
    if tokens.next.kind == "word":
        if tokens.next.text.lower() != "notify":
            raise tokens.wrong('notify="http…" is expected')
        tokens.take()
        tokens.expect("=", "after notify")
    token = tokens.string("the URL to notify")
    url = token.text.strip()
    if not is_url(url):
        raise tokens.wrong("notify takes a URL that begins with http:// or https://", token)
    _check(tokens, token, url)
    return Store(url)


def is_url(destination: str) -> bool:
    return _SCHEME.match(destination) is not None


def _check(tokens: Tokens, token: Token, part: str) -> None:
    """As it will be with some text in place of the references."""
    try:
        destination(part, lambda _: "x")
    except BadRoute as error:
        raise tokens.wrong(str(error), token) from None


def references(action: Action) -> list[str]:
    """The numbers and names of captured text that an action asks for."""
    match action:
        case Forward(destinations):
            texts: tuple[str, ...] = destinations
        case Store(notify):
            texts = (notify,)
        case Stop():
            texts = ()
        case _:
            assert_never(action)
    return [number or name for text in texts for number, name in _REFERENCE.findall(text)]


def destination(template: str, captured: Captured) -> Destination:
    """With the captured text in it. Raises BadRoute when that makes no address or URL."""
    if not is_url(template):
        return _to_address(template, captured)
    found = _AUTHORITY.match(template)
    split = found.end() if found else 0
    url = _fill(template[:split], captured, _host_text) + _fill(template[split:], captured, _percent)
    _check_url(url)
    if _climbs(url) and not _climbs(template):
        raise BadRoute("the captured text makes a segment of dots alone, which leads to another path")
    path = urlsplit(url).path.rstrip("/").lower()
    return Destination(Kind.RAW_URL if path.endswith("mime") else Kind.URL, url)


def _climbs(url: str) -> bool:
    """RFC 3986 §5.2.4: who reads "/in/.." may take it for "/"."""
    return not {".", ".."}.isdisjoint(urlsplit(url).path.split("/"))


def _to_address(template: str, captured: Captured) -> Destination:
    text = _fill(template, captured, str)
    try:
        return Destination(Kind.ADDRESS, str(parse_address(text)))
    except BadAddress as error:
        if not text:
            raise BadRoute("a destination is empty") from None
        if "@" not in text:
            raise BadRoute(f"{_short(text)!r} is neither an address nor a URL with http:// or https://") from None
        raise BadRoute(f"{_short(text)!r} is no address: {error}") from None


def _fill(template: str, captured: Captured, form: Callable[[str], str]) -> str:
    return _REFERENCE.sub(lambda found: form((captured(found[1] or found[2]) or "")[:MAX_CAPTURE]), template)


def _percent(text: str) -> str:
    return quote(text, safe="@", errors="replace")


def _host_text(text: str) -> str:
    """What a sender can write must not turn a URL to another user, port or host than a plain name makes."""
    if not _HOST_TEXT.fullmatch(text):
        raise BadRoute(f"the captured text {_short(text)!r} cannot stand in the host of a URL")
    return text


def _check_url(url: str) -> None:
    if len(url) > MAX_URL:
        raise BadRoute(f"the URL has more than {MAX_URL} characters")
    wrong = next((c for c in url if c in ' "<>\\^`{|}' or not c.isprintable()), None)
    if wrong is not None:
        raise BadRoute(f"the URL has {wrong!r} in it, which must be percent-encoded")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise BadRoute("the URL's host or port cannot be read")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
