"""An internet on this machine: a name server, and mail hosts on addresses of their own, in a thread with its own loop.

    with Internet() as net, Server(tmp_path, net.config) as daemon:
        net.host("bob.example", Peer(rcpt="550 5.1.1 no such user"))    # its MX is mx.bob.example

All hosts have one port, as on the real one. Peers belong to that loop: use call() for what changes or asks them.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.dnsserver import DnsServer
from tests.scripted import Peer

T = TypeVar("T")

_LIMIT_S = 30.0


class Internet:
    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="internet")
        self._thread.start()
        self._peers: list[Peer] = []  # that listen
        self._hosts: dict[str, Peer] = {}
        self._addresses: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self.dns = DnsServer()
        self.run(self.dns.__aenter__())
        self.port = 0
        self._reserve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for peer in self._peers:
            self.run(peer.close())
        self.run(self.dns.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_S)

    @property
    def config(self) -> str:
        """What a daemon must know of it, as sections of its configuration file."""
        return f'[dns]\nnameservers = ["{self.dns.address}"]\n[delivery]\nport = {self.port}\n'

    def host(self, domain: str, peer: Peer, *, up: bool = True) -> None:
        """A host that is the MX of the domain. up False: nobody listens there before up()."""
        name, address = f"mx.{domain}", self._address()
        self._addresses[domain] = address
        self._hosts[domain] = peer
        self.call(self.dns.add, name, "A", address)
        self.call(self.dns.add, domain, "MX", f"10 {name}")
        if up:
            self.up(domain)

    def up(self, domain: str) -> None:
        peer = self._hosts[domain]
        if not peer.port:
            self.run(peer.listen(self._addresses[domain], self.port))
            self._peers.append(peer)

    def peer(self, domain: str) -> Peer:
        return self._hosts[domain]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function(*arguments))
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(_LIMIT_S)

    def _reserve(self) -> None:
        """The port of all hosts is the one a first host gets."""
        first = Peer()
        self.run(first.listen(self._address()))
        self._peers.append(first)
        self.port = first.port

    def _address(self) -> str:
        number = next(self._numbers)
        return f"127.0.{1 + number // 250}.{1 + number % 250}"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
