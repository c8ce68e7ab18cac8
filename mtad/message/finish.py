"""Finish: stored message -> the octets one attempt puts on the wire.

Room: message. `finish` is pure; `Finisher` is its shell, which decides where the work is done and does it once for
recipients of the same octets. Used by queue.runner for each attempt.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from mtad.message import dkim
from mtad.message.dkim import Algorithm, Signer
from mtad.message.headers import CRLF, scan

_INLINE_OCTETS = 65_536  # a larger message is read and hashed in the thread as well
_FRESH_S = 60.0  # a signature is given out again for so long: its t= must not lag behind
_CACHE_OCTETS = 1_048_576
_BATCH = 8  # messages one thread signs in a row, about 2 ms of RSA-2048

_Prepared = tuple[dkim.SignedFields, bytes]
_Results = asyncio.Future[list[bytes | Exception]]


def finish(content: bytes, signers: Sequence[Signer], now: float) -> tuple[bytes, ...]:
    """The chunks of the message as sent: signature fields, in the order of `signers`, and `content` untouched.

    Joined they end with CRLF (RFC 5321 §4.1.1.4). content: as `trace.complete` left it.
    """
    return _chunks(_sign(content, signers, now), content)


def _chunks(fields: bytes, content: bytes) -> tuple[bytes, ...]:
    end = () if content.endswith(CRLF) else (CRLF,)
    return (fields, content, *end) if fields else (content, *end)


def _sign(content: bytes, signers: Sequence[Signer], now: float) -> bytes:
    if not signers:
        return b""
    return _seal(signers, *_prepare(content), now)


def _prepare(content: bytes) -> _Prepared:
    block = scan(content)
    return dkim.select(block), dkim.body_hash(content, block.body_start)


def _seal(signers: Sequence[Signer], fields: dkim.SignedFields, body: bytes, now: float) -> bytes:
    return b"".join([signer.sign(fields, body, now) for signer in signers])


class _Signed:
    """Signature fields for one content, made or being made. Holding `content` keeps its id from being reused."""

    __slots__ = ("content", "fields", "made_at", "prepared", "signers")

    def __init__(self, content: bytes, signers: tuple[Signer, ...], made_at: float) -> None:
        self.content, self.signers, self.made_at = content, signers, made_at
        self.prepared: _Prepared | None = None
        self.fields: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def work(self) -> bytes:
        """What a thread does."""
        return _seal(self.signers, *(self.prepared or _prepare(self.content)), self.made_at)


def _work(batch: Sequence[_Signed]) -> list[bytes | Exception]:
    """One failure must not take the others with it."""
    results: list[bytes | Exception] = []
    for signed in batch:
        try:
            results.append(signed.work())
        except Exception as error:
            results.append(error)
    return results


class Finisher:
    """Finishes messages for one event loop.

    executor: where RSA and large messages are worked on, None for the loop itself. max_threads: so many of its
    threads at once; each takes what has gathered meanwhile, so a hand-over is paid once for several messages.
    Recipients of the same content object share one signature for a minute, also while it is being made. At most
    `cache_octets` of contents are held for that, or the one last used if it alone is larger.
    """

    def __init__(self, executor: Executor | None, max_threads: int = 1, cache_octets: int = _CACHE_OCTETS) -> None:
        self._executor, self._max_threads = executor, max_threads
        self._waiting: deque[_Signed] = deque()
        self._running = 0
        self._cache: OrderedDict[tuple[int, tuple[Signer, ...]], _Signed] = OrderedDict()
        self._held, self._limit = 0, cache_octets

    async def finish(self, content: bytes, signers: Sequence[Signer], now: float) -> tuple[bytes, ...]:
        """As the function `finish`. Cancelling one caller does not disturb others who wait for the same work."""
        if not signers:
            return _chunks(b"", content)
        key = (id(content), tuple(signers))
        signed = self._cache.get(key)
        if signed is None or not 0 <= now - signed.made_at < _FRESH_S:
            signed = _Signed(content, key[1], now)
            self._start(signed)
        if not signed.fields.done():
            return _chunks(await asyncio.shield(signed.fields), content)
        return _chunks(signed.fields.result(), content)

    def _start(self, signed: _Signed) -> None:
        small = len(signed.content) <= _INLINE_OCTETS
        if self._executor is None or (small and all(s.algorithm is Algorithm.ED25519 for s in signed.signers)):
            self._remember(signed)
            self._settle([signed], _work([signed]))  # Ed25519 costs less than the way to a thread and back
            return
        if small:  # what needs the interpreter lock is done here: a thread fighting for it would delay the loop more
            signed.prepared = _prepare(signed.content)
        self._remember(signed)
        self._waiting.append(signed)
        self._pump(self._executor)

    def _pump(self, executor: Executor) -> None:
        """Give what waits to the threads that are free."""
        while self._waiting and self._running < self._max_threads:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                done = asyncio.get_running_loop().run_in_executor(executor, _work, batch)
            except RuntimeError as error:  # the executor was shut down
                self._settle(batch, [error] * len(batch))
            else:
                self._running += 1
                done.add_done_callback(partial(self._done, executor, batch))

    def _done(self, executor: Executor, batch: list[_Signed], done: _Results) -> None:
        self._running -= 1
        stopped = RuntimeError("the signing threads were stopped")
        self._settle(batch, [stopped] * len(batch) if done.cancelled() else done.result())
        self._pump(executor)

    def _settle(self, batch: Sequence[_Signed], results: Sequence[bytes | Exception]) -> None:
        for signed, result in zip(batch, results, strict=True):
            if isinstance(result, bytes):
                signed.fields.set_result(result)
            else:
                self._forget(signed)  # the next attempt begins anew
                signed.fields.set_exception(result)

    def _remember(self, signed: _Signed) -> None:
        key = (id(signed.content), signed.signers)
        if key in self._cache:
            self._forget(self._cache[key])
        self._cache[key] = signed
        self._held += len(signed.content)
        while self._held > self._limit and len(self._cache) > 1:
            self._forget(next(iter(self._cache.values())))

    def _forget(self, signed: _Signed) -> None:
        key = (id(signed.content), signed.signers)
        if self._cache.get(key) is signed:
            del self._cache[key]
            self._held -= len(signed.content)
