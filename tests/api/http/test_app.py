import pytest

from mtad.api.http.stubs import Stubs
from tests.api.http.house import DOMAIN, open_house, serve


@pytest.fixture
async def client(tmp_path):
    async with open_house(tmp_path) as house, serve(house, [Stubs()]) as client:
        yield client


async def test_a_row_answers_under_every_version(client):
    for version in (1, 2, 3, 4, 5):
        found = await client.json("GET", f"/v{version}/domains/{DOMAIN}/sending_queues")
        assert found["regular"] == {"is_disabled": False, "disabled": {"until": "", "reason": ""}}


@pytest.mark.parametrize("path", ["/", "/v3", "/v3/nowhere/at/all", "/v9/domains", "/domains", "/v3/domains/x/y/%ff"])
async def test_an_unknown_path_is_404_and_json(client, path):
    assert await client.json("GET", path, 404) == {"message": "Not Found"}


async def test_without_a_key_nothing_is_told(client):
    response = await client("GET", f"/v3/domains/{DOMAIN}/sending_queues", key=None)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="MG API"'
    assert await response.json() == {"message": "Forbidden"}
