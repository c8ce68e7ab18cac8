"""Many: what a request brings in bulk: the text of a file, and the entries of an array.

Room: api.
"""

from collections.abc import Sequence
from typing import TypeVar

from mtad.api.http.answers import BadRequest, TooLarge
from mtad.api.http.call import Call
from mtad.api.http.params import missing

MAX_ADDED = 1000  # entries of one array

T = TypeVar("T")


def file_text(call: Call, field: str, most: int) -> str:
    """Of the file that came, or of the form's field of that name. most: octets. Raises BadRequest, TooLarge."""
    content = call.files[0].content if call.files else call.params.text(field, "").encode()
    if not content:
        raise missing(field)
    if len(content) > most:
        raise TooLarge(f"The file is larger than {most // 1_048_576} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadRequest("The file is not UTF-8") from None


def not_too_many(some: Sequence[T]) -> Sequence[T]:
    """Raises BadRequest when the array has no entry, or more than MAX_ADDED."""
    if not some or len(some) > MAX_ADDED:
        raise BadRequest(f"the array must have 1 to {MAX_ADDED} entries; it has {len(some)}")
    return some
