"""The runs of a benchmark: databases to start from, rounds over all points, long loads at the end."""

import contextlib
import functools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pgbourse.bench import apart, pgbench
from pgbourse.bench.idle import idle_connections
from pgbourse.bench.points import FUNCTIONS, YARDSTICK, YARDSTICK_CLIENTS, Plan, Point
from pgbourse.bench.rig import Rig, RunningServer
from pgbourse.bench.seeding import seed_history, seed_resting
from pgbourse.bench.snapshot import measure_held
from pgbourse.bench.targets import best_yardstick, spread
from pgbourse.database.migrate import migrate
from pgbourse.loadtest.load import run_closed_loop, set_up
from pgbourse.loadtest.measurement import Measurement
from pgbourse.loadtest.workload import Feeder, Workload

__all__ = ["HOSTILE_SECONDS", "START_SECONDS", "Progress", "Rounds", "seeding_seconds"]

START_SECONDS = 1.5  # about how long a database and a server take to start, for the progress bar
HOSTILE_SECONDS = 4.0  # and how long hostile clients take beyond the measurement, to begin and to end
_SOAK_CLIENTS = 128  # of the held snapshot as well

# Called with progress: seconds of the estimate that have passed, and what is being done.
Progress = Callable[[float, str], None]


def seeding_seconds(point: Point) -> float:
    """Estimate how many seconds it takes to create a point's history or resting orders."""
    return (point.history + 10 * point.resting) / 150_000


