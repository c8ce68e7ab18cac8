"""Personal mail and what becomes of it: variables, batches, tracked links, unsubscribes, reports, webhooks."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.live import Daemon, wait_until
from tests.receiver import Received, Receiver

OURS = "sandbox.mtad.test"
APP = f"app@{OURS}"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
FORM = ("bounce", "deliver", "drop", "spam", "unsubscribe", "click", "open")
TODAY = (
    *("accepted", "delivered", "opened", "clicked", "unsubscribed", "complained"),
    *("permanent_fail", "temporary_fail"),
)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        for name in (*FORM, *TODAY):
            done = running.mtad("webhook", "add", OURS, name, receiver.url(name))
            assert done.returncode == 0, done.stderr
        yield running


def send(daemon: Daemon, recipients: list[str], content: str | bytes, sender: str = APP) -> None:
    octets = content.encode() if isinstance(content, str) else content
    with daemon.client() as client:
        assert client.sendmail(sender, recipients, octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) == {}


def arrived(daemon: Daemon, recipient: str) -> EmailMessage:
    message = email.message_from_bytes(daemon.captured(recipient), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def visit(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    """The status and, for a redirect, where to."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    request = urllib.request.Request(url, body, {"User-Agent": BROWSER}, method=method)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers.get("Location", "")


def links(text: str, kind: str) -> list[str]:
    return re.findall(rf"http://127\.0\.0\.1:\d+/{kind}/[A-Za-z0-9_-]+", text)


def of_kind(daemon: Daemon, recipient: str, *kinds: str) -> list[dict]:
    return [one for one in daemon.events() if one.get("recipient") == recipient and one["event"] in kinds]


def test_the_manuals_container_gives_each_recipient_the_variables(daemon: Daemon) -> None:
    variables = base64.b64encode(json.dumps({"description": "klizhentas"}).encode()).decode()
    send(
        daemon,
        ["support@mailgunhq.example"],
        "Content-Type: multipart/mailgun-variables; boundary=8686cc907910484e9d21c54776cd791c\n"
        "Mime-Version: 1.0\nFrom: bob@bob-mg.example\n\n--8686cc907910484e9d21c54776cd791c\n"
        "Mime-Version: 1.0\nContent-Type: application/json\nContent-Transfer-Encoding: base64\n\n"
        f"{variables}\n\n--8686cc907910484e9d21c54776cd791c\n"
        "Content-Type: message/rfc822\nMime-Version: 1.0\n\n"
        "Date: Thu, 26 Jul 2012 19:42:55 +0400\nTo: %recipient.description% <support@mailgunhq.example>\n"
        "From: bob@bob-mg.example\nSubject: (rackspace) Hello\n"
        " MSK 2012 support@mailgunhq.example %recipient.description%\n"
        "Message-Id: <20120726154302.29322.40670@definebox.example>\n\n"
        "support@mailgunhq.example %recipient.description%\n\n--8686cc907910484e9d21c54776cd791c--\n",
    )
    message = arrived(daemon, "support@mailgunhq.example")
    assert message["to"] == "klizhentas <support@mailgunhq.example>"
    assert message["subject"] == "(rackspace) Hello MSK 2012 support@mailgunhq.example klizhentas"
    assert message.get_content().strip() == "support@mailgunhq.example klizhentas"
    assert message["message-id"] == "<20120726154302.29322.40670@definebox.example>"
    assert message["sender"] == f"bob=bob-mg.example@{OURS}"


def test_a_thousand_recipients_are_one_body_and_a_thousand_letters_of_their_own(daemon: Daemon) -> None:
    people = {f"reader{n}@many.example": {"first": f"Reader {n}", "id": n} for n in range(1000)}
    field = json.dumps(people).replace(', "reader', ',\n "reader')
    send(
        daemon,
        list(people),
        f"From: News <{APP}>\nTo: %recipient%\nSubject: Hello %recipient.first%\n"
        f"X-Mailgun-Recipient-Variables: {field}\nX-Mailgun-Tag: thousand\nX-Mailgun-Track: yes\n"
        "MIME-Version: 1.0\nContent-Type: text/html\n\n"
        '<p>No. %recipient.id%: <a href="http://shop.example/">shop</a></p>\n',
    )
    daemon.until_drained()
    rows = daemon.ask(
        "SELECT content, recipients FROM captured WHERE recipients LIKE '%@many.example%'",
    )
    assert len(rows) == 1000
    message_ids, seen = set(), set()
    for content, recipients in rows:
        [recipient] = json.loads(recipients)
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert message["to"] == recipient
        assert message["subject"] == f"Hello {people[recipient]['first']}"
        text = message.get_content()
        assert f"No. {people[recipient]['id']}:" in text
        seen.add(links(text, "c")[0])
        message_ids.add(message["message-id"])
    assert len(seen) == 1000
    assert len(message_ids) == 1
    assert daemon.ask("SELECT count(*) FROM messages WHERE recipients = 1000") == [(1,)]
    found = Counter(one["event"] for one in daemon.events("--domain", OURS) if one["tags"] == ["thousand"])
    assert found == {"accepted": 1000, "delivered": 1000}
    assert daemon.ask("SELECT metric, n FROM counters WHERE label = 't:thousand' ORDER BY metric") == [
        (1, 1000),
        (3, 1000),
    ]


