"""Book: the sites the running daemon has in mind, and when each must be looked at next.

Room: queue. May import: mail, storage, delivery. Invariant: a site with waiting rows is either here, with `claim_at`
no later than its first due row, or has that time in the store (`sites.next_due`).
"""

import asyncio
import heapq
import json
from collections.abc import Collection, Iterator
from functools import partial

from mtad.clock import Clock
from mtad.delivery.mx import Route
from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.shaping import Shaping, site_key
from mtad.queue.site import Site
from mtad.queue.sites import MAX_KEY, RELAY, WEB
from mtad.queue.throttle import Pace, PaceState
from mtad.storage import sites as table
from mtad.storage.database import Database, Lane
from mtad.storage.sites import UNRESOLVED, SiteRow, site_id

MAX_SITES = 5000  # in memory; the others wait in the store
FORGET_S = 60.0  # a site without work is forgotten after this
HELD_S = 900.0  # a site in the store whose mail nobody may send, until somebody says so, is looked at this often
_BATCH = 500  # sites one transaction forgets
_MAX_ROUTES = 20_000


class Book:
    """wake: set when something must be looked at sooner than was planned.

    fixed_key: the one site of a transport that has only one (the captured inbox), None where routes tell.
    """

    def __init__(
        self,
        database: Database,
        ensure: Lane[tuple[int, str]],
        shaping: Shaping,
        clock: Clock,
        wake: asyncio.Event,
        fixed_key: str | None,
    ) -> None:
        self._database, self._ensure, self._clock, self._wake, self._fixed_key = (
            database,
            ensure,
            clock,
            wake,
            fixed_key,
        )
        self.shaping = shaping
        self._sites: dict[int, Site] = {}
        self._unread: dict[int, Site] = {}  # made here; what the store knows of them is not here yet
        self._by_route: dict[Route, Site] = {}
        self._recent: tuple[Route | None, Site] = (None, self._new("?"))
        self.unresolved = self._recent[1]
        self._saved: dict[int, int] = {}  # site id -> hash of its paces as the store has them
        self._looks: list[tuple[float, int]] = []  # heap of (when, site id)
        self.stored_due: float | None = 0.0  # when a site that is not here must be looked at

    def __iter__(self) -> Iterator[Site]:
        return iter(list(self._sites.values()))

    def __len__(self) -> int:
        return len(self._sites)

    def get(self, number: int) -> Site | None:
        return self._sites.get(number)

    def of_route(self, route: Route) -> Site:
        """The site that mail on this route belongs to, made if need be."""
        if self._recent[0] is route:
            return self._recent[1]
        site = self._by_route.get(route)
        if site is None or self._sites.get(site.id) is not site:
            hosts = [host.name for host in route.hosts]
            key = self._key(route, hosts)
            site = self._sites.get(site_id(key)) or self._new(key)
            site.hosts = tuple(hosts)
            site.profile = self.shaping.profile_for(key, hosts)
            if len(self._by_route) >= _MAX_ROUTES:
                self._by_route.clear()
            self._by_route[route] = site
        self._recent = (route, site)
        return site

    def _key(self, route: Route, hosts: list[str]) -> str:
        if route.site:
            return route.site
        if route.web:
            return f"{WEB}{hosts[0]}:{route.port}"[:MAX_KEY]
        return self._fixed_key or (RELAY if route.relay else site_key(hosts, self.shaping))

    def _new(self, key: str) -> Site:
        site = Site(site_id(key), key, self.shaping.profile_for(key), self._clock.now())
        self._sites[site.id] = site
        if site.id == UNRESOLVED:
            site.read = True
        else:
            self._unread[site.id] = site
            self._ensure.tell((site.id, key))
        return site

    def pace(self, site: Site, source: str) -> Pace:
        pace = site.paces.get(source)
        if pace is None:
            saved = site.saved.get(source)
            pace = Pace(site.profile, self._clock.now(), PaceState.from_json(saved) if saved else None)
            site.paces[source] = pace
        return pace

    # --- when to look ---

    def look_at(self, site: Site, at: float) -> None:
        """The store has something due for the site at `at`."""
        if site.claim_at is None or at < site.claim_at:
            site.claim_at = at
            self.remind(site, at)

    def look_now(self, site: Site) -> None:
        """Something changed for the site: look, whatever was planned."""
        now = self._clock.now()
        self.look_at(site, now)
        self.remind(site, now)

    def remind(self, site: Site, at: float) -> None:
        heapq.heappush(self._looks, (at, site.id))
        if self._looks[0] == (at, site.id):
            self._wake.set()

    def due(self, now: float) -> Iterator[Site]:
        """Sites whose time has come."""
        while self._looks and self._looks[0][0] <= now:
            site = self._sites.get(heapq.heappop(self._looks)[1])
            if site is not None:
                yield site

    def next_look(self) -> float | None:
        return self._looks[0][0] if self._looks else None

    def stored_sooner(self, at: float) -> None:
        """A row of a site that is not here is due at `at`; the caller's commit tells the store so."""
        if self.stored_due is None or at < self.stored_due:
            self.stored_due = at
            self._wake.set()

    # --- in and out of memory ---

    @property
    def has_room(self) -> bool:
        return len(self._sites) < MAX_SITES

    async def take_in_hand(self, now: float) -> None:
        """Bring due sites in from the store."""
        rows = await self._database.read(lambda connection: table.due(connection, now, 64))
        if rows:
            numbers = [row.id for row in rows]
            await self._database.writer.write(lambda connection: table.take_in_hand(connection, numbers))
        for row in rows:
            self.adopt(row)
            self.look_at(self._sites[row.id], now)
        self.stored_due = await self._database.read(table.first_due)

    async def look_everywhere(self) -> None:
        """Mail of a domain goes on: every site in the store may have some of it."""
        here = list(self._sites)
        await self._database.writer.write(lambda connection: table.rebuild_due_except(connection, here))
        for site in self:
            self.look_now(site)
        self.stored_due = 0.0

    @property
    def unread(self) -> list[Site]:
        return list(self._unread.values())

    async def read_new(self) -> list[Site]:
        """The sites made since the last time, with what the store knows of them."""
        some = self.unread
        if some:
            numbers = [site.id for site in some]
            for row in await self._database.read(lambda connection: table.of_ids(connection, numbers)):
                if row.id in self._unread:
                    self.adopt(row)
            for site in some:
                site.read = True
                self._unread.pop(site.id, None)
        return some

    def adopt(self, row: SiteRow) -> Site:
        site = self._sites.get(row.id) or self._new(row.key)
        site.read = True
        self._unread.pop(site.id, None)
        if not site.paces:
            site.saved = row.paces
        until, now = row.suspended_until, self._clock.now()
        if row.suspended_why is not None and (until is None or until > now):
            site.shut = Waiting(WaitReason.SITE_SUSPENDED, until, row.suspended_why)
            if until is not None:
                self.remind(site, until)
        return site

    async def forget_idle(self, now: float, paused: Collection[int] = ()) -> None:
        """Let go of sites that have had no work for a while; what we learnt of them is kept in the store.

        paused: domain ids whose mail need not be looked for soon.
        """
        idle = [site for site in self if _is_idle(site, now)]
        for at in range(0, len(idle), _BATCH):
            await self._let_go(idle[at : at + _BATCH], now, paused)

    async def _let_go(self, sites: list[Site], now: float, paused: Collection[int]) -> None:
        sites = [site for site in sites if _is_idle(site, now)]  # mail may have come while others were let go
        for site in sites:
            self._saved.pop(site.id, None)
            del self._sites[site.id]  # from here on new mail for it finds it in the store
            self._unread.pop(site.id, None)
            if self._recent[1] is site:
                self._recent = (None, self.unresolved)
        gone = [(site.id, paces_json(site), _not_before(site, now)) for site in sites]
        try:
            await self._database.writer.write(
                lambda connection: table.let_go(connection, gone, list(paused), now + HELD_S)
            )
        except BaseException:
            for site in sites:  # the store does not know when to look at them
                self._sites.setdefault(site.id, site)
            raise
        self.stored_due = await self._database.read(table.first_due)
        self._wake.set()

    async def save_paces(self) -> None:
        """What was learnt since it was last saved."""
        states = [(site.id, state) for site in self if (state := paces_json(site))]
        rows = [(number, state) for number, state in states if self._saved.get(number) != hash(state)]
        for at in range(0, len(rows), _BATCH):
            some = rows[at : at + _BATCH]
            await self._database.writer.write(partial(table.save_paces, paces=some))
            self._saved.update((number, hash(state)) for number, state in some)

    def reload(self, shaping: Shaping) -> None:
        """New shaping rules: sites keep what they learnt, within the new limits."""
        self.shaping = shaping
        self._by_route.clear()
        self._recent = (None, self.unresolved)
        for site in self:
            site.profile = shaping.profile_for(site.key, site.hosts)
            site.saved = {source: pace.save().to_json() for source, pace in site.paces.items()}
            now = self._clock.now()
            for source in site.paces:
                site.paces[source] = Pace(site.profile, now, PaceState.from_json(site.saved[source]))


def _is_idle(site: Site, now: float) -> bool:
    if site.id == UNRESOLVED or site.count or site.working or site.claiming or site.hushed:
        return False
    if site.shut is not None:  # a suspended one stays: who asks why its mail waits is told by it
        resting = site.shut.reason is not WaitReason.SITE_SUSPENDED or site.claim_at is None
    else:
        resting = site.claim_at is None or site.claim_at > now + FORGET_S
    return resting and now - site.idle_since > FORGET_S


def _not_before(site: Site, now: float) -> float | None:
    if site.shut is None:
        return None
    return site.shut.until if site.shut.until is not None else now + HELD_S


def paces_json(site: Site) -> str:
    """source address -> state, "" when nothing was learnt."""
    return json.dumps({source: pace.save().to_json() for source, pace in site.paces.items()}) if site.paces else ""
