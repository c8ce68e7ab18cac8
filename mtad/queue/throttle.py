"""Throttle: how many connections and how many messages a second one site may have from one source address, now.

Room: queue. Pure: every call is told the time (epoch seconds). May import: mail. Used by queue.runner.
A token bucket whose rate, like the number of connections, grows by addition while sending goes well and is cut by
multiplication when the site says it is too much (as TCP does, RFC 5681 §3). Gates answer None, or why not.
"""

import json
import math
from dataclasses import asdict, dataclass, fields

from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.shaping import Profile, WarmUpCurve

DAY_S, HOUR_S = 86_400.0, 3600.0
_CREDIT_S = 60.0  # growth that one delivery can earn at most: a quiet night is no proof of anything
_ENOUGH = 1.0 - 1e-9  # of a token: what floating point leaves of one
_MAX_WORDS = 300
_NO_TIME = 1e15  # beyond it (and for nan) a number in a saved state is rubbish


@dataclass(frozen=True, slots=True)
class PaceState:
    """What is worth keeping over a restart. rate 0: no limit. *_at, *_until: epoch seconds, 0 never."""

    rate: float = 0.0
    connections: float = 1.0
    tokens: float = 0.0
    tokens_at: float = 0.0
    hold_until: float = 0.0
    grown_at: float = 0.0
    rest_s: float = 0.0
    rest_until: float = 0.0
    failures: int = 0
    unreachable_until: float = 0.0
    suspended: bool = False
    suspended_until: float | None = None
    said: str = ""
    trouble: str = ""
    why: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "PaceState | None":
        """None when it cannot be read: what we had learnt is learnt again."""
        try:
            values = json.loads(text)
        except ValueError:
            return None
        if not isinstance(values, dict):
            return None
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        return cls(**known) if all(_fits(name, value) for name, value in known.items()) else None


def _fits(name: str, value: object) -> bool:
    if name in ("said", "trouble", "why"):
        return isinstance(value, str)
    if name == "suspended":
        return isinstance(value, bool)
    if name == "suspended_until" and value is None:
        return True
    if name == "failures":
        return type(value) is int and value >= 0
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return (value >= 0 or name == "tokens") and abs(value) < _NO_TIME


