"""Compare two versions of pgbourse on this machine, in turns: python -m tests.bench.compare ROOT_A ROOT_B

A root is a checkout. Both serve at once, each with its own PostgreSQL, and get one load after the other, in
turns, in the other order in every second round, so that a machine that slows down is as slow for both. The
ratios are taken within a round, and their median is told. Both run with this Python and its packages.
"""

import argparse
import contextlib
import json
import math
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import psycopg

from pgbourse.bench import pgbench
from pgbourse.bench.apart import HOSTILE
from pgbourse.bench.seeding import seed_history
from tests.bench.loads import Load, hostile, parse, prepare, put, rest
from tests.bench.versions import Server, slow_flush

__all__ = ["main"]

_LOADS = "1x1,128x1,512x1,32x10,8x100"
_OTHERS = parse("32x1")[0]  # who trade beside hostile clients
_MANY = parse("128x1")[0]  # who trade while a snapshot is held
_HELD_PART = 10.0  # seconds of a turn meanwhile
_PAUSE = 0.3  # seconds between two loads, for what is left to do after one
_YARDSTICK_CLIENTS = (8, 32, 48)

_Runs = dict[str, list[dict[str, float]]]  # by load, the figures of each round


def main(given: list[str] | None = None) -> None:
    asked = _arguments(given)
    runs: dict[str, _Runs] = {version: defaultdict(list) for version in asked.roots}
    with contextlib.ExitStack() as stack:
        variables = {}
        if asked.flush_ms:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.chmod(0o755)  # as root, the user of PostgreSQL must be let in
            variables = slow_flush(asked.flush_ms, folder)
        servers = {}
        for version, root in asked.roots.items():
            server = stack.enter_context(Server(root, asked.args[version], variables))
            prepare(server.port)
            put(server.port, parse("32x10")[0], asked.warm_up)
            servers[version] = server
        if asked.yardstick:
            _yardstick(servers["a"], asked.seconds)
        for server in servers.values():
            _seed(server, asked.history, asked.resting)
        if asked.held:
            _hold(stack, list(servers.values()), asked.held)
        for number in range(asked.rounds):
            versions = list(servers) if number % 2 == 0 else list(servers)[::-1]
            for load in asked.loads:
                for version in versions:
                    runs[version][load.name].append(_measure(servers[version], load, asked.seconds))
                    _tell_run(version, load.name, runs[version][load.name][-1])
            for kind in asked.hostile:
                for version in versions:
                    _measure_hostile(servers[version], kind, asked.seconds, version, runs[version])
    _tell(asked, runs)
    if asked.json is not None:
        asked.json.write_text(json.dumps(runs, indent=1) + "\n")


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__)
    parser.add_argument("root_a", type=Path, help="checkout of the one version")
    parser.add_argument("root_b", type=Path, nargs="?", help="of the other; without it A is measured alone")
    parser.add_argument(
        "--loads", default=_LOADS, help="CLIENTSxORDERS, makers, requote, hot; by default " + _LOADS
    )
    parser.add_argument("--hostile", default="", help="orders, queries, or both: who else is there")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load in each round; 3 by default")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds after the start; 3 by default")
    parser.add_argument("--flush-ms", type=float, default=0.0, help="what a flush of the log takes longer")
    parser.add_argument("--args-a", default="", help="further options of A's serve, in one argument")
    parser.add_argument("--args-b", default="", help="of B's")
    parser.add_argument("--history", type=int, default=0, help="orders that were filled before; 0 by default")
    parser.add_argument("--resting", type=int, default=0, help="orders that rest beforehand; 0 by default")
    parser.add_argument("--held", type=float, default=0.0, help="seconds of load under a snapshot beforehand")
    parser.add_argument("--yardstick", action="store_true", help="measure pgbench beforehand")
    parser.add_argument("--json", type=Path, help="write every run's figures there")
    asked = parser.parse_args(given)
    asked.roots = {"a": asked.root_a} | ({"b": asked.root_b} if asked.root_b is not None else {})
    asked.args = {"a": asked.args_a.split(), "b": asked.args_b.split()}
    asked.loads = parse(asked.loads)
    asked.hostile = [kind for kind in asked.hostile.split(",") if kind]
    if unknown := set(asked.hostile) - set(HOSTILE):
        parser.error(f"--hostile is {' or '.join(HOSTILE)}, not {', '.join(sorted(unknown))}")
    return asked


def _measure(server: Server, load: Load, seconds: float) -> dict[str, float]:
    """Put the load on the server; return its figures, CPU by the order and cores that were busy."""
    time.sleep(_PAUSE)
    before = server.cpu_seconds()
    figures = put(server.port, load, seconds)
    used = server.cpu_seconds()
    measured: dict[str, float] = asdict(figures)
    for name in used:
        spent = used[name] - before[name]
        measured[f"{name}_us"] = spent / max(1, figures.opened) * 1e6
        measured[f"{name}_cores"] = spent / figures.seconds
    return measured


