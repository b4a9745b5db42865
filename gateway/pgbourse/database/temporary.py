"""Exchanges whose data nobody needs again: where they lie, and what they may forget."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

__all__ = ["forget_durability", "temporary_data_dir"]


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """Give the path of a data folder, which is yet to be made; when the block ends, it is gone."""
    with tempfile.TemporaryDirectory(prefix="pgbourse-") as folder:
        Path(folder).chmod(0o755)  # if we are root, PostgreSQL runs as another user
        yield Path(folder) / "data"


def forget_durability(connection: psycopg.Connection[TupleRow]) -> None:
    """Switch fsync off on a superuser's connection in autocommit mode: for data that are thrown away."""
    connection.execute("alter system set fsync = off")
    connection.execute("select pg_reload_conf()")
