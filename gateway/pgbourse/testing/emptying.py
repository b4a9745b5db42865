"""Empty an exchange: everything is gone, and ids begin at 1 again.

As a program (`python -m pgbourse.testing`) it runs inside a container, because only there the database can be
reached: it empties the exchange once for each line that it reads.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from pgbourse.database.conninfo import connect
from pgbourse.database.session import pin_settings
from pgbourse.database.temporary import forget_durability
from pgbourse.errors import PgbourseError
from pgbourse.settings import default_data_dir

__all__ = [
    "Connection",
    "Emptier",
    "ExchangeError",
    "connected",
    "empty_as_told",
    "remote_emptier",
]

Connection = psycopg.Connection[TupleRow]

_RESET_SECONDS = 30.0  # to wait for requests that a test has left behind; longer than any batch takes
_DONE = "done"

# Bytes up to which a table's rows are deleted. A truncation makes new files for the table, each of its
# indexes and its TOAST table: that takes a millisecond a table, but nothing is left behind.
_SMALL = 256 * 1024

_TABLES = """
    select
        relname,
        relkind = 'p'
    from pg_class
    where
        relnamespace = 'exchange'::regnamespace
        and relkind in ('r', 'p')
        and not relispartition
        and relname <> 'applied_files'
    order by oid desc
"""
_SEQUENCES = """
    select oid::regclass::text
    from pg_class
    where relnamespace = 'exchange'::regnamespace and relkind = 'S'
    order by oid
"""


class ExchangeError(PgbourseError):
    """The exchange for the tests can't be started, or can't be emptied."""


class Emptier:
    """Empties the exchange over a connection that may delete from its tables, truncate and lock them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        found = connection.execute(_TABLES).fetchall()
        # What refers to others was made after them, and is emptied before them.
        self._names = [name for name, _ in found]
        tables = sql.SQL(", ").join(map(_table, self._names))
        self._lock = sql.SQL("lock table {} in access exclusive mode").format(tables)
        sizes = [
            sql.SQL("(select coalesce(sum(pg_relation_size(relid)), 0) from pg_partition_tree({}))").format(
                sql.Literal(f"exchange.{name}")
            )
            if is_partitioned
            else sql.SQL("pg_relation_size({})").format(sql.Literal(f"exchange.{name}"))
            for name, is_partitioned in found
        ]
        self._sizes = sql.SQL("select {}").format(sql.SQL(", ").join(sizes))
        restarts = [
            sql.SQL("setval({}, 1, false)").format(sql.Literal(name))
            for (name,) in connection.execute(_SEQUENCES)
        ]
        self._restart = sql.SQL("select {}").format(sql.SQL(", ").join(restarts))
        # It never waits long while it holds locks, so it can't deadlock with the gateway's sweep.
        connection.execute("set lock_timeout = '50ms'")
        connection.execute("set synchronous_commit = off")

    def __call__(self) -> None:
        """Empty it.

        Raises ExchangeError if some session uses it all the time, psycopg.Error if the connection is lost.
        """
        deadline = time.monotonic() + _RESET_SECONDS
        while True:
            try:
                with self._connection.transaction():
                    self._empty()
                return
            except psycopg.errors.LockNotAvailable as error:
                if time.monotonic() > deadline:
                    raise ExchangeError(
                        "the exchange can't be emptied: some session has been using it for "
                        f"{_RESET_SECONDS:g} seconds"
                    ) from error

    def _empty(self) -> None:
        execute = self._connection.execute
        execute(self._lock)
        sizes = execute(self._sizes).fetchone() or ()
        used = [(name, size) for name, size in zip(self._names, sizes, strict=True) if size]
        if large := [_table(name) for name, size in used if size > _SMALL]:
            execute(sql.SQL("truncate {} cascade").format(sql.SQL(", ").join(large)))
        for name, size in used:
            if size <= _SMALL:
                execute(sql.SQL("delete from {}").format(_table(name)))
        # Nobody draws an id while all tables are locked.
        execute(self._restart)


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("exchange", name)


@contextlib.contextmanager
def connected(database_url: str) -> Iterator[Connection]:
    """Give a connection to the exchange's database. Raises ExchangeError if there is none to be had."""
    try:
        connection = connect(database_url, application_name="pgbourse testing")
    except psycopg.Error as error:
        raise ExchangeError(f"can't reach the database of the exchange: {error}") from error
    with connection:
        pin_settings(connection)
        yield connection


@contextlib.contextmanager
def remote_emptier(container: str) -> Iterator[Callable[[], None]]:
    """Run this module inside a container, and give a function that empties the exchange there."""
    command = ["docker", "exec", "--interactive", container, "python", "-m", "pgbourse.testing"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def empty() -> None:
            requests.write("\n")
            requests.flush()
            answer = answers.readline().strip()
            if answer != _DONE:
                raise ExchangeError(answer or f"the exchange in container {container} can't be emptied")

        yield empty


def empty_as_told() -> None:
    """Run inside the container: empty the exchange once for each line on standard input."""
    from pgbourse.database.embedded import EmbeddedPostgres

    data_dir = Path(os.environ.get("PGBOURSE_DATA_DIR") or default_data_dir())
    with connected(EmbeddedPostgres(data_dir).running_dsn()) as connection:
        forget_durability(connection)
        empty = Emptier(connection)
        for _ in sys.stdin:
            try:
                empty()
                answer = _DONE
            except ExchangeError as error:
                answer = str(error)
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()
