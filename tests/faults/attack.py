"""Measure how well others are served during an attack: `python -m tests.faults.attack --database-url URL`.

Eight clients send one order a document, each waiting for its reply, in turns: without the attack, with it,
without it, … so that a machine that changes its speed changes both alike. The attackers are a process of
their own. Those that hold something are in place, and what they asked for is done, before a turn begins.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import multiprocessing.synchronize
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from gateway.service import allow_open_files
from tests.faults.scene import GatewayProcess
from tests.integration.client import Client, length_line

Address = tuple[str, int]

CLIENTS = 8
CREATE = "<create>{}<symbol sym='X'>{}</symbol></create>".format(
    "".join(f"<account id='{n}' balance='1000000'/>" for n in range(CLIENTS)),
    "".join(f"<account id='{n}'>1000000</account>" for n in range(CLIENTS)),
).encode()


def serve_good_clients(address: Address, seconds: float) -> float:
    """Return how many documents a second the good clients get answered."""
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
        return count / (time.perf_counter() - start)


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
    """Make an attack that says something and reads the answer, on one new connection after the other."""

    def attack(address: Address) -> None:
        while True:
            with contextlib.suppress(OSError), _say(address, story) as client:
                client.settimeout(60)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass

    return attack


def come_and_go(address: Address) -> None:
    """Connections that are reset at once."""
    linger = b"\1\0\0\0\0\0\0\0"
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address) as client:
            client.sendall(b"1000\n<")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


_kept: list[socket.socket] = []


def _say(address: Address, story: bytes) -> socket.socket:
    client = socket.create_connection(address, 60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0.05)
    with contextlib.suppress(OSError):  # it is not read, or has been closed
        client.sendall(story)
    return client


QUERIES = length_line(b'<transactions id="1">' + b"<query/>" * 2_000 + b"</transactions>")
BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">]><create>&a;</create>'
ATTACKS: dict[str, Callable[[Address], None]] = {
    "9,000 connections, each with half a request": hold(9_000, b"1000\n<transactions"),
    "1,000 clients that send a byte a second": drip,
    "60 clients with 6 MB of an 8 MB document": hold(60, b"8000000\n" + b" " * 6_000_000),
    "100 clients that ask for much and read nothing": hold(100, QUERIES * 500),
    "one client after the other with a wrong length": repeat(b"99999999999\n" + b"x" * 1000),
    "one client after the other with a DOCTYPE": repeat(length_line(BOMB)),
    "one client after the other with a number of a million digits": repeat(
        length_line(b'<transactions id="1"><order sym="X" amount="%s"/></transactions>' % (b"9" * 1_000_000))
    ),
    "one client after the other that resets": come_and_go,
}


def run(
    attack: Callable[[Address], None], address: Address, ready: multiprocessing.synchronize.Event
) -> None:
    if attack.__qualname__.startswith("hold"):
        attack(address)
        ready.set()
        time.sleep(3600)
    ready.set()
    attack(address)


def wait_until_idle(gateway: psutil.Process) -> None:
    while gateway.cpu_percent(0.5) > 5:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=5, help="of each kind, for each attack")
    parser.add_argument("attacks", nargs="*", help="parts of their names; all of them without")
    asked = parser.parse_args()
    processes = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        options = ("--database-url", asked.database_url, "--request-timeout", "600")
        with GatewayProcess(Path(folder, "log"), *options) as gateway:
            assert gateway.process is not None
            memory = psutil.Process(gateway.process.pid)
            with Client(gateway.address) as client:
                client.ask(CREATE)
            serve_good_clients(gateway.address, asked.seconds)
            for name, attack in ATTACKS.items():
                if asked.attacks and not any(part in name for part in asked.attacks):
                    continue
                ratios: list[float] = []
                grown = 0
                for _ in range(asked.turns):
                    calm = serve_good_clients(gateway.address, asked.seconds)
                    before = memory.memory_info().rss
                    ready = processes.Event()
                    attacker = processes.Process(target=run, args=(attack, gateway.address, ready))
                    attacker.start()
                    ready.wait()
                    if attack.__qualname__.startswith("hold"):
                        wait_until_idle(memory)
                    ratios.append(serve_good_clients(gateway.address, asked.seconds) / calm)
                    grown = max(grown, memory.memory_info().rss - before)
                    attacker.kill()
                    attacker.join()
                    wait_until_idle(memory)
                middle, least = statistics.median(ratios), min(ratios)
                sys.stdout.write(f"| {name} | {middle:.0%} | {least:.0%} | {grown / 1e6:.0f} MB |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
