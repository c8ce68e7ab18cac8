"""The daemon killed under load, again and again: what got 250 arrives, and a second copy is owned up to."""

import os
import random
import smtplib
import threading
import time
from pathlib import Path

import pytest

from tests.ledger import Ledger
from tests.live import Daemon, Sink

CYCLES = int(os.environ.get("MTAD_CRASH_CYCLES", "4"))
CLIENTS = 4


class Load:
    """Clients that submit until the daemon goes."""

    def __init__(self, daemon: Daemon, ledger: Ledger, name: str) -> None:
        self._daemon, self._ledger, self._name = daemon, ledger, name
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, client_number: int) -> None:
        try:
            client = self._daemon.client()
            for number in range(100_000):
                self._ledger.send(client, f"{self._name}-{client_number}-{number}")
        except (OSError, smtplib.SMTPException):
            return  # killed: what was under way has no 250


@pytest.mark.slow
def test_every_promised_message_arrives_and_only_interrupted_recipients_get_two(tmp_path: Path) -> None:
    ledger, dice = Ledger(), random.Random(20261123)
    with Sink(delay_s=0.01) as sink, Daemon(tmp_path, "queue.retry_waits_s=[0.2]", relay=sink.address) as daemon:
        for cycle in range(CYCLES):
            load = Load(daemon, ledger, f"cycle{cycle}")
            load.start()
            time.sleep(dice.uniform(0.1, 1.2))  # the moment of the crash
            daemon.kill9()
            load.join()
            daemon.start()
        daemon.until_drained()
        assert daemon.check()["faults"] == []
        print(f"{CYCLES} cycles: {ledger.check(sink, daemon)}")
