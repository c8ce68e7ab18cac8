"""capture.inbox: what its magic recipients answer, by a clock that the tests move."""

import asyncio
import json

import pytest

from mtad.capture.inbox import MAGIC_DOMAIN, SLOW_S, Inbox
from mtad.mail.envelope import Transaction
from mtad.mail.ids import IdSource, queue_id
from mtad.mail.reply import Deferred, Delivered, Failed, Phase
from tests.virtualclock import VirtualClock

MESSAGE = 1 << 40


class Lane:
    """In place of the writer's: what was put is on disk at once."""

    def __init__(self):
        self.rows = []

    def put(self, row):
        self.rows.append(row)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @property
    def kept(self):
        return [json.loads(row[4]) for row in self.rows]


class Box:
    def __init__(self):
        self.clock, self.lane, self.reports = VirtualClock(), Lane(), []
        ids = IdSource(self.clock.now)
        self.inbox = Inbox(self.lane, ids, self.clock, lambda *report: self.reports.append(report))

    async def take(self, *recipients, message=MESSAGE):
        content = b"Received: from a by b id " + queue_id(message).encode() + b"; now\r\n\r\nhello\r\n"
        return await self.inbox.take(Transaction("app@s.example", recipients, (content,), len(content)))


def magic(*names):
    return tuple(f"{name}@{MAGIC_DOMAIN}" for name in names)


async def settle():
    """Let everything run that can run without the time going on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_slow_is_taken_after_five_seconds_and_not_before():
    box = Box()
    taking = asyncio.create_task(box.take(*magic("slow")))
    await settle()
    box.clock.advance(SLOW_S - 0.1)
    await settle()
    assert not taking.done()
    assert box.lane.rows == []
    box.clock.advance(0.1)
    [outcome] = await taking
    assert SLOW_S == 5
    assert isinstance(outcome, Delivered)
    assert outcome.took_s == pytest.approx(5)
    assert box.lane.kept == [list(magic("slow"))]


@pytest.mark.parametrize(
    ("name", "kind", "code", "enhanced", "phase"),
    [
        ("tempfail", Deferred, 451, "4.3.0", Phase.RCPT),
        ("full", Deferred, 452, "4.2.2", Phase.RCPT),
        ("hardfail", Failed, 550, "5.1.1", Phase.RCPT),
        ("spamblock", Failed, 554, "5.7.1", Phase.FINAL),
    ],
)
async def test_a_refusal_is_the_same_each_time_and_keeps_nothing(name, kind, code, enhanced, phase):
    box = Box()
    for _ in range(2):
        [outcome] = await box.take(*magic(name))
        assert type(outcome) is kind
        assert (outcome.reply.code, outcome.reply.enhanced, outcome.phase) == (code, enhanced, phase)
    assert box.lane.rows == []


async def test_a_greylisted_message_is_taken_the_second_time_and_another_one_waits_anew():
    box = Box()
    [first] = await box.take(*magic("greylist"))
    assert (first.reply.code, first.reply.enhanced) == (451, "4.7.1")
    [other] = await box.take(*magic("greylist"), message=MESSAGE + 1)
    assert isinstance(other, Deferred)
    [second] = await box.take(*magic("greylist"))
    assert isinstance(second, Delivered)
    assert box.lane.kept == [list(magic("greylist"))]


async def test_a_lost_connection_after_the_message_leaves_the_outcome_unknown():
    box = Box()
    [outcome] = await box.take(*magic("disconnect"))
    assert isinstance(outcome, Deferred)
    assert outcome.unknown
    assert outcome.phase is Phase.FINAL
    assert box.lane.rows == []


async def test_each_recipient_of_a_message_has_its_own_answer():
    box = Box()
    outcomes = await box.take(*magic("accept", "hardfail", "full"), "hardfail@elsewhere.example")
    assert [type(outcome) for outcome in outcomes] == [Delivered, Failed, Deferred, Delivered]
    assert box.lane.kept == [[*magic("accept"), "hardfail@elsewhere.example"]]


async def test_case_makes_no_difference():
    [outcome] = await Box().take("HardFail@Outcome.MTAD.Test")
    assert isinstance(outcome, Failed)
