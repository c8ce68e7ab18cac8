import sqlite3
from dataclasses import replace

import pytest

from mtad.storage import accounts, templates
from mtad.storage.database import migrate
from mtad.storage.templates import TemplateRow, VersionRow

NOW = 1_700_000_000.0


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection)
    for name in ("a.example", "b.example"):
        accounts.add_domain(connection, name, NOW)
    yield connection
    connection.close()


def template(number=1, domain_id=1, name="welcome"):
    return TemplateRow(number, domain_id, name, "about", NOW, "ann")


def version(number=10, tag="initial", **more):
    return VersionRow(number, 1, tag, f"text of {tag}", {"Subject": tag}, "why", created_at=NOW, **more)


def tags(connection):
    return {one.tag: one.active for one in templates.versions(connection, 1, 100)}


def test_names_are_each_domains_own_and_the_accounts(connection):
    for number, domain_id in ((1, 1), (2, 2), (3, 0)):
        assert templates.add(connection, template(number, domain_id))
        assert not templates.add(connection, template(number + 10, domain_id))
        assert templates.find(connection, domain_id, "welcome") == template(number, domain_id)
        assert templates.count(connection, domain_id) == 1
    assert templates.find(connection, 1, "other") is None


def test_pages_go_both_ways(connection):
    for number in range(6):
        templates.add(connection, template(number, 1, f"t{number}"))
    templates.add(connection, template(9, 2, "t9"))

    def names(*more):
        return [row.name for row in templates.page(connection, 1, 2, *more)]

    assert names() == ["t0", "t1"]
    assert names("t1") == ["t2", "t3"]
    assert names("t4", True) == ["t2", "t3"]
    assert names(None, True) == ["t4", "t5"]
    assert names("t5") == []


def test_the_first_version_is_active_and_only_one_ever_is(connection):
    templates.add(connection, template())
    assert templates.put_version(connection, version()) == version(active=True)
    assert templates.put_version(connection, version(11, "v2")) == version(11, "v2")
    assert tags(connection) == {"initial": True, "v2": False}
    templates.put_version(connection, version(12, "v3", active=True))
    assert tags(connection) == {"initial": False, "v2": False, "v3": True}
    assert templates.version(connection, 1, "").tag == "v3"
    assert templates.remove_version(connection, 1, "v3")
    assert templates.version(connection, 1, "") is None
    assert templates.active(connection, [1]) == {}
    templates.put_version(connection, version(13, "v4"))
    assert tags(connection) == {"initial": False, "v2": False, "v4": True}
    assert not templates.remove_version(connection, 1, "v3")


def test_a_version_is_replaced_only_when_it_is_asked_for(connection):
    templates.add(connection, template())
    old = templates.put_version(connection, version())
    assert templates.put_version(connection, version(11)) is None
    new = replace(version(11), content="new", created_at=NOW + 1)
    assert templates.put_version(connection, new, replace=True) == replace(old, content="new")
    assert templates.count_versions(connection, 1) == 1


def test_lists_of_versions_leave_their_contents_out(connection):
    templates.add(connection, template())
    for number, tag in enumerate(("c", "a", "b"), 10):
        templates.put_version(connection, version(number, tag))
    assert [(one.tag, one.content) for one in templates.versions(connection, 1, 2)] == [("a", ""), ("b", "")]
    assert [one.tag for one in templates.versions(connection, 1, 2, None, True)] == ["b", "c"]


def test_versions_go_with_their_template_and_templates_with_their_domain(connection):
    for number, domain_id in ((1, 1), (2, 0)):
        templates.add(connection, template(number, domain_id))
        templates.put_version(connection, replace(version(number + 10), template=number))
    accounts.remove_domain(connection, "a.example")
    assert templates.find(connection, 1, "welcome") is None
    assert templates.count_versions(connection, 1) == 0
    assert templates.clear(connection, 0) == 1
    assert templates.clear(connection, 0) == 0
    assert templates.count_versions(connection, 2) == 0


def test_a_version_of_no_template_is_refused(connection):
    with pytest.raises(sqlite3.IntegrityError):
        templates.put_version(connection, version())
