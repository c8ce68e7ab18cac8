"""Arrive: what came through a door goes to the queue, to us, or to both.

Room: inbound. May import: mail, message. Somebody who has not logged in writes only to us; our own users write to
anybody, and what they write to an address of ours does not go round by the MX.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from mtad import log as log_module
from mtad.mail.address import Address
from mtad.mail.envelope import Submission
from mtad.mail.ids import queue_id
from mtad.mail.reply import Refused
from mtad.message.headers import scan

log = log_module.get("inbound")

Take = Callable[[Submission], "asyncio.Future[int]"]


class Arrive:
    """Call it with a Submission; the future gives the message's id once all of it is on disk. Raises Refused.

    takes: what goes to us. is_list: a mailing list, which the queue posts to; what is both goes both ways.
    """

    def __init__(
        self, submit: Take, receive: Take, takes: Callable[[Address], bool], is_list: Callable[[Address], bool]
    ) -> None:
        self._submit, self._receive, self._takes, self._is_list = submit, receive, takes, is_list

    def __call__(self, submission: Submission) -> "asyncio.Future[int]":
        if not submission.domain:
            return self._receive(submission)
        people = submission.recipients
        ours = {place for place, address in enumerate(people) if self._takes(address)}
        queued = {place for place, address in enumerate(people) if place not in ours or self._is_list(address)}
        if not ours:
            return self._submit(submission)
        if not queued:
            return self._receive(submission)
        return asyncio.ensure_future(self._both(submission, ours, queued))

    async def _both(self, submission: Submission, ours: set[int], queued: set[int]) -> int:
        """Ours first: if the queue then refuses, the sender repeats, and a report that is told twice is told once."""
        await self._receive(_only(submission, ours))
        return await self._submit(_only(submission, queued))


class Posted:
    """The way in from the HTTP API, which sends to the world by the queue. Called like it: what routes want of mail to
    a mailing list goes to them besides, and who sent it hears of the queue alone.
    """

    def __init__(self, submit: Take, receive: Take, takes: Callable[[Address], bool]) -> None:
        """takes: lists that routes want too."""
        self._submit, self._receive, self._takes = submit, receive, takes

    def __call__(self, submission: Submission) -> "asyncio.Future[int]":
        wanted = {place for place, address in enumerate(submission.recipients) if self._takes(address)}
        if not wanted:
            return self._submit(submission)
        content = submission.content
        taken = self._submit(submission)
        if b"message-id" not in scan(content):  # the list's copies have this one, and so shall the routes'
            content = f"Message-ID: <{submission.message_id}>\r\n".encode() + content
        return asyncio.ensure_future(self._both(taken, replace(_only(submission, wanted), content=content)))

    async def _both(self, taken: "asyncio.Future[int]", submission: Submission) -> int:
        number = await taken
        try:
            await self._receive(submission)
        except Refused as refused:
            log.info("not-routed", msg=queue_id(number), reply=refused.reply)
        except Exception:  # it is queued: an error would have it sent again
            log.exception("not-routed", msg=queue_id(number))
        return number


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
