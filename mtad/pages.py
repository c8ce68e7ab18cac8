"""Pages: what the HTTP listeners answer, and the figures of the house that /metrics tells.

No room knows it.
"""

from dataclasses import asdict

from aiohttp import web

from mtad.api.errors import errors_to_json, hide_versions
from mtad.api.ops import Gauges, OpsPages, Snapshots
from mtad.house import House


def http_app(house: House) -> web.Application:
    """What the HTTP listeners answer."""
    app = web.Application(middlewares=[errors_to_json], client_max_size=4096)
    app.on_response_prepare.append(hide_versions)
    OpsPages(gauges(house), Snapshots(house.ground.database, house.ground.clock)).add_to(app)
    house.pages.add_to(app)
    house.api.add_to(app)
    return app


def gauges(house: House) -> Gauges:
    ground, out = house.ground, house.out
    writer, tally, taken, posts = ground.database.writer, out.settler.tally, house.take.tally, house.posted
    return Gauges(
        store_failure=lambda: writer.failure,
        disk=lambda: ground.health.disk,
        memory=lambda: (house.budget.used + out.memory.used, house.budget.limit + out.memory.limit),
        lag_s=lambda: house.lag_s,
        accepted=lambda: out.submit.accepted,
        delivered=lambda: tally.delivered,
        deferred=lambda: tally.deferred,
        interrupted=lambda: tally.interrupted,
        attempts=lambda: tally.attempts,
        attempt_s=lambda: tally.seconds,
        failed=lambda: tally.failures,
        rejected=lambda: out.submit.rejected,
        dsn_sent=lambda: out.notifier.sent,
        connections_in=lambda: house.listeners.connections,
        connections_out=lambda: out.runner.connections,
        http_connections=lambda: house.callers.total + house.visitors.total,
        http_refused=lambda: house.callers.refused + house.visitors.refused,
        smtp=lambda: house.counters,
        commits=lambda: writer.commits,
        intents=lambda: writer.intents,
        commit_s=lambda: writer.busy_s,
        backlog=lambda: writer.backlog,
        in_memory=lambda: out.runner.count,
        paused=lambda: bool(out.runner.gates.why_paused),
        visits=lambda: house.visits.recorded,
        visits_lost=lambda: house.visits.lost,
        inbound=lambda: {"received": taken.received, "taken": taken.taken, "dropped": taken.dropped},
        inbound_refused=lambda: taken.refused,
        inbound_copies=lambda: taken.copies,
        check_s=lambda: taken.seconds,
        reports=lambda: asdict(house.receive.tally),
        posts=lambda: {"done": posts.done, "refused": posts.refused, "given-up": posts.given_up},
        post_attempts=lambda: posts.posted,
        post_s=lambda: posts.seconds,
    )
