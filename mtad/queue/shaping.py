"""Shaping: how much each site gets, and what to do at its words. conf/shaping.toml as types.

Room: queue. Pure. May import: mail, feedback, config. Used by queue.throttle, queue.schedule and queue.runner.
A profile is [default], then what the provider of the hosts changes, then what [[site]] changes for that site alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from mtad.feedback.rules import Section, read_file, rule_text
from mtad.mail.reply import Phase, Reply
from mtad.queue.sites import CAPTURE, RELAY, WEB, is_under, normal_hosts, rolled_up

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_POSTS = "web"  # the table of the hosts that routes post to
_RESERVED = frozenset((RELAY, CAPTURE, _POSTS, "default"))


class Do(StrEnum):
    """What a reply rule asks for."""

    SLOW = "slow"  # lower the pace, and let it not grow for for_s
    SUSPEND_SITE = "suspend-site"  # nothing to this site for for_s
    SUSPEND_TENANT = "suspend-tenant"  # nothing of this sending domain to this site for for_s
    HARD = "hard"  # a hard bounce
    RETRY_IN = "retry-in"  # the next attempt in for_s, whatever the code says
    IGNORE = "ignore"  # no word about our pace


@dataclass(frozen=True, slots=True)
class Action:
    """for_s: seconds; 0 where it means nothing. rule: the pattern that was found, for the log."""

    do: Do
    for_s: float
    rule: str


@dataclass(frozen=True, slots=True)
class ReplyRule:
    pattern: re.Pattern[str]
    codes: frozenset[int]
    phases: frozenset[Phase]
    action: Action

    def covers(self, text: str, code: int, phase: Phase) -> bool:
        return (
            (not self.codes or code in self.codes)
            and (not self.phases or phase in self.phases)
            and self.pattern.search(text) is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The limits of one site, per source address. Rates are messages per second; max_rate 0: no limit.

    The pace starts at start_*, gains *_step per minute of sending up to max_*, and is multiplied by `decrease` at a
    throttling reply, down to min_*. Throttling replies within settle_s of each other count as one. At the floor the
    site rests rest_s, doubling to max_rest_s. max_messages is per connection, max_recipients per transaction.
    """

    name: str
    mx: tuple[str, ...] = ()
    min_connections: int = 1
    start_connections: int = 5
    max_connections: int = 20
    max_messages: int = 100
    max_recipients: int = 50
    min_rate: float = 0.1
    start_rate: float = 10.0
    max_rate: float = 100.0
    burst: int = 20
    rate_step: float = 5.0
    connection_step: float = 1.0
    decrease: float = 0.5
    settle_s: float = 10.0
    rest_s: float = 60.0
    max_rest_s: float = 900.0
    connect_backoff_s: float = 60.0
    max_connect_backoff_s: float = 1800.0
    rules: tuple[ReplyRule, ...] = ()


_WHOLES = {  # key: lowest, highest
    "min_connections": (1, 10_000),
    "start_connections": (1, 10_000),
    "max_connections": (1, 10_000),
    "max_messages": (1, 1_000_000),
    "max_recipients": (1, 1000),
    "burst": (1, 1_000_000),
}
_NUMBERS = {
    "min_rate": (0.001, 1e6),
    "start_rate": (0.001, 1e6),
    "max_rate": (0, 1e6),
    "rate_step": (0.001, 1e6),
    "connection_step": (0.01, 10_000),
    "decrease": (0.1, 0.95),
    "settle_s": (0, 3600),
    "rest_s": (1, 86_400),
    "max_rest_s": (1, 86_400),
    "connect_backoff_s": (1, 86_400),
    "max_connect_backoff_s": (1, 86_400),
}
_ORDERED = (  # each is at most the next
    ("min_connections", "start_connections", "max_connections"),
    ("min_rate", "start_rate", "max_rate"),
    ("rest_s", "max_rest_s"),
    ("connect_backoff_s", "max_connect_backoff_s"),
)


@dataclass(frozen=True, slots=True)
class WarmUpCurve:
    """per_day: messages that a new source address may send on its 1st, 2nd … day; after the last, any number.

    hour_share: the part of a day's messages that one hour may have.
    """

    per_day: tuple[int, ...]
    hour_share: float = 0.125

    def allowed(self, day: int) -> int | None:
        """day: 0 the first. None: no limit any more."""
        return self.per_day[max(0, day)] if day < len(self.per_day) else None

    def allowed_per_hour(self, day: int) -> int | None:
        allowed = self.allowed(day)
        return None if allowed is None else max(1, int(allowed * self.hour_share))


