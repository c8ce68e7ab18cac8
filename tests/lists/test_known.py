"""The lists in memory are those of the store, however they change."""

from mtad.mail.address import parse_address
from mtad.mail.lists import AccessLevel, MailingList
from mtad.message.headers import scan
from mtad.storage import lists
from tests.lists.house import House, open_house

DEV, OPS = "dev@a.example", "ops@a.example"


def found(house: House, address: str) -> MailingList | None:
    return house.lists.find(parse_address(address))


async def write(house: House, work, *keys: str):
    made = await house.database.writer.write(work)
    await house.lists.changed(*keys)
    return made


async def test_a_list_that_is_made_changed_moved_or_removed_is_so_in_memory_and_the_others_stay(tmp_path):
    async with open_house(tmp_path) as house:
        other = await house.add("other@c.example")
        made = await write(house, lambda c: lists.create(c, MailingList(address=DEV)), DEV)
        assert found(house, "DEV@A.example") == made
        wider = MailingList(number=made.number, address=DEV, access_level=AccessLevel.EVERYONE)
        await write(house, lambda c: lists.replace(c, wider), DEV, DEV)
        assert house.lists.open_to_strangers(parse_address(DEV))
        moved = MailingList(number=made.number, address=OPS)
        await write(house, lambda c: lists.replace(c, moved), DEV, OPS)
        assert (found(house, DEV), found(house, OPS)) == (None, moved)
        await write(house, lambda c: lists.remove(c, made.number), OPS)
        assert (found(house, OPS), found(house, "other@c.example")) == (None, other)


async def test_an_address_that_another_list_has_taken_over_is_that_ones_whoever_is_told_first(tmp_path):
    async with open_house(tmp_path) as house:
        old = await house.add(DEV)
        await house.database.writer.write(lambda c: lists.replace(c, MailingList(number=old.number, address=OPS)))
        new = await write(house, lambda c: lists.create(c, MailingList(address=DEV)), DEV)
        await house.lists.changed(DEV, OPS)
        assert (found(house, DEV), found(house, OPS).number) == (new, old.number)


async def test_a_login_that_is_bound_to_a_domain_posts_to_closed_lists_of_that_domain_alone(tmp_path):
    async with open_house(tmp_path) as house:
        await write(house, lambda c: lists.create(c, MailingList(address=DEV)), DEV)
        block = scan(b"From: ann@c.example\r\n\r\n")
        refused = [house.lists.refusal(parse_address(DEV), block, bound) for bound in ("", "a.example", "c.example")]
        assert [reply is None for reply in refused] == [True, True, False]
