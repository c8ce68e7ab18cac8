"""A campaign from its making to its end: curl as the manual's samples have it, mail in, mail out, and who did what."""

import email
import email.policy
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.flows.inland import API_KEY, DOMAIN
from tests.flows.test_clients import Dev
from tests.flows.test_personal import links, visit
from tests.live import wait_until

Curl = Callable[..., Any]
HTML = '<p>Dear %recipient.name%: <a href="http://shop.example/1">shop</a> <a href="%unsubscribe_url%">leave</a></p>'


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with Dev(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture
def curl(dev: Dev) -> Curl:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl")

    def call(path: str, *words: str) -> Any:
        command = [program, "-s", "--fail-with-body", "--user", f"api:{API_KEY}", *words]
        done = subprocess.run([*command, f"{dev.url}/v2/{DOMAIN}/{path}"], capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)

    return call


def test_a_campaign_is_made_sent_told_of_and_removed(dev: Dev, curl: Curl) -> None:
    made = curl("campaigns", "-F", "name=Newsletter", "-F", "id=my_campaign_id")
    assert made["message"] == "Campaign created"
    people = ["ann@a.example", "bob@b.example", "hardfail@outcome.mtad.test", "complain@outcome.mtad.test"]
    names = json.dumps({one: {"name": one.partition("@")[0]} for one in people})
    sending = [
        "-F",
        f"from=Ann <ann@{DOMAIN}>",
        "-F",
        "subject=x",
        "-F",
        "o:tracking=yes",
        "-F",
        "v:for=%recipient.name%",
    ]
    sending += [word for one in people for word in ("-F", f"to={one}")]
    curl(
        "messages", *sending, "--form-string", f"html={HTML}", "--form-string", f"recipient-variables={names}",
        "-F", "o:campaign=my_campaign_id", "-F", "o:campaign=nobody_knows_it",
    )  # fmt: skip
    with dev.client() as client:
        client.sendmail(
            f"ann@{DOMAIN}",
            ["cid@c.example"],
            f"From: ann@{DOMAIN}\r\nSubject: y\r\nX-Mailgun-Campaign-Id: my_campaign_id\r\n\r\nHello\r\n",
        )
    dev.until_drained()
    for one in ("ann@a.example", "bob@b.example"):
        message = email.message_from_bytes(dev.captured(one), policy=email.policy.default)
        body = message.get_body(("html",))
        assert body is not None
        text = body.get_content()
        visit(links(text, "o")[0])
        if one.startswith("ann"):
            visit(links(text, "c")[0])
            visit(links(text, "u")[0])

    expected = {"sent": 5, "delivered": 4, "bounced": 1, "dropped": 0, "opened": 2, "clicked": 1, "unsubscribed": 1}
    expected["complained"] = 1
    found = wait_until(
        lambda: (stats := curl("campaigns/my_campaign_id/stats"))["total"] == expected and stats, what="the stats"
    )
    assert found["unique"] == {"clicked": {"link": 1, "recipient": 1}, "opened": {"recipient": 2}}
    shown = curl("campaigns/my_campaign_id")
    names_of = {"submitted": "sent"}
    assert {names_of.get(name, name): shown[f"{name}_count"] for name in _counts(shown)} == expected

    events = curl("campaigns/my_campaign_id/events")
    assert Counter(row["event"] for row in events) == {word: n for word, n in expected.items() if n and word != "sent"}
    history = curl("campaigns/my_campaign_id/events", "-G", "-d", "recipient=ann@a.example")
    assert {row["event"] for row in history} == {"delivered", "opened", "clicked", "unsubscribed"}
    assert {row["user_vars"]["for"] for row in history} == {"ann"}
    hours = curl("campaigns/my_campaign_id/stats", "-G", "-d", "groupby=daily_hour", "-d", "limit=2")
    assert sum(row["total"]["sent"] for row in hours) == 5
    [click] = curl("campaigns/my_campaign_id/clicks", "-G", "-d", "groupby=link")
    assert (click["link"], click["total"]) == ("http://shop.example/1", 1)
    told = [one for one in dev.events("--domain", DOMAIN) if one["campaigns"]]
    assert {json.dumps(one["campaigns"]) for one in told} == {
        json.dumps([{"id": "my_campaign_id", "name": "Newsletter"}])
    }

    dev.restart()  # what is known of campaigns is read again
    again = dev.mtad("campaign", "show", DOMAIN, "my_campaign_id", "--json")
    assert json.loads(again.stdout)["submitted"] == 5
    removed = curl("campaigns/my_campaign_id", "-X", "DELETE")
    assert removed == {"message": "Campaign has been deleted", "id": "my_campaign_id"}
    assert dev.ask("SELECT count(*) FROM campaign_events") == [(0,)]
    assert dev.check()["faults"] == []


def _counts(shown: dict[str, Any]) -> list[str]:
    return [name.removesuffix("_count") for name in shown if name.endswith("_count")]
