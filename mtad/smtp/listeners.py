"""Listeners: the sockets of the SMTP doors: opened or taken over from systemd, their certificate, their end.

Room: smtp. May import: mail. Source: sd_listen_fds(3), RFC 8314 (TLS from the first octet). Built by the daemon.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path

from mtad import log as logs
from mtad.clock import Clock
from mtad.config import ConfigError, SmtpConfig, parse_listen
from mtad.smtp.limits import AuthFailures, Budget, Connections, Counters
from mtad.smtp.policy import Policy
from mtad.smtp.server import Door
from mtad.smtp.session import Listener, Settings
from mtad.smtp.shared import Network, Shared, Submit, Verify

log = logs.get("smtp")

_BACKLOG = 1024
_SYSTEMD_FIRST_FD = 3


class Listeners:
    """All SMTP doors. start(), then addresses() are real; stop() once.

    hostname: ours, in greetings. submit, verify: see mtad.smtp.shared. environ: where systemd says what it hands over.
    """

    def __init__(
        self,
        config: SmtpConfig,
        *,
        hostname: str,
        default_domain: str,
        policy: Policy,
        submit: Submit,
        verify: Verify,
        clock: Clock,
        budget: Budget,
        counters: Counters,
        environ: Mapping[str, str] | None = None,
        first_fd: int = _SYSTEMD_FIRST_FD,
    ) -> None:
        self._config, self._clock = config, clock
        self._environ: Mapping[str, str] = {} if environ is None else environ
        self._first_fd = first_fd
        self._servers: list[asyncio.Server] = []
        self._sockets: dict[Listener, list[socket.socket]] = {kind: [] for kind in Listener}
        self._sweeper: asyncio.Task[None] | None = None
        self._shared = Shared(
            config=config,
            settings=Settings(
                hostname=hostname,
                default_domain=default_domain or hostname,
                max_message_octets=config.max_message_octets,
                max_recipients=config.max_recipients,
                max_commands=config.max_commands,
                max_errors=config.max_errors,
                auth_without_tls=config.auth_without_tls,
            ),
            policy=policy,
            submit=submit,
            verify=verify,
            clock=clock,
            budget=budget,
            counters=counters,
            connections=Connections(config.max_connections, config.max_connections_per_address),
            failures=AuthFailures(config.auth_failures_per_address, config.auth_window_s, config.auth_delay_s),
            trusted=_networks("smtp.trusted_networks", config.trusted_networks),
            proxies=_networks("smtp.proxy_networks", config.proxy_networks),
            bare_newlines=_networks("smtp.bare_newline_networks", config.bare_newline_networks),
        )

    async def start(self) -> None:
        """Open every door. Raises ConfigError naming the key when one cannot be; then none is left open."""
        config = self._config
        try:
            self._open_sockets()
            self.reload_tls(config.tls_certificate, config.tls_key)
            loop = asyncio.get_running_loop()
            for kind, sockets in self._sockets.items():
                for sock in sockets:
                    factory = _factory(self._shared, kind, loop)
                    self._servers.append(await loop.create_server(factory, sock=sock, backlog=_BACKLOG))
        except BaseException:
            self._close_sockets()
            raise
        self._sweeper = asyncio.create_task(self._sweep(), name="smtp sweeper")
        for kind in Listener:
            for address in self.addresses(kind):
                log.info("listening", door=kind.value, address=address)

    def addresses(self, kind: Listener) -> list[str]:
        """ "127.0.0.1:2525", "[::]:25": as bound, so port 0 has become a number."""
        return [_shown(sock) for sock in self._sockets[kind]]

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._shared.doors)

    def reload_tls(self, certificate: Path | None, key: Path | None) -> None:
        """Use this certificate for TLS that begins from now on; None: offer TLS no more.

        Raises ConfigError, and the old one stays in force. key None: it is in the certificate's file.
        """
        if certificate is not None:
            self._shared.tls = _context(certificate, key)
        elif self._sockets[Listener.SUBMISSIONS]:
            right = "is needed by smtp.submissions; give a certificate, or set smtp.submissions = []"
            raise ConfigError("smtp.tls_certificate", "", right)
        else:
            self._shared.tls = None

    async def stop(self, grace_s: float) -> None:
        """Close the doors; idle clients are told 421 at once, the others after their message; then cut what is left."""
        shared = self._shared
        shared.stopping = True
        for server in self._servers:
            server.close()
        for door in list(shared.doors):
            door.stop()
        until = self._clock.steady() + grace_s
        while shared.doors and (left_s := until - self._clock.steady()) > 0:
            await self._clock.sleep(min(0.05, left_s))
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(shared.tasks):
            task.cancel()
        for door in list(shared.doors):
            door.abort()
        await asyncio.gather(*shared.tasks, *filter(None, [self._sweeper]), return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._close_sockets()

    async def _sweep(self) -> None:
        config = self._config
        every_s = max(0.05, min(5.0, config.idle_timeout_s / 10, config.data_timeout_s / 10))
        while True:
            now = self._clock.steady()
            for door in list(self._shared.doors):
                door.sweep(now)
            await self._clock.sleep(every_s)

    def _open_sockets(self) -> None:
        handed = _from_systemd(self._environ, self._first_fd)
        wanted = {
            Listener.MX: self._config.mx,
            Listener.SUBMISSION: self._config.submission,
            Listener.SUBMISSIONS: self._config.submissions,
        }
        for kind, addresses in wanted.items():
            opened = self._sockets[kind] = handed[kind]
            if not opened:
                for address in addresses:
                    opened.append(_bound(f"smtp.{kind}", address))

    def _close_sockets(self) -> None:
        for server in self._servers:
            server.close()
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()


def _context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Raises ConfigError. A new context each time: one that held a certificate of another kind (RSA, EC) before would
    go on offering that, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    for name, path in (("smtp.tls_certificate", certificate), ("smtp.tls_key", key)):
        if path is not None and (problem := _unreadable(path)):
            raise ConfigError(name, str(path), f"cannot be read: {problem}")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        right = f"must be a PEM certificate chain and the unencrypted key that belongs to it ({_ssl_words(error)})"
        raise ConfigError("smtp.tls_certificate", str(certificate), right) from error
    return context


def _bound(key: str, text: str) -> socket.socket:
    host, port = parse_listen(text)
    both = host == "::" and socket.has_dualstack_ipv6()
    if host == "::" and not both:
        host = "0.0.0.0"  # noqa: S104 - the machine has no IPv6, and all addresses were asked for
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(key, text, f"cannot listen there: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        sock.bind(where)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        right = f"cannot listen there: {error.strerror}; free the port, choose another, or let systemd open it"
        raise ConfigError(key, text, right) from error
    return sock


def _from_systemd(environ: Mapping[str, str], first_fd: int) -> dict[Listener, list[socket.socket]]:
    """Sockets by the names mx, submission and submissions in LISTEN_FDNAMES (sd_listen_fds(3)); others are left."""
    found: dict[Listener, list[socket.socket]] = {kind: [] for kind in Listener}
    if environ.get("LISTEN_PID", "") != str(os.getpid()):
        return found
    count = int(environ.get("LISTEN_FDS", "0") or 0)
    for fd, name in zip(range(first_fd, first_fd + count), environ.get("LISTEN_FDNAMES", "").split(":"), strict=False):
        if name in Listener.__members__.values():
            sock = socket.socket(fileno=fd)
            sock.set_inheritable(False)
            sock.setblocking(False)
            found[Listener(name)].append(sock)
    return found


def _factory(shared: Shared, kind: Listener, loop: asyncio.AbstractEventLoop) -> Callable[[], Door]:
    return lambda: Door(shared, kind, loop)


def _networks(key: str, texts: tuple[str, ...]) -> tuple[Network, ...]:
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise ConfigError(key, text, 'must be a network such as "192.0.2.0/24" or "2001:db8::/32"') from error
    return tuple(networks)


def _shown(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unreadable(path: Path) -> str:
    try:
        path.read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # OpenSSL would ask on the terminal


def _ssl_words(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