def _measure_hostile(server: Server, kind: str, seconds: float, version: str, runs: _Runs) -> None:
    """Measure the others alone, and beside hostile clients."""
    alone, beside = f"{_OTHERS.name}, {kind}: alone", f"{_OTHERS.name}, {kind}: beside"
    runs[alone].append(_measure(server, _OTHERS, seconds))
    _tell_run(version, alone, runs[alone][-1])
    with hostile(kind, server.port, seconds):
        runs[beside].append(_measure(server, _OTHERS, seconds))
    _tell_run(version, beside, runs[beside][-1])


def _seed(server: Server, history: int, resting: int) -> None:
    """Give the exchange a past and a deep book."""
    rest(server.port, resting)
    with psycopg.connect(f"{server.dsn} dbname=pgbourse", autocommit=True) as connection:
        if history:
            seed_history(connection, history)
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")


def _hold(stack: contextlib.ExitStack, servers: list[Server], seconds: float) -> None:
    """Hold a snapshot in each database to the end, and load them in turns, each for so many seconds."""
    for server in servers:
        connection = psycopg.connect(f"{server.dsn} dbname=pgbourse", autocommit=True)
        stack.enter_context(contextlib.closing(connection))
        connection.execute("begin isolation level repeatable read; select 1")
    for part in range(parts := math.ceil(seconds / _HELD_PART)):
        _say(f"under a snapshot: {part + 1} of {parts}")
        for server in servers:
            put(server.port, _MANY, seconds / parts)


def _yardstick(server: Server, seconds: float) -> None:
    """Measure pgbench on A's PostgreSQL."""
    with psycopg.connect(f"{server.dsn} dbname=postgres", autocommit=True) as connection:
        connection.execute("create database yardstick")
    database = f"{server.dsn} dbname=yardstick"
    pgbench.initialize(database)
    for clients in _YARDSTICK_CLIENTS:
        rate = pgbench.tpcb(database, clients, seconds).transactions_per_second
        _say(f"pgbench, TPC-B-like, {clients} clients: {rate:.0f} transactions/s")


def _tell_run(version: str, load: str, run: dict[str, float]) -> None:
    _say(
        f"{version.upper()} {load:24} {run['orders_per_second']:8.0f} orders/s  p50 {run['p50_ms']:7.2f}  "
        f"p99 {run['p99_ms']:7.2f} ms  cores: gateway {run['gateway_cores']:.2f}, "
        f"PostgreSQL {run['postgres_cores']:.2f}" + (f"; {run['refused']} refused" if run["refused"] else "")
    )


def _tell(asked: argparse.Namespace, runs: dict[str, _Runs]) -> None:
    """Print a table of the ratios, B to A, and one of what hostile clients leave to others."""
    if "b" in runs:
        _say(
            "\n| load | A orders/s | B orders/s | B/A | p50 B/A | A p50 ms | B p50 ms "
            "| gateway us/order A, B | PostgreSQL us/order A, B |\n|---|---|---|---|---|---|---|---|---|"
        )
        for load in runs["a"]:
            a, b = runs["a"][load], runs["b"][load]
            cells = [
                _middle(a, "orders_per_second", 0),
                _middle(b, "orders_per_second", 0),
                _ratio(b, a, "orders_per_second"),
                _ratio(b, a, "p50_ms"),
                _middle(a, "p50_ms", 2),
                _middle(b, "p50_ms", 2),
                f"{_middle(a, 'gateway_us', 0)}, {_middle(b, 'gateway_us', 0)}",
                f"{_middle(a, 'postgres_us', 0)}, {_middle(b, 'postgres_us', 0)}",
            ]
            _say(f"| {load} | {' | '.join(cells)} |")
    for kind in asked.hostile:
        _say(f"\n| {_OTHERS.name} beside hostile {kind}, to alone | orders/s | p99 |\n|---|---|---|")
        for version, figures in runs.items():
            alone = figures[f"{_OTHERS.name}, {kind}: alone"]
            beside = figures[f"{_OTHERS.name}, {kind}: beside"]
            cells = [_ratio(beside, alone, "orders_per_second"), _ratio(beside, alone, "p99_ms")]
            _say(f"| {version.upper()} | {' | '.join(cells)} |")


def _middle(runs: list[dict[str, float]], name: str, digits: int) -> str:
    return f"{statistics.median(run[name] for run in runs):.{digits}f}"


def _ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]], name: str) -> str:
    """Return the median of the rounds' ratios, and their range."""
    ratios = [one[name] / other[name] for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
