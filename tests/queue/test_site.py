from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.mx import MxHost, Route
from mtad.mail.waiting import Waiting, WaitReason
from mtad.queue.shaping import Profile
from mtad.queue.site import Site
from mtad.queue.work import Held, Job
from mtad.storage.outgoing import StoredMessage, StoredRecipient

ROUTE = Route("b.example", (MxHost("mx.b.example", 10),), 25)
OTHER = Route("d.example", (MxHost("mx.d.example", 10),), 25)


def site() -> Site:
    return Site(7, "mx.b.example", Profile(name="test"), 0.0)


def message(number: int, tenant: int = 1, *, alone: bool = False) -> Held:
    return Held(StoredMessage(number, tenant, "", 1, 1, 0, None, None, None, b"{}"), 1, alone=alone)


def job(held: Held, number: int = 1, route: Route = ROUTE) -> Job:
    tenant = held.message.domain_id
    return Job(
        held, StoredRecipient(held.message.id + number, held.message.id, tenant, 7, "r@b.example", 1, 0, 0.0), route
    )


def test_recipients_of_one_message_go_together_up_to_the_most_that_one_transaction_takes():
    one, held = site(), message(100)
    jobs = [job(held, n) for n in range(5)]
    for each in jobs:
        one.push(each)
    assert one.pop(3) == jobs[:3]
    assert one.pop(3) == jobs[3:]
    assert (one.pop(3), one.ready) == ([], 0)


def test_other_messages_other_hosts_and_personal_copies_go_by_themselves():
    one, held, personal = site(), message(100), message(300, alone=True)
    jobs = [job(held), job(message(200)), job(held, 2, OTHER), job(held, 3), job(personal), job(personal, 2)]
    for each in jobs:
        one.push(each)
    assert [one.pop(9) for _ in jobs] == [[each] for each in jobs]


def test_what_is_put_back_goes_first_and_in_its_order():
    one, held = site(), message(100)
    jobs = [job(held, n) for n in range(4)]
    for each in jobs:
        one.push(each)
    for each in reversed(one.pop(2)):
        one.push(each, front=True)
    assert one.pop(9) == jobs


def test_a_domain_that_must_wait_or_may_not_be_served_is_passed_over():
    one = site()
    jobs = {tenant: job(message(100 * tenant, tenant)) for tenant in (1, 2, 3)}
    for each in jobs.values():
        one.push(each)
    one.hushed[1] = Waiting(WaitReason.SITE_SUSPENDED, None, "too much")
    assert one.pop(9, only={1, 3}) == [jobs[3]]
    assert one.pop(9, only={1}) == []
    assert one.pop(9) == [jobs[2]]
    one.hushed.clear()
    assert one.pop(9) == [jobs[1]]


def test_one_domain_or_all_can_be_taken_out_and_the_turns_go_on():
    one = site()
    jobs = [job(message(100 * n, n % 3), n) for n in range(9)]
    for each in jobs:
        one.push(each)
    assert one.drain(1) == [jobs[1], jobs[4], jobs[7]]
    assert (one.ready, one.tenants, one.drain(1)) == (6, 2, [])
    one.push(jobs[1])
    assert [one.pop(1)[0].recipient.domain_id for _ in range(4)] == [0, 2, 1, 0]
    assert len(one.drain()) == 3
    assert (one.ready, one.tenants, list(one.heads())) == (0, 0, [])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("pop"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("back"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("drain"), st.integers(0, 4), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_job_is_lost_or_served_twice_and_no_domain_waits_longer_than_one_round(steps):
    one, number = site(), 0
    inside: Counter[int] = Counter()  # ready jobs by domain
    waited: Counter[int] = Counter()  # turns of others since the domain had its own or got its first job
    for what, amount, more in steps:
        match what:
            case "push":
                number += 1000
                held = message(number, amount)
                for n in range(more):
                    one.push(job(held, n))
                if not inside[amount]:
                    waited[amount] = 0
                inside[amount] += more
            case "pop" | "back":
                jobs = one.pop(amount)
                assert bool(jobs) == bool(inside.total())
                if what == "back":  # its connection was gone: not begun
                    for each in reversed(jobs):
                        one.push(each, front=True)
                elif jobs:
                    served = {each.recipient.domain_id for each in jobs}
                    assert len(served) == 1
                    assert len({each.held.message.id for each in jobs}) == 1
                    [tenant] = served
                    inside[tenant] -= len(jobs)
                if jobs:
                    turn = jobs[0].recipient.domain_id
                    waited[turn] = 0  # also of one whose jobs came back: it had its turn
                    waited.update(tenant for tenant, count in inside.items() if count and tenant != turn)
                assert all(waited[tenant] <= 4 for tenant, count in inside.items() if count)
            case "drain":
                assert len(one.drain(amount)) == inside.pop(amount, 0)
        assert (one.ready, one.tenants) == (inside.total(), sum(count > 0 for count in inside.values()))
        assert all(one.ready_of(tenant) == count for tenant, count in inside.items())
