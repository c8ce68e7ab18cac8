"""A real Postfix as the server that sends mail to us: it finds our MX, says STARTTLS, and bounces what we refuse."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.policy import SMTP
from pathlib import Path

import pytest

from tests.flows.application import Application, NameServer
from tests.flows.inland import API_KEY, DOMAIN, PICTURE, Inland, parcel, zones
from tests.flows.test_postfix import MAIN, MASTER, free_port, open_folder
from tests.live import wait_until
from tests.peers import missing_peer

# As in test_postfix, but with the MX as the next hop of our domain, and without a login.
OUT = (
    MAIN.partition("relayhost")[0]
    + """transport_maps = inline:{{ {{ sandbox.mtad.test = smtp:[{host}]:{port} }} }}
default_transport = error:no other mail leaves
notify_classes =
bounce_queue_lifetime = 0
smtp_tls_security_level = may
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
"""
)
LOG = "postlog unix-dgram n - n - 1 postlogd\n"


@contextmanager
def postfix(folder: Path, daemon: Inland) -> Iterator[int]:
    """The port where it takes mail; ends with the processes it started."""
    host, mx = daemon.address("mx")
    conf, port = folder / "etc", free_port()
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    (conf / "main.cf").write_text(OUT.format(dir=folder, host=host, port=mx))
    (conf / "master.cf").write_text(MASTER.format(port=port) + LOG)
    started = subprocess.run(["postfix", "-c", conf, "start"], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    try:
        wait_until(lambda: "daemon started" in log_of(folder), what="Postfix runs")
        yield port
    finally:
        subprocess.run(["postfix", "-c", conf, "stop"], capture_output=True, check=False)


def log_of(folder: Path) -> str:
    file = folder / "mail.log"
    return file.read_text("utf-8", "replace") if file.exists() else ""


def test_postfix_delivers_to_our_mx_and_hears_at_once_what_we_do_not_take(
    tmp_path: Path, require_peer: Callable[..., Path]
) -> None:
    require_peer("postfix")
    sendmail = require_peer("sendmail", "postfix")
    if os.geteuid() != 0:
        missing_peer("a private Postfix needs root")
    with (
        Application() as app,
        NameServer(zones) as names,
        Inland(tmp_path, names) as daemon,
        open_folder() as folder,
        postfix(folder, daemon),
    ):
        daemon.route("shop", f'forward("{app.url("shop")}, {app.url("shop/mime")}")', "store()", "stop()")
        sent = parcel().as_bytes(policy=SMTP).replace(b"\r\n", b"\n")
        words = [str(sendmail), "-C", str(folder / "etc"), "-f", "ann@elsewhere.example", "-i"]
        subprocess.run([*words, f"shop@{DOMAIN}", f"nobody@{DOMAIN}"], input=sent, check=True, timeout=30)
        post = app.one("shop")
        assert (post["recipient"], post["sender"]) == (f"shop@{DOMAIN}", "ann@elsewhere.example")
        assert {name: file[2] for name, file in post.files.items()}["attachment-1"] == PICTURE
        assert post.is_signed(API_KEY)
        assert "with ESMTPS" in post["Received"]
        assert app.one("shop/mime")["body-mime"].endswith(sent.replace(b"\n", b"\r\n").decode())
        wait_until(lambda: "status=bounced" in log_of(folder), what="Postfix heard of nobody@")
        assert f"550 5.1.1 <nobody@{DOMAIN}>" in log_of(folder)
        assert "status=sent (250 2.0.0" in log_of(folder)
        daemon.settled(f"shop@{DOMAIN}", "stored")
        daemon.until_drained()
        assert daemon.check()["faults"] == []


@pytest.mark.slow
def test_postfix_brings_many_and_every_post_is_made_once(tmp_path: Path, require_peer: Callable[..., Path]) -> None:
    require_peer("postfix")
    source = require_peer("smtp-source", "postfix")
    if os.geteuid() != 0:
        missing_peer("a private Postfix needs root")
    with (
        Application() as app,
        NameServer(zones) as names,
        Inland(tmp_path, names) as daemon,
        open_folder() as folder,
        postfix(folder, daemon) as port,
    ):
        daemon.route("", f'forward("{app.url("many")}")', expression="catch_all()")
        words = [str(source), "-s", "10", "-m", "200", "-l", "4096", "-f", "ann@elsewhere.example", "-N"]
        subprocess.run(
            [*words, "-t", f"bob@{DOMAIN}", f"127.0.0.1:{port}"], check=True, capture_output=True, timeout=120
        )
        posts = app.got("many", 200, timeout=120.0)
        daemon.until_drained()
        assert len({post["recipient"] for post in posts}) == len(app.at("many")) == 200
        report = daemon.check()
        assert (report["faults"], report["accepted"], report["delivered"]) == ([], 200, 200)
