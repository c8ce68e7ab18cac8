"""The commands of `mtad suppression`, against a store with and without a daemon."""

import sqlite3

import pytest

from mtad.storage import suppressions

OURS = "ours.example"
BOB = "bob@example.net"


@pytest.fixture(params=[True, False], ids=["daemon", "store"])
def either(request, store):
    """Each test runs against a daemon and against the store alone."""
    if request.param:
        request.getfixturevalue("daemon")


def items(as_json, table):
    return as_json(f"suppression list {OURS} {table}")["items"]


@pytest.mark.usefixtures("either")
def test_what_is_added_is_listed_found_and_removed(mtad, as_json):
    assert "is in the bounces" in mtad(f"suppression add {OURS} bounces Bob@Example.net --code 5.1.1 --why gone").stdout
    [item] = items(as_json, "bounces")
    assert (item["address"], item["code"], item["words"], item["rule"]) == (BOB, "5.1.1", "gone", "")
    mtad(f"suppression add {OURS} unsubscribes {BOB} --tag News --tag sale")
    mtad(f"suppression add {OURS} complaints {BOB}")
    mtad(f"suppression add {OURS} complaints {BOB}")
    mtad(f"suppression allow {OURS} example.net --why ours")
    assert items(as_json, "unsubscribes")[0]["tags"] == ["news", "sale"]
    assert items(as_json, "complaints")[0]["count"] == 2
    assert items(as_json, "allowlist")[0]["address"] == "@example.net"
    assert as_json(f"suppression find {OURS} BOB@example.net")["tables"] == [
        "bounces",
        "unsubscribes",
        "complaints",
        "allowlist",
    ]
    mtad(f"suppression remove {OURS} unsubscribes {BOB} --tag NEWS")
    assert items(as_json, "unsubscribes")[0]["tags"] == ["sale"]
    assert as_json(f"suppression remove {OURS} complaints --all") == {"removed": 1}
    mtad(f"suppression remove {OURS} bounces {BOB}")
    mtad(f"suppression remove {OURS} allowlist @example.net")
    assert as_json(f"suppression find {OURS} {BOB}")["tables"] == ["unsubscribes"]


def test_tables_are_printed_for_people(mtad, store):
    mtad(f"suppression add {OURS} bounces {BOB} --why", "no\x1b[31m such user")
    mtad(f"suppression add {OURS} unsubscribes {BOB}")
    text = mtad(f"suppression list {OURS} bounces").stdout
    assert "ADDRESS" in text
    assert "(a person)" in text
    assert "\x1b" not in text
    assert "1 in the table; 1 shown." in text
    assert "all mail" in mtad(f"suppression list {OURS} unsubscribes").stdout
    assert "Nothing that was asked for" in mtad(f"suppression list {OURS} complaints").stdout


@pytest.mark.usefixtures("either")
def test_a_file_is_imported_and_bad_rows_are_skipped(mtad, as_json):
    text = (
        "\ufeffAddress,tags,created_at,extra\r\n"
        f'{BOB},"News, sale",1700000000,x\r\n'
        "no address,,,\r\n"
        'eve@example.net,,"Tue, 14 Nov 2023 22:13:20 +0000",\r\n'
        "\r\n"
        "ann@example.net,,yesterday,\r\n"
    )
    said = mtad(f"suppression import {OURS} unsubscribes -", stdin=text).stdout
    assert said.startswith("2 added, 2 skipped.\n")
    assert "line 3: 'no address' is no address" in said
    found = items(as_json, "unsubscribes")
    assert [(item["address"], item["tags"], item["created_at"]) for item in found] == [
        (BOB, ["news", "sale"], 1_700_000_000.0),
        ("eve@example.net", ["*"], 1_700_000_000.0),
    ]


@pytest.mark.usefixtures("either")
def test_a_large_file_goes_in_pieces(as_json):
    lines = [f'u{n}@example.net,550,"{"no such user " * 20}"' for n in range(5000)]
    lines[4000] = "wrong,550,x"
    text = "\n".join(["address,code,error", *lines]) + "\n"
    said = as_json(f"suppression import {OURS} bounces -", stdin=text)
    assert (said["added"], said["skipped"]) == (4999, 1)
    assert said["first_fault"].startswith("line 4002: ")
    assert as_json(f"suppression list {OURS} bounces --limit 1")["total"] == 4999


def test_the_list_goes_on_where_it_was_left(as_json, mtad, store):
    for n in range(5):
        mtad(f"suppression add {OURS} bounces u{n}@example.net")
    names = [
        item["address"]
        for item in as_json(f"suppression list {OURS} bounces --limit 2 --after U1@example.net")["items"]
    ]
    assert names == ["u2@example.net", "u3@example.net"]
    assert len(as_json(f"suppression list {OURS} bounces --begins u3")["items"]) == 1


def test_what_one_rule_did_is_undone(mtad, as_json, store):
    with sqlite3.connect(store.folder / "mtad.sqlite") as connection:
        rows = [(1, f"u{n}@example.net", "550", "no", "user-unknown", 1_700_000_000.0 + n) for n in range(1500)]
        suppressions.add_bounces(connection, [*rows, (1, BOB, "550", "no", "mailbox-full", 1_700_000_000.0)])
    connection.close()
    line = f"suppression undo --rule user-unknown --since @1700000000 --until @1700001400 --domain {OURS}"
    assert "1400 bounces would be taken back." in mtad(f"{line} --dry-run").stdout
    assert as_json(f"{line} --dry-run") == {"removed": 0, "found": 1400}
    assert as_json(line) == {"removed": 1400, "found": 1400}
    assert as_json(f"suppression list {OURS} bounces")["total"] == 101
    assert "100 bounces taken back." in mtad("suppression undo --rule user-unknown --since @1700000000").stdout
    assert [item["address"] for item in items(as_json, "bounces")] == [BOB]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("add x.example bounces bob@example.net", "no domain of ours"),
        (f"add {OURS} bounces bob", "is no address"),
        (f"add {OURS} bounces {BOB} --code no", "is no code"),
        (f"allow {OURS} @", "is no address"),
        (f"remove {OURS} bounces {BOB}", "is not in the bounces"),
        ("list x.example bounces", "no domain of ours"),
        (f"find {OURS} bob", "is no address"),
        ("undo --rule r --since 1h --until 2h", "must begin before"),
        ("undo --rule r --since 1h --domain x.example", "no domain of ours"),
    ],
)
@pytest.mark.usefixtures("either")
def test_a_refusal_is_one_line(refusal, line, said):
    assert said in refusal(f"suppression {line}")


def test_a_file_without_addresses_is_refused(mtad, store):
    for text in ("", "name,code\nx,550\n"):
        result = mtad(f"suppression import {OURS} bounces -", stdin=text, code=1)
        assert "one of them must be `address`" in result.stderr


def test_remove_wants_to_know_what(mtad, store):
    for line in ("bounces", f"bounces {BOB} --all", f"bounces {BOB} --tag x", "unsubscribes --all --tag x"):
        assert "Name an address, or --all" in mtad(f"suppression remove {OURS} {line}", code=2).stderr