def test_a_reader_opens_clicks_and_leaves_and_all_of_it_is_told_to_both_kinds_of_webhook(
    daemon: Daemon, receiver: Receiver
) -> None:
    reader = "reader@walk.example"
    send(
        daemon,
        [reader],
        f"From: {APP}\nTo: Reader <{reader}>\nSubject: walk\nX-Mailgun-Tag: Walk\nX-Mailgun-Track: yes\n"
        'X-Mailgun-Variables: {"order": 7}\nMIME-Version: 1.0\nContent-Type: text/html\n\n'
        '<p><a href="https://shop.example/?a=1&amp;b=2">shop</a> <a href="%unsubscribe_url%">leave</a></p>\n',
    )
    text = arrived(daemon, reader).get_content()
    [click], [pixel], [leave] = links(text, "c"), links(text, "o"), links(text, "u")
    assert visit(pixel) == (200, "")
    assert visit(click) == (302, "https://shop.example/?a=1&b=2")
    assert visit(leave) == (200, "")
    assert visit(leave, "POST", b"List-Unsubscribe=One-Click") == (200, "")
    wait_until(lambda: of_kind(daemon, reader, "unsubscribed"))
    told = {one["event"]: one for one in of_kind(daemon, reader, "opened", "clicked", "unsubscribed")}
    assert set(told) == {"opened", "clicked", "unsubscribed"}
    assert told["clicked"]["url"] == "https://shop.example/?a=1&b=2"
    assert told["unsubscribed"]["tags"] == ["*"]
    assert told["opened"]["client-info"]["client-name"] == "Firefox"
    assert told["opened"]["tags"] == ["Walk"]
    assert told["opened"]["user-variables"] == {"order": 7}

    key = str(daemon.ready["api_key"])
    for name, word in (
        ("accepted", "accepted"),
        ("delivered", "delivered"),
        ("opened", "opened"),
        ("clicked", "clicked"),
    ):
        [post] = wait_until(
            lambda at=name: [one for one in receiver.at(at) if one.data["event-data"]["recipient"] == reader]
        )
        assert post.data["event-data"]["event"] == word
        signed = post.data["signature"]
        assert signed["signature"] == signature(key, signed["timestamp"], signed["token"])
    for name, word in (
        ("deliver", "delivered"),
        ("open", "opened"),
        ("click", "clicked"),
        ("unsubscribe", "unsubscribed"),
    ):
        [post] = wait_until(lambda at=name: [one for one in receiver.at(at) if one.first("recipient") == reader])
        assert post.first("event") == word
        assert post.first("order") == "7"
        assert [name for name, _ in post.fields[-3:]] == ["timestamp", "token", "signature"]
        assert post.first("signature") == signature(key, post.first("timestamp"), post.first("token"))
    [post] = [one for one in receiver.at("deliver") if one.first("recipient") == reader]
    pairs, message = json.loads(post.first("message-headers")), arrived(daemon, reader)
    assert post.first("X-Mailgun-Sid") == message["x-mailgun-sid"]
    for name in ("Received", "X-Mailgun-Sid", "Message-ID", "Date", "From", "Subject"):
        assert [value for told, value in pairs if told == name], name
    assert [value for name, value in pairs if name == "Message-ID"] == [message["message-id"]]
    assert [value for name, value in pairs if name == "Subject"] == ["walk"]
    assert [json.loads(value) for name, value in pairs if name == "X-Mailgun-Variables"] == [{"order": 7}]

    send(daemon, [reader], f"From: {APP}\nTo: {reader}\nSubject: once more\n\nText\n")
    [failed] = wait_until(lambda: of_kind(daemon, reader, "failed"))
    assert (failed["reason"], failed["delivery-status"]["code"]) == ("suppress-unsubscribe", 606)
    [dropped] = wait_until(lambda: [one for one in receiver.at("drop") if one.first("recipient") == reader])
    assert (dropped.first("reason"), dropped.first("code")) == ("suppress-unsubscribe", "606")
    assert not [one for one in receiver.at("bounce") if one.first("recipient") == reader]


