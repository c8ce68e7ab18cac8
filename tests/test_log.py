"""The log: lines of one turn of the loop are one write, in order, whoever logs."""

import asyncio
import gc
import logging
import re
import threading
import weakref
from collections.abc import Iterator

import pytest

from mtad import log


class Stream:
    """Standard error, as written."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        self.writes.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def alone(self) -> None:
        """As in a daemon: without the handlers that pytest adds when a test begins."""
        root = logging.getLogger()
        root.handlers[:] = [one for one in root.handlers if getattr(one, "stream", None) is self]
        assert len(root.handlers) == 1

    @property
    def words(self) -> list[str]:
        return [line.split()[2] for line in "".join(self.writes).splitlines() if line[:2] == "20"]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    made = Stream()
    root, own = logging.getLogger(), logging.getLogger("mtad")
    before = list(root.handlers), root.level, own.level
    monkeypatch.setattr("sys.stderr", made)
    log.start("info")
    yield made
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


async def test_the_lines_of_one_turn_of_the_loop_are_one_write(stream: Stream) -> None:
    stream.alone()
    one = log.get("queue")
    one.info("accepted", msg="a")
    one.info("delivered", msg="a")
    assert stream.writes == []
    await asyncio.sleep(0)
    assert len(stream.writes) == 1
    assert stream.words == ["accepted", "delivered"]
    one.info("accepted", msg="b")
    await asyncio.sleep(0)
    assert stream.words[2:] == ["accepted"]


async def test_what_is_urgent_is_written_at_once_and_after_what_came_before(stream: Stream) -> None:
    stream.alone()
    one = log.get("queue")
    one.info("first")
    one.warning("second")
    assert stream.words == ["first", "second"]
    one.info("third")
    await asyncio.sleep(0)
    assert stream.words == ["first", "second", "third"]


def test_without_a_loop_a_line_is_written_at_once(stream: Stream) -> None:
    stream.alone()
    log.get("cli").info("done")
    assert stream.words == ["done"]


def test_a_loop_that_ended_too_early_keeps_no_line_of_the_next_one(stream: Stream) -> None:
    stream.alone()

    async def logs(word: str) -> None:
        log.get("cli").info(word)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(logs("one"))
    loop.close()
    asyncio.run(logs("two"))
    assert stream.words == ["one", "two"]


async def test_what_waits_is_written_before_the_log_is_started_anew_and_nothing_is_kept_of_the_old(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.alone()
    monkeypatch.setattr("sys.stderr", stream)
    log.get("daemon").info("first")
    old = weakref.ref(log._ours[0])
    log.start("info")
    stream.alone()
    log.get("daemon").warning("second")
    assert stream.words == ["first", "second"]
    await asyncio.sleep(0)
    assert stream.words == ["first", "second"]
    gc.collect()
    assert old() is None


async def test_threads_lose_no_line(stream: Stream) -> None:
    stream.alone()

    def many(name: str) -> None:
        for number in range(500):
            log.get(name).info("line", number=number)

    threads = [threading.Thread(target=many, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    many("loop")
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    await asyncio.sleep(0)
    lines = "".join(stream.writes).splitlines()
    assert len(lines) == 2500
    for name in ("t0", "t3", "loop"):
        assert [line.rsplit("=")[-1] for line in lines if f"room={name} " in line] == [str(n) for n in range(500)]


async def test_a_log_that_nobody_reads_ends_nothing(stream: Stream) -> None:
    stream.alone()
    stream.broken = True
    log.get("queue").info("accepted", msg="a")
    await asyncio.sleep(0)
    stream.broken = False
    log.get("queue").info("accepted", msg="b")
    await asyncio.sleep(0)
    assert stream.words == ["accepted"]


async def test_a_line_has_its_time_level_and_values_in_quotes_where_they_need_them(stream: Stream) -> None:
    stream.alone()
    log.get("queue").info("deferred", reply='421 "later"\n', wait_s=1.5, host=None)
    await asyncio.sleep(0)
    stamp, level, rest = stream.writes[0].split(" ", 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert level == "info"
    assert rest == 'deferred room=queue reply="421 \\"later\\"\\x0a" wait_s=1.500\n'


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028"])
def test_the_words_of_an_exception_pass_for_no_line_of_their_own(stream: Stream, end: str) -> None:
    stream.alone()
    forged = "2026-01-31T12:00:00.000Z info delivered room=queue"
    try:
        raise ValueError(f"no address: a{end}{forged}")
    except ValueError:
        log.get("smtp").exception("check-crashed")
    logging.getLogger("library").warning("odd%s%s", end, forged)
    assert stream.words == ["check-crashed", "odd"]
    assert f"  {forged}" in "".join(stream.writes).splitlines()


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_in_a_value_ends_the_line(end):
    [line] = log._line("refused", {"rcpt": f"a{end}msg=forged@x.example", "ip": "192.0.2.1"}).splitlines()
    assert line.endswith('@x.example" ip=192.0.2.1')
    assert line.isprintable()
