"""A mailing list from its making to the last copy: posts by SMTP, by HTTP and from the world, and members who leave."""

import email
import email.policy
import json
import re
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
import requests

from tests.flows.application import NameServer
from tests.flows.inland import API_KEY, DOMAIN, Inland, letter, zones
from tests.flows.test_personal import links, visit
from tests.live import wait_until

PEOPLE = "address,name,city\nann@a.example,Ann,Aachen\nbob@b.example,Bob,Bern\nhardfail@outcome.mtad.test,Cid,Cork\n"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inland]:
    with NameServer(zones) as names, Inland(tmp_path_factory.mktemp("daemon"), names) as daemon:
        yield daemon


def made(dev: Inland, name: str, *options: str) -> str:
    """A list with PEOPLE, by the command line; its address."""
    file = dev.folder / f"{name}.csv"
    file.write_text(PEOPLE.replace("@", f"+{name}@").replace(f"+{name}@outcome", "@outcome"))
    address = f"{name}@{DOMAIN}"
    for words in (
        ("list", "add", address, "--name", "The team", *options),
        ("list", "member", "import", address, file),
    ):
        done = dev.mtad(*map(str, words))
        assert done.returncode == 0, done.stderr
    return address


def copy(dev: Inland, recipient: str) -> EmailMessage:
    message = email.message_from_bytes(dev.captured(recipient), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def subscribed(dev: Inland, address: str) -> set[str]:
    url = f"{dev.ready['http']}/v3/lists/{address}/members?subscribed=yes"
    answer = requests.get(url, auth=("api", API_KEY), timeout=9)
    return {one["address"] for one in answer.json()["items"]}


def test_a_users_post_becomes_a_copy_for_each_member_who_can_leave(dev: Inland) -> None:
    address = made(dev, "news")
    with dev.client() as client:
        client.sendmail(
            f"boss@{DOMAIN}",
            [address],
            f"From: Boss <boss@{DOMAIN}>\r\nTo: {address}\r\nSubject: Hello %recipient.city%\r\n"
            "X-Mailgun-Track: yes\r\nContent-Type: text/html\r\n\r\n<p>Dear %recipient_name%, "
            '<a href="http://shop.example/">look</a> or <a href="%mailing_list_unsubscribe_url%">leave</a></p>\r\n',
        )
    dev.until_drained()
    ann, bob = copy(dev, "ann+news@a.example"), copy(dev, "bob+news@b.example")
    assert (ann["subject"], bob["subject"]) == ("Hello Aachen", "Hello Bern")
    assert "Dear Ann," in ann.get_content()
    assert str(ann["list-id"]) == f"The team <news.{DOMAIN}>"
    assert str(ann["reply-to"]) == f"The team <{address}>"
    assert ann["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert ann["dkim-signature"]

    told = {(one["event"], one["recipient"]) for one in dev.events()}
    assert ("failed", "hardfail@outcome.mtad.test") in told
    assert {("delivered", "ann+news@a.example"), ("delivered", "bob+news@b.example")} <= told

    visit(links(ann.get_content(), "o")[0])
    visit(links(ann.get_content(), "ul")[0])
    wait_until(lambda: "ann+news@a.example" not in subscribed(dev, address), what="Ann has left")
    [one_click] = re.findall(r"<(http[^>]+)>", str(bob["list-unsubscribe"]))
    visit(one_click, "POST", b"List-Unsubscribe=One-Click")
    wait_until(lambda: subscribed(dev, address) == {"hardfail@outcome.mtad.test"}, what="Bob has left with one click")
    dev.check()


def test_by_http_a_list_is_a_recipient_like_any(dev: Inland) -> None:
    address = made(dev, "letters")
    data = {"from": f"boss@{DOMAIN}", "to": [address, "eve@e.example"], "subject": "x", "text": "Hi %recipient_name%"}
    sent = requests.post(f"{dev.ready['http']}/v3/{DOMAIN}/messages", data, auth=("api", API_KEY), timeout=9)
    assert sent.status_code == 200, sent.text
    assert copy(dev, "bob+letters@b.example").get_content().startswith("Hi Bob")
    assert copy(dev, "eve@e.example")["list-id"] is None


def test_in_a_batch_members_do_not_see_to_whom_else_it_goes(dev: Inland) -> None:
    address = made(dev, "batch")
    data = {"from": f"boss@{DOMAIN}", "to": [address, "gil@g.example"], "subject": "x", "text": "Hi %recipient_name%"}
    data["recipient-variables"] = '{"gil@g.example": {"n": 1}}'
    sent = requests.post(f"{dev.ready['http']}/v3/{DOMAIN}/messages", data, auth=("api", API_KEY), timeout=9)
    assert sent.status_code == 200, sent.text
    assert copy(dev, "bob+batch@b.example")["to"] == f"The team <{address}>"
    assert copy(dev, "gil@g.example")["to"] == "gil@g.example"


def test_from_the_world_it_depends_on_the_list(dev: Inland) -> None:
    closed, open_to_all = made(dev, "closed"), made(dev, "all", "--access", "everyone", "--reply", "sender")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        dev.receive(letter(), closed)
    assert b"takes no mail from outside" in refused.value.recipients[closed][1]
    dev.receive(letter(text="From outside to %recipient_name% in %recipient.city%\n"), open_to_all)
    got = copy(dev, "ann+all@a.example")
    assert "From outside to Ann in %recipient.city%" in got.get_content()
    assert got["reply-to"] is None
    answer = letter()
    answer["Auto-Submitted"] = "auto-replied"
    with pytest.raises(smtplib.SMTPDataError, match="automatic"):
        dev.receive(answer, open_to_all)


def test_what_is_known_of_members_is_told_to_no_stranger_through_a_list_within_a_list_either(dev: Inland) -> None:
    inner, outer = made(dev, "inner", "--access", "everyone"), made(dev, "outer", "--access", "everyone")
    assert dev.mtad("list", "member", "add", outer, inner).returncode == 0
    dev.receive(letter(text="%recipient_name%, %recipient.city%\n"), outer)
    assert "Bob, %recipient.city%" in copy(dev, "bob+inner@b.example").get_content()


def test_only_members_who_prove_who_they_are_write_to_a_list_of_members(dev: Inland) -> None:
    address = made(dev, "members", "--access", "members")
    stranger = letter()
    with pytest.raises(smtplib.SMTPDataError, match="Only members"):
        dev.receive(stranger, address)
    del stranger["From"]
    stranger["From"] = "ann+members@a.example"
    with pytest.raises(smtplib.SMTPDataError, match="envelope sender"):
        dev.receive(stranger, address)
    dev.receive(stranger, address, sender="ann+members@a.example")
    assert "ann+members@a.example" in str(copy(dev, "bob+members@b.example")["from"])


def test_the_lists_signature_does_not_vouch_for_a_stranger_who_claims_to_be_of_its_domain(dev: Inland) -> None:
    assert dev.mtad("domain", "add", "plain.example").returncode == 0  # which says nothing of itself in DNS
    address = "open@plain.example"
    assert dev.mtad("list", "add", address, "--access", "everyone").returncode == 0
    assert dev.mtad("list", "member", "add", address, "fay@f.example").returncode == 0
    forged = letter()
    del forged["From"]
    forged["From"] = "The boss <boss@plain.example>"
    dev.receive(forged, address, sender="boss@plain.example")
    got = copy(dev, "fay@f.example")
    assert "d=plain.example" in got["dkim-signature"]
    assert got["from"].addresses[0].addr_spec == address
    assert got["x-original-from"] == "The boss <boss@plain.example>"


def test_who_may_send_for_one_domain_does_not_announce_in_the_name_of_another(dev: Inland) -> None:
    assert dev.mtad("domain", "add", "apart.example").returncode == 0
    key = json.loads(dev.mtad("key", "add", "shop", "--domain", DOMAIN, "--json").stdout)["key"]
    closed, opened = "closed@apart.example", "open@apart.example"
    for address, level in ((closed, "readonly"), (opened, "everyone")):
        assert dev.mtad("list", "add", address, "--access", level).returncode == 0
        assert dev.mtad("list", "member", "add", address, f"gus@{level}.example").returncode == 0

    def send(to: str, sender: str, password: str) -> requests.Response:
        data = {"from": sender, "to": to, "subject": "x", "text": f"from {sender}"}
        return requests.post(f"{dev.ready['http']}/v3/{DOMAIN}/messages", data, auth=("api", password), timeout=9)

    own, forged = f"ann@{DOMAIN}", "boss@apart.example"
    assert [send(closed, one, key).status_code for one in (own, forged)] == [400, 400]
    assert [send(opened, one, key).status_code for one in (own, forged)] == [200, 400]
    assert "takes mail of apart.example alone" in send(closed, own, key).json()["message"]
    with dev.client() as client, pytest.raises(smtplib.SMTPDataError, match="alone"):
        client.sendmail(own, [closed], f"From: {own}\r\nSubject: x\r\n\r\nx\r\n")
    assert send(closed, forged, API_KEY).status_code == 200  # the account's key is for all domains
    assert "from boss" in copy(dev, "gus@readonly.example").get_content()
    assert f"from {own}" in copy(dev, "gus@everyone.example").get_content()
