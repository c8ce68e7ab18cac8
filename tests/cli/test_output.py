"""What commands print; and readers that go away, as that of `mtad events | head` does."""

import json
import os
import subprocess
import sys

import pytest

from mtad.cli.output import UNREAD, Output


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


def test_an_object_is_one_line_to_every_reader(capsysbinary):
    value = {"subject": "a\x85b\u2028c\u2029d\ne\x0bf\x1cgü"}
    Output(True).object(value)
    printed = capsysbinary.readouterr().out.decode()
    [line] = printed.splitlines()
    assert json.loads(line) == value
    assert "ü" in line
