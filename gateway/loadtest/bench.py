"""`pgbourse bench`: every point in rounds, the yardstick beside them, and a soak; figures ready for JSON."""

import contextlib
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil

from gateway import __version__
from gateway.loadtest import pgbench
from gateway.loadtest.load import measure, set_up
from gateway.loadtest.measure import Measurement
from gateway.loadtest.points import YARDSTICK_CLIENTS, Plan, Point, points
from gateway.loadtest.rig import Rig
from gateway.loadtest.seeding import seed_history, seed_resting
from gateway.loadtest.workload import Feeder, Workload
from gateway.migrate import migrate

__all__ = ["bench"]

_START_SECONDS = 1.5  # about what a database and a server take to be there, for the progress bar
_SOAK_CLIENTS = 128

# Told of progress: seconds of the estimate that have passed, and what is being done.
Progress = Callable[[float, str], None]


def estimate(plan: Plan, database_url: str | None) -> float:
    """Return about how many seconds the plan takes."""
    runs = len(points(plan, _cores(database_url)))
    one_round = runs * (plan.seconds + plan.warm_up + _START_SECONDS)
    one_round += (len(YARDSTICK_CLIENTS) + 2) * plan.pgbench_seconds
    seeding = (sum(plan.history) + 10 * plan.resting) / 150_000
    return 5 + seeding + plan.rounds * one_round + plan.soak + plan.warm_up + _START_SECONDS


def bench(plan: Plan, database_url: str | None, progress: Progress) -> dict[str, Any]:
    """Carry out the plan and return its report, ready for JSON.

    Raises a PgbourseError when PostgreSQL, pgbench or a server does not start, or a document goes unanswered.
    """
    pgbench.find_pgbench()
    begin = time.monotonic()
    with Rig(database_url) as rig, contextlib.ExitStack() as stack:
        run = _Bench(rig, plan, progress, stack)
        measured = points(plan, _cores(database_url))
        run.prepare(measured)
        for number in range(plan.rounds):
            run.round(number, measured)
        soak = run.soak()
        report = {
            "pgbourse": __version__,
            "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": _machine(),
            "postgresql": {"version": rig.version, "embedded": rig.embedded, "settings": rig.settings},
            "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "soak_seconds": plan.soak},
            "seconds": round(time.monotonic() - begin),
        }
        return report | run.results() | {"soak": soak}


