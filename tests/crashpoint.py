"""mtad, killed by itself at a named point of a message's way:

    python -m tests.crashpoint POINT N dev --data …

The N-th time the point is passed the process gets SIGKILL: nothing is flushed, closed or told to anybody. The points
are made by wrapping the product's own functions from outside; it knows nothing of them.
"""

import functools
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from mtad.__main__ import main
from mtad.delivery.client import Connection
from mtad.queue.settle import Settler
from mtad.queue.submit import Submit
from mtad.queue.window import Window
from mtad.queue.worker import Worker
from mtad.storage.outgoing import Outgoing, Settle, State

SOON_S = 0.1  # long enough for the kernel to pass on what was written, shorter than the sink takes for its reply
COMMIT_S = 0.0003  # into a commit, which takes a millisecond or more


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fuse:
    """burn() at each pass; `act` runs at the N-th."""

    def __init__(self, passes: int, act: Callable[..., None] = die) -> None:
        self._left, self._act = passes, act

    def burn(self, *arguments: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self._act(*arguments)


def before(owner: type, name: str, passed: Callable[..., None]) -> None:
    """passed: called with the arguments of each call, before it."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        passed(*arguments)
        return inner(*arguments, **named)

    setattr(owner, name, wrapped)


def after(owner: type, name: str, passed: Callable[..., None]) -> None:
    """passed: called with the result and the arguments of each call, after it. Not for coroutines."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = inner(*arguments, **named)
        passed(result, *arguments)
        return result

    setattr(owner, name, wrapped)


# ---- the points


def intake_uncommitted(passes: int) -> None:
    """The rows of a message are written, and not committed."""
    fuse = Fuse(passes)
    after(Outgoing, "accept", lambda result, *rest: fuse.burn())


def intake_committed(passes: int) -> None:
    """The commit is over, and the client's 250 is not yet said."""
    fuse = Fuse(passes)
    before(Submit, "_committed", lambda *rest: fuse.burn())


def answered(passes: int) -> None:
    """The client has its 250, and the attempt has not begun: a worker starts a turn of the loop after the reply."""
    fuse = Fuse(passes)
    before(Worker, "_serve", lambda *rest: fuse.burn())


def connected(passes: int) -> None:
    """The connection stands, and MAIL is not yet sent."""
    fuse = Fuse(passes)
    before(Connection, "send", lambda *rest: fuse.burn())


def sent(passes: int) -> None:
    """The message went out whole, and the remote's reply is not here."""

    def soon(connection: Connection) -> None:
        connection._loop.call_later(SOON_S, die)

    fuse = Fuse(passes, soon)

    def wrote(result: None, connection: Connection, pieces: Sequence[bytes]) -> None:
        if pieces and pieces[-1].endswith(b".\r\n"):
            fuse.burn(connection)

    after(Connection, "_write", wrote)


def remote_answered(passes: int) -> None:
    """The remote's 250 is here, and nothing of it is written."""
    fuse = Fuse(passes)
    before(Settler, "delivered", lambda *rest: fuse.burn())


def _of_delivered(fuse: Fuse) -> None:
    def settled(result: None, outgoing: Outgoing, connection: sqlite3.Connection, settles: Sequence[Settle]) -> None:
        if any(settle.state is State.DELIVERED for settle in settles):
            fuse.burn(connection)

    after(Outgoing, "settle", settled)


def settle_uncommitted(passes: int) -> None:
    """The outcome's rows are written, and not committed."""
    _of_delivered(Fuse(passes, lambda connection: die()))


def settle_committing(passes: int) -> None:
    """Somewhere inside the outcome's commit: the log may be written, half written or synced."""

    def in_a_moment() -> None:
        time.sleep(COMMIT_S)
        die()

    def light(connection: sqlite3.Connection) -> None:
        def statement(text: str) -> None:
            if text == "COMMIT":
                threading.Thread(target=in_a_moment).start()

        connection.set_trace_callback(statement)

    _of_delivered(Fuse(passes, light))


def claim_uncommitted(passes: int) -> None:
    """Waiting rows are leased, and that is not committed."""
    fuse = Fuse(passes)
    after(Outgoing, "claim", lambda claim, *rest: fuse.burn() if claim.recipients else None)


def claimed(passes: int) -> None:
    """The leases of a claim are committed, and its attempts have not begun."""
    fuse = Fuse(passes)
    before(Window, "_hold", lambda *rest: fuse.burn())


POINTS: dict[str, Callable[[int], None]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        intake_uncommitted,
        intake_committed,
        answered,
        connected,
        sent,
        remote_answered,
        settle_uncommitted,
        settle_committing,
        claim_uncommitted,
        claimed,
    )
}

if __name__ == "__main__":
    point, passes, *rest = sys.argv[1:]
    POINTS[point](int(passes))
    sys.argv = ["mtad", *rest]
    main()
