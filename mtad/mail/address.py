"""Addresses: one mailbox, parsed, compared, printed.

Room: mail. Pure. Source: RFC 5321 §4.1.2 (paths), RFC 6531 §3.3 (UTF-8), RFC 5890 (A-labels).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_PLAIN = re.compile(rf"([.{_ATEXT}]+)@({_LABEL}(?:\.{_LABEL})*)")
# RFC 6531 §3.3, but for what ends a line to some (RFC 5198 §2): the C1 controls with NEL, and U+2028 and U+2029.
_WIDE = r"\xa0-\u2027\u202a-\U0010ffff"
_QUOTED = re.compile(rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e{_WIDE}]|\\[\x20-\x7e])*"')
_DOT_STRING = re.compile(rf"[{_WIDE}{_ATEXT}]+(?:\.[{_WIDE}{_ATEXT}]+)*")
_LITERAL = re.compile(r"\[(?:IPv6:[0-9A-Fa-f:.]+|\d{1,3}(?:\.\d{1,3}){3})\]")

_LIST = "list:"

MAX_LOCAL = 64  # octets, RFC 5321 §4.5.3.1.1
MAX_DOMAIN = 255  # octets, §4.5.3.1.2
MAX_ADDRESS = 254  # octets, a path of 256 less its angle brackets, §4.5.3.1.3


class BadAddress(ValueError):
    """The text is no address. The message says in a few words why."""


@dataclass(frozen=True, slots=True)
class Address:
    """local: as written (case kept, RFC 5321 §2.4). domain: lower case, A-labels; or an address literal."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """True: only a server with SMTPUTF8 can take it (RFC 6531)."""
        return not self.local.isascii()

    @property
    def key(self) -> str:
        """For comparing: "Bob@Example.org" and "bob@example.org" are one person to everybody but RFC 5321."""
        return f"{self.local.casefold()}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Url:
    """Where a copy is posted to instead of mailed: it stands in a queue's row as an address does. text: absolute."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def domain(self) -> str:
        return self.text

    @property
    def key(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ListPost:
    """A mailing list that a message is posted to: it stands in a queue's row as an address does, until the copies for
    the members stand there. number: the list's.
    """

    number: int
    address: Address

    def __str__(self) -> str:
        return f"{_LIST}{self.number}:{self.address}"

    @property
    def domain(self) -> str:
        return str(self)

    @property
    def key(self) -> str:
        return str(self)


def is_list(text: str) -> bool:
    """The text of a ListPost: no mailbox is written so, as its local part would have a colon."""
    return text.startswith(_LIST)


def list_post_of(text: str) -> ListPost:
    """The reverse of str()."""
    number, _, address = text.removeprefix(_LIST).partition(":")
    local, _, domain = address.rpartition("@")
    return ListPost(int(number), Address(local, domain))


def shown(text: str) -> str:
    """As people read it: the address of a list; anything else as it is."""
    return str(list_post_of(text).address) if is_list(text) else text


def is_url(text: str) -> bool:
    """No mailbox is written so: its local part would have a colon and slashes."""
    return "://" in text and text[:8].lower().startswith(("http://", "https://"))


def without_password(text: str) -> str:
    """A URL without its user and password, for logs and events; an address as it is."""
    if not is_url(text):
        return text
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def domain_of(text: str) -> str:
    """What decides where a copy goes: the domain of an address, all of a URL or a post to a list."""
    return text if is_url(text) or is_list(text) else text.rpartition("@")[2]


def key_of(text: str) -> str:
    """Address.key of an address as we print it."""
    local, _, domain = text.rpartition("@")
    return f"{local.casefold()}@{domain.lower()}"


def parse_address(text: str) -> Address:
    """ "bob@example.org" -> Address. Raises BadAddress."""
    found = _PLAIN.fullmatch(text)
    if found and len(text) <= MAX_ADDRESS:
        local, domain = found[1], found[2]
        if len(local) <= MAX_LOCAL and local[0] != "." and local[-1] != "." and ".." not in local:
            return Address(local, domain.lower())
    return _parse_slow(text)


def _parse_slow(text: str) -> Address:
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise BadAddress("an address is local-part@domain")
    if not (_DOT_STRING.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise BadAddress("the part before @ has a character or dot where none may be; quote it if it is meant")
    if len(local.encode("utf-8", "replace")) > MAX_LOCAL:
        raise BadAddress(f"the part before @ is longer than {MAX_LOCAL} octets")
    domain = domain if _LITERAL.fullmatch(domain) else ascii_domain(domain)
    if len(local.encode("utf-8", "replace")) + 1 + len(domain) > MAX_ADDRESS:
        raise BadAddress(f"the address is longer than {MAX_ADDRESS} octets")
    return Address(local, domain)


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """ "Bücher.example" -> "xn--bcher-kva.example". Raises BadAddress."""
    if domain.isascii():
        lower = domain.lower()
        if not re.fullmatch(rf"{_LABEL}(?:\.{_LABEL})*", lower):
            raise BadAddress("the part after @ is no domain name")
    else:
        try:
            lower = idna.encode(domain, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise BadAddress("the part after @ is no domain name") from error
    if len(lower) > MAX_DOMAIN:
        raise BadAddress(f"the domain is longer than {MAX_DOMAIN} octets")
    return lower
