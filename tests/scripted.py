"""A remote SMTP host that does as it is told, on 127.0.0.1, port 0: the one to test outgoing mail against.

    async with Peer(rcpt="550 5.1.1 no such user") as peer: ... peer.port, peer.taken, peer.commands

Answers by phase: connect, ehlo, helo, starttls, auth, mail, rcpt, data, final, rset, quit; "rcpt bob@x.example" (or any
"verb argument") is looked up before the phase alone. An answer is a text ("250 ok", lines parted by CRLF), raw octets,
an Act, None for what a host says when all is well, or a list of these, one after another (the last one repeats).
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest
import uvloop


@dataclass(frozen=True)
class Act:
    """Say `reply` (if any; octets go out as they are), then: drop the connection, reset it, hang (read on and answer
    nothing more, but `then` to whatever comes next), go deaf (read nothing more), say `stream` again and again as long
    as somebody takes it, with `every_s` seconds between."""

    reply: str | bytes = ""
    drop: bool = False
    reset: bool = False
    hang: bool = False
    deaf: bool = False
    then: bytes = b""
    stream: bytes = b""
    every_s: float = 0.0

    @property
    def octets(self) -> bytes:
        if isinstance(self.reply, bytes):
            return self.reply
        return self.reply.encode() + b"\r\n" if self.reply else b""


DROP, RESET, HANG, DEAF = Act(drop=True), Act(reset=True), Act(hang=True), Act(deaf=True)
One = str | bytes | Act | None
Answer = One | list[One]

PLAIN = ("PIPELINING", "8BITMIME", "SIZE 10000000")


@dataclass
class Taken:
    """A message the peer has said 250 to."""

    mail: str
    rcpts: list[str]
    content: bytes
    over_tls: bool = False


@dataclass
class Peer:
    extensions: tuple[str, ...] = PLAIN
    tls: ssl.SSLContext | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    segments: list[bytes] = field(default_factory=list)  # as they arrived, without TLS
    sessions: list["_Session"] = field(default_factory=list)
    port: int = 0

    def __init__(self, *extensions: str, tls: ssl.SSLContext | None = None, **answers: Answer) -> None:
        self.extensions, self.tls, self.answers = extensions or PLAIN, tls, dict(answers)
        self.taken, self.commands, self.segments, self.sessions = [], [], [], []

    async def __aenter__(self) -> "Peer":
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def listen(self, address: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), address, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for session in self.sessions:
            session.stop()
        await asyncio.gather(*[session.gone.wait() for session in self.sessions])
        await self._server.wait_closed()

    @property
    def received(self) -> bytes:
        return b"".join(self.segments)

    def say(self, octets: bytes) -> None:
        """Unasked, on every open connection."""
        for session in self.sessions:
            session.transport.write(octets)

    def drop(self) -> None:
        for session in self.sessions:
            session.transport.close()

    def answer(self, phase: str, argument: str) -> One:
        for key in (f"{phase} {argument}", phase):
            found = self.answers.get(key)
            if isinstance(found, list):
                return found.pop(0) if len(found) > 1 else found[0]
            if found is not None:
                return found
        return None


class _Session(asyncio.Protocol):
    def __init__(self, peer: Peer) -> None:
        self.peer, self.gone = peer, asyncio.Event()
        self._buffer = bytearray()
        self._mode, self._need, self._scanned = "line", 0, 0
        self.silent = self._over_tls = self._full = False
        self._then = b""
        self._stream: Act | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._mail: str | None = None
        self._rcpts: list[str] = []
        self._handshake: asyncio.Task[None] | None = None
        peer.sessions.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if not self._over_tls:
            self._do("connect", "", "220 scripted.example ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream = None
        if self._timer is not None:
            self._timer.cancel()
        if self._handshake is None or self._handshake.done():
            self.gone.set()

    def stop(self) -> None:
        if self._handshake is not None and not self._handshake.done():
            self._handshake.cancel()
        self.transport.abort()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()

    def _go_on(self) -> None:
        """More of the stream: a little after a while, or as much as goes."""
        act, loop = self._stream, asyncio.get_running_loop()
        if act is None:
            return
        if act.every_s:
            self.transport.write(act.stream)
            self._timer = loop.call_later(act.every_s, self._go_on)
            return
        while not self._full and not self.transport.is_closing():
            self.transport.write(act.stream * (1 + 4096 // len(act.stream)))

    def data_received(self, data: bytes) -> None:
        self.peer.segments.append(data)
        self._buffer += data
        if self._then:
            self.transport.write(self._then)
            self._then = b""
        while not self.silent and self._step():
            pass

    def _step(self) -> bool:
        if self._mode == "data":
            return self._data()
        if self._mode == "bdat":
            return self._bdat()
        line, end, rest = bytes(self._buffer).partition(b"\r\n")
        if not end:
            return False
        self._buffer = bytearray(rest)
        self._command(line.decode("utf-8", "replace"))
        return True

    def _data(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            end, skip = 0, 3
        else:
            end, skip = self._buffer.find(b"\r\n.\r\n", self._scanned) + 2, 3
            if end < 2:
                self._scanned = max(0, len(self._buffer) - 4)
                return False
        self._scanned = 0
        content = bytes(self._buffer[:end])
        del self._buffer[: end + skip]
        content = content[1:] if content.startswith(b".") else content
        self._mode = "line"
        self._end(content.replace(b"\r\n.", b"\r\n"))
        return True

    def _bdat(self) -> bool:
        if len(self._buffer) < self._need:
            return False
        content = bytes(self._buffer[: self._need])
        del self._buffer[: self._need]
        self._mode = "line"
        if self._rcpts:
            self._end(content)
        else:
            self._say("503 5.5.1 RCPT first")
        return True

    def _end(self, content: bytes) -> None:
        taken = Taken(self._mail or "", self._rcpts, content, self._over_tls)
        self._mail, self._rcpts = None, []
        default = "250 2.0.0 taken" if taken.rcpts else "554 5.5.1 no valid recipients"
        if self._do("final", "", default).startswith("2"):
            self.peer.taken.append(taken)

    def _command(self, line: str) -> None:
        self.peer.commands.append(line)
        verb, _, rest = line.partition(" ")
        verb = verb.lower()
        argument = rest[rest.find("<") + 1 : rest.find(">")] if "<" in rest else rest
        handler = getattr(self, f"_on_{verb}", None)
        if handler is None:
            self._do(verb, argument, "250 2.0.0 ok")
        else:
            handler(argument, line)

    def _on_ehlo(self, argument: str, line: str) -> None:
        words = ["scripted.example", *self.peer.extensions]
        if self.peer.tls is not None and not self._over_tls:
            words.append("STARTTLS")
        lines = [f"250-{word}" for word in words]
        lines[-1] = lines[-1].replace("250-", "250 ", 1)
        self._do("ehlo", argument, "\r\n".join(lines))

    def _on_mail(self, argument: str, line: str) -> None:
        if self._mail is not None:
            self._say("503 5.5.1 nested MAIL")
        elif self._do("mail", argument, "250 2.1.0 ok").startswith("2"):
            self._mail = argument

    def _on_rcpt(self, argument: str, line: str) -> None:
        if self._mail is None:
            self._say("503 5.5.1 MAIL first")
        elif self._do("rcpt", argument, "250 2.1.5 ok").startswith("2"):
            self._rcpts.append(argument)

    def _on_data(self, argument: str, line: str) -> None:
        default = "354 go on" if self._rcpts else "503 5.5.1 RCPT first"
        if self._do("data", argument, default).startswith("3"):
            self._mode = "data"

    def _on_bdat(self, argument: str, line: str) -> None:
        assert line.endswith(" LAST")
        self._need, self._mode = int(line.split()[1]), "bdat"

    def _on_rset(self, argument: str, line: str) -> None:
        self._mail, self._rcpts = None, []
        self._do("rset", argument, "250 2.0.0 ok")

    def _on_auth(self, argument: str, line: str) -> None:
        mechanism = argument.split()[0]
        self._do(f"auth {mechanism}", argument, "334 UGFzc3dvcmQ6" if mechanism == "LOGIN" else "235 2.7.0 ok")

    def _on_quit(self, argument: str, line: str) -> None:
        self._do("quit", argument, "221 2.0.0 bye")
        if not self.silent:
            self.transport.close()

    def _on_starttls(self, argument: str, line: str) -> None:
        if self._do("starttls", argument, "220 2.0.0 go").startswith("220") and not self.silent:
            self.silent = True
            self._handshake = asyncio.get_running_loop().create_task(self._start_tls())

    async def _start_tls(self) -> None:
        loop = asyncio.get_running_loop()
        self._over_tls = True
        try:
            tls = await loop.start_tls(self.transport, self, self.peer.tls, server_side=True)
        except (OSError, asyncio.CancelledError):
            self.transport.abort()
            self.gone.set()
            return
        self.transport = tls
        self.silent = False
        self._mail, self._rcpts = None, []
        while self._step():
            pass

    def _do(self, phase: str, argument: str, default: str) -> str:
        """What was really said."""
        answer = self.peer.answer(phase, argument)
        act = answer if isinstance(answer, Act) else Act(default if answer is None else answer)
        if act.octets:
            self.transport.write(act.octets)
        if act.drop:
            self.transport.close()
        if act.reset:
            linger = struct.pack("ii", 1, 0)  # on, 0 s: the close is a reset
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        if act.deaf:
            self.transport.pause_reading()
        self._then = act.then
        self.silent = act.drop or act.reset or act.hang or act.deaf or bool(act.stream)
        if act.stream:
            self._stream = act
            self._go_on()
        return act.octets.decode("utf-8", "replace")

    def _say(self, reply: str) -> None:
        self.transport.write(reply.encode() + b"\r\n")


def both_loops(scenario: Callable[[], Coroutine[None, None, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine function: once on asyncio's loop, once on uvloop's."""

    @pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def test(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(scenario(), 20))

    test.__name__ = scenario.__name__
    return test
