"""One session's talk with the server: a call and its barrier are sent, and every message is read.

Each statement is its own transaction. The server commits it when it reads the Sync message that ends it, and
only then sends ReadyForQuery. What comes before that, all rows and CommandComplete included, proves nothing.
That is why this module uses libpq directly: it needs every message of the answer, in order, to tell a
statement that certainly left nothing behind from one whose fate nobody can know.

A call commits with synchronous_commit off, so that it holds no lock while the log is flushed or a standby is
waited for. Behind it, in the same pipeline, goes the barrier: a tiny transaction that commits synchronously.
Commits become durable in their order, so the barrier's success covers the call, and all that the call has
seen of others. Until then nobody is told anything.
"""

import logging
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.types.string import TextLoader

from pgbourse.errors import one_line
from pgbourse.serve.answers import Answer, FateUnknown
from pgbourse.serve.sessions import ConnectionGone, Session, require_same_writer

__all__ = ["EMIT", "Conversation", "Rows"]

_log = logging.getLogger("pgbourse.dispatch")

Rows = list[tuple[Any, ...]]

# By name once: an enumeration takes long to look a name up.
_BAD = pq.ConnStatus.BAD
_PIPELINE_SYNC = pq.ExecStatus.PIPELINE_SYNC

# The message makes the transaction one that has something to flush. Nobody reads it.
EMIT = b"pg_catalog.pg_logical_emit_message(true, '', '')"
_BARRIER = b"prepare barrier as select pg_catalog.set_config('synchronous_commit', '%b', true), " + EMIT
# Behind a pooler a call is its own barrier, also if it only reads.
_POOLED = b" cross join (select " + EMIT + b" offset 0) as barrier"

# Rows that are loaded at once: no other thread runs meanwhile.
_ROWS = 1_000

# Milliseconds without a byte of an answer, after which we ask whether the server is still the primary.
_SILENCE = 5_000

_STANDBY_WAIT = "SyncRepWaitForLSN"  # PostgreSQL's function in which a commit waits for a synchronous standby


