import pytest

from mtad.feedback.incoming import Action
from mtad.feedback.mime import parse
from mtad.feedback.prose import by_mailer, failed_or_delayed, recipients, report_text
from tests.feedback.reports import CLASSIFIER

FAILED = [
    "Your message could not be delivered",
    "Mail delivery failed: returning message to sender",
    "Undelivered Mail Returned to Sender",
    "Delivery Status Notification (Failure)",
    "failure notice",
    "I'm afraid I wasn't able to deliver your message",
    "DELIVERY FAILURE: User x",
    "Ihre Nachricht konnte nicht zugestellt werden",
    "Unzustellbar: Januar",
    "Votre message n'a pas pu être remis",
    "Échec de la remise",
    "No se ha podido entregar su mensaje",
    "Mensaje no entregado",
    "A sua mensagem não pôde ser entregue",
    "Falha na entrega",
    "Il messaggio non è stato consegnato",
    "Mancata consegna",
    "Uw bericht kon niet worden bezorgd",
    "Wiadomość nie została dostarczona",
    "Nie można dostarczyć wiadomości",
    "Ваше письмо не было доставлено",
    "Письмо не может быть доставлено",
    "メールを配信できませんでした",
    "配信不能",
    "您的邮件无法投递",
    "退信",
]
DELAYED = [
    "Delayed Mail (still being retried)",
    "Warning: message 1a delayed 24 hours",
    "Warning: could not send message for past 4 hours",
    "Delivery Status Notification (Delay)",
    "Your message could not be delivered for 4 hours. It will be retried until it is 5 days old.",
    "Delivery incomplete. Gmail will retry for 46 more hours. If the delivery fails permanently, you'll be notified.",
    "This is a warning message only. You do not need to resend your message.",
    "Verzögerte Zustellung",
    "Ihre Nachricht wurde noch nicht zugestellt",
    "Votre message n'a pas encore été remis",
    "Entrega demorada: entrega retrasada",
    "De bezorging is vertraagd",
    "Доставка сообщения задерживается",
    "メールの配信遅延",
]
NEITHER = ["January news", "Re: your question", "You have been delivered a parcel", "Delivery on Monday", ""]


@pytest.mark.parametrize("text", FAILED)
def test_what_says_that_delivery_failed(text):
    assert failed_or_delayed(text, "") is Action.FAILED
    assert failed_or_delayed("", f"Hello.\n\n{text}") is Action.FAILED


@pytest.mark.parametrize("text", DELAYED)
def test_who_still_tries_has_not_failed(text):
    assert failed_or_delayed(text, "") is Action.DELAYED
    assert failed_or_delayed("Mail could not be delivered", text) is Action.DELAYED


@pytest.mark.parametrize("text", NEITHER)
def test_what_says_neither(text):
    assert failed_or_delayed(text, text) is None


@pytest.mark.parametrize(
    "marker",
    [
        "------ This is a copy of the message, including all the headers. ------",
        "--- Below this line is a copy of the message.",
        "----- Original message -----",
        "------- Returned Message --------",
        "   ----- Unsent message follows -----",
        "-------- Ursprüngliche Nachricht --------",
    ],
)
def test_the_message_that_is_sent_back_is_no_part_of_the_report(marker):
    assert report_text(f"It failed.\n\n{marker}\n\nFrom: a\nSubject: b\n\nx") == (
        "It failed.",
        "From: a\nSubject: b\n\nx",
    )
    assert report_text("Failed.\nReceived: from a by b\nFrom: a") == ("Failed.", "Received: from a by b\nFrom: a")
    assert report_text("Failed.") == ("Failed.", "")


@pytest.mark.parametrize(
    ("head", "null_path", "trusted"),
    [
        ("From: alice@example.org", True, True),
        ("From: alice@example.org", False, False),
        ("From: Mail Delivery System <MAILER-DAEMON@example.org>", False, True),
        ("From: postmaster@example.org", False, True),
        ("From: MAILER-DAEMON@example.org (Mail Delivery System)", False, True),
        ('From: "Mail" <MAILER-DAEMON>', False, True),
        ("From: Postmaster <alice@example.org>", False, False),
        ("From: alice-mailer-daemon@example.org", False, False),
        ("From: alice@example.org\r\nX-Failed-Recipients: bob@example.net", False, True),
        ("Subject: x", False, False),
    ],
)
def test_who_is_a_mailer(head, null_path, trusted):
    assert by_mailer(parse(f"{head}\r\n\r\nx".encode()), null_path) is trusted


def found(text, failed=False, head="Subject: x"):
    message = parse(f"{head}\r\n\r\n".encode())
    return [
        (str(one.address or ""), str(one.reply), one.phase) for one in recipients(message, text, CLASSIFIER, failed)
    ]


def test_each_address_has_the_lines_behind_it():
    text = "<bob@example.net>:\nhost mx said: 550 5.1.1 none\n\ncarol@example.net\n    552 full\n\nBye, and 553 thanks"
    assert found(text, True) == [
        ("bob@example.net", "550 5.1.1 none", "final"),
        ("carol@example.net", "552 full", "final"),
    ]


def test_an_address_in_a_sentence_is_no_entry():
    assert found("Write to bob@example.net is what you did. 5.1.1 unknown") == [
        ("", "550 5.1.1 Write to bob@example.net is what you did. 5.1.1 unknown", "final")
    ]


def test_the_field_of_exim_names_those_the_text_does_not():
    head = "X-Failed-Recipients: bob@example.net, carol@example.net"
    assert [one[0] for one in found("550 5.1.1 x", True, head)] == ["bob@example.net", "carol@example.net"]


@pytest.mark.parametrize(
    "text",
    [
        "I drove 550 miles",
        "From 5.7.26 to 5.9.26 I am away",
        "451 4.7.1 later",
        "4.1.1 unknown for now",
        "Your access is denied, we do not want you",
        "> 550 5.1.1 user unknown",
        "The mailbox may be full. Please check that the user is not unknown.",
        "Möglicherweise ist der Empfänger unbekannt",
        "",
    ],
)
def test_without_saying_so_these_report_no_failure(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("5.1.1 unknown", "550 5.1.1 unknown"),
        ("550 user unknown", "550 user unknown"),
        ("User unknown", "550 User unknown"),
        ("Sorry.\n\nThe mailbox is full.", "550 The mailbox is full."),
        ("This was #5.7.133 refused", "550 5.7.133 This was #5.7.133 refused"),
    ],
)
def test_a_code_or_a_phrase_about_the_recipient_reports_a_failure(text, reply):
    assert found(text) == [("", reply, "final")]


def test_a_failure_without_a_reason_has_no_cause():
    ((address, reply, phase),) = found("It did not work out, sorry.\n\nThe user may be unknown.", True)
    assert (address, reply, phase) == ("", "550 It did not work out, sorry.", "final")


def test_a_reason_that_is_only_possible_is_none():
    assert found("Perhaps the user is unknown.", True) == [("", "550 ", "final")]


def test_a_transcript_is_read_though_its_lines_begin_with_an_angle():
    assert found(">>> RCPT To:<bob@example.net>\n<<< 550 Go away.", True) == [("", "550 Go away.", "rcpt")]
