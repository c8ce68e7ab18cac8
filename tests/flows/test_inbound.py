"""Mail from the world through a real daemon: in by SMTP, judged, routed, posted, forwarded, stored."""

import base64
import json
import smtplib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.policy import SMTP
from pathlib import Path

import dkim as dkimpy
import pytest

from tests.flows.application import Application, NameServer
from tests.flows.inland import API_KEY, DOMAIN, PICTURE, Inland, letter, parcel, zones
from tests.live import field_of

STRICT = (
    b"From: Boss <boss@strict.example>\r\nTo: x\r\nSubject: pay this\r\nMessage-ID: <s1@strict.example>\r\n\r\nx\r\n"
)


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with Application() as application:
        yield application


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer(zones) as server:
        yield server


@pytest.fixture(scope="module")
def inland(tmp_path_factory: pytest.TempPathFactory, names: NameServer) -> Iterator[Inland]:
    """One for all tests that need no settings of their own; every route is for names of its test alone."""
    with Inland(tmp_path_factory.mktemp("inland"), names) as daemon:
        yield daemon
        daemon.until_drained()
        assert daemon.check()["faults"] == []


def test_a_parsed_post_has_the_message_in_pieces_its_files_and_a_good_signature(
    inland: Inland, app: Application
) -> None:
    inland.route("parsed", f'forward("{app.url("parsed")}")')
    inland.receive(parcel(), "parsed")
    post = app.one("parsed")
    assert (post["recipient"], post["sender"]) == (f"parsed@{DOMAIN}", "ann@elsewhere.example")
    assert (post["from"], post["subject"]) == ("Ann Ähre <ann@elsewhere.example>", "Größe & Gewicht")
    assert post["body-plain"].startswith("See below.")
    assert post["stripped-text"].strip() == "See below."
    assert post["body-html"].startswith("<p>See <img")
    assert post["attachment-count"] == "3"
    assert {name: (file[0], file[2]) for name, file in post.files.items()} == {
        "attachment-1": ("pic.png", PICTURE),
        "attachment-2": ("Größen.csv", b"a;b\r\n1;2\r\n"),
        "attachment-3": ("a.bin", b"\x00\xff" * 9000),
    }
    assert json.loads(post["content-id-map"]) == {"<pic@x>": "attachment-1"}
    assert (post["X-Mailgun-Incoming"], post["X-Envelope-From"]) == ("Yes", "<ann@elsewhere.example>")
    names = [name for name, _ in json.loads(post["message-headers"])]
    assert {"From", "Subject", "Received", "Authentication-Results", "X-Mailgun-Incoming"} <= set(names)
    assert "event" not in post
    assert "attachments" not in post
    assert post.is_signed(API_KEY)
    assert not post.is_signed("key-other")


def test_a_url_that_ends_in_mime_gets_the_message_itself(inland: Inland, app: Application) -> None:
    inland.route("raw", f'forward("{app.url("raw/mime/?a=b")}")')
    sent = parcel()
    inland.receive(sent, "raw")
    post = app.one("raw/mime/?a=b")
    assert "body-plain" not in post
    assert not post.files
    assert post["recipient"] == f"raw@{DOMAIN}"
    body = sent.as_bytes(policy=SMTP).partition(b"\r\n\r\n")[2].decode()
    assert post["body-mime"].endswith(body)
    assert "X-Mailgun-Incoming: Yes\r\n" in post["body-mime"]
    assert post.is_signed(API_KEY)


def test_routes_are_done_by_priority_until_one_stops(inland: Inland, app: Application) -> None:
    for name, priority, more in (("third", 30, ()), ("first", 10, ()), ("second", 20, ("stop()",))):
        inland.route("rank", f'forward("{app.url(name)}")', *more, priority=priority)
    inland.receive(letter(), "rank")
    app.got("first")
    app.got("second")
    inland.until_drained()
    assert app.at("third") == []