class Conversation:
    """Calls and answers on one session. After ConnectionGone or FateUnknown it is over.

    A server may take any time to answer, because a barrier may wait for a synchronous standby. A server that
    another one has replaced is not waited for.
    """

    def __init__(
        self,
        session: Session,
        conninfo: str,
        calls: Mapping[bytes, bytes],
        *,
        with_barriers: bool = False,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        """Prepare `calls` (statements by name) in a new session, and the barrier. Raises psycopg.Error.

        Those `with_barriers` emit the message themselves, and commit synchronously. `on_answer` is called
        between the answer to one of the others and that to its barrier.
        """
        self._session = session
        self._conninfo = conninfo
        self._calls = calls
        self._with_barriers = with_barriers
        self._on_answer = on_answer
        if not session.is_pooled:
            session.execute(b";".join(b"prepare %b as %b" % call for call in calls.items()))
        if not (session.is_pooled or with_barriers):
            session.execute(_barrier(session))
            session.execute("set synchronous_commit = off")
        self._identified_at = time.monotonic()
        self._unconfirmed = ""  # why the commit in progress may be lost, although this server has it
        session.add_notice_handler(self._hear)
        session.adapters.register_loader("numeric", TextLoader)  # replies need text, so skip Decimal
        self._transformer = Transformer(session)
        self._readable = select.poll()
        self._readable.register(session.pgconn.socket, select.POLLIN)

    def call(self, name: bytes, parameters: Sequence[bytes | None], *, barrier: bool = True) -> Rows:
        """Carry out a call in a transaction of its own and return its rows.

        They are durable, and so is what they tell of others, unless it is called without its `barrier`.

        Raises CallFailed, Locked, ReadOnly, ConnectionGone or FateUnknown.
        """
        self._look_before_sending()
        self._unconfirmed = ""
        try:
            if self._session.is_pooled:
                rows = self._call_pooled(name, parameters)
            elif barrier and not self._with_barriers:
                rows = self._call_and_barrier(name, parameters)
            else:
                self._session.pgconn.send_query_prepared(name, parameters)
                rows = self._rows(self._read_sent())
        except psycopg.Error as error:
            raise FateUnknown(one_line(error)) from error
        if self._unconfirmed:
            raise FateUnknown(self._unconfirmed)
        return rows

    def _call_pooled(self, name: bytes, parameters: Sequence[bytes | None]) -> Rows:
        barrier = b"" if self._with_barriers else _POOLED
        self._session.pgconn.send_query_params(self._calls[name] + barrier, parameters)
        return self._rows(self._read_sent())

    def _call_and_barrier(self, name: bytes, parameters: Sequence[bytes | None]) -> Rows:
        """Send both at once; return the call's rows when both have succeeded.

        A call that failed has left nothing behind, whatever becomes of the barrier. If it succeeded and the
        barrier did not, then the call has committed and may be lost again.
        """
        pgconn = self._session.pgconn
        pgconn.enter_pipeline_mode()
        for statement, values in ((name, parameters), (b"barrier", ())):
            pgconn.send_query_prepared(statement, values)
            pgconn.pipeline_sync()
        call = self._read_sent()
        if self._on_answer is not None:
            self._on_answer()
        if not call.succeeded:
            if call.is_complete:
                self._skip_barrier()
            raise call.failure()
        rows = self._load(call)  # made while the barrier is under way
        barrier = self._answer()
        if not barrier.succeeded:
            raise FateUnknown(f"the barrier failed: {barrier.failure()}")
        pgconn.exit_pipeline_mode()
        return rows

    def _skip_barrier(self) -> None:
        """Read the answer to a barrier that has nothing to cover, because the call before it failed."""
        try:
            self._answer()
            self._session.pgconn.exit_pipeline_mode()
        except psycopg.Error:
            self._session.close()  # the next look finds it out

    def _rows(self, answer: Answer) -> Rows:
        if not answer.succeeded:
            raise answer.failure()
        return self._load(answer)

    def _load(self, answer: Answer) -> Rows:
        (result,) = answer.results
        self._transformer.set_pgresult(result)
        load, count = self._transformer.load_rows, result.ntuples
        if count <= _ROWS:
            return load(0, count, tuple)
        rows: Rows = []
        for start in range(0, count, _ROWS):
            rows += load(start, min(start + _ROWS, count), tuple)
        return rows

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        """Note a warning that a commit did not wait for its synchronous standby to the end.

        Somebody cancelled the wait. The server then reports success, but a failover may lose the commit.
        """
        if notice.source_function == _STANDBY_WAIT:
            self._unconfirmed = one_line(f"{notice.message_primary}: {notice.message_detail}")

    def _look_before_sending(self) -> None:
        """Read what an idle connection has received: most likely that the server has ended it.

        Raises ConnectionGone if so. This happens before anything is sent, so that a connection that died
        while idle costs nothing.
        """
        try:
            if self._session.closed or self._readable.poll(0):
                self._session.execute("")
            if self._session.is_pooled and time.monotonic() - self._identified_at > _SILENCE / 1000:
                self._session.identify()  # the pooler may have moved on to another server
                self._identified_at = time.monotonic()
        except psycopg.Error as error:
            raise ConnectionGone(f"the connection was lost while it was idle: {one_line(error)}") from error

    def _read_sent(self) -> Answer:
        """Send what libpq still has, and read the answer to the first statement."""
        pgconn = self._session.pgconn
        while pgconn.flush():
            # Read as well: the server may be waiting for us to take its notices.
            events = select.poll()
            events.register(pgconn.socket, select.POLLIN | select.POLLOUT)
            if any(event & ~select.POLLOUT for _, event in self._wait(events)):
                pgconn.consume_input()
        return self._answer()

    def _answer(self) -> Answer:
        """Wait for every message to one statement, up to ReadyForQuery, without a time limit.

        If the server's last message is an error, the loss of the connection after it adds nothing.

        Raises psycopg.Error if the connection is lost, or if another server has become the primary.
        """
        pgconn = self._session.pgconn
        results: list[pq.abc.PGresult] = []
        try:
            while True:
                while pgconn.is_busy():
                    self._wait(self._readable)
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    # In a pipeline this ends a statement's results, but not yet its transaction.
                    if not pgconn.pipeline_status:
                        return Answer(results, True)
                    if pgconn.status == _BAD:
                        raise psycopg.OperationalError(pgconn.get_error_message())
                elif result.status == _PIPELINE_SYNC:
                    return Answer(results, True)
                else:
                    results.append(result)
        except psycopg.Error:
            if results and results[-1].status == pq.ExecStatus.FATAL_ERROR:
                return Answer(results, is_complete=False)
            raise

    def _wait(self, events: "select.poll") -> list[tuple[int, int]]:
        """Wait for the socket. Whenever that takes long, ask whether the server is still the primary."""
        silences = 0
        while not (ready := events.poll(_SILENCE)):
            require_same_writer(self._conninfo, self._session.server)
            silences += 1
            if silences == 1:
                seconds = _SILENCE // 1000
                _log.warning("no answer from the database for %d s, nor another primary: waiting on", seconds)
        return ready


def _barrier(session: Session) -> bytes:
    """Prepare the barrier, which commits as the session does so far: on, or remote_apply."""
    row = session.execute("show synchronous_commit").fetchone()
    assert row is not None
    return _BARRIER % str(row[0]).encode()
