"""The gateway's database sessions: how they are opened, their settings, and how long they wait.

Each worker has a pool of one, which connects at once in the worker's own thread. Those that query the
database now and then (the sweep, readiness, metrics) share a pool of a few.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, NullConnectionPool, PoolTimeout

from pgbourse.database import conninfo as conninfos
from pgbourse.database.session import SettingError, pin_settings, wrong_settings
from pgbourse.errors import PgbourseError, one_line

__all__ = [
    "ConnectionGone",
    "DatabaseError",
    "Session",
    "SharedPool",
    "WorkerPool",
    "find_writer",
    "require_same_writer",
    "worker_pool",
]

_T = TypeVar("_T")

# A pooler may give each transaction another session, so nothing can be set or prepared in one: the login role
# must bring the settings. These are the ones without which a batch would do something else. How values are
# written doesn't matter: no type in our calls minds.
_POOLED = {
    "array_nulls",
    "default_transaction_isolation",
    "exit_on_error",
    "lock_timeout",
    "plpgsql.variable_conflict",
    "restrict_nonsystem_relation_kind",
    "row_security",
    "session_replication_role",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
    "transform_null_equals",
}

# The start time tells servers apart, to the microsecond, even if several names lead to one server.
_IDENTITY = """
    select
        pg_backend_pid(),
        extract(epoch from pg_postmaster_start_time())::text,
        pg_is_in_recovery(),
        current_setting('transaction_read_only') = 'on',
        (select backend_start::text from pg_stat_get_activity(pg_backend_pid()))
"""

# A number may be another backend's by now.
_END = """
    select pg_terminate_backend(pid, %s)
    from pg_stat_activity
    where pid = %s and backend_start::text = %s
"""

# For each host, so that one that doesn't answer doesn't hold up the next. libpq allows no less.
_CONNECT_SECONDS = 2
_PATIENCE = 2.0  # seconds to wait for an answer that takes milliseconds, before giving the session up
_LIFETIME = 60.0  # seconds: only new sessions see ALTER DATABASE … SET

# A peer that vanishes silently is noticed within half a minute.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class DatabaseError(PgbourseError):
    """A call of the database did not give its result."""


class ConnectionGone(DatabaseError):
    """There is no connection, and the statement certainly left nothing behind: it may be sent again."""


class Session(psycopg.Connection[TupleRow]):
    """A connection on which no statement waits forever, although a frozen server's kernel keeps it alive.

    This applies to statements executed here. Workers' calls may take any time (pgbourse.serve.calls).
    """

    patience = _PATIENCE  # seconds without an answer
    on_silence: Callable[[], None] | None = None  # called after each such wait; raises to give up
    is_pooled = False  # behind a pooler, which may give each transaction another session of the server
    server = ""  # identifies the server
    backend = 0  # its number there, while it lives
    began = ""  # when the backend started
    is_standby = False
    is_read_only = False  # as `identify` found it: a session keeps the defaults that it began with

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:  # noqa: ARG002
        return super().wait(self._limit(gen), interval)

    def identify(self) -> None:
        """Find out which server this is, by which backend it serves us, and whether it takes writes."""
        row = self.execute(_IDENTITY).fetchone()
        assert row is not None
        self.backend, self.server, self.is_standby, self.is_read_only, self.began = row

    def end(self, lost: "Session") -> None:
        """End the backend of a session of the same user that we have lost, if it still lives.

        Returns once it has ended. Raises psycopg.Error if that takes long.
        """
        if lost.server != self.server:
            return  # it has ended with its server
        self.execute("set role none")
        row = self.execute(_END, [int(_PATIENCE * 500), lost.backend, lost.began]).fetchone()
        self.execute("set role exchange_gateway")
        if row == (False,):
            raise psycopg.OperationalError("the session before this one goes on")

    def _limit(self, gen: PQGen[_T]) -> PQGen[_T]:
        """Run `gen`, and look at the clock whenever there was nothing to read or write."""
        started = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    started = time.monotonic()
                elif time.monotonic() - started > self.patience:
                    if self.on_silence is None:
                        raise psycopg.OperationalError(f"no answer for {self.patience:g} seconds")
                    self.on_silence()
                    started = time.monotonic()
                wanted = gen.send(ready)
        except StopIteration as end:
            value: _T = end.value
            return value


WorkerPool = NullConnectionPool[Session]


class SharedPool(ConnectionPool[Session]):
    """A few connections for occasional queries: the sweep, readiness, metrics.

    It keeps none in reserve and does not retry by itself: a request while there is none makes it try anew.
    """

    def __init__(self, conninfo: str, size: int) -> None:
        """Take a libpq connection string and the number of connections. Raises ConninfoError."""
        self._failure = ""  # of the attempt to connect that somebody waits for
        self._completed = complete(conninfo, "pgbourse housekeeping")
        super().__init__(
            self._completed,
            connection_class=Session,
            kwargs={"autocommit": True},
            configure=_configure,
            check=ConnectionPool.check_connection,
            min_size=0,
            max_size=size,
            num_workers=1,
            max_lifetime=_LIFETIME,
            reconnect_timeout=0.0,
            reconnect_failed=self._note_failure,
            name="pgbourse housekeeping",
            open=True,
        )

    @contextmanager
    def session(self, *, patient: bool = False) -> Iterator[Session]:
        """Lend a session for the length of a with block, in which each statement gets a few seconds.

        On a `patient` one it gets any time, as long as no other server has become the primary.

        Raises ConnectionGone if there is no session to lend, or it fails.
        """
        session = self._obtain()
        try:
            if patient:
                session.on_silence = partial(require_same_writer, self._completed, session.server)
            yield session
        except psycopg.OperationalError as error:
            raise ConnectionGone(one_line(error)) from error
        finally:
            session.on_silence = None
            if session.is_standby or session.is_read_only:
                session.close()  # it may stay so as long as it lives; who asks next gets a new one
            self.putconn(session)

    def _obtain(self) -> Session:
        deadline = time.monotonic() + _PATIENCE
        self._failure = ""
        while True:
            try:
                return self.getconn(timeout=0.1)
            except PoolTimeout:
                if self._failure or time.monotonic() > deadline:
                    why = self._failure or f"no connection within {_PATIENCE:g} seconds"
                    raise ConnectionGone(why) from None

    def _note_failure(self, _: object) -> None:
        self._failure = one_line(sys.exception())  # called where it is handled


def complete(conninfo: str, name: str) -> str:
    """Add a gateway's defaults to a connection string and return it. Raises ConninfoError."""
    return conninfos.complete(
        conninfo, connect_timeout=_CONNECT_SECONDS, application_name=name, **_KEEPALIVES
    )


