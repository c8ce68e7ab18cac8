import pytest

from mtad.message.variables import VARIABLE, Filling, Unfillable, asks_to_leave, mailbox_text, usable
from tests.message.recipients import person


def value(variable: str, variables: dict[str, object] | None = None, keys: bool = True, **who: str) -> str | None:
    return Filling(person(variables, **who), keys).text(variable)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("recipient", '"Zoe Q. Smith" <zoe@recipient.example>'),
        ("recipient_email", "zoe@recipient.example"),
        ("recipient_name", "Zoe Q. Smith"),
        ("recipient_fname", "Zoe"),
        ("recipient_lname", "Smith"),
        ("unsubscribe_url", "https://t.example/u/all"),
        ("tag_unsubscribe_url", "https://t.example/u/tags"),
        ("mailing_list_unsubscribe_url", "https://t.example/u/list"),
        ("unsubscribe_email", "leave+1@t.example"),
    ],
)
def test_fixed_variables_have_a_value_in_every_message(name, text):
    assert value(name, keys=False) == text


def test_without_a_name_its_variables_are_empty():
    assert [value(f"recipient_{part}", name="") for part in ("name", "fname", "lname")] == ["", "", ""]
    assert value("recipient", name="") == "zoe@recipient.example"
    assert value("recipient_lname", name="Cher") == ""


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("a%b", "a%b"),
        (1, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (None, ""),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        (10**30, "1" + "0" * 30),
    ],
)
def test_json_values_are_written_as_the_contract_says(given, text):
    assert value("recipient.k", {"k": given}) == text


def test_a_dotted_key_is_first_a_key_and_then_a_way_into_objects():
    assert value("recipient.a.b", {"a.b": 1, "a": {"b": 2}}) == "1"
    assert value("recipient.a.b.c", {"a": {"b.c": 3}}) == "3"
    assert value("recipient.a.b", {"a": [1]}) is None
    assert value("recipient.A", {"a": 1}) is None


def test_keys_without_batch_or_list_have_no_value():
    assert value("recipient.k", {"k": 1}, keys=False) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("50% off %foo% %Recipient%", []),
        ("100%recipient.x%", ["recipient.x"]),
        ("%recipient.a b%", []),
        ("%recipient.%", []),
        ("%recipient.ключ% %recipient_email%", ["recipient.ключ", "recipient_email"]),
        ("%recipient%recipient%", ["recipient"]),
        ("%recipient.a\u00a0b%", []),
    ],
)
def test_only_whole_names_are_variables(text, names):
    assert [found[1] for found in VARIABLE.finditer(text) if usable(found[1])] == names


def test_unsubscribe_variables_are_told_from_keys_of_that_name():
    assert asks_to_leave("unsubscribe_email")
    assert not asks_to_leave("recipient.unsubscribe_url")


def test_a_mailbox_is_safe_in_an_address_list():
    assert mailbox_text("Bob", "bob@x.example") == "Bob <bob@x.example>"
    assert mailbox_text('B", <e@v.il>\r\n', "bob@x.example") == '"B\\", <e@v.il>" <bob@x.example>'


def test_a_copy_has_a_bound():
    filling = Filling(person(), True)
    filling.spend(50_000_000)
    with pytest.raises(Unfillable):
        filling.spend(50_000_000)
