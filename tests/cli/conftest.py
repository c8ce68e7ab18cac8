"""Commands as a shell would call them, against a store with mail in it, with and without a daemon."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from mtad.cli import place
from mtad.cli.main import main
from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.mail.ids import queue_id
from mtad.storage.outgoing import State
from tests.api.house import Daemon, open_house

HOP = {"ip": "192.0.2.9", "sending-ip": "192.0.2.1"}
STATUS = {"code": 451, "enhanced-code": "4.7.1", "message": "greylisted\x1b[31m", "attempt-no": 1, "mx-host": "mx.x"}


@pytest.fixture(autouse=True)
def alone(tmp_path_factory, monkeypatch):
    """No other mtad of this machine is in sight."""
    nowhere = tmp_path_factory.mktemp("nowhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(nowhere))
    monkeypatch.delenv("MTAD_DATA", raising=False)
    monkeypatch.delenv("MTAD_DEBUG", raising=False)
    monkeypatch.setattr(place, "SYSTEM_CONFIG", nowhere / "mtad.toml")
    return nowhere


@pytest.fixture
def mtad():
    """mtad("queue list", …) -> click's result; code: the exit code it must have."""

    def call(line, *more, code=0, stdin=None):
        result = CliRunner().invoke(main, [*line.split(), *more], input=stdin)
        assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def refusal(mtad):
    """The one line on standard error that a command ends with."""

    def call(line, *more):
        result = mtad(line, *more, code=1)
        assert result.stdout == ""
        assert result.stderr.startswith("mtad: ")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
        return result.stderr

    return call


class Store:
    """message: one to bob and eve, bob's deferred once. captured: a copy of it."""

    def __init__(self, folder):
        self.folder = folder
        asyncio.run(self._fill())

    async def _fill(self):
        async with open_house(self.folder, SystemClock()) as house:
            number = await house.message("bob@example.net", "eve@example.net")
            detail = {"severity": "temporary", "reason": "greylisted", "cause": "greylisted", "hop": HOP}
            status = {**STATUS, "retry-seconds": 900.0}
            detail["delivery-status"] = status
            await house.settle(number + 1, EventType.FAILED_TEMPORARY, State.WAITING, detail)
            await house.settle(number + 1, EventType.INTERRUPTED, State.WAITING, {"attempt-no": 2})
            self.message = queue_id(number)
            self.bob, self.eve = queue_id(number + 1), queue_id(number + 2)
            self.captured = queue_id(await house.capture(number))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MTAD_DATA", str(tmp_path))
    return Store(tmp_path)


@pytest.fixture
def daemon(store):
    with Daemon(store.folder) as daemon:
        yield daemon


@pytest.fixture
def as_json(mtad):
    def call(line, *more, code=0, stdin=None):
        return json.loads(mtad(line, *more, "--json", code=code, stdin=stdin).stdout)

    return call
