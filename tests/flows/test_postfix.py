"""A real Postfix with mtad as its smarthost, configured as a user's manual would: SASL over TLS on 587."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import PASSWORD, Daemon, Sink, wait_until
from tests.peers import missing_peer

COUNT = int(os.environ.get("MTAD_POSTFIX_MESSAGES", "200"))
MAIN = """compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = client.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
in_flow_delay = 0
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
relayhost = [{host}]:{port}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = static:{login}:{password}
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = verify
smtp_tls_CAfile = {ca}
smtp_tls_verify_cert_match = sandbox.mtad.test
smtp_tls_note_starttls_offer = yes
"""
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
flush unix n - n 1000? 0 flush
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_folder() -> Iterator[Path]:
    """One that the user Postfix runs as may enter. Any pytest that starts closes the folders of all others."""
    with tempfile.TemporaryDirectory(prefix="mtad-postfix-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def postfix(folder: Path, daemon: Daemon) -> Iterator[int]:
    """The port where it takes mail; ends with the processes it started."""
    host, smarthost = daemon.address("submission")
    conf, port = folder / "etc", free_port()
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    certificate = folder / "ca.pem"
    shutil.copy(daemon.ready["ca_file"], certificate)
    certificate.chmod(0o644)
    values = {"dir": folder, "host": host, "port": smarthost, "login": daemon.login, "password": PASSWORD}
    (conf / "main.cf").write_text(MAIN.format(**values, ca=certificate))
    (conf / "master.cf").write_text(MASTER.format(port=port))
    started = subprocess.run(["postfix", "-c", conf, "start"], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="Postfix listens")
        yield port
    finally:
        subprocess.run(["postfix", "-c", conf, "stop"], capture_output=True, check=False)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_postfix_smarthost_loses_nothing_on_the_way_through(
    tmp_path: Path, require_peer: Callable[..., Path]
) -> None:
    require_peer("postfix")
    source = require_peer("smtp-source", "postfix")
    if os.geteuid() != 0:
        missing_peer("a private Postfix needs root")
    with (
        Sink() as sink,
        Daemon(tmp_path, relay=sink.address) as daemon,
        open_folder() as folder,
        postfix(folder, daemon) as port,
    ):
        words = [str(source), "-s", "20", "-m", str(COUNT), "-l", "2048", "-f", "a@sandbox.mtad.test", "-N"]
        words += ["-t", "bob@example.net", f"127.0.0.1:{port}"]
        subprocess.run(words, check=True, capture_output=True, timeout=300)
        wait_until(lambda: len({rcpt for _, rcpt in list(sink.taken)}) == COUNT, 300.0, "all at the sink")
        daemon.until_drained()
        report = daemon.check()
        accepted = daemon.events("--event", "accepted")[-1]
        assert report["accepted"] == report["delivered"] == COUNT
        assert accepted["flags"]["is-authenticated"] is True
