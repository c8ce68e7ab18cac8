"""What a route sends to a URL: where it goes, how it is encoded and signed, and what an answer comes to."""

import asyncio
import hashlib
import hmac
from email import message_from_bytes
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound.payload import File, Text, forwarded, letter, raw
from mtad.inbound.posting import Postings
from mtad.mail.envelope import Transaction
from mtad.mail.reply import Deferred, Delivered, Failed, Phase
from mtad.message.parse import parse
from mtad.webhooks.forward import WebTransport, form_of
from mtad.webhooks.memory import Memory
from mtad.webhooks.poster import Answer
from tests.virtualclock import VirtualClock

URL = "https://user:secret@App.Example/in?x=1"
MAIL = b"From: a@b.example\r\nSubject: x\r\n\r\ntext\r\n"
TAIL = [("timestamp", "1"), ("token", "ab" * 25), ("signature", "cd")]


class Poster:
    """answers: statuses or errors, one after the other; then 200."""

    def __init__(self, *answers):
        self.answers, self.posts = list(answers), []

    async def post(self, target, body):
        self.posts.append((target, body))
        said = self.answers.pop(0) if self.answers else 200
        return Answer(said, "", 0.5) if isinstance(said, int) else Answer(None, said, 0.5)


def transport(poster, fields_of=None, key="key-1"):
    async def fields(content, recipient, sender, personal):
        return [Text("recipient", recipient), Text("sender", sender), Text("body", content.decode())]

    tokens = iter(f"{n:050x}" for n in range(100))
    made = WebTransport(
        fields_of=fields_of or fields, signing_key=lambda: key, token=lambda: next(tokens), clock=VirtualClock(1.7e9)
    )
    made.poster = poster
    return made


def transaction(*urls, personal=None):
    tx = Transaction("ann@their.example", urls, (MAIL,), len(MAIL))
    tx.orcpt = tuple("rfc822;bob@ours.example" for _ in urls)
    tx.personal = tuple(personal for _ in urls)
    return tx


async def sent(poster, *urls):
    way = transport(poster)
    session = await way.open(way.known(urls[0]), "", False)
    return await session.send(transaction(*urls))


def fields_of(body):
    return parse_qsl(body.content.decode(), keep_blank_values=True)


def test_a_url_is_a_route_to_its_host_without_its_password():
    found = transport(None).known(URL)
    assert (found.domain, found.hosts[0].name, found.port, found.web) == ("app.example:443", "app.example", 443, True)
    assert "secret" not in repr(found)


async def test_a_url_that_nobody_can_post_to_fails_at_once_and_is_not_repeated_to_people():
    way = transport(Poster())
    assert way.known("http://u:secret@a:b/") is None
    failed = await way.route("http://u:secret@a:b/")
    assert isinstance(failed, Failed)
    assert "secret" not in str(failed)


async def test_before_the_poster_is_there_posts_wait():
    way = transport(None)
    way.poster = None
    assert isinstance(await way.open(way.known(URL), "", False), Deferred)


async def test_a_post_names_recipient_and_sender_and_is_signed_anew_each_time():
    poster = Poster(500)
    await sent(poster, URL)
    way = transport(poster)
    session = await way.open(way.known(URL), "", False)
    await session.send(transaction(URL))
    await session.send(transaction(URL))
    bodies = [fields_of(body) for _, body in poster.posts]
    assert bodies[1][:3] == [
        ("recipient", "bob@ours.example"),
        ("sender", "ann@their.example"),
        ("body", MAIL.decode()),
    ]
    assert [name for name, _ in bodies[1][-3:]] == ["timestamp", "token", "signature"]
    said = dict(bodies[2])
    assert said["token"] != dict(bodies[1])["token"]
    wanted = hmac.new(b"key-1", (said["timestamp"] + said["token"]).encode(), hashlib.sha256).hexdigest()
    assert said["signature"] == wanted
    target, _ = poster.posts[0]
    assert (target.url, target.authorization[:6]) == ("https://app.example/in?x=1", "Basic ")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_a_success_is_the_end(status):
    [outcome] = await sent(Poster(status), URL)
    assert isinstance(outcome, Delivered)
    assert (outcome.hop.host, outcome.hop.web, outcome.reply.code, outcome.took_s) == (
        "app.example:443",
        True,
        status,
        0.5,
    )


