"""A small DNS server on 127.0.0.1, UDP and TCP on one port of the system's choice, with zones a test writes.

    async with DnsServer() as dns:
        dns.add("example.org", "MX", "10 mx.example.org", "20 mx2.example.org", ttl=300)
        dns.fail("broken.example")                      # SERVFAIL
        dns.silence("slow.example")                     # no answer at all
        DnsConfig(nameservers=(dns.address,))

Names are without final dot. A name that was never mentioned, nor one below it, is NXDOMAIN; one that was is NODATA
for its other types. CNAMEs inside the zones are followed. `asked` lists every question as (name, type).
"""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

NEGATIVE_TTL_S = 120


class DnsServer:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.over_tcp = 0  # questions that came over TCP
        self._records: dict[str, dict[str, tuple[int, tuple[str, ...]]]] = {}
        self._rcodes: dict[str, dns.rcode.Rcode] = {}
        self._silent: set[str] = set()
        self._truncated: set[str] = set()
        self._gates: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, name: str, kind: str, *values: str, ttl: int = 300) -> None:
        """Values as in a zone file: add("example.org", "TXT", '"v=STSv1; id=1"'). Replaces what was there."""
        names = [_absolute(value) if kind in ("MX", "CNAME") else value for value in values]
        self._records.setdefault(name.lower(), {})[kind] = (ttl, tuple(names))

    def remove(self, name: str) -> None:
        self._records.pop(name.lower(), None)
        self._rcodes.pop(name.lower(), None)
        self._silent.discard(name.lower())

    def fail(self, name: str, rcode: str = "SERVFAIL") -> None:
        self._rcodes[name.lower()] = dns.rcode.from_text(rcode)

    def silence(self, name: str) -> None:
        self._silent.add(name.lower())

    def truncate(self, name: str) -> None:
        """Over UDP the answer is empty and says: ask over TCP."""
        self._truncated.add(name.lower())

    def hold(self, name: str) -> asyncio.Event:
        """Questions for `name` are answered once the event is set."""
        return self._gates.setdefault(name.lower(), asyncio.Event())

    def count(self, name: str, kind: str | None = None) -> int:
        return sum(asked == name.lower() and kind in (None, asked_kind) for asked, asked_kind in self.asked)

    async def until_asked(self, name: str, times: int = 1) -> None:
        while self.count(name) < times:
            await asyncio.sleep(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "DnsServer":
        loop = asyncio.get_running_loop()
        for _ in range(20):  # until a port is free for both
            stream, datagram = (_socket(socket.SOCK_STREAM, 0), None)
            self.port: int = stream.getsockname()[1]
            try:
                datagram = _socket(socket.SOCK_DGRAM, self.port)
                break
            except OSError:
                stream.close()
        assert datagram is not None, "no port is free for both UDP and TCP"
        self._tcp = await asyncio.start_server(self._serve_tcp, sock=stream)
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=datagram)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, wire: bytes, transport: Any, peer: Any) -> None:
        """One UDP question."""
        task = asyncio.ensure_future(self._answer_udp(wire, transport, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_udp(self, wire: bytes, transport: Any, peer: Any) -> None:
        answer = await self._answer(wire, tcp=False)
        if answer is not None and not transport.is_closing():
            transport.sendto(answer, peer)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            answer = await self._answer(await reader.readexactly(size), tcp=True)
            if answer is not None:
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        question = dns.message.from_wire(wire)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        self.over_tcp += tcp
        if name in self._gates:
            await self._gates[name].wait()
        if name in self._silent:
            return None
        reply = dns.message.make_response(question, recursion_available=True)
        if name in self._truncated and not tcp:
            reply.flags |= dns.flags.TC
        elif name in self._rcodes:
            reply.set_rcode(self._rcodes[name])
        else:
            self._fill(reply, name, kind)
        return reply.to_wire(max_size=65_535)

    def _fill(self, reply: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(20):  # a CNAME loop ends somewhere
            types = self._records.get(name, {})
            for found in (kind, "CNAME"):
                if found in types:
                    ttl, values = types[found]
                    reply.answer.append(dns.rrset.from_text(name + ".", ttl, "IN", found, *values))
                    break
            else:
                break
            if found == kind:
                return
            name = values[0].rstrip(".").lower()
        if not any(known == name or known.endswith("." + name) for known in self._records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"ns.invalid. root.invalid. 1 3600 600 86400 {NEGATIVE_TTL_S}"
        reply.authority.append(dns.rrset.from_text(".", NEGATIVE_TTL_S, "IN", "SOA", soa))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.take(data, self._transport, addr)


def _socket(kind: socket.SocketKind, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, kind)
    try:
        opened.bind(("127.0.0.1", port))
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened


def _absolute(value: str) -> str:
    return value if value.endswith(".") else value + "."
