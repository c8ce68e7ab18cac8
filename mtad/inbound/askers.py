"""Askers: SPF evaluated in threads, as pyspf cannot wait on the loop; whose DNS is slow keeps nobody else waiting.

Room: inbound. May import: mail. There is a thread for every message that is judged at one time, and only a few of them
are at work: the others wait for DNS, which costs nothing. The time for one question and for all of them is bounded.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mtad.clock import Clock
from mtad.inbound.lookup import TROUBLE, Bridge, Kind, Resolver
from mtad.inbound.spf import Sender, Spf, SpfResult, evaluate, has_record

THREADS = 200  # Receive.at_once: nobody waits for a thread that waits for a stranger's name server
AT_WORK = 4  # more would only get in each other's way, and in the loop's
LOOKUP_S = 4.0  # of one question: to wait longer for it helps nobody, and there may be many


@dataclass(slots=True)
class _Turns:
    """A Bridge's questions, asked outside of the turn to work."""

    bridge: Bridge
    turns: threading.Semaphore

    def ask(self, name: str, kind: Kind) -> Sequence[str]:
        if self.bridge.knows(name, kind):
            return self.bridge.ask(name, kind)
        self.turns.release()
        try:
            return self.bridge.ask(name, kind)
        finally:
            self.turns.acquire()

    def evaluate(self, sender: Sender, peer_ip: str, helo: str, now: float) -> Spf:
        with self.turns:
            return evaluate(sender, peer_ip, helo, now, self.ask)


class Askers:
    """Close it when no check is under way any more."""

    def __init__(self, resolver: Resolver, clock: Clock, threads: int = THREADS, lookup_s: float = LOOKUP_S) -> None:
        self._resolver, self._clock, self._lookup_s = resolver, clock, lookup_s
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="spf")
        self._turns = threading.Semaphore(AT_WORK)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def spf(self, sender: Sender, peer_ip: str, helo: str, until: float) -> Spf:
        """until: of the loop's clock. peer_ip: "" when it is not known. Never raises but for a cancellation."""
        if not sender.domain or not peer_ip:
            return Spf(SpfResult.NONE, sender.identity, sender.domain)
        bridge = Bridge(self._resolver, self._lookup_s)
        try:
            async with asyncio.timeout_at(until):
                record = await self._resolver.txt(sender.domain)
                if record.found != TROUBLE and not has_record(record.records):
                    return Spf(SpfResult.NONE, sender.identity, sender.domain)  # most junk ends here, without a thread
                bridge.know(Kind.TXT, sender.domain, record)
                now, loop, turns = self._clock.now(), asyncio.get_running_loop(), _Turns(bridge, self._turns)
                return await loop.run_in_executor(self._pool, turns.evaluate, sender, peer_ip, helo, now)
        except TimeoutError:
            return Spf(SpfResult.TEMPERROR, sender.identity, sender.domain, "no answer in time")
        finally:
            bridge.stop()
