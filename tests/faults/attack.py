"""Measure how well others are served during an attack: `python -m tests.faults.attack --database-url URL`.

Eight clients send one order a document, each waiting for its reply, in turns: without the attack, with it,
without it, … so that a machine that changes its speed changes both alike. Attackers that hold something are
in place, and what they asked for is done, before a turn begins.

Attackers would have machines of their own. Here they share the processors with what they attack, and one that
comes again and again as fast as it can takes a whole one: that would measure the attacker. So it comes at a
fixed rate, and what it costs is told by itself, as processor time of the gateway for each time that it comes.
The database must be on this machine, for the processor time of its sessions is read as well.
"""

import argparse
import contextlib
import ctypes
import itertools
import multiprocessing
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psutil
import psycopg

from pgbourse.serve.service import allow_open_files
from tests.faults.scene import GatewayProcess
from tests.integration.client import WireClient, length_line

Address = tuple[str, int]

CLIENTS = 8
CREATE = "<create>{}<symbol sym='X'>{}</symbol></create>".format(
    "".join(f"<account id='{n}' balance='1000000'/>" for n in range(CLIENTS)),
    "".join(f"<account id='{n}'>1000000</account>" for n in range(CLIENTS)),
).encode()


def serve_good_clients(address: Address, seconds: float) -> int:
    """Return how many documents the good clients get answered in that time."""
    sides = itertools.cycle((1, -1))
    count = 0
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for number in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(address, 60))
            order = f'<order sym="X" amount="{next(sides)}" limit="1"/>'
            document = length_line(f'<transactions id="{number}">{order}</transactions>'.encode())
            selector.register(client, selectors.EVENT_READ, document)
            client.sendall(document)
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            for key, _ in selector.select(1):
                reply = key.fileobj.recv(65536)  # type: ignore[union-attr]
                assert b"<opened" in reply, reply
                count += 1
                key.fileobj.sendall(key.data)  # type: ignore[union-attr]
        return count


def hold(connections: int, story: bytes) -> Callable[[Address], None]:
    """Make an attack that opens so many connections, says something on each, and stays."""

    def attack(address: Address) -> None:
        allow_open_files(connections)
        _kept.extend(_say(address, story) for _ in range(connections))

    return attack


def drip(address: Address) -> None:
    """1,000 clients that send one byte a second each."""
    clients = [_say(address, b"100000\n<") for _ in range(1_000)]
    while True:
        for client in clients:
            time.sleep(0.001)
            with contextlib.suppress(OSError):
                client.sendall(b" ")


def repeat(story: bytes) -> Callable[[Address], None]:
    """Make an attack that says something, reads the answer and closes, to be repeated."""

    def attack(address: Address) -> None:
        with socket.create_connection(address, 60) as client:
            client.sendall(story)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass

    return attack


def reset(address: Address) -> None:
    """A connection that begins a request and is reset at once; to be repeated."""
    with socket.create_connection(address) as client:
        client.sendall(b"1000\n<")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


_kept: list[socket.socket] = []


def _say(address: Address, story: bytes) -> socket.socket:
    client = socket.create_connection(address, 60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0.05)
    with contextlib.suppress(OSError):  # it is not read, or has been closed
        client.sendall(story)
    return client


QUERIES = length_line(b'<transactions id="1">' + b"<query/>" * 2_000 + b"</transactions>")
DIGITS = b"9" * 1_000_000
BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">]><create>&a;</create>'
HELD: dict[str, Callable[[Address], None]] = {
    "9,000 connections, each with half a request": hold(9_000, b"1000\n<transactions"),
    "1,000 clients that send a byte a second": drip,
    "60 clients with 6 MB of an 8 MB document": hold(60, b"8000000\n" + b" " * 6_000_000),
    "100 clients that ask for much and read nothing": hold(100, QUERIES * 500),
}
# With how often a second each comes.
REPEATED: dict[str, tuple[float, Callable[[Address], None]]] = {
    "one client after the other with a wrong length": (1_000, repeat(b"99999999999\n" + b"x" * 1000)),
    "one client after the other with a DOCTYPE": (1_000, repeat(length_line(BOMB))),
    "one client after the other with a number of a million digits": (
        10,
        repeat(length_line(b'<transactions id="1"><order sym="X" amount="%s"/></transactions>' % DIGITS)),
    ),
    "one client after the other that resets": (1_000, reset),
}


def hold_on(attack: Callable[[Address], None], address: Address, done: "Synchronized[int]") -> None:
    """Be the process of an attacker that stays."""
    if attack is not drip:
        attack(address)
        done.value = 1
        time.sleep(3600)
    done.value = 1
    attack(address)


