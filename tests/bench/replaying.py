"""Measure how fast a history is carried out again, by events in a transaction, in turns.

    python -m tests.bench.replaying history.jsonl --batches 1,200 --rounds 3

Each turn has an empty exchange in a temporary PostgreSQL on this machine. Seconds are of a clock and of the
processor: the latter, of the database's session and of this process, say the same on a busy machine.
"""

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import connect, migrate
from pgbourse.database.temporary import temporary_data_dir
from pgbourse.replay.carry import Carrier
from pgbourse.replay.lines import load

__all__ = ["main"]


class Turn(NamedTuple):
    """The orders of a history, and the seconds that it took to carry them out, by clock and processor."""

    orders: int
    seconds: float
    busy: float


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--batches", default="1,200", help="events in a transaction; several with commas")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(given)
    batches = [int(batch) for batch in asked.batches.split(",")]
    turns: dict[int, list[Turn]] = defaultdict(list)
    with temporary_data_dir() as data_dir, EmbeddedPostgres(data_dir) as postgres:
        for number in range(asked.rounds):
            for batch in batches if number % 2 else reversed(batches):
                turns[batch].append(turn(postgres, asked.file, batch))
    for batch in batches:
        by_clock = statistics.median(one.orders / one.seconds for one in turns[batch])
        by_processor = statistics.median(one.orders / one.busy for one in turns[batch])
        rates = f"{by_clock:8,.0f} orders/s, {by_processor:8,.0f} a second of CPU"
        sys.stdout.write(f"{batch:6} events a transaction: {rates}\n")


def turn(postgres: EmbeddedPostgres, file: Path, batch: int) -> Turn:
    """Carry out the history in a new database, which is dropped again."""
    name = "replaying"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    migrate(postgres.dsn(name))
    with connect(postgres.dsn(name)) as session, file.open(encoding="utf-8") as texts:
        session.execute("set synchronous_commit = off")
        carrier = Carrier(session, 1, batch)
        began, busy = time.monotonic(), processor_seconds(session.info.backend_pid)
        assert carrier.carry_out(load(texts)), carrier.refusals
        told = Turn(
            len(carrier.ids),
            time.monotonic() - began,
            processor_seconds(session.info.backend_pid) - busy,
        )
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())
    return told


def processor_seconds(pid: int) -> float:
    """Return what the database's session and this process have taken so far."""
    return sum(psutil.Process(pid).cpu_times()[:2]) + sum(os.times()[:2])


if __name__ == "__main__":
    main()