async def test_406_is_a_refusal_for_good():
    [outcome] = await sent(Poster(406), URL)
    assert isinstance(outcome, Failed)
    assert (outcome.reply.code, outcome.phase) == (406, Phase.HTTP)


@pytest.mark.parametrize("status", [101, 203, 206, 301, 302, 400, 401, 404, 410, 413, 429, 500, 502, 503, 599, 999])
async def test_any_other_answer_is_tried_again(status):
    [outcome] = await sent(Poster(status), URL)
    assert isinstance(outcome, Deferred)
    assert f"HTTP {status}" in outcome.reply.text


async def test_no_answer_is_tried_again_and_says_why_without_the_password():
    [outcome] = await sent(Poster("Connection refused"), URL)
    assert isinstance(outcome, Deferred)
    assert (outcome.reply.code, outcome.hop) == (499, None)
    assert outcome.reply.text == "app.example:443 gave no answer: Connection refused"


def test_without_files_a_form_is_urlencoded():
    body = form_of([Text("a", "1 & 2"), Text("a", "ü"), Text("b", "")], TAIL)
    assert body.content_type.startswith("application/x-www-form-urlencoded")
    assert fields_of(body) == [("a", "1 & 2"), ("a", "ü"), ("b", ""), *TAIL]


def test_with_files_it_is_multipart_and_every_octet_is_there():
    octets = bytes(range(256)) + b"\r\n--mtad-" + b"ab" * 25 + b"x--\r\n"
    file = File("attachment-1", 'Größe "2".bin', "text/csv; charset=utf-8", octets)
    body = form_of([Text("a", "ü"), file], TAIL)
    whole = message_from_bytes(b"Content-Type: " + body.content_type.encode() + b"\r\n\r\n" + body.content)
    text, posted, *tail = whole.get_payload()
    assert (text.get_param("name", header="content-disposition"), text.get_payload(decode=True)) == ("a", "ü".encode())
    assert posted.get_payload(decode=True) == octets
    assert posted["Content-Type"] == "text/csv; charset=utf-8"
    assert [part.get_param("name", header="content-disposition") for part in tail] == [name for name, _ in TAIL]


def test_a_type_that_is_none_is_not_passed_on():
    for said in ("text/csv; name=x", "text", "text/csv\r\nX-Evil: 1", "text/csv; charset=a\r\nX: 1", ""):
        body = form_of([File("attachment-1", "a", said, b"x")], TAIL)
        assert b"Content-Type: application/octet-stream\r\n" in body.content
        assert b"Evil" not in body.content


@pytest.mark.parametrize(
    "name", ['a"; name="timestamp', "a\r\nX-Evil: 1", "a\x00b", "\u202egnp.exe", "a;b\\c", "ü" * 300]
)
def test_a_file_name_stays_within_its_part(name):
    body = form_of([File("attachment-1", name, "text/plain\r\nX-Evil: 1", b"octets")], TAIL)
    whole = message_from_bytes(b"Content-Type: " + body.content_type.encode() + b"\r\n\r\n" + body.content)
    first, *rest = whole.get_payload()
    assert first.get_param("name", header="content-disposition") == "attachment-1"
    assert first["X-Evil"] is None
    assert [part.get_param("name", header="content-disposition") for part in rest] == [
        "timestamp",
        "token",
        "signature",
    ]


@given(st.binary(max_size=400), st.binary(max_size=60))
@settings(max_examples=60)
def test_a_post_can_be_made_of_any_octets(head, body):
    for content in (head + b"\r\n\r\n" + body, b"Subject: " + head + b"\r\nContent-Type: text/html\r\n\r\n" + body):
        for fields in (forwarded(letter(parse(content)), "a@b.example", ""), raw(content, "a@b.example", "")):
            assert form_of(list(fields), TAIL).content


async def test_the_kind_of_post_is_what_is_stored_with_the_copy():
    way = transport(Poster(), Postings().fields)
    kinds = {}
    for kind in (
        b'{"kind":"raw"}',
        b'{"kind":"forward"}',
        b'{"kind":"notify","url":"http://x/k","domain":"d.example"}',
    ):
        body = await way.body(transaction(URL, personal=kind), MAIL)
        kinds[kind] = {name for name, _ in fields_of(body)}
    assert [{"body-mime", "body-plain", "message-url"} & names for names in kinds.values()] == [
        {"body-mime"},
        {"body-plain"},
        {"body-plain", "message-url"},
    ]


