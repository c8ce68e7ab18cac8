"""Sorting: leased recipients become jobs at the site that their domain's hosts make up today.

Room: queue. May import: mail, storage, delivery.
"""

from collections.abc import Callable, Iterable

from mtad import log as log_module
from mtad.delivery.mx import Route
from mtad.mail.address import domain_of
from mtad.mail.reply import Deferred, Failed, Phase, Reply
from mtad.queue.book import Book
from mtad.queue.gates import Gates
from mtad.queue.settle import Settler
from mtad.queue.site import Site
from mtad.queue.tasks import Tasks
from mtad.queue.window import Window
from mtad.queue.work import NOWHERE, Held, Job, Transport
from mtad.storage.outgoing import StoredRecipient

log = log_module.get("queue")


class Sorting:
    """start: told of each site that has new jobs."""

    def __init__(
        self,
        *,
        book: Book,
        transport: Transport,
        settler: Settler,
        gates: Gates,
        tasks: Tasks,
        window: Window,
        start: Callable[[Site], None],
    ) -> None:
        self._book, self._transport, self._settler = book, transport, settler
        self._gates, self._tasks, self._window, self._start = gates, tasks, window, start
        self._resolving: dict[str, list[tuple[Site, Held, StoredRecipient]]] = {}

    def enter(self, held: Held, recipients: Iterable[StoredRecipient]) -> None:
        """Where the hosts of a domain are not known yet, its recipients wait for them."""
        touched: dict[int, Site] = {}
        for recipient in recipients:
            counted = self._book.get(recipient.site_id)
            assert counted is not None  # a site with jobs is not forgotten
            domain = domain_of(recipient.address)
            route = self._transport.known(domain)
            if route is None:
                self._resolve(domain, counted, held, recipient)
            else:
                self._push(counted, route, held, recipient, touched)
        self._start_all(touched)

    def dismiss(self) -> None:
        """Give back what waits for hosts to become known."""
        for waiting in self._resolving.values():
            for site, held, recipient in waiting:
                self._settler.give_back(recipient, site.id)
                self._window.gone(site, held)
            waiting.clear()

    def _push(
        self, counted: Site, route: Route, held: Held, recipient: StoredRecipient, touched: dict[int, Site]
    ) -> None:
        """touched: where it is noted that the site has a job more."""
        site = self._book.of_route(route)
        if site is not counted:
            self._window.move(recipient, counted, site)
        if site.shut is not None or recipient.domain_id in site.hushed or self._gates.stopping:
            self._window.give_back(site, held, recipient)
            return
        site.push(Job(held, recipient, route))
        touched[site.id] = site

    def _start_all(self, touched: dict[int, Site]) -> None:
        for site in touched.values():
            self._start(site)

    def _resolve(self, domain: str, counted: Site, held: Held, recipient: StoredRecipient) -> None:
        waiting = self._resolving.get(domain)
        if waiting is not None:
            waiting.append((counted, held, recipient))
            return
        if self._gates.stopping:  # no task may begin any more
            self._window.give_back(counted, held, recipient)
            return
        self._resolving[domain] = [(counted, held, recipient)]
        self._tasks.begin(self._find_route(domain), f"route {domain}")

    async def _find_route(self, domain: str) -> None:
        try:
            route = await self._transport.route(domain)
        except Exception as error:
            log.exception("route-crashed", host=domain)
            route = Deferred(Reply(451, "4.3", f"Looking up {domain} failed: {error!r}"), None, Phase.DNS)
        touched: dict[int, Site] = {}
        for counted, held, recipient in self._resolving.pop(domain):
            if not isinstance(route, Route):
                self._settle_unrouted(counted, Job(held, recipient, NOWHERE), route)
                continue
            self._push(counted, route, held, recipient, touched)
        self._start_all(touched)

    def _settle_unrouted(self, site: Site, job: Job, outcome: Deferred | Failed) -> None:
        settled = self._settler.settle(job, outcome)
        if settled[1] is not None:
            self._book.look_at(site, settled[1])
        self._window.gone(site, job.held)
