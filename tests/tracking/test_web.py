import asyncio
import re
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from ipaddress import ip_network

import pytest
from aiohttp.web import TCPSite
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtad.api.connections import Connections
from mtad.api.server import Runner
from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.mail.metric import Metric
from mtad.mail.token import PATHS, Purpose
from mtad.storage import suppressions
from mtad.storage.suppressions import Table
from mtad.tracking import pages, web
from mtad.tracking.settings import TrackingSettings
from mtad.tracking.web import location_of
from tests.tracking.house import BOB, EVE, TOKENS, open_house

UNSUBSCRIBES = (Purpose.UNSUBSCRIBE, Purpose.UNSUBSCRIBE_TAGS, Purpose.UNSUBSCRIBE_LIST)
TARGET = "https://shop.example/a?b=1&c=2#d"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path) as house:
        yield house


@pytest.fixture
async def asking(tmp_path):
    async with open_house(tmp_path, TrackingSettings(unsubscribe_on_get=False)) as house:
        yield house


class Form(HTMLParser):
    """The one form of a page, as a browser would send it."""

    def __init__(self, text):
        super().__init__()
        self.method, self.action, self.fields, self.tags = None, None, {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        if tag == "form":
            self.method, self.action = given.get("method"), given.get("action")
        if tag == "input":
            self.fields[given["name"]] = given["value"]


async def test_a_recipient_opens_clicks_and_leaves(house):
    pixel = await house.ask(house.path(Purpose.OPEN))
    assert (pixel.status, pixel.headers["Content-Type"], pixel.body) == (200, "image/gif", pages.PIXEL)
    assert pixel.headers["Cache-Control"] == "no-store"
    click = await house.ask(house.path(Purpose.CLICK, BOB, TARGET))
    assert (click.status, click.headers["Location"], click.body) == (302, TARGET, b"")
    left = await house.ask(house.path(Purpose.UNSUBSCRIBE))
    assert (left.status, left.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "You are unsubscribed" in left.text
    await house.written(3)
    opened, clicked, gone = await house.events()
    assert [event[0] for event in (opened, clicked, gone)] == [
        EventType.OPENED,
        EventType.CLICKED,
        EventType.UNSUBSCRIBED,
    ]
    assert {event[1] for event in (opened, clicked, gone)} == {BOB}
    assert clicked[2]["url"] == TARGET
    assert opened[2]["ip"] == "127.0.0.1"
    assert opened[2]["client-info"]["client-name"] == "Firefox"
    assert opened[2]["geolocation"] == {"country": "Unknown", "region": "Unknown", "city": "Unknown"}
    assert gone[2]["tags"] == ["*"]
    assert await house.counted() == {
        Metric.OPENED: 1,
        Metric.OPENED_UNIQUE: 1,
        Metric.CLICKED: 1,
        Metric.CLICKED_UNIQUE: 1,
        Metric.UNSUBSCRIBED: 1,
    }
    found = await house.database.read(lambda c: suppressions.find(c, 1, "r0@b.example", ()))
    assert found is not None
    assert house.noted == [(1, "r0@b.example")]


async def test_the_same_link_again_is_another_event_but_one_unsubscribe(house):
    for _ in range(3):
        await house.ask(house.path(Purpose.OPEN))
        assert (await house.ask(house.path(Purpose.UNSUBSCRIBE))).status == 200
    await house.ask(house.path(Purpose.OPEN, EVE))
    await house.written(7)
    kinds = [event[0] for event in await house.events()]
    assert (kinds.count(EventType.OPENED), kinds.count(EventType.UNSUBSCRIBED)) == (4, 1)
    assert (await house.counted())[Metric.OPENED_UNIQUE] == 2


async def test_head_is_answered_like_get_and_records_nothing(house):
    for purpose in Purpose:
        if purpose in PATHS:
            target = TARGET if purpose is Purpose.CLICK else ""
            response = await house.ask(house.path(purpose, BOB, target), "HEAD")
            assert response.status == (302 if purpose is Purpose.CLICK else 200)
            assert response.body == b""
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    await house.ask(house.path(Purpose.OPEN))
    await house.written(1)
    assert house.recorder.recorded == 1


@pytest.mark.parametrize("purpose", UNSUBSCRIBES)
async def test_each_kind_of_leaving_has_its_words_and_tags(house, purpose):
    page = await house.ask(house.path(purpose))
    assert page.headers["Content-Security-Policy"] == pages.POLICY
    assert pages.DONE[purpose] == page.body
    await house.written(1)
    [(_, _, detail)] = await house.events()
    assert detail["tags"] == (["News", "Sale"] if purpose is Purpose.UNSUBSCRIBE_TAGS else ["*"])


async def test_where_the_page_asks_first_its_form_unsubscribes(asking):
    path = asking.path(Purpose.UNSUBSCRIBE_TAGS)
    asked = await asking.ask(path)
    form = Form(asked.text)
    assert (asked.status, form.method, form.action) == (200, "post", None)
    assert not {"script", "img", "link", "iframe"} & set(form.tags)
    done = await asking.ask(path, "POST", data=form.fields)
    assert "You are unsubscribed" in done.text
    await asking.written(1)
    assert asking.recorder.recorded == 1
    found = await asking.database.read(lambda c: suppressions.get(c, Table.UNSUBSCRIBES, 1, "r0@b.example"))
    assert found.tags == ("news", "sale")


@pytest.mark.parametrize(
    "body",
    [
        b"List-Unsubscribe=One-Click",
        b"list-unsubscribe=one-click&x=y",
        b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
        b"--b\r\nContent-Disposition: form-data; name=List-Unsubscribe\r\nX: y\r\n\r\nOne-Click\r\n--b--\r\n",
    ],
)
async def test_one_click_of_a_mail_program_needs_no_question(asking, body):
    done = await asking.ask(asking.path(Purpose.UNSUBSCRIBE), "POST", data=body)
    assert (done.status, "Location" in done.headers, "Set-Cookie" in done.headers) == (200, False, False)
    await asking.written(1)
    assert [event[0] for event in await asking.events()] == [EventType.UNSUBSCRIBED]


@pytest.mark.parametrize("body", [b"", b"x=y", b"List-Unsubscribe=No", b"\xff\xfe", b"&".join([b"a=b"] * 500)])
async def test_a_post_that_says_nothing_of_the_kind_is_asked(house, body):
    response = await house.ask(house.path(Purpose.UNSUBSCRIBE), "POST", data=body)
    assert response.status == 400
    assert Form(response.text).fields == ONE_CLICK
    assert house.recorder.recorded == 0


async def test_a_large_body_is_refused(house):
    response = await house.ask(house.path(Purpose.UNSUBSCRIBE), "POST", data=b"x" * (web.MAX_BODY + 1))
    assert response.status == 413

    async def pieces():
        for _ in range(10):
            yield b"x" * 1000

    response = await house.ask(house.path(Purpose.UNSUBSCRIBE), "POST", data=pieces())
    assert response.status == 413
    assert house.recorder.recorded == 0


async def test_a_body_that_does_not_come_ends_in_time(house, monkeypatch):
    monkeypatch.setattr(web, "BODY_S", 0.01)
    path = house.path(Purpose.UNSUBSCRIBE)
    base = house.session._base_url
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList-".encode())
    async with asyncio.timeout(5):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_who_leaves_before_he_has_said_it_is_no_crash_and_not_unsubscribed(house, caplog):
    path, base = house.path(Purpose.UNSUBSCRIBE), house.session._base_url
    _, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList-".encode())
    await house.ask("/o/x")  # the server has read what was written before
    writer.transport.abort()
    for _ in range(20):
        await asyncio.sleep(0)
    await house.ask("/o/x")
    assert not any("request-crashed" in record.getMessage() for record in caplog.records)
    assert house.recorder.recorded == 0


async def test_a_prefetch_unsubscribes_nobody_and_counts_as_no_person(house):
    ahead = {"Sec-Purpose": "prefetch;prerender"}
    asked = await house.ask(house.path(Purpose.UNSUBSCRIBE), headers=ahead)
    assert asked.body == pages.ASK[Purpose.UNSUBSCRIBE]
    await house.ask(house.path(Purpose.CLICK, BOB, TARGET), headers=ahead)
    await house.written(1)
    [(_, _, detail)] = await house.events()
    assert detail["client-info"]["bot"] == "prefetch"
    assert Metric.CLICKED_UNIQUE not in await house.counted()


async def test_scanners_are_redirected_and_told_apart(house):
    for agent in ("curl/8.0", "Mozilla/5.0", "GoogleImageProxy"):
        response = await house.ask(house.path(Purpose.CLICK, BOB, TARGET), headers={"User-Agent": agent})
        assert response.status == 302
    await house.written(3)
    assert [event[2]["client-info"]["bot"] for event in await house.events()] == ["generic", "apple", "gmail"]
    assert Metric.CLICKED_UNIQUE not in await house.counted()


@pytest.mark.parametrize(
    ("purpose", "method"),
    [
        *((purpose, method) for purpose in PATHS for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
        (Purpose.OPEN, "POST"),
        (Purpose.CLICK, "POST"),
    ],
)
async def test_other_methods_are_told_which_there_are(house, purpose, method):
    response = await house.ask(house.path(purpose, BOB, TARGET), method)
    assert response.status == 405
    assert response.headers["Allow"].startswith("GET, HEAD")
    assert house.recorder.recorded == 0


async def test_a_token_for_one_thing_is_none_for_another(house):
    for purpose in PATHS:
        for other in PATHS:
            if other is not purpose:
                path = PATHS[other] + TOKENS.link(purpose, BOB, TARGET)
                assert (await house.ask(path)).status == 404
    assert house.recorder.recorded == 0


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/o",
        "/o/",
        "/c/",
        "/u/",
        "/x/abc",
        "/o/abc/",
        "//",
        "/o//x",
        "/c/%00",
        "/o/%ff%fe",
        "/u/?x=y",
        "/robots.txt",
    ],
)
async def test_what_is_no_link_is_a_404_with_words(house, path):
    response = await house.ask(path)
    assert response.status == 404
    assert "does not work" in response.text
    assert response.headers["Server"] == "mtad"


async def test_words_behind_a_token_make_it_another(house):
    token = house.path(Purpose.OPEN)
    for wrong in (token + "/", token + "/x", token + "A", token + "=", token[:-1], token + "%00"):
        assert (await house.ask(wrong)).status == 404
    for same in (token + "?utm_source=x", token + "?"):
        assert (await house.ask(same)).status == 200


def test_no_changed_token_passes():
    """Every bit of a token of each kind, and every character of its text."""
    for purpose in PATHS:
        text = TOKENS.link(purpose, BOB, "https://x.example/")
        for place in range(len(text)):
            for bit in range(7):
                changed = text[:place] + chr(ord(text[place]) ^ 1 << bit) + text[place + 1 :]
                assert TOKENS.read_link(purpose, changed) is None, (purpose, place, bit)
        assert TOKENS.read_link(purpose, text).recipient_id == BOB


@given(
    purpose=st.sampled_from(list(PATHS)),
    recipient=st.integers(0, 2**63 - 1),
    target=st.text(max_size=200),
    place=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_a_token_says_what_was_put_in_and_one_bit_spoils_it(purpose, recipient, target, place, bit):
    text = TOKENS.link(purpose, recipient, target)
    mark = TOKENS.read_link(purpose, text)
    assert (mark.purpose, mark.recipient_id, mark.target) == (purpose, recipient, target)
    place %= len(text)
    changed = text[:place] + chr(ord(text[place]) ^ 1 << bit) + text[place + 1 :]
    assert TOKENS.read_link(purpose, changed) is None


@given(text=st.text(max_size=300))
@example("A" * 9000)
@example("\udcff")
def test_any_text_is_read_without_harm(text):
    for purpose in PATHS:
        assert TOKENS.read_link(purpose, text) is None


@settings(max_examples=50)
@given(data=st.data())
def test_garbage_is_never_a_500(data):
    lines = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["GET", "HEAD", "POST"]),
                st.sampled_from(["/o/", "/c/", "/u/", "/ut/", "/ul/", "/"]),
                st.binary(max_size=60).map(lambda raw: bytes(b for b in raw if b > 32 and b != 127)),
            ),
            min_size=1,
            max_size=5,
        )
    )

    async def ask():
        async with garbage_server() as port:
            for method, path, rest in lines:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = method.encode() + b" " + path.encode() + rest + b" HTTP/1.1\r\nHost: x\r\nConnection: close"
                writer.write(head + b"\r\nUser-Agent: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
                status = int((await reader.readline()).split()[1])
                await reader.read()
                writer.close()
                await writer.wait_closed()
                assert status in (400, 404, 405), head

    asyncio.run(ask())


class Never:
    def note(self, hit):
        raise AssertionError("garbage was taken for a link")


@asynccontextmanager
async def garbage_server():
    """The handler alone, without a store."""
    tracking = web.TrackingPages(
        tokens=TOKENS, recorder=Never(), clock=SystemClock(), settings=TrackingSettings(), unwell=lambda: None
    )
    runner = Runner(tracking.app(), lambda: "request-1", Connections(1000, 1000))
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_very_long_path_is_refused(house):
    assert (await house.ask("/c/" + "A" * 9000)).status == 404
    assert (await house.ask("/c/" + "A" * 17_000)).status == 400


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (TARGET, TARGET),
        ("HTTP://X.example", "HTTP://X.example"),
        ("https://x.example/a b", "https://x.example/a%20b"),
        ("https://bücher.example:81/ü?q=é#ß", "https://xn--bcher-kva.example:81/%C3%BC?q=%C3%A9#%C3%9F"),
        ("https://x.example/%zz%41{}|", "https://x.example/%zz%41%7B%7D%7C"),
        ("http://[2001:db8::1]:8/x", "http://[2001:db8::1]:8/x"),
    ],
)
def test_a_target_becomes_a_legal_location(target, location):
    assert location_of(target) == location


