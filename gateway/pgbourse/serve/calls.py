"""The gateway's way into the database: one connection a thread, one statement a batch.

Each statement is a transaction of its own. The server commits it when it reads the Sync message that
ends it, and only then sends ReadyForQuery; what came before that, CommandComplete and all rows included,
proves nothing. That is why this module talks to libpq itself: it needs every message of the answer, in
its order, to tell a statement that certainly left nothing behind from one whose fate nobody can know.
"""

import select
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader

from pgbourse.errors import PgbourseError
from pgbourse.wire.messages import ResultRow

__all__ = ["CallFailed", "Caller", "ConnectionGone", "DatabaseError", "FateUnknown"]

# What ResultRow._make does, in 0.12 instead of 0.19 microseconds a row.
_as_result_row: Callable[[tuple[Any, ...]], ResultRow] = partial(tuple.__new__, ResultRow)

_CALLS = {
    b"process_batch": b"select request, outcome, order_id, shares, price, at, code, message from "
    b"exchange.process_batch($1, $2, $3, $4, $5, $6, $7)",
    b"process_batch_for": b"select request, outcome, order_id, shares, price, at, code, message from "
    b"exchange.process_batch_for($1, $2, $3, $4, $5, $6, $7, $8)",
    b"settle_idle_accounts": b"select exchange.settle_idle_accounts($1)",
}

# The gateway's role has the API's functions and nothing else. A time-out set for a database or a role
# must never cancel a statement of ours: with a synchronous standby a cancelled COMMIT shows a commit
# that may yet be lost. A synchronous_commit weaker than `on` would acknowledge what a crash undoes; the
# stronger remote_apply stays. The functions see what the last holder of a lock committed only if they read
# committed. Warnings must reach us: see _hear.
_SESSION = """
    set role exchange_gateway;
    set statement_timeout = 0;
    set lock_timeout = 0;
    set idle_session_timeout = 0;
    set default_transaction_isolation = 'read committed';
    set client_min_messages = warning;
    select set_config('transaction_timeout', '0', false) from pg_settings where name = 'transaction_timeout';
    select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') not in ('on', 'remote_apply');
"""

# A pooler may give each transaction another session, so nothing can be set or prepared in one: the login
# role must bring the settings. This says which it lacks.
_POOLED_SESSION = """
    select string_agg(format('%s is %s', wrong.name, wrong.setting), ', ')
    from (
        select 'role' as name, current_user::text as setting where current_user <> 'exchange_gateway'
        union all
        select name, setting from pg_settings
        where (name in ('statement_timeout', 'lock_timeout', 'transaction_timeout') and setting <> '0')
            or (name = 'synchronous_commit' and setting not in ('on', 'remote_apply'))
            or (name = 'default_transaction_isolation' and setting <> 'read committed')
            or (name = 'client_min_messages' and setting in ('error', 'fatal', 'panic'))
    ) as wrong
"""

# A peer that vanished without a word is noticed within half a minute.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_READ_ONLY = "25006"  # a standby, or a primary that was demoted: another connection may find the new primary
_ADMIN_SHUTDOWN = b"57P01"
_STANDBY_WAIT = "SyncRepWaitForLSN"  # PostgreSQL's function in which a commit waits for a synchronous standby


class DatabaseError(PgbourseError):
    """A call of the database did not give its result."""


