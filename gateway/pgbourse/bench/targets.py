"""The performance targets, and where a benchmark stands: computed from the report's data alone."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["best_yardstick", "rows", "spread", "targets"]

_SOAK_SECONDS = 1800
_HELD_SECONDS = 120
_CONNECTIONS = "5000"
_MAKERS = "64"
_FLUSH_MS = "4"


def best_yardstick(report: dict[str, Any]) -> list[float]:
    """Return pgbench's rate in each round, with the number of clients that did best over all rounds."""
    by_clients = report["yardstick"]["by_clients"].values()
    best: list[float] = max(by_clients, key=lambda rates: float(rates["median"]))["runs"]
    return best


def spread(values: list[float]) -> dict[str, float]:
    """Return the median of the values, and the lowest and the highest of them."""
    return {"median": round(statistics.median(values), 3), "low": min(values), "high": max(values)}


class _Figures:
    """Look up figures in a report, one value a round. A KeyError means that it was not measured."""

    def __init__(self, report: dict[str, Any]) -> None:
        self._report = report
        self._runs = {(point["group"], point["label"]): point["runs"] for point in report["points"]}
        self._runs |= {("functions", call["function"]): call["runs"] for call in report["sql"]}

    def rates(self, group: str, label: str) -> list[float]:
        return [run["orders_per_second"] for run in self._runs[group, label]]

    def to_pgbench(self, group: str, label: str) -> list[float]:
        return _ratios(self.rates(group, label), best_yardstick(self._report))

    def to_base(self, group: str, label: str) -> list[float]:
        return _ratios(self.rates(group, label), self.rates("clients", "128"))

    def makers(self, label: str) -> list[float]:
        return _ratios(self.rates("makers", label), self.rates("makers", "all"))

    def beside(self, kind: str) -> list[float]:
        return _ratios(self.rates("hostile", kind), self.rates("hostile", "alone"))

    def p99_beside(self, kind: str) -> list[float]:
        slowest = [
            [run["latency_ms"]["p99"] for run in self._runs["hostile", label]] for label in (kind, "alone")
        ]
        return _ratios(*slowest)

    def one_client(self) -> list[float]:
        medians = [
            [run["latency_ms"]["p50"] for run in self._runs[key]]
            for key in (("clients", "1"), ("functions", "place_order"))
        ]
        return _ratios(*medians)

    def gateway_cpu(self) -> list[float]:
        return [run["cpu_us_per_document"]["gateway"] for run in self._runs["clients", "128"]]

    def soak(self) -> list[float]:
        if self._report["plan"]["soak_seconds"] < _SOAK_SECONDS:
            raise KeyError("soak")
        return [self._report["soak"]["late_to_early"]]

    def snapshot(self) -> list[float]:
        if self._report["snapshot"]["held_seconds"] < _HELD_SECONDS:
            raise KeyError("snapshot")
        return [self._report["snapshot"]["exchange"]["kept"]]


@dataclass(frozen=True, slots=True)
class _Target:
    load: str
    goal: float
    of: str  # the unit of the goal
    groups: str  # the groups of points that it needs
    reach: Callable[[_Figures], list[float]]
    at_most: bool = False
    options: str = ""  # further options of `pgbourse bench` that it needs

    @property
    def command(self) -> str:
        only = "".join(f" --only {group}" for group in self.groups.split())
        return f"pgbourse bench{only}{self.options}"