class Pace:
    """One site, one source address. Between send_gate() -> None and take() nothing else may run."""

    __slots__ = (
        "_burst",
        "_connections",
        "_failures",
        "_free",
        "_growing",
        "_grown_at",
        "_hold_until",
        "_rate",
        "_rest_s",
        "_rest_until",
        "_said",
        "_settled_at",
        "_suspended",
        "_suspended_until",
        "_tokens",
        "_tokens_at",
        "_trouble",
        "_unreachable_until",
        "_why",
        "profile",
    )

    def __init__(self, profile: Profile, now: float, saved: PaceState | None = None) -> None:
        self.profile = profile
        fresh = PaceState(profile.start_rate, profile.start_connections, math.inf, now)
        state = saved or fresh
        limited = profile.max_rate > 0
        self._rate = _between(profile.min_rate, state.rate or profile.start_rate, profile.max_rate) if limited else 0.0
        self._connections = _between(profile.min_connections, state.connections, profile.max_connections)
        self._burst = self._burst_at(self._rate)
        self._tokens, self._tokens_at = min(state.tokens, self._burst), state.tokens_at
        # A clock that was set back must not make a wait longer than any we would have planned.
        self._hold_until = min(state.hold_until, now + DAY_S)
        self._rest_s = min(state.rest_s, profile.max_rest_s)
        self._rest_until = min(state.rest_until, now + profile.max_rest_s)
        self._failures = state.failures
        self._unreachable_until = min(state.unreachable_until, now + profile.max_connect_backoff_s)
        self._suspended, self._suspended_until = state.suspended, state.suspended_until
        self._said, self._trouble, self._why = state.said, state.trouble, state.why
        # Time without us counts as time: else a site that is forgotten between two messages would never recover.
        self._settled_at, self._grown_at = 0.0, max(min(state.grown_at or now, now), self._hold_until)
        self._free = self._growing = False
        self._mark()

    def _burst_at(self, rate: float) -> float:
        return max(1.0, self.profile.burst * rate / self.profile.max_rate) if rate else math.inf

    def _mark(self) -> None:
        """Say again what the hot path need not look at."""
        profile = self.profile
        self._free = not (self._rate or self._suspended or self._rest_until)
        self._growing = self._rate < profile.max_rate or self._connections < profile.max_connections or self._rest_s > 0

    @property
    def connection_limit(self) -> int:
        return int(self._connections)

    @property
    def rate(self) -> float | None:
        """Messages per second now; None: no limit."""
        return self._rate or None

    # ---- gates

    def send_gate(self, now: float) -> Waiting | None:
        """May a message leave now?"""
        if self._free:
            return None
        held = self._held(now)
        if held is not None or not self._rate:
            return held
        self._refill(now)
        if self._tokens >= _ENOUGH:
            return None
        until = now + (1.0 - self._tokens) / self._rate
        return Waiting(
            WaitReason.SITE_RATE, until, f"{self._rate:.3g} messages a second is the limit now{self._lowered()}"
        )

    def connect_gate(self, now: float, open_connections: int) -> Waiting | None:
        """May a connection be opened beside the `open_connections` there are?"""
        held = self._held(now)
        if held is not None:
            return held
        if now < self._unreachable_until <= now + self.profile.max_connect_backoff_s:
            times = f"{self._failures} times in a row" if self._failures > 1 else "just now"
            detail = f"Connecting failed {times}: {self._trouble}"
            return Waiting(WaitReason.SITE_UNREACHABLE, self._unreachable_until, detail)
        if open_connections >= self.connection_limit:
            limit = self.connection_limit
            detail = f"{open_connections} connections are open and {limit} is the limit now{self._lowered()}"
            return Waiting(WaitReason.SITE_CONNECTIONS, None, detail)
        return None

    def _held(self, now: float) -> Waiting | None:
        if self._suspended:
            until = self._suspended_until
            if until is None or now < until:
                return Waiting(WaitReason.SITE_SUSPENDED, until, f"The site is suspended: {self._why}")
            self.resume()
        if self._rest_until:
            if now < self._rest_until <= now + self.profile.max_rest_s:  # more: the clock was set back
                detail = f"Resting {self._rest_s:.0f} s at the lowest pace, since the host said: {self._said}"
                return Waiting(WaitReason.SITE_RATE, self._rest_until, detail)
            self._rest_until = 0.0
            self._mark()
        return None

    def _lowered(self) -> str:
        return f", lowered since the host said: {self._said}" if self._said else ""

    # ---- what happens

    def take(self, now: float) -> None:
        """A message leaves. Ask send_gate(now) first: it has filled the bucket."""
        if self._rate:
            self._tokens -= 1.0

    def on_delivered(self, now: float) -> None:
        if self._growing and now >= self._hold_until:
            self._grow(now)

    def on_throttled(self, now: float, said: str = "", hold_s: float = 0.0) -> None:
        """The site says it is too much, in the words `said`. hold_s: how long the pace shall not grow."""
        profile = self.profile
        self._said = said[:_MAX_WORDS] or self._said or "(no words)"
        self._hold(now, max(profile.settle_s, hold_s))
        if self._settled_at <= now < self._settled_at + profile.settle_s:
            return  # open connections hear of the same limit one after the other
        self._settled_at = now
        at_floor = self._rate <= profile.min_rate and self._connections <= profile.min_connections
        self._refill(now)
        if self._rate:
            self._rate = max(profile.min_rate, self._rate * profile.decrease)
            self._burst = self._burst_at(self._rate)
            self._tokens = min(self._tokens, 0.0)
        self._connections = max(float(profile.min_connections), self._connections * profile.decrease)
        if at_floor:
            self._rest_s = min(profile.max_rest_s, max(profile.rest_s, 2 * self._rest_s))
            self._rest_until = now + self._rest_s
            self._hold(now, self._rest_s)
        self._mark()

    def on_connect_failed(self, now: float, said: str, open_connections: int = 0) -> None:
        """Nobody answered. open_connections: those that stand: then the host is there, and takes no more of them."""
        profile = self.profile
        if now < self._unreachable_until <= now + profile.max_connect_backoff_s:
            return  # dialled before the first one failed
        self._trouble = said[:_MAX_WORDS]
        if open_connections:
            self._connections = _between(profile.min_connections, self._connections, open_connections)
            self._unreachable_until = now + profile.connect_backoff_s
            self._hold(now, profile.connect_backoff_s)
            self._mark()
            return
        backoff_s = profile.connect_backoff_s * 2.0 ** min(self._failures, 30)
        self._failures += 1
        self._unreachable_until = now + min(backoff_s, profile.max_connect_backoff_s)

    def on_connected(self, now: float) -> None:
        if self._failures:
            self._failures = 0
            self._unreachable_until = 0.0

    def suspend(self, until: float | None, why: str) -> None:
        """Nothing goes there until then; None: until resume(). why: the words of the host, or the operator's."""
        self._suspended, self._suspended_until, self._why = True, until, why[:_MAX_WORDS]
        self._mark()

    def set_back(self, by_s: float) -> None:
        """The clock was; rests and waits see that for themselves."""
        if self._suspended_until is not None:
            self._suspended_until -= by_s

    def resume(self) -> None:
        """Send again: ends a suspension, a rest and a wait after failed connections."""
        self._suspended, self._suspended_until, self._why = False, None, ""
        self._rest_s = self._rest_until = self._unreachable_until = 0.0
        self._failures = 0
        self._mark()

    # ---- the arithmetic

    def _hold(self, now: float, hold_s: float) -> None:
        self._hold_until = max(self._hold_until, now + hold_s)
        self._grown_at = self._hold_until

    def _refill(self, now: float) -> None:
        if self._rate and now > self._tokens_at:
            self._tokens = min(self._burst, self._tokens + (now - self._tokens_at) * self._rate)
        self._tokens_at = now  # also when the clock was set back: waiting for it to catch up would starve the site

    def _grow(self, now: float) -> None:
        minutes = min(now - self._grown_at, _CREDIT_S) / 60.0
        self._grown_at = now
        if minutes <= 0.0:
            return
        profile = self.profile
        self._refill(now)
        if self._rate:
            self._rate = min(profile.max_rate, self._rate + profile.rate_step * minutes)
            self._burst = self._burst_at(self._rate)
        self._connections = min(float(profile.max_connections), self._connections + profile.connection_step * minutes)
        self._rest_s = 0.0
        self._mark()
        if not self._growing:
            self._said = ""

    def save(self) -> PaceState:
        return PaceState(
            rate=self._rate,
            connections=self._connections,
            tokens=self._tokens if self._rate else 0.0,
            tokens_at=self._tokens_at,
            hold_until=self._hold_until,
            grown_at=self._grown_at,
            rest_s=self._rest_s,
            rest_until=self._rest_until,
            failures=self._failures,
            unreachable_until=self._unreachable_until,
            suspended=self._suspended,
            suspended_until=self._suspended_until,
            said=self._said,
            trouble=self._trouble,
            why=self._why,
        )


