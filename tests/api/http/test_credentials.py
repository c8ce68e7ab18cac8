import pytest

from mtad.api.passwords import is_right
from mtad.storage import accounts
from tests.api.http.account import open_account
from tests.api.http.house import DOMAIN, OTHER
from tests.virtualclock import VirtualClock

BASES = [f"/v3/domains/{DOMAIN}/credentials", f"/v2/{DOMAIN}/credentials", f"/v3/{DOMAIN}/credentials"]


@pytest.fixture
async def account(tmp_path):
    async with open_account(tmp_path, VirtualClock()) as account:
        yield account


@pytest.fixture
def logins(account):
    """Login -> hash."""

    async def read():
        return {row.login: row.hash for row in await account.house.database.read(accounts.credentials)}

    return read


@pytest.mark.parametrize("base", BASES)
async def test_a_login_lives_under_both_paths(account, logins, base):
    made = await account.json("POST", base, data={"login": f"Alice@{DOMAIN}", "password": "secret"})
    assert made == {"message": "Created 1 credentials pair(s)"}
    one = {
        "login": f"alice@{DOMAIN}",
        "mailbox": f"alice@{DOMAIN}",
        "size_bytes": 0,
        "created_at": "Tue, 14 Nov 2023 22:13:20 GMT",
    }
    assert await account.json("GET", base) == {"total_count": 1, "items": [one]}
    assert is_right((await logins())[f"alice@{DOMAIN}"], "secret")
    assert await account.json("PUT", f"{base}/alice", data={"password": "other"}) == {"message": "Password changed"}
    assert is_right((await logins())[f"alice@{DOMAIN}"], "other")
    gone = await account.json("DELETE", f"{base}/alice%40{DOMAIN}")
    assert gone == {"message": "Credentials have been deleted", "spec": f"alice@{DOMAIN}"}
    assert await logins() == {}


@pytest.mark.parametrize("name", ["login", "mailbox"])
async def test_without_a_password_one_is_made_and_shown_once(account, logins, name):
    made = await account.json("POST", BASES[0], data={name: "bob"})
    assert made["message"] == "Created 1 credentials pair(s)"
    assert made["note"]
    password = made["credentials"][f"bob@{DOMAIN}"]
    assert is_right((await logins())[f"bob@{DOMAIN}"], password)
    changed = await account.json("PUT", f"{BASES[0]}/bob@{DOMAIN}")
    assert changed["message"] == "Password changed"
    assert is_right((await logins())[f"bob@{DOMAIN}"], changed["credentials"][f"bob@{DOMAIN}"])
    assert password not in await (await account.client("GET", BASES[0])).text()


async def test_all_are_removed_and_those_of_other_domains_stay(account, logins):
    for login in ("a", "b", "c"):
        await account.json("POST", BASES[0], data={"login": login, "password": "secret"})
    await account.json("POST", f"/v3/domains/{OTHER}/credentials", data={"login": "d", "password": "secret"})
    found = await account.json("GET", f"{BASES[0]}?limit=2&skip=1")
    assert ([one["login"] for one in found["items"]], found["total_count"]) == ([f"b@{DOMAIN}", f"c@{DOMAIN}"], 3)
    gone = await account.json("DELETE", BASES[0])
    assert gone == {"message": "All domain credentials have been deleted", "count": 3}
    assert list(await logins()) == [f"d@{OTHER}"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "login parameter is missing"),
        ({"login": "a b", "password": "secret"}, f"login parameter is no address of {DOMAIN}"),
        ({"login": f"a@{OTHER}", "password": "secret"}, f"login parameter is no address of {DOMAIN}"),
        ({"login": "a", "password": "tiny"}, "a password has at least 5 characters"),
        ({"login": "a", "password": "x" * 129}, "a password has at most 128 characters"),
        ({"login": "a", "password": "a\nbcdef"}, "a password has no control characters"),
    ],
)
async def test_what_can_be_no_login_is_400(account, logins, data, said):
    assert said in (await account.json("POST", BASES[0], 400, data=data))["message"]
    assert await logins() == {}


@pytest.mark.parametrize("length", [5, 32, 128])
async def test_passwords_of_these_lengths_are_taken(account, length):
    await account.json("POST", BASES[0], data={"login": "a", "password": "x" * length})


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("login", ["nobody", f"nobody@{DOMAIN}", f"d@{OTHER}", "a%20b"])
async def test_a_login_that_is_not_there_is_404(account, method, login):
    await account.json("POST", f"/v3/domains/{OTHER}/credentials", data={"login": "d", "password": "secret"})
    data = {"password": "secret"} if method == "PUT" else None
    found = await account.json(method, f"{BASES[0]}/{login}", 404, data=data)
    assert found == {"message": "Credentials not found"}


async def test_a_changed_password_is_the_only_one_that_logs_in(account):
    await account.json("POST", BASES[0], data={"login": "a", "password": "first one"})
    tenants, login = account.house.tenants, f"a@{DOMAIN}"
    assert await tenants.verify(login, "first one") == DOMAIN
    await account.json("PUT", f"{BASES[0]}/a", data={"password": "second one"})
    assert await tenants.verify(login, "first one") is None
    assert await tenants.verify(login, "second one") == DOMAIN
    await account.json("DELETE", f"{BASES[0]}/a")
    assert await tenants.verify(login, "second one") is None
