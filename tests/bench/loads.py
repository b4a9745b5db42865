"""Loads that compare.py puts on a server, each in processes of its own, so that none holds up another."""

import multiprocessing
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from pgbourse.bench.idle import idle_connections
from pgbourse.loadtest.connections import LoadError, Target
from pgbourse.loadtest.load import run_closed_loop, set_up
from pgbourse.loadtest.run import Run, Source
from pgbourse.loadtest.workload import Draw, Feeder, Template, Workload

__all__ = ["HOSTILE", "Load", "hostile", "idle", "parse", "prepare", "put"]

ACCOUNTS = 1000
SYMBOLS = 10
HOSTILE_REQUESTS = 50_000  # in a document
HOSTILE = {"orders": 1, "queries": 2}  # clients that send such documents

_WORKLOAD = Workload(accounts=ACCOUNTS, symbols=SYMBOLS)
_HOSTILE_WORKLOAD = Workload(accounts=2, symbols=SYMBOLS, first_account=900_000)
_STALL_SECONDS = 120.0
_MAKERS = 64
_CLIENTS_A_PROCESS = 64
_ID = re.compile(rb'<opened\b[^>]*?\sid="([0-9]+)"')
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Load:
    """What some clients send, each as soon as it has its reply."""

    name: str
    clients: int
    workload: Workload


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to."""

    opened: int
    refused: int
    orders_per_second: float
    p50_ms: float
    p99_ms: float


_NAMED = {
    "makers": Load("makers", 128, replace(_WORKLOAD, makers=_MAKERS)),
    "requote": Load("requote", 128, replace(_WORKLOAD, orders=2, makers=_MAKERS, requotes=True)),
    "hot": Load("hot", 128, replace(_WORKLOAD, makers=1)),
}


def parse(text: str) -> list[Load]:
    """Read loads such as 128x1 (clients, orders a document) or a name, separated by commas."""
    return [_parse(part) for part in filter(None, text.split(","))]


def _parse(text: str) -> Load:
    if text in _NAMED:
        return _NAMED[text]
    found = re.fullmatch(r"([0-9]+)x([0-9]+)", text)
    if found is None:
        raise SystemExit(f"a load is CLIENTSxORDERS or one of {', '.join(_NAMED)}: {text!r} is neither")
    return Load(text, int(found[1]), replace(_WORKLOAD, orders=int(found[2])))


def prepare(port: int) -> None:
    """Create the accounts and symbols of all loads."""
    for workload in (_WORKLOAD, _HOSTILE_WORKLOAD):
        set_up(Target("127.0.0.1", port), workload)


def put(port: int, load: Load, seconds: float) -> Figures:
    """Put a load on a server, from a few processes if there are cores for them, and return its figures."""
    parts = min(4, max(1, load.clients // _CLIENTS_A_PROCESS), max(1, (os.cpu_count() or 1) // 4))
    shares = [load.clients // parts + (part < load.clients % parts) for part in range(parts)]
    workloads = [replace(load.workload, seed=1 + part) for part in range(parts)]
    for workload in workloads:
        _feeder(workload)  # made once, and not while the load is measured
    jobs = [_start(_closed_loop, port, *job, seconds) for job in zip(workloads, shares, strict=True)]
    found = [job.result() for job in jobs]
    middle = sorted(one["p50"] for one in found)[len(found) // 2]
    opened, refused, rate = (sum(one[name] for one in found) for name in ("opened", "refused", "rate"))
    return Figures(opened, refused, rate, middle, max(one["p99"] for one in found))


@contextmanager
def hostile(kind: str, port: int, seconds: float) -> Iterator[None]:
    """Let clients send huge documents for some seconds; at the end wait until the last has its reply."""
    jobs = [_start(_HOSTILE_LOADS[kind], port, client, seconds) for client in range(HOSTILE[kind])]
    yield
    for job in jobs:
        job.result()


def idle(port: int, connections: int) -> AbstractContextManager[None]:
    """Keep connections open that have nothing to say."""
    return idle_connections(Target("127.0.0.1", port), _feeder(_WORKLOAD), connections)


class _Job:
    """A function that runs in a process of its own."""

    def __init__(self, process: Any, end: "Connection[Any, Any]") -> None:
        self._process = process
        self._end = end

    def result(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._end.recv()
        except EOFError:
            found = {"failure": "it ended without a word"}
        self._process.join()
        if "failure" in found:
            raise SystemExit(f"a load failed: {found['failure']}")
        return found


def _start(function: Callable[..., dict[str, Any]], *arguments: Any) -> _Job:
    ours, theirs = _FORK.Pipe(duplex=False)

    def run() -> None:
        try:
            theirs.send(function(*arguments))
        except LoadError as error:
            theirs.send({"failure": f"{error} {error.__cause__ or ''}"})

    process = _FORK.Process(target=run, daemon=True)
    process.start()
    theirs.close()
    return _Job(process, ours)


@cache
def _feeder(workload: Workload) -> Feeder:
    return Feeder(workload)


def _closed_loop(port: int, workload: Workload, clients: int, seconds: float) -> dict[str, Any]:
    target = Target("127.0.0.1", port, stall_seconds=_STALL_SECONDS)
    measured = run_closed_loop(target, _feeder(workload), clients=clients, seconds=seconds)
    latency = measured.latency_ms()
    return {
        "opened": measured.opened,
        "refused": measured.refused,
        "rate": measured.orders_per_second,
        "p50": latency["p50"],
        "p99": latency["p99"],
    }


def _hostile_orders(port: int, _client: int, seconds: float) -> dict[str, Any]:
    """One account orders in all symbols, as much as a document can hold."""
    rng = random.Random(_HOSTILE_WORKLOAD.seed)
    draw = Draw(_HOSTILE_WORKLOAD, rng)
    orders = [draw.order() for _ in range(HOSTILE_REQUESTS)]
    body = "".join(f'<order sym="{sym}" amount="{shares}" limit="{limit}"/>' for sym, shares, limit in orders)
    return _repeat(port, _hostile_document(body), seconds)


def _hostile_queries(port: int, client: int, seconds: float) -> dict[str, Any]:
    """Ask for the status of one order again and again."""
    ids: list[bytes] = []
    order = Template.fixed("", _hostile_document('<order sym="S0" amount="1" limit="1"/>'), 1)
    Run(
        Target("127.0.0.1", port, stall_seconds=_STALL_SECONDS),
        iter([(order.plain, order)]),
        clients=1,
        on_reply=lambda _template, _document, reply: ids.extend(_ID.findall(reply)),
    ).go()
    return _repeat(port, _hostile_document(f'<query id="{ids[0].decode()}"/>' * HOSTILE_REQUESTS), seconds)


def _hostile_document(body: str) -> bytes:
    return f'<transactions id="{_HOSTILE_WORKLOAD.first_account}">{body}</transactions>'.encode()


def _repeat(port: int, document: bytes, seconds: float) -> dict[str, Any]:
    template = Template.fixed("", document, HOSTILE_REQUESTS)

    def source() -> Source:
        while True:
            yield document, template

    target = Target("127.0.0.1", port, stall_seconds=_STALL_SECONDS)
    measured = Run(target, source(), clients=1, seconds=seconds).go()
    return {"documents": measured.documents} | ({"failure": measured.failure} if measured.failure else {})


_HOSTILE_LOADS = {"orders": _hostile_orders, "queries": _hostile_queries}
