"""Loads in processes of their own, so that none holds up another: python -m pgbourse.bench.apart

Such a process reads what to do as a line of JSON, makes its documents, says that it is ready, and begins when
it gets another line. At the end it writes its figures.
"""

import contextlib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final, Self

from pgbourse.bench.rig import BenchError
from pgbourse.errors import PgbourseError
from pgbourse.loadtest.connections import Target
from pgbourse.loadtest.load import run_closed_loop
from pgbourse.loadtest.run import Run, Source
from pgbourse.loadtest.workload import Draw, Feeder, Template, Workload

__all__ = ["HOSTILE", "Load", "begin", "closed_loop", "hostile", "hostile_workload"]

HOSTILE: Final = {"orders": 1, "queries": 2}  # clients that send documents full of them

_REQUESTS: Final = 50_000  # in a hostile document
_HEAD_START: Final = 0.5  # seconds that hostile clients have before others are measured
_STALL_SECONDS: Final = 120.0  # a hostile document may take long
_ID = re.compile(rb'<opened\b[^>]*?\sid="([0-9]+)"')

_Job = dict[str, Any]
_Figures = dict[str, Any]


class Load:
    """A load in a process of its own, which ends with the block. Whatever fails in it is a BenchError."""

    def __init__(self, job: _Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pgbourse.bench.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(json.dumps(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_until_ready(self) -> None:
        """Wait until its documents are made."""
        self._listen()

    def begin(self) -> None:
        """Let it send them."""
        self._tell("begin")

    def result(self) -> _Figures:
        """Wait for its end and return its figures."""
        return self._listen()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _listen(self) -> _Figures:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: _Figures = json.loads(line) if line else {"failure": "its process is gone"}
        if found.get("failure"):
            raise BenchError(f"a load failed: {found['failure']}")
        return found


def closed_loop(port: int, workload: Workload, clients: int, seconds: float) -> _Job:
    """Return the job of some clients who send a workload's documents, each when it has its reply."""
    return {
        "kind": "closed",
        "port": port,
        "workload": asdict(workload),
        "clients": clients,
        "seconds": seconds,
    }


def hostile_workload(symbols: int) -> Workload:
    """Return what must be set up for hostile clients: their account, in the others' symbols."""
    return Workload(accounts=1, symbols=symbols, first_account=900_000)


def begin(stack: contextlib.ExitStack, jobs: list[_Job]) -> list[Load]:
    """Start loads for as long as the stack lasts, and let all begin at once when all are ready."""
    loads = [stack.enter_context(Load(job)) for job in jobs]
    for load in loads:
        load.wait_until_ready()
    for load in loads:
        load.begin()
    return loads


@contextlib.contextmanager
def hostile(kind: str, port: int, symbols: int, seconds: float) -> Iterator[None]:
    """Let clients send huge documents, for so many seconds after their head start: then the block begins.

    At its end, wait until each of them has its last reply.
    """
    job = {"kind": kind, "port": port, "symbols": symbols, "seconds": seconds + _HEAD_START}
    with contextlib.ExitStack() as stack:
        loads = begin(stack, [job] * HOSTILE[kind])
        time.sleep(_HEAD_START)
        yield
        for load in loads:
            load.result()


def main() -> None:
    job = json.loads(sys.stdin.readline())
    try:
        target = Target("127.0.0.1", job["port"], stall_seconds=_STALL_SECONDS)
        if job["kind"] == "closed":
            feeder = Feeder(Workload(**job["workload"]))
            _wait_to_begin()
            measured = run_closed_loop(target, feeder, clients=job["clients"], seconds=job["seconds"])
        else:
            make = {"orders": _orders, "queries": _queries}[job["kind"]]
            document = make(hostile_workload(job["symbols"]), target)
            _wait_to_begin()
            measured = Run(target, _repeat(document), clients=1, seconds=job["seconds"]).go()
        _say(measured.as_dict())
    except PgbourseError as error:
        _say({"failure": f"{error}: {error.__cause__}" if error.__cause__ else str(error)})


def _wait_to_begin() -> None:
    _say({"ready": True})
    sys.stdin.readline()


def _say(figures: _Figures) -> None:
    sys.stdout.write(f"{json.dumps(figures)}\n")
    sys.stdout.flush()


def _orders(workload: Workload, _target: Target) -> bytes:
    """Order in all symbols, as much as one document may hold."""
    draw = Draw(workload, random.Random(workload.seed))
    orders = [draw.order() for _ in range(_REQUESTS)]
    return _document(
        workload,
        "".join(f'<order sym="{sym}" amount="{shares}" limit="{limit}"/>' for sym, shares, limit in orders),
    )


def _queries(workload: Workload, target: Target) -> bytes:
    """Place an order that nobody takes, and ask for its status again and again."""
    order = _document(workload, '<order sym="S0" amount="1" limit="1"/>')
    ids: list[bytes] = []
    Run(
        target,
        iter([(order, Template.fixed("", order, 1))]),
        clients=1,
        on_reply=lambda _template, _document, reply: ids.extend(_ID.findall(reply)),
    ).go()
    if not ids:
        raise BenchError("the order to be queried was not opened")
    return _document(workload, f'<query id="{ids[0].decode()}"/>' * _REQUESTS)


def _document(workload: Workload, requests: str) -> bytes:
    return f'<transactions id="{workload.first_account}">{requests}</transactions>'.encode()


def _repeat(document: bytes) -> Source:
    template = Template.fixed("", document, _REQUESTS)
    while True:
        yield document, template


if __name__ == "__main__":
    main()