def come_again(
    rate: float, attack: Callable[[Address], None], address: Address, done: "Synchronized[int]"
) -> None:
    """Be the process of an attacker that comes so often a second, if it can, and counts."""
    due = time.perf_counter()
    while True:
        due = max(due + 1 / rate, time.perf_counter() - 0.1)  # what it could not do it does not make up for
        time.sleep(max(0.0, due - time.perf_counter()))
        with contextlib.suppress(OSError):
            attack(address)
        done.value += 1


@dataclass
class Turn:
    """What happened in one turn; times are seconds of processor."""

    documents: int
    attacks: int
    gateway: float
    database: float


class Stage:
    """A gateway, the sessions that it has open, and what they have used."""

    def __init__(self, gateway: GatewayProcess, database: str, seconds: float) -> None:
        assert gateway.process is not None
        self.address = gateway.address
        self.gateway = psutil.Process(gateway.process.pid)
        self._seconds = seconds
        with WireClient(self.address) as client:
            client.ask(CREATE)
        serve_good_clients(self.address, seconds)  # so that every worker has its session
        with psycopg.connect(database) as session:
            rows = session.execute(
                "select pid from pg_stat_activity where datname = current_database() "
                "and application_name like 'pgbourse worker%'"
            ).fetchall()
        self._sessions = [psutil.Process(pid) for (pid,) in rows]

    def play(self, done: "Synchronized[int] | None" = None) -> Turn:
        """Let the good clients trade for one turn."""
        attacks, gateway, database = self._read(done)
        documents = serve_good_clients(self.address, self._seconds)
        after = self._read(done)
        return Turn(documents, after[0] - attacks, after[1] - gateway, after[2] - database)

    def _read(self, done: "Synchronized[int] | None") -> tuple[int, float, float]:
        return (
            0 if done is None else done.value,
            _processor_time(self.gateway),
            sum(map(_processor_time, self._sessions)),
        )

    def wait_until_idle(self) -> None:
        while self.gateway.cpu_percent(0.3) > 5:
            pass


def _processor_time(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def play(stage: Stage, name: str, turns: int) -> Iterator[tuple[Turn, Turn, int]]:
    """Yield, for each turn, how it went without the attack, how with it, and the memory that it took."""
    processes = multiprocessing.get_context("fork")
    for _ in range(turns):
        calm = stage.play()
        before = stage.gateway.memory_info().rss
        done = processes.Value(ctypes.c_longlong, 0)
        if name in HELD:
            attacker = processes.Process(target=hold_on, args=(HELD[name], stage.address, done))
        else:
            attacker = processes.Process(target=come_again, args=(*REPEATED[name], stage.address, done))
        attacker.start()
        while not done.value:
            time.sleep(0.01)
        if name in HELD:
            stage.wait_until_idle()
        attacked = stage.play(done)
        yield calm, attacked, stage.gateway.memory_info().rss - before
        attacker.kill()
        attacker.join()
        stage.wait_until_idle()


def report(name: str, played: list[tuple[Turn, Turn, int]], seconds: float) -> str:
    """Write the row of an attack."""
    ratios = [attacked.documents / calm.documents for calm, attacked, _ in played]
    calm_documents = sum(calm.documents for calm, _, _ in played)
    documents = sum(attacked.documents for _, attacked, _ in played)
    usual = sum(calm.gateway for calm, _, _ in played) / calm_documents
    before = sum(calm.gateway + calm.database for calm, _, _ in played) / calm_documents
    attacks = sum(attacked.attacks for _, attacked, _ in played)
    gateway = sum(attacked.gateway for _, attacked, _ in played)
    cells = [name, f"{statistics.median(ratios):.0%}", f"{min(ratios):.0%}"]
    if name in HELD:
        during = sum(attacked.gateway + attacked.database for _, attacked, _ in played) / documents
        cells += [f"{before * 1e6:.0f} → {during * 1e6:.0f} µs", "", ""]
    else:
        during = sum(attacked.database for _, attacked, _ in played) / documents + usual
        cost = (gateway - usual * documents) / max(1, attacks)
        cells += [f"{before * 1e6:.0f} → {during * 1e6:.0f} µs"]
        cells += [f"{attacks / seconds / len(played):.0f}", f"{cost * 1e6:.0f} µs"]
    grown = max(grown for _, _, grown in played)
    return f"| {' | '.join([*cells, f'{grown / 1e6:.0f} MB'])} |\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=4, help="of each kind, for each attack")
    parser.add_argument(
        "--rate", type=float, default=1000.0, help="attacks a second that come again and again"
    )
    parser.add_argument("attacks", nargs="*", help="parts of their names; all of them without")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = ("--database-url", asked.database_url, "--request-timeout", "600")
        with GatewayProcess(Path(folder, "log"), *options) as gateway:
            stage = Stage(gateway, asked.database_url, asked.seconds)
            for name in (*HELD, *REPEATED):
                if not asked.attacks or any(part in name for part in asked.attacks):
                    played = list(play(stage, name, asked.turns))
                    sys.stdout.write(report(name, played, asked.seconds))
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
