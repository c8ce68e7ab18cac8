import json
import re

import click
import pytest

from mtad import __version__
from mtad.cli import events
from mtad.cli.main import main
from mtad.clock import SystemClock
from tests.api.house import CONTENT, SITE


def test_the_version_is_told(mtad):
    assert mtad("--version").stdout == f"mtad {__version__}\n"


def every_command(group=main, name=()):
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if isinstance(command, click.Group):
            yield from every_command(command, (*name, word))
        else:
            yield (*name, word), command


@pytest.mark.parametrize("words", [" ".join(words) for words, _ in every_command()])
def test_every_command_has_help_that_fits_and_says_what_each_option_is_for(mtad, words):
    text = mtad(f"{words} --help").stdout
    assert max(map(len, text.splitlines())) <= 100
    command = dict(every_command())[tuple(words.split())]
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    assert command.help


def test_there_are_as_many_commands_as_the_docs_tell_of():
    assert len(list(every_command())) > 60


# --- the queue ---


def test_the_queue_is_listed_with_the_daemons_reasons(mtad, daemon, store):
    text = mtad("queue list").stdout
    assert text.count(store.message) == 2
    assert "the host said 451 4.7.1 greylisted (until 2030-" in text
    assert "2 recipients waiting, 0 being sent; 2 shown." in text
    assert "No daemon" not in text


def test_without_a_daemon_the_list_says_so_and_what_was_said_last(mtad, store):
    text = mtad("queue list").stdout
    assert "No daemon is running" in text
    assert text.count(store.message) == 2


@pytest.mark.parametrize("with_daemon", [True, False])
def test_the_queue_as_json(as_json, store, with_daemon, request):
    if with_daemon:
        request.getfixturevalue("daemon")
    found = as_json("queue list --recipient bob@example.net")
    assert (found["waiting"], found["daemon"]) == (2, with_daemon)
    (item,) = found["items"]
    assert (item["id"], item["recipient"], item["site"]) == (store.bob, "bob@example.net", SITE)
    assert (item["why"] or {}).get("reason") == ("retry-backoff" if with_daemon else None)


def test_a_message_is_shown_with_why_each_recipient_waits(mtad, daemon, store):
    text = mtad("queue show", store.message).stdout
    assert text.count("the host said 451 4.7.1 greylisted") == 2
    assert "Subject       Hello [red]" in text
    assert store.eve in text


def test_show_as_json_has_the_same_facts(as_json, store):
    found = as_json("queue show", store.eve)
    assert found["id"] == store.message
    assert [one["recipient"] for one in found["recipients"]] == ["bob@example.net", "eve@example.net"]
    assert found["about"]["login"] == "ann@ours.example"


def test_retry_and_drop_and_pause_reach_the_daemon(mtad, daemon, store):
    assert "3 recipients will be tried at once.\n" in mtad("queue retry", store.message).stdout
    mtad("queue retry --site", SITE)
    mtad("queue retry --all")
    assert mtad("queue drop --why spam", store.bob).stdout == "1 recipient dropped.\n"
    mtad("queue pause --why maintenance")
    mtad("queue resume")
    assert [told[0] for told in daemon.runner.told] == ["retry", "retry", "retry", "drop", "pause", "unpause"]
    assert ("pause", "the queue is paused by the operator: maintenance") in daemon.runner.told


def test_without_a_daemon_retry_and_drop_work_on_the_store(mtad, as_json, store):
    assert "when a daemon runs" in mtad("queue retry", store.bob).stdout
    assert as_json("queue drop", store.message) == {"dropped": 2}
    assert mtad("message show", store.message).stdout.count("dropped by the operator\n") == 2
    assert as_json("queue list")["items"] == []
    assert as_json("check")["report"]["failed"] == 2


def test_retry_wants_to_know_what(mtad, store):
    assert "Name ids, or --site, or --all." in mtad("queue retry", code=2).stderr
    assert "Name ids" in mtad("queue retry --all", store.bob, code=2).stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("queue show nonsense", "no queue id"),
        ("queue show 0000000000001", "no message"),
        ("queue drop 0000000000001", "nothing in the store has the id"),
        ("queue retry --site gmial", "no site 'gmial'"),
        ("site suspend gmial", "no site 'gmial'"),
        ("domain show x.example", "no domain of ours"),
        ("domain add ours.example", "there already"),
        ("domain remove --yes x.example", "no domain of ours"),
        ("credential add bob", "must be name@domain"),
        ("credential remove bob@ours.example", "no login"),
        ("captured show 0000000000001", "no captured message"),
        ("message show 0000000000001", "no message"),
    ],
)
@pytest.mark.parametrize("with_daemon", [True, False])
def test_a_refusal_is_one_line_with_and_without_a_daemon(refusal, store, line, said, with_daemon, request):
    if with_daemon:
        request.getfixturevalue("daemon")
    assert said in refusal(line)


def test_pausing_without_a_daemon_is_refused(refusal, store):
    assert "no daemon is running" in refusal("queue pause")


# --- sites ---


