"""Window: the recipients that are in memory: claimed from the store while there is room, and given back when their
site or their domain must wait.

Room: queue. May import: mail, storage.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from mtad import log as log_module
from mtad.clock import Clock
from mtad.config import QueueConfig
from mtad.mail.waiting import Waiting
from mtad.queue.book import Book
from mtad.queue.contents import Contents
from mtad.queue.gates import Gates
from mtad.queue.quota import Quotas
from mtad.queue.settle import Settler
from mtad.queue.site import Site
from mtad.queue.tasks import Tasks
from mtad.queue.work import Held, Job, Tenants, lost
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing, StoredMessage, StoredRecipient
from mtad.storage.sites import UNRESOLVED

log = log_module.get("queue")

RESOLVING = 200  # recipients of unknown sites leased at once: each may need DNS


class Memory(Protocol):
    """Message bytes held at present, against a limit."""

    limit: int
    used: int

    def reserve(self, octets: int) -> bool: ...
    def release(self, octets: int) -> None: ...


class Window:
    """count: recipients in memory, of all sites. enter: where those go that were claimed."""

    def __init__(
        self,
        *,
        database: Database,
        outgoing: Outgoing,
        book: Book,
        settler: Settler,
        tenants: Tenants,
        contents: Contents,
        memory: Memory,
        clock: Clock,
        config: QueueConfig,
        gates: Gates,
        tasks: Tasks,
        quotas: Quotas,
        enter: Callable[[Held, Iterable[StoredRecipient]], None],
    ) -> None:
        self._database, self._outgoing, self._book, self._settler = database, outgoing, book, settler
        self._tenants, self._contents, self._memory, self._clock = tenants, contents, memory, clock
        self._gates, self._tasks, self._quotas, self._enter = gates, tasks, quotas, enter
        self._most, self._most_each = config.window, config.window_per_site
        self._worth = max(1, config.window // 50)  # less room than this is not worth a claim
        self._held: dict[int, Held] = {}
        self._crowd: dict[int, None] = {}  # sites with due rows that found the window full, the first one first
        self.count = 0

    # --- fresh mail, that is in no need of a claim ---

    def has_room(self, site: Site, domain_id: int) -> bool:
        """For one more that nobody stands in line before; one domain must not fill what others use at the site."""
        if self._crowd or self.count >= self._most or site.count >= self._most_each:
            return False
        return site.tenants <= 1 or site.ready_of(domain_id) <= self._most_each // (site.tenants + 1)

    def set_aside(self, site: Site, octets: int) -> bool:
        """Room for a recipient, and with the first one for the octets of its message."""
        if octets and not self._memory.reserve(octets):
            return False
        site.count += 1
        self.count += 1
        return True

    def refund(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None:
        """They do not come after all."""
        for recipient in recipients:
            self._of(recipient).count -= 1
            self.count -= 1
        if recipients:
            self._memory.release(message.size)
            self._let_in()

    def hold_fresh(self, message: StoredMessage, recipients: int) -> Held:
        """A message with all that room was set aside for."""
        held = self._held[message.id] = self._holding(message, recipients, message.size)
        return held

    def _of(self, recipient: StoredRecipient) -> Site:
        site = self._book.get(recipient.site_id)
        assert site is not None  # a site with jobs is not forgotten
        return site

    # --- claiming ---

    def claim_if_room(self, site: Site) -> None:
        own, free = self._most_each - site.count, self._most - self.count
        if site.claiming or self._gates.stopping or self._gates.why_paused or own <= 0:
            return  # asked again when there is room: _refill
        if free < self._worth:
            self._crowd[site.id] = None
            return
        room = min(own, free, RESOLVING) if site.id == UNRESOLVED else min(own, free)
        if self._gates.unwell() is not None:
            self._book.remind(site, self._clock.now() + 1.0)
            return
        site.claiming = True
        site.claim_at = None
        site.count += room
        self.count += room
        self._tasks.begin(self._claim(site, room), f"claim {site.key}")

    async def _claim(self, site: Site, room: int) -> None:
        now = self._clock.now()
        for tenant, why in self._quotas.over().items():
            self.hush(site, tenant, why)
        skip = {*self._tenants.paused(), *site.hushed}
        octets = max(0, (self._memory.limit - self._memory.used) // 2)
        have = set(self._held)
        unused = room
        try:
            claim = await self._database.writer.write(
                lambda connection: self._outgoing.claim(connection, site.id, now, room, have, skip, octets)
            )
            unused -= len(claim.recipients)
        except Exception as error:  # the rows are as they were
            log.error("claim-failed", site=site.key, cause=repr(error))
            self._book.look_at(site, now + 5.0)
            return
        finally:
            site.count -= unused
            self.count -= unused
            site.claiming = False
            if site.claim_at is not None:  # a row came while we claimed: its look was in vain
                self._book.remind(site, site.claim_at)
            self._let_in()
        site.late = claim.late
        if claim.next_due is not None:
            self._book.look_at(site, claim.next_due)
        for recipient in claim.recipients:
            self._enter(self._hold(recipient, claim.messages), (recipient,))

    def _hold(self, recipient: StoredRecipient, messages: dict[int, StoredMessage]) -> Held:
        held = self._held.get(recipient.message_id)
        if held is None:
            message = messages.get(recipient.message_id) or lost(recipient)
            octets = message.size if message.content is not None and self._memory.reserve(message.size) else 0
            if not octets:
                message.content = None  # read again when its turn comes
            held = self._held[recipient.message_id] = self._holding(message, 0, octets)
        held.open += 1
        return held

    def _holding(self, message: StoredMessage, open_: int, octets: int) -> Held:
        held = Held(message, open_, octets)
        held.alone = self._contents.alone(held)
        return held

    # --- room again ---

    def gone(self, site: Site, held: Held) -> None:
        """One recipient less in memory."""
        site.count -= 1
        self.count -= 1
        held.open -= 1
        if not held.open:
            if self._held.get(held.message.id) is held:
                del self._held[held.message.id]
            if held.octets:
                self._memory.release(held.octets)
        self._refill(site)

    def move(self, recipient: StoredRecipient, counted: Site, site: Site) -> None:
        """It was counted at one site and belongs to another today."""
        counted.count -= 1
        site.count += 1
        recipient.site_id = site.id
        self._refill(counted)

    def _refill(self, site: Site) -> None:
        """There is more room: for those who stand in line for it, and then for the site's own rows."""
        self._let_in()
        if site.claim_at is None or site.claiming or site.shut is not None:
            return
        if site.count <= self._most_each // 2 and site.claim_at <= self._clock.now():
            self.claim_if_room(site)

    def _let_in(self) -> None:
        """Sites that found the window full, in turn; fresh mail and other claims stand behind them (has_room)."""
        while self._crowd and self._most - self.count >= self._worth and not self._gates.stopping:
            number = next(iter(self._crowd))
            del self._crowd[number]
            site = self._book.get(number)
            if site is not None and site.claim_at is not None and site.shut is None:
                self.claim_if_room(site)

    # --- giving back ---

    def shut(self, site: Site, why: Waiting) -> None:
        """Nothing goes to this site until why.until: its ready jobs go back to the store."""
        if site.shut is None:
            log.info("site-waits", site=site.key, why=why.reason, detail=why.detail, until=why.until)
        site.shut = why
        self.release(site, site.drain())
        if why.until is not None:
            self._book.remind(site, why.until)

    def hush(self, site: Site, tenant: int, why: Waiting) -> None:
        """Nothing of this domain goes to the site until why.until; a longer wait there is stays."""
        held = site.hushed.get(tenant)
        if held is None or (held.until is not None and (why.until is None or why.until > held.until)):
            site.hushed[tenant] = why
            if why.until is not None:
                self._book.remind(site, why.until)
        self.release(site, site.drain(tenant))

    def release(self, site: Site, jobs: Iterable[Job]) -> None:
        """Leases nobody has begun go back to the store."""
        for job in jobs:
            self.give_back(site, job.held, job.recipient)

    def give_back(self, site: Site, held: Held, recipient: StoredRecipient) -> None:
        self._settler.give_back(recipient, site.id)
        site.late.add(recipient.domain_id)
        self._book.look_at(site, self._clock.now())
        self.gone(site, held)
