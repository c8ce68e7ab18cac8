"""House: every room built from the configuration, each handed what it works with.

No room knows it; the daemon runs what is built here. `build` is the order in which the parts need each other: the
ground, then the way out, then the way in, then what people and programs ask.
"""

import os
import secrets
from collections.abc import Sequence
from concurrent.futures import Executor

from mtad import front, inward
from mtad import log as log_module
from mtad.api.connections import Connections
from mtad.api.http.keys import Keys
from mtad.api.operations import Operations
from mtad.api.templated import Templated
from mtad.api.templates import Templates
from mtad.clock import Clock
from mtad.config import Config, parse_networks
from mtad.feedback import pretend
from mtad.ground import Ground
from mtad.inbound import postmaster
from mtad.inbound.arrive import Arrive, Posted
from mtad.inbound.receive import Receive
from mtad.inbound.routes.live import Routes
from mtad.inbound.verdicts import Checker
from mtad.mail.address import Address, BadAddress, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply
from mtad.outward import Outward
from mtad.queue.headers import SentHeaders
from mtad.rules import text_of
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.listeners import Listeners
from mtad.smtp.policy import DoorPolicy
from mtad.storage import idempotency
from mtad.storage.database import Database
from mtad.storage.tracked import TrackedStore
from mtad.tracking.clients import Clients, load_client_rules
from mtad.tracking.places import Places
from mtad.tracking.recorder import Recorder
from mtad.tracking.settings import TrackingSettings
from mtad.tracking.web import TrackingPages
from mtad.webhooks.poster import Poster
from mtad.webhooks.sender import Sender
from mtad.webhooks.sender import Tally as PostTally
from mtad.webhooks.settings import WebhookConfig as Posting

log = log_module.get("daemon")

_THIS_MACHINE = ("127.0.0.0/8", "::1")


