"""A real daemon in a process of its own, a host that takes what it sends, and ways to ask both what happened.

with Sink() as sink, Daemon(tmp_path, relay=sink.address) as daemon: ...
"""

import asyncio
import json
import os
import re
import smtplib
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

PASSWORD = "correct-horse-battery"
START_S = 20.0

Found = TypeVar("Found")


def wait_until(predicate: Callable[[], Found], timeout: float = 10.0, what: str = "") -> Found:
    """What predicate gives when it gives something true; AssertionError when it does not in time."""
    ends = time.monotonic() + timeout
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        time.sleep(0.02)


class Daemon:
    """`mtad dev` on free ports of 127.0.0.1 with its data under `folder`; it can be ended and started again.

    relay: "host:port", else mail is captured. settings: values of --set.
    """

    def __init__(self, folder: Path, *settings: str, relay: str = "") -> None:
        self.folder, self.data = folder, folder / "data"
        self._settings, self._relay = settings, relay
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.kill9()

    def start(self, *program: str) -> None:
        """program: what Python runs in place of `-m mtad`: a script and its own arguments."""
        self._prepare()
        command = [sys.executable, *(program or ("-m", "mtad")), *self._command()]
        for setting in self._settings:
            command += ["--set", setting]
        with (self.folder / "daemon.log").open("ab") as log:
            self._log_from = log.tell()
            self.process = process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ()
            )
        found = wait_until(lambda: self._is_ready() or process.poll() is not None, START_S, "ready")
        if found is True:
            raise AssertionError(f"the daemon ended at its start:\n{self.log}")
        self.ready = found

    @property
    def _ready_file(self) -> Path:
        return self.folder / "ready.json"

    def _prepare(self) -> None:
        self._ready_file.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        command = ["dev", "--data", str(self.data), "--ready-file", str(self._ready_file), "--password", PASSWORD]
        for door in ("mx", "submission", "submissions", "http"):
            command += [f"--{door}", "127.0.0.1:0"]
        return [*command, "--relay", self._relay] if self._relay else command

    def _is_ready(self) -> dict[str, Any] | None:
        return json.loads(self._ready_file.read_bytes()) if self._ready_file.exists() else None

    def _environ(self) -> dict[str, str]:
        # Its file that tells other commands of it goes here, not where a developer's own daemon has put its.
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.folder)}

    def until_dead(self, timeout: float = 60.0) -> int:
        """Waits for the process to end by itself; its exit code, -9 after SIGKILL."""
        assert self.process is not None
        code = self.process.wait(timeout)
        self.process = None
        return code

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.kill9()

    def kill9(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    # --- ways in ---

    def address(self, door: str) -> tuple[str, int]:
        """door: mx, submission, submissions."""
        host, _, port = str(self.ready[door]).rpartition(":")
        return host, int(port)

    @property
    def login(self) -> str:
        return str(self.ready["login"])

    def tls(self) -> ssl.SSLContext:
        """Believes this daemon's certificate and no other."""
        return ssl.create_default_context(cafile=str(self.ready["ca_file"]))

    def client(self, door: str = "submission", *, login: bool = True) -> smtplib.SMTP:
        client = smtplib.SMTP(*self.address(door), local_hostname="client.example", timeout=20)
        if login:
            client.login(self.login, PASSWORD)
        return client

    # --- ways to ask ---

    def mtad(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the command line about this daemon."""
        command = [sys.executable, "-m", "mtad", *words, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self._environ(), check=False)

    def events(self, *options: str) -> list[dict[str, Any]]:
        done = self.mtad("events", "--json", "--limit", "10000", *options)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def timeline(self, queue_id: str) -> list[dict[str, Any]]:
        done = self.mtad("message", "show", queue_id, "--json")
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["timeline"])

    def captured(self, recipient: str) -> bytes:
        """The captured message to the recipient, when it is there."""
        query = "SELECT content FROM captured, json_each(recipients) AS one WHERE one.value = ?"
        [content] = wait_until(lambda: self.ask(query, recipient), what=f"captured for {recipient}")[0]
        return bytes(content)

    def check(self) -> dict[str, Any]:
        """The report of `mtad check`; AssertionError when the store is not whole."""
        done = self.mtad("check", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout)["report"])

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Rows from the store, without the daemon."""
        with closing(sqlite3.connect(f"file:{self.data}/mtad.sqlite?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, values).fetchall()

    def until_drained(self, patience: float = 30.0) -> None:
        """Until the queue is empty, however long that takes, as long as it gets shorter within `patience` seconds."""
        left = self.queued()
        while left:
            left = self._fewer_than(left, patience)

    def _fewer_than(self, number: int, patience: float) -> int:
        wait_until(lambda: self.queued() < number, patience, f"fewer than {number} in the queue")
        return self.queued()

    def queued(self) -> int:
        return int(self.ask("SELECT count(*) FROM recipients WHERE state < 2")[0][0])

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text("utf-8", "replace")


_FACT = re.compile(r"(?m)^\S+ info (listening|ready) room=\w+(?: door=(\S+) address=(\S+))?")


class Server(Daemon):
    """`mtad serve` with a configuration of the test's own. Clients from this machine may submit without a login.

    environ: added to its environment.
    """

    def __init__(self, folder: Path, config: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self._config, self._more = config, dict(environ or {})

    def _prepare(self) -> None:
        (self.folder / "mtad.toml").write_text(
            f"""
            [server]
            hostname = "mta.example"
            data_dir = "{self.data}"
            [smtp]
            mx = []
            submission = ["127.0.0.1:0"]
            submissions = []
            trusted_networks = ["127.0.0.0/8"]
            [http]
            listen = ["127.0.0.1:0"]
            allow_private_targets = true
            {self._config}
            """
        )

    def _command(self) -> list[str]:
        return ["serve", "--config", str(self.folder / "mtad.toml")]

    def _is_ready(self) -> dict[str, Any] | None:
        facts = _FACT.findall(self.log[self._log_from :])
        return {door: address for _, door, address in facts} if ("ready", "", "") in facts else None

    def _environ(self) -> dict[str, str]:
        return {**super()._environ(), **self._more}


@dataclass
class Sink:
    """An SMTP host that says 250 to everything, in a thread of its own.

    taken: (Message-ID field, recipient) -> how often its final dot was answered. last: message id -> content.
    sessions: how many there were.
    """

    pipelining: bool = True
    delay_s: float = 0.0  # before the answer to the final dot
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    last: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    sessions: int = 0

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), name="sink")
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        sessions: set[asyncio.Task[None]] = set()

        def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._session(reader, writer))
            sessions.add(task)
            task.add_done_callback(sessions.discard)

        server = await asyncio.start_server(session, "127.0.0.1", 0, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for task in list(sessions):
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        await server.wait_closed()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return  # the daemon was killed
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        self.sessions += 1
        writer.write(b"220 sink.example ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                words = ["sink.example", *(["PIPELINING"] if self.pipelining else []), "8BITMIME"]
                replies = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
                writer.write("\r\n".join(replies).encode() + b"\r\n")
            elif verb == b"RCPT":
                recipients.append(line[line.index(b"<") + 1 : line.index(b">")].decode())
                writer.write(b"250 2.1.5 ok\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self.delay_s)
                self._take(content[:-3], recipients)
                recipients = []
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                writer.write(b"250 2.0.0 ok\r\n")

    def _take(self, content: bytes, recipients: Sequence[str]) -> None:
        number = field_of(content, "message-id")
        self.last[number] = content
        self.taken.update((number, recipient) for recipient in recipients)


def field_of(content: bytes, name: str) -> str:
    """The value of the first such header field, "" when there is none."""
    head = content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    for line in head.split("\r\n"):
        if line.lower().startswith(name + ":"):
            return line.partition(":")[2].strip()
    return ""
