"""Checks: what a value of the configuration may be beyond its type, and the types that carry a check with them.

Pure. A check is called with the value and raises ValueError whose text says what would be right.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Check = Callable[[Any], object]

HIDE = "hide"  # marks a key whose value is shown nowhere
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_LISTEN = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):([0-9]{1,5})")
_BASE_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")
_POOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TEN_YEARS_S = 10 * 365 * 86_400.0


def parse_listen(text: str) -> tuple[str, int]:
    """ "host:port" or "[address]:port" -> (host without brackets, port 0 to 65535). ValueError says what is right."""
    found = _LISTEN.fullmatch(text)
    if not found:
        raise ValueError('must be "host:port", an IPv6 address in brackets, as "127.0.0.1:25" or "[::]:25"')
    bracketed, host, port = found[1], found[2] or found[1], int(found[3])
    if port > 65_535:
        raise ValueError("the port must be 0 to 65535")
    if bracketed and not _is_address(bracketed, version=6):
        raise ValueError('only an IPv6 address stands in brackets, as "[::1]:25"')
    if not bracketed and not _is_address(host, version=4):
        _refuse_bad_name(host)
    return host, port


def parse_networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """ "10.0.0.0/8", "::1" … -> networks; a lone address is a network of one. ValueError says what is right."""
    return tuple(_network(text) for text in texts)


def _network(text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f'"{text}" must be a network or an address, as "10.0.0.0/8" or "::1"') from None
    raise ValueError(f'"{text}" has bits beyond its prefix: write "{meant}", or the address alone')


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _refuse_bad_name(text: str) -> None:
    """A name whose last label is a number is taken for a mistyped address (RFC 3696 §2)."""
    if not _HOST_NAME.fullmatch(text) or text.rpartition(".")[2].isdigit():
        raise ValueError(f'"{text}" must be a host name in ASCII or an IP address')


def between(low: float, high: float) -> Check:
    def check(value: float) -> None:
        if not low <= value <= high:  # NaN is refused too: it is between nothing
            raise ValueError(f"must be {low:,g} to {high:,.15g}".replace(",", "_"))

    return check


def _more_than_nothing(value: float) -> None:
    if not 0 < value <= _TEN_YEARS_S or math.isnan(value):
        raise ValueError("must be more than 0 seconds, and at most ten years")


def _no_wait_or_some(value: float) -> None:
    if not 0 <= value <= _TEN_YEARS_S:
        raise ValueError("must be 0 or more seconds, and at most ten years")


def each(check: Check) -> Check:
    """The check holds for every item; the error names the item, counted from 1."""

    def check_all(values: Iterable[Any]) -> None:
        for number, value in enumerate(values, 1):
            try:
                check(value)
            except ValueError as wrong:
                raise ValueError(f"item {number}: {wrong}") from None

    return check_all


def some(values: tuple[object, ...]) -> None:
    if not values:
        raise ValueError("must have at least one item")


def one_of(*words: str) -> Check:
    def check(value: str) -> None:
        if value not in words:
            raise ValueError("must be one of " + ", ".join(f'"{word}"' for word in words))

    return check


def _networks_but_not_all(texts: Iterable[str]) -> None:
    """Whoever stands in these lists is trusted with something: the whole Internet is a mistake, not a list."""
    for number, text in enumerate(texts, 1):
        try:
            network = _network(text)
        except ValueError as wrong:
            raise ValueError(f"item {number}: {wrong}") from None
        if network.prefixlen == 0:
            raise ValueError(f'item {number}: "{text}" is the whole Internet: list the networks you mean')


def _name_or_empty(text: str) -> None:
    if text:
        _refuse_bad_name(text)


def _address_or_empty(text: str) -> None:
    local, _, domain = text.rpartition("@")
    if text and (not local or any(c.isspace() for c in local)):
        raise ValueError("must be a mail address, as in ops@example.org")
    if text:
        _refuse_bad_name(domain)


def _target_or_empty(text: str) -> None:
    if text and parse_listen(text)[1] == 0:
        raise ValueError("the port must be 1 to 65535")


def _target(text: str) -> None:
    """Where a name server is: an address, since there is nobody yet to ask for a name."""
    host, port = parse_listen(text)
    if not _is_address(host, 4) and not _is_address(host, 6):
        raise ValueError('must be an IP address and a port, as "127.0.0.1:53" or "[::1]:53"')
    if port == 0:
        raise ValueError("the port must be 1 to 65535")


def _own_address(text: str) -> None:
    if not _is_address(text, 4) and not _is_address(text, 6):
        raise ValueError(f'"{text}" must be an IP address of this machine, as "192.0.2.25"')


def _base_url_or_empty(text: str) -> None:
    """Where we are seen from outside; paths are put behind it."""
    if text and (not _BASE_URL.fullmatch(text) or text.endswith("/")):
        raise ValueError('must be as "https://mail.example.org", without a slash at the end')


def _pools(pools: dict[str, tuple[str, ...]]) -> None:
    for name, addresses in pools.items():
        if not _POOL_NAME.fullmatch(name):
            raise ValueError(f'pool "{name}": a name is letters, digits, "_", "." and "-", 64 at most')
        if not addresses:
            raise ValueError(f'pool "{name}": must have at least one address')
        try:
            each(_own_address)(addresses)
        except ValueError as wrong:
            raise ValueError(f'pool "{name}": {wrong}') from None


Count = Annotated[int, between(1, 1_000_000_000)]
Octets = Annotated[int, between(0, 1 << 50)]
Port = Annotated[int, between(1, 65_535)]
Seconds = Annotated[float, _more_than_nothing]
SecondsOrZero = Annotated[float, _no_wait_or_some]
Ladder = Annotated[tuple[float, ...], some, each(_more_than_nothing)]
Listen = Annotated[tuple[str, ...], each(parse_listen)]
Networks = Annotated[tuple[str, ...], _networks_but_not_all]
NameServers = Annotated[tuple[str, ...], each(_target)]
Addresses = Annotated[tuple[str, ...], each(_own_address)]
Pools = Annotated[dict[str, tuple[str, ...]], _pools]
HostName = Annotated[str, _name_or_empty]
HostNames = Annotated[tuple[str, ...], each(_refuse_bad_name)]
MailAddress = Annotated[str, _address_or_empty]
BaseUrl = Annotated[str, _base_url_or_empty]
Target = Annotated[str, _target_or_empty]
TlsLevel = Annotated[str, one_of("none", "opportunistic", "required", "verified")]
RelayTls = Annotated[str, one_of("none", "opportunistic", "required", "verified", "implicit")]
LogLevel = Annotated[str, one_of("debug", "info", "warning", "error")]
SecretText = Annotated[str, HIDE]
