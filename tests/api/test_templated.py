"""Stored templates for mail over SMTP."""

import asyncio
import email
import email.policy

import pytest

from mtad.api.templated import Templated
from mtad.api.templates import NoTemplate
from mtad.mail.address import parse_address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply
from mtad.message.handlebars.letter import read_letter
from mtad.message.headers import HeaderBlock


class Shelf:
    """One template, "welcome"."""

    async def fill(self, domain_id, name, version, variables, *, text=False):
        if (domain_id, name) != (7, "welcome"):
            raise NoTemplate(f"template '{name}' not found")
        return read_letter("<p>Hi {{first}}</p>", {"Subject": "Welcome {{first}}"}).fill(variables, text=text)


class Queue:
    def __init__(self) -> None:
        self.taken: list[Submission] = []
        self.rejected: list[str] = []

    def __call__(self, submission: Submission) -> "asyncio.Future[int]":
        self.taken.append(submission)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(1)
        return future

    def reject(self, submission: Submission, block: HeaderBlock, refusal: Reply) -> None:
        self.rejected.append(str(refusal))


def mail(text: str) -> Submission:
    content = text.replace("\n", "\r\n").encode()
    return Submission(None, [parse_address("bob@b.example")], content, "ours.example", 0.0)


def door(queue: Queue) -> Templated:
    return Templated(queue, Shelf(), lambda name: 7, lambda: 1.7e9, lambda: "m" * 24)


async def test_mail_that_names_no_template_is_the_same_object():
    queue = Queue()
    taken = mail("Subject: x\n\nX-Mailgun-Template-Name: welcome\n")
    assert await door(queue)(taken) == 1
    assert queue.taken == [taken]


async def test_the_text_is_the_templates_and_header_and_files_are_the_senders():
    queue = Queue()
    await door(queue)(
        mail(
            "From: a@ours.example\nx-mailgun-template-name: welcome\n"
            'X-Mailgun-Template-Variables: {"first": "B<b"}\nMIME-Version: 1.0\n'
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nignored\n"
            "--b\nContent-Type: text/csv; name=list.csv\n\n1,2\n--b--\n"
        )
    )
    message = email.message_from_bytes(queue.taken[0].content, policy=email.policy.default)
    assert message["from"] == "a@ours.example"
    assert message["subject"] == "Welcome B<b"
    html = message.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<p>Hi B&lt;b</p>"
    [file] = message.iter_attachments()
    assert (file.get_filename(), file.get_content().strip()) == ("list.csv", "1,2")
    assert "ignored" not in queue.taken[0].content.decode()


async def test_a_subject_of_the_senders_own_stays():
    queue = Queue()
    await door(queue)(mail("Subject: Mine\nX-Mailgun-Template-Name: welcome\n\n"))
    assert email.message_from_bytes(queue.taken[0].content)["subject"] == "Mine"


async def test_an_unknown_template_refuses_the_message_and_names_it_there_and_in_an_event():
    queue = Queue()
    with pytest.raises(Refused, match=r"554 5\.6\.0 .*'absent' not found") as refused:
        await door(queue)(mail("X-Mailgun-Template-Name: absent\n\n"))
    assert queue.rejected == [str(refused.value.reply)]
    assert queue.taken == []