@pytest.mark.parametrize(
    "target",
    [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://x.example/",
        "//x.example/",
        "/x",
        "https:x",
        "https://",
        "https:///x",
        "https://@/",
        "https://?x",
        "https://x.example/\r\nSet-Cookie: a=b",
        "https://x.example/\x00",
        "\thttps://x.example/",
        "https://x.example/\udcff",
        "https://ex ample/",
        "https://x.example/" + "a" * 9000,
    ],
)
def test_nobody_is_sent_elsewhere(target):
    assert location_of(target) is None


@given(text=st.text(max_size=80))
@example("\u2028")
def test_a_location_is_one_line_of_ascii_with_a_web_scheme(text):
    for target in (text, "https://" + text, "https://x.example/" + text):
        location = location_of(target)
        assert location is None or re.fullmatch(r"(?i)https?://[!-~]+", location)


async def test_a_click_with_a_signed_target_of_another_scheme_goes_nowhere(house):
    response = await house.ask(house.path(Purpose.CLICK, BOB, "javascript:alert(1)"))
    assert (response.status, "Location" in response.headers) == (404, False)
    assert house.recorder.recorded == 0


async def test_one_address_cannot_ask_without_end(tmp_path):
    async with open_house(tmp_path, TrackingSettings(requests_per_s=0.01, burst=5)) as house:
        statuses = [(await house.ask(house.path(Purpose.OPEN))).status for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        await house.written(5)


async def test_behind_a_proxy_it_is_the_clients_address_that_counts(tmp_path):
    proxied = TrackingSettings(proxies=(ip_network("127.0.0.0/8"),), requests_per_s=0.01, burst=1)
    async with open_house(tmp_path, proxied) as house:
        for address in ("192.0.2.7", "6.6.6.6, 2001:db8::1, 127.0.0.9"):
            headers = {"X-Forwarded-For": address}
            assert (await house.ask(house.path(Purpose.OPEN), headers=headers)).status == 200
        await house.written(2)
        assert [event[2]["ip"] for event in await house.events()] == ["192.0.2.7", "2001:db8::1"]


async def test_while_the_store_is_unwell_nobody_is_told_that_he_left(house):
    house.trouble = "disk I/O error"
    response = await house.ask(house.path(Purpose.UNSUBSCRIBE))
    assert (response.status, response.headers["Retry-After"]) == (503, "120")
    assert "nothing was changed" in response.text
    click = await house.ask(house.path(Purpose.CLICK, BOB, TARGET))
    assert click.status == 302
    await house.written(1)
    assert [event[0] for event in await house.events()] == [EventType.CLICKED]


async def test_a_fault_of_ours_is_a_plain_500(house, monkeypatch):
    monkeypatch.setattr(house.recorder, "note", None)
    response = await house.ask(house.path(Purpose.OPEN))
    assert response.status == 500
    assert "our fault" in response.text


async def test_in_a_larger_application_only_our_paths_are_ours(tmp_path):
    async with open_house(tmp_path, whole_app=False) as house:
        assert (await house.ask(house.path(Purpose.OPEN))).status == 200
        assert (await house.ask(house.path(Purpose.UNSUBSCRIBE_TAGS), "POST", data=ONE_CLICK)).status == 200
        assert "does not work" in (await house.ask("/c/forged")).text
        assert (await house.ask("/v3/domains")).status == 404
        await house.written(2)


def test_the_pages_can_be_read_without_style_or_script():
    for page in (*pages.ASK.values(), *pages.DONE.values(), pages.NOT_FOUND, pages.LATER):
        text = page.decode()
        tags = Form(text).tags
        assert tags[0] == "html"
        assert '<html lang="en">' in text
        assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
        assert "script" not in tags
        assert re.search(r"https?:|src=|javascript", text) is None


def test_the_pixel_is_a_transparent_gif_of_one_pixel():
    assert pages.PIXEL[:6] == b"GIF89a"
    assert pages.PIXEL[6:10] == b"\x01\x00\x01\x00"
    assert len(pages.PIXEL) == 43
