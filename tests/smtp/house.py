"""Live doors on loopback, with the daemon's side played: what the tests of server and listeners start from."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager

from mtad.clock import SystemClock
from mtad.config import SmtpConfig
from mtad.mail.reply import Reply
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.listeners import Listeners
from mtad.smtp.policy import DoorPolicy
from mtad.smtp.session import Listener

LOGIN, PASSWORD = "bob@ours.test", "secret word"
LOCAL = ("127.0.0.1:0",)


class House:
    """Takes messages and knows one login. hold: commits wait for settle(). refusal: raised by submit."""

    def __init__(self, config, clock=None, budget=None, **more):
        self.taken, self.waiting, self.hold, self.refusal = [], [], False, None
        self.clients = []
        self.passwords = {LOGIN: PASSWORD}
        self.counters, self.budget, self.clock = Counters(), budget or Budget(50_000_000), clock or SystemClock()
        policy = DoorPolicy(
            default_domain="ours.test",
            is_ours=lambda domain: domain == "ours.test",
            recipient=lambda one: None if one.domain == "ours.test" else Reply(550, "7.1", "Relaying refused"),
            accepting=lambda: None,
            auth_without_tls=config.auth_without_tls,
        )
        self.listeners = Listeners(
            config,
            hostname="mx.test",
            default_domain="ours.test",
            policy=policy,
            submit=self.submit,
            verify=self.verify,
            clock=self.clock,
            budget=self.budget,
            counters=self.counters,
            **more,
        )

    def submit(self, submission):
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(submission)
        future = asyncio.get_running_loop().create_future()
        if self.hold:
            self.waiting.append(future)
        else:
            future.set_result(len(self.taken))
        return future

    def settle(self, error=None):
        """The oldest commit that waits has come to its end."""
        future = self.waiting.pop(0)
        if error is None:
            future.set_result(7)
        else:
            future.set_exception(error)

    async def verify(self, login, password):
        if login == "broken":
            raise RuntimeError("the store is down")
        return "ours.test" if self.passwords.get(login) == password else None

    def port(self, kind=Listener.MX):
        return int(self.listeners.addresses(kind)[0].rpartition(":")[2])

    async def connect(self, kind=Listener.MX, **more):
        client = Wire(*await asyncio.open_connection("127.0.0.1", self.port(kind), **more))
        self.clients.append(client)
        return client

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)


class Wire:
    """A client that says exactly what it is told to."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, data):
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def ask(self, *lines):
        """Send these lines in one piece; the last line of the last reply."""
        self.send("".join(f"{line}\r\n" for line in lines))
        for _ in lines:
            answer = await self.answer()
        return answer

    async def answer(self):
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 10)).decode().rstrip()
            if line[3:4] != "-":
                return line

    async def greeted(self):
        """After the greeting and EHLO."""
        await self.answer()
        await self.ask("EHLO client.test")
        return self

    async def in_data(self, recipient="bob@ours.test"):
        await self.greeted()
        answer = await self.ask("MAIL FROM:<ann@sender.test>", f"RCPT TO:<{recipient}>", "DATA")
        assert answer.startswith("354 ")
        return self

    async def is_closed(self):
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except ConnectionError:
            return True

    def reset(self):
        """Go without a word, by RST, as a client that crashes."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def house(certificate=None, clock=None, budget=None, environ=None, first_fd=3, **keys):
    listening = {"mx": LOCAL, "submission": LOCAL, "submissions": LOCAL if certificate else ()}
    tls = {"tls_certificate": certificate[0], "tls_key": certificate[1]} if certificate else {}
    config = SmtpConfig(**{**listening, **tls, **keys})
    one = House(config, clock, budget, environ=environ, first_fd=first_fd)
    await one.listeners.start()
    try:
        yield one
    finally:
        while one.waiting:
            one.settle()
        await one.listeners.stop(0.0)
        for client in one.clients:
            client.reset()
        await asyncio.sleep(0)  # lets the transports of the clients go
        assert one.listeners.connections == 0
        assert one.budget.used == 0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]
