import os
import stat
import tempfile
from pathlib import Path

import pytest

from mtad.api.base import Impossible
from mtad.cli import place


@pytest.fixture
def pointer(alone):
    return alone / "mtad-dev.json"


def tell(data="/data", pid=None):
    place.write_pointer({"pid": pid or os.getpid(), "data": data, "password": "secret", "api_key": "key"})


def test_a_running_dev_is_found_and_its_secrets_are_not_in_the_pointer(pointer):
    tell("/some/data")
    assert place.read_pointer() == Path("/some/data")
    assert stat.S_IMODE(pointer.stat().st_mode) == 0o600
    assert b"secret" not in pointer.read_bytes()
    place.remove_pointer()
    assert not pointer.exists()
    assert place.read_pointer() is None
    place.remove_pointer()


def test_without_a_runtime_folder_the_pointer_is_in_the_temporary_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert place.pointer_file() == tmp_path / f"mtad-dev-{os.geteuid()}.json"


def test_the_pointer_of_a_process_that_is_no_more_is_not_believed(pointer):
    tell(pid=2**22 + 1)  # above the largest Linux gives
    assert place.read_pointer() is None


def test_a_later_dev_keeps_its_pointer_when_an_earlier_one_ends(pointer):
    tell(pid=os.getppid())
    place.remove_pointer()
    assert pointer.exists()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"pid": "x", "data": "/d"}', b'{"pid": 1}', b'{"pid": -1, "data": "/"}']
)
def test_a_damaged_pointer_is_no_pointer(pointer, text):
    pointer.write_bytes(text)
    pointer.chmod(0o600)
    assert place.read_pointer() is None


def test_a_pointer_others_may_read_or_write_is_not_believed(pointer):
    tell()
    pointer.chmod(0o666)
    assert place.read_pointer() is None


def test_a_link_is_not_followed(pointer, tmp_path):
    tell()
    pointer.rename(tmp_path / "real")
    pointer.symlink_to(tmp_path / "real")
    assert place.read_pointer() is None
    tell()
    assert not pointer.is_symlink()


def test_a_pipe_in_its_place_does_not_hang_us(pointer):
    os.mkfifo(pointer, 0o600)
    assert place.read_pointer() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_pointer_of_somebody_else_is_not_believed(pointer):
    tell()
    os.chown(pointer, 65534, 65534)
    assert place.read_pointer() is None


def test_the_order_is_data_config_environment_dev_system(tmp_path, monkeypatch):
    config = tmp_path / "a.toml"
    config.write_text('[server]\ndata_dir = "/from/config"\nhostname = "mail.example.org"\n')
    system = tmp_path / "system.toml"
    system.write_text('[server]\ndata_dir = "/from/system"\n')
    monkeypatch.setattr(place, "SYSTEM_CONFIG", system)
    tell("/from/dev")
    environ = {"MTAD_DATA": "/from/environment"}
    both = place.find(Path("/given"), config, environ)
    assert (both.folder, both.config.server.hostname) == (Path("/given"), "mail.example.org")
    assert place.find(None, config, environ).folder == Path("/from/config")
    assert place.find(None, None, environ).folder == Path("/from/environment")
    assert place.find(None, None, {}).folder == Path("/from/dev")
    place.remove_pointer()
    assert place.find(None, None, {}).folder == Path("/from/system")
    system.unlink()
    with pytest.raises(Impossible, match="--data or --config"):
        place.find(None, None, {})


def test_nothing_to_go_by_is_one_line(refusal):
    assert "which mtad?" in refusal("queue list")


def test_a_configuration_with_a_mistake_is_one_line(refusal, tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("[server]\nno_such_key = 1\n")
    assert "no_such_key" in refusal("queue list --config", str(file))
    assert "cannot be read" in refusal("queue list --config", str(tmp_path / "none.toml"))