_TARGETS = (
    _Target(
        "one order a document, 128 clients",
        2.5,
        "x pgbench",
        "clients",
        lambda of: of.to_pgbench("clients", "128"),
    ),
    _Target(
        "one order a document, 512 clients",
        2.5,
        "x pgbench",
        "clients",
        lambda of: of.to_pgbench("clients", "512"),
    ),
    _Target(
        "ten orders a document, 32 clients",
        4,
        "x pgbench",
        "orders",
        lambda of: of.to_pgbench("orders", "10"),
    ),
    _Target(
        "100 orders a document, 8 clients",
        4.5,
        "x pgbench",
        "orders",
        lambda of: of.to_pgbench("orders", "100"),
    ),
    _Target(
        "`process_batch` called from one backend, 100 orders a call",
        5,
        "x pgbench",
        "functions",
        lambda of: of.to_pgbench("functions", "process_batch"),
    ),
    _Target(
        "5,000 connections open, 128 of them busy",
        0.9,
        "of 128 open",
        "idle",
        lambda of: of.to_base("idle", _CONNECTIONS),
    ),
    _Target(
        "1 million orders of history",
        0.9,
        "of a fresh database",
        "history",
        lambda of: of.to_base("history", "1M"),
    ),
    _Target(
        "100,000 resting orders",
        0.9,
        "of a fresh database",
        "resting",
        lambda of: of.to_base("resting", "100k"),
    ),
    _Target(
        "30 minutes at full load: the last minute",
        0.95,
        "of the second",
        "soak",
        _Figures.soak,
        options=" --soak 30m",
    ),
    _Target(
        "another session holds a snapshot for 2 minutes: the last 15 s",
        0.5,
        "of without",
        "snapshot",
        _Figures.snapshot,
    ),
    _Target(
        "64 accounts rest orders in every symbol, the others take",
        0.9,
        "of evenly spread accounts",
        "makers",
        lambda of: of.makers(_MAKERS),
    ),
    _Target(
        "one account rests orders in every symbol, the others take",
        0.9,
        "of evenly spread accounts",
        "makers",
        lambda of: of.makers("1"),
    ),
    _Target(
        "every flush of the log takes 4 ms longer, 128 clients",
        0.8,
        "of the rate without",
        "flush",
        lambda of: of.to_base("flush", _FLUSH_MS),
    ),
    _Target(
        "32 clients, beside one with 50,000 orders a document",
        0.5,
        "of their rate alone",
        "hostile",
        lambda of: of.beside("orders"),
    ),
    _Target(
        "their p99, beside one with 50,000 orders a document",
        3,
        "x alone",
        "hostile",
        lambda of: of.p99_beside("orders"),
        at_most=True,
    ),
    _Target(
        "32 clients, beside two with 50,000 queries a document",
        0.5,
        "of their rate alone",
        "hostile",
        lambda of: of.beside("queries"),
    ),
    _Target(
        "their p99, beside two with 50,000 queries a document",
        3,
        "x alone",
        "hostile",
        lambda of: of.p99_beside("queries"),
        at_most=True,
    ),
    _Target(
        "gateway CPU of a one-order document, 128 clients",
        60,
        "microseconds",
        "clients",
        _Figures.gateway_cpu,
        at_most=True,
    ),
    _Target(
        "one client: median latency",
        1.4,
        "x `place_order` by pgbench",
        "clients functions",
        _Figures.one_client,
        at_most=True,
    ),
)


def targets(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the targets of the chosen groups, what was reached, and the verdict.

    What was reached is the median of the rounds; it is None if the plan was smaller than the target requires.
    The verdict is unclear where some rounds have reached the target and others haven't. A plan that doesn't
    judge is too short to say anything of targets.
    """
    if not report["plan"].get("judges", True):
        return []
    figures, found = _Figures(report), []
    for target in _TARGETS:
        try:
            reached = [round(value, 3) for value in target.reach(figures)]
        except (KeyError, TypeError):  # TypeError: a part of the report that is None
            reached = []
        if not reached and not set(target.groups.split()) <= set(report["plan"]["groups"]):
            continue
        found.append(
            {
                "load": target.load,
                "goal": target.goal,
                "at_most": target.at_most,
                "of": target.of,
                "reached": spread(reached) | {"runs": reached} if reached else None,
                "verdict": _verdict(target, reached),
                "command": target.command,
            }
        )
    return found


def rows(report: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return the table's rows: load, target, reached with the rounds' range, met or not, the command."""
    found = []
    for target in report["targets"]:
        goal = f"at {'most' if target['at_most'] else 'least'} {target['goal']:g} {target['of']}"
        reached = "not measured"
        if target["reached"]:
            values = target["reached"]
            reached = _figure(values["median"])
            if len(values["runs"]) > 1:
                reached += f" ({_figure(values['low'])} to {_figure(values['high'])})"
        found.append((target["load"], goal, reached, target["verdict"], f"`{target['command']}`"))
    return found


def _verdict(target: _Target, reached: list[float]) -> str:
    met = {value <= target.goal if target.at_most else value >= target.goal for value in reached}
    if len(met) > 1:
        return "unclear"
    return {True: "met", False: "not met", None: ""}[met.pop() if met else None]


def _ratios(values: list[float], others: list[float]) -> list[float]:
    return [value / other for value, other in zip(values, others, strict=True)]


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
