"""Commands whose reader goes away, as `mtad events | head` does."""

import os
import subprocess
import sys

import pytest

from mtad.cli.output import UNREAD


@pytest.mark.parametrize(
    "line",
    ["queue list", "events", "events --json", "message show {message}", "captured show {captured} --raw", "check"],
)
def test_a_command_nobody_reads_ends_without_a_word(store, line):
    """The reader is gone before the first word: nothing but that can happen."""
    reader, writer = os.pipe()
    os.close(reader)
    words = line.format(message=store.message, captured=store.captured).split()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mtad", *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "MTAD_DATA": str(store.folder)},
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (UNREAD, b"")
