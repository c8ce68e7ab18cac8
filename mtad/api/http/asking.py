"""Asking: the operations, asked by HTTP: what they refuse is an answer too.

Room: api. The texts of operations are for operators as well; the commands they name are left out here.
"""

from collections.abc import Awaitable
from typing import TypeVar

from mtad.api.base import Full, Impossible, NotThere
from mtad.api.dkim_operations import Taken
from mtad.api.http.answers import BadRequest, NotCarriedOut, NotFound

T = TypeVar("T")


async def carried_out(work: Awaitable[T], not_there: str = "", taken: str = "") -> T:
    """not_there: the text of a 404, taken: when it is there already; "" for the operation's own."""
    try:
        return await work
    except NotThere as error:
        raise NotFound(not_there or plainly(error)) from None
    except Taken as error:
        raise BadRequest(taken or plainly(error)) from None
    except Full as error:
        raise NotCarriedOut(plainly(error)) from None
    except Impossible as error:
        raise BadRequest(plainly(error)) from None


def plainly(error: Impossible) -> str:
    """ "x is no domain of ours; `mtad domain list` shows them" -> "x is no domain of ours"."""
    return str(error).partition("; `mtad ")[0]
