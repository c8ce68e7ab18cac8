import json

import pytest

from mtad.api.http import table
from mtad.api.http.call import Needs
from mtad.api.http.openapi import operation_id
from mtad.api.http.stubs import Stubs
from tests.api.http.chapter import Chapter
from tests.api.http.house import DOMAIN, open_house, serve


@pytest.fixture
async def client(tmp_path):
    async with open_house(tmp_path) as house, serve(house, [house.messages(), Stubs(), Chapter()]) as client:
        yield client


@pytest.fixture
async def document(client):
    return await client.json("GET", "/openapi.json", key=None)


def operations(document):
    return {(method, path): one for path, item in document["paths"].items() for method, one in item.items()}


async def test_every_row_is_described_and_nothing_else(client, document):
    rows = {
        (row.method.lower(), f"/v{version}{row.path}"): row for row in client.api.table.rows for version in row.versions
    }
    found = operations(document)
    assert set(found) == set(rows)
    for key, one in found.items():
        row = rows[key]
        assert one["operationId"] == operation_id(row, int(key[1][2]))
        assert (one.get("security") == []) == (row.needs is Needs.OPEN)


async def test_every_described_path_is_answered(client, document):
    for method, path in operations(document):
        full = path.replace("{domain}", DOMAIN)
        for name in [part for part in path.split("/") if part.startswith("{")]:
            full = full.replace(name, "x")
        assert client.api.table.find(method.upper(), full).row.path == path[3:]


async def test_the_document_is_sound(document):
    assert document["openapi"] == "3.1.0"
    found = operations(document)
    ids = [one["operationId"] for one in found.values()]
    assert len(ids) == len(set(ids))
    for (method, path), one in found.items():
        variables = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        assert [p["name"] for p in one["parameters"] if p["in"] == "path"] == variables
        assert "200" in one["responses"]
        assert method != "get" or "requestBody" not in one
        assert set(one["tags"]) <= {tag["name"] for tag in document["tags"]}
    text = json.dumps(document)
    for name in [part.split('"')[0] for part in text.split('"#/components/')[1:]]:
        group, _, member = name.partition("/")
        assert member in document["components"][group]


async def test_files_and_required_parameters_are_told(document):
    body = operations(document)["post", "/v3/{domain}/messages.mime"]["requestBody"]
    schema = body["content"]["multipart/form-data"]["schema"]
    assert body["required"] is True
    assert schema["required"] == ["to", "message"]
    assert schema["properties"]["message"]["contentMediaType"] == "application/octet-stream"
    assert schema["properties"]["to"]["type"] == "array"


def test_two_rows_for_one_call_are_a_mistake():
    rows = Stubs().rows()
    with pytest.raises(ValueError, match="is there twice"):
        table.Table([*rows, rows[0]])
