"""Mailing lists and their members: found by the form for comparing, counted exactly, gone through in pieces."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtad.mail.lists import AccessLevel, MailingList, Member, MemberEntry, ReplyPreference, list_label
from mtad.storage import lists
from tests.storage.mail import NOW

DEV = MailingList(address="Dev@a.example", name="Dev", created_at=NOW)


@pytest.fixture
async def dev(database):
    return await database.writer.write(lambda c: lists.create(c, DEV))


def entries(*addresses, **said):
    return [MemberEntry(address, **said) for address in addresses]


def numbered(count):
    return [MemberEntry(f"u{place:06}@b.example") for place in range(count)]


async def counts(database, made):
    """As kept with the list, and as they are."""

    def read(c):
        found = lists.numbered(c, made.number)
        rows = c.execute("SELECT subscribed FROM list_members WHERE list_id = ?", (made.number,)).fetchall()
        return (found.members_count, found.subscribed_count), (len(rows), sum(row[0] for row in rows))

    kept, real = await database.read(read)
    assert kept == real
    return kept


async def test_a_list_is_found_in_any_case_and_by_its_number(database, dev):
    assert dev == replace(DEV, number=dev.number)
    assert (dev.key, dev.domain, list_label(dev.number)) == ("dev@a.example", "a.example", f"l:{dev.number}")
    assert await database.read(lambda c: lists.find(c, "dev@a.example")) == dev
    assert await database.read(lambda c: lists.numbered(c, dev.number)) == dev
    assert await database.read(lambda c: lists.find(c, "other@a.example")) is None


async def test_an_address_is_of_one_list(database, dev):
    other = await database.writer.write(lambda c: lists.create(c, replace(DEV, address="ops@a.example")))
    assert await database.writer.write(lambda c: lists.create(c, replace(DEV, address="dev@a.example"))) is None
    assert not await database.writer.write(lambda c: lists.replace(c, replace(other, address="DEV@a.example")))
    assert [one.address for one in await database.read(lists.lists)] == ["Dev@a.example", "ops@a.example"]
    assert await database.read(lists.count) == 2


async def test_members_stay_with_a_list_under_another_address(database, dev):
    await database.writer.write(lambda c: lists.put_members(c, dev.number, entries("bob@b.example")))
    new = replace(
        dev,
        address="all@a.example",
        description="All",
        access_level=AccessLevel.EVERYONE,
        reply_preference=ReplyPreference.SENDER,
        members_count=1,
        subscribed_count=1,
    )
    assert await database.writer.write(lambda c: lists.replace(c, new))
    assert await database.read(lambda c: lists.find(c, "all@a.example")) == new
    assert await database.read(lambda c: lists.find(c, "dev@a.example")) is None
    assert await database.read(lambda c: lists.is_member(c, new.number, "bob@b.example"))


async def test_a_removed_list_is_gone_at_once_and_its_members_in_pieces(database, dev):
    await database.writer.write(lambda c: lists.put_members(c, dev.number, numbered(250)))
    assert await database.writer.write(lambda c: lists.remove(c, dev.number))
    assert not await database.writer.write(lambda c: lists.remove(c, dev.number))
    assert await database.read(lambda c: (lists.find(c, dev.key), lists.numbered(c, dev.number))) == (None, None)
    assert not await database.writer.write(lambda c: lists.replace(c, dev))

    again = await database.writer.write(lambda c: lists.create(c, DEV))
    assert again.number != dev.number
    assert (again.members_count, await database.read(lists.count)) == (0, 1)

    assert [await database.writer.write(lambda c: lists.sweep(c, 100)) for _ in range(4)] == [100, 100, 51, 0]
    assert await database.read(lists.lists) == [again]


async def test_what_is_not_said_of_a_member_stays(database, dev):
    first = entries("Bob@b.example", name="Bob", subscribed=False, variables_json='{"a":1}')
    put = [
        (first, 1, Member("Bob@b.example", "Bob", False, '{"a":1}')),
        (entries("bob@B.example"), 0, Member("Bob@b.example", "Bob", False, '{"a":1}')),
        (entries("bob@b.example", subscribed=True), 0, Member("Bob@b.example", "Bob", True, '{"a":1}')),
        (entries("bob@b.example", name="", variables_json="{}"), 0, Member("Bob@b.example")),
    ]
    for some, added, expected in put:
        assert await database.writer.write(lambda c, some=some: lists.put_members(c, dev.number, some)) == added
        assert await database.read(lambda c: lists.member(c, dev.number, "bob@b.example")) == expected
        assert await counts(database, dev) == (1, int(expected.subscribed))


async def test_of_two_entries_with_one_key_the_later_one_changes_the_earlier(database, dev):
    some = [
        *entries("bob@b.example", name="Bob", subscribed=False),
        *entries("BOB@b.example", variables_json='{"b":2}'),
    ]
    assert await database.writer.write(lambda c: lists.put_members(c, dev.number, some)) == 1
    found = await database.read(lambda c: lists.member(c, dev.number, "bob@b.example"))
    assert found == Member("bob@b.example", "Bob", False, '{"b":2}')


async def test_members_of_one_list_are_not_those_of_another(database, dev):
    other = await database.writer.write(lambda c: lists.create(c, replace(DEV, address="ops@a.example")))
    await database.writer.write(lambda c: lists.put_members(c, dev.number, entries("bob@b.example")))
    await database.writer.write(lambda c: lists.put_members(c, other.number, entries("bob@b.example", "eve@b.example")))
    assert await database.writer.write(lambda c: lists.unsubscribe(c, other.number, "bob@b.example"))
    assert await counts(database, dev) == (1, 1)
    assert await counts(database, other) == (2, 1)
    some = ("bob@b.example", "eve@b.example", "pat@b.example")
    assert await database.read(lambda c: lists.present(c, dev.number, some)) == {"bob@b.example"}
    assert await database.read(lambda c: lists.present(c, other.number, some)) == {"bob@b.example", "eve@b.example"}


async def test_who_unsubscribes_stays_a_member_without_mail(database, dev):
    await database.writer.write(lambda c: lists.put_members(c, dev.number, entries("bob@b.example", "eve@b.example")))
    assert await database.writer.write(lambda c: lists.unsubscribe(c, dev.number, "bob@b.example"))
    assert not await database.writer.write(lambda c: lists.unsubscribe(c, dev.number, "bob@b.example"))
    assert not await database.writer.write(lambda c: lists.unsubscribe(c, dev.number, "pat@b.example"))
    assert await database.read(lambda c: lists.is_member(c, dev.number, "bob@b.example")) is False
    assert await database.read(lambda c: lists.member(c, dev.number, "bob@b.example")) == Member(
        "bob@b.example", subscribed=False
    )
    subscribed = await database.read(lambda c: lists.subscribed_after(c, dev.number, "", 10, wide=False))
    assert subscribed == [Member("eve@b.example")]
    assert await counts(database, dev) == (2, 1)


async def test_a_member_gets_another_address_unless_somebody_has_it(database, dev):
    await database.writer.write(lambda c: lists.put_members(c, dev.number, entries("bob@b.example", "eve@b.example")))
    bob, rob = Member("bob@b.example"), Member("Rob@b.example", "Rob", False, '{"c":3}')
    taken = replace(rob, address="EVE@b.example")
    assert not await database.writer.write(lambda c: lists.replace_member(c, dev.number, bob, taken))
    assert await database.writer.write(lambda c: lists.replace_member(c, dev.number, bob, rob))
    assert await database.read(lambda c: lists.members_page(c, dev.number, 9)) == [Member("eve@b.example"), rob]
    assert await counts(database, dev) == (2, 1)


async def test_a_removed_member_is_given_back(database, dev):
    await database.writer.write(lambda c: lists.put_members(c, dev.number, entries("Bob@b.example", subscribed=False)))
    removed = await database.writer.write(lambda c: lists.remove_member(c, dev.number, "bob@b.example"))
    assert removed == Member("Bob@b.example", subscribed=False)
    assert await database.writer.write(lambda c: lists.remove_member(c, dev.number, "bob@b.example")) is None
    assert await counts(database, dev) == (0, 0)


async def test_pages_of_lists_go_both_ways(database):
    for name in ("c", "A", "b"):
        made = replace(DEV, address=f"{name}@a.example")
        await database.writer.write(lambda c, made=made: lists.create(c, made))

    async def page(**how):
        return [one.address[0] for one in await database.read(lambda c: lists.page(c, 2, **how))]

    assert await page() == ["A", "b"]
    assert await page(beyond="b@a.example") == ["c"]
    assert await page(backwards=True) == ["b", "c"]
    assert await page(beyond="b@a.example", backwards=True) == ["A"]
    assert await page(skip=2) == ["c"]


async def test_a_hundred_thousand_members_come_once_each_forwards_backwards_and_by_skipping(database, dev):
    everyone = [replace(one, subscribed=place % 3 > 0) for place, one in enumerate(numbered(100_000))]
    for start in range(0, len(everyone), 20_000):
        some = everyone[start : start + 20_000]
        await database.writer.write(lambda c, some=some: lists.put_members(c, dev.number, some))
    total, with_mail = await counts(database, dev)
    expected = {None: total, True: with_mail, False: total - with_mail}
    for subscribed, number in expected.items():
        forwards, backwards, skipping = await _walked(database, dev, subscribed)
        assert len({one.key for one in forwards}) == len(forwards) == number
        assert forwards == backwards == skipping
        assert {one.subscribed for one in forwards} == ({True, False} if subscribed is None else {subscribed})


async def _walked(database, made, subscribed):
    async def page(**how):
        return await database.read(lambda c: lists.members_page(c, made.number, 1000, subscribed=subscribed, **how))

    forwards, backwards, skipping = [], [], []
    while piece := await page(beyond=forwards[-1].key if forwards else None):
        forwards += piece
    while piece := await page(beyond=backwards[0].key if backwards else None, backwards=True):
        backwards[:0] = piece
    while piece := await page(skip=len(skipping)):
        skipping += piece
    return forwards, backwards, skipping


_NUMBERS = itertools.count()
_KEYS = st.sampled_from([f"{name}@b.example" for name in ("ann", "BOB", "bob", "eve")])
_STEPS = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(_KEYS, st.sampled_from([None, True, False])), min_size=1, max_size=3)),
    st.tuples(st.just("remove"), _KEYS),
    st.tuples(st.just("unsubscribe"), _KEYS),
    st.tuples(st.just("replace"), st.tuples(_KEYS, _KEYS, st.booleans())),
)


def _take(connection, number, kind, what):
    match kind:
        case "put":
            lists.put_members(connection, number, [MemberEntry(one, subscribed=how) for one, how in what])
        case "remove":
            lists.remove_member(connection, number, what.lower())
        case "unsubscribe":
            lists.unsubscribe(connection, number, what.lower())
        case "replace":
            old = lists.member(connection, number, what[0].lower())
            if old is not None:
                lists.replace_member(connection, number, old, Member(what[1], subscribed=what[2]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, max_size=12))
async def test_the_counts_are_those_of_the_rows_whatever_is_done(database, steps):
    made = await database.writer.write(lambda c: lists.create(c, replace(DEV, address=f"l{next(_NUMBERS)}@a.example")))
    for kind, what in steps:
        await database.writer.write(lambda c, kind=kind, what=what: _take(c, made.number, kind, what))
        await counts(database, made)
