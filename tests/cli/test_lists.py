import pytest

DEV, BOB, EVE = "dev@ours.example", "bob@example.net", "eve@example.net"


@pytest.fixture
def dev(store, as_json):
    return as_json("list add", DEV, "--name", "Dev")


@pytest.fixture
def members(as_json):
    """What is on the list, by address."""

    def call(*options):
        found = as_json("list member list", DEV, *options)
        return {one["address"]: one for one in found["items"]}

    return call


def test_lists_are_made_listed_shown_changed_and_removed(store, mtad, as_json, refusal):
    assert "There is no mailing list" in mtad("list list").stdout
    assert mtad("list add", "Dev <dev@ours.example>", "--access", "members").stdout == f"{DEV} is a mailing list.\n"
    found = as_json("list list")
    assert (found["total"], [one["address"] for one in found["items"]]) == (1, [DEV])
    assert "members" in mtad("list list").stdout
    assert "already" in refusal("list add", DEV)
    assert "no domain of ours" in refusal("list add", "dev@elsewhere.example")
    changed = as_json("list set", DEV, "--address", "all@ours.example", "--reply", "sender")
    assert (changed["address"], changed["name"], changed["access_level"]) == ("all@ours.example", "Dev", "members")
    mtad("list set", DEV, code=2)
    shown = as_json("list show", "all@ours.example")
    assert (shown["list"], shown["stats"]["delivered"]) == (changed, 0)
    assert "0, 0 of them subscribed" in mtad("list show", "all@ours.example").stdout
    assert as_json("list remove", "all@ours.example") == {"removed": "all@ours.example", "members": 0}
    assert "not found; `mtad list list`" in refusal("list show", DEV)


def test_members_are_added_listed_and_removed(dev, mtad, as_json, members, refusal):
    added = as_json("list member add", DEV, BOB, "--name", "Bob", "--vars", '{"age": 26}')
    assert added == {"address": BOB, "name": "Bob", "subscribed": True, "vars": {"age": 26}}
    assert mtad("list member add", DEV, EVE, "--unsubscribed").stdout == f"{EVE} is on {DEV}.\n"
    assert refusal("list member add", DEV, BOB) == f"mtad: {BOB} is a member already\n"
    assert as_json("list member add", DEV, BOB, "--upsert", "--name", "Robert")["vars"] == {"age": 26}
    assert list(members()) == [BOB, EVE]
    assert list(members("--unsubscribed")) == [EVE]
    assert list(members("--after", BOB)) == [EVE]
    said = mtad("list member list", DEV).stdout
    assert "Robert" in said
    assert "2 on the list; 2 shown." in said
    assert as_json("list member remove", DEV, BOB) == {"removed": BOB}
    assert "not found" in refusal("list member remove", DEV, BOB)
    assert "not valid JSON" in refusal("list member add", DEV, BOB, "--vars", "{")


def test_a_file_is_imported_and_what_is_there_stays_unless_it_is_to_be_changed(dev, mtad, as_json, members):
    mtad("list member add", DEV, BOB, "--name", "Bob", "--unsubscribed")
    text = f"address,name,City\n{BOB},Robert,Bern\nnobody,,\n{EVE},Eve,\n"
    assert as_json("list member import", DEV, "-", stdin=text) == {
        "added": 1,
        "known": 1,
        "skipped": 1,
        "first_fault": "line 3: 'nobody' is no address: an address is local-part@domain",
    }
    assert (members()[BOB]["name"], members()[EVE]["vars"]) == ("Bob", {"City": ""})
    said = mtad("list member import", DEV, "-", "--upsert", stdin=text).stdout
    assert "0 added, 2 changed, 1 skipped." in said
    assert members()[BOB] == {"address": BOB, "name": "Robert", "subscribed": False, "vars": {"City": "Bern"}}


@pytest.mark.parametrize("header", ["", "address,name\n"])
def test_a_large_file_goes_in_pieces(dev, as_json, header):
    rows = "".join(f"u{place:05}@example.net,{'x' * 60}\n" for place in range(6000))
    found = as_json("list member import", DEV, "-", stdin=f"{header}{rows}nobody\n")
    line = 6001 + bool(header)
    assert found == {
        "added": 6000,
        "known": 0,
        "skipped": 1,
        "first_fault": f"line {line}: 'nobody' is no address: an address is local-part@domain",
    }
    assert as_json("list show", DEV)["list"]["members_count"] == 6000


def test_a_file_without_addresses_is_refused(dev, mtad):
    said = mtad("list member import", DEV, "-", code=1, stdin="name\nBob\n")
    assert "the first line must name the columns" in said.stderr


def test_it_works_through_a_daemon_too(daemon, as_json):
    as_json("list add", DEV)
    as_json("list member import", DEV, "-", stdin=f"{BOB},Bob\n")
    as_json("list member add", DEV, EVE, "--vars", '{"a": [1, {"b": null}]}')
    assert as_json("list member list", DEV, "--subscribed")["items"][1]["vars"] == {"a": [1, {"b": None}]}
    assert as_json("list set", DEV, "--access", "everyone")["access_level"] == "everyone"
    assert as_json("list remove", DEV)["members"] == 2


def test_a_file_that_is_not_utf_8_is_refused_and_nobody_gets_another_address(dev, mtad, as_json, tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes("address,name\nann@a.example,Ann\njörg@b.example,Jörg\n".encode("latin-1"))
    said = mtad("list member import", DEV, str(file), code=1)
    assert "not UTF-8; save the file as UTF-8" in said.stderr
    assert as_json("list member list", DEV)["items"] == []