def test_sites_are_listed_shown_suspended_and_resumed(mtad, daemon, store):
    text = mtad("site list").stdout
    assert SITE in text
    assert "2 of 5" in text
    assert "30.0/min" in text
    assert "192.0.2.1" in mtad("site show", SITE).stdout
    assert "for 1 h 30 min" in mtad("site suspend --for 90m --why x", SITE).stdout
    assert mtad("site resume", SITE).stdout == f"{SITE} takes mail again.\n"
    assert [told[0] for told in daemon.runner.told] == ["suspend", "resume"]


def test_a_suspension_without_a_daemon_is_kept_in_the_store(as_json, mtad, store):
    assert as_json("site suspend --why", "they asked", SITE)["suspended"] is True
    (item,) = as_json("site list")
    assert item["why"]["detail"] == "suspended by the operator: they asked"
    assert item["connections"] is None
    assert "they asked" in mtad("site list").stdout


def test_a_length_of_time_that_is_none_is_a_usage_error(mtad, store):
    assert "no length of time" in mtad("site suspend --for soon", SITE, code=2).stderr


# --- domains and logins ---


def test_a_domain_is_added_with_records_ready_to_paste(mtad, store):
    text = mtad("domain add --ed25519 news.example").stdout
    assert re.search(r'^mtad\d{8}\._domainkey\.news\.example\. IN TXT "v=DKIM1; k=rsa; p=[^"]+" "', text, re.MULTILINE)
    assert re.search(r"^mtad\d{8}e\._domainkey\.news\.example\. IN TXT", text, re.MULTILINE)
    assert '\nnews.example. IN TXT "v=spf1 ' in text
    for string in re.findall(r'"([^"]*)"', text):
        assert len(string) <= 255
    assert "news.example" in mtad("domain list").stdout
    assert mtad("domain show news.example").stdout.count("IN TXT") == 3


def test_a_domain_has_its_postmaster_whose_made_password_is_printed_once(mtad, as_json, store):
    text = mtad("domain add news.example").stdout
    [password] = re.findall(r"^Login +postmaster@news\.example\nPassword +(\w{24})$", text, re.MULTILINE)
    assert [item["login"] for item in as_json("credential list --domain news.example")] == ["postmaster@news.example"]
    assert password not in mtad("domain show news.example").stdout
    made = as_json("domain add more.example")
    assert (made["name"], made["smtp_login"]) == ("more.example", "postmaster@more.example")
    assert re.fullmatch(r"\w{24}", made["smtp_password"])
    given = mtad("domain add --smtp-password correct-horse-7 other.example").stdout
    assert "correct-horse-7" not in given
    assert "log in for SMTP as postmaster@other.example" in given
    assert as_json("domain add --smtp-password correct-horse-8 last.example")["smtp_password"] == "correct-horse-8"
    assert "password" in mtad("domain add --smtp-password abc bad.example", code=1).stderr
    assert "bad.example" not in mtad("domain list").stdout


def test_a_domain_is_changed_paused_and_removed(as_json, mtad, daemon, store):
    assert as_json("domain set --pool news --no-dsn ours.example")["dsn"] is False
    said = mtad("domain set --hourly-limit 500 ours.example").stdout
    assert said == "ours.example: pool news, DSNs off, 500 recipients an hour.\n"
    assert "Hourly limit  500 recipients\n" in mtad("domain show ours.example").stdout
    assert "no hourly limit" in mtad("domain set --hourly-limit 0 ours.example").stdout
    mtad("domain set --hourly-limit x ours.example", code=2)
    mtad("domain pause --why unpaid ours.example")
    assert "unpaid" in mtad("domain list").stdout
    assert "unpaid" in mtad("domain show ours.example").stdout
    mtad("domain resume ours.example")
    assert "Aborted" in mtad("domain remove ours.example", code=1, stdin="n\n").stderr
    assert as_json("domain remove --yes ours.example") == {"removed": "ours.example"}
    assert as_json("domain list") == []
    assert "Name what to set" in mtad("domain set ours.example", code=2).stderr


def test_the_first_domain_makes_the_store(mtad, as_json, tmp_path):
    mtad("domain add first.example --data", str(tmp_path))
    assert [view["name"] for view in as_json("domain list --data", str(tmp_path))] == ["first.example"]


def test_a_login_is_added_with_a_made_password_that_is_printed_once(mtad, as_json, store):
    text = mtad("credential add bob@ours.example").stdout
    assert re.search(r"^Login     bob@ours.example\nPassword  \w{24}$", text, re.MULTILINE)
    assert "Password" not in mtad("credential list").stdout
    assert [item["login"] for item in as_json("credential list --domain ours.example")] == ["bob@ours.example"]
    assert as_json("credential add bob@ours.example")["replaced"] is True
    assert as_json("credential remove bob@ours.example") == {"removed": "bob@ours.example"}


def test_a_password_comes_from_standard_input_or_a_prompt_and_is_not_printed(mtad, store):
    for options, stdin in (("--password-stdin", "given secret\n"), ("--prompt", "given secret\ngiven secret\n")):
        result = mtad(f"credential add {options} bob@ours.example", stdin=stdin)
        assert "given secret" not in result.output