class CallFailed(DatabaseError):
    """The statement failed and was rolled back, for certain; the connection can carry the next one.

    `sqlstate` is the server's, and `detail` all that it said, in one line.
    """

    def __init__(self, message: str, sqlstate: str, detail: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail


class ConnectionGone(DatabaseError):
    """There is no connection, and the statement left nothing behind, for certain: it may be sent again."""


class FateUnknown(DatabaseError):
    """The connection was lost after the statement had been sent: it may have committed or not."""


class Caller:
    """A connection to the exchange for one thread, opened by `connect` and again after each loss."""

    def __init__(self, conninfo: str, name: str) -> None:
        """Take a libpq connection string (several hosts allowed) and the application name to show."""
        self._conninfo = conninfo
        self._name = name
        self.connection: psycopg.Connection | None = None  # while there is one
        self.connects = 0  # how often a connection has been made
        self.seconds = 0.0  # time spent in calls so far

    @property
    def version(self) -> str:
        """The version of the server that we are connected to, such as 18.6."""
        if self.connection is None:
            raise ConnectionGone("not connected")
        reported = self.connection.info.parameter_status("server_version") or "unknown"
        return reported.split()[0]  # some builds add the name of their distribution

    def connect(self) -> None:
        """Connect and prepare the session; does nothing when connected.

        Raises ConnectionGone with the reason, in one line and without a password.
        """
        if self.connection is not None:
            return
        try:
            given = conninfo_to_dict(self._conninfo)
            # A host that doesn't answer must not hold up the try of the next for longer than libpq's minimum.
            defaults: dict[str, str | int] = {
                **_KEEPALIVES,
                "connect_timeout": 2,
                "application_name": self._name,
            }
            missing = {key: value for key, value in defaults.items() if key not in given}
            connection = psycopg.connect(make_conninfo(self._conninfo, **missing), autocommit=True)
        except psycopg.Error as error:
            raise ConnectionGone(_one_line(str(error))) from error
        try:
            self._pooled = _is_pooled(connection)
            if self._pooled:
                _require_settings(connection)
            else:
                _prepare(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, psycopg.Error):
                raise ConnectionGone(_one_line(str(error))) from error
            raise
        self.connects += 1
        self._unconfirmed = ""  # why the commit in progress may be lost though it stands on this server
        connection.add_notice_handler(self._hear)
        connection.adapters.register_loader("numeric", TextLoader)  # replies want text: no Decimal in between
        self.connection = connection
        self._transformer = Transformer(connection)
        self._readable = select.poll()
        self._readable.register(connection.pgconn.socket, select.POLLIN)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def process_batch(self, columns: Sequence[bytes]) -> list[ResultRow]:
        """Carry out one batch and return its result rows, ordered by request; it has then committed.

        `columns` are the seven parameters of exchange.process_batch as PostgreSQL array literals.

        Raises CallFailed, ConnectionGone or FateUnknown.
        """
        return list(map(_as_result_row, self._call(b"process_batch", columns)))

    def process_batch_for(self, columns: Sequence[bytes]) -> list[ResultRow]:
        """Do as `process_batch` does, for clients with certificates: their names are the first of 8 columns.

        Raises CallFailed, ConnectionGone or FateUnknown.
        """
        return list(map(_as_result_row, self._call(b"process_batch_for", columns)))

    def settle_idle_accounts(self, limit: int) -> int:
        """Fold the credits of at most `limit` accounts into their rows and return how many were folded.

        Raises CallFailed, ConnectionGone or FateUnknown.
        """
        rows = self._call(b"settle_idle_accounts", [str(limit).encode()])
        return int(rows[0][0])

    def _call(self, name: bytes, parameters: Sequence[bytes]) -> list[tuple[Any, ...]]:
        if self.connection is None:
            raise ConnectionGone("not connected")
        pgconn = self.connection.pgconn
        if self._readable.poll(0):
            self._ping(pgconn)
        started = time.monotonic()
        try:
            if self._pooled:
                pgconn.send_query_params(_CALLS[name], parameters)
            else:
                pgconn.send_query_prepared(name, parameters)
            results = self._answer(pgconn)
        except psycopg.Error as error:
            self.close()
            raise FateUnknown(_one_line(str(error))) from error
        finally:
            self.seconds += time.monotonic() - started
        if self._unconfirmed:
            why, self._unconfirmed = self._unconfirmed, ""
            self.close()
            raise FateUnknown(why)
        if len(results) == 1 and results[0].status == pq.ExecStatus.TUPLES_OK:
            self._transformer.set_pgresult(results[0])
            return self._transformer.load_rows(0, results[0].ntuples, tuple)
        raise self._failure(pgconn, results)

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        """Take note of a warning that a commit did not wait for its synchronous standby to the end.

        Somebody cancelled the wait. The server then reports a success, but a failover may lose the commit.
        """
        if notice.source_function == _STANDBY_WAIT:
            self._unconfirmed = _one_line(f"{notice.message_primary}: {notice.message_detail}")

    def _ping(self, pgconn: pq.abc.PGconn) -> None:
        """Find out what an idle connection has to say: most likely that the server ended it.

        Raises ConnectionGone if so. Asked before anything is sent, so that a connection that died while idle
        costs nothing.
        """
        if pgconn.exec_(b"").status != pq.ExecStatus.EMPTY_QUERY:
            self.close()
            raise ConnectionGone("the server closed the connection while it was idle")

    def _answer(self, pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
        """Wait for every message up to ReadyForQuery, with no time limit, and return the results in order.

        When the server's last words are an error, the loss of the connection behind it is no news.
        """
        while pgconn.flush():
            # Listen as well: the server may be waiting for us to take its notices.
            events = select.poll()
            events.register(pgconn.socket, select.POLLIN | select.POLLOUT)
            if any(event & ~select.POLLOUT for _, event in events.poll()):
                pgconn.consume_input()
        results: list[pq.abc.PGresult] = []
        try:
            while True:
                while pgconn.is_busy():
                    self._readable.poll()
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    return results
                results.append(result)
        except psycopg.Error:
            if results and results[-1].status == pq.ExecStatus.FATAL_ERROR:
                return results
            raise

    def _failure(self, pgconn: pq.abc.PGconn, results: list[pq.abc.PGresult]) -> DatabaseError:
        """Say what a failed statement has left behind: nothing (CallFailed, ConnectionGone) or who knows."""
        place, error = next(
            ((i, result) for i, result in enumerate(results) if result.status == pq.ExecStatus.FATAL_ERROR),
            (0, results[0]),
        )
        text = _one_line(error.get_error_message())
        sqlstate = (error.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if sqlstate and pgconn.transaction_status == pq.TransactionStatus.IDLE:
            # The server reported an error and is ready for the next statement: it has rolled back.
            if sqlstate != _READ_ONLY:
                # Not the detail: it may quote a row, and with it a balance, which has no place in a log.
                fields = (pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.CONTEXT)
                said = b"; ".join(filter(None, map(error.error_field, fields)))
                return CallFailed(_one_line(said.decode("utf-8", "replace")), sqlstate, text)
            self.close()
            return ConnectionGone(text)
        stopped = (
            place == 0
            and error.error_field(pq.DiagnosticField.SQLSTATE) == _ADMIN_SHUTDOWN
            and error.error_field(pq.DiagnosticField.SOURCE_FUNCTION) == b"ProcessInterrupts"
        )
        self.close()
        if stopped:
            # PostgreSQL itself (a pooler has no source function) ended the session before CommandComplete,
            # thus before it had read Sync, thus before the commit began.
            return ConnectionGone(text)
        return FateUnknown(text)


def _is_pooled(connection: psycopg.Connection) -> bool:
    """Tell whether something between us and the server hands out its sessions, as pgbouncer does.

    It made up the process number that it gave us for cancelling.
    """
    row = connection.execute("select pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def _prepare(connection: psycopg.Connection) -> None:
    """Make the session ours: its settings, and the calls prepared."""
    connection.execute(_SESSION)
    for name, text in _CALLS.items():
        prepared = connection.pgconn.prepare(name, text)
        if prepared.status != pq.ExecStatus.COMMAND_OK:
            raise ConnectionGone(_one_line(prepared.get_error_message()))


def _require_settings(connection: psycopg.Connection) -> None:
    """Refuse a pooler whose login role lacks a setting that we would make in a session of ours."""
    row = connection.execute(_POOLED_SESSION).fetchone()
    if row is not None and row[0] is not None:
        raise ConnectionGone(
            f"behind a pooler the login role must bring its settings (alter role … set …), but {row[0]}"
        )


def _one_line(text: str) -> str:
    return " ".join(text.split())
