"""Who a submission is for: the queue, us, or both."""

import asyncio

from mtad.inbound.arrive import Arrive
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission


class Both:
    """Notes who got which recipients, with what was asked for each."""

    def __init__(self) -> None:
        self.queued: list[Submission] = []
        self.received: list[Submission] = []
        self.arrive = Arrive(
            lambda one: self._take(self.queued, one),
            lambda one: self._take(self.received, one),
            lambda address: address.local.startswith("bounce+"),
        )

    def _take(self, where: list[Submission], one: Submission) -> "asyncio.Future[int]":
        where.append(one)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(len(self.queued) * 10 + len(self.received))
        return future


def to(*recipients: str, domain: str = "ours.example") -> Submission:
    return Submission(None, [parse_address(one) for one in recipients], b"", domain, 0.0)


async def test_a_stranger_writes_only_to_us():
    both = Both()
    await both.arrive(to("anybody@ours.example", domain=""))
    assert (len(both.queued), len(both.received)) == (0, 1)


async def test_a_user_writes_to_the_world_through_the_queue():
    both = Both()
    await both.arrive(to("bob@their.example"))
    assert (len(both.queued), len(both.received)) == (1, 0)


async def test_what_a_user_sends_to_an_address_of_ours_does_not_go_round_by_the_mx():
    both = Both()
    await both.arrive(to("bounce+x@ours.example"))
    assert (len(both.queued), len(both.received)) == (0, 1)


async def test_a_message_for_both_is_split_with_what_was_asked_for_each():
    both = Both()
    mixed = to("a@their.example", "bounce+x@ours.example", "b@their.example")
    mixed.notify, mixed.orcpt = {1: "NEVER", 2: "FAILURE"}, {0: "rfc822;a", 2: "rfc822;b"}
    assert await both.arrive(mixed) == 11
    [queued], [received] = both.queued, both.received
    assert [str(one) for one in queued.recipients] == ["a@their.example", "b@their.example"]
    assert (queued.notify, queued.orcpt) == ({1: "FAILURE"}, {0: "rfc822;a", 1: "rfc822;b"})
    assert [str(one) for one in received.recipients] == ["bounce+x@ours.example"]
    assert received.notify == {0: "NEVER"}
