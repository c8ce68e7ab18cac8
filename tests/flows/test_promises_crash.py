"""kill -9 under load by the newer doors: the HTTP API, the MX with its routes, webhooks. What was promised is there.

MTAD_CRASH_CYCLES raises the number of crashes.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtad.mail.ids import event_id
from tests.flows.application import Application, NameServer
from tests.flows.inland import API_KEY, DOMAIN, Inland
from tests.flows.loads import Crowd, HttpSender, MxSender, submit
from tests.ledger import Figures, Ledger, entries_of
from tests.live import Daemon, Sink, wait_until
from tests.receiver import Receiver

CYCLES = int(os.environ.get("MTAD_CRASH_CYCLES", "2"))
TERMINAL = (2, 4, 12)
pytestmark = pytest.mark.slow


class Api(Daemon):
    def _command(self) -> list[str]:
        return [*super()._command(), "--api-key", API_KEY]


def moments(low: float, high: float) -> Iterator[float]:
    """How long each cycle lasts until its crash."""
    dice = random.Random(20261123)
    for _ in range(CYCLES):
        yield dice.uniform(low, high)


@pytest.mark.parametrize(("people", "clients", "batch"), [(1, 4, False), (1000, 1, True), (1000, 1, False)])
def test_each_send_that_got_200_arrives_and_is_one_however_often_it_was_said(
    tmp_path: Path, people: int, clients: int, batch: bool
) -> None:
    ledger = Ledger()
    with Sink(delay_s=0.005) as sink, Api(tmp_path, "queue.retry_waits_s=[0.2]", relay=sink.address) as daemon:
        sender = HttpSender(daemon, ledger, people, batch=batch)
        for cycle, moment in enumerate(moments(0.2, 1.2)):
            most = max(3, 500 // people)  # what is in the queue has to be delivered, too
            crowd = Crowd(clients, lambda client, number, of=cycle: sender.send(f"c{of}-{client}-{number}"), most)
            crowd.start()
            time.sleep(moment)
            daemon.kill9()
            crowd.join()
            daemon.start()
            sender.send_again()
        daemon.until_drained(60)
        assert daemon.check()["faults"] == []
        figures = ledger.check(sink, daemon)
        assert len(figures.marked) <= CYCLES * 150, "whose turn had not come cannot have got two"
        assert {entry.taken for entry in entries_of(daemon.data).values()} == {1}
    print(f"{people} recipients, batch={batch}, {CYCLES} crashes: {figures}")


def test_routed_mail_that_got_250_is_posted_sent_on_and_stored(tmp_path: Path) -> None:
    with (
        Application() as app,
        NameServer(lambda server: None) as names,
        Sink(delay_s=0.005) as sink,
        Inland(tmp_path, names, "queue.retry_waits_s=[0.2]", relay=sink.address) as daemon,
    ):
        daemon.route("shop", f'forward("{app.url("in")}")', 'forward("away@example.net")', "store()")
        sender = MxSender(daemon, f"shop@{DOMAIN}")
        for cycle, moment in enumerate(moments(0.2, 1.5)):
            crowd = Crowd(4, lambda client, number, of=cycle: sender.send(f"c{of}-{client}-{number}"))
            crowd.start()
            time.sleep(moment)
            daemon.kill9()
            crowd.join()
            daemon.start()
        daemon.until_drained(60)
        assert daemon.check()["faults"] == []
        assert sender.taken, "no load at all"
        numbers = {f"<{name}@elsewhere.example>" for name in sender.taken}
        posted = Counter(post["Message-Id"] for post in app.at("in"))
        sent_on: Counter[str] = Counter()
        for (number, _), count in sink.taken.items():
            sent_on[number] += count
        kept = {
            f"<{row[0].strip('<>')}>": row[1]
            for row in daemon.ask(
                "SELECT json_extract(CAST(m.about AS TEXT), '$.\"message-id\"'), b.message_id IS NOT NULL FROM stored"
                " AS s JOIN messages AS m ON m.id = s.message_id LEFT JOIN bodies AS b ON b.message_id = m.id"
            )
        }
        assert numbers - set(posted) == set(), "not posted"
        assert numbers - set(sent_on) == set(), "not sent on"
        assert numbers - {number for number, has_bytes in kept.items() if has_bytes} == set(), "not stored"
        twice = 0
        entries = entries_of(daemon.data)
        for place, counts in ((app.url("in"), posted), ("away@example.net", sent_on)):
            for number, count in counts.items():
                entry = entries[number, place]
                assert count <= entry.taken + entry.marks, (number, place)
                assert entry.owned_up or count <= entry.taken
                twice += count > entry.taken
        marked = sum(1 for entry in entries.values() if entry.marks)
    words = f"{len(sender.taken)} got 250, 0 missing of posts, mail and stored; {twice} came twice, {marked} marked"
    print(f"{CYCLES} crashes: {words}")


def test_every_terminal_event_is_posted_and_a_second_post_of_it_has_the_same_id(tmp_path: Path) -> None:
    ledger = Ledger()
    settings = ("queue.retry_waits_s=[0.2]", "webhooks.retry_waits_s=[0.1,0.1,0.1]")
    with Receiver() as receiver, Sink() as sink, Api(tmp_path, *settings, relay=sink.address) as daemon:
        for name in ("delivered", "permanent_fail", "deliver"):
            assert daemon.mtad("webhook", "add", DOMAIN, name, receiver.url(name)).returncode == 0
        for cycle, moment in enumerate(moments(0.2, 1.5)):
            crowd = Crowd(3, lambda client, number, of=cycle: submit(daemon, ledger, f"c{of}-{client}-{number}"))
            crowd.start()
            time.sleep(moment)
            daemon.kill9()
            crowd.join()
            daemon.start()
        daemon.until_drained(60)
        wait_until(lambda: posts_left(daemon) == 0, 120, "all posts made")
        assert daemon.check()["faults"] == []
        figures: Figures = ledger.check(sink, daemon)
        posts = Counter(post.data["event-data"]["id"] for post in receiver.at("delivered"))
        events = {event_id(number) for [number] in daemon.ask("SELECT id FROM events WHERE type = 2")}
        assert set(posts) == events
        once = Counter(post.first("token") for post in receiver.at("deliver"))
        assert len(once) >= len(events)
        twice = sum(count - 1 for count in posts.values())
        assert twice <= CYCLES * 128, "more than are held of one webhook between a look and its commit"
        more = len(receiver.at("deliver")) - len(events)
    words = f"{len(events)} delivered events, 0 not posted, {twice} posted twice; deliver: {more} posted twice"
    print(f"{CYCLES} crashes, {figures.promised} promised: {words}")


def posts_left(daemon: Daemon) -> int:
    return int(daemon.ask("SELECT count(*) FROM outbox WHERE state = 0")[0][0])
