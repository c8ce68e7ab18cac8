"""A post to a list becomes one copy for each subscribed member, whatever happens on the way."""

import asyncio
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtad.lists.access import Proof
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.lists import MemberEntry, ReplyPreference
from mtad.mail.options import Options
from mtad.mail.reply import Deferred, Delivered, Failed, Refused, Reply
from mtad.message.headers import scan
from mtad.storage import accounts, lists
from mtad.storage.accounts import DomainChanges
from mtad.storage.expansions import Stale, Step
from mtad.storage.outgoing import Flag
from tests.lists.house import INLINE, POST, Died, House, open_house

PEOPLE = [f"m{number:02}@their.example" for number in range(20)]


async def posted(house: House, content: bytes = POST, options: Options | None = None) -> tuple[int, object]:
    target = house.lists.target(parse_address("dev@a.example"))
    assert target is not None
    return await house.post("dev@a.example", content=content, options=options), target


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    people=st.integers(0, 14),
    batch=st.integers(1, 5),
    deaths=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=4),
    large=st.booleans(),
)
def test_however_often_it_is_cut_off_each_member_gets_one_copy(people, batch, deaths, large):
    async def scenario(folder: Path) -> None:
        number, message, target = 0, 0, None
        content = POST + b"x" * INLINE if large else POST
        for life, (at, before) in enumerate([*deaths, (-1, True)]):
            async with open_house(folder, batch) as house:
                if not life:
                    number = (await house.add("dev@a.example", *PEOPLE[:people])).number
                    message, target = await posted(house, content)
                house.cut.at, house.cut.before = at, before
                try:
                    outcome = await house.expand(message, target)
                except Died:
                    continue
                assert isinstance(outcome, Delivered)
                assert outcome.reply.text.startswith(f"Posted to {people} member")
                assert await house.copies(number) == PEOPLE[:people]
        async with open_house(folder, batch) as house:
            assert isinstance(await house.expand(message, target), Delivered)  # its lease was found at the start
            assert await house.copies(number) == PEOPLE[:people]
            await house.settle(message)
            assert await house.faults() == ()
            if large:
                sizes = await house.ask("SELECT ifnull(sum(size), 0) FROM messages WHERE segment IS NOT NULL")
                assert await house.ask("SELECT sum(live) FROM spool_segments") == sizes
                assert len(set(await house.ask("SELECT position FROM messages WHERE id > ?", message))) <= 1

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


