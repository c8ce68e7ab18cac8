"""Daemon: builds every room from the configuration, starts them, shuts them in order.

The nesting of `async with` is the order of shutdown: the lock and the store outermost, the queue inside, the doors
innermost. SIGTERM and SIGINT end it, SIGHUP reads configuration, certificate, shaping and bounce rules again.
"""

import asyncio
import ctypes
import os
import random
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import uvloop
from aiohttp import web

from mtad import log as log_module
from mtad.api.control import serve_control
from mtad.api.lock import hold
from mtad.api.operations import Operations
from mtad.api.ops import Gauges, Snapshots, ops_app
from mtad.api.tenants import Tenants
from mtad.capture.inbox import Inbox
from mtad.clock import Clock, SystemClock
from mtad.config import Config, ConfigError, parse_listen, restart_needed
from mtad.delivery.connect import Connector
from mtad.delivery.dial import SystemDialer
from mtad.delivery.dns import DnsResolver
from mtad.delivery.fetch import HttpsFetch
from mtad.delivery.mx import Router
from mtad.delivery.ourselves import ourselves
from mtad.delivery.tls import TlsMemory, TlsPolicies
from mtad.delivery.world import World
from mtad.feedback.classify import Classifier, load_rules
from mtad.mail.address import Address
from mtad.mail.ids import IdSource
from mtad.mail.reply import Hop, Reply
from mtad.mail.suppression import Suppressed
from mtad.message.finish import Finisher
from mtad.queue.book import Book
from mtad.queue.compose import Composer
from mtad.queue.health import Health
from mtad.queue.notify import Notifier
from mtad.queue.operator import Operator
from mtad.queue.runner import Runner
from mtad.queue.schedule import RetryPlan
from mtad.queue.settle import Settler
from mtad.queue.shaping import Shaping, load_shaping
from mtad.queue.submit import Submit
from mtad.queue.warmups import WarmUps
from mtad.queue.work import Held, Transport
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.listeners import Listeners
from mtad.smtp.policy import DoorPolicy
from mtad.smtp.session import Listener
from mtad.storage import captured, journal, sites, upkeep
from mtad.storage.database import Database, Lane, StoreError, ease_lock_hand_over, open_database
from mtad.storage.outgoing import Accept, Outgoing, Settle, StoredRecipient
from mtad.storage.spool import Spool

log = log_module.get("daemon")

