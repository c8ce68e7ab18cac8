import pytest

from mtad.mail.token import Purpose
from mtad.storage.tracked import Place
from mtad.tracking.peers import peer_of
from mtad.tracking.places import Places
from mtad.tracking.settings import TrackingSettings
from tests.tracking.house import open_house
from tests.tracking.mmdb import write

AUSTIN = {
    "country": {"iso_code": "US", "names": {"en": "United States"}},
    "subdivisions": [{"iso_code": "TX", "names": {"en": "Texas"}}, {"iso_code": "9"}],
    "city": {"names": {"en": "Austin", "de": "Ostin"}},
}


@pytest.fixture
def file(tmp_path):
    strange = {"country": "DE", "subdivisions": {}, "city": {"names": ["x"]}}
    return write(
        tmp_path / "city.mmdb",
        {
            "127.0.0.0/8": AUSTIN,
            "192.0.2.0/25": {"country": {"iso_code": "DE"}},
            "192.0.2.128/25": {"country": {"iso_code": "FR"}, "subdivisions": [{"names": {"en": "Brittany"}}]},
            "198.51.100.0/24": strange,
            "203.0.113.0/24": ["no", "map"],
        },
    )


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1", Place("US", "TX", "Austin")),
        ("192.0.2.1", Place("DE")),
        ("192.0.2.200", Place("FR", "Brittany")),
        ("198.51.100.1", Place()),
        ("203.0.113.1", Place()),
        ("8.8.8.8", Place()),
        ("2001:db8::1", Place()),
        ("nonsense", Place()),
    ],
)
def test_where_an_address_is(file, address, place):
    places = Places(file)
    assert places.of(peer_of(address)) == place
    places.close()
    assert places.of(peer_of(address)) == Place()


def test_without_a_database_all_is_unknown():
    assert Places(None).of(peer_of("127.0.0.1")) == Place("Unknown", "Unknown", "Unknown")


def lines(caplog):
    return [record.message.split()[0] for record in caplog.records if "geoip" in record.message]


@pytest.mark.parametrize("content", [None, b"no database", b"", "half"])
def test_a_file_that_is_none_is_one_line_in_the_log_and_all_is_unknown(tmp_path, file, content, caplog):
    bad = tmp_path / "bad.mmdb"
    if content is not None:
        whole = file.read_bytes()
        bad.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    places = Places(bad)
    assert [places.of(peer_of("127.0.0.1")) for _ in range(3)] == [Place()] * 3
    assert lines(caplog) == ["geoip-unusable"]
    assert "bad.mmdb" in caplog.text
    bad.write_bytes(file.read_bytes())
    places.load(bad)
    assert places.of(peer_of("127.0.0.1")) == Place("US", "TX", "Austin")
    places.close()


def test_what_cannot_be_used_leaves_the_database_before_in_force(tmp_path, file, caplog):
    places = Places(file)
    file.write_bytes(b"")  # over the file that is in use: a mapping of it would be gone
    assert places.of(peer_of("127.0.0.1")).city == "Austin"
    places.load(file)
    assert lines(caplog) == ["geoip-unusable"]
    assert places.of(peer_of("127.0.0.1")).city == "Austin"
    write(file, {"127.0.0.0/8": {"country": {"iso_code": "FR"}}})
    places.load(file)
    assert places.of(peer_of("127.0.0.1")) == Place("FR")
    places.load(None)
    assert places.of(peer_of("127.0.0.1")) == Place()


def test_damage_is_told_once(tmp_path, file, caplog):
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"\x42DE") - 20 : raw.index(b"\x42DE") + 20] = b"\xff" * 40
    file.write_bytes(raw)
    places = Places(file)
    for _ in range(3):
        assert places.of(peer_of("192.0.2.1")) == Place()
    assert lines(caplog) == ["geoip-damaged"]
    places.close()


def test_a_damaged_database_knows_nothing(tmp_path, file):
    raw = bytearray(file.read_bytes())
    marker = raw.index(b"\xab\xcd\xefMaxMind")
    for place in range(marker):  # the tree and the data, octet by octet
        damaged = tmp_path / "damaged.mmdb"
        damaged.write_bytes(raw[:place] + bytes((raw[place] ^ 0xFF,)) + raw[place + 1 :])
        places = Places(damaged)
        for address in ("127.0.0.1", "192.0.2.1", "198.51.100.1"):
            assert isinstance(places.of(peer_of(address)), Place)
        places.close()


async def test_an_event_says_where(tmp_path, file):
    async with open_house(tmp_path, TrackingSettings(geoip_file=file)) as house:
        await house.ask(house.path(Purpose.OPEN))
        await house.written(1)
        [(_, _, detail)] = await house.events()
        assert detail["geolocation"] == {"country": "US", "region": "TX", "city": "Austin"}
