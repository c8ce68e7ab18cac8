"""Lines of the log: a fact is one line, whatever strangers put into it."""

import pytest

from mtad import log


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_in_a_value_ends_the_line(end):
    [line] = log._line("refused", {"rcpt": f"a{end}msg=forged@x.example", "ip": "192.0.2.1"}).splitlines()
    assert line.endswith('@x.example" ip=192.0.2.1')
    assert line.isprintable()
