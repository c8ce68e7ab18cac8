import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mtad.message.dkim import Algorithm, Signer, load_key, make_key, public_record
from mtad.message.finish import Finisher, finish
from tests.message.dkim_check import verify

NOW = 1_700_000_000.0
RSA_KEY = load_key(make_key(Algorithm.RSA), ours=True)
ED_KEY = load_key(make_key(Algorithm.ED25519))
RSA, ED = Signer("example.org", "r1", RSA_KEY), Signer("example.org", "e1", ED_KEY)
RECORDS = {"r1._domainkey.example.org": public_record(RSA_KEY), "e1._domainkey.example.org": public_record(ED_KEY)}
CONTENT = b"From: a@example.org\r\nSubject: x\r\n\r\nhello\r\n"
LARGE = CONTENT + b"one more line\r\n" * 10_000


class CountingSigner(Signer):
    """Counts signatures and remembers the thread of each; waits for `gate` first."""

    def __init__(self, key=RSA_KEY):
        super().__init__("example.org", "r1", key)
        self.threads, self.gate = [], threading.Event()
        self.under_way = self.most_at_once = 0
        self.gate.set()

    def sign(self, fields, body, now):
        assert self.gate.wait(10)
        self.threads.append(threading.current_thread())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            return super().sign(fields, body, now)
        finally:
            self.under_way -= 1


class BrokenSigner(CountingSigner):
    def sign(self, fields, body, now):
        super().sign(fields, body, now)
        raise ValueError("the key is gone")


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_without_signers_the_content_is_sent_as_it_is():
    (chunk,) = finish(CONTENT, (), NOW)
    assert chunk is CONTENT


def test_the_content_itself_is_never_copied_or_changed():
    fields, content = finish(CONTENT, (ED, RSA), NOW)
    assert content is CONTENT
    assert fields.count(b"DKIM-Signature:") == 2


@pytest.mark.parametrize("signers", [(), (ED,)])
def test_the_last_line_always_ends(signers):
    assert b"".join(finish(CONTENT[:-2], signers, NOW)).endswith(b"hello\r\n")
    assert b"".join(finish(b"", signers, NOW)).endswith(b"\r\n")


@pytest.mark.parametrize("content", [CONTENT, LARGE, CONTENT[:-2]], ids=["small", "large", "unended"])
@pytest.mark.parametrize("signers", [(), (ED,), (RSA,), (ED, RSA)], ids=["none", "ed25519", "rsa", "both"])
@pytest.mark.parametrize("threads", [True, False])
async def test_in_threads_or_not_the_result_is_that_of_finish(content, signers, threads, executor):
    chunks = await Finisher(executor if threads else None).finish(content, signers, NOW)
    assert chunks == finish(content, signers, NOW)
    for index in range(len(signers)):
        assert verify(b"".join(chunks), RECORDS, index)


@pytest.mark.parametrize("content", [CONTENT, LARGE])
async def test_rsa_does_not_run_on_the_loop(content, executor):
    signer = CountingSigner()
    await Finisher(executor).finish(content, (signer,), NOW)
    assert signer.threads != [threading.current_thread()]


async def test_recipients_of_the_same_content_share_one_signature(executor):
    signer, finisher = CountingSigner(), Finisher(executor)
    results = await asyncio.gather(*[finisher.finish(CONTENT, (signer,), NOW) for _ in range(20)])
    results.append(await finisher.finish(CONTENT, (signer,), NOW + 59))
    assert len(signer.threads) == 1
    assert len(set(results)) == 1


@pytest.mark.parametrize("later_s", [60, -1])
async def test_a_later_attempt_gets_a_fresh_signature(later_s):
    signer, finisher = CountingSigner(), Finisher(None)
    first = await finisher.finish(CONTENT, (signer,), NOW)
    second = await finisher.finish(CONTENT, (signer,), NOW + later_s)
    assert b"t=%d;" % (NOW + later_s) in second[0]
    assert first != second


async def test_other_signers_or_content_are_not_mixed_up(executor):
    finisher, other = Finisher(executor), CONTENT.replace(b"hello", b"hallo")
    for content in (CONTENT, other):
        for signers in ((RSA,), (ED,), (RSA, ED)):
            assert await finisher.finish(content, signers, NOW) == finish(content, signers, NOW)


async def test_many_messages_at_once_all_get_their_own(executor):
    finisher = Finisher(executor, max_threads=2)
    contents = [CONTENT + b"%d\r\n" % number for number in range(60)]
    results = await asyncio.gather(*[finisher.finish(content, (RSA,), NOW) for content in contents])
    assert results == [finish(content, (RSA,), NOW) for content in contents]


async def test_no_more_threads_are_used_than_allowed(executor):
    signer, finisher = CountingSigner(), Finisher(executor, max_threads=1)
    await asyncio.gather(*[finisher.finish(CONTENT + b"%d\r\n" % n, (signer,), NOW) for n in range(20)])
    assert len(signer.threads) == 20
    assert signer.most_at_once == 1


async def test_a_cancelled_caller_takes_nobody_along(executor):
    signer, finisher = CountingSigner(), Finisher(executor)
    signer.gate.clear()
    first, second = (asyncio.create_task(finisher.finish(CONTENT, (signer,), NOW)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    signer.gate.set()
    assert await second == finish(CONTENT, (RSA,), NOW)
    assert len(signer.threads) == 1


@pytest.mark.parametrize("threads", [True, False])
async def test_a_failure_is_told_and_does_not_stay(threads, executor):
    broken, finisher = BrokenSigner(), Finisher(executor if threads else None)
    for _ in range(2):
        with pytest.raises(ValueError, match="the key is gone"):
            await finisher.finish(CONTENT, (broken,), NOW)
    assert len(broken.threads) == 2
    assert await finisher.finish(CONTENT, (RSA,), NOW) == finish(CONTENT, (RSA,), NOW)
    assert finisher._held == len(CONTENT)


async def test_one_failure_in_a_batch_leaves_the_others_alone(executor):
    broken, good, finisher = BrokenSigner(), CountingSigner(), Finisher(executor)
    good.gate.clear()
    tasks = [asyncio.create_task(finisher.finish(CONTENT + b"0\r\n", (good,), NOW))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(finisher.finish(CONTENT, (signer,), NOW)) for signer in (broken, good)]
    await asyncio.sleep(0)
    good.gate.set()
    first, failed, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert first == finish(CONTENT + b"0\r\n", (RSA,), NOW)
    assert second == finish(CONTENT, (RSA,), NOW)


async def test_stopped_threads_are_an_error_and_not_a_hang():
    pool = ThreadPoolExecutor(1)
    finisher = Finisher(pool)
    pool.shutdown()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(finisher.finish(CONTENT, (RSA,), NOW), 5)


async def test_held_contents_are_bounded():
    finisher = Finisher(None, cache_octets=10_000)
    for number in range(50):
        await finisher.finish(CONTENT + b"x" * 1000 + b"%d\r\n" % number, (ED,), NOW)
        assert finisher._held <= 10_000
    await finisher.finish(LARGE, (ED,), NOW)
    assert finisher._held == len(LARGE)
    assert len(finisher._cache) == 1
