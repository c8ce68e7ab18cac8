"""The beginning of a session: greeting, EHLO, STARTTLS, AUTH, by aiosmtplib; then its transport becomes a Connection.

Room: delivery. Source: RFC 5321 §3.1, §3.2, §4.5.3.2; RFC 3207 (STARTTLS); RFC 8314 (TLS from the first octet);
RFC 4954 (AUTH). Used by delivery.connect.
aiosmtplib's exceptions end here: what goes wrong is a Trouble.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from socket import socket
from typing import cast

from aiosmtplib import SMTP, SMTPConnectError, SMTPException, SMTPHeloError, SMTPResponseException, SMTPTimeoutError
from aiosmtplib.protocol import SMTPProtocol

from mtad.clock import Clock
from mtad.config import DeliveryConfig
from mtad.delivery.client import Connection
from mtad.delivery.dialogue import LOCAL_CODE
from mtad.delivery.replies import MAX_REPLY, to_reply
from mtad.delivery.wire import Features
from mtad.mail.reply import Hop, Phase, Reply

_TLS_LIMIT_S = 60.0  # a handshake that takes longer has failed; EHLO's five minutes are no measure for it
_WHAT = {
    Phase.GREETING: "greeting",
    Phase.EHLO: "reply to EHLO",
    Phase.TLS: "answer to STARTTLS",
    Phase.AUTH: "reply to AUTH",
}


class Trouble(Exception):
    """No session with this address. hop None: not even connected."""

    def __init__(self, reply: Reply, phase: Phase, hop: Hop | None = None) -> None:
        super().__init__(str(reply))
        self.reply, self.phase, self.hop = reply, phase, hop


@dataclass(frozen=True, slots=True)
class Terms:
    """How to begin. context: for TLS, None goes without. demanded: no session without TLS. verified: `context`
    checks the certificate against the host's name. implicit: TLS before the greeting instead of by STARTTLS. login:
    name and password, or None."""

    context: ssl.SSLContext | None = None
    demanded: bool = False
    verified: bool = False
    implicit: bool = False
    login: tuple[str, str] | None = field(default=None, repr=False)


async def begin(
    sock: socket, hop: Hop, terms: Terms, config: DeliveryConfig, hostname: str, clock: Clock
) -> Connection:
    """A session ready for its first MAIL. Takes `sock` over: whatever happens, it is closed or the Connection's.

    hostname: ours, for EHLO. Raises Trouble.
    """
    # timeout=None: every wait below has its limit from _talking.
    smtp = _Smtp(
        hostname=hop.host,
        sock=sock,
        local_hostname=hostname,
        start_tls=False,
        use_tls=terms.implicit,
        tls_context=terms.context if terms.implicit else None,
        timeout=None,
    )
    try:
        async with _talking(Phase.GREETING, hop, config.greeting_timeout_s):
            await _greeting(smtp, hop)
        if terms.implicit:
            hop = _secured(smtp, hop, terms)
        tap = await _hello(smtp, hop, config)
        if hop.tls is None and terms.context is not None and smtp.supports_extension("starttls"):
            hop = await _start_tls(smtp, hop, terms, config)
            tap = await _hello(smtp, hop, config)  # RFC 3207 §4.2: what was said in the clear is forgotten
        elif hop.tls is None and terms.demanded:
            raise Trouble(Reply(LOCAL_CODE, "7.4", f"{hop.host} offers no STARTTLS"), Phase.TLS, hop)
        if terms.login is not None:
            await _login(smtp, tap, hop, terms.login, config)
        return _take_over(smtp, tap, hop, config, clock)
    except BaseException:
        smtp.close()
        sock.close()
        raise


class _Smtp(SMTP):
    """Its end is sudden: a transport that still said goodbye by TLS would have the loop watch a socket that is closed
    behind its back, or is another's by then. left: what a host that is gone had said behind its last reply."""

    left = b""

    def _on_connection_lost(self, protocol: SMTPProtocol) -> None:
        self.left = bytes(protocol._buffer)
        super()._on_connection_lost(protocol)

    def behind_greeting(self) -> bytes:
        """aiosmtplib would take it for the reply to EHLO, or lose it with the connection."""
        return bytes(self.protocol._buffer) if self.protocol is not None else self.left

    def close(self) -> None:
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()
        super().close()