def worker_pool(conninfo: str, name: str) -> WorkerPool:
    """Return a pool of one connection for one worker, which connects whenever it is asked to.

    `getconn` connects in the caller's thread, without the pauses of other pools. It holds the pool's lock
    meanwhile, so each worker has its own. `getconn(timeout=pool.timeout)` leaves the connection string's
    connect_timeout in force. Raises ConninfoError.
    """
    completed = complete(conninfo, name)
    return NullConnectionPool(
        completed,
        connection_class=Session,
        kwargs={"autocommit": True},
        configure=_configure,
        max_size=1,
        num_workers=1,
        timeout=float(conninfos.parse(completed)["connect_timeout"]) or _CONNECT_SECONDS,
        name=name,
        open=True,
    )


def find_writer(conninfo: str) -> str:
    """Ask on a new connection which server takes writes now; return its Session.server, or ''."""
    try:
        with closing(Session.connect(complete(conninfo, "pgbourse"), autocommit=True)) as session:
            session.identify()
    except psycopg.Error:
        return ""
    return "" if session.is_standby or session.is_read_only else session.server


def require_same_writer(conninfo: str, server: str) -> None:
    """After a long silence of a server: raise OperationalError if another one takes writes now.

    Then the silent one is no longer the primary, and its answer will never come. If it is the same server or
    none, the silence may be a wait for a synchronous standby, which must not be cut short.
    """
    there = find_writer(conninfo)
    if there and there != server:
        raise psycopg.OperationalError("no answer, and another server is the primary by now")


def _configure(session: Session) -> None:
    """Prepare a new session: its settings, its rights, and what we must know of it."""
    try:
        # A pooler makes up the backend's number that it gives us for cancelling.
        session.identify()
        session.is_pooled = session.backend != session.info.backend_pid
        session.prepare_threshold = None
        if session.is_pooled:
            _require_settings(session)
        else:
            # All but default_transaction_read_only, which managed services set when a disk is nearly full.
            pin_settings(session)
            session.execute("set role exchange_gateway")  # which has the API's functions and nothing else
    except SettingError as error:
        session.close()
        raise ConnectionGone(one_line(error)) from error
    except BaseException:
        session.close()  # the pool would leave it open
        raise


def _require_settings(session: Session) -> None:
    """Refuse a pooler whose login role lacks a setting that we would make in our own session."""
    row = session.execute("select current_user").fetchone()
    wrong = [] if row == ("exchange_gateway",) else [f"role is {row[0] if row else 'unknown'}"]
    for name, setting, *_ in wrong_settings(session):
        is_deaf = name == "client_min_messages" and setting in ("error", "fatal", "panic")
        if name in _POOLED or is_deaf:
            wrong.append(f"{name} is {setting}")
    if wrong:
        raise ConnectionGone(
            "behind a pooler the login role must bring its settings (alter role … set …), "
            f"but {', '.join(wrong)}"
        )
