"""Arrive: what came through a door goes to the queue, to us, or to both.

Room: inbound. May import: mail, queue. Somebody who has not logged in writes only to us; our own users write to
anybody, and what they write to an address of ours does not go round by the MX.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from mtad.mail.address import Address
from mtad.mail.envelope import Submission

Take = Callable[[Submission], "asyncio.Future[int]"]


class Arrive:
    """Call it with a Submission; the future gives the message's id once all of it is on disk. Raises Refused."""

    def __init__(self, submit: Take, receive: Take, takes: Callable[[Address], bool]) -> None:
        self._submit, self._receive, self._takes = submit, receive, takes

    def __call__(self, submission: Submission) -> "asyncio.Future[int]":
        if not submission.domain:
            return self._receive(submission)
        ours = [place for place, address in enumerate(submission.recipients) if self._takes(address)]
        if not ours:
            return self._submit(submission)
        if len(ours) == len(submission.recipients):
            return self._receive(submission)
        return asyncio.ensure_future(self._both(submission, set(ours)))

    async def _both(self, submission: Submission, ours: set[int]) -> int:
        """Ours first: if the queue then refuses, the sender repeats, and a report that is told twice is told once."""
        await self._receive(_only(submission, ours))
        return await self._submit(_only(submission, set(range(len(submission.recipients))) - ours))


def _only(submission: Submission, places: set[int]) -> Submission:
    """With the recipients at these places, and what was asked for each."""
    kept = sorted(places)
    renumbered = {place: number for number, place in enumerate(kept)}
    return replace(
        submission,
        recipients=[submission.recipients[place] for place in kept],
        notify={renumbered[place]: text for place, text in submission.notify.items() if place in places},
        orcpt={renumbered[place]: text for place, text in submission.orcpt.items() if place in places},
    )
