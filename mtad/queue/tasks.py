"""Tasks: those that the queue begins: claims, look-ups, workers. They end before it does.

Room: queue. May import: nothing.
"""

import asyncio
from collections.abc import Coroutine


class Tasks:
    """group: of the queue that runs; None: it has not begun."""

    def __init__(self) -> None:
        self.group: asyncio.TaskGroup | None = None

    def begin(self, work: Coroutine[None, None, None], name: str) -> "asyncio.Task[None]":
        assert self.group is not None
        return self.group.create_task(work, name=name)