@dataclass(frozen=True, slots=True)
class _Overlay:
    """What one table changes. name: the site's key; domain: or all hosts under this name."""

    name: str
    domain: str
    values: Mapping[str, float]
    rules: tuple[ReplyRule, ...]

    def over(self, base: Profile, name: str) -> Profile:
        changed = dict(self.values)
        for keys in _ORDERED:
            _make_room(base, keys, changed)
        return replace(base, name=name, rules=self.rules + base.rules, **changed)  # type: ignore[arg-type]


def _make_room(base: Profile, keys: Sequence[str], changed: dict[str, float]) -> None:
    """What a table leaves to its base follows what it sets: max_connections = 3 also lowers a start of 5."""
    if keys[-1] == "max_rate" and changed.get("max_rate", base.max_rate) == 0:
        return
    given = [key for key in keys if key in changed]
    for key in keys:
        if key not in changed:
            value = getattr(base, key)
            lows = [changed[other] for other in given if keys.index(other) < keys.index(key)]
            highs = [changed[other] for other in given if keys.index(other) > keys.index(key)]
            changed[key] = min([max([value, *lows]), *highs])


@dataclass(frozen=True, slots=True)
class Shaping:
    """Everything conf/shaping.toml says. warm_up None: new source addresses send at once as old ones do."""

    default: Profile
    providers: tuple[Profile, ...]
    relay: Profile
    capture: Profile
    web: Profile
    warm_up: WarmUpCurve | None = None
    established: frozenset[str] = frozenset()  # source addresses that are warm already
    _sites: tuple[_Overlay, ...] = field(default=(), repr=False)

    def profile_for(self, key: str, hosts: Sequence[str] = ()) -> Profile:
        """key: from site_key(hosts, …), RELAY, CAPTURE, or one that begins with WEB."""
        if key in (RELAY, CAPTURE):
            profile = self.relay if key == RELAY else self.capture
        elif key.startswith(WEB):
            profile = self.web
        else:
            profile = self._provider(key, hosts) or self.default
        names = normal_hosts(hosts)
        for overlay in self._sites:
            if overlay.name == key or (overlay.domain and names and all(is_under(n, (overlay.domain,)) for n in names)):
                profile = overlay.over(profile, key)
        return profile

    def _provider(self, key: str, hosts: Sequence[str]) -> Profile | None:
        """By name; else the one that has at least half of the hosts: its limits hold, though the site is another."""
        names = normal_hosts(hosts)
        for provider in self.providers:
            if provider.name == key:
                return provider
        for provider in self.providers:
            if names and 2 * sum(is_under(name, provider.mx) for name in names) >= len(names):
                return provider
        return None

    def action_for(self, profile: Profile, reply: Reply, phase: Phase) -> Action | None:
        """The first of the profile's reply rules that fits. Any text is fit to be asked about."""
        if not profile.rules:
            return None
        text = rule_text(reply)
        return next((rule.action for rule in profile.rules if rule.covers(text, reply.code, phase)), None)

    def warms(self, source: str) -> WarmUpCurve | None:
        """The curve that this source address is on; "" is an address of the system's choice and on none."""
        return self.warm_up if source and source not in self.established else None


def site_key(hosts: Sequence[str], shaping: Shaping) -> str:
    """The name of a provider that has all hosts, else the hosts rolled up: "(alt1|mx).example.net".

    All of them, since a site's pace is learnt from its hosts: a stranger's dead host beside a provider's must not
    make the provider look dead to everybody.
    """
    names = normal_hosts(hosts)
    for provider in shaping.providers:
        if names and all(is_under(name, provider.mx) for name in names):
            return provider.name
    return rolled_up(names)


