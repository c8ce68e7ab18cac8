"""kill -9 at each named point of a message's way: what got 250 arrives, and a second copy is owned up to.

The clients are as real ones: who got no 250 sends again.
"""

import signal
import smtplib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtad.mail.ids import queue_id
from tests.ledger import Entry, Figures, Key, Ledger, autopsy, keys_in
from tests.live import Daemon, Sink

SESSIONS, MESSAGES = 5, 30
REMOTE_S = 0.3  # the sink's time for its reply to the final dot, where the crash is to come before it
WAITING, LEASED = 0, 1


class Load:
    """SESSIONS clients that send MESSAGES together. back: set when those that lost their daemon have one again."""

    def __init__(self, daemon: Daemon, ledger: Ledger) -> None:
        self.back = threading.Event()
        self._daemon, self._ledger = daemon, ledger
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(SESSIONS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, session: int) -> None:
        names = [f"message-{number}" for number in range(session, MESSAGES, SESSIONS)]
        try:
            self._send(names)
        except (OSError, smtplib.SMTPException):
            assert self.back.wait(60)
            self._send(names)

    def _send(self, names: list[str]) -> None:
        with self._daemon.client() as client:
            while names:
                self._ledger.send(client, names[0])
                del names[0]


@dataclass
class Scene:
    """Ledger, store and sink as they stood when the crash came, and what came of it all. owned_up: of a second copy."""

    promised: set[Key]
    tried: set[Key]
    entries: dict[Key, Entry]
    arrived: set[Key]
    sessions: int
    figures: Figures
    owned_up: bool

    def stored(self, *states: int) -> set[Key]:
        return keys_in(self.entries, states or (0, 1, 2, 3))


@dataclass(frozen=True)
class Point:
    """proof: what shows that the crash came where it should. duplicates: there must be some, and not only may be."""

    name: str
    passes: int
    proof: Callable[[Scene], object]
    duplicates: bool = False
    settings: tuple[str, ...] = ()


BACKLOG = ("queue.window=6",)  # more than so many recipients wait in the store, and are claimed from there
POINTS = [
    Point("intake-uncommitted", 4, lambda scene: scene.tried - scene.stored()),
    Point("intake-committed", 6, lambda scene: scene.stored() - scene.promised),
    Point("answered", 4, lambda scene: (scene.stored(LEASED) & scene.promised) - scene.arrived),
    Point("connected", 1, lambda scene: scene.sessions and scene.stored(LEASED) and not scene.arrived),
    Point("sent", 3, lambda scene: scene.stored(LEASED), duplicates=True),
    Point("remote-answered", 5, lambda scene: scene.stored(LEASED) & scene.arrived, duplicates=True),
    Point("settle-uncommitted", 2, lambda scene: scene.stored(LEASED) & scene.arrived, duplicates=True),
    Point("settle-committing", 2, lambda scene: scene.arrived),
    Point("claim-uncommitted", 2, lambda scene: scene.stored(WAITING), settings=BACKLOG),
    Point("claimed", 5, lambda scene: scene.stored(LEASED) - scene.arrived, settings=BACKLOG),
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Scene]]]:
    """All points, two at a time: most of it is daemons that start."""
    with ThreadPoolExecutor(2) as pool:
        yield {point.name: pool.submit(play, tmp_path_factory.mktemp(point.name), point) for point in POINTS}


def play(folder: Path, point: Point) -> Scene:
    ledger = Ledger()
    with Sink(delay_s=REMOTE_S if point.name == "sent" else 0.0) as sink:
        daemon = Daemon(folder, "queue.retry_waits_s=[0.2]", *point.settings, relay=sink.address)
        load = Load(daemon, ledger)
        try:
            daemon.start("-m", "tests.crashpoint", point.name, str(point.passes))
            load.start()
            assert daemon.until_dead() == -signal.SIGKILL
            arrived, sessions, entries = set(sink.taken), sink.sessions, autopsy(daemon)
            promised, tried = set(ledger.promised), set(ledger.tries)
            daemon.start()
            load.back.set()
            load.join()
            daemon.until_drained()
            assert daemon.check()["faults"] == []
            figures = ledger.check(sink, daemon)
            owned_up = all(is_owned_up_to(daemon, key) for key in sorted(figures.twice)[:1])
        finally:
            load.back.set()
            daemon.kill9()
    assert len(ledger.promised) == 2 * MESSAGES
    return Scene(promised, tried, entries, arrived, sessions, figures, owned_up)


@pytest.mark.parametrize("point", POINTS, ids=[point.name for point in POINTS])
def test_nothing_promised_is_lost_and_no_second_copy_is_denied(scenes: dict[str, Future[Scene]], point: Point) -> None:
    scene = scenes[point.name].result()
    print(f"{point.name}: {scene.figures}")
    assert point.proof(scene), "killed somewhere else"
    assert scene.figures.twice or not point.duplicates
    assert scene.owned_up


def is_owned_up_to(daemon: Daemon, key: Key) -> bool:
    """Does the timeline that people are shown say that the recipient may have got two?"""
    query = "SELECT id FROM recipients WHERE address = ? ORDER BY unknown DESC LIMIT 1"
    [[number]] = daemon.ask(query, key[1])
    last = [event for event in daemon.timeline(queue_id(number)) if event["recipient"] == key[1]][-1]
    return bool(last["delivery-status"].get("possible-duplicate"))
