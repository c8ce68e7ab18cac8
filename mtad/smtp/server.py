"""Server: one connection of a client, from the socket to the receiver and back.

Room: smtp. Shell of smtp.receiver; the one subclass of aiosmtpd. aiosmtpd gives the dialogue of AUTH; its line loop and
what its constructor looks up per connection are left out, because they cost most of its time. In the plain path no
task is made: octets come, the receiver works, one write goes out. AUTH and TLS run in a task that `Shared` owns.
Source: RFC 5321, RFC 3207, RFC 4954.
"""

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from aiosmtpd.smtp import Session as AuthSession

from mtad import log as logs
from mtad.mail.envelope import Submission
from mtad.mail.ids import queue_id
from mtad.mail.reply import Refused
from mtad.smtp import replies as say
from mtad.smtp.limits import client_key, plain_address
from mtad.smtp.proxy import BadHeader, parse_header
from mtad.smtp.receiver import Receiver
from mtad.smtp.session import Auth, Listener, Message, Quit, Session, StartTls
from mtad.smtp.shared import Shared

log = logs.get("smtp")
# aiosmtpd writes what a client sends during AUTH at debug level; passwords have no business in any log.
logging.getLogger("mail.log").setLevel(logging.WARNING)

_PAUSE_OCTETS = 65_536  # buffered behind a message being committed: more is left in the kernel
_HANDSHAKE_S = 30.0


