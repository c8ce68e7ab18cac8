import asyncio
import gzip
import io
import logging
import zlib
from dataclasses import replace

import aiohttp
import pytest

from mtad.api.http.bodies import GROWTH
from mtad.api.http.limits import PER_MINUTE
from mtad.clock import SystemClock
from tests.api.http.chapter import Chapter
from tests.api.http.house import DOMAIN, KEY, OTHER, open_house, serve

ECHO = f"/v3/{DOMAIN}/things/"


class StillClock(SystemClock):
    """Sleeps end at once and are written down; the steady clock stands still."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def steady(self) -> float:
        return 1000.0

    async def sleep(self, wait_s: float) -> None:
        self.slept.append(wait_s)
        await asyncio.sleep(0)


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, StillClock()) as house:
        yield house


@pytest.fixture
async def client(house):
    async with serve(house, [Chapter()]) as client:
        yield client


# --- paths ---


async def test_a_row_answers_under_every_version_and_v2_alone_is_old(client):
    for version in (1, 2, 3, 4, 5):
        found = await client.json("GET", f"/v{version}/lists")
        assert (found["version"], found["old"]) == (version, version == 2)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "//", "/v3", "/v3/", "/v9/lists", "/v33/lists", "/lists", f"/{DOMAIN}/things/x", f"/v3/{DOMAIN}"),
        *(f"/v3/{DOMAIN}/things", f"/v3/{DOMAIN}/things/%ff", "/v3/nowhere.example/nothing", "/v3/stats/things/x"),
        *("/v3/lists/a/b", "/v3" + "/x" * 40),
    ],
)
async def test_an_unknown_path_is_404_and_json(client, path):
    response = await client("GET", path)
    assert (response.status, await response.json()) == (404, {"message": "Not Found"})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (ECHO + "a+b@x.org", "a+b@x.org"),
        (ECHO + "a%2Bb%40x.org", "a+b@x.org"),
        (ECHO + "a%2Fb", "a/b"),
        (ECHO + "a%20b", "a b"),
        (ECHO + "b%C3%BCro", "b\xfcro"),
        (f"//v3//{DOMAIN}///things//x/", "x"),
        (f"/V3/{DOMAIN.upper()}/things/X", "X"),
        (ECHO + "x?", "x"),
    ],
)
async def test_segments_are_decoded_after_the_path_is_split(client, path, name):
    found = await client.json("GET", path)
    assert (found["variables"]["name"], found["domain"]) == (name, DOMAIN)


async def test_a_literal_segment_goes_before_a_variable(client):
    assert "paging" in await client.json("GET", "/v3/lists/pages")
    assert (await client.json("GET", "/v3/lists/dev%40x.org"))["variables"] == {"address": "dev@x.org"}


async def test_another_domain_is_told_to_be_none(client):
    assert await client.json("GET", "/v3/nowhere.example/things/x", 404) == {
        "message": "Domain not found: nowhere.example"
    }


async def test_another_method_is_405_and_says_which_there_are(client):
    response = await client("PATCH", "/v3/lists")
    assert (response.status, response.headers["Allow"]) == (405, "DELETE, GET, POST, PUT")
    assert await response.json() == {"message": "Method Not Allowed"}


async def test_head_is_answered_like_get_without_a_body(client):
    response = await client("HEAD", "/v3/lists")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0


# --- keys ---


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic !!!", "Bearer " + KEY, "Basic YXBp", "Basic /w=="])
async def test_without_a_right_key_nothing_is_told(client, authorization):
    response = await client("GET", "/v3/lists", key=None, headers={"Authorization": authorization})
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="MG API"'
    assert await response.json() == {"message": "Forbidden"}


async def test_only_the_word_basic_may_be_in_any_case(client):
    right = aiohttp.encode_basic_auth("api", KEY)
    assert (await client("GET", "/v3/lists", headers={"Authorization": "bASIC" + right[5:]})).status == 200
    for user, key in (("API", KEY), ("apx", KEY), ("api", KEY.upper()), ("api", "")):
        headers = {"Authorization": aiohttp.encode_basic_auth(user, key)}
        assert (await client("GET", "/v3/lists", headers=headers)).status == 401


async def test_an_open_row_needs_no_key(client):
    assert (await client.json("GET", "/v3/address/open", key=None))["key"] == ""


async def test_a_sending_key_opens_the_sending_rows_of_its_domain_alone(client, house):
    await house.add_key("of-the-domain", DOMAIN)
    await client.json("POST", f"/v3/{DOMAIN.upper()}/upload", key="of-the-domain")
    for method, path in (
        ("POST", f"/v3/{OTHER}/upload"),
        ("POST", "/v3/unheard.example/upload"),
        ("GET", ECHO + "x"),
        ("GET", "/v3/lists"),
    ):
        found = await client.json(method, path, 403, key="of-the-domain")
        assert found == {"message": f"This key may only send messages of {DOMAIN}"}


async def test_a_lent_key_sends_for_its_domain(client, house):
    key = house.keys.lend(DOMAIN)
    await client.json("POST", f"/v3/{DOMAIN}/upload", key=key)
    await client.json("GET", "/v3/lists", 403, key=key)


async def test_a_revoked_key_opens_nothing(client, house):
    await house.add_key("another")
    await client.json("GET", "/v3/lists", key="another")
    await house.database.writer.write(lambda c: c.execute("DELETE FROM api_keys WHERE name = 'a test'"))
    await house.keys.load()
    await client.json("GET", "/v3/lists", 401, key="another")


async def test_who_guesses_keys_waits_longer_each_time_and_a_right_key_never(client, house):
    for _ in range(8):
        assert (await client("GET", "/v3/lists", key="guess")).status == 401
    await client.json("GET", "/v3/lists")
    assert house.clock.slept == [0.25, 0.5, 1.0, 2.0, 4.0]


# --- what comes in ---


async def test_query_and_form_are_one_list_in_order(client):
    found = await client.json(
        "POST", "/v3/lists?a=1&b=%2B+%20&c", data=b"a=2&to%5B%5D=x&to[0]=y&=&z=%C3%A4",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert found["params"] == [
        *(["a", "1"], ["b", "+  "], ["c", ""], ["a", "2"], ["to", "x"], ["to", "y"], ["", ""], ["z", "\xe4"])
    ]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_every_method_may_have_a_form(client, method):
    found = await client.json(method, "/v3/lists?limit=1", data={"limit": "2"})
    assert found["params"] == [["limit", "1"], ["limit", "2"]]


async def test_a_json_body_gives_parameters_too(client):
    sent = {"to": ["a", "b"], "n": 2, "f": 0.5, "yes": True, "none": None, "o": {"x": [1]}, "l": [{"y": 1}]}
    found = await client.json("POST", "/v3/lists", json=sent)
    assert found["body"] == sent
    assert found["params"] == [
        *(["to", "a"], ["to", "b"], ["n", "2"], ["f", "0.5"], ["yes", "true"], ["none", ""]),
        *(["o", '{"x":[1]}'], ["l", '[{"y":1}]']),
    ]


async def test_json_that_calls_itself_a_form_is_read_as_json(client):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    found = await client.json("DELETE", "/v1/lists", data=b'[{"address": "a"}]', headers=headers)
    assert (found["body"], found["params"]) == ([{"address": "a"}], [])


async def test_files_come_with_name_type_and_octets(client):
    data = aiohttp.FormData(quote_fields=False)
    data.add_field("file", b"one", filename="\u65e5 a.txt", content_type="text/plain; charset=koi8-r")
    data.add_field("plain", "text")
    found = await client.json("POST", f"/v3/{DOMAIN}/upload", data=data)
    assert found["files"] == [["file", "\u65e5 a.txt", "text/plain; charset=koi8-r", "one"]]
    assert found["params"] == [["plain", "text"]]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{", "application/json", "request body is not valid JSON"),
        (b"a=%ff", "application/x-www-form-urlencoded", "the text of a parameter is not UTF-8"),
        (b"<a/>", "text/xml", "request body is of the type text/xml; send a form or JSON"),
        (b"x", "multipart/form-data", "request body is not valid multipart/form-data"),
        (b"x", "multipart/form-data; boundary=b", "request body is not valid multipart/form-data"),
        (b"--b\r\n\r\nx", "multipart/form-data; boundary=b", "request body is not valid multipart/form-data"),
    ],
)
async def test_a_body_that_cannot_be_read_is_400(client, body, kind, said):
    assert await client.json("POST", "/v3/lists", 400, data=body, headers={"Content-Type": kind}) == {"message": said}


async def test_a_gzipped_body_is_inflated_up_to_the_limit(house):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    async with serve(house, [Chapter()], max_body_octets=1_048_576) as client:
        found = await client.json("POST", "/v3/lists", data=gzip.compress(b"a=1"), headers=headers)
        assert found["params"] == [["a", "1"]]
        bomb = gzip.compress(b"a" * 50_000_000)
        assert len(bomb) < 100_000
        assert (await client("POST", "/v3/lists", data=bomb, headers=headers)).status == 413
        assert (await client("POST", "/v3/lists", data=zlib.compress(b"x")[3:], headers=headers)).status == 400


async def test_a_chunked_body_of_unknown_size_has_the_same_limit(house):
    async def pieces(count):
        for _ in range(count):
            yield b"x" * 65_536

    async with serve(house, [Chapter()], max_body_octets=1_048_576) as client:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await client("POST", "/v3/lists", data=pieces(15), headers=form)).status == 200
        response = await client("POST", "/v3/lists", data=pieces(40), headers=form)
        assert (response.status, await response.json()) == (413, {"message": "The request body is larger than 1 MiB"})


async def test_a_large_body_comes_back_whole(client):
    content = bytes(range(97, 123)) * 20_000
    data = aiohttp.FormData()
    data.add_field("file", io.BytesIO(content), filename="a")
    found = await client.json("POST", f"/v3/{DOMAIN}/upload", data=data)
    assert found["files"][0][3] == content.decode()


async def test_large_bodies_wait_on_disk_until_there_is_memory_for_them(house):
    def upload():
        data = aiohttp.FormData()
        data.add_field("file", io.BytesIO(b"x" * 1_000_000), filename="a")
        return data

    chapter = Chapter()
    async with serve(house, [chapter], body_memory_octets=2 * GROWTH * 1_048_576) as client:
        sends = [client.json("POST", f"/v3/{DOMAIN}/slow", data=upload()) for _ in range(10)]
        assert await asyncio.gather(*sends) == [[1_000_000]] * 10
    assert 1 <= chapter.most <= 2


async def test_large_bodies_have_a_limit_together_and_later_there_is_room_again(house, monkeypatch):
    monkeypatch.setattr("mtad.api.http.bodies.ON_DISK", 1_500_000)
    data, kind = b"a=" + b"x" * 1_000_000, {"Content-Type": "application/x-www-form-urlencoded"}
    async with serve(house, [Chapter()]) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(client.base.rpartition(":")[2]))
        basic = aiohttp.encode_basic_auth("api", KEY)
        head = f"POST /v3/lists HTTP/1.1\r\nHost: x\r\nAuthorization: {basic}\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data[:-1])
        async with asyncio.timeout(5):
            while (await client("POST", "/v3/lists", data=data, headers=kind)).status != 503:
                pass
        writer.write(data[-1:])
        assert (await reader.readline()).split()[1] == b"200"
        assert (await client("POST", "/v3/lists", data=data, headers=kind)).status == 200
        writer.close()
        await writer.wait_closed()


async def test_a_body_that_the_disk_does_not_take_is_503_and_small_ones_are_answered(house):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with serve(replace(house, folder=house.folder / "no-disk"), [Chapter()]) as client:
        response = await client("POST", "/v3/lists", data=b"a=" + b"x" * 100_000, headers=kind)
        assert (response.status, "disk" in (await response.json())["message"]) == (503, True)
        assert (await client("POST", "/v3/lists", data=b"a=1", headers=kind)).status == 200


async def test_a_body_that_does_not_come_is_408(house, monkeypatch):
    monkeypatch.setattr("mtad.api.http.bodies.PIECE_S", 0.05)
    async with serve(house, [Chapter()]) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(client.base.rpartition(":")[2]))
        basic = aiohttp.encode_basic_auth("api", KEY)
        writer.write(
            f"POST /v3/lists HTTP/1.1\r\nHost: x\r\nAuthorization: {basic}\r\nContent-Length: 9\r\n\r\na=".encode()
        )
        assert (await reader.readline()).split()[1] == b"408"
        writer.close()
        await writer.wait_closed()


async def test_who_leaves_in_the_middle_of_a_body_is_no_crash(house, caplog):
    basic = aiohttp.encode_basic_auth("api", KEY)
    head = f"POST /v3/lists HTTP/1.1\r\nHost: x\r\nAuthorization: {basic}\r\nContent-Length: 9\r\n\r\na="
    with caplog.at_level(logging.INFO, "mtad"):
        async with serve(house, [Chapter()]) as client:
            _, writer = await asyncio.open_connection("127.0.0.1", int(client.base.rpartition(":")[2]))
            writer.write(head.encode())
            await client("GET", "/v3/lists")  # the server has read what was written before
            writer.transport.abort()
            async with asyncio.timeout(5):
                while not any("status=400" in record.getMessage() for record in caplog.records):
                    await asyncio.sleep(0)
    assert not any("request-crashed" in record.getMessage() for record in caplog.records)


async def test_the_percent_signs_of_a_large_form_are_read_beside_the_loop(client):
    data = b"a=" + b"%41" * 200_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    found = await client.json("POST", f"/v3/{DOMAIN}/upload", data=data, headers=kind)
    assert found["params"] == [["a", "A" * 200_000]]


# --- what goes out ---


async def test_every_answer_has_an_id_of_its_own_and_tells_no_versions(client):
    first, second = [await client("GET", path) for path in ("/v3/lists", "/nowhere")]
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert {one.headers["Server"] for one in (first, second)} == {"mtad"}
    assert first.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_a_crash_is_told_in_the_log_under_its_id_and_nowhere_else(client, caplog):
    with caplog.at_level(logging.INFO, "mtad"):
        response = await client("GET", "/v3/ips/crash")
    assert (response.status, await response.json()) == (500, {"message": "Internal error"})
    line = next(record for record in caplog.records if "request-crashed" in record.getMessage())
    assert f"req={response.headers['X-Request-Id']}" in line.getMessage()
    assert line.exc_info


async def test_what_is_wrong_is_said_with_all_its_members(client):
    assert await client.json("GET", "/v3/ips/wrong", 400) == {"message": "this is wrong", "hint": "that"}


async def test_a_key_is_never_in_the_log(client, caplog):
    with caplog.at_level(logging.DEBUG, "mtad"):
        await client("POST", "/v3/lists?token=SECRET", data={"password": "SECRET"})
        for _ in range(5):
            await client("POST", "/v3/lists", key="SECRET")
    assert "SECRET" not in caplog.text
    assert KEY not in caplog.text


# --- links ---


async def test_links_lead_where_the_caller_came_in_or_where_the_configuration_says(client, house):
    found = await client.json("GET", "/v3//lists/?x=1")
    assert found["url"] == f"{client.base}/v3/lists"
    assert (await client.json("GET", "/v3/lists", headers={"Host": "mail.example:99"}))["url"].startswith(
        "http://mail.example:99/"
    )
    assert (await client.json("GET", "/v3/lists", headers={"Host": "a<b"}))["url"].startswith("http://localhost/")
    async with serve(house, [Chapter()], base_url="https://api.example") as other:
        assert (await other.json("GET", "/v2/lists/a%2Bb"))["url"] == "https://api.example/v2/lists/a%2Bb"


async def test_pages_lead_forward_and_back_and_keep_their_filters(client):
    path, seen = "/v3/lists/pages?limit=3&term=x", []
    while True:
        found = await client.json("GET", path)
        assert set(found["paging"]) == {"first", "next", "previous", "last"}
        assert all("term=x" in link and "limit=3" in link for link in found["paging"].values())
        if not found["items"]:
            break
        seen += found["items"]
        path = found["paging"]["next"].removeprefix(client.base)
    assert seen == [f"{letter}+1@x.org" for letter in "abcdefg"]
    last = await client.json("GET", found["paging"]["last"].removeprefix(client.base))
    assert last["items"] == seen[-3:]
    before = await client.json("GET", last["paging"]["previous"].removeprefix(client.base))
    assert before["items"] == seen[1:4]
    assert (await client.json("GET", last["paging"]["first"].removeprefix(client.base)))["items"] == seen[:3]


async def test_a_second_limit_on_a_link_is_no_harm(client):
    found = await client.json("GET", "/v3/lists/pages?limit=3")
    again = await client.json("GET", found["paging"]["next"].removeprefix(client.base) + "&limit=2")
    assert again["items"] == ["d+1@x.org", "e+1@x.org"]
    assert await client.json("GET", "/v3/lists/pages?page=sideways", 400)


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ("", [100, 0]),
        ("?limit=5&skip=2", [5, 2]),
        ("?limit=2&limit=3", [3, 0]),
        ("?limit=9999", [1000, 0]),
        ("?limit=&skip=", [100, 0]),
    ],
)
async def test_limit_and_skip(client, query, items):
    assert await client.json("GET", "/v3/routes" + query) == {"total_count": 7, "items": items}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?limit=x", "'limit' parameter is not an integer"),
        ("?limit=1.5", "'limit' parameter is not an integer"),
        ("?skip=x", "'skip' parameter is not an integer"),
        ("?limit=0", "'limit' parameter must be 1 or more"),
        ("?limit=-1", "'limit' parameter must be 1 or more"),
        ("?skip=-1", "'skip' parameter must be 0 or more"),
    ],
)
async def test_a_bad_limit_is_400(client, query, said):
    assert await client.json("GET", "/v3/routes" + query, 400) == {"message": said}


# --- rates ---


async def test_more_requests_than_a_minute_allows_are_429_with_the_time_to_wait(client):
    first = await client("GET", "/v3/webhooks")
    assert first.headers["X-RateLimit-Remaining"] == str(PER_MINUTE - 1)
    await asyncio.gather(*[client("GET", "/v3/webhooks") for _ in range(PER_MINUTE - 1)])
    refused = await client("GET", "/v3/webhooks")
    assert refused.status == 429
    found = await refused.json()
    assert 0 < found["retry-seconds"] <= 61
    assert found["message"].startswith("More than 300 requests")
    assert refused.headers["Retry-After"] == str(found["retry-seconds"])
    assert refused.headers["X-RateLimit-Limit"] == "300"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert int(refused.headers["X-RateLimit-Reset"])
    assert (await client("GET", "/v3/lists")).status == 200


async def test_rate_limits_can_be_switched_off(house):
    async with serve(house, [Chapter()], rate_limits=False) as client:
        found = await asyncio.gather(*[client("GET", "/v3/webhooks") for _ in range(PER_MINUTE + 5)])
    assert {one.status for one in found} == {200}
