"""House: every room built from the configuration, each handed what it works with.

No room knows it; the daemon runs what is built here. `build` is the order in which the parts need each other: the
store, then what remembers, then the queue, then what people and programs ask.
"""

import asyncio
import os
import random
import secrets
import socket
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from aiohttp import web

from mtad import front, inward
from mtad import log as log_module
from mtad.api.connections import Connections
from mtad.api.errors import errors_to_json, hide_versions
from mtad.api.http.keys import Keys
from mtad.api.operations import Operations
from mtad.api.ops import Gauges, OpsPages, Snapshots
from mtad.api.templated import Templated
from mtad.api.templates import Templates
from mtad.api.tenants import Tenants
from mtad.capture.inbox import MAGIC_DOMAIN, Inbox
from mtad.clock import Clock
from mtad.config import Config, ConfigError, parse_listen, parse_networks
from mtad.delivery.connect import Connector
from mtad.delivery.dial import SystemDialer
from mtad.delivery.dns import DnsResolver
from mtad.delivery.fetch import HttpsFetch
from mtad.delivery.mx import Router
from mtad.delivery.ourselves import ourselves
from mtad.delivery.tls import TlsMemory, TlsPolicies
from mtad.delivery.world import World
from mtad.feedback import pretend
from mtad.feedback.classify import Classifier, load_rules
from mtad.feedback.record import Posts
from mtad.feedback.suppressed import SuppressedAddresses
from mtad.inbound import postmaster
from mtad.inbound.arrive import Arrive, Posted
from mtad.inbound.receive import Receive
from mtad.inbound.routes.live import Routes
from mtad.inbound.verdicts import Checker
from mtad.lists.expand import Expander
from mtad.lists.known import Lists
from mtad.mail.address import Address, BadAddress, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.reply import Hop, Refused, Reply
from mtad.mail.token import KEY_OCTETS, Tokens
from mtad.message.finish import Finisher
from mtad.queue.book import Book
from mtad.queue.campaigns import Campaigns
from mtad.queue.compose import Composer
from mtad.queue.headers import SentHeaders
from mtad.queue.health import Health
from mtad.queue.notify import Notifier
from mtad.queue.operator import Operator
from mtad.queue.runner import Runner
from mtad.queue.schedule import RetryPlan
from mtad.queue.settle import Settler
from mtad.queue.shaping import Shaping, load_shaping
from mtad.queue.submit import Submit
from mtad.queue.warmups import WarmUps
from mtad.queue.ways import Ways
from mtad.queue.work import Held, Transport
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.listeners import Listeners
from mtad.smtp.policy import DoorPolicy
from mtad.storage import captured, idempotency, journal, settings, sites
from mtad.storage.begun import Begun
from mtad.storage.database import Database, Lane
from mtad.storage.indexer import Indexer
from mtad.storage.outgoing import Accept, Outgoing, Settle, StoredRecipient
from mtad.storage.record import EventRow
from mtad.storage.spool import Spool
from mtad.storage.tracked import TrackedStore
from mtad.tracking.clients import Clients, load_client_rules
from mtad.tracking.places import Places
from mtad.tracking.recorder import Recorder
from mtad.tracking.settings import TrackingSettings
from mtad.tracking.web import TrackingPages
from mtad.webhooks.hooks import Hooks
from mtad.webhooks.poster import Poster
from mtad.webhooks.sender import Sender
from mtad.webhooks.sender import Tally as PostTally
from mtad.webhooks.settings import WebhookConfig as Posting

log = log_module.get("daemon")

_THIS_MACHINE = ("127.0.0.0/8", "::1")
_WITH_HEADER = (
    EventType.DELIVERED,
    EventType.FAILED_PERMANENT,
    EventType.FAILED_LATE,
    EventType.COMPLAINED,
)


class _Forgiving:
    """For the captured inbox: what its magic recipients say is kept like any refusal, and they may say it again."""

    def __init__(self, suppressed: SuppressedAddresses) -> None:
        self._suppressed, self.find = suppressed, suppressed.find

    def maybe(self, domain_id: int, address: str) -> bool:
        return not address.lower().endswith(f"@{MAGIC_DOMAIN}") and self._suppressed.maybe(domain_id, address)