def test_catch_all_takes_what_no_route_before_it_took(inland: Inland, app: Application) -> None:
    inland.route("rest-known", f'forward("{app.url("rest-known")}")', priority=40)
    inland.route(
        "", f'forward("{app.url("rest")}")', priority=50, expression='catch_all() and match_recipient("rest-")'
    )
    inland.receive(letter(), "rest-known", "rest-other")
    assert app.one("rest-known")["recipient"] == f"rest-known@{DOMAIN}"
    assert app.one("rest")["recipient"] == f"rest-other@{DOMAIN}"


def test_each_recipient_and_each_destination_gets_a_post_of_its_own_with_what_was_captured(
    inland: Inland, app: Application
) -> None:
    urls = app.url(r"many-\1"), app.url(r"other-\g<who>")
    inland.route("", f'forward("{", ".join(urls)}")', expression=r'match_recipient("many\+(?P<who>.*)@")')
    inland.receive(letter(), "many+one", "many+two")
    for path in ("many-one", "other-one", "many-two", "other-two"):
        assert app.one(path)["recipient"] == f"many+{path.rpartition('-')[2]}@{DOMAIN}"
    accepted = [one for one in inland.events("--event", "accepted") if one["recipient"].startswith("many+")]
    assert sorted(one["recipient"] for one in accepted) == [
        f"many+{who}@{DOMAIN}" for who in ("one",) * 2 + ("two",) * 2
    ]


def test_store_keeps_the_message_and_tells_where(inland: Inland, app: Application) -> None:
    inland.route("keep", f'store(notify="{app.url("kept")}")')
    inland.receive(parcel(), "keep")
    post = app.one("kept")
    assert post["domain"] == DOMAIN
    assert post["message-url"].startswith(f"{inland.ready['http']}/v3/domains/{DOMAIN}/messages/")
    assert not post.files
    attachments = json.loads(post["attachments"])
    assert [(one["name"], one["size"]) for one in attachments] == [
        ("pic.png", 12),
        ("Größen.csv", 10),
        ("a.bin", 18_000),
    ]
    assert post["attachment-count"] == "3"
    assert json.loads(post["content-id-map"])["<pic@x>"]["name"] == "pic.png"
    assert post.is_signed(API_KEY)
    [event] = inland.settled(f"keep@{DOMAIN}", "stored")
    assert event["storage"]["url"] == post["message-url"]
    told = [(one["filename"], one["size"]) for one in event["message"]["attachments"]]
    assert told == [("pic.png", 12), ("Größen.csv", 10), ("a.bin", 18_000)]
    accepted = inland.events("--event", "accepted", "--recipient", f"keep@{DOMAIN}")
    assert accepted[0]["storage"] == event["storage"]
    [delivered] = inland.settled(f"keep@{DOMAIN}", "delivered")
    assert delivered["envelope"]["transport"] == "http"


def asked(url: str, method: str = "GET", accept: str = "*/*") -> tuple[int, bytes, dict[str, str]]:
    """With the API key, as a receiver of a notice would."""
    login = base64.b64encode(f"api:{API_KEY}".encode()).decode()
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Basic {login}", "Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_a_stored_message_is_fetched_in_pieces_whole_and_by_file_and_deleted(inland: Inland, app: Application) -> None:
    inland.route("fetch", f'store(notify="{app.url("fetch")}")')
    sent = parcel().as_bytes(policy=SMTP)
    inland.receive(sent, "fetch")
    post = app.one("fetch")
    url = post["message-url"]
    status, body, _ = asked(url)
    found = json.loads(body)
    assert (status, found["recipients"], found["sender"]) == (200, f"fetch@{DOMAIN}", "ann@elsewhere.example")
    assert (found["subject"], found["From"]) == ("Größe & Gewicht", "Ann Ähre <ann@elsewhere.example>")
    assert found["body-plain"] == post["body-plain"]
    assert found["attachments"] == json.loads(post["attachments"])
    pictures = [one for one in found["attachments"] if one["name"] == "pic.png"]
    status, octets, headers = asked(pictures[0]["url"])
    assert (status, octets, headers["Content-Type"]) == (200, PICTURE, "image/png")
    _, body, _ = asked(url, accept="message/rfc2822")
    assert json.loads(body)["body-mime"].endswith(sent.decode())
    assert asked(url, "DELETE")[0] == 200
    assert asked(url)[0] == 404