class _Bench:
    """The state of a benchmark: the databases that its runs start from, and what they came to."""

    def __init__(self, rig: Rig, plan: Plan, progress: Progress, stack: contextlib.ExitStack) -> None:
        self._rig = rig
        self._plan = plan
        self._progress = progress
        self._stack = stack  # of the databases that are kept to the end
        self._workloads = {orders: Workload(orders=orders) for orders in (1, 10, 100)}
        self._feeders = {orders: Feeder(workload) for orders, workload in self._workloads.items()}
        self._yardstick: dict[int, list[float]] = {clients: [] for clients in YARDSTICK_CLIENTS}
        self._runs: dict[Point, list[dict[str, Any]]] = {}
        self._sql: dict[str, list[dict[str, Any]]] = {"place_order": [], "process_batch": []}

    def prepare(self, measured: list[Point]) -> None:
        """Make the databases: pgbench's, one with accounts to copy from, and those with a past."""
        self._progress(0, "pgbench's tables")
        self._tpcb = self._stack.enter_context(self._rig.database())
        pgbench.initialize(self._tpcb)
        self._progress(3, "accounts")
        self._template = self._stack.enter_context(self._rig.database())
        migrate(self._template)
        with self._rig.serving(self._template) as server:
            set_up(server.target, self._workloads[1])
        self._progress(2, "")
        self._seeded: dict[Point, str] = {}
        for point in measured:
            if point.history or point.resting:
                self._progress(0, f"{point.group} of {point.label} orders")
                database = self._stack.enter_context(self._rig.database(self._template))
                with self._rig.connect(database) as connection:
                    seed_history(connection, point.history) if point.history else None
                    seed_resting(connection, point.resting) if point.resting else None
                self._seeded[point] = database
                self._progress((point.history + 10 * point.resting) / 150_000, "")
        self._runs = {point: [] for point in measured}

    def round(self, number: int, measured: list[Point]) -> None:
        """Measure the yardstick and every point once."""
        plan = self._plan
        for clients, rates in self._yardstick.items():
            self._progress(0, f"round {number + 1} of {plan.rounds}: pgbench, {clients} clients")
            self._rig.checkpoint()
            rates.append(pgbench.tpcb(self._tpcb, clients, plan.pgbench_seconds).transactions_per_second)
            self._progress(plan.pgbench_seconds, "")
        for point in measured:
            self._progress(0, f"round {number + 1} of {plan.rounds}: {point.group} {point.label}")
            with self._database(point) as database:
                self._runs[point].append(self._run(point, database))
            self._progress(_START_SECONDS, "")
        self._progress(0, f"round {number + 1} of {plan.rounds}: functions without a gateway")
        self._measure_sql()
        self._progress(2 * plan.pgbench_seconds, "")

    def soak(self) -> dict[str, Any]:
        """Run one load for long and return it second by second."""
        self._progress(0, "soak")
        point = Point("soak", "", _SOAK_CLIENTS)
        with self._rig.database(self._template) as database:
            figures = self._run(point, database, self._plan.soak, series=True)
        rates = figures.pop("rates")
        part = min(60, len(rates) // 4)  # the second minute against the last, or quarters of less
        kept = statistics.mean(rates[-part:]) / statistics.mean(rates[part : 2 * part]) if part else None
        return figures | {
            "clients": _SOAK_CLIENTS,
            "rates": rates,
            "part_seconds": part,
            "late_to_early": kept and round(kept, 3),
        }

    def results(self) -> dict[str, Any]:
        """Return the yardstick and every point, with medians and ratios."""
        best = max(statistics.median(rates) for rates in self._yardstick.values())
        yardstick = {
            "transactions_per_second": round(best, 1),
            "by_clients": {str(clients): _spread(rates) for clients, rates in self._yardstick.items()},
        }
        measured = []
        for point, runs in self._runs.items():
            entry: dict[str, Any] = {name: getattr(point, name) for name in Point.__slots__}
            measured.append(entry | _summary(runs, best))
        calls = [{"function": name} | _summary(runs, best) for name, runs in self._sql.items()]
        return {"yardstick": yardstick, "points": measured, "sql": calls}

    @contextlib.contextmanager
    def _database(self, point: Point) -> Iterator[str]:
        """Give the point's own database, or a fresh one."""
        if point in self._seeded:
            yield self._seeded[point]
            return
        with self._rig.database(self._template) as database:
            yield database

    def _run(
        self, point: Point, database: str, seconds: float | None = None, *, series: bool = False
    ) -> dict[str, Any]:
        """Put the point's load on a server over this database and return the figures."""
        feeder = self._feeders[point.orders]
        self._rig.checkpoint()
        with self._rig.serving(database, point.cores) as server:
            measure(server.target, feeder, clients=point.clients, seconds=self._plan.warm_up)
            self._progress(self._plan.warm_up, "")
            before = self._rig.cpu_seconds(server)
            result = measure(
                server.target,
                feeder,
                clients=point.clients,
                seconds=seconds or self._plan.seconds,
                on_tick=lambda _: self._progress(0.5, ""),
            )
            used = self._rig.cpu_seconds(server)
        each = {name: (used[name] - before[name]) / result.documents * 1e6 for name in used}
        each["load"] = result.cpu_seconds / result.documents * 1e6
        figures = {
            "orders_per_second": round(result.orders_per_second, 1),
            "documents_per_second": round(result.documents_per_second, 1),
            "latency_ms": result.latency_ms(),
            "cpu_us_per_document": {name: round(value, 1) for name, value in each.items()},
        }
        return figures | ({"rates": _by_second(result)} if series else {})

    def _measure_sql(self) -> None:
        with self._rig.database(self._template) as database:
            workload, seconds = self._workloads[1], self._plan.pgbench_seconds
            one = pgbench.one_order(database, workload, seconds)
            batch = pgbench.run_batches(database, workload, seconds)
        for name, call, orders in (("place_order", one, 1), ("process_batch", batch, pgbench.BATCH_ORDERS)):
            rate = round(call.transactions_per_second * orders, 1)
            self._sql[name].append({"orders_per_second": rate, "latency_ms": {"p50": call.median_ms}})


def _summary(runs: list[dict[str, Any]], best: float) -> dict[str, Any]:
    rates = _spread([run["orders_per_second"] for run in runs])
    return {
        "orders_per_second": rates,
        "ratio": round(rates["median"] / best, 3),
        "p50_ms": _spread([run["latency_ms"]["p50"] for run in runs]),
        "runs": runs,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "low": min(values), "high": max(values)}


def _by_second(result: Measurement) -> list[float]:
    """Return the orders of each whole second."""
    rates: list[float] = []
    at, opened = 0.0, 0
    for seconds, _, so_far in result.series:
        if seconds - at > 0.9:  # the figures are taken about twice a second
            rates.append(round((so_far - opened) / (seconds - at), 1))
            at, opened = seconds, so_far
    return rates


def _cores(database_url: str | None) -> int:
    """Return how many cores gateway and database can be confined to: needs Linux, and a database of ours."""
    if database_url is not None or not hasattr(os, "sched_setaffinity"):
        return 0
    return len(os.sched_getaffinity(0))


def _machine() -> dict[str, Any]:
    return {
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
