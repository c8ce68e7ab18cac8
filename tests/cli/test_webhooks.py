import json

import pytest
from click.testing import CliRunner

from mtad.api.base import Impossible, NotThere
from mtad.api.operations import Operations
from mtad.api.webhook_operations import WebhookOperations
from mtad.cli import reach
from mtad.cli.webhooks import webhook
from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.mail.ids import queue_id
from mtad.storage import accounts, outbox, record
from mtad.storage.outbox import AttemptRow, PostState, Settled
from mtad.storage.record import Records
from mtad.webhooks.kinds import Kind
from mtad.webhooks.poster import Answer
from tests.api.house import open_house

URL = "https://bob:s3cr3t@x.example/hook?a=1"
SHOWN = "https://x.example/hook?a=1"


class Offered(Operations, WebhookOperations):
    """All there are."""


class FakePosting:
    def __init__(self):
        self.reloads = self.stirs = 0
        self.tested = []

    async def reload(self):
        self.reloads += 1

    def stir(self):
        self.stirs += 1

    async def test(self, kind, domain, url):
        self.tested.append((kind, domain, url))
        return Answer(503, "", 0.25)


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, SystemClock()) as house:
        made = Offered.__new__(Offered)
        made.__dict__.update(house.operations.__dict__)
        made.posting = FakePosting()
        house.operations = made
        yield house


async def posts(house, count=1, state=PostState.GIVEN_UP, at=None):
    """Posts of webhook 1 that were tried once."""
    records = Records()
    for _ in range(count):
        event = house.ids.next()
        records.events.append((event, int(EventType.OPENED), 1, None, None, b"{}"))
        records.posts.append((house.ids.next(), 1, event, house.clock.now()))
    await house.database.writer.write(lambda c: record.apply(c, [records]))
    numbers = [row[0] for row in records.posts]
    made = [
        Settled(n, state, 1, None, AttemptRow(house.ids.next(), SHOWN, 500, "", 0.1, outbox.packed(b"a=1")))
        for n in numbers
    ]
    await house.database.writer.write(lambda c: outbox.settle(c, made))
    return [queue_id(number) for number in numbers]


async def test_a_webhook_is_added_listed_and_removed_and_its_password_is_not_shown(house):
    made = await house.operations.webhook_add("Ours.Example", "bounce", URL)
    assert (made.domain, made.name, made.url, made.waiting) == ("ours.example", "bounce", SHOWN, 0)
    assert await house.operations.webhook_list() == (made,)
    assert await house.operations.webhook_remove("ours.example", "bounce", SHOWN) == 1
    assert await house.operations.webhook_list() == ()
    assert house.operations.posting.reloads == 2


async def test_open_and_click_turn_their_tracking_on_and_removing_leaves_it(house):
    await house.operations.webhook_add("ours.example", "open", URL)
    await house.operations.webhook_add("ours.example", "opened", URL)
    [row] = await house.database.read(accounts.domains)
    assert (row.opens, row.clicks) == (True, "no")
    await house.operations.webhook_add("ours.example", "click", URL)
    await house.operations.webhook_remove("ours.example", "click")
    [row] = await house.database.read(accounts.domains)
    assert (row.opens, row.clicks) == (True, "yes")


async def test_links_in_html_alone_stay_so(house):
    await house.database.writer.write(lambda c: c.execute("UPDATE domains SET clicks = 'htmlonly'"))
    await house.operations.webhook_add("ours.example", "click", URL)
    [row] = await house.database.read(accounts.domains)
    assert row.clicks == "htmlonly"


async def test_an_older_id_takes_one_url_and_a_newer_one_three(house):
    add = house.operations.webhook_add
    await add("ours.example", "drop", "http://a.example/")
    with pytest.raises(Impossible, match="one URL"):
        await add("ours.example", "drop", "http://b.example/")
    for name in "abc":
        await add("ours.example", "clicked", f"http://{name}.example/")
    with pytest.raises(Impossible, match="at most 3 URLs"):
        await add("ours.example", "clicked", "http://d.example/")
    with pytest.raises(Impossible, match="already"):
        await add("ours.example", "clicked", "http://a.example/")


