"""What subscribers cost traders: python -m tests.bench.feed ROOT

One version serves. Traders put a load on one symbol, in turns without and with subscribers of that symbol, in
the other order in every second round. Ratios are taken within a round, and their median is told. Subscribers
live in one process of their own, on the same machine, and do no more than to take what they are sent; one of
them reads it, and sees that no update is missing.
"""

import argparse
import contextlib
import multiprocessing
import re
import select
import socket
import statistics
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.bench.loads import Load, parse, prepare, put
from tests.bench.versions import Server

__all__ = ["main"]

_SUBSCRIBE = b'<subscribe sym="S0"/>'
_SEQ = re.compile(rb'<update sym="[^"]*" seq="([0-9]+)"')
_PAUSE = 0.3
_BUFFER = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.feed", description=__doc__)
    parser.add_argument("root", type=Path, help="a checkout")
    parser.add_argument("--subscribers", type=int, default=200, help="200 by default")
    parser.add_argument("--load", default="16x1", help="of the traders, CLIENTSxORDERS; 16x1 by default")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn; 4 by default")
    parser.add_argument("--args", default="", help="further options of serve, in one argument")
    asked = parser.parse_args()
    (load,) = parse(asked.load)
    load = replace(load, workload=replace(load.workload, symbols=1))
    ratios: list[float] = []
    updates: list[float] = []
    with Server(asked.root, asked.args.split(), {}) as server:
        prepare(server.port)
        put(server.port, load, 3.0)
        for number in range(asked.rounds):
            rates = {}
            for subscribers in (0, asked.subscribers) if number % 2 == 0 else (asked.subscribers, 0):
                rates[subscribers], told = _turn(server, load, subscribers, asked.seconds)
                _say(f"{subscribers:4} subscribers: {rates[subscribers]:8.0f} orders/s{told}", updates, told)
            ratios.append(rates[asked.subscribers] / rates[0])
    print(  # noqa: T201
        f"{load.name}, {asked.subscribers} subscribers, {statistics.median(updates):.0f} updates/s: "
        f"{statistics.median(ratios):.3f} of the rate without ({min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )


def _turn(server: Server, load: Load, subscribers: int, seconds: float) -> tuple[float, str]:
    """Put the load on the server, with so many subscribers, and return its rate, and what these were told."""
    time.sleep(_PAUSE)
    with contextlib.ExitStack() as stack:
        ours: Connection[Any, Any] | None = None
        if subscribers:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=_subscribe, args=(server.port, subscribers, theirs))
            process.start()
            stack.callback(process.join)
            ours.recv()  # all of them have the book
        before = server.cpu_seconds()
        began = time.monotonic()
        figures = put(server.port, load, seconds)
        spent = time.monotonic() - began
        used = server.cpu_seconds()
        busy = ", ".join(f"{name} {(used[name] - before[name]) / spent:.2f} cores" for name in used)
        told = f", p50 {figures.p50_ms:.1f} ms, {busy}"
        if ours is not None:
            ours.send("end")
            updates, size, seconds_busy = ours.recv()
            told += (
                f", {updates / seconds:.0f} updates/s, {size / seconds / 1e6:.1f} MB/s, "
                f"the subscribers' process {seconds_busy / spent:.2f} cores"
            )
        return figures.orders_per_second, told


def _say(line: str, updates: list[float], told: str) -> None:
    print(line, flush=True)  # noqa: T201
    if found := re.search(r"([0-9]+) updates/s", told):
        updates.append(float(found[1]))


def _subscribe(port: int, number: int, parent: "Connection[Any, Any]") -> None:
    """Be so many subscribers until the parent says so; tell it of how many updates, and bytes in all."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    poll = select.epoll()
    for client in clients:
        client.sendall(_SUBSCRIBE)
        client.setblocking(False)
        poll.register(client, select.EPOLLIN)
    poll.register(parent.fileno(), select.EPOLLIN)
    by_number = {client.fileno(): client for client in clients}
    buffer = memoryview(bytearray(_BUFFER))
    reader, text, seq, updates, size = clients[0], b"", 0, 0, 0
    waiting = set(by_number)
    began = 0.0
    while True:
        for ready, _ in poll.poll():
            if ready == parent.fileno():
                parent.recv()
                parent.send((updates, size, time.process_time() - began))
                return
            count = by_number[ready].recv_into(buffer)
            if not count:
                raise SystemExit("the server has closed a feed")
            size += count
            if ready in waiting and buffer[count - 1] == ord("\n"):
                waiting.discard(ready)
                if not waiting:
                    began, size = time.process_time(), 0
                    parent.send("ready")
            if by_number[ready] is reader:
                text += bytes(buffer[:count])
                end = text.rfind(b"\n") + 1
                for found in map(int, _SEQ.findall(text, 0, end)):
                    if seq and found != seq + 1:
                        raise SystemExit(f"update {found} came after {seq}")
                    seq = found
                    updates += 1
                text = text[end:]


if __name__ == "__main__":
    main()
