"""What a held snapshot costs, such as that of a long report: no old row version can be removed."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg.rows import TupleRow

__all__ = ["hold_snapshot", "measure_held"]


@contextlib.contextmanager
def hold_snapshot(connection: psycopg.Connection[TupleRow]) -> Iterator[None]:
    """Hold a snapshot, on a connection in autocommit mode to the database under load.

    Raises psycopg.Error at the end if the session has been lost.
    """
    connection.execute("begin isolation level repeatable read; select 1")
    yield
    connection.execute("rollback")


def measure_held(
    connection: psycopg.Connection[TupleRow], load: Callable[[float], float], held: float, part: float
) -> dict[str, Any]:
    """Measure a load before a snapshot, and after it has been held for a long time.

    `load` runs for so many seconds and returns its rate. It runs to warm up, before, and under it.
    """
    load(part)
    before = load(part)
    with hold_snapshot(connection):
        load(held - part)
        late = load(part)
    return {"before": round(before, 1), "late": round(late, 1), "kept": round(late / before, 3)}
