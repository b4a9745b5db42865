"""What subscribers cost traders: python -m tests.bench.feed ROOT

One version serves. Traders put a load on one symbol, in turns without and with subscribers of that symbol, in
the other order in every second round. Ratios are taken within a round, and their median is told. Subscribers
live in one process of their own, on the same machine, and do no more than to take what they are sent; one of
them reads it, sees that no update is missing, and how old it is.

With --rate the traders' documents are due at fixed times, and what is compared is CPU and latency; orders
gather, so there are fewer updates than documents. With --resting so many orders lie in the book that each
subscriber is sent at first.
"""

import argparse
import contextlib
import multiprocessing
import re
import select
import socket
import statistics
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pgbourse.loadtest.connections import Target, allow_open_files
from pgbourse.loadtest.run import Run
from pgbourse.loadtest.workload import Feeder
from tests.bench.loads import Load, parse, prepare, put, rest
from tests.bench.versions import Server

__all__ = ["main"]

_SUBSCRIBE = b'<subscribe sym="S0"/>'
_UPDATE = re.compile(rb'<update sym="[^"]*" seq="([0-9]+)" time="([0-9.]+)"')
_PAUSE = 0.3
_BUFFER = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.feed", description=__doc__)
    parser.add_argument("root", type=Path, help="a checkout")
    parser.add_argument("--subscribers", type=int, default=200, help="200 by default")
    parser.add_argument("--load", default="16x1", help="of the traders, CLIENTSxORDERS; 16x1 by default")
    parser.add_argument(
        "--rate", type=float, help="documents due a second; as fast as they are answered by default"
    )
    parser.add_argument("--resting", type=int, default=0, help="orders in the book beside; 0 by default")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn; 4 by default")
    parser.add_argument("--args", default="", help="further options of serve, in one argument")
    asked = parser.parse_args()
    (load,) = parse(asked.load)
    load = replace(load, workload=replace(load.workload, symbols=1))
    turns: dict[int, list[_Turn]] = {0: [], asked.subscribers: []}
    with Server(asked.root, asked.args.split(), {}) as server:
        prepare(server.port)
        rest(server.port, asked.resting, symbols=1)
        _put(server.port, load, 3.0, asked.rate)
        for number in range(asked.rounds):
            for subscribers in (0, asked.subscribers) if number % 2 == 0 else (asked.subscribers, 0):
                turn = _turn(server, load, subscribers, asked.seconds, asked.rate)
                turns[subscribers].append(turn)
                print(f"{subscribers:5} subscribers: {turn}", flush=True)  # noqa: T201
    updates = statistics.median(turn.updates for turn in turns[asked.subscribers])
    told = f"{load.name}, {asked.subscribers} subscribers, {updates:.0f} updates/s:"
    for what, figure in {"rate": _rate, "p50": _p50, "CPU an order": _cpu}.items():
        pairs = zip(turns[0], turns[asked.subscribers], strict=True)
        ratios = [figure(followed) / figure(alone) for alone, followed in pairs]
        lowest, highest = min(ratios), max(ratios)
        told += f"\n  {statistics.median(ratios):.3f} of the {what} without ({lowest:.3f} to {highest:.3f})"
    print(told, flush=True)  # noqa: T201


@dataclass
class _Turn:
    """What a turn came to."""

    rate: float  # orders a second
    p50: float  # milliseconds
    cpu: dict[str, float]  # cores that were busy
    updates: float = 0.0  # a second
    told: str = ""  # of the subscribers

    def __str__(self) -> str:
        busy = ", ".join(f"{name} {cores:.2f} cores" for name, cores in self.cpu.items())
        return f"{self.rate:8.0f} orders/s, p50 {self.p50:.1f} ms, {busy}{self.told}"


def _rate(turn: _Turn) -> float:
    return turn.rate


def _p50(turn: _Turn) -> float:
    return turn.p50


def _cpu(turn: _Turn) -> float:
    return sum(turn.cpu.values()) / turn.rate