def test_nobody_who_is_told_of_one_letter_of_a_batch_learns_of_the_others(daemon: Daemon, receiver: Receiver) -> None:
    people = {"una@apart.example": {"first": "Una"}, "zoe@apart.example": {"first": "Zoë"}}
    send(
        daemon,
        list(people),
        f"From: News <{APP}>\nTo: Una %recipient.first% <una@apart.example>, zoe@apart.example\n"
        "Subject: Hello %recipient.first%\nList-Unsubscribe: <%unsubscribe_url%>\nX-Long: a\n b\n"
        f'X-Mailgun-Recipient-Variables: {json.dumps(people)}\nX-Mailgun-Variables: {{"who": "%recipient.first%"}}\n'
        "\nHello\n",
    )
    differ = ("DKIM-Signature", "Received", "X-Mailgun-Variables")
    for reader, other in (("una", "zoe"), ("zoe", "una")):
        address = f"{reader}@apart.example"
        [told] = wait_until(
            lambda address=address: [one for one in receiver.at("deliver") if one.first("recipient") == address]
        )
        message = arrived(daemon, address)
        sent = [[name, str(value)] for name, value in message.items() if name not in differ]
        pairs = json.loads(told.first("message-headers"))
        shown = email.message_from_string(
            "".join(f"{name}: {value}\n" for name, value in pairs), policy=email.policy.default
        )
        assert sorted([name, str(value)] for name, value in shown.items() if name not in differ) == sorted(sent)
        assert json.loads(dict(pairs)["X-Mailgun-Variables"]) == {"who": people[address]["first"]}
        assert len(links(message["list-unsubscribe"], "u")) == 1
        newer = [told_in_json(receiver, name, address) for name in ("accepted", "delivered")]
        for [one] in newer:
            headers = one.data["event-data"]["message"]["headers"]
            assert headers["to"] == ("Una Una <una@apart.example>" if reader == "una" else address)
            assert headers["subject"] == f"Hello {people[address]['first']}"
            assert one.data["event-data"]["message"]["recipients"] == [address]
        events = [one for one in daemon.events() if one.get("recipient") == address]
        assert {one["event"] for one in events} == {"accepted", "delivered"}
        for text in (told.body.decode(), *(one.body.decode() for [one] in newer), json.dumps(events)):
            assert other not in text.lower()


def told_in_json(receiver: Receiver, path: str, recipient: str) -> list[Received]:
    return [one for one in receiver.at(path) if one.data["event-data"]["recipient"] == recipient]


def signature(key: str, timestamp: str, token: str) -> str:
    return hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()


def test_a_report_that_comes_later_is_a_delayed_bounce_and_the_address_is_suppressed(
    daemon: Daemon, receiver: Receiver
) -> None:
    address = "bounce-later@outcome.mtad.test"
    send(daemon, [address], f"From: {APP}\nTo: {address}\nSubject: later\n\nText\n")
    [failed] = wait_until(lambda: of_kind(daemon, address, "failed"))
    assert failed["flags"]["is-delayed-bounce"] is True
    assert failed["severity"] == "permanent"
    assert len(of_kind(daemon, address, "delivered")) == 1
    assert daemon.ask("SELECT code FROM bounces WHERE address = ?", address) == [("5.1.1",)]
    [post] = wait_until(
        lambda: [one for one in receiver.posts if one.path == "/bounce" and address.encode() in one.body]
    )
    assert post.headers["Content-Type"].startswith("multipart/form-data")
    assert b"attachment-1" in post.body
    assert daemon.check()["faults"] == []


def test_a_complaint_is_an_event_a_suppression_and_a_post(daemon: Daemon, receiver: Receiver) -> None:
    address = "complain@outcome.mtad.test"
    send(daemon, [address], f"From: {APP}\nTo: {address}\nSubject: spam\n\nText\n")
    wait_until(lambda: of_kind(daemon, address, "complained"))
    assert daemon.ask("SELECT count FROM complaints WHERE address = ?", address) == [(1,)]
    wait_until(lambda: told_in_json(receiver, "complained", address))


