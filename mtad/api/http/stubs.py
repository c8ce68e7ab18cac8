"""Stubs: what clients may call and mtad has no use for, answered in the shape they expect.

Room: api.
"""

from collections.abc import Sequence

from mtad.api.http.answers import Answer, answer
from mtad.api.http.call import Call, Row

_RUNNING = {"is_disabled": False, "disabled": {"until": "", "reason": ""}}


class Stubs:
    def rows(self) -> Sequence[Row]:
        return (
            Row(
                method="GET",
                path="/domains/{domain}/sending_queues",
                handler=self.sending_queues,
                about="Whether the domain's queues are stopped",
                chapter="Queue",
                stub=True,
            ),
        )

    async def sending_queues(self, call: Call) -> Answer:
        return answer({"regular": _RUNNING, "scheduled": _RUNNING})
