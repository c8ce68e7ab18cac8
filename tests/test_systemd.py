"""The systemd units: systemd itself finds nothing wrong, and they agree with what the daemon takes."""

import configparser
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from mtad.config import ServerConfig, SmtpConfig, parse_listen
from tests.peers import missing_peer, require_peer

ROOT = Path(__file__).resolve().parent.parent
UNITS = ROOT / "systemd"
PROGRAM = "/opt/mtad/bin/mtad"
KINDS = ("mx", "submission", "submissions")
MOST_EXPOSURE = 20  # of 100; systemd calls up to 40 "OK" and an unhardened service 96 "UNSAFE"


@pytest.fixture
def units(tmp_path):
    """Copies of the units whose program is one that this machine has."""
    for file in [*UNITS.glob("*.service"), *UNITS.glob("*.socket")]:
        text = file.read_text(encoding="utf-8")
        (tmp_path / file.name).write_text(text.replace(PROGRAM, shutil.which("true") or "/bin/true"), encoding="utf-8")
    return sorted(tmp_path.iterdir())


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [require_peer("systemd-analyze", "systemd"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def read(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / name, encoding="utf-8")
    return unit


def test_systemd_finds_nothing_wrong(units):
    done = analyze("verify", "--man=no", *units)
    assert [line for line in done.stderr.splitlines() if "mtad" in line] == []
    assert done.returncode == 0, done.stderr


def test_systemd_would_find_a_misspelt_directive(units):
    service = next(unit for unit in units if unit.name == "mtad.service")
    service.write_text(service.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert "NoNewPrivilege" in analyze("verify", "--man=no", *units).stderr


def test_the_service_can_reach_little_of_the_machine(units):
    if "--offline" not in analyze("--help").stdout:
        missing_peer("systemd-analyze is older than 250 and cannot rate a unit file")
    service = next(unit for unit in units if unit.name == "mtad.service")
    done = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSURE}", "--no-pager", service)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_is_handed_every_socket_there_is():
    service = read("mtad.service")["Service"]
    assert sorted(service["Sockets"].split()) == sorted(file.name for file in UNITS.glob("*.socket"))
    assert service["ExecStart"] == f"{PROGRAM} serve --config /etc/mtad/mtad.toml"
    assert service["Type"] == "notify"


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_has_the_name_and_port_of_its_listener(kind):
    socket = read(f"mtad-{kind}.socket")["Socket"]
    (default,) = getattr(SmtpConfig(), kind)
    assert socket["FileDescriptorName"] == kind
    assert socket["Service"] == "mtad.service"
    assert int(socket["ListenStream"]) == parse_listen(default)[1]


def test_there_is_a_socket_for_each_kind_of_listener():
    assert {file.name for file in UNITS.glob("*.socket")} == {f"mtad-{kind}.socket" for kind in KINDS}


def test_stopping_leaves_transactions_the_time_the_configuration_gives_them():
    assert int(read("mtad.service")["Service"]["TimeoutStopSec"]) > ServerConfig().grace_s


def free_ports(number):
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [one.getsockname()[1] for one in held]


@pytest.fixture
def activated(tmp_path):
    """Ports by kind, of sockets that systemd listens on: the daemon starts at the first connection to one of them."""
    authority, ports = trustme.CA(), dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "mtad.toml").write_text(
        '[server]\ndata_dir = "data"\nhostname = "mail.test"\n[http]\nlisten = ["127.0.0.1:0"]\n'
        '[smtp]\ntls_certificate = "both.pem"\ntls_key = "both.pem"\n'
    )
    program = require_peer("systemd-socket-activate", "systemd")
    listen = [word for kind in KINDS for word in ("-l", f"127.0.0.1:{ports[kind]}")]
    daemon = [sys.executable, "-m", "mtad", "serve", "--config", str(tmp_path / "mtad.toml")]
    command = [program, *listen, f"--fdname={':'.join(KINDS)}", *daemon]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        try:
            yield process, ports, tmp_path
        finally:
            process.kill()


def test_a_connection_made_before_the_daemon_runs_is_answered_on_every_socket(activated):
    process, ports, folder = activated
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    for _ in KINDS:
        assert b"Listening" in process.stderr.readline()
    with smtplib.SMTP("localhost", ports["submission"], timeout=30) as client:
        client.starttls(context=context)
        client.ehlo()
        assert "PLAIN" in client.esmtp_features["auth"]
    with smtplib.SMTP("localhost", ports["mx"], timeout=30) as client:
        assert client.ehlo()[1].startswith(b"mail.test")
    with smtplib.SMTP_SSL("localhost", ports["submissions"], timeout=30, context=context) as client:
        assert client.noop()[0] == 250
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