def test_a_password_that_is_too_short_or_missing_is_refused_without_being_shown(mtad, store):
    result = mtad("credential add --password-stdin bob@ours.example", code=1, stdin="tiny\n")
    assert result.stderr == "mtad: a password has at least 5 characters\n"
    result = mtad("credential add --password-stdin bob@ours.example", code=1, stdin="")
    assert result.stderr == "mtad: there is no password on standard input\n"


def test_no_option_of_credential_add_takes_a_password(mtad, store):
    mtad("credential add --password x bob@ours.example", code=2)


# --- events ---


@pytest.mark.parametrize("with_daemon", [True, False])
def test_events_as_json_are_one_object_a_line(mtad, store, with_daemon, request):
    if with_daemon:
        request.getfixturevalue("daemon")
    lines = mtad("events --json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["event"] for one in found] == ["accepted", "accepted", "failed"]
    assert found[2]["severity"] == "temporary"
    assert found[2]["delivery-status"]["retry-seconds"] == 900.0


def test_events_for_people_say_what_happened_and_drive_no_terminal(mtad, store):
    text = mtad("events").stdout
    assert "by smtp from [198.51.100.7] (app) as ann@ours.example" in text
    assert "attempt 1 to mx.x [192.0.2.9] from [192.0.2.1]: 451 4.7.1 greylisted\\x1b[31m; next try in 15 min" in text
    assert "\x1b" not in text


def test_events_are_narrowed(mtad, store):
    def count(options):
        return len(mtad(f"events --json {options}").stdout.splitlines())

    assert count("--event failed-temporary") == 1
    assert count("--event failed --event accepted") == 3
    assert count("--recipient eve@example.net") == 1
    assert count("--domain ours.example") == 3
    assert count("--domain x.example") == 0
    assert count("--limit 2") == 2
    assert count("--since 1h") == 3
    assert count("--since 2040-01-01") == 0
    mtad("events --event eaten", code=2)
    mtad("events --since yesterdayish", code=2)


def test_following_goes_on_until_ctrl_c_and_tells_nothing_twice(mtad, daemon, store, monkeypatch):
    looks = []

    class Clock(SystemClock):
        async def sleep(self, wait_s):
            looks.append(wait_s)
            if len(looks) == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(events, "CLOCK", Clock())
    result = mtad("events --follow --limit 1 --json", code=130)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["event"] for one in found] == ["failed"]
    assert len(looks) == 3


def test_following_needs_a_daemon(mtad, store):
    assert "no new events" in mtad("events --follow", code=1).stderr


# --- one message ---


def test_a_timeline_goes_from_accepted_to_what_is_not_known(mtad, store):
    text = mtad("message show", store.message).stdout
    steps = [line.split("  ")[1].strip() for line in text.splitlines() if line.startswith("20")]
    assert steps == ["accepted", "accepted", "failed", "interrupted"]
    assert "attempt 2 was cut off and its outcome is unknown: the next one may make a duplicate" in text
    assert "2 recipients not done" in text


def test_a_timeline_as_json_keeps_all_that_is_known(as_json, store):
    found = as_json("message show", store.message)
    assert found["message"]["id"] == store.message
    assert found["timeline"][2]["detail"]["cause"] == "greylisted"
    assert found["timeline"][3]["event"] == "interrupted"


# --- captured mail, check ---


@pytest.mark.parametrize("with_daemon", [True, False])
def test_captured_mail_is_listed_shown_and_thrown_away(mtad, as_json, store, with_daemon, request):
    if with_daemon:
        request.getfixturevalue("daemon")
    assert "Hello [red]" in mtad("captured list --recipient bob@example.net").stdout
    assert as_json("captured list")[0]["id"] == store.captured
    text = mtad("captured show", store.captured).stdout
    assert "Text \\x1b[31m\n" in text
    assert mtad("captured show --raw", store.message).stdout_bytes == CONTENT
    assert as_json("captured show", store.captured)["content"] == CONTENT.decode().replace("\r\n", "\n")
    assert mtad("captured clear").stdout == "1 message thrown away.\n"
    assert mtad("captured list").stdout == "No message has been captured.\n"


@pytest.mark.parametrize("with_daemon", [True, False])
def test_check_proves_that_accepted_is_terminal_plus_queued(mtad, as_json, store, with_daemon, request):
    if with_daemon:
        request.getfixturevalue("daemon")
    text = mtad("check").stdout
    assert "accepted 2 = delivered 0 + failed 0 + waiting 2 + sending 0\nThe store is whole.\n" in text
    assert as_json("check")["ok"] is True


def test_check_with_a_fault_has_exit_code_1(mtad, as_json, store):
    import sqlite3

    connection = sqlite3.connect(store.folder / "mtad.sqlite")
    connection.execute("UPDATE recipients SET state = 2")
    connection.commit()
    connection.close()
    assert "FAULT: 2 finished recipients" in mtad("check", code=1).stdout
    assert as_json("check", code=1)["ok"] is False
