import pytest


@pytest.fixture
def spring(as_json, store):
    return as_json("campaign add ours.example", "Spring sale", "--id", "spring")


def test_campaigns_are_added_listed_shown_and_removed(mtad, as_json, spring):
    made = as_json("campaign add ours.example Autumn")
    assert (spring["id"], spring["name"], spring["submitted"]) == ("spring", "Spring sale", 0)
    assert made["id"] not in ("", "spring")
    listed = as_json("campaign list ours.example")
    assert (listed["total"], [item["id"] for item in listed["items"]]) == (2, ["spring", made["id"]])
    assert [item["id"] for item in as_json("campaign list ours.example --limit 1 --skip 1")["items"]] == [made["id"]]
    assert "1 of 2 campaigns" in mtad("campaign list ours.example --limit 1").stdout
    assert as_json("campaign show ours.example spring") == spring
    assert "Spring sale" in mtad("campaign show ours.example spring").stdout
    assert as_json("campaign remove ours.example spring") == {"removed": "spring"}
    assert [item["id"] for item in as_json("campaign list ours.example")["items"]] == [made["id"]]


def test_the_same_by_the_running_daemon(daemon, as_json):
    made = as_json("campaign add ours.example", "Spring sale", "--id", "spring")
    assert as_json("campaign list ours.example")["items"] == [made]


def test_what_cannot_be_is_refused_in_one_line(store, refusal, spring):
    assert "already" in refusal("campaign add ours.example x --id spring")
    assert "ASCII" in refusal("campaign add ours.example x --id", "frühling")
    assert "ASCII" in refusal("campaign add ours.example x --id", "x" * 65)
    assert "name" in refusal("campaign add ours.example", "x" * 65)
    assert "no domain of ours" in refusal("campaign add nowhere.example x")
    assert "no campaign autumn" in refusal("campaign show ours.example autumn")
    assert "no campaign autumn" in refusal("campaign remove ours.example autumn")


def test_there_is_none(store, mtad):
    assert "There is no campaign" in mtad("campaign list ours.example").stdout