class House:
    """All parts of a running daemon, put together by build(). lag_s: how late the loop is, measured by the daemon."""

    def __init__(self, config: Config, database: Database, clock: Clock, executor: Executor, *, capture: bool) -> None:
        self.config, self.database, self.clock, self.executor = config, database, clock, executor
        self.hostname = config.server.hostname or socket.getfqdn()
        self.capture = capture
        self.rng = random.SystemRandom()
        self.counters, self.budget = Counters(), Budget(config.queue.incoming_octets)
        self.memory = Budget(config.queue.outgoing_octets)
        self.callers, self.visitors = self._http_connections(), self._http_connections()
        self.spool, self.begun = Spool(config.server.data_dir / "spool"), Begun(config.server.data_dir)
        self.posted = PostTally()
        self.places: Places | None = None
        self.checks: Checker | None = None
        self.api_url = ""
        self.lag_s = 0.0

    def _http_connections(self) -> Connections:
        http = self.config.http
        trusted = parse_networks((*_THIS_MACHINE, *http.proxy_networks))
        return Connections(http.max_connections, http.max_connections_each, trusted)

    async def build(self) -> None:
        await self._build_store()
        await self._build_tenants()
        self._build_queue()
        await self._build_inbound()
        self._build_tracking()
        self._build_operations()
        await self._build_api()
        self._build_doors()
        await self.warm_ups.load(self.tenants.all_sources())

    def close(self) -> None:
        self.spool.close()
        self.begun.close()
        if self.checks is not None:
            self.checks.close()
        if self.places is not None:
            self.places.close()

    async def _build_store(self) -> None:
        config, writer = self.config, self.database.writer
        await writer.write(self.spool.open)
        self.ids = IdSource(self.clock.now, floor=await self.database.read(journal.newest_id))
        writer.follow(lambda: self.ids.last)
        self.indexer = Indexer(self.database, self.clock)
        self.outgoing = Outgoing(self.spool, config.store.inline_octets)
        self.health = Health(config.server.data_dir, writer, config.store.min_free_octets)
        self._token_key = await writer.write(_token_key)
        self.tokens = Tokens(self._token_key)
        self.suppressed = SuppressedAddresses(self.database, self.clock)
        self.resolver = DnsResolver(config.dns, self.clock)

    async def _build_tenants(self) -> None:
        self.tenants = Tenants(self.database, self.config.delivery, self._public_url())
        self.hooks, self.campaigns = Hooks(self.database), Campaigns(self.database)
        await self.tenants.load()
        await self.hooks.load()
        await self.campaigns.load()
        self.lists = Lists(self.database, self._list_domain, inward.loop_key(self._token_key))
        await self.lists.load()
        self.posts = Posts(self.hooks.posts_for, self.ids, self._tells_header)

    def _list_domain(self, name: str) -> int:
        row = self.tenants.receiving(name)
        return row.id if row is not None else 0

    def _tells_header(self, domain_id: int) -> bool:
        """A webhook of the domain tells the header of its messages."""
        return any(self.hooks.posts_for(kind, domain_id) for kind in _WITH_HEADER)

    def _public_url(self, port_found: int = 0) -> str:
        """Where links in mail lead unless their domain has a host for them."""
        http = self.config.http
        if http.public_url:
            return http.public_url
        return self._url_of(http.public_listen or http.listen, port_found)

    def _url_of(self, listeners: Sequence[str], port_found: int) -> str:
        host, port = parse_listen(listeners[0]) if listeners else ("", 80)
        port = port or port_found
        name = host if host in ("127.0.0.1", "::1", "localhost") else self.hostname
        shown = f"[{name}]" if ":" in name else name
        return f"http://{shown}" if port == 80 else f"http://{shown}:{port}"

    async def listening(self, port: int, api_port: int) -> None:
        """The HTTP ports are known: links lead there where the configuration left the choice to the system."""
        self.api_url = self.config.api.base_url or self._url_of(self.config.http.listen, api_port)
        self.tenants.public_url = self._public_url(port)
        await self.tenants.load()

    def _build_queue(self) -> None:
        config, database, clock, writer = self.config, self.database, self.clock, self.database.writer
        shaping, classifier, plan = rules(config)
        # Lanes are applied in this order within a commit: what is taken comes before what becomes of it.
        ensure: Lane[tuple[int, str]] = writer.lane(sites.ensure)
        capturing: Lane[captured.CapturedRow] = writer.lane(captured.add)
        self._accept: Lane[Accept] = writer.lane(self.outgoing.accept)
        settle: Lane[Settle] = writer.lane(self.outgoing.settle, patient=True)
        way_out: Transport = Inbox(capturing, self.ids, clock, self._report_later) if self.capture else self._world()
        self.web = inward.web_transport(self.hooks, clock)
        self.expander = Expander(
            database=database,
            expansions=self.outgoing.expansions,
            lists=self.lists,
            rewrites=self._rewrites_from,
            held_up=self.health.gate,
        )
        self.transport: Transport = Ways(way_out, self.web, self.expander)
        self.warm_ups = WarmUps(database, shaping, clock)
        waits_s = config.webhooks.waits_s
        self.settler = Settler(
            lane=settle,
            ids=self.ids,
            clock=clock,
            classifier=classifier,
            plan=plan,
            dice=self.rng.random,
            on_failed=self._on_failed,
            on_relayed=self._on_relayed,
            posts=self.posts,
            web_plan=RetryPlan(waits_s, 0.0, self._web_give_up_s(), max_attempts=len(waits_s) + 1),
            bounced=self.suppressed.note,
        )
        wake = asyncio.Event()
        self.composer = Composer(
            domains=self.tenants,
            tokens=self.tokens,
            finisher=Finisher(self.executor),
            clock=clock,
            verp=config.bounces.verp,
        )
        self.runner = Runner(
            database=database,
            outgoing=self.outgoing,
            book=Book(database, ensure, shaping, clock, wake, self.transport.fixed_key),
            wake=wake,
            settler=self.settler,
            transport=self.transport,
            tenants=self.tenants,
            composer=self.composer,
            suppressing=_Forgiving(self.suppressed) if self.capture else self.suppressed,
            memory=self.memory,
            clock=clock,
            config=config.queue,
            idle_s=config.delivery.idle_s,
            unwell=self.health.unwell,
            limit_source=self.warm_ups.gate,
            source_room=self.warm_ups.room,
            sent=self.warm_ups.sent,
            begun=self.begun,
        )
        self._build_submit()

    async def _rewrites_from(self, content: bytes, domain: str) -> bool:
        assert self.checks is not None
        return await inward.rewrites_from(self.config, self.checks, self.tenants, content, domain)

    def _web_give_up_s(self) -> float:
        """Behind the last try of a post."""
        return sum(self.config.webhooks.waits_s) + 60.0

    def _build_submit(self) -> None:
        config = self.config
        self._facts: Lane[EventRow] = self.database.writer.lane(journal.add, patient=True)
        self.submit = Submit(
            accept=self._accept,
            rejected=self._facts,
            desk=self.runner.desk,
            domains=self.tenants,
            ids=self.ids,
            clock=self.clock,
            gate=self.health.gate,
            hostname=self.hostname,
            give_up_after_s=config.queue.give_up_after_s,
            max_hops=config.smtp.max_hops,
            max_schedule_s=config.queue.max_schedule_s,
            posts=self.posts,
            web_give_up_after_s=self._web_give_up_s(),
            campaigns=self.campaigns,
            lists=self.lists,
        )
        self.expander.submit = self.submit
        self.notifier = Notifier(
            submit=self.submit,
            database=self.database,
            outgoing=self.outgoing,
            ids=self.ids,
            clock=self.clock,
            config=config.bounces,
            hostname=self.hostname,
            max_hops=config.smtp.max_hops,
            wants=self.tenants.wants_dsn,
            name_of=self.tenants.name_of,
            told=self._facts.tell,
        )

    async def _build_inbound(self) -> None:
        config, clock = self.config, self.clock
        self.routes = Routes(self.database, clock)
        await self.routes.load()
        self.checks = inward.checker(config, self.hostname, self.resolver, clock, self.rng)
        self.take = inward.take(
            submit=self.submit,
            checks=self.checks,
            routes=self.routes,
            tenants=self.tenants,
            resolver=self.resolver,
            base_url=lambda: self.api_url,
            token_key=self._token_key,
            ids=self.ids,
            clock=clock,
            config=config,
            hostname=self.hostname,
            lists=self.lists,
        )
        self.receive = Receive(
            tokens=self.tokens,
            database=self.database,
            ids=self.ids,
            clock=self.clock,
            posts=self.posts,
            classifier=lambda: self.settler.classifier,
            is_ours=self.tenants.is_ours,
            name_of=self.tenants.name_of,
            failed=self._on_failed,
            suppressed=self.suppressed.note,
            take=self.take,
        )

    def _build_tracking(self) -> None:
        config, clock = self.config, self.clock
        told = TrackingSettings(
            unsubscribe_on_get=config.tracking.unsubscribe_on_get,
            proxies=parse_networks(config.http.proxy_networks),
        )
        store = TrackedStore(self.posts.lanes, self.suppressed.note)
        self.places = Places(config.tracking.geoip_file)
        self.visits = Recorder(
            lane=self.database.writer.lane(store.apply, patient=True),
            ids=self.ids,
            clients=Clients(load_client_rules(*_text_of(None, "clients.toml", "clients_file"))),
            places=self.places,
            clock=clock,
        )
        self.pages = TrackingPages(
            tokens=self.tokens, recorder=self.visits, clock=clock, settings=told, unwell=self.health.unwell
        )

    def build_sender(self, poster: Poster) -> None:
        """The sender of posts; it is told of each commit that may have brought it some."""
        self.sender = Sender(
            database=self.database,
            hooks=self.hooks,
            poster=poster,
            ids=self.ids,
            clock=self.clock,
            token=lambda: secrets.token_hex(25),
            config=self.webhook_config(),
            sent_header=SentHeaders(self.composer),
            tally=self.posted,
        )
        self.operations.posting = self.sender
        self.web.poster = poster
        self.database.writer.on_commit = self._committed

    async def names(self, name: str) -> Sequence[str]:
        """The addresses of a receiver, by the configured name servers."""
        if name == "localhost":
            return ("127.0.0.1", "::1")
        return (await self.resolver.addresses(name, ipv6=self.config.delivery.ipv6)).records

    def webhook_config(self) -> Posting:
        config = self.config.webhooks
        return Posting(
            at_once=config.connections,
            at_once_each=config.connections_per_webhook,
            connect_s=config.connect_timeout_s,
            total_s=config.timeout_s,
            waits_s=config.retry_waits_s,
            scale=config.scale,
            keep_s=config.keep_s,
            allow_private=self.config.http.allow_private_targets,
        )

    def _committed(self) -> None:
        if self.posts.pending:
            self.posts.pending = self.database.writer.backlog > 0
            self.sender.wake.set()

    def http_app(self) -> web.Application:
        """What the HTTP listeners answer."""
        app = web.Application(middlewares=[errors_to_json], client_max_size=4096)
        app.on_response_prepare.append(hide_versions)
        OpsPages(self.gauges(), Snapshots(self.database, self.clock)).add_to(app)
        self.pages.add_to(app)
        self.api.add_to(app)
        return app

    def _report_later(self, name: str, reverse_path: str, recipient: str, content: bytes) -> None:
        """The captured inbox: a magic recipient sends a report some time after it took a message."""
        make = pretend.complaint if name == "complain" else pretend.late_bounce
        try:
            to, about = parse_address(reverse_path), parse_address(recipient)
            if self.receive.takes(to):
                report = make(content, to, about, self.hostname, self.clock.now())
                self.receive(Submission(None, [to], report, "", self.clock.now(), peer="127.0.0.1"))
        except (BadAddress, Refused) as error:
            log.warning("report-not-made", rcpt=recipient, cause=error)

    def _on_failed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        self.notifier.failed(held, recipient, reply, hop)

    def _on_relayed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        self.notifier.relayed(held, recipient, reply, hop)

    def _world(self) -> World:
        config, clock = self.config, self.clock
        private = config.http.allow_private_targets
        resolver = self.resolver
        us = ourselves(self.hostname, config.smtp.mx)
        router = Router(config.delivery, resolver, clock, self.rng, us, allow_private=private)
        policies = TlsPolicies(config.delivery, resolver, HttpsFetch(resolver, allow_private=private), clock)
        connector = Connector(config.delivery, self.hostname, router.addresses, SystemDialer(), clock, TlsMemory(clock))
        return World(router, policies, connector)

    def _build_operations(self) -> None:
        self.operator = Operator(
            runner=self.runner,
            settler=self.settler,
            tenants=self.tenants,
            database=self.database,
            outgoing=self.outgoing,
            clock=self.clock,
        )
        self.operations = Operations(
            database=self.database,
            outgoing=self.outgoing,
            ids=self.ids,
            clock=self.clock,
            runner=self.operator,
            changed=self._changed,
            hostname=self.hostname,
            sources=self.config.delivery.sources,
            pools=self.config.delivery.pools,
        )

        self.operations.suppressed = self.suppressed.note
        self.operations.routing, self.operations.listing = self.routes, self.lists
        self.operations.campaigning = self.campaigns

    async def _build_api(self) -> None:
        config, clock = self.config, self.clock
        self.keys, self.templates = Keys(self.database, clock), Templates(self.database)
        await self.keys.load()
        self.operations.lending = self.keys
        front.teach(self.operations, config, clock, lambda: self.tenants.public_url)
        made = front.chapters(
            config=config,
            operations=self.operations,
            database=self.database,
            outgoing=self.outgoing,
            submit=Posted(
                self.submit, self.receive, lambda address: self._is_list(address) and self.receive.wants(address)
            ),
            answers=self.database.writer.lane(idempotency.add),
            clock=clock,
            ids=self.ids,
            templates=self.templates,
            suppressed=self.suppressed.note,
            drop=lambda domain_id: self.operator.drop_domain(domain_id, "dropped through the API"),
        )
        self.api = front.http_api(config=config, made=made, keys=self.keys, tenants=self.tenants, clock=clock)

    async def _changed(self) -> None:
        """Domains, keys or credentials are others now."""
        await self.tenants.load()
        await self.hooks.load()
        await self.campaigns.load()
        await self.keys.load()
        self.templates.changed()
        self.operator.look_again()

    def _build_doors(self) -> None:
        config = self.config
        self.listeners = Listeners(
            config.smtp,
            hostname=self.hostname,
            default_domain=config.server.default_domain,
            policy=DoorPolicy(
                default_domain=config.server.default_domain or self.hostname,
                is_ours=self.tenants.is_ours,
                recipient=self._stranger,
                accepting=lambda: self.health.gate(0),
                auth_without_tls=config.smtp.auth_without_tls,
            ),
            submit=Arrive(
                Templated(
                    self.submit, self.templates, self.tenants.id_of, self.clock.now, lambda: secrets.token_hex(12)
                ),
                self.receive,
                self.receive.wants,
                self._is_list,
            ),
            verify=self.tenants.verify,
            clock=self.clock,
            budget=self.budget,
            counters=self.counters,
            environ=os.environ,
        )

    def _is_list(self, address: Address) -> bool:
        return self.lists.find(address) is not None

    def _stranger(self, address: Address) -> Reply | None:
        """What somebody who has not logged in is told of a recipient: we take what is for us, and are no relay."""
        if self.receive.takes(address):
            return None
        closed = self.lists.at_rcpt(address)
        if closed is not None:
            return closed
        if self.tenants.receiving(address.domain) is not None:
            return postmaster.refusal(address)
        return Reply(550, "7.1", f"Relaying to {address.domain} is for our users: log in with AUTH first")

    def gauges(self) -> Gauges:
        writer, tally, taken, posts = self.database.writer, self.settler.tally, self.take.tally, self.posted
        return Gauges(
            store_failure=lambda: writer.failure,
            disk=lambda: self.health.disk,
            memory=lambda: (self.budget.used + self.memory.used, self.budget.limit + self.memory.limit),
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
            http_connections=lambda: self.callers.total + self.visitors.total,
            http_refused=lambda: self.callers.refused + self.visitors.refused,
            smtp=lambda: self.counters,
            commits=lambda: writer.commits,
            intents=lambda: writer.intents,
            commit_s=lambda: writer.busy_s,
            backlog=lambda: writer.backlog,
            in_memory=lambda: self.runner.count,
            paused=lambda: bool(self.runner.gates.why_paused),
            visits=lambda: self.visits.recorded,
            visits_lost=lambda: self.visits.lost,
            inbound=lambda: {"received": taken.received, "taken": taken.taken, "dropped": taken.dropped},
            inbound_refused=lambda: taken.refused,
            inbound_copies=lambda: taken.copies,
            check_s=lambda: taken.seconds,
            reports=lambda: asdict(self.receive.tally),
            posts=lambda: {"done": posts.done, "refused": posts.refused, "given-up": posts.given_up},
            post_attempts=lambda: posts.posted,
            post_s=lambda: posts.seconds,
        )


def rules(config: Config) -> tuple[Shaping, Classifier, RetryPlan]:
    """The policies that a running daemon reads anew. Raises ConfigError."""
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


def _token_key(connection: sqlite3.Connection) -> bytes:
    """Made at the first start: every link and return path in mail that was sent hangs on it."""
    return settings.ensure(connection, "token-key", secrets.token_bytes(KEY_OCTETS))
