"""Ops: GET /health and GET /metrics, for load balancers, monitors and Prometheus. No key is asked: nothing is secret.

Room: api. May import: mail, storage. Nothing here costs anything per message: plain numbers are read when somebody
asks. What needs the store is asked at most once in SNAPSHOT_S, however many ask.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from mtad import log as log_module
from mtad.api.codec import to_json
from mtad.api.errors import errors_to_json, hide_versions
from mtad.clock import Clock
from mtad.storage import queue_view, sites
from mtad.storage.database import Database
from mtad.storage.queue_view import Depth
from mtad.storage.sites import SiteSummary

log = log_module.get("api")

SNAPSHOT_S = 10.0
TOP_SITES = 50  # labels are memory of the monitor: only the sites with the most waiting get one
LAG_LIMIT_S = 2.0
MEMORY_LIMIT = 0.95  # of the budget
_LABEL = 120  # characters


def _zero() -> int:
    return 0


def _none() -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What the daemon tells when it is asked; each is called at every scrape and must return at once.

    Totals count since the start. failed: permanent failures by cause. smtp: the doors' counters by name.
    commit_s: seconds of all commits together. lag_s: the loop's, of late. memory: octets of messages held, and the
    most there may be. disk: octets free in the data folder, and the least there may be. inbound, inbound_copies,
    reports, posts: what became of mail from the world, of the copies that were made of it, of reports, and of webhooks'
    posts. visits_lost: opens and clicks there was no room for. other_troubles: further reasons not to be well, one
    sentence each.
    """

    store_failure: Callable[[], str | None]
    disk: Callable[[], tuple[int, int]]
    memory: Callable[[], tuple[int, int]]
    lag_s: Callable[[], float]
    accepted: Callable[[], int] = _zero
    delivered: Callable[[], int] = _zero
    deferred: Callable[[], int] = _zero
    interrupted: Callable[[], int] = _zero
    attempts: Callable[[], int] = _zero
    attempt_s: Callable[[], float] = _zero
    failed: Callable[[], Mapping[str, int]] = _none
    rejected: Callable[[], int] = _zero
    dsn_sent: Callable[[], int] = _zero
    connections_in: Callable[[], int] = _zero
    connections_out: Callable[[], int] = _zero
    http_connections: Callable[[], int] = _zero
    http_refused: Callable[[], int] = _zero
    smtp: Callable[[], Iterable[tuple[str, int]]] = tuple
    commits: Callable[[], int] = _zero
    intents: Callable[[], int] = _zero
    commit_s: Callable[[], float] = _zero
    backlog: Callable[[], int] = _zero
    in_memory: Callable[[], int] = _zero
    paused: Callable[[], bool] = bool
    visits: Callable[[], int] = _zero
    visits_lost: Callable[[], int] = _zero
    inbound: Callable[[], Mapping[str, int]] = _none
    inbound_refused: Callable[[], Mapping[str, int]] = _none
    inbound_copies: Callable[[], Mapping[str, int]] = _none
    check_s: Callable[[], float] = _zero
    reports: Callable[[], Mapping[str, int]] = _none
    posts: Callable[[], Mapping[str, int]] = _none
    post_attempts: Callable[[], int] = _zero
    post_s: Callable[[], float] = _zero
    other_troubles: Callable[[], Iterable[str]] = tuple


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store's part of the metrics. depth None: it could not be asked."""

    depth: Depth | None = None
    sites: tuple[SiteSummary, ...] = ()


@dataclass(slots=True)
class Snapshots:
    """The store asked for the queue's depth and its largest sites; the answer is good for SNAPSHOT_S."""

    database: Database
    clock: Clock
    _last: Snapshot = field(default_factory=Snapshot)
    _good_until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> Snapshot:
        async with self._asking:  # the others wait for the first one's answer
            if self.clock.steady() >= self._good_until:
                self._last = await self._ask()
                self._good_until = self.clock.steady() + SNAPSHOT_S
            return self._last

    async def _ask(self) -> Snapshot:
        try:
            depth = await self.database.read(queue_view.depth)
            largest = await self.database.read(lambda connection: sites.summaries(connection, TOP_SITES))
        except sqlite3.Error as error:
            log.warning("metrics-without-store", cause=error)
            return Snapshot()
        return Snapshot(depth, tuple(largest))


