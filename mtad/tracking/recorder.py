"""Recorder: from an answered request to the store: who it was, where he was, and into the writer's next transaction.

Room: tracking. May import: mail, storage. All of it happens behind the answer. What waits is bounded: when the store
takes nothing, opens and clicks beyond the bound are lost and counted, and unsubscribes are refused.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.mail.token import Purpose
from mtad.storage.database import Lane
from mtad.storage.tracked import IDS_PER_VISIT, Client, Scope, Visit
from mtad.tracking.clients import Clients
from mtad.tracking.peers import Peer
from mtad.tracking.places import Places
from mtad.tracking.rates import Rates

log = log_module.get("tracking")

MOST = 20_000  # that wait here, and as many in the lane
BATCH = 64  # in one turn of the loop: about a millisecond
FULL_S = 0.2  # how long to wait for a lane that is full
PARSES_PER_S, PARSES_AT_ONCE = 50.0, 500  # User-Agents never seen before: each takes milliseconds
PREFETCH = "prefetch"  # client-info.bot of a browser that says so itself

_TYPES = {
    Purpose.OPEN: (EventType.OPENED, Scope.DOMAIN),
    Purpose.CLICK: (EventType.CLICKED, Scope.DOMAIN),
    Purpose.UNSUBSCRIBE: (EventType.UNSUBSCRIBED, Scope.DOMAIN),
    Purpose.UNSUBSCRIBE_TAGS: (EventType.UNSUBSCRIBED, Scope.TAGS),
    Purpose.UNSUBSCRIBE_LIST: (EventType.UNSUBSCRIBED, Scope.LIST),
}


@dataclass(frozen=True, slots=True)
class Hit:
    """One use of a link, as the request told it. agent: of agent_text. prefetch: the browser says nobody looked yet."""

    purpose: Purpose
    recipient_id: int
    target: str
    peer: Peer
    agent: str
    prefetch: bool = False


class Recorder:
    """`run` must be running for anything to reach the store. lost: hits there was no room for."""

    def __init__(self, *, lane: Lane[Visit], ids: IdSource, clients: Clients, places: Places, clock: Clock) -> None:
        self._lane, self._ids, self._clients, self._places, self._clock = lane, ids, clients, places, clock
        self._waiting: deque[Hit] = deque()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._parses = Rates(PARSES_PER_S, PARSES_AT_ONCE)
        self.recorded = self.lost = 0

    def note(self, hit: Hit) -> bool:
        """False: there is no room, and nothing will be known of it."""
        if len(self._waiting) >= MOST:
            if not self.lost:
                log.warning("visits-lost", cause="the store takes nothing", waiting=MOST)
            self.lost += 1
            return False
        self._waiting.append(hit)
        self._wake.set()
        return True

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Until stop(), and then what is left."""
        loop = asyncio.get_running_loop()
        while self._waiting or not self._stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            if len(self._lane.items) >= MOST and not self._stopping.is_set():
                await self._clock.nap(self._stopping, FULL_S)
            else:
                await self._record([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])
            if self._waiting:
                loop.call_soon(self._wake.set)  # the next batch, but answers first

    async def _record(self, hits: list[Hit]) -> None:
        strange = {hit.agent for hit in hits if self._clients.known(hit.agent) is None}
        now = self._clock.steady()
        strange = {agent for agent in strange if self._parses.allow("", now)}
        if strange:
            self._clients.remember(await self._learnt(strange))
        for hit in hits:
            self._lane.tell(self._visit(hit))
        self.recorded += len(hits)

    async def _learnt(self, agents: set[str]) -> dict[str, Client]:
        try:
            return await asyncio.to_thread(self._clients.learn, agents)
        except Exception:  # a stranger's words must not end the recording, and with it the daemon
            log.exception("clients-not-read", agents=len(agents))
            return {agent: self._clients.unparsed(agent) for agent in agents}

    def _visit(self, hit: Hit) -> Visit:
        kind, scope = _TYPES[hit.purpose]
        client = self._clients.known(hit.agent) or self._clients.unparsed(hit.agent)
        client = self._clients.from_network(client, hit.peer.address)
        if hit.prefetch and not client.bot:
            client = Client(client.type, client.os, client.device, client.name, PREFETCH, counted=False)
        return Visit(
            self._ids.take(IDS_PER_VISIT),
            kind,
            hit.recipient_id,
            hit.peer.text,
            hit.agent,
            client,
            self._places.of(hit.peer),
            hit.target,
            scope,
        )
