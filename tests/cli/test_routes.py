import pytest

MESSAGE = "Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\n and help\nX-Flag: Yes\n\nbody\n"
BOB = 'match_recipient("(?P<user>.*)@example.org")'


@pytest.fixture
def add(as_json):
    def call(expression, *actions, options=()):
        flags = [word for action in actions for word in ("--action", action)]
        return as_json("route add", expression, *flags, *options)

    return call


@pytest.fixture
def mail(tmp_path):
    file = tmp_path / "msg.eml"
    file.write_text(MESSAGE)
    return str(file)


def test_routes_are_added_listed_shown_changed_and_removed(store, mtad, as_json, add):
    one = add(BOB, 'forward("a@example.net")', "stop()", options=("--priority", "5", "--description", "Bob's"))
    two = add("catch_all()", "store()", options=("--priority", "-1"))
    assert (one["expression"], one["actions"]) == (BOB, ['forward("a@example.net")', "stop()"])
    listed = as_json("route list")
    assert (listed["total"], [item["id"] for item in listed["items"]]) == (2, [two["id"], one["id"]])
    assert [item["id"] for item in as_json("route list --limit 1 --skip 1")["items"]] == [one["id"]]
    assert "1 of 2 routes" in mtad("route list --limit 1").stdout
    changed = as_json("route set", one["id"], "--priority", "-2")
    assert changed == {**one, "priority": -2}
    assert as_json("route show", one["id"]) == changed
    assert as_json("route set", one["id"], "--action", "stop()")["actions"] == ["stop()"]
    assert as_json("route remove", one["id"]) == {"removed": one["id"]}
    assert [item["id"] for item in as_json("route list")["items"]] == [two["id"]]


def test_the_explainer_tells_why(store, mtad, as_json, add, mail):
    one = add(BOB + ' and match_header("Subject", "Größe.*(help)")', r'forward("http://a.example/\g<user>/\2/mime")')
    two = add("catch_all()", "store()")
    said = mtad("route test --recipient bob@example.org --file", mail).stdout
    assert f"{one['id']}  priority 0: matched: the expression is true" in said
    assert r"\g<user> is 'bob'" in said
    assert "-> forward http://a.example/bob/help/mime (the message itself)" in said
    assert "[looked at 'Größe and help']" in said
    assert f"{two['id']}  priority 0: no match: a route before this one matched" in said
    verdicts = as_json("route test --recipient eve@other.example --file", mail)
    assert [(one["verdict"], one["conditions"][0]["said"]) for one in verdicts] == [
        ("no match", False),
        ("matched", True),
    ]


def test_no_route_that_takes_a_message_is_exit_code_1(store, mtad, add):
    assert "There is no route" in mtad("route test --recipient bob@example.org", code=1).stdout
    add(BOB, "stop()")
    said = mtad("route test --recipient bob@other.example", code=1).stdout
    assert "the recipient does not match from its start" in said
    assert "No route takes this message for bob@other.example." in said


def test_the_same_by_the_running_daemon(daemon, mtad, as_json, add, mail):
    add(BOB, "stop()")
    [verdict] = as_json("route test --recipient bob@example.org --file", mail)
    assert verdict["actions"] == [{"action": "stop", "kind": "", "to": ""}]
    assert as_json("route list")["total"] == 1


def test_what_cannot_be_is_refused_in_one_line(store, refusal, add):
    assert "before “a”)" in refusal("route add", "match_recipient(“a”)", "--action", "stop()")
    assert "neither an address nor a URL" in refusal("route add", "catch_all()", "--action", 'forward("x")')
    assert "captures none" in refusal("route add", "catch_all()", "--action", r'forward("\1@example.org")')
    assert "unterminated subpattern" in refusal("route add", 'match_recipient("(")', "--action", "stop()")
    assert "no route 12" in refusal("route show", "12")
    assert "no route" in refusal("route remove", "0" * 24)
    assert "is no address" in refusal("route test", "--recipient", "bob")
    made = add(BOB, r'forward("\g<user>@example.net")')
    assert "'user'" in refusal("route set", made["id"], "--expression", "catch_all()")
    assert "priority" in refusal("route set", made["id"], "--priority", str(1 << 40))


def test_a_change_needs_something_to_change(store, mtad):
    assert "Name what to set" in mtad("route set 12", code=2).stderr


def test_hostile_text_does_not_drive_the_terminal(store, mtad, add, tmp_path):
    add('match_header("Subject", "(.*)")', r'forward("http://a.example/\1")')
    file = tmp_path / "msg.eml"
    file.write_bytes(b"Subject: =?utf-8?q?=1B[31m?=\n\n")
    said = mtad("route test --recipient bob@example.org --file", str(file)).stdout
    assert "\x1b" not in said
