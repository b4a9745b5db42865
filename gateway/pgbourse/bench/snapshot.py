"""What it costs that a session holds one snapshot open, as a long report does: no old row can be removed."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg.rows import TupleRow

__all__ = ["hold_snapshot", "measure_held"]


@contextlib.contextmanager
def hold_snapshot(connection: psycopg.Connection[TupleRow]) -> Iterator[None]:
    """Hold a snapshot, on a connection in autocommit mode to the database that the load is on.

    Raises psycopg.Error at the end if the session did not live to see it.
    """
    connection.execute("begin isolation level repeatable read; select 1")
    yield
    connection.execute("rollback")


def measure_held(
    connection: psycopg.Connection[TupleRow], load: Callable[[float], float], held: float, part: float
) -> dict[str, Any]:
    """Measure a load before a snapshot is taken and when it has been held for long.

    `load` runs for so many seconds and returns its rate: unmeasured, before the snapshot, and under it.
    """
    load(part)
    before = load(part)
    with hold_snapshot(connection):
        load(held - part)
        late = load(part)
    return {"before": round(before, 1), "late": round(late, 1), "kept": round(late / before, 3)}
