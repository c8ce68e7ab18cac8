"""Quota: how many recipients a domain may send to in any hour, all sites together.

Room: queue. May import: mail, storage. Attempts are counted, whatever came of them, by the minute. The count is taken
from the events when a limit becomes known, so a restart gives nobody a second allowance.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial

from mtad.clock import Clock
from mtad.mail.waiting import Waiting, WaitReason
from mtad.storage import attempts
from mtad.storage.attempts import MINUTE_S
from mtad.storage.database import Database

HOUR_S = 3600.0


class SlidingHour:
    """What was counted in the last hour, by whole minutes: never less than in the last 3,600 seconds."""

    __slots__ = ("_minutes", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._minutes: deque[list[float]] = deque()  # [when it began, how many], oldest first

    def room(self, now: float) -> int:
        self._forget(now)
        return max(0, self.limit - self.used)

    def add(self, at: float, count: int) -> None:
        """at: not before what was added last; if the clock was set back, it counts as then."""
        began = at // MINUTE_S * MINUTE_S
        if not self._minutes or began > self._minutes[-1][0]:
            self._minutes.append([began, 0])
        self._minutes[-1][1] += count
        self.used += count

    def take_back(self, count: int) -> None:
        """Of what was added last."""
        if self._minutes:
            count = min(count, int(self._minutes[-1][1]))
            self._minutes[-1][1] -= count
            self.used -= count

    def more_at(self) -> float:
        """When there is room again. Ask when there is none; limit is 1 or more."""
        over = self.used - self.limit
        for began, count in self._minutes:
            over -= int(count)
            if over < 0:
                return began + MINUTE_S + HOUR_S
        raise AssertionError("there is room")

    def _forget(self, now: float) -> None:
        minutes = self._minutes
        for minute in minutes:
            minute[0] = min(minute[0], now)  # a clock that was set back must not make an hour longer
            if minute[0] < now:
                break
        while minutes and minutes[0][0] + MINUTE_S + HOUR_S <= now:
            self.used -= int(minutes.popleft()[1])


class Quotas:
    """keep() the limits before the first attempt and whenever they may have changed."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._limits: Mapping[int, int] = {}
        self._hours: dict[int, SlidingHour] = {}
        self._over: dict[int, Waiting] = {}

    async def keep(self, limits: Mapping[int, int]) -> bool:
        """limits: domain id -> recipients an hour; a domain that is not there has none. True: they are others now."""
        if limits is self._limits or limits == self._limits:
            self._limits = limits
            return False
        unknown = [domain_id for domain_id in limits if domain_id not in self._hours]
        hours = {domain_id: hour for domain_id, hour in self._hours.items() if domain_id in limits}
        for domain_id in unknown:
            hours[domain_id] = SlidingHour(0)
        if unknown:
            await self._database.writer.write(lambda connection: None)  # what is settled is in the events with it
            since = self._clock.now() - HOUR_S - MINUTE_S
            counted = await self._database.read(partial(attempts.by_minute, domain_ids=unknown, since=since))
            for domain_id, at, count in counted:
                hours[domain_id].add(at, count)
        for domain_id, limit in limits.items():
            hours[domain_id].limit = limit
        self._limits, self._hours, self._over = limits, hours, {}
        for domain_id in hours:
            self._look(domain_id)
        return True

    def room(self, domain_id: int) -> int | None:
        """How many recipients may be attempted now; None: any number."""
        hour = self._hours.get(domain_id)
        return hour.room(self._clock.now()) if hour is not None else None

    def take(self, domain_id: int, count: int) -> None:
        """So many are attempted."""
        hour = self._hours.get(domain_id)
        if hour is not None and count:
            hour.add(self._clock.now(), count)
            self._look(domain_id)

    def take_back(self, domain_id: int, count: int) -> bool:
        """They were not attempted after all. True: so the domain may send again."""
        hour = self._hours.get(domain_id)
        if hour is None:
            return False
        hour.take_back(count)
        if self._over.pop(domain_id, None) is None:
            return False
        self._look(domain_id)  # the limit may have been lowered meanwhile
        return domain_id not in self._over

    def over(self) -> Mapping[int, Waiting]:
        """The domains that may send no more at present."""
        if not self._over:
            return self._over
        now = self._clock.now()
        for domain_id, why in list(self._over.items()):
            if why.until is not None and why.until <= now:
                del self._over[domain_id]
                self._look(domain_id)
        return self._over

    def _look(self, domain_id: int) -> None:
        hour = self._hours[domain_id]
        if not hour.room(self._clock.now()):
            words = f"its domain has sent to {hour.used} recipients within an hour, and {hour.limit} is its limit"
            self._over[domain_id] = Waiting(WaitReason.QUOTA, hour.more_at(), words)
