"""Magic recipients of `mtad dev`, through the daemon: the event each becomes, and what a second try brings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live import Daemon, wait_until


@dataclass(frozen=True)
class Row:
    """first, second: (event, severity, code, enhanced code, reason) of the attempts; second None: there is none."""

    name: str
    first: tuple[str, str, int, str, str]
    second: tuple[str, str, int, str, str] | None = None
    unknown: bool = False
    kept: bool = False

    @property
    def recipient(self) -> str:
        return f"{self.name}@outcome.mtad.test"


TAKEN = ("delivered", "", 250, "2.0.0", "")
TEMPFAIL = ("failed", "temporary", 451, "4.3.0", "generic")
FULL = ("failed", "temporary", 452, "4.2.2", "generic")
DROPPED = ("failed", "temporary", 451, "4.4.2", "generic")
ROWS = [
    Row("accept", TAKEN, kept=True),
    Row("tempfail", TEMPFAIL, TEMPFAIL),
    Row("greylist", ("failed", "temporary", 451, "4.7.1", "greylisted"), TAKEN, kept=True),
    Row("full", FULL, FULL),
    Row("hardfail", ("failed", "permanent", 550, "5.1.1", "bounce")),
    Row("spamblock", ("failed", "permanent", 554, "5.7.1", "espblock")),
    Row("disconnect", DROPPED, DROPPED, unknown=True),
]


@dataclass
class Played:
    """events: without `accepted`, by recipient. kept: recipients of captured mail."""

    events: dict[str, list[dict[str, Any]]]
    kept: set[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A message for each, and after the first outcomes another try."""
    with Daemon(tmp_path_factory.mktemp("daemon"), "queue.retry_waits_s=[500]") as daemon:
        with daemon.client() as client:
            for row in ROWS:
                text = f"From: app@sandbox.mtad.test\r\nTo: {row.recipient}\r\nSubject: {row.name}\r\n\r\nHello.\r\n"
                client.sendmail("app@sandbox.mtad.test", [row.recipient], text)
        until_tried(daemon, 1)
        assert daemon.mtad("queue", "retry", "--all").returncode == 0
        until_tried(daemon, 2)
        events: dict[str, list[dict[str, Any]]] = {row.recipient: [] for row in ROWS}
        for event in daemon.events():
            if event["event"] != "accepted":
                events[event["recipient"]].append(event)
        kept = daemon.ask("SELECT one.value FROM captured, json_each(recipients) AS one")
        assert daemon.check()["faults"] == []
        yield Played(events, {str(address) for [address] in kept})


def until_tried(daemon: Daemon, times: int) -> None:
    """Until each recipient is done, or waits after so many attempts."""
    left = "SELECT count(*) FROM recipients WHERE state = 1 OR state = 0 AND (attempts < ? OR last_reply IS NULL)"
    wait_until(lambda: daemon.ask(left, times) == [(0,)], what=f"{times} attempts")


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_magic_recipient_answers_as_its_name_says(played: Played, row: Row) -> None:
    events = played.events[row.recipient]
    assert [shape(event) for event in events] == [one for one in (row.first, row.second) if one]
    for attempt, event in enumerate(events, 1):
        assert event["delivery-status"]["attempt-no"] == attempt
        assert event["delivery-status"]["mx-host"] == "capture.mtad.test"
        assert event["delivery-status"].get("possible-duplicate", False) is row.unknown
    assert (row.recipient in played.kept) is row.kept


def shape(event: dict[str, Any]) -> tuple[str, str, int, str, str]:
    status = event["delivery-status"]
    return event["event"], event.get("severity", ""), status["code"], status["enhanced-code"], event.get("reason", "")