class Rounds:
    """The state of a benchmark: the databases that its runs start from, and the figures so far."""

    def __init__(self, rig: Rig, plan: Plan, progress: Progress, stack: contextlib.ExitStack) -> None:
        self._rig = rig
        self._plan = plan
        self._progress = progress
        self._stack = stack  # of databases that are kept to the end
        self._workload = Workload(accounts=plan.accounts)
        self._feeder = functools.cache(self._make_feeder)
        self._yardstick: dict[int, list[float]] = {clients: [] for clients in YARDSTICK_CLIENTS}
        self._runs: dict[Point, list[dict[str, Any]]] = {}
        self._sql: dict[str, list[dict[str, Any]]] = {"place_order": [], "process_batch": []}

    def prepare(self, measured: list[Point]) -> None:
        """Create the databases: pgbench's, a template with accounts, those with history or resting orders."""
        self._progress(0, "pgbench's tables")
        self._tpcb = self._stack.enter_context(self._rig.database())
        pgbench.initialize(self._tpcb)
        self._progress(3, "accounts")
        self._template = self._stack.enter_context(self._rig.database())
        migrate(self._template)
        with self._rig.serving(self._template) as server:
            set_up(server.target, self._workload)
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
                self._progress(seeding_seconds(point), "")
        self._runs = {point: [] for point in measured}

    def round(self, number: int, one_round: list[Point]) -> None:
        """Run every step once."""
        for step in one_round:
            self._progress(0, f"round {number + 1} of {self._plan.rounds}: {step.group} {step.label}")
            if step == YARDSTICK:
                self._measure_yardstick()
            elif step == FUNCTIONS:
                self._measure_functions()
            else:
                with self._database(step) as database:
                    self._runs[step].append(self._run(step, database))
                self._progress(START_SECONDS, "")

    def snapshot(self) -> dict[str, Any]:
        """Measure the exchange and pgbench while another session holds a snapshot."""
        held, part, clients = self._plan.held, self._plan.held_part, YARDSTICK_CLIENTS[-1]
        feeder = self._feeder()

        def exchange(seconds: float) -> float:
            result = run_closed_loop(
                server.target,
                feeder,
                clients=_SOAK_CLIENTS,
                seconds=seconds,
                on_tick=lambda _: self._progress(0.5, ""),
            )
            return result.orders_per_second

        def transactions(seconds: float) -> float:
            rate = pgbench.tpcb(self._tpcb, clients, seconds).transactions_per_second
            self._progress(seconds, "")
            return rate

        self._progress(0, "held snapshot")
        self._rig.checkpoint()
        with (
            self._rig.database(self._template) as database,
            self._rig.connect(database) as connection,
            self._rig.serving(database) as server,
        ):
            ours = measure_held(connection, exchange, held, part)
        self._progress(START_SECONDS, "held snapshot: pgbench")
        self._rig.checkpoint()
        with self._rig.connect(self._tpcb) as connection:
            theirs = measure_held(connection, transactions, held, part)
        return {
            "held_seconds": held,
            "part_seconds": part,
            "exchange": ours | {"clients": _SOAK_CLIENTS},
            "pgbench": theirs | {"clients": clients},
        }

    def soak(self) -> dict[str, Any]:
        """Run one load for a long time and return its figures second by second."""
        self._progress(0, "soak")
        point = Point("soak", "", _SOAK_CLIENTS)
        with self._rig.database(self._template) as database:
            figures = self._run(point, database, self._plan.soak, series=True)
        rates = figures.pop("rates")
        part = min(60, len(rates) // 4)  # the second minute against the last, or quarters of a shorter soak
        kept = statistics.mean(rates[-part:]) / statistics.mean(rates[part : 2 * part]) if part else None
        return figures | {
            "clients": _SOAK_CLIENTS,
            "rates": rates,
            "part_seconds": part,
            "late_to_early": kept and round(kept, 3),
        }

    def results(self) -> dict[str, Any]:
        """Return the yardstick and every point, with medians and ratios."""
        if not any(self._yardstick.values()):
            return {"yardstick": None, "points": [], "sql": []}
        by_clients = {
            str(clients): spread(rates) | {"runs": rates} for clients, rates in self._yardstick.items()
        }
        yardstick: dict[str, Any] = {"by_clients": by_clients}
        best = best_yardstick({"yardstick": yardstick})
        yardstick["transactions_per_second"] = round(statistics.median(best), 1)
        one = self._yardstick[1]
        measured = []
        for point, runs in self._runs.items():
            entry: dict[str, Any] = {name: getattr(point, name) for name in Point.__slots__}
            measured.append(entry | _summary(runs, one if point.clients == 1 else best))
        calls = [
            {"function": name} | _summary(runs, one if name == "place_order" else best)
            for name, runs in self._sql.items()
            if runs
        ]
        return {"yardstick": yardstick, "points": measured, "sql": calls}

    def _make_feeder(
        self, orders: int = 1, makers: int = 0, requotes: bool = False, refs: bool = False
    ) -> Feeder:
        named = "r" if refs else ""
        return Feeder(replace(self._workload, orders=orders, makers=makers, requotes=requotes, refs=named))

    @contextlib.contextmanager
    def _database(self, point: Point) -> Iterator[str]:
        """Give the point's own database, or a new one."""
        if point in self._seeded:
            yield self._seeded[point]
            return
        with self._rig.database(self._template, point.flush_ms) as database:
            yield database

    def _run(
        self, point: Point, database: str, seconds: float | None = None, *, series: bool = False
    ) -> dict[str, Any]:
        """Run the point's load against a server over this database and return the figures."""
        seconds = seconds or self._plan.seconds
        feeder = self._feeder(point.orders, point.makers, point.requotes, point.refs)
        self._rig.checkpoint()
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self._rig.serving(database, point.cores, point.serve))
            if point.connections:
                idle = point.connections - point.clients
                stack.enter_context(idle_connections(server.target, feeder, idle))
            run_closed_loop(server.target, feeder, clients=point.clients, seconds=self._plan.warm_up)
            self._progress(self._plan.warm_up, "")
            if point.hostile:
                stack.enter_context(self._hostile(server, point.hostile, seconds))
            before = self._rig.cpu_seconds(server)
            result = run_closed_loop(
                server.target,
                feeder,
                clients=point.clients,
                seconds=seconds,
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
            "cores_busy": {name: round((used[name] - before[name]) / result.seconds, 2) for name in used},
        }
        return figures | ({"rates": _by_second(result)} if series else {})

    @contextlib.contextmanager
    def _hostile(self, server: RunningServer, kind: str, seconds: float) -> Iterator[None]:
        """Let other clients send huge documents until the block ends, and their last replies have come."""
        symbols = self._workload.symbols
        set_up(server.target, apart.hostile_workload(symbols))
        with apart.hostile(kind, server.target.port, symbols, seconds):
            yield
        self._progress(HOSTILE_SECONDS, "")

    def _measure_yardstick(self) -> None:
        for clients, rates in self._yardstick.items():
            self._rig.checkpoint()
            result = pgbench.tpcb(self._tpcb, clients, self._plan.pgbench_seconds)
            rates.append(round(result.transactions_per_second, 1))
            self._progress(self._plan.pgbench_seconds, "")

    def _measure_functions(self) -> None:
        with self._rig.database(self._template) as database:
            seconds = self._plan.pgbench_seconds
            one = pgbench.one_order(database, self._workload, seconds)
            self._progress(seconds, "")
            batch = pgbench.run_batches(database, self._workload, seconds)
            self._progress(seconds, "")
        for name, call, orders in (("place_order", one, 1), ("process_batch", batch, pgbench.BATCH_ORDERS)):
            rate = round(call.transactions_per_second * orders, 1)
            self._sql[name].append({"orders_per_second": rate, "latency_ms": {"p50": call.median_ms}})


def _summary(runs: list[dict[str, Any]], best: list[float]) -> dict[str, Any]:
    rates = [run["orders_per_second"] for run in runs]
    ratio = statistics.median(rate / yardstick for rate, yardstick in zip(rates, best, strict=True))
    return {
        "orders_per_second": spread(rates),
        "ratio": round(ratio, 3),
        "p50_ms": spread([run["latency_ms"]["p50"] for run in runs]),
        "runs": runs,
    }


def _by_second(result: Measurement) -> list[float]:
    """Return the orders of each whole second."""
    rates: list[float] = []
    at, opened = 0.0, 0
    for seconds, _, so_far in result.series:
        if seconds - at > 0.9:  # samples come about twice a second
            rates.append(round((so_far - opened) / (seconds - at), 1))
            at, opened = seconds, so_far
    return rates
