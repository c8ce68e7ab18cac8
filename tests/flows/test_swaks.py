"""Mail by swaks, as an operator tries a server out."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import PASSWORD, Daemon


@pytest.mark.parametrize(
    ("door", "mechanism", "options"),
    [
        ("submission", "PLAIN", []),
        ("submission", "LOGIN", ["--tls"]),
        ("submissions", "PLAIN", ["--tls-on-connect"]),
    ],
    ids=["plain", "starttls", "tls"],
)
def test_swaks_logs_in_and_its_mail_is_taken(
    tmp_path: Path, require_peer: Callable[..., Path], door: str, mechanism: str, options: list[str]
) -> None:
    swaks = require_peer("swaks")
    with Daemon(tmp_path) as daemon:
        host, port = daemon.address(door)
        words = [str(swaks), "--server", host, "--port", str(port), "--from", "app@sandbox.mtad.test"]
        words += ["--to", "swaks@example.net", "--auth", mechanism, "--auth-user", daemon.login]
        words += ["--auth-password", PASSWORD, "--header", "Subject: by swaks", *options]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert b"Subject: by swaks" in daemon.captured("swaks@example.net")
