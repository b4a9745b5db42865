"""What looking at the page costs those who trade: python -m tests.bench.page

One server, and one load after the other: nobody looks, then so many browsers' streams do, in turns. A process
of its own reads the streams, as browsers would. CPU time (of gateway and database, for a document) tells more
than rates where the machine has other work.
"""

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from pgbourse.bench.rig import Rig
from pgbourse.database.migrate import migrate
from pgbourse.loadtest.load import run_closed_loop, set_up
from pgbourse.loadtest.workload import Feeder, Workload

__all__ = ["main"]

_READ = """
import selectors, socket, sys
port, sym, number = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
selector = selectors.DefaultSelector()
for _ in range(number):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.sendall(f"GET /events?sym={sym}&bars=10 HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n".encode())
    assert stream.recv(12) == b"HTTP/1.0 200", "the stream is refused"
    selector.register(stream, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if not key.fileobj.recv(1 << 20):
            sys.exit("a stream has ended")
"""


@contextlib.contextmanager
def viewers(port: int, sym: str, number: int) -> Iterator[None]:
    """Let so many look at this symbol until the block ends."""
    if not number:
        yield
        return
    command = [sys.executable, "-c", _READ, str(port), sym, str(number)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("nobody can look; what was said is above")
        yield
        if process.poll() is not None:
            raise SystemExit("a stream has ended before the load did")
    finally:
        process.kill()
        process.communicate()


class Turn(NamedTuple):
    """What one load has given."""

    orders_per_second: float
    cpu_microseconds: float  # of gateway and database, for a document

    def __str__(self) -> str:
        return f"{self.orders_per_second:,.0f} orders/s, {self.cpu_microseconds:.0f} us CPU a document"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.page", description=__doc__)
    parser.add_argument(
        "--viewers", type=int, nargs="+", default=[1, 50], help="how many look; by default 1 50"
    )
    parser.add_argument("--clients", type=int, default=128, help="who trade; 128 by default")
    parser.add_argument("--rounds", type=int, default=5, help="5 by default")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load; 8 by default")
    asked = parser.parse_args()
    workload = Workload()
    numbers = [0, *asked.viewers]
    found: dict[int, list[Turn]] = {number: [] for number in numbers}
    port = _free_port()
    with Rig(None) as rig, rig.database() as database:
        migrate(database)
        with rig.serving(database, options=f"--http-port {port}") as server:
            set_up(server.target, workload)
            feeder = Feeder(workload)
            run_closed_loop(server.target, feeder, clients=asked.clients, seconds=2.0)
            for round_ in range(asked.rounds):
                # Each comes first as often as another.
                for number in numbers[round_ % len(numbers) :] + numbers[: round_ % len(numbers)]:
                    with viewers(port, workload.syms()[0], number):
                        used = sum(rig.cpu_seconds(server).values())
                        load = run_closed_loop(
                            server.target, feeder, clients=asked.clients, seconds=asked.seconds
                        )
                        used = sum(rig.cpu_seconds(server).values()) - used
                    found[number].append(Turn(load.orders_per_second, used / load.documents * 1e6))
                    _tell(f"{number} look: {found[number][-1]}")
    for number in asked.viewers:
        for what in Turn._fields:
            ratios = [
                getattr(some, what) / getattr(none, what)
                for some, none in zip(found[number], found[0], strict=True)
            ]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            _tell(f"{number} look, against nobody: {what} {statistics.median(ratios):.3f} ({spread})")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