class House:
    """All parts of a running daemon, put together by build(). lag_s: how late the loop is, measured by the daemon."""

    def __init__(self, config: Config, database: Database, clock: Clock, executor: Executor, *, capture: bool) -> None:
        self.config, self.clock, self._capture = config, clock, capture
        self.ground = Ground(config, database, clock, executor)
        self.counters, self.budget = Counters(), Budget(config.queue.incoming_octets)
        self.callers, self.visitors = self._http_connections(), self._http_connections()
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
        await self.ground.load()
        self.out = Outward(
            self.ground,
            report_later=self._report_later if self._capture else None,
            rewrites_from=self._rewrites_from,
        )
        await self._build_inbound()
        self._build_tracking()
        self._build_operations()
        await self._build_api()
        self._build_doors()
        await self.out.warm_ups.load(self.ground.tenants.all_sources())

    def close(self) -> None:
        if self.checks is not None:
            self.checks.close()
        if self.places is not None:
            self.places.close()
        self.ground.close()

    async def _rewrites_from(self, content: bytes, domain: str) -> bool:
        assert self.checks is not None
        return await inward.rewrites_from(self.config, self.checks, self.ground.tenants, content, domain)

    async def listening(self, port: int, api_port: int) -> None:
        """The HTTP ports are known: links lead there where the configuration left the choice to the system."""
        self.api_url = self.config.api.base_url or self.ground.url_of(self.config.http.listen, api_port)
        self.ground.tenants.public_url = self.ground.public_url(port)
        await self.ground.tenants.load()

    async def _build_inbound(self) -> None:
        ground, config, clock = self.ground, self.config, self.clock
        self.routes = Routes(ground.database, clock)
        await self.routes.load()
        self.checks = inward.checker(config, ground.hostname, ground.resolver, clock, ground.rng)
        self.take = inward.take(
            submit=self.out.submit,
            checks=self.checks,
            routes=self.routes,
            tenants=ground.tenants,
            resolver=ground.resolver,
            base_url=lambda: self.api_url,
            token_key=ground.token_key,
            ids=ground.ids,
            clock=clock,
            config=config,
            hostname=ground.hostname,
            lists=ground.lists,
        )
        self.receive = Receive(
            tokens=ground.tokens,
            database=ground.database,
            ids=ground.ids,
            clock=self.clock,
            posts=ground.posts,
            classifier=lambda: self.out.settler.classifier,
            is_ours=ground.tenants.is_ours,
            name_of=ground.tenants.name_of,
            failed=self.out.notifier.failed,
            suppressed=ground.suppressed.note,
            take=self.take,
        )

    def _build_tracking(self) -> None:
        ground, config, clock = self.ground, self.config, self.clock
        told = TrackingSettings(
            unsubscribe_on_get=config.tracking.unsubscribe_on_get,
            proxies=parse_networks(config.http.proxy_networks),
        )
        store = TrackedStore(ground.posts.lanes, ground.suppressed.note)
        self.places = Places(config.tracking.geoip_file)
        self.visits = Recorder(
            lane=ground.database.writer.lane(store.apply, patient=True),
            ids=ground.ids,
            clients=Clients(load_client_rules(*text_of(None, "clients.toml", "clients_file"))),
            places=self.places,
            clock=clock,
        )
        self.pages = TrackingPages(
            tokens=ground.tokens,
            recorder=self.visits,
            clock=clock,
            settings=told,
            unwell=ground.health.unwell,
        )

    def build_sender(self, poster: Poster) -> None:
        """The sender of posts; it is told of each commit that may have brought it some."""
        ground = self.ground
        self.sender = Sender(
            database=ground.database,
            hooks=ground.hooks,
            poster=poster,
            ids=ground.ids,
            clock=self.clock,
            token=lambda: secrets.token_hex(25),
            config=self.webhook_config(),
            sent_header=SentHeaders(self.out.composer),
            tally=self.posted,
        )
        self.operations.posting = self.sender
        self.out.web.poster = poster
        ground.database.writer.on_commit = self._committed

    async def names(self, name: str) -> Sequence[str]:
        """The addresses of a receiver, by the configured name servers."""
        if name == "localhost":
            return ("127.0.0.1", "::1")
        return (await self.ground.resolver.addresses(name, ipv6=self.config.delivery.ipv6)).records

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
        if self.ground.posts.pending:
            self.ground.posts.pending = self.ground.database.writer.backlog > 0
            self.sender.wake.set()

    def _report_later(self, name: str, reverse_path: str, recipient: str, content: bytes) -> None:
        """The captured inbox: a magic recipient sends a report some time after it took a message."""
        make = pretend.complaint if name == "complain" else pretend.late_bounce
        try:
            to, about = parse_address(reverse_path), parse_address(recipient)
            if self.receive.takes(to):
                report = make(content, to, about, self.ground.hostname, self.clock.now())
                self.receive(Submission(None, [to], report, "", self.clock.now(), peer="127.0.0.1"))
        except (BadAddress, Refused) as error:
            log.warning("report-not-made", rcpt=recipient, cause=error)

    def _build_operations(self) -> None:
        ground = self.ground
        self.operations = Operations(
            database=ground.database,
            outgoing=ground.outgoing,
            ids=ground.ids,
            clock=self.clock,
            runner=self.out.operator,
            changed=self._changed,
            hostname=ground.hostname,
            sources=self.config.delivery.sources,
            pools=self.config.delivery.pools,
        )
        self.operations.suppressed = ground.suppressed.note
        self.operations.routing, self.operations.listing = self.routes, ground.lists
        self.operations.campaigning = ground.campaigns

    async def _build_api(self) -> None:
        ground, config, clock = self.ground, self.config, self.clock
        self.keys, self.templates = Keys(ground.database, clock), Templates(ground.database)
        await self.keys.load()
        self.operations.lending = self.keys
        front.teach(self.operations, config, clock, lambda: ground.tenants.public_url)
        made = front.chapters(
            config=config,
            operations=self.operations,
            database=ground.database,
            outgoing=ground.outgoing,
            submit=Posted(
                self.out.submit, self.receive, lambda address: self._is_list(address) and self.receive.wants(address)
            ),
            answers=ground.database.writer.lane(idempotency.add),
            clock=clock,
            ids=ground.ids,
            templates=self.templates,
            suppressed=ground.suppressed.note,
            drop=lambda domain_id: self.out.operator.drop_domain(domain_id, "dropped through the API"),
        )
        self.api = front.http_api(config=config, made=made, keys=self.keys, tenants=ground.tenants, clock=clock)

    async def _changed(self) -> None:
        """Domains, keys or credentials are others now."""
        await self.ground.tenants.load()
        await self.ground.hooks.load()
        await self.ground.campaigns.load()
        await self.keys.load()
        self.templates.changed()
        self.out.operator.look_again()

    def _build_doors(self) -> None:
        ground, config = self.ground, self.config
        self.listeners = Listeners(
            config.smtp,
            hostname=ground.hostname,
            default_domain=config.server.default_domain,
            policy=DoorPolicy(
                default_domain=config.server.default_domain or ground.hostname,
                is_ours=ground.tenants.is_ours,
                recipient=self._stranger,
                accepting=lambda: ground.health.gate(0),
                auth_without_tls=config.smtp.auth_without_tls,
            ),
            submit=Arrive(
                Templated(
                    self.out.submit,
                    self.templates,
                    ground.tenants.id_of,
                    self.clock.now,
                    lambda: secrets.token_hex(12),
                ),
                self.receive,
                self.receive.wants,
                self._is_list,
            ),
            verify=ground.tenants.verify,
            clock=self.clock,
            budget=self.budget,
            counters=self.counters,
            environ=os.environ,
        )

    def _is_list(self, address: Address) -> bool:
        return self.ground.lists.find(address) is not None

    def _stranger(self, address: Address) -> Reply | None:
        """What somebody who has not logged in is told of a recipient: we take what is for us, and are no relay."""
        if self.receive.takes(address):
            return None
        closed = self.ground.lists.at_rcpt(address)
        if closed is not None:
            return closed
        if self.ground.tenants.receiving(address.domain) is not None:
            return postmaster.refusal(address)
        return Reply(550, "7.1", f"Relaying to {address.domain} is for our users: log in with AUTH first")
