import asyncio
import fcntl
import os
import socket
import sqlite3
import stat

import pytest

from mtad.api import control
from mtad.api.operations import Operations
from mtad.cli import reach
from mtad.cli.place import Place
from mtad.cli.reach import open_desk
from mtad.clock import SystemClock
from mtad.config import Config


def test_a_folder_that_is_not_there_is_one_line(refusal, tmp_path):
    assert "there is no folder" in refusal("queue list --data", str(tmp_path / "none"))


def test_a_folder_without_a_store_is_one_line_and_stays_empty(refusal, tmp_path):
    assert "there is no store" in refusal("queue list --data", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_store_from_a_newer_version_is_one_line(refusal, store):
    connection = sqlite3.connect(store.folder / "mtad.sqlite")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "newer mtad" in refusal("queue list")


def test_a_store_that_is_none_is_one_line(refusal, store):
    for name in ("mtad.sqlite-wal", "mtad.sqlite-shm"):
        (store.folder / name).unlink(missing_ok=True)
    (store.folder / "mtad.sqlite").write_bytes(b"no database at all, but some text" * 100)
    assert "cannot open the store" in refusal("queue list")


def test_a_store_whose_lock_another_holds_is_one_line(refusal, store, monkeypatch):
    real = reach.hold
    monkeypatch.setattr(reach, "hold", lambda folder, clock: real(folder, clock, wait_s=0.0))
    with (store.folder / "lock").open("w") as file:
        file.write(str(os.getpid()))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert f"in use by another mtad (process {os.getpid()})" in refusal("queue list")


def test_a_socket_left_by_a_crash_is_no_daemon(mtad, store):
    (store.folder / "control.sock").write_text("")
    assert "No daemon is running" in mtad("queue list").stdout


def test_while_a_daemon_runs_commands_go_to_it_and_change_its_memory(as_json, daemon, store):
    as_json("domain add news.example")
    assert "news.example" in {view["name"] for view in as_json("domain list")}
    as_json("queue retry --all")
    assert daemon.runner.told == [("retry", None)]


def test_a_fault_of_the_program_is_one_line_that_says_how_to_see_more(refusal, store, monkeypatch):
    async def broken(self):
        raise RuntimeError("broken")

    monkeypatch.setattr(Operations, "check", broken)
    assert "internal error: RuntimeError('broken'); MTAD_DEBUG=1" in refusal("check")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work as somebody else")
def test_root_makes_no_file_that_the_folders_owner_could_not_write(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for above in (tmp_path, *tmp_path.parents[:3]):
        if str(above) != "/tmp":
            above.chmod(above.stat().st_mode | stat.S_IXOTH)
    os.chown(folder, 65534, 65534)

    async def add():
        async with open_desk(Place(folder, Config()), SystemClock(), create=True) as desk:
            await desk.ask(Operations.domain_add, "first.example")

    asyncio.run(add())
    assert os.geteuid() == 0
    assert {path.stat().st_uid for path in folder.iterdir()} == {65534}


def test_a_daemon_that_hangs_is_one_line_and_its_store_is_left_alone(refusal, store, monkeypatch):
    monkeypatch.setattr(control, "_HELLO_S", 0.05)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(control.socket_path(store.folder))
        door.listen()
        assert "does not answer: it took too long" in refusal("queue list")
