"""What others have written for this API, through the daemon: the official Python client, django-anymail, curl."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mailgun.client import Client

from tests.flows.inland import API_KEY, DOMAIN
from tests.live import Daemon, wait_until

SENDER = f"Ann <ann@{DOMAIN}>"
PROGRAM = Path(__file__).parents[1] / "api" / "http" / "anymail_sender.py"


class Dev(Daemon):
    def _command(self) -> list[str]:
        return [*super()._command(), "--api-key", API_KEY]

    @property
    def url(self) -> str:
        return str(self.ready["http"])


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with Dev(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


def test_the_python_client_needs_no_more_than_another_url_and_key(dev: Dev) -> None:
    with Client(auth=("api", API_KEY), api_url=dev.url) as client:
        data = {"from": SENDER, "to": "accept@outcome.mtad.test", "subject": "Hi", "text": "Text", "o:tag": "client"}
        sent = client.messages.create(data=data, domain=DOMAIN)
        assert (sent.status_code, sent.json()["message"]) == (200, "Queued. Thank you.")

        def words() -> list[str]:
            filters = {
                "message-id": sent.json()["id"],
                "event": "accepted OR delivered",
                "ascending": "yes",
                "begin": 1,
            }
            return [one["event"] for one in client.events.get(domain=DOMAIN, filters=filters).json()["items"]]

        wait_until(lambda: words() == ["accepted", "delivered"], what="both events")
        assert client.bounces.create(data={"address": "b@x.org"}, domain=DOMAIN).status_code == 200
        assert client.bounces.get(domain=DOMAIN, bounce_address="b@x.org").json()["code"] == "550"
        assert client.domains.create(data={"name": "new.example"}).json()["domain"]["name"] == "new.example"
        hook = {"id": "delivered", "url": ["http://127.0.0.1:9/x"]}
        assert client.domains_webhooks.create(domain=DOMAIN, data=hook).json()["webhook"] == {"urls": hook["url"]}
        made = client.templates.create(data={"name": "t", "template": "<p>{{n}}</p>"}, domain=DOMAIN)
        assert made.json()["message"] == "template has been stored"
        data = {"from": SENDER, "to": "kept@x.org", "subject": "T", "template": "t", "t:variables": '{"n": "filled"}'}
        assert client.messages.create(data=data, domain=DOMAIN).status_code == 200
    assert b"<p>filled</p>" in dev.captured("kept@x.org")


def test_a_django_program_sends(dev: Dev) -> None:
    command = [sys.executable, str(PROGRAM), dev.url, API_KEY, f"everything@{DOMAIN}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["status"] == ["queued"]
    assert b"Content-Type: image/png" in dev.captured("bob@example.net")


@pytest.fixture
def curl(dev: Dev, tmp_path: Path) -> Any:
    """curl("v2/x", "-F", …) -> the JSON of the answer, in the forms that manuals print."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl")

    def call(path: str, *words: str) -> Any:
        command = [program, "-s", "--fail-with-body", "--user", f"api:{API_KEY}", f"{dev.url}/{path}", *words]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30, cwd=tmp_path).stdout)

    return call


def test_every_form_of_curl_is_read(dev: Dev, curl: Any, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("attached")
    (tmp_path / "message.mime").write_bytes(f"From: {SENDER}\nTo: x\nSubject: Raw\n\nText\n".encode())
    (tmp_path / "people.csv").write_text("address,code\nfrom@file.example,551\n")
    sent = "Queued. Thank you."
    plain = ["-F", f"from={SENDER}", "-F", "to=one@x.org", "-F", "to=two@x.org", "-F", "subject=Hello"]
    files = ["-F", "text=Text", "--form-string", "html=<b>Text</b>", "-F", "attachment=@test.txt"]
    assert curl(f"v2/{DOMAIN}/messages", *plain, *files)["message"] == sent
    later = [
        "-F",
        "text=Text",
        "-F",
        "o:deliverytime=Fri, 25 Oct 2011 23:10:10 -0000",
        "-F",
        "o:tag=a",
        "-F",
        "o:tag=b",
    ]
    assert curl(f"v3/{DOMAIN}/messages", *plain, *later)["message"] == sent
    batch = ["-F", 'recipient-variables={"one@x.org": {"first":"Bob", "id":1}}', "-F", "text=%recipient.first%"]
    assert curl(f"v2/{DOMAIN}/messages", *plain, *batch)["message"] == sent
    mime = ["-F", "to=mime@x.org", "-F", "message=@message.mime"]
    assert curl(f"v2/{DOMAIN}/messages.mime", *mime)["message"] == sent
    asked = ["-G", "--data-urlencode", "begin=Fri, 3 May 2013 09:00:00 -0000", "-d", "ascending=yes", "-d", "limit=25"]
    found = curl(f"v2/{DOMAIN}/events", *asked, "-d", "pretty=yes", "--data-urlencode", "recipient=mime@x.org")
    assert found["items"][0]["event"] == "accepted"
    assert curl(f"v2/{DOMAIN}/bounces", "-d", "address=form@x.org")["address"] == "form@x.org"
    assert curl(f"v3/{DOMAIN}/bounces/import", "-F", "bounce_csv=@people.csv")["message"].startswith("file uploaded")
    assert curl(f"v3/{DOMAIN}/bounces/from@file.example")["code"] == "551"
    rows = '[{"address": "json@x.org", "tags": ["some"]}]'
    as_json = ["-H", "Content-Type: application/json", "-d", rows]
    assert curl(f"v3/{DOMAIN}/unsubscribes", *as_json)["message"].startswith("1 address has been added")
    assert curl(f"v2/{DOMAIN}/bounces/form@x.org", "-X", "DELETE")["address"] == "form@x.org"
    expression = ["--form-string", r"expression=match_recipient('.*@gmail.com')"]
    actions = ["--form-string", 'action=forward("http://myhost.com/messages/")', "--form-string", "action=stop()"]
    route = curl("v2/routes", "-F", "priority=1", *expression, *actions)["route"]
    assert curl(f"v2/routes/{route['id']}", "-X", "PUT", "-F", "priority=2")["priority"] == 2
    assert curl(f"v3/domains/{DOMAIN}/web_prefix?web_prefix=links", "-X", "PUT")["message"]
    assert curl(f"v3/{DOMAIN}/stats/total?event=accepted&duration=1m")["stats"]
