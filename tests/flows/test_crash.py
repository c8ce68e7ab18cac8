"""The daemon killed under load: what got 250 arrives, and a second copy is owned up to."""

import os
import random
import smtplib
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.live import Daemon, Sink

CYCLES = int(os.environ.get("MTAD_CRASH_CYCLES", "5"))
CLIENTS = 4
INTERRUPTED = 6  # mail/event.py


class Load:
    """Clients that submit until the daemon goes. promised: (Message-ID, recipient) of every 250."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.promised: set[tuple[str, str]] = set()
        self.tried: set[tuple[str, str]] = set()
        self._daemon, self._name = daemon, name
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)

    def _run(self, client_number: int) -> None:
        try:
            client = self._daemon.client()
            for number in range(100_000):
                self._send(client, f"{self._name}-{client_number}-{number}")
        except (OSError, smtplib.SMTPException):
            return  # killed: what was under way has no 250

    def _send(self, client: smtplib.SMTP, name: str) -> None:
        number, recipients = f"<{name}@client.example>", [f"{name}-{one}@example.net" for one in range(2)]
        wanted = {(number, recipient) for recipient in recipients}
        self.tried |= wanted
        text = f"From: app@sandbox.mtad.test\r\nMessage-ID: {number}\r\nSubject: {name}\r\n\r\n" + "x" * 2000 + "\r\n"
        client.sendmail("app@sandbox.mtad.test", recipients, text)
        self.promised |= wanted


@pytest.mark.slow
def test_every_promised_message_arrives_and_only_interrupted_recipients_get_two(tmp_path: Path) -> None:
    promised: set[tuple[str, str]] = set()
    tried: set[tuple[str, str]] = set()
    dice = random.Random(20261123)
    with Sink(delay_s=0.01) as sink, Daemon(tmp_path, "queue.retry_waits_s=[0.2]", relay=sink.address) as daemon:
        for cycle in range(CYCLES):
            load = Load(daemon, f"cycle{cycle}")
            load.start()
            time.sleep(dice.uniform(0.1, 1.2))  # the moment of the crash
            daemon.kill9()
            load.join()
            promised |= load.promised
            tried |= load.tried
            daemon.start()
        daemon.until_drained(60)
        daemon.check()
        rows = daemon.ask(
            "SELECT r.address FROM recipients AS r JOIN events AS e ON e.recipient_id = r.id WHERE e.type = ?",
            INTERRUPTED,
        )
        interrupted = {str(address) for [address] in rows}
    taken: Counter[tuple[str, str]] = sink.taken
    twice = {key for key, count in taken.items() if count > 1}
    print(f"{len(promised)} promised, {len(taken)} arrived, {len(twice)} twice, {len(interrupted)} interrupted")
    assert promised, "no load at all"
    assert promised - set(taken) == set()
    assert set(taken) <= tried
    assert {recipient for _, recipient in twice} <= interrupted