def troubles(gauges: Gauges) -> list[str]:
    """Why the daemon is not well, a sentence each; none: it is."""
    found = []
    failure = gauges.store_failure()
    if failure is not None:
        found.append(f"the store is unhealthy: {failure}")
    free, floor = gauges.disk()
    if free < floor:
        found.append(f"the disk is nearly full: {free} octets free, {floor} needed")
    used, limit = gauges.memory()
    if used > limit * MEMORY_LIMIT:
        found.append(f"messages take {used} of {limit} octets of memory")
    lag_s = gauges.lag_s()
    if lag_s > LAG_LIMIT_S:
        found.append(f"the event loop is {lag_s:.1f} s behind")
    return [*found, *gauges.other_troubles()]


class QueueCollector(Collector):
    """Reads the gauges and the last snapshot when Prometheus asks."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges
        self.snapshot = Snapshot()

    def describe(self) -> Iterable[Metric]:
        return ()  # asked at registration, when there is nothing to read yet

    def collect(self) -> Iterator[Metric]:
        yield from self._totals()
        yield from self._present()
        yield from self._stored()

    def _totals(self) -> Iterator[Metric]:
        gauges = self._gauges
        for name, help_, value in (
            ("mtad_recipients_accepted", "Recipients taken, each stored before the reply", gauges.accepted()),
            ("mtad_recipients_delivered", "Recipients that the next host took", gauges.delivered()),
            ("mtad_attempts_deferred", "Attempts that ended in a temporary failure", gauges.deferred()),
            ("mtad_attempts_interrupted", "Attempts whose outcome was never learnt", gauges.interrupted()),
            ("mtad_attempts", "Delivery attempts that ended", gauges.attempts()),
            ("mtad_attempt_seconds", "Time of all delivery attempts together", gauges.attempt_s()),
            ("mtad_messages_rejected", "Messages refused with a rejected event", gauges.rejected()),
            ("mtad_dsn_sent", "Delivery status notifications made for senders", gauges.dsn_sent()),
            ("mtad_http_connections_refused", "HTTP connections that were one too many", gauges.http_refused()),
            ("mtad_visits", "Opens, clicks and unsubscribes handed to the store", gauges.visits()),
            ("mtad_visits_lost", "Opens and clicks there was no room for", gauges.visits_lost()),
            ("mtad_inbound_check_seconds", "Time of all checks of mail from the world", gauges.check_s()),
            ("mtad_webhook_attempts", "Attempts to post to a webhook", gauges.post_attempts()),
            ("mtad_webhook_attempt_seconds", "Time of all those attempts together", gauges.post_s()),
            ("mtad_store_commits", "Transactions committed and synced", gauges.commits()),
            ("mtad_store_intents", "Changes that those transactions held", gauges.intents()),
            ("mtad_store_commit_seconds", "Time of all commits together", gauges.commit_s()),
        ):
            yield CounterMetricFamily(name, help_, value=value)
        for name, help_, label, counts in (
            ("mtad_recipients_failed", "Recipients given up, by cause", "cause", gauges.failed()),
            ("mtad_smtp", "What happened at the SMTP listeners", "what", dict(gauges.smtp())),
            ("mtad_inbound_messages", "Messages from the world or for addresses of ours", "what", gauges.inbound()),
            ("mtad_inbound_refused", "Those that were refused, by cause", "cause", gauges.inbound_refused()),
            ("mtad_inbound_copies", "What routes made of those taken", "what", gauges.inbound_copies()),
            ("mtad_reports", "Reports and wishes to leave that came by mail", "what", gauges.reports()),
            ("mtad_webhook_posts", "Posts to webhooks that are done with", "what", gauges.posts()),
        ):
            family = CounterMetricFamily(name, help_, labels=[label])
            for what, count in counts.items():
                family.add_metric([what[:_LABEL]], count)
            yield family

    def _present(self) -> Iterator[Metric]:
        gauges = self._gauges
        (used, limit), (free, floor) = gauges.memory(), gauges.disk()
        for name, help_, value in (
            ("mtad_healthy", "1 when /health answers 200", not troubles(gauges)),
            ("mtad_queue_paused", "1 while no delivery is started", gauges.paused()),
            ("mtad_queue_in_memory", "Recipients held by the scheduler", gauges.in_memory()),
            ("mtad_connections_in", "SMTP connections of clients", gauges.connections_in()),
            ("mtad_connections_out", "SMTP connections to other hosts", gauges.connections_out()),
            ("mtad_http_connections", "HTTP connections of clients", gauges.http_connections()),
            ("mtad_store_backlog", "Changes that wait for a transaction", gauges.backlog()),
            ("mtad_loop_lag_seconds", "How late the event loop is", gauges.lag_s()),
            ("mtad_message_memory_octets", "Message octets in memory", used),
            ("mtad_message_memory_limit_octets", "The most message octets in memory", limit),
            ("mtad_disk_free_octets", "Free space in the data folder", free),
            ("mtad_disk_floor_octets", "With less free space no mail is taken", floor),
        ):
            yield GaugeMetricFamily(name, help_, value=float(value))

    def _stored(self) -> Iterator[Metric]:
        depth = self.snapshot.depth
        if depth is None:
            return
        queue = GaugeMetricFamily("mtad_queue_recipients", "Recipients that are not done", labels=["state"])
        queue.add_metric(["waiting"], depth.waiting)
        queue.add_metric(["sending"], depth.leased)
        yield queue
        yield GaugeMetricFamily("mtad_spool_octets", "Octets of large bodies still needed", value=depth.spool_octets)
        open_ = GaugeMetricFamily("mtad_site_recipients", "Recipients not done at the largest sites", labels=["site"])
        shut = GaugeMetricFamily("mtad_site_suspended", "1 for sites that somebody suspended", labels=["site"])
        for summary in self.snapshot.sites:
            site = [summary.row.key[:_LABEL]]
            open_.add_metric(site, summary.waiting + summary.leased)
            shut.add_metric(site, summary.row.suspended_why is not None)
        yield open_
        yield shut


class OpsPages:
    """The handlers. `add_to` puts them into an application of several parts."""

    def __init__(self, gauges: Gauges, snapshots: Snapshots) -> None:
        self._gauges, self._snapshots = gauges, snapshots
        self._registry = CollectorRegistry()
        self._collector = QueueCollector(gauges)
        self._registry.register(self._collector)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/health", self.health)
        app.router.add_get("/metrics", self.metrics)

    async def health(self, request: web.Request) -> web.Response:
        """200 or 503; both say the same numbers. Asks nothing of the store: a hanging disk must not hang the answer."""
        gauges = self._gauges
        reasons = troubles(gauges)
        (used, limit), (free, _) = gauges.memory(), gauges.disk()
        page = {
            "status": "unhealthy" if reasons else "ok",
            "message": "; ".join(reasons) or "all is well",
            "reasons": reasons,
            "paused": bool(gauges.paused()),
            "disk_free_octets": free,
            "memory_octets": used,
            "memory_limit_octets": limit,
            "loop_lag_s": round(gauges.lag_s(), 3),
        }
        return web.Response(
            body=to_json(page),
            status=503 if reasons else 200,
            content_type="application/json",
            charset="utf-8",
            headers={"Cache-Control": "no-store"},
        )

    async def metrics(self, request: web.Request) -> web.Response:
        self._collector.snapshot = await self._snapshots.get()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def ops_app(gauges: Gauges, snapshots: Snapshots) -> web.Application:
    """An application of these two pages alone."""
    app = web.Application(middlewares=[errors_to_json], client_max_size=4096)
    app.on_response_prepare.append(hide_versions)
    OpsPages(gauges, snapshots).add_to(app)
    return app
