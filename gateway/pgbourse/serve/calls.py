"""The gateway's way into the database: one connection a thread, one call of the exchange a batch."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from pgbourse.database.conninfo import ConninfoError
from pgbourse.errors import one_line
from pgbourse.serve.answers import CallFailed, FateUnknown, Locked, ReadOnly
from pgbourse.serve.conversation import Conversation, Rows
from pgbourse.serve.sessions import ConnectionGone, DatabaseError, Session, WorkerPool, worker_pool
from pgbourse.wire.messages import ResultRow

__all__ = ["CallFailed", "Caller", "ConnectionGone", "DatabaseError", "FateUnknown", "Locked", "ReadOnly"]

# What ResultRow._make does, in 0.12 instead of 0.19 microseconds a row.
_as_result_row: Callable[[tuple[Any, ...]], ResultRow] = partial(tuple.__new__, ResultRow)

_CALLS = {
    b"process_batch": b"select request, outcome, order_id, shares, price, at, code, message from "
    b"exchange.process_batch($1, $2)",
}


class Caller:
    """Calls the exchange's functions for one thread, on its own session.

    `connect` opens the session, and reopens it after each loss.
    """

    def __init__(self, conninfo: str, name: str) -> None:
        """Take a libpq connection string (several hosts allowed) and the application name to show."""
        self._conninfo = conninfo
        self._name = name
        self._pool: WorkerPool | None = None
        self.connection: Session | None = None  # None while there is none
        self._conversation: Conversation | None = None  # on this session
        self.connects = 0  # how often a connection has been made
        self.seconds = 0.0  # time spent in calls so far
        self.busy_since = 0.0  # since when the user of this has waited for an answer; 0 if it does not

    @property
    def version(self) -> str:
        """The version of the server that we are connected to, such as 18.6."""
        if self.connection is None:
            raise ConnectionGone("not connected")
        reported = self.connection.info.parameter_status("server_version") or "unknown"
        return reported.split()[0]  # some builds add the name of their distribution

    @property
    def is_read_only(self) -> bool:
        """Whether the session takes no writes, as found when it began."""
        return self.connection is not None and self.connection.is_read_only

    def connect(self) -> None:
        """Connect and prepare the session, unless we are connected.

        Raises ConnectionGone with the reason, in one line and without a password. A standby is a reason,
        because it may lag behind what clients have been told.
        """
        if self.connection is not None:
            return
        try:
            if self._pool is None:
                self._pool = worker_pool(self._conninfo, self._name)
            self.connection = connection = self._pool.getconn(timeout=self._pool.timeout)
        except (psycopg.Error, PoolTimeout, ConninfoError) as error:
            raise ConnectionGone(one_line(error)) from error
        self.connects += 1
        try:
            if connection.is_standby:
                raise ConnectionGone("the server is a standby, and the exchange needs the primary")
            self._conversation = Conversation(connection, self._conninfo, _CALLS)
        except BaseException as error:
            self.disconnect()
            if isinstance(error, psycopg.Error):
                raise ConnectionGone(one_line(error)) from error
            raise

    def disconnect(self) -> None:
        """End the session; `connect` opens another."""
        connection, self.connection, self._conversation = self.connection, None, None
        if connection is not None and self._pool is not None:
            connection.close()
            self._pool.putconn(connection)

    def close(self) -> None:
        """End the session for good."""
        self.disconnect()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def process_batch(self, requests: bytes, certified: bool = False) -> list[ResultRow]:
        """Carry out one batch and return its result rows, ordered by request; it has then committed.

        `requests` is a literal of exchange.request[]. If `certified`, what the certificate that a request
        names may not do is refused.

        Raises CallFailed, ConnectionGone, ReadOnly or FateUnknown.
        """
        parameters = [requests, b"true" if certified else b"false"]
        return list(map(_as_result_row, self._call(b"process_batch", parameters)))

    def _call(self, name: bytes, parameters: Sequence[bytes]) -> Rows:
        if self._conversation is None:
            raise ConnectionGone("not connected")
        started = time.monotonic()
        try:
            return self._conversation.call(name, parameters)
        except (ConnectionGone, FateUnknown):
            self.disconnect()
            raise
        finally:
            self.seconds += time.monotonic() - started
