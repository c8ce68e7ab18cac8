import io
import stat

import aiohttp
import pytest

from mtad.api.base import Impossible, NotThere
from mtad.api.control import MAX_REQUEST, OFFERED, NotRunning, _shape, reach, serve_control, socket_path
from mtad.api.operations import Operations
from mtad.mail.ids import queue_id
from tests.api.house import LATER, SITE, FakeRunner, FakeSite, open_house
from tests.virtualclock import VirtualClock


@pytest.fixture
async def house(tmp_path):
    runner = FakeRunner(site=FakeSite())
    async with open_house(tmp_path, VirtualClock(), runner) as house:
        async with serve_control(tmp_path, house.operations):
            yield house


@pytest.fixture
async def remote(tmp_path, house):
    async with reach(tmp_path) as remote:
        yield remote


@pytest.fixture
async def raw(tmp_path, house):
    """A client that sends what it likes."""
    connector = aiohttp.UnixConnector(socket_path(tmp_path))
    async with aiohttp.ClientSession("http://mtad", connector=connector) as session:
        yield session


async def test_answers_over_the_socket_are_those_of_the_operations(house, remote):
    number = await house.message("bob@example.net", "eve@example.net")
    await house.capture(number)
    text = queue_id(number)
    for operation, *args in (
        (Operations.queue_list, "", "", "bob@example.net", 5),
        (Operations.queue_show, text),
        (Operations.message_show, text),
        (Operations.site_list,),
        (Operations.site_show, SITE),
        (Operations.domain_list,),
        (Operations.credential_list,),
        (Operations.events,),
        (Operations.captured_list,),
        (Operations.captured_show, text),
        (Operations.check,),
    ):
        assert await remote.ask(operation, *args) == await operation(house.operations, *args)
    assert (await remote.ask(Operations.queue_list)).items[0].why == LATER


async def test_what_changes_something_goes_over_the_socket_too(house, remote):
    number = await house.message("bob@example.net")
    assert await remote.ask(Operations.queue_retry, (queue_id(number),)) == 3
    await remote.ask(Operations.site_suspend, SITE, for_s=60, why="they asked")
    made = await remote.ask(Operations.domain_add, "news.example", ed25519=False)
    assert made.domain.name == "news.example"
    assert await remote.ask(Operations.site_resume, SITE) is None
    assert house.changes == 1


async def test_a_refusal_comes_back_in_the_same_words(remote):
    with pytest.raises(Impossible, match="no queue id"):
        await remote.ask(Operations.queue_show, "nonsense")
    with pytest.raises(Impossible, match="no message 0000000000001"):
        await remote.ask(Operations.queue_show, "0000000000001")


async def test_the_socket_is_its_owners_alone_and_goes_with_the_daemon(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        (tmp_path / "control.sock").write_text("left by a crash")
        async with serve_control(tmp_path, house.operations):
            about = (tmp_path / "control.sock").stat()
            assert stat.S_ISSOCK(about.st_mode)
            assert stat.S_IMODE(about.st_mode) == 0o600
        assert not (tmp_path / "control.sock").exists()
    with pytest.raises(NotRunning):
        async with reach(tmp_path):
            pytest.fail("somebody answered")


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/queue_list", b"{", 400, "no JSON"),
        ("/queue_list", b"[]", 400, "must be an object"),
        ("/queue_list", b'{"limit": "many"}', 400, "limit must be int"),
        ("/queue_list", b'{"colour": 1}', 400, "no member 'colour'"),
        ("/queue_show", b"{}", 400, "lacks the member 'message'"),
        ("/queue_show", b'{"message": "0000000000001"}', 404, "no message"),
        ("/no_such_thing", b"{}", 404, "no operation"),
        ("/__init__", b"{}", 404, "no operation"),
        ("/_write", b"{}", 404, "no operation"),
        ("/a/b", b"{}", 404, "Not Found"),
        ("/queue_list", "too large", 413, "too large"),
    ],
)
async def test_what_is_not_understood_is_refused_as_json(raw, path, body, status, said):
    if body == "too large":
        body = io.BytesIO(b" " * (MAX_REQUEST + 1))
    async with raw.post(path, data=body) as response:
        answer = await response.json()
    assert response.status == status
    assert said in answer["message"]
    assert response.headers["Server"] == "mtad"


async def test_only_post_does_anything(raw):
    async with raw.get("/captured_clear") as response:
        assert response.status == 405
        assert (await response.json())["message"] == "Method Not Allowed"


async def test_a_fault_of_ours_is_a_500_without_its_insides(raw, house, monkeypatch):
    monkeypatch.setattr(house.database, "read", None)
    async with raw.post("/check", data=b"{}") as response:
        assert response.status == 500
        assert await response.json() == {"message": "Internal error"}


def test_every_operation_that_is_offered_can_be_read_by_its_hints():
    public = {name for name in dir(Operations) if not name.startswith("_")}
    own = {"write", "posting", "suppressed", "routing", "campaigning", "listing"}  # the daemon's: callables
    own |= {"lending", "names", "web_host"}
    assert set(OFFERED) == public - own
    for name in OFFERED:
        assert _shape(name)


def test_a_name_too_long_for_a_socket_is_refused_in_words(tmp_path):
    with pytest.raises(Impossible, match="too long a name for a socket"):
        socket_path(tmp_path / ("x" * 120))


def test_what_is_not_there_is_a_kind_of_impossible():
    assert issubclass(NotThere, Impossible)
