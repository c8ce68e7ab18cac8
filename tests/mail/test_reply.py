import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.reply import Reply


@pytest.mark.parametrize(
    ("code", "text", "detail", "words"),
    [
        (451, "4.7.1 greylisted", "7.1", "greylisted"),
        (550, "5.1.1", "1.1", ""),
        (250, "2.0.0   ok", "0.0", "ok"),
        (550, "4.7.1 of another class", "", "4.7.1 of another class"),
        (550, "no such user", "", "no such user"),
        (550, "5.1.1x no code", "", "5.1.1x no code"),
        (421, "", "", ""),
    ],
)
def test_the_enhanced_code_is_split_off_only_when_its_class_is_right(code, text, detail, words):
    assert Reply.from_text(code, text) == Reply(code, detail, words)


@given(st.integers(200, 599), st.text(max_size=60))
def test_any_text_gives_a_reply_whose_enhanced_code_agrees_with_its_code(code, text):
    reply = Reply.from_text(code, text)
    assert not reply.enhanced or reply.enhanced[0] == str(code)[0]
    assert str(reply).startswith(str(code))


def test_the_class_of_the_code_says_what_it_means():
    assert Reply(250, "", "").is_positive
    assert not Reply(421, "", "").is_positive
    assert not Reply(451, "", "").is_permanent
    assert Reply(550, "", "").is_permanent
