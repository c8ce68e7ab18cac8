"""What is in a post: of which kind, and how often a message is taken to pieces for it."""

import asyncio
import threading

import pytest

from mtad.inbound import posting
from mtad.inbound.payload import File, letter
from mtad.inbound.posting import Postings
from mtad.message.parse import parse
from mtad.message.postable import postable

SMALL = b"From: a@b.example\r\nSubject: x\r\n\r\ntext\r\n"
LARGE = SMALL + b"x" * 20_000 + b"\r\n"
WITH_FILE = (
    b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
    b'--b\r\nContent-Type: text/csv; name="a b.csv"\r\nContent-ID: <c@d>\r\n\r\n1;2\r\n--b--\r\n'
)
NOTICE = b'{"kind":"notify","key":"k","url":"http://x.example/v3/domains/d/messages/k","domain":"d.example"}'


class Counting:
    def __init__(self):
        self.times = 0

    def __call__(self, content):
        self.times += 1
        return letter(parse(content))


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def fields(counting):
    postings = Postings(counting)

    async def call(content=SMALL, personal=None, recipient="bob@ours.example", sender="ann@their.example"):
        return list(await postings.fields(content, recipient, sender, personal))

    return call


async def test_without_a_word_about_it_the_message_is_taken_to_pieces(fields):
    said = {one.name: one.value for one in await fields()}
    assert (said["recipient"], said["sender"]) == ("bob@ours.example", "ann@their.example")
    assert said["body-plain"].strip() == "text"


async def test_a_raw_post_is_not_taken_to_pieces(fields, counting):
    said = {one.name: one.value for one in await fields(personal=b'{"kind":"raw"}')}
    assert said["body-mime"] == SMALL.decode()
    assert counting.times == 0


async def test_a_long_message_is_made_a_raw_post_beside_the_loop(fields, monkeypatch):
    threads = []

    def noted(content):
        threads.append(threading.current_thread() is threading.main_thread())
        return postable(content)

    monkeypatch.setattr("mtad.inbound.payload.postable", noted)
    for content in (SMALL, LARGE):
        said = {one.name: one.value for one in await fields(content, b'{"kind":"raw"}')}
        assert said["body-mime"] == content.decode()
    assert threads == [True, False]


async def test_a_notice_tells_where_the_files_are_and_has_none(fields):
    found = await fields(WITH_FILE, NOTICE)
    assert not any(isinstance(one, File) for one in found)
    said = {one.name: one.value for one in found}
    assert said["message-url"] == "http://x.example/v3/domains/d/messages/k"
    assert '"url":"http://x.example/v3/domains/d/messages/k/attachments/1"' in said["attachments"]
    assert said["content-id-map"].startswith('{"<c@d>":{"url":')


async def test_one_message_is_read_once_for_all_its_posts(fields, counting):
    for recipient in ("a@ours.example", "b@ours.example", "c@ours.example"):
        assert (await fields(recipient=recipient))[0].value == recipient
    assert counting.times == 1


async def test_a_message_that_was_read_from_the_store_again_is_the_same(fields, counting):
    for content in (SMALL, LARGE):
        await asyncio.gather(*[fields(bytes(bytearray(content))) for _ in range(3)])
    assert counting.times == 2


async def test_messages_that_begin_alike_are_not_taken_for_each_other(fields, counting):
    for last in (b"a", b"b", b"a"):
        assert {one.name: one.value for one in await fields(LARGE + last)}["body-plain"].endswith(last.decode())
    assert counting.times == 3


async def test_so_many_messages_and_octets_are_kept_or_one_alone(counting, monkeypatch):
    postings = Postings(counting)

    async def fields(content):
        await postings.fields(content, "", "", None)

    for number in range(posting.KEPT + 10):
        await fields(b"Subject: %d\r\n\r\n" % number)
    assert len(postings._known) == posting.KEPT
    monkeypatch.setattr(posting, "KEPT_OCTETS", 3 * len(LARGE))
    for number in range(5):
        await fields(b"%d" % number + LARGE)
        assert postings._octets <= posting.KEPT_OCTETS
    assert len(postings._known) == 2
    await fields(LARGE * 4)
    assert len(postings._known) == 1


async def test_nothing_is_kept_when_nobody_asks_any_more(fields, counting, monkeypatch):
    monkeypatch.setattr(posting, "KEPT_S", 0.01)
    postings = Postings(counting)
    await postings.fields(LARGE, "", "", None)
    while postings._known:
        await asyncio.sleep(0)
    assert (postings._octets, postings._sweep) == (0, None)


async def test_what_could_not_be_read_is_read_again():
    answers = iter([ValueError("odd"), None])

    def parse_message(content):
        fault = next(answers)
        if fault:
            raise fault
        return letter(parse(content))

    postings = Postings(parse_message)
    with pytest.raises(ValueError):
        await postings.fields(LARGE, "", "", None)
    assert await postings.fields(LARGE, "", "", None)