def _put(port: int, load: Load, seconds: float, rate: float | None) -> tuple[float, float]:
    """Put the load on the server; return orders a second, and the median latency in milliseconds."""
    if rate is None:
        figures = put(port, load, seconds)
        return figures.orders_per_second, figures.p50_ms
    target = Target("127.0.0.1", port)
    source = Feeder(load.workload)
    measured = Run(target, source, clients=load.clients, seconds=seconds, rate=rate).go()
    return measured.orders_per_second, measured.latency_ms()["p50"]


def _turn(server: Server, load: Load, subscribers: int, seconds: float, rate: float | None) -> _Turn:
    """Put the load on the server, with so many subscribers, and return what came of it."""
    time.sleep(_PAUSE)
    with contextlib.ExitStack() as stack:
        ours: Connection[Any, Any] | None = None
        memory, told = server.memory(), ""
        if subscribers:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=_subscribe, args=(server.port, subscribers, theirs))
            process.start()
            stack.callback(process.join)
            began = time.monotonic()
            size = ours.recv()  # all of them have the book
            took, more = time.monotonic() - began, server.memory() - memory
            told = f"; {size / subscribers / 1e3:.0f} kB of book for each in {took:.2f} s, "
            told += f"{more / 1e3:.0f} kB more memory"
        before = server.cpu_seconds()
        began = time.monotonic()
        orders, p50 = _put(server.port, load, seconds, rate)
        spent = time.monotonic() - began
        used = server.cpu_seconds()
        turn = _Turn(orders, p50, {name: (used[name] - before[name]) / spent for name in used})
        if ours is not None:
            ours.send("end")
            updates, size, seconds_busy, ages = ours.recv()
            turn.updates = updates / seconds
            turn.told = (
                f", {turn.updates:.0f} updates/s, {size / seconds / 1e6:.1f} MB/s, "
                f"{1e3 * statistics.median(ages):.0f} ms old, {1e3 * max(ages):.0f} at most, "
                f"the subscribers' process {seconds_busy / spent:.2f} cores{told}"
                f", {(server.memory() - memory) / 1e3:.0f} at the end"
            )
        return turn


def _subscribe(port: int, number: int, parent: "Connection[Any, Any]") -> None:
    """Be so many subscribers until the parent says so; tell it how many updates and bytes there were in all.

    And how old, in seconds, the newest of each piece was.
    """
    allow_open_files()
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    poll = select.epoll()
    for client in clients:
        client.sendall(_SUBSCRIBE)
        client.setblocking(False)
        poll.register(client, select.EPOLLIN)
    poll.register(parent.fileno(), select.EPOLLIN)
    by_number = {client.fileno(): client for client in clients}
    buffer = memoryview(bytearray(_BUFFER))
    reader, text, seq, updates, size, newest = clients[0], b"", 0, 0, 0, 0.0
    waiting = set(by_number)
    began = 0.0
    ages: list[float] = []
    while True:
        for ready, _ in poll.poll():
            if ready == parent.fileno():
                parent.recv()
                parent.send((updates, size, time.process_time() - began, ages or [0.0]))
                return
            count = by_number[ready].recv_into(buffer)
            if not count:
                raise SystemExit("the server has closed a feed")
            size += count
            if ready in waiting and buffer[count - 1] == ord("\n"):
                waiting.discard(ready)
                if not waiting:
                    parent.send(size)
                    began, size = time.process_time(), 0
            if by_number[ready] is reader:
                text += bytes(buffer[:count])
                end = text.rfind(b"\n") + 1
                for found, at in _UPDATE.findall(text, 0, end):
                    if seq and int(found) != seq + 1:
                        raise SystemExit(f"update {int(found)} came after {seq}")
                    seq = int(found)
                    updates += 1
                    newest = float(at)
                if seq and end:
                    ages.append(time.time() - newest)
                text = text[end:]


if __name__ == "__main__":
    main()
