"""mtad dkim: keys added, published, used and removed, with and without a daemon."""

import pytest

DOMAIN = "ours.example"


@pytest.fixture(params=[True, False], ids=["daemon", "store"])
def keys(request, store, as_json):
    """What `dkim list` has: selector -> whether it signs."""
    if request.param:
        request.getfixturevalue("daemon")
    return lambda: {one["selector"]: one["active"] for one in as_json(f"dkim list {DOMAIN}")}


def test_a_key_signs_when_it_is_told_to(mtad, as_json, keys):
    before = keys()
    said = mtad(f"dkim add {DOMAIN} New --bits 1024").stdout
    assert f"new._domainkey.{DOMAIN}. IN TXT " in said
    assert keys() == {**before, "new": not before}
    made = as_json(f"dkim add {DOMAIN} second --ed25519")
    assert (made["algorithm"], made["active"]) == ("ed25519-sha256", False)
    assert "signs." in mtad(f"dkim activate {DOMAIN} second").stdout
    assert keys()["second"] is True
    assert as_json(f"dkim deactivate {DOMAIN} second")["active"] is False
    assert "is removed" in mtad(f"dkim remove {DOMAIN} second --yes").stdout
    assert "second" not in keys()
    assert "new" in mtad("dkim list").stdout


def test_a_key_of_the_owner_s_is_taken_from_a_file_or_standard_input(mtad, as_json, keys, tmp_path):
    from mtad.message.dkim import Algorithm, make_key

    text = make_key(Algorithm.RSA, 2048).decode()
    file = tmp_path / "key.pem"
    file.write_text(text)
    from_file = as_json(f"dkim add {DOMAIN} file --pem {file}")
    from_pipe = as_json(f"dkim add {DOMAIN} pipe --pem -", stdin=text)
    assert from_file["record"]["value"] == from_pipe["record"]["value"]
    assert text.splitlines()[1] not in str(from_file)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dkim add nowhere.example x", "no domain"),
        (f"dkim add {DOMAIN} ..", "is no selector"),
        (f"dkim activate {DOMAIN} nothing", "has no DKIM key with the selector"),
        (f"dkim remove {DOMAIN} nothing --yes", "has no DKIM key with the selector"),
    ],
)
def test_what_cannot_be_done_is_said(refusal, store, line, says):
    assert says in refusal(line)


def test_a_file_without_a_key_is_refused(refusal, store, tmp_path):
    for text in ("", "\xe4", "-----BEGIN PRIVATE KEY-----\n"):
        (tmp_path / "x").write_text(text, "latin-1")
        assert "key" in refusal(f"dkim add {DOMAIN} x --pem {tmp_path / 'x'}")


@pytest.mark.parametrize("running", [True, False])
def test_a_domain_is_disabled_and_enabled(mtad, as_json, store, running, request):
    if running:
        request.getfixturevalue("daemon")
    assert "is disabled" in mtad(f"domain disable {DOMAIN}").stdout
    assert as_json(f"domain show {DOMAIN}")["state"] == "disabled"
    assert as_json(f"domain enable {DOMAIN}") == {"domain": DOMAIN, "disabled": False}
    assert as_json(f"domain show {DOMAIN}")["state"] != "disabled"