class Door(SMTP):
    """One connection. `progress`: replies written so far have moved it on since the sweeper looked last."""

    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, shared: Shared, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        # SMTP.__init__ is left out on purpose: it inspects itself and its handler anew for every connection.
        self.loop = loop
        self.transport: Any = None
        self._reader: Any = None  # AUTH only
        self._shared, self._listener = shared, listener
        self._receiver: Receiver | None = None  # None until the client is let in
        self._client = ""  # under this key it counts as one of the client's connections
        self._header: bytearray | None = None  # a PROXY header that is not whole yet
        self._lines: _Lines | None = None  # AUTH under way
        self._task: asyncio.Task[None] | None = None
        self._commit: Message | None = None
        self._write_paused = self._read_paused = self._securing = self._eof = self._leaving = False
        self.progress = True
        self._idle_since = self._content_since = 0.0
        self._content_seen = 0  # the transaction that _content_since is about

    # The transport calls

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        shared = self._shared
        shared.doors.add(self)
        shared.counters.add("connections")
        name = transport.get_extra_info("peername")
        peer = plain_address(name[0]) if name else ""
        if shared.proxies and shared.marks(peer).proxy:
            self._header = bytearray()
            return
        self._let_in(peer)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self._proxy_header(data)
            return
        receiver.feed(data)
        if receiver.event is None and not self._write_paused:
            self._pump(receiver)
            return
        if self._lines is not None:
            self._lines.wake()
        if receiver.buffered > _PAUSE_OCTETS and not self._read_paused and not self._securing:
            self._read_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Close, but first give the reply to a message that is whole: `nc` and simple scripts end their side early."""
        self._eof = True
        return self._commit is not None and self._receiver is not None and not self._receiver.session.tls

    def connection_lost(self, error: Exception | None) -> None:
        """May come twice: abort() does not wait for the transport, which says nothing during a TLS handshake."""
        self.transport = None
        self._shared.doors.discard(self)
        if self._securing:
            self._securing = False
            self._shared.counters.add("tls-failures")
        if self._client:
            self._shared.connections.leave(self._client)
            self._client = ""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._receiver is not None:
            self._receiver.close()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._receiver is not None and self._receiver.event is None:
            self._pump(self._receiver)

    # Letting a client in

    def _proxy_header(self, data: bytes) -> None:
        header = self._header
        if header is None:
            return  # refused already; what still comes is nobody's
        header += data
        try:
            found = parse_header(header)
        except BadHeader:
            self._header = None
            self._shared.counters.add("refused-proxy-header")
            log.info("proxy-header-bad", ip=self._peername())
            self._goodbye(say.BAD_PROXY)
            return
        if found is None:
            return
        peer, size = found
        self._header = None
        self._let_in(peer or self._peername(), bytes(header[size:]))

    def _peername(self) -> str:
        name = self.transport.get_extra_info("peername") if self.transport is not None else None
        return plain_address(name[0]) if name else ""

    def _let_in(self, peer: str, early: bytes = b"") -> None:
        """Count it, or refuse it; then greet, or begin TLS. early: what came behind the PROXY header."""
        shared = self._shared
        client = client_key(peer)
        reply = say.STOPPING if shared.stopping else None
        if reply is None:
            refusal = shared.connections.admit(client)
            reply = say.wire(refusal) if refusal is not None else None
        implicit = self._listener is Listener.SUBMISSIONS
        if reply is not None:
            shared.counters.add("refused-connections")
            self._goodbye(b"" if implicit else reply)  # nobody could read it there before TLS
            return
        self._client = client
        session = Session(self._listener, peer)
        marks = shared.marks(peer)
        session.trusted = marks.trusted and self._listener is not Listener.MX
        session.bare_newlines = marks.bare_newlines
        starttls = shared.tls is not None and not implicit
        receiver = Receiver(shared.settings, shared.policy, session, shared.budget, shared.counters, starttls)
        self._receiver = receiver
        if implicit:
            receiver.event = StartTls()
            receiver.feed(early)
            self._secure(receiver)
            return
        self.transport.write(shared.settings.greeting)
        if early:
            self.data_received(early)

    # The loop

    def _pump(self, receiver: Receiver) -> None:
        """Let the receiver work until octets run out or the client does not read; one write for all its replies."""
        transport = self.transport
        if transport is None:
            return
        while True:
            receiver.run()
            event = receiver.event
            if type(event) is Message and self._commit_now(receiver, event):
                continue
            replies = receiver.take()
            if replies:
                self.progress = True
                transport.write(replies)
            if event is not None or receiver.starved or self._write_paused:
                break
        if isinstance(event, Message):
            return  # _committed goes on
        if self._read_paused and not self._write_paused:
            self._read_paused = False
            transport.resume_reading()
        if event is not None:
            self._act(receiver, event)
        elif self._eof:
            transport.close()
        elif self._shared.stopping and receiver.is_idle:
            self._goodbye(say.STOPPING)

    def _act(self, receiver: Receiver, event: StartTls | Auth | Quit) -> None:
        match event:
            case Quit():
                self.transport.close()
            case StartTls():
                self._secure(receiver)
            case Auth():
                self._lines = _Lines(self, receiver, self.loop)
                self._task = self._shared.start(self._log_in(receiver, event), "auth")

    def _goodbye(self, reply: bytes) -> None:
        if self.transport is not None:
            if reply:
                self.transport.write(reply)
            self.transport.close()

    # A message is whole

    def _commit_now(self, receiver: Receiver, message: Message) -> bool:
        """Hand the message in. True: its reply is known at once. Else _committed gives it when it is."""
        shared = self._shared
        submission = message.submission
        submission.received_at = shared.clock.now()
        try:
            future = shared.submit(submission)
        except Refused as refused:
            self._settle(receiver, message, say.wire(refused.reply))
            return True
        except Exception:
            log.exception("submit-crashed", ip=submission.peer)
            self._settle(receiver, message, say.STORE_FAILED)
            return True
        if future.done():
            self._settle(receiver, message, self._outcome(future, submission))
            return True
        self._commit = message
        future.add_done_callback(partial(self._committed, receiver, message))
        return False

    def _committed(self, receiver: Receiver, message: Message, future: "asyncio.Future[int]") -> None:
        """Also when the client has gone: the message is ours all the same."""
        self._commit = None
        self._settle(receiver, message, self._outcome(future, message.submission))
        self._pump(receiver)

    def _settle(self, receiver: Receiver, message: Message, reply: bytes) -> None:
        self._shared.budget.release(message.reserved)
        receiver.answer(reply)

    def _outcome(self, future: "asyncio.Future[int]", submission: Submission) -> bytes:
        if future.cancelled():
            return say.STORE_FAILED
        error = future.exception()
        if error is None:
            self._shared.counters.add("messages")
            return b"250 2.0.0 Queued as %b\r\n" % queue_id(future.result()).encode()
        if isinstance(error, Refused):
            self._shared.counters.add("refused-messages")
            return say.wire(error.reply)
        log.error("submit-failed", ip=submission.peer, cause=repr(error))
        return say.STORE_FAILED

    # TLS

    def _secure(self, receiver: Receiver) -> None:
        # Nothing more is read in the clear from here on: what is sent before our 220 meets the handshake and fails it.
        self._securing = True
        self.transport.pause_reading()
        self._task = self._shared.start(self._start_tls(receiver), "tls")

    async def _start_tls(self, receiver: Receiver) -> None:
        context, plain = self._shared.tls, self.transport
        implicit = self._listener is Listener.SUBMISSIONS
        if context is None or plain is None or plain.is_closing():
            self._goodbye(b"")
            return
        early = b""
        if implicit:
            plain.pause_reading()  # again: uvloop starts to read after connection_made, whatever was said in it
            early = receiver.unread()
        work = self.loop.start_tls(plain, self, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_S)
        secured: Any = None
        try:
            secured = await (self._with_early(work, plain, early) if early else work)
        except (OSError, TimeoutError) as error:
            log.debug("tls-failed", ip=receiver.session.peer, cause=str(error))
        self._task = None
        tls = secured.get_extra_info("ssl_object") if secured is not None else None
        if tls is None:  # it failed, or the client went meanwhile
            self.abort()
            return
        self.transport = secured
        self._securing = False
        receiver.tls_started(tls.version() or "TLS")
        self.progress = True
        if implicit:
            secured.write(self._shared.settings.greeting)
        self._pump(receiver)

    async def _with_early(self, work: Coroutine[Any, Any, Any], plain: Any, early: bytes) -> Any:
        """start_tls for a client whose first TLS octets are here already: hand them on before any others."""
        handshake = asyncio.ensure_future(work)

        def hand_on() -> None:
            if handshake.done() or plain.is_closing():
                return
            tls, rest = plain.get_protocol(), memoryview(early)
            while rest:
                room = tls.get_buffer(len(rest))
                count = min(len(room), len(rest))
                room[:count] = rest[:count]
                tls.buffer_updated(count)
                rest = rest[count:]

        # The next turn of the loop is start_tls's own, which plans connection_made for the one after: we come behind.
        self.loop.call_soon(self.loop.call_soon, hand_on)
        return await handshake

    # AUTH

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's dialogue speaks through here; few and short lines, so nothing to wait for."""
        if self.transport is not None:
            line = status.encode("ascii", "replace") if isinstance(status, str) else status
            self.transport.write(line + b"\r\n")

    def _authenticate(self, mechanism: str, auth_data: Any) -> AuthResult:
        """aiosmtpd asks here when it has both; they are checked in _log_in, which can wait."""
        return AuthResult(success=True, auth_data=auth_data)

    async def _log_in(self, receiver: Receiver, event: Auth) -> None:
        shared, peer = self._shared, receiver.session.peer
        if shared.failures.is_shut_out(self._client, shared.clock.steady()):
            shared.counters.add("refused-auth")
            receiver.hang_up(say.AUTH_SHUT_OUT)
            self._auth_over(receiver)
            return
        words = [event.mechanism] if event.initial is None else [event.mechanism, event.initial]
        self.session = AuthSession(self.loop)
        self.session.peer = peer
        self._reader = self._lines
        dialogue = self.auth_PLAIN if event.mechanism == "PLAIN" else self.auth_LOGIN
        try:
            result = await dialogue(self, words)
        except _HungUp:
            self._auth_over(receiver)
            return
        if result.success and isinstance(result.auth_data, LoginPassword):
            await self._check(receiver, result.auth_data)
        else:
            receiver.answered()
            self._auth_over(receiver)

    async def _check(self, receiver: Receiver, given: LoginPassword) -> None:
        shared, peer = self._shared, receiver.session.peer
        login, password = given.login.decode("utf-8", "replace"), given.password.decode("utf-8", "replace")
        try:
            domain = await shared.verify(login, password)
        except Exception:
            log.exception("auth-check-failed", ip=peer, login=login)
            receiver.answer(say.AUTH_FAILED)
            self._auth_over(receiver)
            return
        if domain is not None:
            shared.counters.add("logins")
            receiver.authenticated(login, domain, say.AUTH_DONE)
            self._auth_over(receiver)
            return
        shared.counters.add("refused-auth")
        wait_s = shared.failures.failed(self._client, shared.clock.steady())
        log.info("auth-wrong", ip=peer, login=login[:255], wait_s=wait_s)
        await shared.clock.sleep(wait_s)
        if shared.failures.is_shut_out(self._client, shared.clock.steady()):
            receiver.hang_up(say.AUTH_SHUT_OUT)
        else:
            receiver.answer(say.AUTH_WRONG)
        self._auth_over(receiver)

    def _auth_over(self, receiver: Receiver) -> None:
        self._lines = self._task = self._reader = self.session = None
        self._pump(receiver)

    # The listener asks

    def sweep(self, now: float) -> None:
        """Called now and then: end it when nothing moved for idle_timeout_s, or content took data_timeout_s.

        Only a reply counts as movement: a client that sends an octet now and then gains nothing.
        """
        receiver, config, transport = self._receiver, self._shared.config, self.transport
        if transport is None or transport.is_closing():
            if self._leaving:  # it does not take our last words
                self.abort()
            self._leaving = True
            return
        if self._commit is not None or self.progress:
            self.progress, self._idle_since = False, now
        if receiver is not None and receiver.in_content:
            if self._content_seen != receiver.transactions:
                self._content_seen, self._content_since = receiver.transactions, now
            if now - self._content_since >= config.data_timeout_s:
                self._time_out("timeouts-data", say.SLOW_CONTENT)
        elif now - self._idle_since >= config.idle_timeout_s:
            self._time_out("timeouts-idle", say.IDLE)

    def _time_out(self, counter: str, reply: bytes) -> None:
        self._shared.counters.add(counter)
        if self._write_paused or self._securing or self._header is not None:
            self.abort()  # it does not read, or would not understand
        else:
            self._goodbye(reply)

    def stop(self) -> None:
        """The daemon is going down: a client between transactions goes now, the others after their message."""
        receiver = self._receiver
        if receiver is None or receiver.is_idle:
            self._goodbye(say.STOPPING)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.connection_lost(None)


class _HungUp(Exception):
    """The client broke the rules in the middle of AUTH."""


class _Lines:
    """The reader that aiosmtpd's AUTH dialogue asks for lines; they come out of the receiver's buffer."""

    def __init__(self, door: Door, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        self._door, self._receiver, self._loop = door, receiver, loop
        self._more: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def readline(self) -> bytes:
        """The next line. Raises _HungUp when it could not be, and the receiver has said so."""
        while True:
            line = self._receiver.line()
            if line is not None:
                self._door.progress = True
                return line
            if type(self._receiver.event) is not Auth:
                raise _HungUp
            self._more = self._loop.create_future()
            await self._more
