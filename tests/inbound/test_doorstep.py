"""DNS block lists and greylisting: who is told to go, and who to come again."""

import asyncio
from dataclasses import dataclass

import pytest

from mtad.inbound import doorstep as module
from mtad.inbound.doorstep import KNOWN_S, TOO_OLD_S, Doorstep
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from tests.virtualclock import VirtualClock


@dataclass(frozen=True)
class Said:
    records: tuple[str, ...] = ()
    found: str = "records"


class Lists:
    """listed: name -> addresses. A name of None never answers."""

    def __init__(self, **listed):
        self.listed, self.asked = listed, []

    async def addresses(self, name, *, ipv6=True):
        assert not ipv6
        self.asked.append(name)
        if self.listed.get("silent"):
            await asyncio.Event().wait()
        return Said(self.listed.get(name, ()))


def mail(peer="[192.0.2.9]", sender="ann@their.example", to="bob@ours.example"):
    return Submission(parse_address(sender) if sender else None, [parse_address(to)], b"", "", 0.0, peer=peer)


@pytest.fixture
def clock():
    return VirtualClock()


def lists(clock, *zones, **listed):
    return Doorstep(Lists(**listed), clock, zones, 0.0)


async def test_without_lists_and_greylisting_everybody_comes_in_and_nobody_is_asked(clock):
    door = lists(clock)
    assert await door.refusal(mail()) is None
    assert door._resolver.asked == []


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("[192.0.2.9]", "9.2.0.192.bl.example"),
        ("[IPv6:2001:db8::1]", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.bl.example"),
    ],
)
async def test_a_listed_address_is_refused_and_told_by_which_list(clock, peer, name):
    door = lists(clock, "other.example", "bl.example", **{name: ("127.0.0.2",)})
    refusal = await door.refusal(mail(peer))
    assert (refusal.code, "bl.example" in refusal.text) == (554, True)


@pytest.mark.parametrize("records", [(), ("127.255.255.254",), ("203.0.113.1",)])
async def test_an_answer_that_lists_nobody_lets_in(clock, records):
    assert await lists(clock, "bl.example", **{"9.2.0.192.bl.example": records}).refusal(mail()) is None


async def test_a_list_that_does_not_answer_keeps_nobody_out(clock, monkeypatch):
    monkeypatch.setattr(module, "LIST_S", 0.01)
    assert await lists(clock, "bl.example", silent=True).refusal(mail()) is None


@pytest.mark.parametrize("peer", ["", "unknown", "[nonsense]"])
async def test_a_peer_without_an_address_is_not_looked_up(clock, peer):
    door = Doorstep(Lists(), clock, ("bl.example",), 300.0)
    assert await door.refusal(mail(peer)) is None


async def test_a_stranger_is_put_off_until_he_comes_again_late_enough(clock):
    door = Doorstep(Lists(), clock, (), 300.0)
    assert (await door.refusal(mail())).code == 451
    clock.advance(299)
    assert "1 s" in (await door.refusal(mail())).text
    clock.advance(1)
    assert await door.refusal(mail()) is None


async def test_who_came_again_is_known_with_his_neighbours_and_for_others_too(clock):
    door = Doorstep(Lists(), clock, (), 300.0)
    await door.refusal(mail())
    clock.advance(300)
    await door.refusal(mail())
    assert await door.refusal(mail("[192.0.2.77]", "eve@else.example", "amy@ours.example")) is None
    assert await door.refusal(mail("[192.0.3.1]")) is not None
    clock.advance(KNOWN_S + 1)
    assert await door.refusal(mail()) is not None


@pytest.mark.parametrize("other", [{"sender": "eve@their.example"}, {"to": "amy@ours.example"}, {"sender": ""}])
async def test_each_sender_and_recipient_waits_for_himself(clock, other):
    door = Doorstep(Lists(), clock, (), 300.0)
    await door.refusal(mail())
    clock.advance(300)
    assert await door.refusal(mail(**other)) is not None


async def test_a_first_try_that_is_too_old_counts_anew(clock):
    door = Doorstep(Lists(), clock, (), 300.0)
    await door.refusal(mail())
    clock.advance(TOO_OLD_S + 1)
    assert await door.refusal(mail()) is not None


async def test_what_is_remembered_has_a_bound(clock, monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    door = Doorstep(Lists(), clock, (), 300.0)
    for number in range(30):
        await door.refusal(mail(f"[192.0.{number}.1]"))
    clock.advance(300)
    for number in range(30):
        await door.refusal(mail(f"[192.0.{number}.1]"))
    assert (len(door._first), len(door._known) <= 10) == (10, True)
