"""Daemon: starts what house.py builds, and shuts it in order.

The nesting of `async with` is the order of shutdown: the lock and the store outermost, the queue inside, the doors
innermost. SIGTERM and SIGINT end it, SIGHUP reads configuration, certificate, shaping and bounce rules again.
"""

import asyncio
import ctypes
import gc
import os
import secrets
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

import uvloop
from aiohttp import web

from mtad import log as log_module
from mtad.api.connections import Connections
from mtad.api.control import serve_control
from mtad.api.http.idempotency import KEEP_S
from mtad.api.http.keys import reachable
from mtad.api.lock import hold
from mtad.api.operations import Operations
from mtad.api.server import Runner
from mtad.clock import SystemClock
from mtad.config import Config, ConfigError, in_force, parse_listen, restart_needed
from mtad.config.advice import advice
from mtad.house import House
from mtad.mail.ids import made_at
from mtad.pages import http_app
from mtad.rules import rules
from mtad.smtp.session import Listener
from mtad.storage import campaign_events, counters, idempotency, lists, lookups, outbox, stored, tracked, upkeep
from mtad.storage.database import StoreError, ease_lock_hand_over, open_database
from mtad.webhooks.poster import Poster, open_poster, system_lookup

log = log_module.get("daemon")

LAG_EVERY_S = 0.25
SET_BACK_S = 60.0  # less is no matter
RETENTION_EVERY_S = 60.0
MAX_LINE = 16_384  # octets of a request line: a click's token carries where it leads
HTTP_IDLE_S = 75.0  # a connection without a whole request: longer than proxies keep theirs, so that they close first


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
            executor = ThreadPoolExecutor(2, thread_name_prefix="sign")
            for key, why in () if capture else advice(config):
                log.warning("config", key=key, why=why)
            house = House(config, database, clock, executor, capture=capture)
            try:
                await house.build()
                await _Life(house, reload).live(on_ready, prepare)
            finally:
                house.close()
                executor.shutdown(wait=False, cancel_futures=True)
                database.writer.stop()
                await writing


