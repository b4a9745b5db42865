"""The loads by which compare.py judges: what they are called, and what they come to."""

import contextlib
import itertools
import os
import re
from dataclasses import dataclass, replace

from pgbourse.bench import apart
from pgbourse.loadtest.connections import Target
from pgbourse.loadtest.load import set_up
from pgbourse.loadtest.run import Run
from pgbourse.loadtest.workload import Template, Workload

__all__ = ["Figures", "Load", "hostile", "parse", "prepare", "put", "rest"]

_WORKLOAD = Workload()
_MAKERS = 64
_RESTING = (
    '<order sym="{}" amount="1" limit="50.{:03}"/>',
    '<order sym="{}" amount="-1" limit="150.{:03}"/>',
)
_RESTING_REQUESTS = 500  # in a document
_MOST_PROCESSES = 4
_CLIENTS_A_PROCESS = 64  # at least, where a load has more than one


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
    seconds: float


_NAMED = {
    "makers": Load("makers", 128, replace(_WORKLOAD, makers=_MAKERS)),
    "requote": Load("requote", 128, replace(_WORKLOAD, orders=2, makers=_MAKERS, requotes=True)),
    "hot": Load("hot", 128, replace(_WORKLOAD, makers=1)),
}


def parse(text: str) -> list[Load]:
    """Read loads such as 128x1 (clients, orders in a document) or a name, separated by commas."""
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
    for workload in (_WORKLOAD, apart.hostile_workload(_WORKLOAD.symbols)):
        set_up(Target("127.0.0.1", port), workload)


def rest(port: int, number: int, symbols: int | None = None) -> None:
    """Place orders too far from the traded prices ever to match: half buys, half sells.

    They are spread over so many of the symbols, or over all.
    """
    accounts, syms = itertools.cycle(_WORKLOAD.account_ids()), _WORKLOAD.syms()[:symbols]
    places = iter(range(number))
    documents = []
    while some := list(itertools.islice(places, _RESTING_REQUESTS)):
        orders = "".join(
            _RESTING[place % 2].format(syms[place // 2 % len(syms)], place % 160) for place in some
        )
        document = f'<transactions id="{next(accounts)}">{orders}</transactions>'.encode()
        documents.append((document, Template.fixed("", document, len(some))))
    measured = Run(Target("127.0.0.1", port), iter(documents), clients=1).go()
    if measured.opened != number:
        raise SystemExit(f"{measured.opened} of {number} orders rest: {measured.failure or measured.errors}")


def put(port: int, load: Load, seconds: float) -> Figures:
    """Put a load on a server, from a few processes if there are cores for them, and return its figures."""
    most = min(_MOST_PROCESSES, (os.cpu_count() or 1) // 4, load.clients // _CLIENTS_A_PROCESS)
    number = max(1, most)
    jobs = [
        apart.closed_loop(
            port,
            replace(load.workload, seed=1 + part),
            load.clients // number + (part < load.clients % number),
            seconds,
        )
        for part in range(number)
    ]
    with contextlib.ExitStack() as stack:
        found = [one.result() for one in apart.begin(stack, jobs)]
    opened, refused, rate = (
        sum(one[name] for one in found) for name in ("opened", "refused", "orders_per_second")
    )
    middle = sorted(one["latency_ms"]["p50"] for one in found)[number // 2]
    worst = max(one["latency_ms"]["p99"] for one in found)
    return Figures(opened, refused, rate, middle, worst, max(one["seconds"] for one in found))


def hostile(kind: str, port: int, seconds: float) -> contextlib.AbstractContextManager[None]:
    """Let clients send huge documents in the same symbols meanwhile."""
    return apart.hostile(kind, port, _WORKLOAD.symbols, seconds)
