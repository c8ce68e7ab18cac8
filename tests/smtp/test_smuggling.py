"""Every octet sequence of tests/data/end_of_data.toml, by DATA and BDAT: none makes a second message."""

import tomllib
from pathlib import Path

import pytest

from tests.smtp.sessions import Client

TABLE = tomllib.loads((Path(__file__).parent.parent / "data" / "end_of_data.toml").read_text(encoding="utf-8"))
VARIANTS = [pytest.param(row["octets"].encode(), row["then"], id=row["name"]) for row in TABLE["variant"]]

FIRST = b"Subject: first\r\n\r\ntext"
SECOND = b"MAIL FROM:<evil@smuggler.test>\r\nRCPT TO:<victim@ours.test>\r\nDATA\r\nSubject: second\r\n"
END = b"\r\n.\r\n"


def judge(client, then):
    final = [line[:9] for line in client.said if line[:3] not in ("354", "221")][-1]
    senders = [str(taken.reverse_path) for taken in client.taken]
    match then:
        case "refused":
            assert senders == []
            assert final in ("554 5.6.11", "554 5.6.1", "550 5.6.0")
        case "one":
            assert senders == ["ann@sender.test"]
            assert SECOND in client.taken[0].content
        case "two":
            assert senders == ["ann@sender.test", "evil@smuggler.test"]
    assert client.lines("NOOP") == ["250 2.0.0 Ok"]  # and the session is where we think it is


@pytest.mark.parametrize(("octets", "then"), VARIANTS)
@pytest.mark.parametrize("first", [FIRST, b""], ids=["after text", "at the very start"])
def test_data_ends_at_crlf_dot_crlf_only_wherever_packets_are_cut(octets, then, first):
    if not first:
        octets = octets.removeprefix(b"\r\n")  # the line before it is that of DATA
    stream = b"DATA\r\n" + first + octets + SECOND + END
    for cut in range(len(stream) + 1):
        client = Client().ready()
        client.send(stream[:cut])
        client.send(stream[cut:])
        judge(client, then)


@pytest.mark.parametrize(("octets", "then"), VARIANTS)
def test_data_ends_there_also_when_octets_come_one_by_one(octets, then):
    client = Client().ready()
    for octet in b"DATA\r\n" + FIRST + octets + SECOND + END:
        client.send(bytes([octet]))
    judge(client, then)


@pytest.mark.parametrize(("octets", "then"), VARIANTS)
@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_chunks_end_by_their_count_only(octets, then, pieces):
    content = FIRST + octets + SECOND + END
    size = len(content) // pieces
    chunks = [content[i * size : (i + 1) * size] for i in range(pieces - 1)] + [content[(pieces - 1) * size :]]
    stream = b"".join(b"BDAT %d\r\n" % len(one) + one for one in chunks[:-1])
    stream += b"BDAT %d LAST\r\n" % len(chunks[-1]) + chunks[-1]
    client = Client().ready()
    client.send(stream)
    judge(client, "refused" if then == "refused" else "one")


@pytest.mark.parametrize(("octets", "then"), VARIANTS)
def test_a_listed_client_is_mended_and_ends_data_no_earlier(octets, then):
    client = Client(bare_newlines=True).ready()
    client.send(b"DATA\r\n" + FIRST + octets + SECOND + END)
    if b"\0" in octets:
        assert client.taken == []
    else:
        assert len(client.taken) == (2 if then == "two" else 1)
        assert all(b"\n" not in taken.content.replace(b"\r\n", b"") for taken in client.taken)
