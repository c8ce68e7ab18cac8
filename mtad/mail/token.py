"""Tokens: signed marks that find their message again: VERP, open, click, unsubscribe.

Room: mail. Pure. A token carries what its answer needs, so nothing is looked up before it; its signature is over its
purpose and all it carries, so none can be made, changed, or used for another purpose by anybody without the key.
BLAKE2b keyed (RFC 7693), 96 bits of it in links and 80 in addresses, where room is short.
"""

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

KEY_OCTETS = 32
MAX_TOKEN = 8192  # characters: a link with a longer target is left as it was
_LINK_MAC, _ADDRESS_MAC = 12, 10
_BOUNCE, _LEAVE = "bounce+", "unsubscribe+"
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_TWO = [first + second for first in _LETTERS for second in _LETTERS]
_SHIFTS = range(140, -1, -10)


class Purpose(Enum):
    """What a token is for. The value is part of what is signed: never change one."""

    BOUNCE = b"bounce"  # the reverse-path: a report that comes in here speaks of this recipient (VERP)
    LEAVE = b"leave"  # %unsubscribe_email%
    OPEN = b"open"
    CLICK = b"click"
    UNSUBSCRIBE = b"unsub"
    UNSUBSCRIBE_TAGS = b"unsub-tags"
    UNSUBSCRIBE_LIST = b"unsub-list"


# Where each kind of link is answered: this and the token. Mail that is out holds it: never change one.
PATHS = {
    Purpose.OPEN: "/o/",
    Purpose.CLICK: "/c/",
    Purpose.UNSUBSCRIBE: "/u/",
    Purpose.UNSUBSCRIBE_TAGS: "/ut/",
    Purpose.UNSUBSCRIBE_LIST: "/ul/",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a token says: the recipient's id, and for a click where it leads."""

    purpose: Purpose
    recipient_id: int
    target: str = ""


class Tokens:
    """Makes and reads tokens. key: KEY_OCTETS random octets, the same over restarts."""

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_OCTETS:
            raise ValueError(f"a token key has {KEY_OCTETS} octets")
        self._macs = {
            purpose: blake2b(key=key[:64], digest_size=_size(purpose), person=purpose.value) for purpose in Purpose
        }

    def _mac(self, purpose: Purpose, payload: bytes) -> bytes:
        mac = self._macs[purpose].copy()  # the key is worked in once
        mac.update(payload)
        return mac.digest()

    def link(self, purpose: Purpose, recipient_id: int, target: str = "") -> str:
        """URL-safe text without "/", "." or "="."""
        payload = recipient_id.to_bytes(8, "big") + target.encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(self._mac(purpose, payload) + payload).rstrip(b"=").decode()

    def clicks(self, recipient_id: int) -> Callable[[str], str]:
        """target -> token, for the many links of one recipient."""
        number, keyed = recipient_id.to_bytes(8, "big"), self._macs[Purpose.CLICK]
        encode = base64.urlsafe_b64encode

        def token(target: str) -> str:
            payload = number + target.encode("utf-8", "surrogatepass")
            mac = keyed.copy()
            mac.update(payload)
            return encode(mac.digest() + payload).rstrip(b"=").decode()

        return token

    def read_link(self, purpose: Purpose, text: str) -> Mark | None:
        """None: not made by us for this purpose."""
        if len(text) > MAX_TOKEN or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, payload = raw[:_LINK_MAC], raw[_LINK_MAC:]
        if len(payload) < 8 or not hmac.compare_digest(mac, self._mac(purpose, payload)):
            return None
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
            return None  # another spelling of the same octets: only what we wrote is ours
        try:
            return Mark(purpose, int.from_bytes(payload[:8], "big"), payload[8:].decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            return None

    def local_part(self, purpose: Purpose, recipient_id: int) -> str:
        """ "bounce+aaaq…": 36 or 41 characters that survive a change of letter case."""
        payload = recipient_id.to_bytes(8, "big")
        return (_BOUNCE if purpose is Purpose.BOUNCE else _LEAVE) + _base32(self._mac(purpose, payload) + payload)

    def read_local_part(self, text: str) -> Mark | None:
        """None: an address like any other, or a forged one."""
        text = text.lower()
        for prefix, purpose in ((_BOUNCE, Purpose.BOUNCE), (_LEAVE, Purpose.LEAVE)):
            if text.startswith(prefix):
                return self._read_address(purpose, text[len(prefix) :])
        return None

    def _read_address(self, purpose: Purpose, text: str) -> Mark | None:
        if len(text) != 29 or not text.isascii():
            return None
        try:
            raw = base64.b32decode(text.upper() + "===")
        except (binascii.Error, ValueError):
            return None
        if _base32(raw) != text:
            return None
        mac, payload = raw[:_ADDRESS_MAC], raw[_ADDRESS_MAC:]
        if not hmac.compare_digest(mac, self._mac(purpose, payload)):
            return None
        return Mark(purpose, int.from_bytes(payload, "big"))


def _base32(raw: bytes) -> str:
    """18 octets -> 29 letters in lower case, without padding (RFC 4648 §6): one for each recipient, so by twos."""
    number = int.from_bytes(raw, "big") << 6
    return "".join([_TWO[number >> shift & 1023] for shift in _SHIFTS])[:29]


def _size(purpose: Purpose) -> int:
    return _ADDRESS_MAC if purpose in (Purpose.BOUNCE, Purpose.LEAVE) else _LINK_MAC