LAG_EVERY_S = 0.25
RETENTION_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the daemon listens, and what may be asked of it."""

    operations: Operations
    mx: tuple[str, ...]
    submission: tuple[str, ...]
    submissions: tuple[str, ...]
    http: tuple[str, ...]


def serve(config: Config, reload: Callable[[], Config]) -> None:
    """Run until SIGTERM. Raises ConfigError and StoreError, each with one line for people."""
    log_module.start(config.server.log_level)
    uvloop.run(run(config, reload, _announce))


async def _announce(ready: Ready) -> None:
    notify_systemd("READY=1")
    log.info("ready", pid=os.getpid())


async def run(
    config: Config,
    reload: Callable[[], Config],
    on_ready: Callable[[Ready], Awaitable[None]],
    *,
    capture: bool = False,
    prepare: Callable[[Operations], Awaitable[None]] | None = None,
) -> None:
    """The daemon's whole life in the running loop.

    capture: outgoing mail is kept instead of sent. prepare: runs when the store is open and no door is.
    """
    ease_lock_hand_over()
    keep_memory_together()
    clock, folder = SystemClock(), config.server.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise StoreError(f"cannot make the data folder {folder}: {error.strerror}") from None
    async with hold(folder, clock):
        async with open_database(folder, clock, cache_octets=config.store.cache_octets) as database:
            writing = asyncio.create_task(database.writer.run(), name="writer")
            try:
                house = _House(config, reload, database, clock, capture)
                await house.live(on_ready, prepare)
            finally:
                database.writer.stop()
                await writing


class NoSuppressions:
    def maybe(self, domain_id: int, address: str) -> bool:
        return False

    async def find(self, domain_id: int, address: str, tags: tuple[str, ...]) -> Suppressed | None:
        return None


class _House:
    """All parts of a running daemon, put together."""

    def __init__(
        self, config: Config, reload: Callable[[], Config], database: Database, clock: Clock, capture: bool
    ) -> None:
        self.config, self._reload, self.database, self.clock = config, reload, database, clock
        self.hostname = config.server.hostname or socket.getfqdn()
        self._capture = capture
        self._rng = random.SystemRandom()
        self.stopping = asyncio.Event()
        self.counters, self.budget = Counters(), Budget(config.queue.memory_octets)
        self._memory = Budget(config.queue.memory_octets)
        self.lag_s = 0.0

    async def live(
        self,
        on_ready: Callable[[Ready], Awaitable[None]],
        prepare: Callable[[Operations], Awaitable[None]] | None,
    ) -> None:
        executor = ThreadPoolExecutor(2, thread_name_prefix="sign")
        try:
            await self._build(executor)
            if prepare is not None:
                await prepare(self.operations)
            with self._signals():
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(self.runner.run(), name="runner")
                    watchers = [
                        tasks.create_task(self._watch(), name="watch"),
                        tasks.create_task(self._retain(), name="retention"),
                    ]
                    try:
                        await self._open_doors(on_ready)
                    finally:
                        for watcher in watchers:
                            watcher.cancel()
                        self.runner.stop()
                        await self._wind_up(running)
        finally:
            self.spool.close()
            executor.shutdown(wait=False, cancel_futures=True)
        log.info("stopped", accepted=self.submit.accepted, delivered=self.settler.tally.delivered)

    async def _open_doors(self, on_ready: Callable[[Ready], Awaitable[None]]) -> None:
        config = self.config
        try:
            await self.listeners.start()
            async with self._http() as http, serve_control(config.server.data_dir, self.operations):
                await on_ready(
                    Ready(
                        self.operations,
                        tuple(self.listeners.addresses(Listener.MX)),
                        tuple(self.listeners.addresses(Listener.SUBMISSION)),
                        tuple(self.listeners.addresses(Listener.SUBMISSIONS)),
                        http,
                    )
                )
                await self.stopping.wait()
                notify_systemd("STOPPING=1")
                log.info("stopping", grace_s=config.server.grace_s)
        finally:
            await self.listeners.stop(config.server.grace_s)

    async def _wind_up(self, running: "asyncio.Task[None]") -> None:
        """Transactions under way may end within the grace time; then they are cut and their outcome is unknown."""
        done, _ = await asyncio.wait({running}, timeout=self.config.server.grace_s)
        if not done:
            log.warning("grace-over", connections=self.runner.connections)
            running.cancel()
            await asyncio.wait({running})
        await self.notifier.finish()
        await self.warm_ups.save()

    async def _build(self, executor: ThreadPoolExecutor) -> None:
        config, database, clock = self.config, self.database, self.clock
        writer = database.writer
        shaping, classifier, plan = _rules(config)
        self.spool = Spool(config.server.data_dir / "spool")
        await writer.write(self.spool.open)
        newest = await database.read(journal.newest_id)
        self.ids = ids = IdSource(clock.now, floor=newest)
        self.outgoing = outgoing = Outgoing(self.spool, config.store.inline_octets)
        self.tenants = tenants = Tenants(database, config.delivery)
        await tenants.load()
        self.health = Health(config.server.data_dir, writer, config.store.min_free_octets)
        ensure: Lane[tuple[int, str]] = writer.lane(sites.ensure)
        capturing: Lane[captured.CapturedRow] = writer.lane(captured.add)
        accept: Lane[Accept] = writer.lane(outgoing.accept)
        settle: Lane[Settle] = writer.lane(outgoing.settle, patient=True)
        self.transport: Transport = Inbox(capturing, ids, clock) if self._capture else self._world()
        self.warm_ups = WarmUps(database, shaping, clock)
        await self.warm_ups.load(tenants.all_sources())
        self.settler = Settler(
            lane=settle,
            ids=ids,
            clock=clock,
            classifier=classifier,
            plan=plan,
            dice=self._rng.random,
            on_failed=self._on_failed,
        )
        wake = asyncio.Event()
        self.finisher = Finisher(executor)
        self.runner = Runner(
            database=database,
            outgoing=outgoing,
            book=Book(database, ensure, shaping, clock, wake, self.transport.fixed_key),
            wake=wake,
            settler=self.settler,
            transport=self.transport,
            tenants=tenants,
            composer=Composer(domains=tenants, finisher=self.finisher, clock=clock),
            suppressing=NoSuppressions(),
            memory=self._memory,
            clock=clock,
            config=config.queue,
            idle_s=config.delivery.idle_s,
            unwell=self.health.unwell,
            limit_source=self.warm_ups.gate,
            sent=self.warm_ups.sent,
        )
        self.submit = Submit(
            accept=accept,
            rejected=writer.lane(journal.add, patient=True),
            desk=self.runner,
            domains=tenants,
            ids=ids,
            clock=clock,
            gate=self.health.gate,
            hostname=self.hostname,
            give_up_after_s=config.queue.give_up_after_s,
            max_hops=config.smtp.max_hops,
            max_schedule_s=config.queue.max_schedule_s,
        )
        self.notifier = Notifier(
            submit=self.submit,
            database=database,
            outgoing=outgoing,
            ids=ids,
            clock=clock,
            config=config.bounces,
            hostname=self.hostname,
            max_hops=config.smtp.max_hops,
            wants=tenants.wants_dsn,
            name_of=tenants.name_of,
        )
        self.operator = Operator(
            runner=self.runner,
            settler=self.settler,
            tenants=tenants,
            database=database,
            outgoing=outgoing,
            clock=clock,
        )
        self.operations = Operations(
            database=database,
            outgoing=outgoing,
            ids=ids,
            clock=clock,
            runner=self.operator,
            changed=self._changed,
            hostname=self.hostname,
            sources=config.delivery.sources,
        )
        self.listeners = Listeners(
            config.smtp,
            hostname=self.hostname,
            default_domain=config.server.default_domain,
            policy=DoorPolicy(
                default_domain=config.server.default_domain or self.hostname,
                is_ours=tenants.is_ours,
                recipient=self._stranger,
                accepting=lambda: self.health.gate(0),
                auth_without_tls=config.smtp.auth_without_tls,
            ),
            submit=self.submit,
            verify=tenants.verify,
            clock=clock,
            budget=self.budget,
            counters=self.counters,
            environ=os.environ,
        )

    def _world(self) -> World:
        config, clock = self.config, self.clock
        resolver = DnsResolver(config.dns, clock)
        us = ourselves(self.hostname, config.smtp.mx)
        router = Router(
            config.delivery, resolver, clock, self._rng, us, allow_private=config.http.allow_private_targets
        )
        fetch = HttpsFetch(resolver, allow_private=config.http.allow_private_targets)
        policies = TlsPolicies(config.delivery, resolver, fetch, clock)
        connector = Connector(config.delivery, self.hostname, router.addresses, SystemDialer(), clock, TlsMemory(clock))
        return World(router, policies, connector)

    def _on_failed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        self.notifier.failed(held, recipient, reply, hop)

    def _stranger(self, address: Address) -> Reply | None:
        """What somebody who has not logged in is told of a recipient: no mailbox is here yet, and we are no relay."""
        if self.tenants.is_ours(address.domain):
            return Reply(550, "1.1", f"<{address}>: there is no such mailbox here; check the address")
        return Reply(550, "7.1", f"Relaying to {address.domain} is for our users: log in with AUTH first")

    async def _changed(self) -> None:
        await self.tenants.load()
        self.operator.look_again()

    # --- watching ---

    async def _watch(self) -> None:
        """Measure how late the loop is, and look at the disk."""
        while True:
            before = self.clock.steady()
            await self.clock.sleep(LAG_EVERY_S)
            late_s = self.clock.steady() - before - LAG_EVERY_S
            self.lag_s = max(late_s, self.lag_s * 0.9)
            was = self.health.unwell()
            self.health.look()
            now = self.health.unwell()
            if now != was:
                log.warning("unwell" if now else "well-again", why=now)
            if self.database.writer.failure is not None:
                await self._probe()

    async def _probe(self) -> None:
        """An unhealthy store is asked whether it is well again; the writer notes the answer."""
        try:
            await self.database.writer.write(_touch)
        except sqlite3.Error as error:
            log.debug("store-still-unhealthy", cause=error)

    async def _retain(self) -> None:
        """Delete what nobody must keep any more, a few rows at a time."""
        write = self.database.writer.write
        while True:
            await self.clock.sleep(RETENTION_EVERY_S)
            if self.health.unwell() is not None:
                continue
            now, store = self.clock.now(), self.config.store
            before, captured_before = now - store.events_keep_s, now - store.captured_keep_s
            for job in (
                partial(upkeep.expire_rejections, before=before),
                partial(upkeep.expire_messages, before=before),
                partial(upkeep.expire_captured, before=captured_before),
            ):
                while await write(job) >= upkeep.BATCH:
                    await self.clock.sleep(0.05)
            self.spool.unlink(await write(self.spool.sweep))
            await self.warm_ups.save()

    # --- HTTP ---

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[tuple[str, ...]]:
        app = ops_app(self._gauges(), Snapshots(self.database, self.clock))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        try:
            addresses = []
            for text in self.config.http.listen:
                host, port = parse_listen(text)
                try:
                    await web.TCPSite(runner, host, port).start()
                except OSError as error:
                    right = f"cannot be listened on: {error.strerror or error}; another program may have it"
                    raise ConfigError("http.listen", text, right) from None
            for name in runner.addresses:
                host, port = name[0], name[1]
                addresses.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            yield tuple(addresses)
        finally:
            await runner.cleanup()

    def _gauges(self) -> Gauges:
        writer, tally = self.database.writer, self.settler.tally
        return Gauges(
            store_failure=lambda: writer.failure,
            disk=lambda: self.health.disk,
            memory=lambda: (self.budget.used + self._memory.used, self.budget.limit + self._memory.limit),
            lag_s=lambda: self.lag_s,
            accepted=lambda: self.submit.accepted,
            delivered=lambda: tally.delivered,
            deferred=lambda: tally.deferred,
            interrupted=lambda: tally.interrupted,
            attempts=lambda: tally.attempts,
            attempt_s=lambda: tally.seconds,
            failed=lambda: tally.failures,
            rejected=lambda: self.submit.rejected,
            dsn_sent=lambda: self.notifier.sent,
            connections_in=lambda: self.listeners.connections,
            connections_out=lambda: self.runner.connections,
            smtp=lambda: self.counters,
            commits=lambda: writer.commits,
            intents=lambda: writer.intents,
            commit_s=lambda: writer.busy_s,
            backlog=lambda: writer.backlog,
            in_memory=lambda: self.runner.count,
            paused=lambda: bool(self.runner.why_paused),
        )

    # --- signals ---

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _read_again(self) -> None:
        """SIGHUP. Anything wrong is refused whole, and what was in force stays."""
        notify_systemd("RELOADING=1")
        try:
            config = self._reload()
            shaping, classifier, plan = _rules(config)
            if config.smtp.tls_certificate is not None:
                self.listeners.reload_tls(config.smtp.tls_certificate, config.smtp.tls_key)
        except ConfigError as error:
            log.error("reload-refused", cause=error)
        else:
            waiting = restart_needed(self.config, config)
            self.settler.reload(classifier, plan)
            self.runner.book.reload(shaping)
            log_module.start(config.server.log_level)
            log.info("reloaded", restart_needed=",".join(waiting) or None)
        notify_systemd("READY=1")


def _rules(config: Config) -> tuple[Shaping, Classifier, RetryPlan]:
    queue = config.queue
    return (
        load_shaping(*_text_of(config.shaping_file, "shaping.toml", "shaping_file")),
        Classifier(load_rules(*_text_of(config.bounces_file, "bounces.toml", "bounces_file"))),
        RetryPlan(queue.retry_waits_s, queue.retry_jitter, queue.give_up_after_s),
    )


def _text_of(path: Path | None, default: str, key: str) -> tuple[str, str]:
    if path is None:
        return resources.files("mtad").joinpath("defaults", default).read_text("utf-8"), default
    try:
        return path.read_text("utf-8"), str(path)
    except (OSError, UnicodeError) as error:
        raise ConfigError(key, str(path), f"cannot be read: {error}") from None


def _touch(connection: sqlite3.Connection) -> None:
    """A write that leaves nothing behind but needs the disk."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {int(version)}")


def keep_memory_together() -> None:
    """glibc: one heap for all threads, and free ends of it given back, so that memory under load stays bounded.
    Another C library has no such call, and is left as it is.
    """
    arena_max, trim_threshold = -8, -1  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(arena_max, 1)
    mallopt(trim_threshold, 131_072)


def notify_systemd(text: str) -> None:
    """Tell systemd, if it started us so (sd_notify(3)); nobody else is told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), target)
    except OSError as error:
        print(f"sd_notify: {error}", file=sys.stderr)
