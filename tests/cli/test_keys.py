import pytest


def test_a_key_is_made_listed_and_revoked(mtad, as_json, store):
    text = mtad("key add ci --domain ours.example").stdout
    key = text.split()[-1]
    assert key.startswith("key-")
    (item,) = as_json("key list")
    assert (item["name"], item["domain"]) == ("ci", "ours.example")
    assert key not in mtad("key list").stdout
    assert as_json(f"key revoke {item['id']}") == {"revoked": item["id"]}
    assert "There is no key yet" in mtad("key list").stdout


def test_what_cannot_be_is_one_line(refusal, store):
    assert "no key 9" in refusal("key revoke 9")
    assert "no domain of ours" in refusal("key add x --domain other.example")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("send --to b@x.org --text x", "--from is missing"),
        ("send --to b@x.org --from nobody --text x", "is no author"),
        ("send --to b@x.org --from a@ours.example --header nonsense", "write it as NAME:VALUE"),
        ("send --to b@x.org --from a@ours.example --variable =x", "write it as NAME=VALUE"),
        ("send --to b@x.org --from a@ours.example --text x", "no daemon is running"),
    ],
)
def test_a_message_that_cannot_be_sent_says_why(refusal, store, line, said):
    assert said in refusal(line)