async def test_setting_replaces_the_urls_and_keeps_the_number_of_what_stays(house):
    first = await house.operations.webhook_set("ours.example", "clicked", ("http://a.example/", "http://b.example/"))
    then = await house.operations.webhook_set("ours.example", "clicked", ("http://b.example/", "http://c.example/"))
    assert [view.url for view in then] == ["http://b.example/", "http://c.example/"]
    assert {view.id for view in first} & {view.id for view in then} == {first[1].id}
    [last] = await house.operations.webhook_set("ours.example", "open", ("http://a.example/", "http://b.example/"))
    assert last.url == "http://b.example/"
    assert await house.operations.webhook_set("ours.example", "clicked", ()) == ()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("webhook_add", "ours.example", "bounced", URL), "no webhook is called 'bounced'"),
        (("webhook_add", "ours.example", "bounce", "ftp://x.example"), "http:// or https://"),
        (("webhook_add", "theirs.example", "bounce", URL), "no domain of ours"),
        (("webhook_remove", "ours.example", "bounce"), "is not posted anywhere"),
        (("webhook_pause", "ours.example", "bounce"), "is not posted anywhere"),
        (("webhook_log", "nonsense"), "no webhook is called"),
        (("webhook_log", "77"), "no such webhook"),
        (("webhook_replay",), "say what"),
        (("webhook_replay", ("0000000000001",)), "no such post"),
        (("webhook_replay", ("?",)), "is no queue id"),
        (("webhook_test", "ours.example", "bounce"), "is not posted anywhere"),
        (("webhook_key", "ü"), "ASCII"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_line(house, call, said):
    name, *arguments = call
    with pytest.raises(Impossible, match=said) as refusal:
        await getattr(house.operations, name)(*arguments)
    assert "\n" not in str(refusal.value)
    assert "s3cr3t" not in str(refusal.value)


async def test_pausing_is_told_with_its_reason(house):
    await house.operations.webhook_add("ours.example", "drop", URL)
    assert await house.operations.webhook_pause("ours.example", "drop", URL, "upgrade") == 1
    assert (await house.operations.webhook_list("ours.example"))[0].paused_why == "upgrade"
    assert await house.operations.webhook_resume("ours.example", "drop") == 1
    assert (await house.operations.webhook_list())[0].paused_why is None


async def test_the_log_shows_each_attempt_and_can_be_narrowed(house):
    await house.operations.webhook_add("ours.example", "open", URL)
    await posts(house, 1, PostState.DONE)
    [bad] = await posts(house)
    everything = await house.operations.webhook_log()
    assert [view.state for view in everything] == ["given up", "done"]
    [one] = await house.operations.webhook_log("open", "ours.example", failed=True, requests=True)
    assert (one.id, one.name, one.attempts[0].status, one.attempts[0].request) == (bad, "open", 500, "a=1")
    assert await house.operations.webhook_log("1", until=house.clock.now() - 60) == ()
    await house.operations.webhook_remove("ours.example", "open")
    assert {(view.webhook, view.name) for view in await house.operations.webhook_log()} == {(0, "")}


async def test_one_post_a_time_or_all_that_failed_are_replayed(house):
    await house.operations.webhook_add("ours.example", "open", URL)
    done = await posts(house, 2, PostState.DONE)
    await posts(house, 1200)
    await posts(house, 1, PostState.REFUSED)
    replay = house.operations.webhook_replay
    assert await replay((done[0],)) == 1
    assert await replay(failed=True) == 1201
    assert await replay(since=house.clock.now() - 3600, webhook="open") == 1203
    assert await replay(until=house.clock.now() - 3600) == 0
    assert (await house.operations.webhook_list())[0].waiting == 1203
    assert house.operations.posting.stirs == 4


async def test_posts_without_webhook_or_event_are_not_replayed(house):
    await house.operations.webhook_add("ours.example", "open", URL)
    [one] = await posts(house)
    await house.database.writer.write(lambda c: c.execute("DELETE FROM events"))
    assert await house.operations.webhook_replay(failed=True) == 0
    with pytest.raises(NotThere):
        await house.operations.webhook_replay((one,))


async def test_a_sample_goes_to_every_url_or_to_one_that_is_not_set(house):
    await house.operations.webhook_add("ours.example", "open", URL)
    [answer] = await house.operations.webhook_test("ours.example", "open")
    assert (answer.url, answer.status) == (SHOWN, 503)
    await house.operations.webhook_test("ours.example", "bounce", "http://y.example/")
    assert house.operations.posting.tested == [
        (Kind.OPEN, "ours.example", URL),
        (Kind.BOUNCE, "ours.example", "http://y.example/"),
    ]
    house.operations.posting = None
    with pytest.raises(Impossible, match="no daemon"):
        await house.operations.webhook_test("ours.example", "open")


async def test_the_key_is_shown_set_and_made(house):
    first = await house.operations.webhook_key()
    assert await house.operations.webhook_key() == first
    assert await house.operations.webhook_key("mine") == "mine"
    assert await house.operations.webhook_key(new=True) not in ("mine", first)


# --- as a shell would call them ---


@pytest.fixture
def call(store, monkeypatch):
    monkeypatch.setattr(reach, "Operations", Offered)

    def call(*words, code=0):
        result = CliRunner().invoke(webhook, list(words))
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.mark.parametrize("words", sorted(webhook.commands))
def test_every_command_has_help(call, words):
    assert "Usage" in call(words, "--help").stdout


def test_a_webhooks_life_on_the_command_line(call):
    assert f"bounce of ours.example is posted to {SHOWN}" in call("add", "ours.example", "bounce", URL).stdout
    listed = call("list").stdout
    assert SHOWN in listed
    assert "s3cr3t" not in listed
    assert "1 URL paused." in call("pause", "ours.example", "bounce", "--why", "upgrade").stdout
    assert "paused: upgrade" in call("list", "ours.example").stdout
    call("resume", "ours.example", "bounce")
    [view] = json.loads(call("list", "--json").stdout)
    assert (view["name"], view["paused_why"], view["url"]) == ("bounce", None, SHOWN)
    assert "1 URL removed." in call("remove", "ours.example", "bounce").stdout
    assert "There is no webhook yet" in call("list").stdout


def test_log_replay_and_key(call):
    assert "Nothing that was asked for" in call("log").stdout
    assert json.loads(call("log", "--failed", "--json").stdout) == []
    assert "0 posts will be made again." in call("replay", "--failed").stdout
    assert "Name posts" in call("replay", code=2).stderr
    assert call("key").stdout.startswith("key-")
    assert json.loads(call("key", "mine", "--json").stdout) == {"signing_key": "mine"}
    assert "not both" in call("key", "mine", "--new", code=2).stderr


def test_a_test_without_a_daemon_says_why_not(call):
    assert "no daemon is running" in call("test", "ours.example", "bounce", "http://x.example/", code=1).stderr


def test_an_unknown_id_is_told_with_those_there_are(call):
    assert "permanent_fail" in call("add", "ours.example", "bounced", URL, code=2).stderr
