"""`pgbourse bench`: every point in rounds, the yardstick with them, and a soak; figures ready for JSON."""

import contextlib
import datetime
import os
import time
from dataclasses import replace
from typing import Any

from pgbourse import __version__
from pgbourse.bench import pgbench
from pgbourse.bench.machine import describe_machine, find_commit
from pgbourse.bench.points import FUNCTIONS, YARDSTICK, YARDSTICK_CLIENTS, Plan, Point, points, steps
from pgbourse.bench.rig import Rig
from pgbourse.bench.rounds import HOSTILE_SECONDS, START_SECONDS, Progress, Rounds, seeding_seconds
from pgbourse.bench.targets import targets
from pgbourse.loadtest.connections import allow_open_files

__all__ = ["bench", "estimate"]

_OTHER_FILES = 200  # open files of the load besides its connections


def estimate(plan: Plan, database_url: str | None) -> float:
    """Estimate how many seconds the plan takes."""
    plan = _possible(plan, database_url)
    measured = points(plan, _cores(database_url))
    one_round = sum(_step_seconds(plan, step) for step in steps(plan, measured))
    seeding = sum(seeding_seconds(point) for point in measured)
    snapshot = 2 * (plan.held + 2 * plan.held_part) + START_SECONDS if "snapshot" in plan.groups else 0
    soak = plan.soak + plan.warm_up + START_SECONDS if "soak" in plan.groups else 0
    return 5 + seeding + plan.rounds * one_round + snapshot + soak


def bench(plan: Plan, database_url: str | None, progress: Progress) -> dict[str, Any]:
    """Carry out the plan and return its report, ready for JSON.

    Raises a PgbourseError if PostgreSQL, pgbench or a server does not start, or a document goes unanswered.
    """
    plan = _possible(plan, database_url)
    pgbench.find_pgbench()
    begin = time.monotonic()
    with Rig(database_url) as rig, contextlib.ExitStack() as stack:
        run = Rounds(rig, plan, progress, stack)
        measured = points(plan, _cores(database_url))
        run.prepare(measured)
        one_round = steps(plan, measured)
        for number in range(plan.rounds):
            # Forwards and backwards, so that a machine that slows down affects all points alike.
            run.round(number, one_round if number % 2 == 0 else one_round[::-1])
        report: dict[str, Any] = {
            "pgbourse": __version__,
            "commit": find_commit(),
            "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(rig.folder),
            "postgresql": {"version": rig.version, "embedded": rig.embedded, "settings": rig.settings},
            "plan": {
                "rounds": plan.rounds,
                "judges": plan.judges,
                "seconds": plan.seconds,
                "soak_seconds": plan.soak,
                "groups": list(plan.groups),
            },
        }
        report |= run.results()
        report["snapshot"] = run.snapshot() if "snapshot" in plan.groups else None
        report["soak"] = run.soak() if "soak" in plan.groups else None
        report["seconds"] = round(time.monotonic() - begin)
        return report | {"targets": targets(report)}


def _step_seconds(plan: Plan, step: Point) -> float:
    if step == YARDSTICK:
        return len(YARDSTICK_CLIENTS) * plan.pgbench_seconds
    if step == FUNCTIONS:
        return 2 * plan.pgbench_seconds
    if step.hostile:
        return plan.seconds + plan.warm_up + START_SECONDS + HOSTILE_SECONDS
    return plan.seconds + plan.warm_up + START_SECONDS


def _possible(plan: Plan, database_url: str | None) -> Plan:
    """Return the plan without what can't be: connections that this process may not open, slow flushes."""
    if plan.connections + _OTHER_FILES > allow_open_files():
        plan = replace(plan, connections=0)
    return plan if database_url is None else replace(plan, flush_ms=0)


def _cores(database_url: str | None) -> int:
    """Return how many cores to confine gateway and database to; 0 unless on Linux with our own database."""
    if database_url is not None or not hasattr(os, "sched_setaffinity"):
        return 0
    return len(os.sched_getaffinity(0))
