"""Outward: the rooms that mail goes out through, from submit to the hosts of the world, built for the house.

No room knows it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from mtad import inward
from mtad.capture.inbox import MAGIC_DOMAIN, Inbox
from mtad.delivery.connect import Connector
from mtad.delivery.dial import SystemDialer
from mtad.delivery.fetch import HttpsFetch
from mtad.delivery.mx import Router
from mtad.delivery.ourselves import ourselves
from mtad.delivery.tls import TlsMemory, TlsPolicies
from mtad.delivery.world import World
from mtad.feedback.suppressed import SuppressedAddresses
from mtad.ground import Ground
from mtad.lists.expand import Expander
from mtad.mail.reply import Hop, Reply
from mtad.message.finish import Finisher
from mtad.queue.book import Book
from mtad.queue.compose import Composer
from mtad.queue.notify import Notifier
from mtad.queue.operator import Operator
from mtad.queue.runner import Runner
from mtad.queue.schedule import RetryPlan
from mtad.queue.settle import Settler
from mtad.queue.submit import Submit
from mtad.queue.warmups import WarmUps
from mtad.queue.ways import Ways
from mtad.queue.work import Held, Transport
from mtad.rules import rules
from mtad.smtp.limits import Budget
from mtad.storage import captured, journal, sites
from mtad.storage.database import Lane
from mtad.storage.outgoing import Accept, Settle, StoredRecipient
from mtad.storage.record import EventRow

ReportLater = Callable[[str, str, str, bytes], None]
RewritesFrom = Callable[[bytes, str], Awaitable[bool]]


class _Forgiving:
    """For the captured inbox: what its magic recipients say is kept like any refusal, and they may say it again."""

    def __init__(self, suppressed: SuppressedAddresses) -> None:
        self._suppressed, self.find = suppressed, suppressed.find

    def maybe(self, domain_id: int, address: str) -> bool:
        return not address.lower().endswith(f"@{MAGIC_DOMAIN}") and self._suppressed.maybe(domain_id, address)


class Outward:
    """report_later: told by the captured inbox that a magic recipient wants to send a report; None: mail goes to the
    world. rewrites_from: whether copies of a list at a domain have the list in From.
    """

    def __init__(self, ground: Ground, *, report_later: ReportLater | None, rewrites_from: RewritesFrom) -> None:
        self._ground = ground
        self.memory = Budget(ground.config.queue.outgoing_octets)
        writer = ground.database.writer
        # Lanes are applied in this order within a commit: what is taken comes before what becomes of it.
        ensure: Lane[tuple[int, str]] = writer.lane(sites.ensure)
        capturing: Lane[captured.CapturedRow] = writer.lane(captured.add)
        accept: Lane[Accept] = writer.lane(ground.outgoing.accept)
        settle: Lane[Settle] = writer.lane(ground.outgoing.settle, patient=True)
        facts: Lane[EventRow] = writer.lane(journal.add, patient=True)
        way_out = Inbox(capturing, ground.ids, ground.clock, report_later) if report_later else self._world()
        self._build_ways(way_out, rewrites_from)
        self._build_runner(ensure, settle, capture=report_later is not None)
        self._build_submit(accept, facts)
        self.operator = Operator(
            runner=self.runner,
            settler=self.settler,
            tenants=ground.tenants,
            database=ground.database,
            outgoing=ground.outgoing,
            clock=ground.clock,
        )

    def _world(self) -> World:
        ground, config, clock, resolver = self._ground, self._ground.config, self._ground.clock, self._ground.resolver
        private = config.http.allow_private_targets
        us = ourselves(ground.hostname, config.smtp.mx)
        router = Router(config.delivery, resolver, clock, ground.rng, us, allow_private=private)
        policies = TlsPolicies(config.delivery, resolver, HttpsFetch(resolver, allow_private=private), clock)
        addresses, memory = router.addresses, TlsMemory(clock)
        connector = Connector(config.delivery, ground.hostname, addresses, SystemDialer(), clock, memory)
        return World(router, policies, connector)

    def _build_ways(self, mail: Transport, rewrites_from: RewritesFrom) -> None:
        ground = self._ground
        self.web = inward.web_transport(ground.hooks, ground.clock)
        self._expander = Expander(
            database=ground.database,
            expansions=ground.outgoing.expansions,
            lists=ground.lists,
            rewrites=rewrites_from,
            held_up=ground.health.gate,
        )
        self._transport: Transport = Ways(mail, self.web, self._expander)

    def _build_runner(self, ensure: Lane[tuple[int, str]], settle: Lane[Settle], *, capture: bool) -> None:
        ground, config, clock = self._ground, self._ground.config, self._ground.clock
        shaping, classifier, plan = rules(config)
        waits_s = config.webhooks.waits_s
        self.warm_ups = WarmUps(ground.database, shaping, clock)
        self.settler = Settler(
            lane=settle,
            ids=ground.ids,
            clock=clock,
            classifier=classifier,
            plan=plan,
            dice=ground.rng.random,
            on_failed=self._on_failed,
            on_relayed=self._on_relayed,
            posts=ground.posts,
            web_plan=RetryPlan(waits_s, 0.0, self._web_give_up_s(), max_attempts=len(waits_s) + 1),
            bounced=ground.suppressed.note,
        )
        self.composer = Composer(
            domains=ground.tenants,
            tokens=ground.tokens,
            finisher=Finisher(ground.executor),
            clock=clock,
            verp=config.bounces.verp,
        )
        wake = asyncio.Event()
        self.runner = Runner(
            database=ground.database,
            outgoing=ground.outgoing,
            book=Book(ground.database, ensure, shaping, clock, wake, self._transport.fixed_key),
            wake=wake,
            settler=self.settler,
            transport=self._transport,
            tenants=ground.tenants,
            composer=self.composer,
            suppressing=_Forgiving(ground.suppressed) if capture else ground.suppressed,
            memory=self.memory,
            clock=clock,
            config=config.queue,
            idle_s=config.delivery.idle_s,
            unwell=ground.health.unwell,
            limit_source=self.warm_ups.gate,
            source_room=self.warm_ups.room,
            sent=self.warm_ups.sent,
            begun=ground.begun,
        )

    def _web_give_up_s(self) -> float:
        """Behind the last try of a post."""
        return sum(self._ground.config.webhooks.waits_s) + 60.0

    def _build_submit(self, accept: Lane[Accept], facts: Lane[EventRow]) -> None:
        ground, config = self._ground, self._ground.config
        self.submit = self._expander.submit = Submit(
            accept=accept,
            rejected=facts,
            desk=self.runner.desk,
            domains=ground.tenants,
            ids=ground.ids,
            clock=ground.clock,
            gate=ground.health.gate,
            hostname=ground.hostname,
            give_up_after_s=config.queue.give_up_after_s,
            max_hops=config.smtp.max_hops,
            max_schedule_s=config.queue.max_schedule_s,
            posts=ground.posts,
            web_give_up_after_s=self._web_give_up_s(),
            campaigns=ground.campaigns,
            lists=ground.lists,
        )
        self.notifier = Notifier(
            submit=self.submit,
            database=ground.database,
            outgoing=ground.outgoing,
            ids=ground.ids,
            clock=ground.clock,
            config=config.bounces,
            hostname=ground.hostname,
            max_hops=config.smtp.max_hops,
            wants=ground.tenants.wants_dsn,
            name_of=ground.tenants.name_of,
            told=facts.tell,
        )

    def _on_failed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        self.notifier.failed(held, recipient, reply, hop)

    def _on_relayed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        self.notifier.relayed(held, recipient, reply, hop)
