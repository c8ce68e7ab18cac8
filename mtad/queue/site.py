"""Site: what the running daemon holds of one MX-site: jobs by sending domain in turn, workers, and why it waits.

Room: queue. May import: mail, storage, delivery. No I/O here.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterator

from mtad.mail.waiting import Waiting
from mtad.queue.shaping import Profile
from mtad.queue.throttle import Pace
from mtad.queue.work import Job


class Site:
    """count: jobs held, ready or under way. claim_at: when the store has something due for it; None: nothing.

    late: domains with due rows left in the store: fresh mail of theirs goes behind those. shut: why nothing goes
    there at present. hushed: domains that wait at this site, and why. read: what the store knows of it is here.
    """

    __slots__ = (
        "_lanes",
        "_turn",
        "claim_at",
        "claiming",
        "count",
        "hosts",
        "hushed",
        "id",
        "idle_since",
        "key",
        "late",
        "live",
        "paces",
        "parked",
        "profile",
        "read",
        "ready",
        "saved",
        "shut",
        "workers",
    )

    def __init__(self, number: int, key: str, profile: Profile, now: float) -> None:
        self.id, self.key, self.profile = number, key, profile
        self.hosts: tuple[str, ...] = ()  # of one of its routes, for the profile
        self._lanes: dict[int, deque[Job]] = {}
        self._turn: deque[int] = deque()
        self.ready = self.count = 0
        self.workers: dict[str, int] = {}  # source address -> connections wanted or open
        self.live: dict[str, int] = {}  # source address -> sessions open
        self.parked: dict[str, list[asyncio.Future[bool]]] = {}  # idle workers, the latest last
        self.paces: dict[str, Pace] = {}
        self.saved: dict[str, str] = {}
        self.claim_at: float | None = None
        self.claiming = False
        self.late: set[int] = set()
        self.shut: Waiting | None = None
        self.hushed: dict[int, Waiting] = {}
        self.idle_since = now
        self.read = False

    def push(self, job: Job, *, front: bool = False) -> None:
        tenant = job.recipient.domain_id
        lane = self._lanes.get(tenant)
        if lane is None:
            lane = self._lanes[tenant] = deque()
            self._turn.append(tenant)
        if front:
            lane.appendleft(job)
        else:
            lane.append(job)
        self.ready += 1

    def pop(self, most: int, only: Collection[int] | None = None) -> list[Job]:
        """The next job of the domain whose turn it is, with up to `most` recipients of the same message.

        only: domains that may be served; None: all.
        """
        for _ in range(len(self._turn)):
            tenant = self._turn[0]
            self._turn.rotate(-1)
            if (only is not None and tenant not in only) or tenant in self.hushed:
                continue
            lane = self._lanes[tenant]
            jobs = [lane.popleft()]
            held = jobs[0].held
            most = 1 if held.alone else most
            while most > len(jobs) and lane and lane[0].held is held and lane[0].route is jobs[0].route:
                jobs.append(lane.popleft())
            if not lane:
                del self._lanes[tenant]
                self._turn.remove(tenant)
            self.ready -= len(jobs)
            return jobs
        return []

    def ready_of(self, tenant: int) -> int:
        lane = self._lanes.get(tenant)
        return len(lane) if lane else 0

    @property
    def tenants(self) -> int:
        """How many domains have jobs ready."""
        return len(self._lanes)

    def heads(self) -> Iterator[int]:
        """Domains with jobs ready, in the order of their turns."""
        return iter(self._turn)

    def drain(self, tenant: int | None = None) -> list[Job]:
        """Take all ready jobs out: of one domain, or of all."""
        some = [tenant] if tenant is not None else list(self._lanes)
        jobs: list[Job] = []
        for one in some:
            lane = self._lanes.pop(one, None)
            if lane is not None:
                jobs += lane
                self._turn.remove(one)
        self.ready -= len(jobs)
        return jobs

    def wake_parked(self, source: str, most: int) -> int:
        """Wake up to `most` idle workers, the ones used last first; how many there were."""
        parked = self.parked.get(source)
        woken = 0
        while parked and woken < most:
            future = parked.pop()
            if not future.done():
                future.set_result(True)
                woken += 1
        return woken

    @property
    def working(self) -> int:
        return sum(self.workers.values())

    @property
    def sessions(self) -> int:
        return sum(self.live.values())
