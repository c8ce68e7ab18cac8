"""The forms of curl that the manual's samples have, each run as it would be typed, against a daemon.

Mailing lists and campaigns have theirs with them.
"""

import email
import email.policy
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.flows.inland import API_KEY, DOMAIN
from tests.flows.test_clients import Dev
from tests.live import wait_until

FROM = ("-F", f"from=Excited Ann <ann@{DOMAIN}>")
SENT = "Queued. Thank you."
DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
ROUTE = {"description", "created_at", "actions", "priority", "expression", "id"}

Curl = Callable[..., Any]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with Dev(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture
def curl(dev: Dev, tmp_path: Path) -> Curl:
    """curl("domain/messages", "-F", …) -> the JSON of the answer, under /v2 as the samples have it."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl")

    def call(path: str, *words: str, status: int = 200) -> Any:
        command = [program, "-s", "-w", "\n%{http_code}", "--user", f"api:{API_KEY}", *words, f"{dev.url}/v2/{path}"]
        done = subprocess.run(command, capture_output=True, check=True, timeout=30, cwd=tmp_path)
        body, _, code = done.stdout.rpartition(b"\n")
        assert int(code) == status, body
        return json.loads(body)

    return call


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    for name, octets in (("photo.jpg", b"\xff\xd8\xff\xe0"), ("notes.txt", b"Notes\n"), ("logo.png", b"\x89PNG\x00")):
        (tmp_path / "files" / name).write_bytes(octets)
    return tmp_path / "files"


def arrived(dev: Dev, recipient: str) -> EmailMessage:
    found = email.message_from_bytes(dev.captured(recipient), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).strip()


def sent(curl: Curl, *words: str, call: str = "messages") -> str:
    answer = curl(f"{DOMAIN}/{call}", *words)
    assert answer["message"] == SENT
    assert re.fullmatch(r"<[^<>@]+@[^<>@]+>", answer["id"])
    return str(answer["id"])


# --- sending ---


def test_a_simple_message(dev: Dev, curl: Curl) -> None:
    number = sent(curl, *FROM, "-F", "to=one@simple.example", "-F", "subject=Hello", "-F", "text=Awesome, is it not?")
    message = arrived(dev, "one@simple.example")
    assert (message["Message-Id"], message["Subject"], text_of(message)) == (number, "Hello", "Awesome, is it not?")
    assert message["From"] == f"Excited Ann <ann@{DOMAIN}>"


def test_a_complex_message_with_files(dev: Dev, curl: Curl, files: Path) -> None:
    people = ["-F", "to=to@complex.example", "-F", "cc=cc@complex.example", "-F", "bcc=bcc@complex.example"]
    texts = ["-F", "subject=Hello", "-F", "text=Plain", "--form-string", "html=<html>Rich</html>"]
    attached = ["-F", "attachment=@files/photo.jpg", "-F", "attachment=@files/notes.txt"]
    sent(curl, *FROM, *people, *texts, *attached)
    for name in ("to", "cc", "bcc"):
        message = arrived(dev, f"{name}@complex.example")
        assert (message["To"], message["Cc"], message["Bcc"]) == ("to@complex.example", "cc@complex.example", None)
        assert (text_of(message), text_of(message, "html")) == ("Plain", "<html>Rich</html>")
        found = {one.get_filename(): one.get_payload(decode=True) for one in message.iter_attachments()}
        assert found == {name: (files / name).read_bytes() for name in ("photo.jpg", "notes.txt")}


@pytest.mark.parametrize("form", ["message=@message.mime", "message=<message.mime"])
def test_a_whole_mime_message(dev: Dev, curl: Curl, tmp_path: Path, form: str) -> None:
    (tmp_path / "message.mime").write_text(f"From: ann@{DOMAIN}\nTo: shown@mime.example\nSubject: Own\n\nBody\n")
    to = f"{'file' if '@' in form else 'field'}@mime.example"
    sent(curl, "-F", f"to={to}", "-F", form, call="messages.mime")
    message = arrived(dev, to)
    assert (message["To"], message["Subject"], text_of(message)) == ("shown@mime.example", "Own", "Body")


@pytest.mark.parametrize("tracking", ["False", "yes"])
def test_a_message_that_is_not_tracked(dev: Dev, curl: Curl, tracking: str) -> None:
    for kind in ("open", "click"):
        curl(f"domains/{DOMAIN}/tracking/{kind}", "-X", "PUT", "-d", "active=yes")
    to, html = f"{tracking}@tracking.example", "html=<a href='http://shop.example/x'>x</a>"
    words = ["-F", f"to={to}", "-F", "subject=x", "-F", "text=x", "--form-string", html]
    sent(curl, *FROM, *words, "-F", f"o:tracking={tracking}")
    shown = text_of(arrived(dev, to), "html")
    assert ("http://shop.example/x" in shown) == (tracking == "False")
    assert ("<img" in shown) == (tracking == "yes")


def test_a_scheduled_message(dev: Dev, curl: Curl) -> None:
    words = ["-F", "subject=x", "-F", "text=x"]
    at = formatdate(time.time() + 3600)
    number = sent(curl, *FROM, "-F", "to=late@later.example", *words, "-F", f"o:deliverytime={at}").strip("<>")
    past = sent(
        curl, *FROM, "-F", "to=now@later.example", *words, "-F", "o:deliverytime=Fri, 25 Oct 2011 23:10:10 -0000"
    )
    assert arrived(dev, "now@later.example")["Message-Id"] == past
    [event] = curl(f"{DOMAIN}/events", "-G", "-d", f"message-id={number}")["items"]
    assert event["event"] == "accepted"
    assert abs(event["message"]["scheduled-for"] - (time.time() + 3600)) < 60
    assert dev.ask("SELECT count(*) FROM captured, json_each(recipients) WHERE value = 'late@later.example'") == [(0,)]
    far = formatdate(time.time() + 4 * 86_400)
    late = ("-F", "to=x@later.example", *words, "-F", f"o:deliverytime={far}")
    assert "ahead" in curl(f"{DOMAIN}/messages", *FROM, *late, status=400)["message"]


def test_a_tagged_message(curl: Curl) -> None:
    tags = ["-F", "o:tag=October news", "-F", "o:tag=news"]
    number = sent(curl, *FROM, "-F", "to=a@tag.example", "-F", "subject=x", "-F", "text=x", *tags).strip("<>")
    [event] = curl(f"{DOMAIN}/events", "-G", "-d", "event=accepted", "-d", f"message-id={number}")["items"]
    assert event["tags"] == ["October news", "news"]


def test_an_inline_image(dev: Dev, curl: Curl, files: Path) -> None:
    html = ["--form-string", 'html=<html>Here: <img src="cid:logo.png"></html>', "-F", "inline=@files/logo.png"]
    sent(curl, *FROM, "-F", "to=a@inline.example", "-F", "subject=x", "-F", "text=x", *html)
    message = arrived(dev, "a@inline.example")
    [picture] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert (picture["Content-Id"], picture.get_content_disposition()) == ("<logo.png>", "inline")
    assert picture.get_payload(decode=True) == (files / "logo.png").read_bytes()


def test_a_batch(dev: Dev, curl: Curl) -> None:
    variables = {f"{name.lower()}@batch.example": {"first": name, "id": n} for n, name in enumerate(("Bob", "Eve"), 1)}
    people = [word for one in variables for word in ("-F", f"to={one}")]
    texts = ["-F", "subject=Hey, %recipient.first%", "-F", "text=Leave by http://shop.example/off/%recipient.id%"]
    sent(curl, *FROM, *people, *texts, "-F", "o:tracking=no", "-F", f"recipient-variables={json.dumps(variables)}")
    for address, own in variables.items():
        message = arrived(dev, address)
        assert (message["To"], message["Subject"]) == (address, f"Hey, {own['first']}")
        assert text_of(message) == f"Leave by http://shop.example/off/{own['id']}"


# --- events and stats ---


def test_events_from_a_date_of_one_recipient(dev: Dev, curl: Curl) -> None:
    sent(curl, *FROM, "-F", "to=joe@events.example", "-F", "subject=Hello", "-F", "text=x")
    arrived(dev, "joe@events.example")
    begin = ["-G", "--data-urlencode", "begin=Fri, 3 May 2013 09:00:00 -0000", "-d", "ascending=yes", "-d", "limit=25"]

    def found() -> Any:
        return curl(f"{DOMAIN}/events", *begin, "-d", "pretty=yes", "-d", "recipient=joe@events.example")

    wait_until(lambda: [one["event"] for one in found()["items"]] == ["accepted", "delivered"], what="both")
    event, paging = found()["items"][0], found()["paging"]
    assert event["message"]["headers"]["subject"] == "Hello"
    assert (event["recipient"], event["recipient-domain"]) == ("joe@events.example", "events.example")
    assert all(paging[name].startswith(f"{dev.url}/v2/{DOMAIN}/events/") for name in ("next", "previous"))
    further = curl(paging["next"].removeprefix(f"{dev.url}/v2/"))
    assert further["items"] == []


def test_stats_of_some_events(dev: Dev, curl: Curl) -> None:
    sent(curl, *FROM, "-F", "to=a@stats.example", "-F", "subject=x", "-F", "text=x")
    asked = ["-G", "-d", "event=sent", "-d", "event=opened", "-d", "limit=2", "-d", "skip=0"]
    found = curl(f"{DOMAIN}/stats", *asked)
    assert found["total_count"] >= 1
    assert set(found["items"][0]) == {"event", "total_count", "created_at", "id", "tags"}
    assert found["items"][0]["event"] == "sent"
    assert DATE.fullmatch(found["items"][0]["created_at"])
    assert curl(f"{DOMAIN}/stats", *asked[:-1], f"skip={found['total_count']}")["items"] == []


# --- routes ---


def test_routes_are_made_listed_and_shown(curl: Curl) -> None:
    said = ["-F", "priority=1", "-F", "description=A sample", "-F", rf'expression=match_recipient(".*@{DOMAIN}")']
    actions = ["-F", 'action=forward("http://shop.example/messages/")', "-F", "action=stop()"]
    made = curl("routes", *said, *actions)
    route = made["route"]
    assert (made["message"], set(route)) == ("Route has been created", ROUTE)
    assert route["actions"] == ['forward("http://shop.example/messages/")', "stop()"]
    assert (route["priority"], route["expression"]) == (1, f'match_recipient(".*@{DOMAIN}")')
    assert DATE.fullmatch(route["created_at"])
    assert curl(f"routes/{route['id']}") == {"route": route}
    assert curl("routes", "-G", "-d", "limit=1", "-d", "skip=0") == {"total_count": 1, "items": [route]}
    assert curl("routes", "-G", "-d", "limit=1", "-d", "skip=1") == {"total_count": 1, "items": []}
    assert curl(f"routes/{route['id']}", "-X", "PUT", "-F", "priority=2")["priority"] == 2
    assert curl(f"routes/{route['id']}", "-X", "DELETE") == {"id": route["id"], "message": "Route has been deleted"}


# --- credentials ---


@pytest.mark.parametrize("base", [f"domains/{DOMAIN}/credentials", f"{DOMAIN}/credentials"])
def test_credentials_are_made_listed_changed_and_deleted(dev: Dev, curl: Curl, base: str) -> None:
    login = f"alice@{DOMAIN}"
    made = curl(base, "-F", f"login={login}", "-F", "password=correct-1")
    assert made == {"message": "Created 1 credentials pair(s)"}
    listed = {one["login"]: one for one in curl(base, "-G")["items"]}
    assert (listed[login]["mailbox"], listed[login]["size_bytes"]) == (login, 0)
    assert DATE.fullmatch(listed[login]["created_at"])
    changed = curl(f"{base}/alice", "-X", "PUT", "-F", "password=correct-2")
    assert changed == {"message": "Password changed"}
    with dev.client(login=False) as client:
        client.login(login, "correct-2")
    gone = curl(f"{base}/alice", "-X", "DELETE")
    assert gone == {"message": "Credentials have been deleted", "spec": login}
    assert login not in [one["login"] for one in curl(base, "-G")["items"]]


# --- what cannot be read ---


def test_what_is_no_http_is_told_so_in_json(dev: Dev, curl: Curl) -> None:
    assert set(curl("domains", "-H", "so(me: thing", status=400)) == {"message"}
    assert curl("domains", "-X", "FROBNICATE", status=405)["message"] == "Method Not Allowed"
    assert curl("domains", "-H", "X-Long: " + "x" * 20_000, status=400)["message"].startswith("The request line or")


def test_a_tag_is_counted_by_the_domains_it_went_to(dev: Dev, curl: Curl) -> None:
    people = ["-F", "to=a@one.example", "-F", "to=b@one.example", "-F", "to=hardfail@outcome.mtad.test"]
    sent(curl, *FROM, *people, "-F", "subject=x", "-F", "text=x", "-F", "o:tag=By Provider")

    def told() -> dict[str, tuple[int, int, int]]:
        found = curl(f"{DOMAIN}/tags/by%20provider/stats/aggregates/providers")["provider"]
        return {name: (one["accepted"], one["delivered"], one["opened"]) for name, one in found.items()}

    wanted = {"one.example": (2, 2, 0), "outcome.mtad.test": (1, 0, 0)}
    wait_until(lambda: told() == wanted, what="all are delivered")
