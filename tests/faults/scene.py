"""One round of a crash test: traders trade, something dies, everything is checked."""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.cluster import Session
from tests.faults.journal import Journal, disagreements
from tests.faults.trader import Trader
from tests.integration.client import WireClient, wait_until

__all__ = ["GatewayProcess", "Scene", "enter", "integrity", "rounds"]

_ROOT = Path(__file__).parents[2]
_symbols = itertools.count(1)

_BACK = 10.0  # seconds after which what was reserved and not matched is back, whatever has died


def rounds(share: int, least: int = 1) -> range:
    """Return this percentage of the rounds that PGBOURSE_FAULT_ROUNDS asks for, usually 12, or `least`."""
    return range(max(least, int(os.environ.get("PGBOURSE_FAULT_ROUNDS", "12")) * share // 100))


def integrity(session: Session) -> list[object]:
    """Return the findings of the exchange's own check."""
    return list(session.execute("select * from exchange.check_integrity()"))


def _incoming(session: Session) -> list[object]:
    return list(session.execute("select incoming_id from exchange.incoming_orders"))


class GatewayProcess:
    """`pgbourse serve`, or a mutant of it, that a test may kill and restart on the same port."""

    def __init__(self, log: Path, *options: str, mutant: str | None = None) -> None:
        command = ["pgbourse.cli"] if mutant is None else ["tests.faults.mutants", mutant]
        self._command = [sys.executable, "-m", *command, "serve", "--processes", "1", *options]
        self.log = log
        self.address = ("127.0.0.1", 0)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it serves."""
        assert self.process is None
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--port", str(self.address[1])],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=_ROOT,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        match = re.match(r"pgbourse: listening on 127\.0\.0\.1:(\d+) ", line)
        if match is None:
            self.end()
            raise AssertionError(f"the gateway does not start: {line}{self.log.read_text()[-2000:]}")
        self.address = ("127.0.0.1", int(match[1]))

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal and return its exit status."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(how)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.process = None
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.end()


MakeTrader = Callable[[GatewayProcess, str, str, int], Trader]  # of its account, its symbol and a seed


def plain_trader(gateway: GatewayProcess, account: str, sym: str, seed: int) -> Trader:
    """Make a client of the base protocol."""
    return Trader(gateway.address, account, sym, seed)


def enter(
    gateway: GatewayProcess,
    sym: str,
    account: str,
    seeds: random.Random,
    make: MakeTrader = plain_trader,
) -> Trader:
    """Return a trader with enough cash and shares for everything that it may do.

    The account may exist, as that of a trader in another symbol.
    """
    document = (
        f'<create><account id="{account}" balance="1000000000"/>'
        f'<symbol sym="{sym}"><account id="{account}">1000000</account></symbol></create>'
    )
    with WireClient(gateway.address) as client:
        assert client.ask(document.encode())[1].tag == "created"
    return make(gateway, account, sym, seeds.getrandbits(32))


class Scene:
    """Gateways on one database, and rounds of trade through them with a fault in each."""

    def __init__(
        self,
        observe: Callable[[], Session],
        *gateways: GatewayProcess,
        seed: int = 0,
        make: MakeTrader = plain_trader,
    ) -> None:
        """Take a function that opens a superuser's session, on whichever server has the exchange by then."""
        self._make = make
        self._observe = observe
        self._gateways = gateways
        self.random = random.Random(seed)
        self.journals: dict[str, Journal] = {}
        self.recoveries: list[float] = []  # seconds from the database's return until all clients were served

    def play(self, strike: Callable[[], float | None], traders: int = 4) -> None:
        """Trade, strike, check that trading goes on, and compare what clients were told with the database.

        The strike returns the time from which everybody should be served.
        """
        sym = f"R{next(_symbols)}"
        crowd = [
            enter(
                self._gateways[number % len(self._gateways)],
                sym,
                f"{sym[1:]}{number:04d}",
                self.random,
                self._make,
            )
            for number in range(traders)
        ]
        with ExitStack() as stack:
            for trader in crowd:
                stack.callback(trader.stop)  # all of them, even if one has failed
                trader.start()
            self._strike(crowd, strike)
        journal = self.journals[sym] = Journal()
        for trader in crowd:
            journal.add(trader.journal)
        with self._observe() as session:
            wait_until(lambda: not _incoming(session), "nothing is left between the stages", _BACK)
            assert not (problems := disagreements(session, sym, journal)), "\n".join(problems[:10])
            assert not (findings := integrity(session)), findings[:10]

    def _strike(self, crowd: list[Trader], strike: Callable[[], float | None]) -> None:
        # The moment is a random one: after so many replies, and a little later.
        enough = self.random.randint(len(crowd), 120)
        wait_until(lambda: sum(trader.replies for trader in crowd) >= enough, "the traders trade")
        time.sleep(self.random.random() * 0.02)
        back = strike()
        since = back or time.monotonic()
        for trader in crowd:
            trader.watch(since)
        wait_until(lambda: all(trader.served_at for trader in crowd), "everybody is served again")
        if back is not None:
            self.recoveries.append(max(trader.served_at for trader in crowd) - back)

    def check_again(self) -> None:
        """Compare everything that clients were told in all rounds once more."""
        with self._observe() as session:
            for sym, journal in self.journals.items():
                assert not (problems := disagreements(session, sym, journal)), "\n".join(problems[:10])
