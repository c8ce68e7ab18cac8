"""A program that is missing is never passed over in silence."""

from pathlib import Path

import pytest

from tests.peers import require_peer


def test_a_program_that_is_there_is_found():
    assert require_peer("sh") == Path(require_peer("sh"))
    assert require_peer("sh").is_file()


def test_a_missing_program_skips_the_test_and_says_what_to_install(monkeypatch):
    monkeypatch.delenv("MTAD_REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NOT TESTED: no-such-program is not installed: apt-get install x"):
        require_peer("no-such-program", "x")


def test_a_missing_program_fails_the_test_where_programs_are_required(monkeypatch):
    monkeypatch.setenv("MTAD_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        require_peer("no-such-program")
