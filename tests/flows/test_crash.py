"""The daemon killed under load, again and again: what got 250 arrives, and a second copy is owned up to."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.flows.loads import Crowd, submit
from tests.ledger import Ledger
from tests.live import Daemon, Sink

CYCLES = int(os.environ.get("MTAD_CRASH_CYCLES", "4"))
CLIENTS = 4


@pytest.mark.slow
def test_every_promised_message_arrives_and_only_interrupted_recipients_get_two(tmp_path: Path) -> None:
    ledger, dice = Ledger(), random.Random(20261123)
    with Sink(delay_s=0.01) as sink, Daemon(tmp_path, "queue.retry_waits_s=[0.2]", relay=sink.address) as daemon:
        for cycle in range(CYCLES):
            crowd = Crowd(CLIENTS, lambda client, nth, of=cycle: submit(daemon, ledger, f"c{of}-{client}-{nth}"))
            crowd.start()
            time.sleep(dice.uniform(0.1, 1.2))  # the moment of the crash
            daemon.kill9()
            crowd.join()
            daemon.start()
        daemon.until_drained()
        assert daemon.check()["faults"] == []
        print(f"{CYCLES} cycles: {ledger.check(sink, daemon)}")
