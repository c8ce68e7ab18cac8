"""What is stored of a submission: options of the header and of the call, and one copy for each who gets one."""

import pytest

from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.options import Options
from mtad.mail.reply import Refused
from mtad.message.headers import scan
from mtad.queue import prepare as preparing
from mtad.queue.prepare import Personal, copies, person_of, personal_from, prepare

NOW = 1_700_000_000.0
DAY = 86_400.0


def submission(text: str, *recipients: str, options: Options | None = None) -> Submission:
    content = text.replace("\n", "\r\n").encode()
    made = Submission(None, [parse_address(one) for one in recipients], content, "ours.example", NOW)
    made.options = options
    return made


def prepared(text: str, options: Options | None = None) -> preparing.Prepared:
    taken = submission(text, "a@b.example", options=options)
    return prepare(taken, scan(taken.content), NOW, 3 * DAY)


def copied(text: str, *recipients: str, options: Options | None = None) -> list[tuple[str, int, Personal]]:
    taken = submission(text, *recipients)
    made = copies(taken, scan(taken.content), options, personal=True)
    return [(str(one.address), one.place, personal_from(one.personal)) for one in made]


def test_mail_without_control_fields_is_the_same_object_without_options():
    taken = submission("Subject: x\n\ntext\n", "a@b.example")
    found = prepare(taken, scan(taken.content), NOW, DAY)
    assert found.content is taken.content
    assert found.options is None
    assert found.hidden == frozenset()


def test_control_fields_are_read_and_hidden():
    found = prepared("X-Mailgun-Tag: News\nX-Mailgun-Track: no\nSubject: x\n\n")
    assert found.options is not None
    assert found.options.tags == ("News",)
    assert found.hidden == {b"x-mailgun-tag", b"x-mailgun-track"}
    assert found.options.track_opens is False


def test_what_the_call_says_goes_before_what_the_header_says():
    header = (
        "X-Mailgun-Tag: header\nX-Mailgun-Track-Opens: yes\nX-Mailgun-Dkim: no\n"
        'X-Mailgun-Variables: {"a": 1, "b": 1}\nSubject: x\n\n'
    )
    found = prepared(header, Options(tags=("call",), track_opens=False, variables={"b": 2})).options
    assert found is not None
    assert found.tags == ("call",)
    assert found.track_opens is False
    assert found.dkim is False
    assert found.variables == {"a": 1, "b": 2}


def test_a_batch_of_the_call_alone_is_a_batch():
    found = prepared("Subject: x\n\n", Options(recipient_variables={})).options
    assert found is not None
    assert found.batch


def test_a_container_is_opened_and_its_variables_are_everybodys():
    found = prepared(
        'Content-Type: multipart/mailgun-variables; boundary="b"\n\n--b\nContent-Type: application/json\n\n'
        '{"k": "v"}\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner text\n--b--\n'
    )
    assert found.block.text(b"subject") == "inner"
    assert found.options is not None
    assert found.options.shared_variables == {"k": "v"}
    assert found.options.batch


def test_a_broken_container_is_refused_with_a_reason():
    with pytest.raises(Refused, match=r"554 5\.6\.0 .*boundary"):
        prepared("Content-Type: multipart/mailgun-variables\n\n")


def test_recipients_outside_a_batch_keep_their_places_and_names():
    text = 'To: "Al, B" <al@x.example>, bob@x.example\nCc: Carl <CARL@x.example>\n\n'
    assert copied(text, "bob@x.example", "al@x.example", "carl@x.example") == [
        ("bob@x.example", 0, Personal()),
        ("al@x.example", 1, Personal("Al, B")),
        ("carl@x.example", 2, Personal("Carl")),
    ]


def test_in_a_batch_each_cc_gets_a_copy_of_every_letter():
    options = Options(recipient_variables={"a@x.example": {"n": 1}})
    text = "To: A <a@x.example>, b@x.example\nCc: c@x.example\n\n"
    assert copied(text, "a@x.example", "c@x.example", "b@x.example", options=options) == [
        ("a@x.example", 0, Personal("A", {"n": 1})),
        ("c@x.example", 1, Personal("A", {"n": 1}, "a@x.example")),
        ("b@x.example", 2, Personal()),
        ("c@x.example", 1, Personal("", None, "b@x.example")),
    ]


def test_a_batch_addressed_to_a_variable_is_to_every_recipient():
    made = copied("To: %recipient%\n\n", "a@x.example", "b@x.example", options=Options(recipient_variables={}))
    assert [one[0] for one in made] == ["a@x.example", "b@x.example"]


def test_too_many_copies_are_refused():
    people = [f"to{n}@x.example" for n in range(200)] + [f"cc{n}@x.example" for n in range(100)]
    text = f"To: {', '.join(people[:200])}\nCc: {', '.join(people[200:])}\n\n"
    with pytest.raises(Refused, match="send it in parts"):
        copied(text, *people, options=Options(recipient_variables={}))


def test_what_is_stored_of_a_person_comes_back():
    person = Personal("Ünal", {"k": [1, None, "x"]}, "a@b.example")
    assert personal_from(person_of(person)) == person
    assert person_of(Personal()) is None
    assert personal_from(None) == Personal()
