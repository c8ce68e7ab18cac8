"""Ladder: after an attempt to post, what now?

Room: webhooks. Pure: times are waits, not clocks.
"""

from dataclasses import dataclass

TAKEN = frozenset((200, 201, 202, 204))
UNWANTED = 406  # the receiver's word for "do not send this again"


@dataclass(frozen=True, slots=True)
class Taken:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The receiver does not want it, now or ever."""


@dataclass(frozen=True, slots=True)
class Again:
    wait_s: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The waits are used up."""


Step = Taken | Unwanted | Again | GivenUp


def next_step(status: int | None, attempts: int, waits_s: tuple[float, ...], *, once: bool) -> Step:
    """status None: no answer. attempts counts this one. once: never tried again."""
    if status in TAKEN:
        return Taken()
    if status == UNWANTED:
        return Unwanted()
    if once or attempts > len(waits_s):
        return GivenUp()
    return Again(waits_s[attempts - 1])
