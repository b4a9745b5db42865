"""The gateway's way into the database: one connection a thread, one statement a batch.

Each statement is its own transaction. The server commits it when it reads the Sync message that ends it, and
only then sends ReadyForQuery. What comes before that, all rows and CommandComplete included, proves nothing.
That is why this module uses libpq directly: it needs every message of the answer, in order, to tell a
statement that certainly left nothing behind from one whose fate nobody can know.
"""

import logging
import select
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.types.string import TextLoader
from psycopg_pool import PoolTimeout

from pgbourse.database.conninfo import ConninfoError
from pgbourse.errors import one_line
from pgbourse.serve.sessions import (
    ConnectionGone,
    DatabaseError,
    Session,
    WorkerPool,
    require_same_writer,
    worker_pool,
)
from pgbourse.wire.messages import ResultRow

__all__ = ["CallFailed", "Caller", "ConnectionGone", "DatabaseError", "FateUnknown", "ReadOnly"]

_log = logging.getLogger("pgbourse.dispatch")

# What ResultRow._make does, in 0.12 instead of 0.19 microseconds a row.
_as_result_row: Callable[[tuple[Any, ...]], ResultRow] = partial(tuple.__new__, ResultRow)

_CALLS = {
    b"process_batch": b"select request, outcome, order_id, shares, price, at, code, message from "
    b"exchange.process_batch($1, $2, $3, $4, $5, $6, $7)",
    b"process_batch_for": b"select request, outcome, order_id, shares, price, at, code, message from "
    b"exchange.process_batch_for($1, $2, $3, $4, $5, $6, $7, $8)",
}
_PREPARE = b";".join(b"prepare %b as %b" % call for call in _CALLS.items())

# Milliseconds without a byte of an answer, after which we ask whether the server is still the primary.
_SILENCE = 5_000

_READ_ONLY = "25006"
_ADMIN_SHUTDOWN = b"57P01"
_STANDBY_WAIT = "SyncRepWaitForLSN"  # PostgreSQL's function in which a commit waits for a synchronous standby


