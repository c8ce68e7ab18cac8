"""Hooks: the webhooks of all domains, in memory: which posts an event makes, and where each goes.

Room: webhooks. May import: mail, storage. Asked for every event there is, so a domain without webhooks costs one
look-up; safe to be asked from any thread, as what it reads is replaced and never changed.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mtad import log as log_module
from mtad.mail.event import EventType
from mtad.storage.database import Database
from mtad.storage.webhooks import WebhookRow, ensure_signing_key, webhooks
from mtad.webhooks.kinds import Kind, fires
from mtad.webhooks.targets import BadTarget, Target, parse_target

log = log_module.get("webhooks")

Fired = Mapping[tuple[EventType, bool], tuple[int, ...]]


def new_signing_key() -> str:
    """128 random bits and their name."""
    return "key-" + secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook, ready for posts. paused: its posts wait."""

    id: int
    kind: Kind
    domain: str
    target: Target
    paused: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    fired: Mapping[int, Fired] = field(default_factory=dict)
    hooks: Mapping[int, Hook] = field(default_factory=dict)
    signing_key: str = field(default="", repr=False)


class Hooks:
    """Call load() before use and after each change of webhooks or domains."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loaded = _Loaded()
        self._turn = asyncio.Lock()
        self.on_change: Callable[[], None] = lambda: None  # the sender's, told after each load

    async def load(self) -> None:
        async with self._turn:  # who asked first may be answered last, and it would be the older answer that stays
            await self._load()
        self.on_change()

    async def _load(self) -> None:
        rows = await self._database.read(webhooks)
        key = await self._database.writer.write(lambda connection: ensure_signing_key(connection, new_signing_key()))
        hooks = {row.id: hook for row in rows if (hook := _hook(row)) is not None}
        domains: dict[int, list[Hook]] = {}
        for row in rows:
            if row.id in hooks:
                domains.setdefault(row.domain_id, []).append(hooks[row.id])
        self._loaded = _Loaded({number: _fired(some) for number, some in domains.items()}, hooks, key)

    def posts_for(self, kind: EventType, domain_id: int, suppressed: bool = False) -> tuple[int, ...]:
        """The webhooks an event is posted to. suppressed: no host refused the recipient, so it is no bounce."""
        fired = self._loaded.fired.get(domain_id)
        return () if fired is None else fired.get((kind, suppressed), ())

    def get(self, webhook: int) -> Hook | None:
        return self._loaded.hooks.get(webhook)

    @property
    def all(self) -> Mapping[int, Hook]:
        return self._loaded.hooks

    @property
    def signing_key(self) -> str:
        return self._loaded.signing_key


def _fired(hooks: list[Hook]) -> Fired:
    made: dict[tuple[EventType, bool], tuple[int, ...]] = {}
    for event in EventType:
        for suppressed in (False, True):
            kinds = fires(event, suppressed)
            lanes = tuple(hook.id for hook in hooks if hook.kind in kinds)
            if lanes:
                made[event, suppressed] = lanes
    return made


def _hook(row: WebhookRow) -> Hook | None:
    try:
        return Hook(row.id, Kind(row.name), row.domain, parse_target(row.url), row.paused_why is not None)
    except (BadTarget, ValueError) as error:
        log.error("webhook-unusable", webhook=row.id, domain=row.domain, name=row.name, cause=error)
        return None
