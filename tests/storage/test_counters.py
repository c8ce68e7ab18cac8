import calendar
import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.metric import PERIOD_H, Metric
from mtad.storage import counters
from mtad.storage.counters import Resolution, Tag
from mtad.storage.database import migrate
from mtad.storage.record import Records, record

NOW = calendar.timegm((2026, 3, 1, 10, 30, 0))
DAY = 86_400


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


def count(connection, at, n=1, *, metric=Metric.OPENED, label="", domain=1):
    record(connection, Records(counts=[(domain, label, int(metric), int(at) // 3600, n)]))


def shown(found):
    return [(datetime.fromtimestamp(step.at, UTC).isoformat()[:13], dict(step.counts)) for step in found]


def test_days_are_summed_with_empty_ones_between(connection):
    count(connection, NOW, 2)
    count(connection, NOW + 3600, 3)
    count(connection, NOW - 2 * DAY, metric=Metric.CLICKED)
    count(connection, NOW - 3 * DAY)
    found = counters.stats(connection, [1], "", NOW - 2 * DAY, NOW, Resolution.DAY)
    assert shown(found) == [
        ("2026-02-27T00", {Metric.CLICKED: 1}),
        ("2026-02-28T00", {}),
        ("2026-03-01T00", {Metric.OPENED: 5}),
    ]


def test_hours_and_months(connection):
    count(connection, NOW)
    count(connection, NOW - DAY, 4)
    hours = counters.stats(connection, [1], "", NOW - 3600, NOW, Resolution.HOUR)
    assert shown(hours) == [("2026-03-01T09", {}), ("2026-03-01T10", {Metric.OPENED: 1})]
    months = counters.stats(connection, [1], "", NOW - 60 * DAY, NOW, Resolution.MONTH)
    assert shown(months) == [
        ("2025-12-01T00", {}),
        ("2026-01-01T00", {}),
        ("2026-02-01T00", {Metric.OPENED: 4}),
        ("2026-03-01T00", {Metric.OPENED: 1}),
    ]


def test_only_what_was_asked_for_is_counted(connection):
    count(connection, NOW)
    count(connection, NOW, 5, label="t:news")
    count(connection, NOW, 7, domain=2)
    count(connection, NOW, 9, metric=Metric.CLICKED)

    def asked(domains, label, *metrics):
        [step] = counters.stats(connection, domains, label, NOW, NOW, Resolution.DAY, metrics)
        return step.counts

    assert asked([1], "", Metric.OPENED) == {Metric.OPENED: 1}
    assert asked([1, 2], "") == {Metric.OPENED: 8, Metric.CLICKED: 9}
    assert asked([1], "t:news") == {Metric.OPENED: 5}
    assert asked([], "") == {}
    assert counters.stats(connection, [1], "", NOW, NOW - DAY, Resolution.DAY) == []


def test_too_many_steps_are_refused(connection):
    with pytest.raises(ValueError, match="more than 20000 steps"):
        counters.stats(connection, [1], "", 0, NOW, Resolution.HOUR)


@given(at=st.integers(0, 4_000_000_000), resolution=st.sampled_from(Resolution))
def test_every_time_is_in_one_step(at, resolution):
    start = counters.step_of(at, resolution)
    end = counters.after_step(start, resolution)
    assert start <= at < end
    assert counters.step_of(end - 1, resolution) == start
    assert counters.step_of(end, resolution) == end


def test_old_counters_go_in_batches(connection, monkeypatch):
    monkeypatch.setattr(counters, "BATCH", 2)
    for ago in range(5):
        count(connection, NOW - ago * 3600)
    before = NOW - 3600  # 09:30: what was counted from 09:00 on stays
    assert [counters.expire_counters(connection, before) for _ in range(3)] == [2, 1, 0]
    assert connection.execute("SELECT count(*) FROM counters").fetchone() == (2,)


def test_aggregates_by_value(connection):
    rows = [(1, "t:news", "country", value, int(Metric.OPENED), 1, n) for value, n in (("us", 3), ("de", 1), ("fr", 2))]
    other = (1, "t:news", "device", "mobile", int(Metric.OPENED), 1, 9)
    later = (1, "t:news", "country", "us", int(Metric.OPENED), 2, 4)
    record(connection, Records(aggregates=[*rows, later, (*rows[0][:4], int(Metric.CLICKED), 1, 1), other]))
    found = counters.aggregates(connection, 1, "t:news", "country")
    assert found == {"us": {Metric.OPENED: 7, Metric.CLICKED: 1}, "de": {Metric.OPENED: 1}, "fr": {Metric.OPENED: 2}}
    assert set(counters.aggregates(connection, 1, "t:news", "country", limit=2)) == {"us", "fr"}


def test_old_aggregates_go_a_few_at_a_time(connection, monkeypatch):
    monkeypatch.setattr(counters, "BATCH", 2)
    now = NOW // (PERIOD_H * 3600)
    rows = [
        (1, "", "provider", f"{n}.example", int(Metric.OPENED), period, 1)
        for n in range(2)
        for period in range(now - 2, now + 1)
    ]
    record(connection, Records(aggregates=rows))
    before = NOW - PERIOD_H * 3600  # the period that this is in stays whole
    assert [counters.expire_aggregates(connection, before) for _ in range(2)] == [2, 0]
    assert counters.aggregates(connection, 1, "", "provider") == {f"{n}.example": {Metric.OPENED: 2} for n in range(2)}


def test_tags_in_any_case_with_pages(connection):
    record(connection, Records(tags=[(1, name, float(NOW)) for name in ("Beta", "alpha", "beta2", "Gamma")]))
    record(connection, Records(tags=[(2, "delta", float(NOW))]))
    assert [tag.shown for tag in counters.tags(connection, 1, 10)] == ["alpha", "Beta", "beta2", "Gamma"]
    assert [tag.shown for tag in counters.tags(connection, 1, 2, beyond="Alpha")] == ["Beta", "beta2"]
    assert [tag.shown for tag in counters.tags(connection, 1, 2, beyond="gamma", backwards=True)] == ["Beta", "beta2"]
    assert [tag.shown for tag in counters.tags(connection, 1, 10, prefix="BE")] == ["Beta", "beta2"]
    assert counters.count_tags(connection, 1) == 4
    assert counters.describe_tag(connection, 1, "BETA", "second")
    assert counters.tag(connection, 1, "beta") == Tag("Beta", "second", NOW, NOW)
    assert not counters.describe_tag(connection, 1, "zeta", "")
    assert counters.tag(connection, 1, "zeta") is None


def test_a_deleted_tag_takes_its_numbers_with_it_and_no_others(connection):
    record(connection, Records(tags=[(1, "News", float(NOW)), (2, "news", float(NOW))]))
    for n in range(5):
        count(connection, NOW - n * 3600, label="t:news")
    count(connection, NOW, label="t:news", domain=2)
    count(connection, NOW)
    record(connection, Records(aggregates=[(1, "t:news", "country", "us", 13, 1, 1)]))
    assert [counters.delete_tag(connection, 1, "NEWS", limit=4) for _ in range(3)] == [6, 1, 0]
    assert connection.execute("SELECT count(*) FROM counters").fetchone() == (2,)
    assert counters.tag(connection, 2, "news") is not None
