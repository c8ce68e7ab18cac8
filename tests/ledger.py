"""Ledger: what clients were promised against what arrived and what the store says of it, for tests of crashes."""

import shutil
import smtplib
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.live import Daemon, Sink

Key = tuple[str, str]  # Message-ID field, recipient

_ROWS = """
    SELECT json_extract(CAST(m.about AS TEXT), '$."message-id"'), r.address, r.state,
           (SELECT count(*) FROM events AS e WHERE e.recipient_id = r.id AND (e.type = 6 OR (e.type = 3
                   AND json_extract(CAST(e.detail AS TEXT), '$."possible-duplicate"')))),
           (SELECT max(json_extract(CAST(e.detail AS TEXT), '$."delivery-status"."possible-duplicate"'))
            FROM events AS e WHERE e.recipient_id = r.id AND e.type = 2)
    FROM recipients AS r JOIN messages AS m ON m.id = r.message_id"""


@dataclass
class Entry:
    """A recipient of a message as the store has it. taken: how often it was accepted. marks: attempts whose outcome
    was never learnt, by the events. owned_up: its end says that it may be a duplicate. states: as in the table."""

    taken: int = 0
    marks: int = 0
    owned_up: bool = False
    states: list[int] = field(default_factory=list)


@dataclass
class Ledger:
    """tries: how often clients began to send; promised: what they got 250 for."""

    tries: Counter[Key] = field(default_factory=Counter)
    promised: set[Key] = field(default_factory=set)

    def send(self, client: smtplib.SMTP, name: str) -> None:
        """One message to two recipients; raises what smtplib does when there is no 250."""
        number, recipients = f"<{name}@client.example>", [f"{name}-{one}@example.net" for one in range(2)]
        wanted = {(number, recipient) for recipient in recipients}
        self.tries.update(wanted)
        text = f"From: app@sandbox.mtad.test\r\nMessage-ID: {number}\r\nSubject: {name}\r\n\r\n" + "x" * 2000 + "\r\n"
        client.sendmail("app@sandbox.mtad.test", recipients, text)
        self.promised |= wanted

    def check(self, sink: Sink, daemon: Daemon) -> "Figures":
        """Raises AssertionError when something is lost, or arrived once too often without being owned up to."""
        entries, arrived = entries_of(daemon.data), Counter(sink.taken)
        assert self.promised, "no load at all"
        assert self.promised - set(arrived) == set(), "lost"
        assert set(arrived) <= set(self.tries)
        twice = set()
        for key, count in arrived.items():
            entry = entries[key]
            assert entry.taken <= self.tries[key], key
            # A client that got no 250 sends again: then two were taken, and two may arrive. Any other copy is ours.
            assert count <= entry.taken + entry.marks, key
            if count > entry.taken:
                twice.add(key)
                assert entry.owned_up, key
        marked = {key for key, entry in entries.items() if entry.marks}
        return Figures(len(self.promised), len(arrived), twice, marked)


@dataclass
class Figures:
    """twice: arrived more often than they were taken. marked: as possible duplicates."""

    promised: int
    arrived: int
    twice: set[Key]
    marked: set[Key]

    def __str__(self) -> str:
        words = (f"{self.promised} promised", f"{self.arrived} arrived", "0 missing", f"{len(self.twice)} twice")
        return ", ".join((*words, f"{len(self.marked)} marked as possible duplicates"))


def entries_of(folder: Path) -> dict[Key, Entry]:
    found: dict[Key, Entry] = {}
    with closing(sqlite3.connect(folder / "mtad.sqlite", timeout=10)) as connection:
        for number, address, state, marks, owned_up in connection.execute(_ROWS):
            entry = found.setdefault((f"<{number.strip('<>')}>", address), Entry())
            entry.taken += 1
            entry.marks += marks
            entry.owned_up |= bool(owned_up)
            entry.states.append(state)
    return found


def autopsy(daemon: Daemon) -> dict[Key, Entry]:
    """What stood on disk when the daemon died: of a copy, so that nothing is mended before it starts again."""
    copy = daemon.folder / "autopsy"
    shutil.copytree(daemon.data, copy, ignore=shutil.ignore_patterns("*.sock", "*control*"))
    try:
        return entries_of(copy)
    finally:
        shutil.rmtree(copy)


def keys_in(entries: dict[Key, Entry], states: Iterable[int]) -> set[Key]:
    """Keys with a row in one of the states."""
    wanted = set(states)
    return {key for key, entry in entries.items() if wanted & set(entry.states)}