class CallFailed(DatabaseError):
    """The statement certainly failed and was rolled back; the connection is ready for the next one.

    `sqlstate` is the server's, and `detail` its whole message, in one line.
    """

    def __init__(self, message: str, sqlstate: str, detail: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail


class ReadOnly(DatabaseError):
    """The session takes no writes. The statement left nothing behind; one that only reads may be sent."""


class FateUnknown(DatabaseError):
    """The connection was lost after the statement was sent: it may or may not have committed."""


class Caller:
    """Calls the exchange's functions for one thread, on its own session.

    `connect` opens the session, and reopens it after each loss. A server may take any time to answer, because
    its commit may wait for a synchronous standby. A server that another one has replaced is not waited for.
    """

    def __init__(self, conninfo: str, name: str) -> None:
        """Take a libpq connection string (several hosts allowed) and the application name to show."""
        self._conninfo = conninfo
        self._name = name
        self._pool: WorkerPool | None = None
        self.connection: Session | None = None  # None while there is none
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
            if not connection.is_pooled:
                connection.execute(_PREPARE)
        except BaseException as error:
            self.disconnect()
            if isinstance(error, psycopg.Error):
                raise ConnectionGone(one_line(error)) from error
            raise
        self._identified_at = time.monotonic()
        self._unconfirmed = ""  # why the commit in progress may be lost, although this server has it
        connection.add_notice_handler(self._hear)
        connection.adapters.register_loader("numeric", TextLoader)  # replies need text, so skip Decimal
        self._transformer = Transformer(connection)
        self._readable = select.poll()
        self._readable.register(connection.pgconn.socket, select.POLLIN)

    def disconnect(self) -> None:
        """End the session; `connect` opens another."""
        connection, self.connection = self.connection, None
        if connection is not None and self._pool is not None:
            connection.close()
            self._pool.putconn(connection)

    def close(self) -> None:
        """End the session for good."""
        self.disconnect()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def process_batch(self, columns: Sequence[bytes]) -> list[ResultRow]:
        """Carry out one batch and return its result rows, ordered by request; it has then committed.

        `columns` are the seven parameters of exchange.process_batch as PostgreSQL array literals.

        Raises CallFailed, ConnectionGone, ReadOnly or FateUnknown.
        """
        return list(map(_as_result_row, self._call(b"process_batch", columns)))

    def process_batch_for(self, columns: Sequence[bytes]) -> list[ResultRow]:
        """Like `process_batch`, for clients with certificates: their names are the first of eight columns.

        Raises CallFailed, ConnectionGone, ReadOnly or FateUnknown.
        """
        return list(map(_as_result_row, self._call(b"process_batch_for", columns)))

    def _call(self, name: bytes, parameters: Sequence[bytes]) -> list[tuple[Any, ...]]:
        if self.connection is None:
            raise ConnectionGone("not connected")
        self._look_before_sending(self.connection)
        pgconn = self.connection.pgconn
        started = time.monotonic()
        try:
            if self.connection.is_pooled:
                pgconn.send_query_params(_CALLS[name], parameters)
            else:
                pgconn.send_query_prepared(name, parameters)
            results = self._answer(self.connection)
        except psycopg.Error as error:
            self.disconnect()
            raise FateUnknown(one_line(error)) from error
        finally:
            self.seconds += time.monotonic() - started
        if self._unconfirmed:
            why, self._unconfirmed = self._unconfirmed, ""
            self.disconnect()
            raise FateUnknown(why)
        if len(results) == 1 and results[0].status == pq.ExecStatus.TUPLES_OK:
            self._transformer.set_pgresult(results[0])
            return self._transformer.load_rows(0, results[0].ntuples, tuple)
        raise self._failure(pgconn, results)

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        """Note a warning that a commit did not wait for its synchronous standby to the end.

        Somebody cancelled the wait. The server then reports success, but a failover may lose the commit.
        """
        if notice.source_function == _STANDBY_WAIT:
            self._unconfirmed = one_line(f"{notice.message_primary}: {notice.message_detail}")

    def _look_before_sending(self, connection: Session) -> None:
        """Read what an idle connection has received: most likely that the server has ended it.

        Raises ConnectionGone if so. This happens before anything is sent, so that a connection that died
        while idle costs nothing.
        """
        try:
            if self._readable.poll(0):
                connection.execute("")
            if connection.is_pooled and time.monotonic() - self._identified_at > _SILENCE / 1000:
                connection.identify()  # the pooler may have moved on to another server
                self._identified_at = time.monotonic()
        except psycopg.Error as error:
            self.disconnect()
            raise ConnectionGone(f"the connection was lost while it was idle: {one_line(error)}") from error

    def _answer(self, connection: Session) -> list[pq.abc.PGresult]:
        """Wait for every message up to ReadyForQuery, without a time limit, and return the results in order.

        If the server's last message is an error, the loss of the connection after it adds nothing.

        Raises psycopg.Error if the connection is lost, or if another server has become the primary.
        """
        pgconn = connection.pgconn
        while pgconn.flush():
            # Read as well: the server may be waiting for us to take its notices.
            events = select.poll()
            events.register(pgconn.socket, select.POLLIN | select.POLLOUT)
            if any(event & ~select.POLLOUT for event in self._wait(events, connection)):
                pgconn.consume_input()
        results: list[pq.abc.PGresult] = []
        try:
            while True:
                while pgconn.is_busy():
                    self._wait(self._readable, connection)
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    return results
                results.append(result)
        except psycopg.Error:
            if results and results[-1].status == pq.ExecStatus.FATAL_ERROR:
                return results
            raise

    def _wait(self, events: "select.poll", connection: Session) -> list[int]:
        """Wait for the socket. Whenever that takes long, ask whether the server is still the primary."""
        silences = 0
        while not (ready := events.poll(_SILENCE)):
            require_same_writer(self._conninfo, connection.server)
            silences += 1
            if silences == 1:
                seconds = _SILENCE // 1000
                _log.warning("no answer from the database for %d s, nor another primary: waiting on", seconds)
        return [event for _, event in ready]

    def _failure(self, pgconn: pq.abc.PGconn, results: list[pq.abc.PGresult]) -> DatabaseError:
        """Return what a failed statement left behind: nothing (CallFailed, ConnectionGone), or who knows."""
        place, error = next(
            ((i, result) for i, result in enumerate(results) if result.status == pq.ExecStatus.FATAL_ERROR),
            (0, results[0]),
        )
        text = one_line(error.get_error_message())
        sqlstate = (error.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if sqlstate and pgconn.transaction_status == pq.TransactionStatus.IDLE:
            # The server reported an error and is ready for the next statement: it has rolled back.
            if sqlstate == _READ_ONLY:
                return ReadOnly(text)
            # Leave the detail out: it may quote a row, and a balance in it, which must not get into a log.
            fields = (pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.CONTEXT)
            said = b"; ".join(filter(None, map(error.error_field, fields)))
            return CallFailed(one_line(said.decode("utf-8", "replace")), sqlstate, text)
        stopped = (
            place == 0
            and error.error_field(pq.DiagnosticField.SQLSTATE) == _ADMIN_SHUTDOWN
            and error.error_field(pq.DiagnosticField.SOURCE_FUNCTION) == b"ProcessInterrupts"
        )
        self.disconnect()
        if stopped:
            # PostgreSQL itself (a pooler has no source function) ended the session before CommandComplete, so
            # before it read Sync, so before the commit began.
            return ConnectionGone(text)
        return FateUnknown(text)
