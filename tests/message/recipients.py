"""Recipients for tests of composition, with links that can be read."""

from collections.abc import Mapping
from typing import Any

from mtad.message.variables import Person


class PlainLinks:
    """Links whose target stands in them in hex, so that a test can read it back."""

    def open_url(self) -> str:
        return "https://t.example/o/pixel"

    def click_url(self, target: str) -> str:
        return "https://t.example/c/" + target.encode("utf-8", "surrogatepass").hex()

    def unsubscribe_url(self) -> str:
        return "https://t.example/u/all"

    def tag_unsubscribe_url(self) -> str:
        return "https://t.example/u/tags"

    def mailing_list_unsubscribe_url(self) -> str:
        return "https://t.example/u/list"

    def unsubscribe_email(self) -> str:
        return "leave+1@t.example"


def person(
    variables: Mapping[str, Any] | None = None,
    *,
    address: str = "zoe@recipient.example",
    name: str = "Zoe Q. Smith",
    to: str = "",
) -> Person:
    return Person(address, name, variables or {}, to, PlainLinks())


def click(target: str) -> str:
    return PlainLinks().click_url(target)