class _Tap(asyncio.Protocol):
    """Stands between the transport and aiosmtplib, and keeps what came after the reply to the last command, which
    aiosmtplib drops: the 421 of a host that changes its mind must not be lost at the hand-over."""

    def __init__(self, transport: asyncio.Transport, inner: asyncio.Protocol) -> None:
        self.transport, self._inner, self._seen = transport, inner, bytearray()
        transport.set_protocol(self)

    def arm(self) -> None:
        """Call before each command."""
        self._seen.clear()

    def rest(self) -> bytes:
        """What followed the first final (not 3xx) reply since arm()."""
        at = 0
        while (end := self._seen.find(b"\n", at)) >= 0:
            last = self._seen[at + 3 : at + 4] != b"-" and self._seen[at : at + 1] != b"3"
            at = end + 1
            if last:
                return bytes(self._seen[at:])
        return b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if len(self._seen) > MAX_REPLY:
            self.transport.abort()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


async def _greeting(smtp: _Smtp, hop: Hop) -> None:
    try:
        await smtp.connect()
    except SMTPConnectError as error:
        if isinstance(error.__cause__, ssl.SSLError):  # aiosmtplib calls a failed handshake a failed connection
            raise _no_handshake(error.__cause__, Phase.TLS, hop) from error
        raise
    line, ended, _ = smtp.behind_greeting().partition(b"\n")
    if ended and line[:3] == b"421":  # RFC 5321 §3.8: it may end the connection at any time
        raise Trouble(to_reply(421, line[4:].rstrip(b"\r")), Phase.GREETING, hop)


async def _hello(smtp: SMTP, hop: Hop, config: DeliveryConfig) -> _Tap:
    """EHLO, or HELO for a host that knows no EHLO (RFC 5321 §3.2)."""
    limit_s = config.ehlo_timeout_s
    if smtp.protocol is None or smtp.transport is None:
        raise Trouble(Reply(LOCAL_CODE, "4.2", f"{hop.host} closed the connection"), Phase.EHLO, hop)
    tap = _Tap(cast(asyncio.Transport, smtp.transport), cast(asyncio.Protocol, smtp.protocol))
    async with _talking(Phase.EHLO, hop, limit_s):
        try:
            await smtp.ehlo()
        except SMTPHeloError as refused:
            if refused.code < 500 or not smtp.is_connected:
                raise
            tap.arm()
            await smtp.helo()
    return tap


async def _start_tls(smtp: SMTP, hop: Hop, terms: Terms, config: DeliveryConfig) -> Hop:
    limit_s = min(config.ehlo_timeout_s, _TLS_LIMIT_S)
    async with _talking(Phase.TLS, hop, limit_s):
        await smtp.starttls(tls_context=terms.context, server_hostname=hop.host)
    return _secured(smtp, hop, terms)


def _secured(smtp: SMTP, hop: Hop, terms: Terms) -> Hop:
    tls: ssl.SSLObject | None = smtp.get_transport_info("ssl_object")
    return replace(hop, tls=tls.version() if tls else "TLS", verified=terms.verified)


async def _login(smtp: SMTP, tap: _Tap, hop: Hop, login: tuple[str, str], config: DeliveryConfig) -> None:
    if hop.tls is None and not ip_address(hop.address).is_loopback:
        words = f"the session with {hop.host} has no TLS, and without it delivery.relay_password is not sent"
        raise Trouble(Reply(LOCAL_CODE, "7.4", words), Phase.AUTH, hop)
    methods = smtp.server_auth_methods
    if "plain" not in methods and "login" not in methods:
        words = f"{hop.host} offers neither AUTH PLAIN nor LOGIN, and delivery.relay_login is set"
        raise Trouble(Reply(LOCAL_CODE, "7.4", words), Phase.AUTH, hop)
    tap.arm()
    async with _talking(Phase.AUTH, hop, config.ehlo_timeout_s):
        authenticate = smtp.auth_plain if "plain" in methods else smtp.auth_login
        await authenticate(*login)


