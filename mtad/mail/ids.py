"""Identifiers: 63-bit numbers that grow with time, and the texts made of them.

Room: mail. Layout, high to low: 42 bits milliseconds since 2020-01-01 UTC, 6 bits node, 15 bits counter. A
number is never given twice by one node, also when the clock steps back: the last one is the floor.
"""

import base64
import hashlib
from collections.abc import Callable

_EPOCH_MS = 1_577_836_800_000
_NODE_SHIFT, _TIME_SHIFT = 15, 21
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_VALUES = {letter: value for value, letter in enumerate(_LETTERS)}


class IdSource:
    """Makes ids. now: epoch seconds; node: 0 to 63, differs between daemons that share a store."""

    def __init__(self, now: Callable[[], float], node: int = 0, floor: int = 0) -> None:
        self._now, self._node, self._last = now, node << _NODE_SHIFT, floor

    @property
    def last(self) -> int:
        """The largest one given so far, or the floor."""
        return self._last

    def next(self) -> int:
        return self.take(1)

    def take(self, count: int) -> int:
        """The first of `count` consecutive ids (count up to 10,000)."""
        first = (max(0, int(self._now() * 1000) - _EPOCH_MS) << _TIME_SHIFT) | self._node
        if first <= self._last:
            first = self._last + 1
        if (first & 0x7FFF) + count > 0x7FFF:  # would run into the node bits: go on in the next millisecond
            first = ((first >> _TIME_SHIFT) + 1 << _TIME_SHIFT) | self._node
        self._last = first + count - 1
        return first


def floor_at(at: float) -> int:
    """The smallest id that can have been made at `at` (epoch seconds): for asking by time."""
    return max(0, int(at * 1000) - _EPOCH_MS) << _TIME_SHIFT


def made_at(number: int) -> float:
    """Epoch seconds, to the millisecond."""
    return ((number >> _TIME_SHIFT) + _EPOCH_MS) / 1000


def queue_id(number: int) -> str:
    """The text of a message's id in replies, logs and commands: 13 letters and digits."""
    letters = ""
    for shift in range(60, -1, -5):
        letters += _LETTERS[number >> shift & 31]
    return letters


def from_queue_id(text: str) -> int | None:
    """The reverse; None when `text` is no queue id."""
    text = text.strip().lower()
    if len(text) != 13 or any(letter not in _VALUES for letter in text):
        return None
    number = 0
    for letter in text:
        number = number << 5 | _VALUES[letter]
    return number if number < 1 << 63 else None


def event_id(number: int) -> str:
    """22 URL-safe characters, unique for ever: the number and eight octets that spread it."""
    raw = number.to_bytes(8, "big")
    return base64.urlsafe_b64encode(raw + hashlib.blake2b(raw, digest_size=8).digest())[:22].decode()
