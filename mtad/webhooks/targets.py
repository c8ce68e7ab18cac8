"""Targets: the URL of a receiver, read; and which addresses nobody may make us talk to.

Room: webhooks. Pure. May import: mail, delivery. Source: RFC 3986. Mail goes to the same addresses as posts.
"""

import base64
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import quote, unquote, urlsplit

from mtad.delivery.addresses import is_nowhere, is_public
from mtad.mail.address import BadAddress, ascii_domain

MAX_URL = 2048  # characters
_LABELS = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
_AS_GIVEN = "/?%:@!$&'()*+,;=~[]"


class BadTarget(ValueError):
    """The URL cannot be posted to. The text says why; it does not repeat the URL, which may hold a password."""


@dataclass(frozen=True, slots=True)
class Target:
    """url: what is asked for, without user and password. place: host and port. authorization: the header, or ""."""

    url: str
    place: str
    authorization: str = field(repr=False)


def parse_target(text: str) -> Target:
    """Raises BadTarget."""
    if not text or len(text) > MAX_URL:
        raise BadTarget(f"a URL has 1 to {MAX_URL} characters")
    if not text.isprintable() or any(c in text for c in ' "<>\\^`{|}'):
        raise BadTarget("the URL holds a character that must be percent-encoded")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # whose text may repeat the password
        raise BadTarget("this is no URL: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise BadTarget("the URL must begin with http:// or https://")
    if port == 0:
        raise BadTarget("port 0 is no port")
    place = _host(host) + (f":{port}" if port is not None else "")
    path = quote(parts.path or "/", safe=_AS_GIVEN)
    query = "?" + quote(parts.query, safe=_AS_GIVEN) if parts.query else ""
    whole = place if port is not None else f"{place}:{443 if parts.scheme == 'https' else 80}"
    return Target(f"{parts.scheme}://{place}{path}{query}", whole, _basic(parts.username, parts.password))


def _host(host: str) -> str:
    if ":" in host:
        try:
            return f"[{IPv6Address(host.replace('%', '?'))}]"  # a zone means another thing on every machine
        except ValueError:
            raise BadTarget("the URL's host is no IPv6 address") from None
    try:
        name = ascii_domain(host.rstrip(".")) if not host.isascii() else host
    except BadAddress:
        raise BadTarget("the URL's host is no domain name") from None
    if not _LABELS.fullmatch(name) or len(name) > 254:
        raise BadTarget("the URL names no host" if not name else "the URL's host is no domain name")
    return name


def _basic(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def shown(text: str) -> str:
    """A URL as people may see it: without user and password."""
    try:
        return parse_target(text).url
    except BadTarget:
        return "(unusable)"


def is_allowed(text: str, private: bool) -> bool:
    """May a connection go to this address, in any spelling? private: loopback and private networks too."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    ip = found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
    if private:
        return not is_nowhere(ip)
    return not is_nowhere(ip) and is_public(ip) and "%" not in text
