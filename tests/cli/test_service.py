import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from mtad.storage.database import StoreError


@dataclass(frozen=True)
class DevOptions:
    data: Path | None
    mx: str
    submission: str
    submissions: str
    http: str | None
    relay: str | None
    password: str | None
    api_key: str | None
    ready_file: Path | None
    set: tuple[str, ...]


@pytest.fixture
def rooms(monkeypatch):
    """Stand-ins for the daemon: what they were called with, and what they raise."""
    called, raises = [], []

    def begin(*args):
        called.append(args)
        if raises:
            raise raises[0]

    daemon, dev = ModuleType("mtad.daemon"), ModuleType("mtad.dev")
    daemon.serve, dev.dev, dev.DevOptions = begin, begin, DevOptions
    monkeypatch.setitem(sys.modules, "mtad.daemon", daemon)
    monkeypatch.setitem(sys.modules, "mtad.dev", dev)
    return called, raises


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "mtad.toml"
    file.write_text("[smtp]\nmax_recipients = 5\n")
    return file


def test_serve_gets_the_configuration_and_a_way_to_read_it_again(mtad, rooms, file):
    mtad("serve --set smtp.max_errors=3 --config", str(file))
    (config, reread) = rooms[0][0]
    assert (config.smtp.max_recipients, config.smtp.max_errors) == (5, 3)
    file.write_text("[smtp]\nmax_recipients = 6\n")
    assert (reread().smtp.max_recipients, reread().smtp.max_errors) == (6, 3)


def test_dev_without_options_is_what_the_manual_says(mtad, rooms):
    mtad("dev")
    assert rooms[0] == [
        (
            DevOptions(
                None, "127.0.0.1:2525", "127.0.0.1:5587", "127.0.0.1:4465", "127.0.0.1:8025", None, None, None, None, ()
            ),
        )
    ]


def test_dev_hands_every_option_on(mtad, rooms):
    mtad(
        "dev --data d --mx 127.0.0.1:0 --submission [::1]:0 --submissions 127.0.0.1:1 --http 127.0.0.1:2"
        " --relay mx:25 --password p --api-key k --ready-file r --set a.b=1 --set c.d=2"
    )
    options = rooms[0][0][0]
    assert options == DevOptions(
        Path("d"),
        "127.0.0.1:0",
        "[::1]:0",
        "127.0.0.1:1",
        "127.0.0.1:2",
        "mx:25",
        "p",
        "k",
        Path("r"),
        ("a.b=1", "c.d=2"),
    )


def test_an_address_that_is_none_is_a_usage_error(mtad, rooms):
    assert "must be" in mtad("dev --mx nonsense", code=2).stderr
    assert rooms[0] == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("the store was written by a newer mtad"), "the store was written by a newer mtad"),
        (OSError(98, "Address already in use"), "Address already in use"),
        (PermissionError(13, "Permission denied", "/etc/mtad/key.pem"), "/etc/mtad/key.pem: Permission denied"),
        (ExceptionGroup("tasks", [StoreError("gone"), StoreError("gone")]), "gone"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "dev"])
def test_what_keeps_a_daemon_from_starting_is_one_line(refusal, rooms, file, error, said, command):
    rooms[1].append(error)
    line = ("serve --config", str(file)) if command == "serve" else ("dev",)
    assert refusal(*line) == f"mtad: {said}\n"


def test_a_fault_of_the_program_keeps_its_traceback(rooms):
    from click.testing import CliRunner

    from mtad.cli.main import main

    rooms[1].append(RuntimeError("broken"))
    assert isinstance(CliRunner().invoke(main, ["dev"]).exception, RuntimeError)


def test_ctrl_c_ends_a_daemon_quietly(mtad, rooms):
    rooms[1].append(KeyboardInterrupt())
    assert mtad("dev", code=130).output == ""


def test_serve_with_a_bad_configuration_never_begins(refusal, rooms, file):
    file.write_text("[smtp]\nmax_recipients = 0\n")
    assert "smtp.max_recipients" in refusal("serve --config", str(file))
    assert rooms[0] == []


def test_serve_needs_a_configuration(mtad, rooms):
    mtad("serve", code=2)


def test_a_right_configuration_is_called_right(mtad, file):
    assert mtad("check-config", str(file)).stdout == f"{file}: no mistakes\n"


def test_what_a_configuration_should_say_is_told_and_is_no_mistake(mtad, file):
    assert "warning: inbound.postmaster is not set" in mtad("check-config", str(file)).stderr
    file.write_text('[inbound]\npostmaster = "ops@example.org"\n')
    assert mtad("check-config", str(file)).stderr == ""


@pytest.mark.parametrize("text", ["ops", "@example.org", "o ps@example.org", "ops@-.org"])
def test_the_postmaster_must_be_an_address(refusal, file, text):
    file.write_text(f'[inbound]\npostmaster = "{text}"\n')
    assert "inbound.postmaster" in refusal("check-config", str(file))


def test_every_mistake_of_a_configuration_has_its_line(mtad, file):
    file.write_text("[smtp]\nmax_recipients = 0\nno_such_key = 1\n")
    result = mtad("check-config", str(file), code=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 2
    assert all(line.startswith(f"mtad: {file}: smtp.") for line in result.stderr.splitlines())


def test_the_files_that_come_with_mtad_are_right(mtad):
    conf = Path(__file__).resolve().parents[2] / "conf"
    mtad("check-config", str(conf / "mtad.toml"))
    mtad("check-config", str(conf / "dev.toml"))
