from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.storage import accounts, outbox, record, webhooks
from mtad.storage.outbox import AttemptRow, PostState, Settled, Wanted
from mtad.storage.record import Records

NOW = 1_700_000_000.0
DAY = 86_400.0


def wanted(lanes, *, held=None, paused=(), whole=(), octets=1_000_000):
    return Wanted(lanes, held or {}, frozenset(paused), frozenset(whole), octets)


async def filled(database, lanes, count=3, due=NOW, ids=None):
    """Events with posts in these lanes; the posts by lane."""
    ids = ids or IdSource(lambda: NOW)
    records, made = Records(), {lane: [] for lane in lanes}
    for _ in range(count):
        event = ids.next()
        records.events.append((event, int(EventType.OPENED), 1, None, None, b"{}"))
        for lane in lanes:
            post = ids.next()
            made[lane].append(post)
            records.posts.append((post, lane, event, due))
    await database.writer.write(lambda c: record.apply(c, [records]))
    return made


async def look(database, what, now=NOW):
    return await database.read(lambda c: outbox.look(c, now, what))


async def test_a_look_gives_each_lane_its_room_and_leaves_out_what_is_held(database):
    made = await filled(database, [5, 9])
    found = await look(database, wanted({5: 2, 9: 3}, held={9: {made[9][0]}}))
    assert [(post.lane, post.id) for post in found.posts] == [
        (5, made[5][0]),
        (5, made[5][1]),
        (9, made[9][1]),
        (9, made[9][2]),
    ]
    assert found.partial
    assert not (await look(database, wanted({5: 3, 9: 3}))).partial


async def test_a_look_tells_of_paused_lanes_nothing_and_of_unknown_ones_that_they_are_strays(database):
    await filled(database, [5, 9])
    found = await look(database, wanted({5: 3}, paused=[5]))
    assert (found.posts, found.strays) == ((), (9,))


async def test_a_look_says_when_the_next_post_is_due(database):
    ids = IdSource(lambda: NOW)
    await filled(database, [5], due=NOW + 60, ids=ids)
    await filled(database, [9], due=NOW + 30, ids=ids)
    found = await look(database, wanted({5: 3, 9: 3}))
    assert (found.posts, found.next_at) == ((), NOW + 30)
    assert len((await look(database, wanted({5: 3, 9: 3}), NOW + 45)).posts) == 3


async def test_a_look_takes_no_more_than_memory_allows_but_one_at_least(database):
    await filled(database, [5], 10)
    found = await look(database, wanted({5: 10}, octets=0))
    assert len(found.posts) == 1
    assert found.partial
    assert 1 < len((await look(database, wanted({5: 10}, octets=20_000))).posts) < 10


async def test_header_and_files_come_only_for_lanes_that_need_them(database):
    made = await filled(database, [5, 9], 1)
    await database.writer.write(
        lambda c: c.execute("INSERT INTO event_files SELECT event_id, 1, 'a', 'text/plain', x'00' FROM outbox LIMIT 1")
    )
    found = {post.lane: post.content for post in (await look(database, wanted({5: 1, 9: 1}, whole=[9]))).posts}
    assert found[5].files == ()
    assert [file.content for file in found[9].files] == [b"\x00"]
    assert made


async def test_settling_writes_state_and_ledger_together(database):
    made = await filled(database, [5])
    first, second, third = made[5]
    items = [
        Settled(first, PostState.DONE, 1, None, AttemptRow(77, "u", 200, "", 0.5, outbox.packed(b"body"))),
        Settled(second, PostState.WAITING, 2, NOW + 600.25, AttemptRow(78, "u", None, "timed out", 30.0, b"")),
        Settled(third, PostState.DONE, 0, None, None),
    ]
    await database.writer.write(lambda c: outbox.settle(c, items))
    rows = await database.read(lambda c: c.execute("SELECT id, state, attempts, due_at FROM outbox").fetchall())
    assert rows == [(first, 1, 1, None), (second, 0, 2, NOW + 600.25), (third, 1, 0, None)]
    logged = await database.read(lambda c: outbox.posts(c, outbox.PostFilter(), 10))
    assert [(len(post.made), post.state) for post in reversed(logged)] == [
        (1, PostState.DONE),
        (1, PostState.WAITING),
        (0, PostState.DONE),
    ]
    assert logged[2].made[0].request == b"body"
    assert logged[1].made[0].error == "timed out"