@pytest.mark.parametrize("fault", [ValueError("odd"), MemoryError(), KeyError("x")])
async def test_a_fault_of_ours_while_a_post_is_made_is_tried_again(fault, caplog):
    faults, poster = [fault], Poster()

    async def fields(content, recipient, sender, personal):
        if faults:
            raise faults.pop()
        return [Text("body", content.decode())]

    way = transport(poster, fields)
    session = await way.open(way.known(URL), "", False)
    [deferred] = await session.send(transaction(URL))
    assert isinstance(deferred, Deferred)
    assert type(fault).__name__ in deferred.reply.text
    assert "post-not-made" in caplog.text
    assert poster.posts == []
    [taken] = await session.send(transaction(URL))
    assert isinstance(taken, Delivered)
    assert way.memory.used == 0


async def test_bytes_that_are_read_for_a_post_may_be_gone():
    async def nothing():
        return None

    tx = transaction(URL)
    tx.chunks, tx.read = (), nothing
    way = transport(Poster())
    session = await way.open(way.known(URL), "", False)
    [failed] = await session.send(tx)
    assert isinstance(failed, Failed)


class Heavy(Poster):
    """Holds every post until it is let go, and counts the octets that are held meanwhile, posts and messages."""

    def __init__(self):
        super().__init__()
        self.gate, self.held, self.most, self.reading = asyncio.Event(), 0, 0, 0

    async def read(self):
        self.reading += 1
        self.most = max(self.most, self.held + self.reading * len(BIG))
        await asyncio.sleep(0)
        return bytes(bytearray(BIG))

    async def post(self, target, body):
        self.reading -= 1
        self.held += len(body.content)
        self.most = max(self.most, self.held + self.reading * len(BIG))
        await self.gate.wait()
        self.held -= len(body.content)
        return await super().post(target, body)


BIG = MAIL + (b"x" * 78 + b"\r\n") * 3_000


async def test_twenty_large_posts_to_each_of_three_hosts_stay_within_a_bound():
    poster = Heavy()
    way = transport(poster)
    way.memory = Memory(8 * len(BIG))
    tasks = []
    for number in range(60):
        url = f"https://app{number % 3}.example/in"
        session = await way.open(way.known(url), "", False)
        tx = transaction(url)
        tx.chunks, tx.size, tx.read = (), len(BIG), poster.read
        tasks.append(asyncio.create_task(session.send(tx)))
    while poster.held < 6 * len(BIG):
        await asyncio.sleep(0)
    assert way.memory.used <= 8 * len(BIG)
    poster.gate.set()
    await asyncio.gather(*tasks)
    assert len(poster.posts) == 60
    assert poster.most <= 10 * len(BIG)  # the posts, and one message of which one is made
    assert way.memory.used == 0


async def test_posts_wait_for_each_other_only_within_a_session():
    poster, way = Poster(), None
    way = transport(poster)
    sessions = [await way.open(way.known(URL), "", False) for _ in range(3)]
    await asyncio.gather(*[session.send(transaction(URL, URL)) for session in sessions])
    assert len(poster.posts) == 6


@pytest.mark.parametrize(
    ("fields", "threads"),
    [
        ([Text("a", "x" * 10_000)], 0),
        ([Text("a", "x" * 100_000)], 1),
        ([Text(f"a{n}", "x") for n in range(400)], 1),
        ([File("attachment-1", "a", "a/b", b"x" * 100_000)], 1),
    ],
    ids=["short", "long", "many", "file"],
)
async def test_a_large_form_is_made_beside_the_loop(monkeypatch, fields, threads):
    async def given(content, recipient, sender, personal):
        return fields

    used = []
    whole = asyncio.to_thread
    monkeypatch.setattr(asyncio, "to_thread", lambda *a: used.append(a[0]) or whole(*a))
    body = await transport(Poster(), given).body(transaction(URL), MAIL)
    assert len(used) == threads
    assert b"signature" in body.content
