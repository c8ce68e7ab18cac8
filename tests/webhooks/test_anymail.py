"""django-anymail's own webhook view, in a Django application: it must accept and read what we post."""

import asyncio
import json
import threading
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from mtad.mail.event import EventType
from mtad.mail.options import Options
from mtad.storage.outbox import Content, File
from mtad.storage.webhooks import set_signing_key
from mtad.webhooks.kinds import Kind
from mtad.webhooks.payload import body_of, stamp
from tests.virtualclock import VirtualClock
from tests.webhooks import samples
from tests.webhooks.house import HARD, open_house
from tests.webhooks.samples import NOW, content

pytest.importorskip("anymail.webhooks.mailgun")

KEY = "key-anymail"
TOKEN = "cd" * 25
FINAL = (EventType.FAILED_PERMANENT, EventType.FAILED_LATE)
NAMES = {
    Kind.BOUNCE: "bounced",
    Kind.DELIVER: "delivered",
    Kind.DROP: "rejected",
    Kind.SPAM: "complained",
    Kind.UNSUBSCRIBE: "unsubscribed",
    Kind.CLICK: "clicked",
    Kind.OPEN: "opened",
    Kind.ACCEPTED: "queued",
    Kind.DELIVERED: "delivered",
    Kind.OPENED: "opened",
    Kind.CLICKED: "clicked",
    Kind.UNSUBSCRIBED: "unsubscribed",
    Kind.COMPLAINED: "complained",
    Kind.PERMANENT_FAIL: "bounced",
    Kind.TEMPORARY_FAIL: "deferred",
}


class _Urls:
    urlpatterns: list[object] = []  # noqa: RUF012


@pytest.fixture(scope="module")
def application():
    """The WSGI application of a Django project with anymail's URLs in it, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import django
        from django.conf import settings

        if not settings.configured:
            settings.configure(
                SECRET_KEY="x",
                ROOT_URLCONF=_Urls,
                ALLOWED_HOSTS=["*"],
                INSTALLED_APPS=["anymail"],
                ANYMAIL={"MAILGUN_WEBHOOK_SIGNING_KEY": KEY},
                MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
                USE_TZ=True,
            )
        django.setup()
        from django.core.wsgi import get_wsgi_application
        from django.urls import include, path

        _Urls.urlpatterns[:] = [path("anymail/", include("anymail.urls"))]
        return get_wsgi_application()


@pytest.fixture
def seen(application):
    """What anymail tells the application of."""
    from anymail.signals import tracking

    found = []

    def take(sender, event, esp_name, **kwargs):
        found.append(event)

    tracking.connect(take)
    yield found
    tracking.disconnect(take)


@pytest.fixture
def post(application, seen):
    """post(body) -> status."""
    from django.test import Client

    client = Client(enforce_csrf_checks=True)

    def call(body):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = client.post("/anymail/mailgun/tracking/", data=body.content, content_type=body.content_type)
        return answer.status_code

    return call


def body(kind, what=None, key=KEY):
    return body_of(kind, what or content(kind), stamp(key, int(NOW), TOKEN))


@pytest.mark.parametrize("kind", list(Kind))
def test_every_event_is_accepted_and_read(post, seen, kind):
    assert post(body(kind)) == 200
    [event] = seen
    assert event.event_type == NAMES[kind]
    assert event.recipient == "bob@example.net"
    assert event.message_id == "<m1@ours.example>"
    assert event.timestamp == datetime.fromtimestamp(NOW, UTC)
    assert event.event_id == TOKEN
    assert sorted(event.tags) == sorted(["*"] if kind is Kind.UNSUBSCRIBED else ["News", "two words"])
    told = dict(event.metadata)
    if kind in (Kind.OPEN, Kind.CLICK, Kind.UNSUBSCRIBE):  # read from the fields, where all is text
        told |= {name: json.loads(told[name]) for name in ("order", "nested")}
    assert told == {"order": 17, "who": "Zoë", "nested": {"a": [1, None]}}


@pytest.mark.parametrize("kind", [Kind.CLICK, Kind.CLICKED])
def test_a_click_has_its_url_and_user_agent(post, seen, kind):
    post(body(kind))
    assert (seen[0].click_url, seen[0].user_agent) == ("https://x.example/?a=1&b=2", "Mozilla/5.0")


@pytest.mark.parametrize(
    ("kind", "event", "reason"),
    [
        (Kind.BOUNCE, samples.BOUNCED, "bounced"),
        (Kind.BOUNCE, samples.LATE, "bounced"),
        (Kind.DROP, samples.BOUNCED, "bounced"),
        (Kind.DROP, samples.SUPPRESSED, "bounced"),
        (Kind.DROP, samples.TOO_OLD, "other"),
        (Kind.PERMANENT_FAIL, samples.BOUNCED, "bounced"),
        (Kind.PERMANENT_FAIL, samples.LATE, "bounced"),
        (Kind.PERMANENT_FAIL, samples.SUPPRESSED, "bounced"),
        (Kind.PERMANENT_FAIL, samples.TOO_OLD, "other"),
    ],
)
def test_a_failure_has_its_reason(post, seen, kind, event, reason):
    assert post(body(kind, Content(event))) == 200
    assert seen[0].reject_reason == reason


def test_the_hosts_words_are_passed_on(post, seen):
    post(body(Kind.BOUNCE))
    post(body(Kind.PERMANENT_FAIL))
    assert [event.mta_response for event in seen] == ["no such user", "no such user"]


def test_the_files_of_a_report_are_no_hindrance(post, seen):
    files = (File("report.txt", "text/plain", b"It failed"), File("", "message/rfc822", b"Subject: x\r\n\r\n"))
    assert post(body(Kind.BOUNCE, content(Kind.BOUNCE, files=files))) == 200
    assert seen[0].event_type == "bounced"


def test_custom_data_with_the_names_of_our_fields_is_told_apart(post, seen):
    clashing = Options(variables={"event": "mine", "timestamp": "mine", "signature": "mine", "url": "mine"})
    what = content(Kind.CLICK)
    assert post(body(Kind.CLICK, replace(what, event=replace(what.event, options=clashing)))) == 200
    assert seen[0].event_type == "clicked"
    assert seen[0].click_url == "https://x.example/?a=1&b=2"
    assert seen[0].metadata == {"event": "mine", "timestamp": "mine", "signature": "mine", "url": "mine"}


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.OPENED])
def test_a_wrong_key_is_refused(post, seen, kind):
    assert post(body(kind, key="key-other")) == 400
    assert seen == []


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = False


async def test_events_reach_the_application_over_http(application, seen, tmp_path):
    server = make_server("127.0.0.1", 0, application, server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/anymail/mailgun/tracking/"
    try:
        async with open_house(tmp_path, VirtualClock()) as house:
            await house.change(lambda c: set_signing_key(c, KEY))
            for kind in Kind:
                await house.hook(kind, url)
            for event in EventType:
                await house.events(event, **(HARD if event in FINAL else {}))
            found = await house.settled()
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()
    assert {one.made[0].status for one in found if one.made} == {200}
    assert sorted(event.event_type for event in seen) == sorted([*NAMES.values(), "bounced", "bounced"])