def load_shaping(text: str, file: str) -> Shaping:
    """Parse conf/shaping.toml. Raises ConfigError: file, table, key, what is right."""
    whole = read_file(text, file)
    default = _table(whole, "default", Profile(name="default"))
    shaping = Shaping(
        default=default,
        providers=tuple(_provider(section, default) for section in whole.sections("provider")),
        relay=_table(whole, RELAY, _BARE),
        capture=_table(whole, CAPTURE, replace(_BARE, max_connections=100, start_connections=100)),
        web=_table(whole, _POSTS, replace(_BARE, max_connections=20)),
        _sites=tuple(_site(section, default) for section in whole.sections("site")),
    )
    warm_up, established = _warm_up(whole.section("warmup"))
    whole.end()
    names = [provider.name for provider in shaping.providers]
    for name in names:
        if names.count(name) > 1:
            raise whole.wrong("provider", name, "two providers have this name")
    return replace(shaping, warm_up=warm_up, established=established)


_BARE = Profile(  # a host of ours, as a smarthost: no limits but connections
    name="bare",
    start_connections=20,
    max_connections=40,
    max_messages=10_000,
    max_recipients=100,
    max_rate=0.0,
    connection_step=20.0,
    connect_backoff_s=5.0,
    max_connect_backoff_s=60.0,
)


def _table(whole: Section, name: str, base: Profile) -> Profile:
    section = whole.section(name)
    if section is None:
        return replace(base, name=name)
    return _overlay(section, base).over(base, name)


def _provider(section: Section, default: Profile) -> Profile:
    mx = tuple(suffix.lower().strip(".") for suffix in section.texts("mx"))
    overlay = _overlay(section, default)
    if not _NAME.fullmatch(overlay.name) or overlay.name in _RESERVED:
        raise section.wrong(
            "name", overlay.name, "must be a word as gmail, and none of " + ", ".join(sorted(_RESERVED))
        )
    if not mx:
        raise section.wrong("mx", None, 'must name the hosts of this provider, as mx = ["google.com"]')
    return replace(overlay.over(default, overlay.name), mx=mx)


def _site(section: Section, default: Profile) -> _Overlay:
    domain = section.text("domain").lower().strip(".")
    overlay = replace(_overlay(section, default), domain=domain)
    if not (overlay.name or domain):
        raise section.wrong(
            "name", None, "needs the name of a site, as `mtad site list` shows it, or a domain of hosts"
        )
    return overlay


def _overlay(section: Section, base: Profile) -> _Overlay:
    name = section.text("name")
    values: dict[str, float] = {}
    for key, (low, high) in _WHOLES.items():
        if section.has(key):
            values[key] = section.whole(key, 0, low, high)
    for key, (least, most) in _NUMBERS.items():
        if section.has(key):
            values[key] = section.number(key, 0, least, most)
    rules = tuple(_reply_rule(rule) for rule in section.sections("reply"))
    section.end(also=(*_WHOLES, *_NUMBERS))
    overlay = _Overlay(name, "", values, rules)
    _check_order(section, overlay.over(base, name))
    return overlay


def _check_order(section: Section, profile: Profile) -> None:
    for keys in _ORDERED:
        for low, high in pairwise(keys):
            small, large = getattr(profile, low), getattr(profile, high)
            if small > large and not (high == "max_rate" and large == 0):
                raise section.wrong(low, small, f"must be at most {high}, which is {large:g}")


def _reply_rule(section: Section) -> ReplyRule:
    pattern, do = section.pattern("match"), section.one_of("action", Do)
    if pattern is None or do is None:
        right = "a reply rule needs match, a pattern, and action: " + ", ".join(Do)
        raise section.wrong("action" if pattern else "match", None, right)
    codes, phases = section.wholes("codes", 400, 599), section.some_of("phases", Phase)
    for_s = section.number("for_s", 0.0, 1, 7 * 86_400)
    if not for_s and do in (Do.SUSPEND_SITE, Do.SUSPEND_TENANT, Do.RETRY_IN):
        raise section.wrong("for_s", None, f"{do} needs for_s, in seconds")
    section.end()
    return ReplyRule(pattern, frozenset(codes), phases, Action(do, for_s, pattern.pattern))


def _warm_up(section: Section | None) -> tuple[WarmUpCurve | None, frozenset[str]]:
    if section is None:
        return None, frozenset()
    enabled, per_day = section.flag("enabled"), section.wholes("per_day", 1, 1_000_000_000)
    share = section.number("hour_share", 0.125, 0.01, 1)
    established = frozenset(section.texts("established"))
    section.end()
    if enabled is not False and not per_day:
        raise section.wrong("per_day", None, "must say how many messages each day may have, as [50, 100, 500]")
    return (WarmUpCurve(per_day, share) if enabled is not False else None), established
