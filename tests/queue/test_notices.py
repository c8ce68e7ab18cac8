"""What the sender asked to be told of goes on with the message, or is told by us (RFC 3461 §5.2)."""

import email
import email.policy

import pytest

from mtad.mail.event import EventType
from mtad.mail.reply import Hop
from mtad.storage.outgoing import Flag
from tests.queue.house import World, open_house
from tests.virtualclock import VirtualClock

DSN = Hop("mx.b.example", "192.0.2.1", dsn=True)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def world(clock):
    return World(clock)


@pytest.fixture
async def house(tmp_path, clock, world):
    async with open_house(tmp_path, clock, world) as made:
        yield made


async def status(house, number):
    [event] = [e for e in await house.events(number) if e.type is EventType.DELIVERED]
    return event.detail["delivery-status"]


async def test_what_was_asked_goes_with_the_right_recipient(house, world):
    asked = {"notify": {1: "NEVER"}, "orcpt": {1: "rfc822;eve@b.example"}, "envid": "QQ1", "ret": "HDRS"}
    await house.send("bob@b.example", "eve@b.example", **asked)
    await house.rest()
    seen = {}
    for _, tx in world.sent:
        assert (tx.envid, tx.ret) == ("QQ1", "HDRS")
        seen |= {to: (n, o) for to, n, o in zip(tx.recipients, tx.notify or "-", tx.orcpt or "-", strict=False)}
    assert seen["eve@b.example"] == ("NEVER", "rfc822;eve@b.example")
    assert seen["bob@b.example"] in {("", ""), ("-", "-")}


async def test_nothing_is_asked_for_a_sender_who_asked_nothing(house, world):
    await house.send("bob@b.example")
    await house.rest()
    [(_, tx)] = world.sent
    assert (tx.notify, tx.orcpt, tx.envid, tx.ret) == ((), (), "", "")


async def test_a_host_with_dsn_tells_of_success_itself(house, world):
    world.hops["b.example"] = DSN
    number = await house.send("bob@b.example", sender="out@side.example", notify={0: "SUCCESS,FAILURE"})
    await house.rest()
    assert world.recipients() == ["bob@b.example"]
    assert (await status(house, number))["dsn"] == "passed-on"


async def test_for_a_host_without_dsn_we_tell_that_it_was_relayed(house, world):
    asked = {"notify": {0: "SUCCESS"}, "orcpt": {0: "rfc822;Bob@b.example"}, "envid": "QQ1"}
    number = await house.send("bob@b.example", sender="out@side.example", **asked)
    await house.rest()
    assert world.recipients() == ["bob@b.example", "out@side.example"]
    assert (await status(house, number))["dsn"] == "relayed"
    tx = world.sent[-1][1]
    assert tx.reverse_path == ""
    report = email.message_from_bytes(b"".join(tx.chunks), policy=email.policy.default)
    [_, about] = list(report.iter_parts())[1].get_payload()
    assert (about["Action"], about["Status"], about["Original-Recipient"]) == (
        "relayed",
        "2.0.0",
        "rfc822; Bob@b.example",
    )


@pytest.mark.parametrize(
    ("sender", "notify"),
    [("out@side.example", {}), ("out@side.example", {0: "NEVER"}), ("out@side.example", {0: "FAILURE,DELAY"})],
)
async def test_who_did_not_ask_for_success_is_not_told(house, world, sender, notify):
    number = await house.send("bob@b.example", sender=sender, notify=notify)
    await house.rest()
    assert world.recipients() == ["bob@b.example"]
    assert "dsn" not in await status(house, number)


async def test_a_message_that_requires_tls_gets_a_checked_connection_of_its_own(house, world, monkeypatch):
    world.hops["b.example"] = Hop("mx.b.example", "192.0.2.1", tls="TLSv1.3")  # open, and nobody was checked
    await house.send("bob@b.example", require_tls=True)
    await house.rest()
    assert world.opened[-1][2:] == (True, False)
    monkeypatch.setattr(house.ours, "flags", lambda domain_id: int(Flag.SKIP_VERIFICATION), raising=False)
    await house.send("bob@b.example", require_tls=True)
    await house.rest()
    assert world.opened[-1][2:] == (True, True)
    assert [tx.require_tls for _, tx in world.sent] == [True, True]
