"""The feed's way into the database: what has happened to books, and how they stand.

Nothing is told before it is durable. Whatever these statements have read was committed before they commit
themselves, with a message that has to be flushed: so when that has succeeded, all of it is durable, also on a
synchronous standby. A statement that read nothing has nothing to flush.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import psycopg
from psycopg_pool import PoolTimeout

from pgbourse.database.conninfo import ConninfoError
from pgbourse.errors import one_line
from pgbourse.serve.answers import FateUnknown
from pgbourse.serve.conversation import EMIT, Conversation, Rows
from pgbourse.serve.sessions import ConnectionGone, Session, WorkerPool, worker_pool
from pgbourse.wire.feed import Event, Order, Subscription

__all__ = ["Book", "FeedSource", "Start"]

# In the first row alone: a row would be too many for each, and a join might be put off or left out.
_FLUSH = b"case row_number() over () when 1 then %b end" % EMIT

_CALLS = {
    b"subscribe": b"select place, outcome, symbol_key, seq, message, %b from exchange.subscribe($1, $2, $3)"
    % _FLUSH,
    b"snapshot": b"select seq, halted, order_id, side, price, shares, %b from exchange.snapshot_book($1)"
    % _FLUSH,
    b"updates": b"select symbol_key, seq, extract(epoch from updated_at), kind, side, order_id, "
    b"sell_order_id, price, shares, %b from exchange.read_updates($1, $2, $3)" % _FLUSH,
}


class Start(NamedTuple):
    """How a feed of a symbol begins: resumed, snapshot or refused."""

    outcome: str
    symbol_key: int | None
    seq: int | None
    message: str | None  # why it is refused


class Book(NamedTuple):
    """A whole book, after the update with this number."""

    seq: int
    halted: bool
    orders: Sequence[Order]


class FeedSource:
    """Reads for one thread, on its own session. `connect` opens it, and reopens it after each loss.

    Everything else raises ConnectionGone or FateUnknown if the session is lost, after which the same may be
    read again, or another DatabaseError.
    """

    def __init__(self, conninfo: str, name: str) -> None:
        """Take a libpq connection string, of several hosts if need be, and the application name to show."""
        self._conninfo = conninfo
        self._name = name
        self._pool: WorkerPool | None = None
        self._session: Session | None = None
        self._conversation: Conversation | None = None
        self.server = ""  # which start of which server answers, or has answered last

    @property
    def is_open(self) -> bool:
        """Whether there is a session."""
        return self._session is not None

    def connect(self) -> None:
        """Connect unless we are connected. Raises ConnectionGone."""
        if self._session is not None:
            return
        try:
            if self._pool is None:
                self._pool = worker_pool(self._conninfo, self._name)
            self._session = session = self._pool.getconn(timeout=self._pool.timeout)
        except (psycopg.Error, PoolTimeout, ConninfoError) as error:
            raise ConnectionGone(one_line(error)) from error
        try:
            if session.is_standby:
                raise ConnectionGone("the server is a standby, and the exchange needs the primary")
            self._conversation = Conversation(session, self._conninfo, _CALLS, with_barriers=True)
            self.server = session.server
        except BaseException as error:
            self.disconnect()
            if isinstance(error, psycopg.Error):
                raise ConnectionGone(one_line(error)) from error
            raise

    def disconnect(self) -> None:
        """End the session; `connect` opens another."""
        session, self._session, self._conversation = self._session, None, None
        if session is not None and self._pool is not None:
            session.close()
            self._pool.putconn(session)

    def close(self) -> None:
        """End the session for good."""
        self.disconnect()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def subscribe(self, asked: Sequence[Subscription], names: Sequence[str | None] | None) -> list[Start]:
        """Return how each feed begins. `names` are of the certificates, where clients must have one."""
        parameters = [
            _array([one.sym for one in asked]),
            _array([one.first for one in asked]),
            None if names is None else _array([None if name is None else _quoted(name) for name in names]),
        ]
        rows = self._call(b"subscribe", parameters)
        return [Start(*row[1:5]) for row in sorted(rows, key=itemgetter(0))]

    def snapshot(self, symbol_key: int) -> Book:
        """Return the book of a symbol."""
        (seq, halted, *_), *orders = self._call(b"snapshot", [b"%d" % symbol_key])
        return Book(seq, halted, [Order(*row[2:6]) for row in orders])

    def updates(
        self, symbol_keys: Sequence[int], after: Sequence[int], most: int
    ) -> list[tuple[int, list[Event]]]:
        """Return the events of each symbol's updates after the one that is known, of so many at most."""
        rows = self._call(b"updates", [_array(symbol_keys), _array(after), b"%d" % most])
        return [
            (symbol_key, [Event(*row[1:9]) for row in of_one])
            for symbol_key, of_one in groupby(rows, itemgetter(0))
        ]

    def _call(self, name: bytes, parameters: Sequence[bytes | None]) -> Rows:
        if self._conversation is None:
            raise ConnectionGone("not connected")
        try:
            return self._conversation.call(name, parameters)
        except (ConnectionGone, FateUnknown):
            self.disconnect()
            raise


def _array(values: Sequence[object]) -> bytes:
    """Write an array literal of values whose text needs no quotes, or has them; None is null."""
    return f"{{{','.join(['null' if value is None else str(value) for value in values])}}}".encode("ascii")


def _quoted(name: str) -> str:
    """Quote printable ASCII for an array."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