def _between(low: float, value: float, high: float) -> float:
    return min(max(low, value), max(low, high))


@dataclass(frozen=True, slots=True)
class WarmUpState:
    """day, hour: counted from started_at (epoch seconds), 0 the first; what was sent in them."""

    started_at: float
    day: int = 0
    sent_today: int = 0
    hour: int = 0
    sent_this_hour: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "WarmUpState | None":
        """None when it cannot be read."""
        try:
            values = json.loads(text)
            state = cls(**{one.name: values[one.name] for one in fields(cls)})
        except (ValueError, KeyError, TypeError):
            return None
        numbers = [state.day, state.sent_today, state.hour, state.sent_this_hour]
        whole = all(type(number) is int and number >= 0 for number in numbers)
        return state if whole and _fits("started_at", state.started_at) else None


class WarmUp:
    """A new source address: how much it may send, to all sites together."""

    __slots__ = ("_curve", "_day", "_hour", "_sent_this_hour", "_sent_today", "_started_at")

    def __init__(self, curve: WarmUpCurve, started_at: float, saved: WarmUpState | None = None) -> None:
        state = saved or WarmUpState(started_at)
        self._curve, self._started_at = curve, state.started_at
        self._day, self._sent_today = state.day, state.sent_today
        self._hour, self._sent_this_hour = state.hour, state.sent_this_hour

    def gate(self, now: float) -> Waiting | None:
        """May a message leave this address now?"""
        self._turn_to(now)
        allowed, per_hour = self._curve.allowed(self._day), self._curve.allowed_per_hour(self._day)
        if allowed is None or per_hour is None:
            return None
        day = f"This source address is on day {self._day + 1} of its warm-up"
        if self._sent_today >= allowed:
            until = self._started_at + (self._day + 1) * DAY_S
            return Waiting(WaitReason.WARM_UP, until, f"{day}: the {allowed} messages of that day are sent")
        if self._sent_this_hour >= per_hour:
            until = self._started_at + (self._hour + 1) * HOUR_S
            return Waiting(WaitReason.WARM_UP, until, f"{day}: the {per_hour} messages of this hour are sent")
        return None

    def room(self, now: float) -> int | None:
        """Messages that may leave now; None: any number."""
        self._turn_to(now)
        allowed, per_hour = self._curve.allowed(self._day), self._curve.allowed_per_hour(self._day)
        if allowed is None or per_hour is None:
            return None
        return max(0, min(allowed - self._sent_today, per_hour - self._sent_this_hour))

    def take(self, now: float, messages: int = 1) -> None:
        """messages: below 0 for some that did not leave after all."""
        self._turn_to(now)
        self._sent_today = max(0, self._sent_today + messages)
        self._sent_this_hour = max(0, self._sent_this_hour + messages)

    def is_over(self, now: float) -> bool:
        return self._curve.allowed(max(self._day, int((now - self._started_at) // DAY_S))) is None

    def _turn_to(self, now: float) -> None:
        """Begin the day and the hour that `now` is in. A clock that was set back begins none again."""
        since_s = now - self._started_at
        if since_s // DAY_S > self._day:
            self._day, self._sent_today = int(since_s // DAY_S), 0
        if since_s // HOUR_S > self._hour:
            self._hour, self._sent_this_hour = int(since_s // HOUR_S), 0

    def save(self) -> WarmUpState:
        return WarmUpState(self._started_at, self._day, self._sent_today, self._hour, self._sent_this_hour)
