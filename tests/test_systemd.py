"""The systemd units: systemd itself finds nothing wrong, and they agree with what the daemon takes."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from mtad.config import ServerConfig, SmtpConfig, parse_listen
from tests.peers import missing_peer, require_peer

UNITS = Path(__file__).resolve().parent.parent / "systemd"
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