class _Life:
    """One run of the house, from the first part built to the last one shut."""

    def __init__(self, house: House, reload: Callable[[], Config]) -> None:
        self.house, self._reload = house, reload
        self.config, self.clock, self.database = house.config, house.clock, house.ground.database
        self.stopping = asyncio.Event()

    async def live(
        self,
        on_ready: Callable[[Ready], Awaitable[None]],
        prepare: Callable[[Operations], Awaitable[None]] | None,
    ) -> None:
        house = self.house
        if prepare is not None:
            await prepare(house.operations)
        # The HTTP port opens first: links in what the queue sends may lead to it.
        async with self._poster() as poster, self._http() as http:
            house.build_sender(poster)
            with self._signals():
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(house.out.runner.run(), name="runner")
                    posting = tasks.create_task(house.sender.run(), name="sender")
                    visits = tasks.create_task(house.visits.run(), name="visits")
                    watchers = [
                        tasks.create_task(house.ground.suppressed.run(), name="suppressions"),
                        tasks.create_task(house.ground.indexer.run(), name="indexer"),
                        tasks.create_task(self._watch(), name="watch"),
                        tasks.create_task(self._retain(), name="retention"),
                    ]
                    try:
                        await self._open_doors(on_ready, http)
                    finally:
                        for watcher in watchers:
                            watcher.cancel()
                        house.out.runner.stop()
                        house.sender.stop()
                        await self._wind_up(running, posting)
                        house.visits.stop()
                        await asyncio.wait({visits})
        log.info("stopped", accepted=house.out.submit.accepted, delivered=house.out.settler.tally.delivered)

    def _poster(self) -> AbstractAsyncContextManager[Poster]:
        names = self.house.names if self.config.dns.nameservers else system_lookup
        return open_poster(self.house.webhook_config(), self.clock, names)

    async def _open_doors(self, on_ready: Callable[[Ready], Awaitable[None]], http: tuple[str, ...]) -> None:
        config, listeners = self.config, self.house.listeners
        try:
            await listeners.start()
            async with serve_control(config.server.data_dir, self.house.operations):
                leave_out_what_stays()
                await on_ready(
                    Ready(
                        self.house.operations,
                        tuple(listeners.addresses(Listener.MX)),
                        tuple(listeners.addresses(Listener.SUBMISSION)),
                        tuple(listeners.addresses(Listener.SUBMISSIONS)),
                        http,
                    )
                )
                await self.stopping.wait()
                notify_systemd("STOPPING=1")
                log.info("stopping", grace_s=config.server.grace_s)
        finally:
            await listeners.stop(config.server.grace_s)

    async def _wind_up(self, *running: "asyncio.Task[None]") -> None:
        """Transactions under way may end within the grace time; then they are cut and their outcome is unknown."""
        _, left = await asyncio.wait(running, timeout=self.config.server.grace_s)
        if left:
            log.warning("grace-over", connections=self.house.out.runner.connections, posts=self.house.sender.at_once)
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        await self.house.receive.finish()
        await self.house.out.notifier.finish()
        await self.house.out.warm_ups.save()

    # --- watching ---

    async def _watch(self) -> None:
        """Measure how late the loop is, and look at the disk and the time of day."""
        ahead_s = made_at(self.house.ground.ids.last) - self.clock.now()  # set back while nobody was here
        while True:
            if ahead_s > SET_BACK_S:
                await self._clock_set_back(ahead_s)
            before, at = self.clock.steady(), self.clock.now()
            await self.clock.sleep(LAG_EVERY_S)
            took_s = self.clock.steady() - before
            late_s, ahead_s = took_s - LAG_EVERY_S, at + took_s - self.clock.now()
            self.house.lag_s = max(late_s, self.house.lag_s * 0.9)
            was = self.house.ground.health.unwell()
            self.house.ground.health.look()
            now = self.house.ground.health.unwell()
            if now != was:
                log.warning("unwell" if now else "well-again", why=now)
            if self.database.writer.failure is not None:
                await self._probe()

    async def _clock_set_back(self, by_s: float) -> None:
        log.warning("clock-set-back", by_s=round(by_s))
        try:
            await self.house.out.operator.clock_set_back(by_s)
        except sqlite3.Error as error:
            log.error("waits-not-shortened", cause=error)
        self.house.sender.clock_set_back()

    async def _probe(self) -> None:
        """An unhealthy store is asked whether it is well again; the writer notes the answer."""
        try:
            await self.database.writer.write(_touch)
        except sqlite3.Error as error:
            log.debug("store-still-unhealthy", cause=error)

    async def _retain(self) -> None:
        """Delete what nobody must keep any more, a few rows at a time."""
        while True:
            await self.clock.sleep(RETENTION_EVERY_S)
            if self.house.ground.health.unwell() is not None:
                continue
            try:
                await self._forget()
            except sqlite3.Error as error:
                log.warning("retention-failed", cause=error)

    async def _forget(self) -> None:
        house, store, now = self.house, self.config.store, self.clock.now()
        write, before = self.database.writer.write, now - store.events_keep_s
        for job in (
            partial(upkeep.expire_rejections, before=before),
            partial(upkeep.expire_messages, before=before),
            partial(lookups.expire, before=before),
            partial(tracked.expire_firsts, before=before),
            partial(stored.expire, outgoing=house.ground.outgoing, before=now - self.config.inbound.stored_keep_s),
            partial(upkeep.expire_captured, before=now - store.captured_keep_s),
            partial(counters.expire_counters, before=now - store.counters_keep_s),
            partial(counters.expire_aggregates, before=now - store.counters_keep_s),
            partial(idempotency.expire_idempotency, before=now - KEEP_S),
            partial(outbox.expire_outbox, before=now - self.config.webhooks.keep_s),
            lists.sweep,
            house.ground.outgoing.expansions.sweep,
        ):
            while await write(job) >= upkeep.BATCH:
                await self.clock.sleep(0.05)
        await self._forget_campaigns(now)
        house.ground.spool.unlink(await write(house.ground.spool.sweep))
        await house.out.warm_ups.save()

    async def _forget_campaigns(self, now: float) -> None:
        """What is to go is looked for beside the writer, which only removes it."""
        read, write, store = self.database.read, self.database.writer.write, self.config.store
        before = now - store.counters_keep_s
        # Whom mail was delivered to is found by the events of that.
        delivered = now - min(campaign_events.DELIVERED_KEEP_S, store.events_keep_s, store.counters_keep_s)
        while keys := await read(partial(campaign_events.stale, before=before, delivered_before=delivered)):
            await write(partial(campaign_events.remove, keys=keys))
            await self.clock.sleep(0.05)
        while counts := await read(partial(campaign_events.stale_counts, before=before)):
            await write(partial(campaign_events.remove_counts, keys=counts))
            await self.clock.sleep(0.05)

    # --- HTTP ---

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[tuple[str, ...]]:
        """Where it listens, the public listeners behind the others."""
        config = self.config.http
        async with (
            _served(http_app(self.house), self.house.callers, "http.listen", config.listen) as found,
            _served(self.house.pages.app(), self.house.visitors, "http.public_listen", config.public_listen) as public,
        ):
            self.house.keys.url = f"http://{reachable(found[0])}" if found else ""
            first = (public or found)[:1]
            if first:
                await self.house.listening(parse_listen(first[0])[1], parse_listen((found or first)[0])[1])
            yield found

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
            read = self._reload()
            config = in_force(self.config, read)
            shaping, classifier, plan = rules(config)
            self.house.listeners.reload_tls(config.smtp.tls_certificate, config.smtp.tls_key)
        except ConfigError as error:
            log.error("reload-refused", cause=error)
        else:
            waiting = restart_needed(self.config, read)
            self.config = config
            self.house.out.settler.reload(classifier, plan)
            self.house.out.runner.book.reload(shaping)
            if self.house.places is not None:
                self.house.places.load(config.tracking.geoip_file)
            log_module.start(config.server.log_level)
            log.info("reloaded", restart_needed=",".join(waiting) or None)
        notify_systemd("READY=1")


@asynccontextmanager
async def _served(
    app: web.Application, connections: Connections, key: str, listen: Sequence[str]
) -> AsyncIterator[tuple[str, ...]]:
    """key: of the configuration, for what cannot be listened on. Raises ConfigError."""
    token = partial(secrets.token_hex, 8)
    runner = Runner(app, token, connections, max_line_size=MAX_LINE, keepalive_timeout=HTTP_IDLE_S)
    await runner.setup()
    try:
        for text in listen:
            host, port = parse_listen(text)
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                right = f"cannot be listened on: {error.strerror or error}; another program may have it"
                raise ConfigError(key, text, right) from None
        addresses = [(name[0], name[1]) for name in runner.addresses]
        yield tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses)
    finally:
        await runner.cleanup()


def _touch(connection: sqlite3.Connection) -> None:
    """A write that leaves nothing behind but needs the disk."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {int(version)}")


def leave_out_what_stays() -> None:
    """What was built up to now lives as long as we do: a full collection that looks at it again takes 50 ms."""
    gc.collect()
    gc.freeze()


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
