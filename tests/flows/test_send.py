"""Sends over HTTP through a whole daemon: what is answered, delivered, and left after a kill."""

import concurrent.futures
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
import requests

from tests.live import Daemon, wait_until


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path) as daemon:
        yield daemon


def post(daemon, **fields):
    about = daemon.ready
    url = f"{about['http']}/v3/{about['domain']}/messages"
    data = {"from": f"ann@{about['domain']}", "to": "bob@example.net", "subject": "Hello", "text": "Text", **fields}
    return requests.post(url, auth=("api", about["api_key"]), data=data, timeout=10)


def mtad(daemon, *words):
    command = [sys.executable, "-m", "mtad", *words, "--data", str(daemon.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def first_column(store, statement):
    return [value for (value,) in store.execute(statement)]


def captured(daemon):
    return json.loads(mtad(daemon, "captured", "list", "--json").stdout)


def test_a_message_sent_over_http_is_delivered(daemon):
    found = post(daemon)
    assert found.status_code == 200
    wait_until(lambda: len(captured(daemon)) == 1)


def test_what_was_answered_is_there_after_a_kill(daemon):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: post(daemon, to=f"u{n}@example.net"), range(60)))
    daemon.kill9()
    assert {one.status_code for one in answers} == {200}
    with closing(sqlite3.connect(daemon.data / "mtad.sqlite")) as store:
        kept = {about["message-id"] for about in map(json.loads, first_column(store, "SELECT about FROM messages"))}
        people = first_column(store, "SELECT address FROM recipients")
        accepted = first_column(store, "SELECT recipient_id FROM events WHERE type = 1 AND recipient_id IS NOT NULL")
    assert kept == {one.json()["id"].strip("<>") for one in answers}
    assert sorted(people) == sorted(f"u{n}@example.net" for n in range(60))
    assert len(set(accepted)) == 60


def test_the_same_idempotency_key_sends_nothing_after_a_kill_either(daemon):
    first = post(daemon, **{"h:X-Idempotency-Key": "k"}).json()
    daemon.kill9()
    daemon.start()
    assert post(daemon, **{"h:X-Idempotency-Key": "k"}).json() == first
    wait_until(lambda: len(captured(daemon)) >= 1)
    assert len(captured(daemon)) == 1


def test_the_command_sends_through_the_daemon_without_a_key_at_hand(daemon, tmp_path):
    (tmp_path / "a b.txt").write_text("attached")
    words = ["--from", f"Ann <ann@{daemon.ready['domain']}>", "--to", "bob@example.net", "--text", "Text"]
    done = mtad(daemon, "send", *words, "--attach", str(tmp_path / "a b.txt"), "--tag", "t")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Queued. Thank you.\n")
    wait_until(lambda: len(captured(daemon)) == 1)
    assert mtad(daemon, "send", *words, "--tag", "x" * 200).stderr == "mtad: o:tag is longer than 128 characters\n"


def test_queued_mail_of_a_domain_can_be_dropped(daemon):
    about = daemon.ready
    assert post(daemon, **{"o:deliverytime": str(int(time.time()) + 3600)}).status_code == 200
    found = requests.delete(
        f"{about['http']}/v3/{about['domain']}/envelopes", auth=("api", about["api_key"]), timeout=10
    )
    assert found.json() == {"message": "done"}
    assert json.loads(mtad(daemon, "queue", "list", "--json").stdout)["waiting"] == 0