async def test_a_long_request_is_cut_in_the_ledger():
    assert len(outbox.packed(b"x" * 10_000_000)) < 1000


async def test_old_posts_go_with_their_attempts_and_waiting_ones_stay(database):
    made = await filled(database, [5])
    first, second, third = made[5]
    done = [
        Settled(post, PostState.DONE, 1, None, AttemptRow(70 + n, "u", 200, "", 0.1, b""))
        for n, post in enumerate((first, second))
    ]
    await database.writer.write(lambda c: outbox.settle(c, done))
    assert await database.writer.write(lambda c: outbox.expire_outbox(c, NOW - 1)) == 0
    assert await database.writer.write(lambda c: outbox.expire_outbox(c, NOW + 1)) == 2
    assert await database.read(lambda c: c.execute("SELECT id FROM outbox").fetchall()) == [(third,)]
    assert await database.read(lambda c: c.execute("SELECT count(*) FROM outbox_attempts").fetchone()) == (0,)


async def test_files_go_when_their_event_is_gone(database):
    await filled(database, [5], 2)
    await database.writer.write(
        lambda c: c.execute("INSERT INTO event_files SELECT id, 1, 'a', 'text/plain', x'00' FROM events")
    )
    await database.writer.write(lambda c: c.execute("DELETE FROM events WHERE id = (SELECT min(id) FROM events)"))
    assert await database.writer.write(lambda c: outbox.expire_outbox(c, NOW + DAY)) == 1
    assert await database.read(lambda c: c.execute("SELECT count(*) FROM event_files").fetchone()) == (1,)


async def test_a_webhook_goes_with_its_domain_and_its_number_is_not_given_again(database):
    number = await database.writer.write(lambda c: accounts.add_domain(c, "ours.example", NOW))
    first = await database.writer.write(lambda c: webhooks.add_webhook(c, number, "open", "http://x.example/", 0, NOW))
    await database.writer.write(lambda c: accounts.remove_domain(c, "ours.example"))
    assert await database.read(webhooks.webhooks) == []
    number = await database.writer.write(lambda c: accounts.add_domain(c, "ours.example", NOW))
    again = await database.writer.write(lambda c: webhooks.add_webhook(c, number, "open", "http://x.example/", 0, NOW))
    assert again > first
    [row] = await database.read(webhooks.webhooks)
    assert "x.example" not in repr(row)


async def test_a_lane_is_given_up_only_when_its_webhook_is_gone(database):
    number = await database.writer.write(lambda c: accounts.add_domain(c, "ours.example", NOW))
    lane = await database.writer.write(lambda c: webhooks.add_webhook(c, number, "open", "http://x.example/", 0, NOW))
    await filled(database, [lane])
    assert await database.writer.write(lambda c: outbox.give_up_lane(c, lane)) == 0
    await database.writer.write(lambda c: webhooks.remove_webhook(c, lane))
    assert await database.writer.write(lambda c: outbox.give_up_lane(c, lane)) == 3
    assert await database.read(outbox.waiting) == {}


async def test_the_signing_key_is_kept(database):
    assert await database.read(webhooks.signing_key) is None
    assert await database.writer.write(lambda c: webhooks.ensure_signing_key(c, "a")) == "a"
    assert await database.writer.write(lambda c: webhooks.ensure_signing_key(c, "b")) == "a"
    await database.writer.write(lambda c: webhooks.set_signing_key(c, "c"))
    assert await database.read(webhooks.signing_key) == "c"
