"""The database behind a test's exchange: ours alone for as long as the tests run."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgbourse.database.ledger import fetch_value
from pgbourse.database.temporary import forget_durability
from pgbourse.testing.emptying import Connection, Emptier, ExchangeError, connected

__all__ = ["TestDatabase"]

# The advisory lock of a session of tests; 5000 to 5003 are the exchange's own.
_LOCK = "select pg_try_advisory_lock(5004, 0)"

_RECOVERY_SECONDS = 60.0
_PAUSE = 0.05


class TestDatabase:
    """A database that we empty, and a connection to it. Use it as a context manager."""

    __test__ = False  # nothing that pytest should collect

    def __init__(self, url: str) -> None:
        self.url = url
        self._stack = contextlib.ExitStack()
        self._connection: Connection | None = None
        self._emptier: Emptier | None = None

    @classmethod
    @contextlib.contextmanager
    def of(cls, url: str, worker: str | None) -> "Iterator[TestDatabase]":
        """Give the database of this URL; a worker gets one of its own on the same server.

        Raises ExchangeError if its name says that it isn't for tests, or if others use it for theirs.
        """
        with connected(url) as connection:
            # Its own word, and not the string's: a pooler may call it by another name.
            name = str(fetch_value(connection, "select current_database()"))
            if "test" not in name:
                raise ExchangeError(f"won't empty the database {name}: its name must hold the word test")
            if worker is not None:
                name = f"{name}_{worker}"
                _create(connection, name)
        with cls(url if worker is None else make_conninfo(url, dbname=name)) as database:
            yield database

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def empty(self) -> None:
        """Empty the exchange. Raises ExchangeError if that can't be done."""
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connect()  # the server has been killed, or started again
                assert self._connection is not None
                if self._emptier is None:
                    self._emptier = Emptier(self._connection)  # there were no tables before the migration
                self._emptier()
                return
            except (psycopg.OperationalError, ExchangeError):
                is_connected = self._connection is not None and not self._connection.closed
                if is_connected or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)

    def forget_durability(self) -> None:
        """Let the server forget at a power failure what nobody needs again."""
        assert self._connection is not None
        forget_durability(self._connection)

    def _connect(self) -> None:
        self._stack.close()
        self._emptier = self._connection = None
        self._connection = self._stack.enter_context(connected(self.url))
        row = self._connection.execute(_LOCK).fetchone()
        if row is None or not row[0]:
            name = fetch_value(self._connection, "select current_database()")
            raise ExchangeError(
                f"other tests use the database {name} at this moment, and would be emptied: "
                "give these a database of their own"
            )


def _create(connection: Connection, name: str) -> None:
    """Create a database unless it is there."""
    found = connection.execute("select from pg_database where datname = %s", [name]).fetchone()
    if found is not None:
        return
    try:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg.errors.DuplicateDatabase:  # since we looked
        return
    except psycopg.errors.InsufficientPrivilege as error:
        raise ExchangeError(
            f"each worker of pytest-xdist needs a database: create {name}, or let the role create databases"
        ) from error
