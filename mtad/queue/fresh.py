"""Fresh: mail that has just come: it is leased in the commit that takes it, and nothing is read back from the store.

Room: queue. May import: storage, delivery. Submit asks it (its Desk).
"""

from mtad.clock import Clock
from mtad.queue.book import Book
from mtad.queue.gates import Gates
from mtad.queue.quota import Quotas
from mtad.queue.sorting import Sorting
from mtad.queue.tasks import Tasks
from mtad.queue.window import Window
from mtad.queue.work import Tenants, Transport
from mtad.storage.outgoing import StoredMessage, StoredRecipient
from mtad.storage.sites import UNRESOLVED


class Fresh:
    def __init__(
        self,
        *,
        book: Book,
        transport: Transport,
        tenants: Tenants,
        clock: Clock,
        gates: Gates,
        tasks: Tasks,
        quotas: Quotas,
        window: Window,
        sorting: Sorting,
    ) -> None:
        self._book, self._transport, self._tenants, self._clock = book, transport, tenants, clock
        self._gates, self._tasks, self._quotas = gates, tasks, quotas
        self._window, self._sorting = window, sorting
        self.refund = window.refund

    def place(self, domain: str) -> int:
        route = self._transport.known(domain)
        return self._book.of_route(route).id if route is not None else UNRESOLVED

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        site, gates = self._book.get(site_id), self._gates
        if (
            site is None
            or self._tasks.group is None  # a lease of ours would be taken for one of the daemon before us
            or site.shut is not None
            or gates.stopping
            or gates.why_paused
            or not self._window.has_room(site, domain_id)
            or domain_id in site.late
            or domain_id in site.hushed
            or domain_id in self._tenants.paused()
            or domain_id in self._quotas.over()
            or gates.unwell() is not None
        ):
            return False
        return self._window.set_aside(site, octets)

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> tuple[int, float] | None:
        site = self._book.get(site_id)
        if site is None:
            self._book.stored_sooner(due_at)
            return site_id, due_at
        if due_at <= self._clock.now():
            site.late.add(domain_id)
        self._book.look_at(site, due_at)
        return None

    def take(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None:
        self._sorting.enter(self._window.hold_fresh(message, len(recipients)), recipients)