def test_store_alone_posts_nothing(inland: Inland, app: Application) -> None:
    inland.route("silent", "store()")
    inland.receive(letter(), "silent")
    [event] = inland.settled(f"silent@{DOMAIN}", "stored")
    assert event["storage"]["key"] in event["storage"]["url"]
    assert [one for one in app.posts if one["recipient"] == f"silent@{DOMAIN}"] == []


def test_stop_alone_takes_the_message_and_does_nothing(inland: Inland) -> None:
    inland.route("hole", "stop()")
    inland.receive(letter(), "hole")
    [event] = inland.settled(f"hole@{DOMAIN}", "delivered")
    assert event["delivery-status"]["description"].startswith("stop() alone")


def test_mail_forwarded_to_an_address_is_the_same_mail_sealed_and_does_not_come_round(inland: Inland) -> None:
    inland.route("onward", 'forward("ann@far.example")')
    sent = parcel().as_bytes(policy=SMTP)
    inland.receive(sent, "onward")
    content = inland.captured("ann@far.example")
    assert content.endswith(sent)  # every octet of it, below our own fields
    assert field_of(content, "x-loop")
    [reverse_path] = inland.ask("SELECT reverse_path FROM captured WHERE recipients LIKE '%ann@far.example%'")[0]
    assert reverse_path.startswith("bounce+")
    assert reverse_path.endswith(f"@{DOMAIN}")
    records = json.loads(inland.mtad("domain", "show", DOMAIN, "--json").stdout)["records"]
    [key] = [one["value"].encode() for one in records if one["kind"] == "dkim"]
    verdict, results, reason = dkimpy.arc_verify(content, dnsfunc=lambda name, timeout=5: key)
    assert (verdict, reason) == (b"pass", "success"), results
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        inland.receive(content, "onward")
    assert refusal.value.smtp_code == 554
    assert b"loop" in refusal.value.smtp_error


def test_a_post_that_fails_is_made_again_signed_anew(inland: Inland, app: Application) -> None:
    app.answers["later"] = [500, 302]
    inland.route("later", f'forward("{app.url("later")}")')
    inland.receive(parcel(), "later")
    posts = app.got("later", 3)
    assert all(post.is_signed(API_KEY) for post in posts)
    assert len({post["token"] for post in posts}) == 3
    failed = inland.settled(f"later@{DOMAIN}", "failed", 2)
    assert [(one["severity"], one["delivery-status"]["code"]) for one in failed] == [
        ("temporary", 500),
        ("temporary", 302),
    ]
    inland.settled(f"later@{DOMAIN}", "delivered")


def test_406_is_the_end_of_it(inland: Inland, app: Application) -> None:
    app.answers["never"] = [406]
    inland.route("never", f'forward("{app.url("never")}")')
    inland.receive(letter(), "never")
    [failed] = inland.settled(f"never@{DOMAIN}", "failed")
    assert (failed["severity"], failed["delivery-status"]["code"]) == ("permanent", 406)
    assert len(app.at("never")) == 1


def test_a_post_is_given_up_when_the_waits_are_used_up(inland: Inland, app: Application) -> None:
    app.answers["hopeless"] = [500] * 9
    inland.route("hopeless", f'forward("{app.url("hopeless")}")')
    inland.receive(letter(), "hopeless")
    failed = inland.settled(f"hopeless@{DOMAIN}", "failed", 4)
    assert [one["severity"] for one in failed] == ["temporary"] * 3 + ["permanent"]
    assert len(app.at("hopeless")) == 4


@pytest.mark.parametrize("recipient", [f"nobody@{DOMAIN}", "nobody@sub.sandbox.mtad.test"])
def test_a_recipient_no_route_can_take_is_refused_at_rcpt(inland: Inland, recipient: str) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
        inland.receive(letter(), recipient)
    [(code, text)] = refusal.value.recipients.values()
    assert (code, text[:5]) in ((550, b"5.1.1"), (550, b"5.7.1"))


