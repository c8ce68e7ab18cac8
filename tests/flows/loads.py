"""Clients that go on until the daemon is killed, and know what they were promised: by HTTP, by the MX, by submission.

A real client that lost its daemon sends again; by HTTP it does so under the same idempotency key, so that one send
is one message, however often it was said.
"""

import base64
import http.client
import json
import smtplib
import threading
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from tests.flows.inland import API_KEY, DOMAIN
from tests.ledger import Ledger
from tests.live import Daemon

KEY = base64.b64encode(f"api:{API_KEY}".encode()).decode()


class Crowd:
    """`clients` threads; each calls once(its number, how many before) until that raises what a lost daemon raises, or
    `most` times."""

    def __init__(self, clients: int, once: Callable[[int, int], None], most: int = 100_000) -> None:
        self._once, self._most = once, most
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert self._errors == []

    def _run(self, client: int) -> None:
        try:
            for number in range(self._most):
                self._once(client, number)
        except (OSError, smtplib.SMTPException, http.client.HTTPException):
            return  # the daemon is gone
        except BaseException as error:
            self._errors.append(error)


def submit(daemon: Daemon, ledger: Ledger, name: str) -> None:
    """In one session; raises what a lost daemon raises."""
    with daemon.client() as client:
        for number in range(1000):
            ledger.send(client, f"{name}-{number}")


class HttpSender:
    """Sends by the API. open: what was begun, and neither promised nor refused: to be said again."""

    def __init__(self, daemon: Daemon, ledger: Ledger, people: int, *, batch: bool) -> None:
        self._daemon, self._ledger, self._people, self._batch = daemon, ledger, people, batch
        self.open: dict[str, list[str]] = {}

    def send(self, name: str) -> None:
        """Raises when there is no 200."""
        recipients = [f"{name}-{one}@example.net" for one in range(self._people)]
        self._ledger.tries.update((f"<{name}@client.example>", recipient) for recipient in recipients)
        self.open[name] = recipients
        self._post(name, recipients)

    def send_again(self) -> None:
        """What the crash left open."""
        for name, recipients in list(self.open.items()):
            self._post(name, recipients)

    def _post(self, name: str, recipients: Sequence[str]) -> None:
        fields = [
            ("from", f"App <app@{DOMAIN}>"),
            *[("to", recipient) for recipient in recipients],
            ("subject", f"{name} for %recipient.who%" if self._batch else name),
            ("text", "x" * 500),
            ("h:Message-Id", f"<{name}@client.example>"),
            ("o:tag", "load"),
        ]
        if self._batch:
            fields.append(("recipient-variables", json.dumps({one: {"who": one} for one in recipients})))
        headers = {
            "Authorization": f"Basic {KEY}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": name,
        }
        status, body = self._request(urlencode(fields).encode(), headers)
        assert status == 200, body
        self._ledger.promised.update((f"<{name}@client.example>", recipient) for recipient in recipients)
        del self.open[name]

    def _request(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        line = http.client.HTTPConnection(str(self._daemon.ready["http"]).removeprefix("http://"), timeout=30)
        try:
            line.request("POST", f"/v3/{DOMAIN}/messages", body, headers)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()


class MxSender:
    """Mail from the world, one recipient each. taken: names that got their 250; tried: all."""

    def __init__(self, daemon: Daemon, recipient: str) -> None:
        self._daemon, self._recipient = daemon, recipient
        self._here = threading.local()
        self.tried: set[str] = set()
        self.taken: set[str] = set()

    def send(self, name: str) -> None:
        port = self._daemon.address("mx")[1]
        if getattr(self._here, "port", 0) != port:
            self._here.port, self._here.client = port, self._daemon.client("mx", login=False)
        self.tried.add(name)
        text = f"From: ann@elsewhere.example\r\nMessage-ID: <{name}@elsewhere.example>\r\n\r\nHi.\r\n"
        try:
            self._here.client.sendmail("ann@elsewhere.example", [self._recipient], text)
        except BaseException:
            self._here.client.close()
            raise
        self.taken.add(name)
