"""One open SMTP session with one host: the transport and the time limits around a Dialogue.

Room: delivery. Source: RFC 5321 §4.5.3.2 (time limits). Used by delivery.connect, which opens it, and by whoever keeps
it for the next message. One future per transaction, no task and no timer per message.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence

from mtad.clock import Clock
from mtad.config import DeliveryConfig
from mtad.delivery.dialogue import LOCAL_CODE, MERGE, Dialogue, Reuse
from mtad.delivery.wire import Features
from mtad.mail.envelope import Transaction
from mtad.mail.reply import Deferred, Hop, Outcome, Phase, Reply

_PIECE = 262_144  # octets given to the transport at once: bounds what it copies, above all under TLS
_SLACK = 8192  # commands that go with a merged body

_NO_TLS = Reply(454, "7.4", "the message demands TLS, and this connection has none")


class Connection(asyncio.Protocol):
    """Made on a transport after EHLO (and STARTTLS, AUTH); made by delivery.connect.

    sent: transactions so far. stale: the last send() found that the host had given up the idle connection, before it
    answered anything: the same mail may be tried at once on another connection. on_closed: called once when it is gone.
    """

    def __init__(
        self, transport: asyncio.Transport, hop: Hop, features: Features, config: DeliveryConfig, clock: Clock
    ) -> None:
        self.hop, self.features = hop, features
        self.sent = 0
        self.stale = False
        self.on_closed: Callable[[Connection], None] | None = None
        self._transport, self._clock = transport, clock
        self._loop = asyncio.get_running_loop()
        self._dialogue = Dialogue(features, hop)
        self._limits = {
            Phase.MAIL: config.mail_timeout_s,
            Phase.RCPT: config.rcpt_timeout_s,
            Phase.DATA: config.data_timeout_s,
            Phase.FINAL: config.final_timeout_s,
        }
        self._block_s, self._quit_s = config.block_timeout_s, config.quit_timeout_s
        # Looking at the deadline this often is never too late, however often it moves.
        self._look_s = min(self._block_s, *self._limits.values())
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = math.inf  # of the loop's clock
        self._pending: deque[memoryview] = deque()  # of the body, not yet given to the transport
        self._paused = self._closing = self._gone = False
        self._future: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    # ---- the caller's side

    @property
    def alive(self) -> bool:
        """True: send() may be called (once the transaction under way, if any, is over)."""
        full = 0 < self.features.max_messages <= self.sent
        return not (self._closing or self._gone or full or self._transport.is_closing())

    @property
    def farewell(self) -> str:
        """Why it is not alive, in the host's words where there were any."""
        return self._dialogue.farewell

    async def send(self, tx: Transaction) -> list[Outcome]:
        """One outcome per recipient. One transaction at a time.

        Raises ValueError for content or addresses that must not be on the wire; nothing is sent then. Cancelled: the
        connection is aborted, since nobody knows where it stands.
        """
        if self._future is not None:
            raise RuntimeError("a transaction is under way on this connection")
        self.stale = False
        if not self.alive:
            self.stale = self.sent > 0
            words = self.farewell or f"{self.hop.host} had closed the connection"
            return self._all_deferred(tx, Reply(LOCAL_CODE, "4.2", words), Phase.MAIL)
        if tx.require_tls and self.hop.tls is None:
            return self._all_deferred(tx, _NO_TLS, Phase.TLS)
        dialogue = self._dialogue
        pieces = dialogue.start(tx)
        if dialogue.done:
            return dialogue.outcomes()
        started = self._clock.steady()
        self._future = self._loop.create_future()
        self._write(pieces)
        self._arm()
        try:
            await self._future
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._future = None
        outcomes = dialogue.outcomes(self._clock.steady() - started)
        self.stale = self._was_stale(outcomes)
        self.sent += 1
        return outcomes

    def close(self) -> None:
        """Say QUIT and leave; never waits. A transaction under way is aborted."""
        if self._closing or self._gone:
            return
        if self._future is not None or self._paused or self._transport.is_closing():
            self.abort()
            return
        self._closing = True
        self._transport.write(b"QUIT\r\n")
        self._set_timer(self._quit_s)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._closing = True
        self._pending.clear()
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Until the connection is gone. After close() that is at most quit_timeout_s."""
        await asyncio.shield(self._closed)

    # ---- asyncio's side

    def data_received(self, data: bytes) -> None:
        if self._closing:  # the reply to QUIT, or what a host says while we cut the line
            self._transport.close()
            return
        dialogue = self._dialogue
        heard = dialogue.heard
        pieces = dialogue.feed(data)
        if pieces:
            self._write(pieces)
        if dialogue.done:
            self._settle()
        elif dialogue.heard != heard:  # only whole replies earn more time
            self._arm()

    def eof_received(self) -> bool:
        return False  # nothing more will come: the transport closes itself

    def pause_writing(self) -> None:
        self._paused = True
        self._dialogue.whole = False
        if not self._dialogue.done:
            self._arm()

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()
        if not self._dialogue.done:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        how = getattr(exc, "strerror", None) or (str(exc) if exc else "")
        if not self._closing:
            self._dialogue.lost(f"broke the connection ({how})" if how else "closed the connection")
        elif not self._dialogue.done:
            self._dialogue.lost("was cut off")
        self._settle()
        if not self._closed.done():
            self._closed.set_result(None)
        if self.on_closed is not None:
            self.on_closed(self)

    # ---- inside

    def _write(self, pieces: Sequence[bytes]) -> None:
        if sum(map(len, pieces)) <= MERGE + _SLACK and not self._pending:
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            return
        for piece in pieces:
            view = memoryview(piece)
            self._pending.extend(view[at : at + _PIECE] for at in range(0, len(view), _PIECE))
        self._dialogue.whole = False
        self._pump()

    def _pump(self) -> None:
        """Give the transport as much as it wants now."""
        while self._pending and not self._paused and not self._transport.is_closing():
            self._transport.write(self._pending.popleft())
        self._dialogue.whole = not (self._pending or self._paused)

    def _settle(self) -> None:
        """The dialogue is done: tell the caller, and leave a host that will take no more."""
        self._deadline = math.inf
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
        if self._dialogue.reuse is Reuse.DEAD and not self._gone:
            if self._pending or self._paused:
                self.abort()
            elif not self._closing:
                self._closing = True
                self._transport.close()
                self._set_timer(self._quit_s)  # a TLS peer may be slow to say goodbye

    def _was_stale(self, outcomes: list[Outcome]) -> bool:
        if not self.sent or self._dialogue.reuse is not Reuse.DEAD or self._dialogue.heard:
            return False
        return not any([isinstance(outcome, Deferred) and outcome.unknown for outcome in outcomes])

    def _all_deferred(self, tx: Transaction, reply: Reply, phase: Phase) -> list[Outcome]:
        return [Deferred(reply, self.hop, phase)] * len(tx.recipients)

    # ---- time

    def _limit_s(self) -> float:
        return self._block_s if self._paused else self._limits[self._dialogue.phase]

    def _arm(self) -> None:
        self._deadline = self._loop.time() + self._limit_s()
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_s, self._look)

    def _set_timer(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = self._loop.time() + wait_s
        self._timer = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        """Is the deadline over? An idle connection has none, and then no timer either."""
        self._timer = None
        if self._deadline == math.inf:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._timer = self._loop.call_at(min(self._deadline, now + self._look_s), self._look)
            return
        if not self._dialogue.done:
            self._dialogue.expire(self._limit_s(), blocked=self._paused)
            self._settle()
        self.abort()