async def test_who_joins_behind_the_step_that_is_made_gets_none_and_who_joins_before_it_gets_one(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.add("dev@a.example", *PEOPLE[4:10])
        message, target = await posted(house)
        house.cut.at, house.cut.before = 0, False
        with pytest.raises(Died):
            await house.expand(message, target)
        await house.put(made.number, PEOPLE[0], PEOPLE[12])
        await house.database.writer.write(lambda connection: lists.remove_member(connection, made.number, PEOPLE[8]))
        await house.expand(message, target)
        assert await house.copies(made.number) == [*PEOPLE[4:8], PEOPLE[9], PEOPLE[12]]


async def test_a_step_that_somebody_else_has_made_is_not_made_again(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.add("dev@a.example", *PEOPLE[:5])
        message, target = await posted(house)
        await house.expand(message, target)
        [again] = house.cut.steps[:1]
        with pytest.raises(Stale):
            await house.database.writer.write(lambda c: house.outgoing.expansions.advance(c, [again]))
        assert isinstance(again, Step)
        assert await house.copies(made.number) == PEOPLE[:5]


async def test_each_accepted_copy_is_told_with_its_list_its_tags_and_its_member(tmp_path):
    async with open_house(tmp_path) as house:
        ann = MemberEntry("ann@their.example", "Ann Lee", True, '{"age": 7}')
        made = await house.add("dev@a.example", ann, MemberEntry("gone@their.example", subscribed=False))
        message, target = await posted(house, options=Options(tags=("one",), variables={"a": 1}))
        await house.expand(message, target)
        [[about, options, personal, domain_id, flags]] = await house.ask(
            "SELECT m.about, m.options, r.personal, m.domain_id, m.flags FROM messages AS m"
            " JOIN recipients AS r ON r.message_id = m.id WHERE r.address = 'ann@their.example'"
        )
        told, asked = orjson.loads(about), orjson.loads(options)
        assert told["mailing-list"].items() >= {"address": "dev@a.example", "list-id": "dev.a.example"}.items()
        assert told["subject"] == "Hi"
        assert (asked["mailing_list"], asked["tags"], asked["variables"]) == ("dev@a.example", ["one"], {"a": 1})
        assert orjson.loads(personal) == {"name": "Ann Lee", "variables": {"age": 7}}
        assert flags & (Flag.COMPOSE | Flag.VERP | Flag.TRACK) == Flag.COMPOSE | Flag.VERP | Flag.TRACK
        counted = Counter(
            {label: n for label, n in await house.ask("SELECT label, sum(n) FROM counters GROUP BY label")}
        )
        assert counted == {"": 1, "t:one": 1, f"l:{made.number}": 1}
        assert domain_id == 1


async def test_an_empty_list_takes_a_post_and_nobody_gets_it(tmp_path):
    async with open_house(tmp_path) as house:
        await house.add("dev@a.example")
        message, target = await posted(house)
        outcome = await house.expand(message, target)
        assert isinstance(outcome, Delivered)
        assert outcome.reply.text == "Posted to 0 members"


async def test_members_whose_address_needs_smtputf8_keep_nobody_elses_copy_back(tmp_path):
    async with open_house(tmp_path, batch=10) as house:
        made = await house.add("dev@a.example", "a@x.example", "ä@x.example", "b@x.example", "ö@x.example")
        message, target = await posted(house)
        await house.expand(message, target)
        assert Counter(await house.copies(made.number)) == Counter(
            ["a@x.example", "ä@x.example", "b@x.example", "ö@x.example"]
        )
        rows = await house.ask(
            "SELECT r.address, m.flags & 1 FROM recipients AS r JOIN messages AS m ON m.id = r.message_id"
            " WHERE m.id > ?",
            message,
        )
        assert {address: bool(flag) for address, flag in rows} == {
            "a@x.example": False,
            "b@x.example": False,
            "ä@x.example": True,
            "ö@x.example": True,
        }


@pytest.mark.parametrize("deaths", range(8))
async def test_members_of_both_kinds_mixed_make_few_messages_and_each_gets_one_copy(tmp_path, deaths):
    people = [f"{number:02}{'é' * (number % 2)}@their.example" for number in range(14)]
    async with open_house(tmp_path, batch=4) as house:
        made = await house.add("dev@a.example", *people)
        message, target = await posted(house)
        for at in range(deaths):
            house.cut.at, house.cut.before = at % 2, bool(at % 3)
            with suppress(Died):
                await house.expand(message, target)
        house.cut.at = -1
        outcome = await house.expand(message, target)
        assert isinstance(outcome, Delivered)
        assert outcome.reply.text == "Posted to 14 members"
        assert await house.copies(made.number) == people[::2] + people[1::2]
        assert await house.ask("SELECT count(DISTINCT message_id) - 1 FROM recipients") == [(4,)]
        await house.settle(message)
        assert await house.faults() == ()


async def test_lists_within_lists_go_round_no_circle_and_never_to_themselves(tmp_path):
    async with open_house(tmp_path) as house:
        outer = await house.add("dev@a.example", "dev@a.example", "inner@a.example", "ann@their.example")
        inner = await house.add("inner@a.example", "dev@a.example", "bob@their.example")
        message, target = await posted(house)
        await house.expand(message, target)
        assert await house.copies(outer.number) == ["ann@their.example", f"list:{inner.number}:inner@a.example"]
        [[row, nested]] = await house.ask("SELECT id, message_id FROM recipients WHERE address LIKE 'list:%inner%'")
        content = await house.database.read(
            lambda c: house.outgoing.content(c, house.outgoing.messages(c, [nested], 0)[nested])
        )
        within = house.lists.target(parse_address("inner@a.example"))
        assert within is not None
        assert content is not None
        await house.expander.expand(within, row, content)
        assert await house.copies(inner.number) == ["bob@their.example"]


async def test_a_full_disk_puts_the_rest_off(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.add("dev@a.example", *PEOPLE[:5])
        message, target = await posted(house)
        house.full = Reply(452, "4.3.1", "full")
        assert isinstance(await house.expand(message, target), Deferred)
        house.full = None
        assert isinstance(await house.expand(message, target), Delivered)
        assert await house.copies(made.number) == PEOPLE[:5]


async def test_a_list_that_is_gone_fails_its_post_and_another_address_does_not(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.add("dev@a.example", PEOPLE[0])
        message, target = await posted(house)
        renamed = lists.MailingList(number=made.number, address="team@a.example")
        await house.database.writer.write(lambda connection: lists.replace(connection, renamed))
        assert isinstance(await house.expand(message, target), Delivered)
        other, _ = await house.post("dev@a.example"), target
        await house.database.writer.write(lambda connection: lists.remove(connection, made.number))
        outcome = await house.expand(other, target)
        assert isinstance(outcome, Failed)
        assert outcome.reply.code == 550


async def test_the_copies_are_rewritten_as_the_list_wants(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.add("dev@a.example", PEOPLE[0], name="Team", reply_preference=ReplyPreference.SENDER)
        house.strict = True
        message, target = await posted(house)
        await house.expand(message, target)
        [[content]] = await house.ask("SELECT content FROM bodies WHERE message_id > ?", message)
        block = scan(content)
        assert block.first(b"from") == b"ann via Team <dev@a.example>"
        assert block.first(b"reply-to") == b"ann@a.example"
        assert made.number


async def test_a_post_that_came_from_the_list_is_refused_and_so_is_nothing_else(tmp_path):
    async with open_house(tmp_path) as house:
        await house.add("dev@a.example", PEOPLE[0])
        with pytest.raises(Refused) as refused:
            await house.post("dev@a.example", "bob@their.example", content=b"List-Id: <dev.a.example>\r\n" + POST)
        assert refused.value.reply.code == 554
        assert await house.post("bob@their.example", content=b"List-Id: <dev.a.example>\r\n" + POST)


async def test_the_posts_own_row_is_neither_counted_nor_posted_but_told(tmp_path):
    async with open_house(tmp_path) as house:
        await house.add("dev@a.example", PEOPLE[0])
        await house.post("dev@a.example", "bob@their.example")
        assert await house.ask("SELECT sum(n) FROM counters") == [(1,)]
        assert await house.ask("SELECT count(*) FROM events WHERE type = 1") == [(2,)]
        assert await house.faults() == ()


async def test_what_is_kept_for_a_post_that_came_to_an_early_end_goes_with_the_next_cleaning(tmp_path):
    async with open_house(tmp_path) as house:
        await house.add("dev@a.example", *PEOPLE[:6])
        message, target = await posted(house, POST + b"x" * INLINE)
        house.cut.at, house.cut.before = 0, True
        with pytest.raises(Died):
            await house.expand(message, target)
        sweep = house.outgoing.expansions.sweep
        assert await house.database.writer.write(sweep) == 0  # it is still under way
        await house.settle(message)  # as it would be when it has waited too long
        assert await house.database.writer.write(sweep) == 1
        assert await house.ask("SELECT count(*) FROM expansions") == [(0,)]
        assert await house.ask("SELECT sum(live) FROM spool_segments") == [(0,)]
        assert await house.faults() == ()


async def test_a_domain_that_may_not_send_does_not_by_its_lists_either(tmp_path):
    async with open_house(tmp_path) as house:
        made = await house.add("dev@c.example", *PEOPLE[:2])
        address = parse_address("dev@c.example")
        message, target = await house.post("dev@c.example"), house.lists.target(address)
        assert target is not None
        changes = DomainChanges(is_disabled=True)
        await house.database.writer.write(lambda connection: accounts.change_domain(connection, "c.example", changes))
        outcome = await house.expand(message, target)
        assert isinstance(outcome, Failed)
        assert "its domain was disabled" in outcome.reply.text
        assert await house.copies(made.number) == []
        stranger = Submission(parse_address("eve@e.example"), [address], POST, "", 0.0)
        reply = await house.lists.judge(address, stranger, scan(POST), Proof.PASSED)
        assert reply is not None
        assert reply.enhanced == "5.7.1"