def test_mail_without_a_sender_is_taken(inland: Inland, app: Application) -> None:
    inland.route("null", f'forward("{app.url("null")}")', 'forward("null@far.example")')
    inland.receive(letter(), "null", sender="")
    assert app.one("null")["sender"] == ""
    inland.captured("null@far.example")
    assert inland.ask("SELECT reverse_path FROM captured WHERE recipients LIKE '%null@far.example%'") == [("",)]


def test_what_dmarc_rejects_is_refused_in_the_session_and_told(inland: Inland, app: Application) -> None:
    inland.route("strict", f'forward("{app.url("strict")}")')
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        inland.receive(STRICT, "strict", sender="boss@strict.example")
    assert refusal.value.smtp_code == 550
    [event] = inland.settled(f"strict@{DOMAIN}", "rejected")
    assert "From domain" in event["reject"]["description"]
    assert event["message"]["headers"]["message-id"] == "s1@strict.example"
    assert app.at("strict") == []


def test_a_user_who_logged_in_writes_to_a_route_of_ours_and_is_not_taken_for_a_forger(
    inland: Inland, app: Application
) -> None:
    inland.route("desk", f'forward("{app.url("desk")}")')
    content = f"From: Eve <eve@{DOMAIN}>\r\nTo: desk\r\nSubject: hello\r\n\r\nhello\r\n".encode()
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        inland.receive(content, "desk", sender=f"eve@{DOMAIN}")
    assert refusal.value.smtp_code == 550
    with inland.client() as client:
        assert client.sendmail(f"eve@{DOMAIN}", [f"desk@{DOMAIN}"], content) == {}
    results = app.one("desk")["Authentication-Results"]
    assert f"; auth=pass smtp.auth={inland.login}; " in " ".join(results.split())
    assert "spf=" not in results
    assert "dmarc=" not in results


def test_events_of_routed_mail_name_the_recipient_and_the_target_and_no_password(
    inland: Inland, app: Application
) -> None:
    app.answers["told"] = [500]
    url = app.url("told", user="user:s3cr3t")
    made = inland.route("told", f'forward("{url}")')
    inland.receive(letter(), "told")
    posts = app.got("told", 2)
    assert posts[0].headers["Authorization"].startswith("Basic ")
    inland.settled(f"told@{DOMAIN}", "delivered")
    accepted, failed, delivered = [one for one in inland.events() if one["recipient"] == f"told@{DOMAIN}"]
    assert [one["event"] for one in (accepted, failed, delivered)] == ["accepted", "failed", "delivered"]
    assert all(one["flags"]["is-routed"] for one in (accepted, failed, delivered))
    assert accepted["routes"][0]["id"] == made.id
    assert accepted["routes"][0]["match"] == {"recipient": f"told@{DOMAIN}"}
    assert delivered["envelope"]["transport"] == "http"
    assert delivered["envelope"]["targets"] == app.url("told")
    assert delivered["delivery-status"]["code"] == 200
    assert "s3cr3t" not in json.dumps([accepted, failed, delivered])
    assert "s3cr3t" not in inland.log


def test_swaks_delivers_to_the_mx(
    inland: Inland, app: Application, tmp_path: Path, require_peer: Callable[..., Path]
) -> None:
    swaks = require_peer("swaks")
    inland.route("swaks", f'forward("{app.url("swaks")}")')
    host, port = inland.address("mx")
    words = [str(swaks), "--server", host, "--port", str(port), "--from", "ann@elsewhere.example"]
    file = tmp_path / "notes.txt"
    file.write_text("noted")
    words += ["--to", f"swaks@{DOMAIN}", "--attach-name", "notes.txt", "--attach", f"@{file}", "--tls"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    post = app.one("swaks")
    assert post.files["attachment-1"][0] == "notes.txt"
    assert post["subject"].startswith("test ")
