"""Who a submission is for: the queue, us, or both."""

import asyncio

from mtad.inbound.arrive import Arrive, Posted
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply


class Both:
    """Notes who got which recipients, with what was asked for each."""

    def __init__(self) -> None:
        self.queued: list[Submission] = []
        self.received: list[Submission] = []
        self.arrive = Arrive(
            lambda one: self._take(self.queued, one),
            lambda one: self._take(self.received, one),
            lambda address: address.local.startswith(("bounce+", "both")),
            lambda address: address.local in ("list", "both"),
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


async def test_mail_for_a_list_goes_to_the_queue_and_to_us_when_a_route_wants_it_too():
    both = Both()
    await both.arrive(to("list@ours.example"))
    assert (len(both.queued), len(both.received)) == (1, 0)
    await both.arrive(to("both@ours.example", "bounce+x@ours.example"))
    assert [str(one) for one in both.queued[1].recipients] == ["both@ours.example"]
    assert [str(one) for one in both.received[0].recipients] == ["both@ours.example", "bounce+x@ours.example"]
    await both.arrive(to("both@ours.example", domain=""))
    assert (len(both.queued), len(both.received)) == (2, 2)


async def test_mail_of_the_api_for_a_list_goes_to_the_routes_besides_with_the_id_it_was_given():
    both = Both()

    def submit(one: Submission) -> "asyncio.Future[int]":
        one.message_id = "made@ours.example"
        return both._take(both.queued, one)

    async def refuse(one: Submission) -> int:
        both.received.append(one)
        raise Refused(Reply(550, "1.1", "nobody"))

    posted = Posted(submit, lambda one: asyncio.ensure_future(refuse(one)), lambda address: address.local == "both")
    await posted(to("list@ours.example"))
    assert (len(both.queued), len(both.received)) == (1, 0)
    assert await posted(to("both@ours.example", "bob@their.example")) == 20
    assert [str(one) for one in both.received[0].recipients] == ["both@ours.example"]
    assert both.received[0].content == b"Message-ID: <made@ours.example>\r\n"


async def test_mail_that_is_queued_is_answered_so_also_when_the_routes_beside_it_crash():
    both = Both()

    async def crash(one: Submission) -> int:
        raise RuntimeError("a fault of ours")

    posted = Posted(both.arrive, lambda one: asyncio.ensure_future(crash(one)), lambda address: True)
    assert await posted(to("bob@their.example")) == 10