def _take_over(smtp: SMTP, tap: _Tap, hop: Hop, config: DeliveryConfig, clock: Clock) -> Connection:
    features = features_of(smtp.esmtp_extensions, config.chunking)
    connection = Connection(tap.transport, replace(hop, dsn=features.dsn), features, config, clock)
    tap.transport.set_protocol(connection)
    rest = tap.rest()
    if rest:
        connection.data_received(rest)
    if not connection.alive:
        words = connection.farewell or f"{hop.host} closed the connection"
        raise Trouble(_own_words(words), Phase.EHLO, hop)
    return connection


def _own_words(words: str) -> Reply:
    """ "421 4.3.2 going down" -> that reply; other words -> ours."""
    code, _, text = words.partition(" ")
    return to_reply(421, text.encode()) if code == "421" else Reply(LOCAL_CODE, "4.2", words)


def features_of(extensions: dict[str, str], chunking: bool) -> Features:
    """extensions: EHLO keyword (lower case) -> its parameters. chunking: our own wish to use it."""
    limits = _limits(extensions.get("limits", ""))
    size = extensions.get("size")
    return Features(
        pipelining="pipelining" in extensions,
        chunking=chunking and "chunking" in extensions,
        eight_bit="8bitmime" in extensions,
        smtputf8="smtputf8" in extensions,
        dsn="dsn" in extensions,
        size=None if size is None else _number(size),
        max_recipients=limits.get("RCPTMAX", 0),
        max_messages=limits.get("MAILMAX", 0),
    )


def _limits(words: str) -> dict[str, int]:
    """ "RCPTMAX=20 MAILMAX=5" (RFC 9422 §3); what we do not understand counts as not said."""
    pairs = [word.upper().partition("=") for word in words.split()]
    return {name: _number(value) for name, _, value in pairs}


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


@asynccontextmanager
async def _talking(phase: Phase, hop: Hop, limit_s: float) -> AsyncIterator[None]:
    """Bounds a phase, and turns what aiosmtplib and ssl raise into a Trouble of it.

    aiosmtplib's own time limits stay off: it keeps them by asyncio.wait_for, which before Python 3.12 swallows a
    cancel that meets the reply.
    """
    try:
        async with asyncio.timeout(limit_s):
            yield
    except SMTPResponseException as error:
        raise Trouble(_said(error, phase, hop), phase, hop) from error
    except (SMTPTimeoutError, TimeoutError) as error:
        words = f"{hop.host} sent no {_WHAT[phase]} within {limit_s:g} s"
        raise Trouble(Reply(LOCAL_CODE, "4.2", words), phase, hop) from error
    except ssl.SSLError as error:
        raise _no_handshake(error, phase, hop) from error
    except (SMTPException, OSError) as error:
        words = f"{hop.host} closed the connection while we waited for its {_WHAT[phase]}"
        raise Trouble(Reply(LOCAL_CODE, "4.2", words), phase, hop) from error


def _no_handshake(error: ssl.SSLError, phase: Phase, hop: Hop) -> Trouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"the certificate of {hop.host} was not accepted: {error.verify_message or error.reason}"
    else:
        words = f"the TLS handshake with {hop.host} failed: {error.reason or error}"
    return Trouble(Reply(LOCAL_CODE, "7.5", words), phase, hop)


def _said(error: SMTPResponseException, phase: Phase, hop: Hop) -> Reply:
    """The host's reply; where no reply may be so, our words about it."""
    text = error.message.encode("utf-8", "surrogateescape")
    if 400 <= error.code < 600:
        return to_reply(error.code, text)
    shown = to_reply(LOCAL_CODE, text).text if error.code < 0 else f"{error.code} {to_reply(error.code, text).text}"
    return Reply(LOCAL_CODE, "5.0", f'{hop.host} sent "{shown[:200]}" as its {_WHAT[phase]}')