def test_a_forged_report_changes_nothing(daemon: Daemon) -> None:
    send(daemon, ["forged@walk.example"], f"From: {APP}\nTo: forged@walk.example\nSubject: x\n\nText\n")
    daemon.captured("forged@walk.example")
    [(path,)] = daemon.ask("SELECT reverse_path FROM captured WHERE recipients LIKE '%forged@walk.example%'")
    last = "b" if path.partition("@")[0][-1] == "a" else "a"
    forged = f"{path.partition('@')[0][:-1]}{last}@{OURS}"
    with daemon.client("mx", login=False) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt(forged)[0] == 550
        assert client.rcpt(path)[0] == 250


def test_a_message_that_is_unsubscribed_from_by_mail(daemon: Daemon) -> None:
    reader = "mailer@walk.example"
    send(daemon, [reader], f"From: {APP}\nTo: {reader}\nSubject: x\n\nWrite to %unsubscribe_email% to leave.\n")
    text = arrived(daemon, reader).get_content()
    [address] = re.findall(r"unsubscribe\+[a-z0-9]+@\S+", text)
    with daemon.client("mx", login=False) as client:
        client.sendmail(reader, [address], "Subject: leave\r\n\r\n")
    wait_until(lambda: of_kind(daemon, reader, "unsubscribed"))


def test_test_mode_is_told_as_delivered_and_nothing_leaves(daemon: Daemon) -> None:
    reader = "nobody@test.example"
    send(daemon, [reader], f"From: {APP}\nTo: {reader}\nSubject: x\nX-Mailgun-Drop-Message: yes\n\nText\n")
    found = wait_until(lambda: of_kind(daemon, reader, "delivered"))
    assert found[0]["delivery-status"]["code"] == 650
    assert found[0]["flags"]["is-test-mode"] is True
    assert daemon.ask("SELECT count(*) FROM captured WHERE recipients LIKE ?", f"%{reader}%") == [(0,)]
    assert daemon.check()["faults"] == []


def test_a_message_too_far_ahead_is_refused_and_one_in_time_waits(daemon: Daemon) -> None:
    with daemon.client() as client, pytest.raises(Exception, match="days ahead"):
        client.sendmail(APP, ["a@later.example"], "Subject: x\r\nX-Mailgun-Deliver-By: 4102444800\r\n\r\nText\r\n")
    later = 3600
    [(now,)] = daemon.ask("SELECT CAST(strftime('%s', 'now') AS INTEGER)")
    send(daemon, ["b@later.example"], f"Subject: x\nX-Mailgun-Deliver-By: {now + later}\n\nText\n")
    done = daemon.mtad("queue", "list", "--json")
    [waiting] = [one for one in json.loads(done.stdout)["items"] if one["recipient"] == "b@later.example"]
    assert waiting["why"]["reason"] == "scheduled"


@pytest.mark.parametrize("name", ["X-Mailgun-Tag", "X-Mailgun-Native-Send", "X-Mailgun-Sending-Ip"])
def test_control_fields_do_not_reach_the_recipient_and_unknown_ones_do(daemon: Daemon, name: str) -> None:
    reader = f"{name.lower()}@strip.example"
    send(daemon, [reader], f"From: {APP}\nSubject: x\n{name}: no\nX-Mailgun-Unheard-Of: stays\n\nText\n")
    message = arrived(daemon, reader)
    assert name not in message
    assert message["X-Mailgun-Unheard-Of"] == "stays"


def test_the_timeline_tells_the_whole_way(daemon: Daemon, tmp_path: Path) -> None:
    reader = "timeline@walk.example"
    send(daemon, [reader], f"From: {APP}\nTo: {reader}\nSubject: x\nX-Mailgun-Track-Opens: yes\n"
         "MIME-Version: 1.0\nContent-Type: text/html\n\n<p>x</p>\n")  # fmt: skip
    [pixel] = links(arrived(daemon, reader).get_content(), "o")
    visit(pixel)
    wait_until(lambda: of_kind(daemon, reader, "opened"))
    [(number,)] = daemon.ask("SELECT about FROM messages WHERE CAST(about AS TEXT) LIKE '%timeline@walk.example%'")
    queue_id = json.loads(number)["message-id"].partition("@")[0]
    words = [one["event"] for one in daemon.timeline(queue_id)]
    assert words[:2] == ["accepted", "delivered"]
    assert "opened" in words
