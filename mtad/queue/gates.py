"""Gates: what holds the whole queue, or all that leaves from one source address, and the words for it.

Room: queue. May import: mail.
"""

from collections.abc import Callable

from mtad.clock import Clock
from mtad.mail.waiting import Waiting, WaitReason


class Gates:
    """stopping: nothing begins any more. why_paused: by the configuration or an operator, "": it is not. unwell: why
    the store or the machine is in no state to deliver, None when all is well. limit_source: a source address's own
    gate (warm-up); source_room: how many recipients may leave from it, None: any number; sent: told of what left.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        paused: bool,
        unwell: Callable[[], str | None],
        limit_source: Callable[[str, float], Waiting | None],
        source_room: Callable[[str, float], int | None],
        sent: Callable[[str, int], None],
    ) -> None:
        self._clock, self.unwell = clock, unwell
        self._limit_source, self._source_room, self._sent = limit_source, source_room, sent
        self.stopping = False
        self.why_paused = "queue.paused is set in the configuration" if paused else ""

    def held_up(self, source: str) -> Waiting | None:
        """Why nothing leaves from `source` now: store unhealthy, queue paused, warm-up. "": from anywhere."""
        cause = self.unwell()
        if cause is not None:
            return Waiting(WaitReason.STORE, self._clock.now() + 1.0, cause)
        if self.why_paused:
            return Waiting(WaitReason.PAUSED, None, self.why_paused)
        return self._limit_source(source, self._clock.now()) if source else None

    def room(self, source: str, most: int) -> int:
        """How many recipients may leave from `source` now, at most `most`."""
        room = self._source_room(source, self._clock.now()) if source else None
        return most if room is None else min(most, room)

    def count_sent(self, source: str, recipients: int) -> None:
        """So many leave from there; below 0: so many did not after all."""
        if source:
            self._sent(source, recipients)
