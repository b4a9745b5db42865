"""The gateway's way into the database: one connection a thread, one call of the exchange a batch.

What a lost answer means is different for each call:

- process_batch: the fate of its requests is unknown, and asking again could do them twice.
- reserve: nobody was told anything and nothing is in the market, so it may be asked again, once the lost
  session has been ended in the server and what it had reserved has been given back. `connect` does both.
- match: it takes each order once, whoever asks and however often. So it may be asked again, and must be:
  nobody else ends what is reserved while the session that reserved it lives. What is matched then was not
  before; of what is gone by then nobody knows whether it was matched or given back.
- withdraw: it gives back what is still there, whoever asks and however often.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import PoolTimeout

from pgbourse.database.conninfo import ConninfoError
from pgbourse.errors import one_line
from pgbourse.serve.answers import CallFailed, FateUnknown, Locked, ReadOnly
from pgbourse.serve.conversation import Conversation, Rows
from pgbourse.serve.sessions import ConnectionGone, DatabaseError, Session, WorkerPool, worker_pool
from pgbourse.wire.messages import ResultRow

__all__ = [
    "CallFailed",
    "Caller",
    "ConnectionGone",
    "DatabaseError",
    "FateUnknown",
    "Locked",
    "Matched",
    "ReadOnly",
    "Reserved",
]

# What ResultRow._make does, in 0.12 instead of 0.19 microseconds a row.
_as_result_row: Callable[[tuple[Any, ...]], ResultRow] = partial(tuple.__new__, ResultRow)

_CALLS = {
    b"process_batch": b"select request, outcome, order_id, shares, price, at, code, message, sym, amount, "
    b"ref from exchange.process_batch($1, $2, $3)",
    b"reserve": b"select request, incoming_id, address, slot, code, message, outcome, order_id, shares from "
    b"exchange.reserve_orders($1, $2)",
    b"match": b"select place, outcome, order_id, code, message, shares from "
    b"exchange.match_orders($1, $2, $3, $4)",
    b"withdraw": b"select exchange.withdraw_orders($1)",
}


class Reserved(NamedTuple):
    """An order that is reserved for and not in the market yet; or, without an incoming_id, why it is not.

    It may have been placed before: then its answer is `known`.
    """

    request: int
    incoming_id: int | None
    address: str
    slot: int
    code: str | None  # also "later" and "locked", where it may be asked again
    message: str | None
    known: Sequence[ResultRow] | None  # None unless the order had been placed before
    server: str  # which start of which server: another one, which may have lost it, draws such ids again


class Matched(NamedTuple):
    """What became of the order in this place of those that were to be matched."""

    place: int
    outcome: str  # opened, refused, later (it is still reserved for) or gone (its reservation was given back)
    order_id: int | None
    code: str | None
    message: str | None
    more: Sequence[ResultRow] | None  # what else its client is to be told


_as_reserved: Callable[[tuple[Any, ...]], Reserved] = partial(tuple.__new__, Reserved)
_as_matched: Callable[[tuple[Any, ...]], Matched] = partial(tuple.__new__, Matched)

_GONE = Matched(0, "gone", None, None, None, None)


class Caller:
    """Calls the exchange's functions for one thread, on its own session.

    `connect` opens the session, and reopens it after each loss.
    """

    def __init__(
        self,
        conninfo: str,
        name: str,
        lock_timeout: int = 0,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        """Take a libpq connection string (several hosts allowed) and the application name to show.

        No call waits for a lock longer than `lock_timeout` milliseconds, if it isn't 0 or behind a pooler.
        `on_answer` is called when a call is answered, whose locks are free then, and its barrier isn't yet.
        """
        self._conninfo = conninfo
        self._name = name
        self._lock_timeout = lock_timeout
        self._on_answer = on_answer
        self._pool: WorkerPool | None = None
        self.connection: Session | None = None  # None while there is none
        self._conversation: Conversation | None = None  # on this session
        self._lost: Session | None = None  # the one before, which may live on in the server
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
            self._conversation = Conversation(connection, self._conninfo, _CALLS, on_answer=self._on_answer)
            if not connection.is_pooled:
                self._begin(connection)
        except BaseException as error:
            self.disconnect()
            if isinstance(error, psycopg.Error):
                raise ConnectionGone(one_line(error)) from error
            raise

    def _begin(self, connection: Session) -> None:
        """Leave nothing behind of the session that was lost, and let the server know that this one lives."""
        if self._lost is not None:
            connection.end(self._lost)
        if not connection.is_read_only:
            connection.execute("select exchange.begin_session(), exchange.give_back_orphans()")
        connection.execute(f"set lock_timeout = {self._lock_timeout}".encode())
        self._lost = connection

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

    def process_batch(self, requests: bytes, certified: bool = False, waits: bool = True) -> list[ResultRow]:
        """Carry out one batch and return its result rows, ordered by request; all is then durable.

        `requests` is a literal of exchange.request[]. If `certified`, what the certificate that a request
        names may not do is refused. Unless it `waits`, what needs a lock that somebody else has is not done.

        Raises CallFailed, Locked, ConnectionGone, ReadOnly or FateUnknown.
        """
        parameters = [requests, _boolean(certified), _boolean(waits)]
        return list(map(_as_result_row, self._call(b"process_batch", parameters)))

    def reserve(self, requests: bytes, certified: bool = False) -> list[Reserved]:
        """Take what orders can cost from their accounts, without waiting; return a row for each, in order.

        The commit is not waited for. A refusal may depend on what others have not made durable either: tell
        it after a `flush`, or a later call of another kind.

        Raises CallFailed, ConnectionGone or ReadOnly.
        """
        server = self._server()
        try:
            rows = self._call(b"reserve", [requests, _boolean(certified)], barrier=False)
        except FateUnknown as error:
            raise ConnectionGone(str(error)) from error
        return _reserved(rows, server)

    def match(self, orders: Sequence[Reserved], waits: bool = True) -> list[Matched]:
        """Let orders into the market; return a row for each, in order. All is then durable.

        Unless it `waits`, those whose symbol somebody else has are left as they are.

        Raises CallFailed, Locked, ConnectionGone, ReadOnly or FateUnknown.
        """
        server = self._server()
        known = [order for order in orders if order.server == server]
        if len(known) < len(orders):
            self._require_newest()
        parameters = [
            _array(order.incoming_id for order in known),
            _array(f'"{order.address}"' for order in known),
            _array(order.slot for order in known),
            _boolean(waits),
        ]
        matched = _matched(self._call(b"match", parameters)) if known else []
        if len(known) == len(orders):
            return matched
        answers = iter(matched)
        return [
            (next(answers) if order.server == server else _GONE)._replace(place=place)
            for place, order in enumerate(orders, 1)
        ]

    def withdraw(self, orders: Sequence[Reserved]) -> None:
        """Give back what is reserved for orders that won't be matched, if it still is. That is then durable.

        Raises CallFailed, ConnectionGone, ReadOnly or FateUnknown.
        """
        server = self._server()  # another start of it may have given such ids to others' orders
        ids = _array(order.incoming_id for order in orders if order.server == server)
        self._call(b"withdraw", [ids])

    def flush(self) -> None:
        """Return once all that had committed before is durable. Raises ConnectionGone or FateUnknown."""
        self._call(b"barrier", (), barrier=False)

    def _require_newest(self) -> None:
        """Raise ConnectionGone if it is our session that is of an earlier start of the server, or of another.

        Then it has ended, or a barrier doesn't come to its end on what is no longer the primary.
        """
        try:
            self.flush()
        except FateUnknown as error:
            raise ConnectionGone(str(error)) from error

    def _server(self) -> str:
        if self.connection is None:
            raise ConnectionGone("not connected")
        return self.connection.server

    def _call(self, name: bytes, parameters: Sequence[bytes], *, barrier: bool = True) -> Rows:
        if self._conversation is None:
            raise ConnectionGone("not connected")
        started = time.monotonic()
        try:
            return self._conversation.call(name, parameters, barrier=barrier)
        except (ConnectionGone, FateUnknown):
            self.disconnect()
            raise
        finally:
            self.seconds += time.monotonic() - started


def _reserved(rows: Rows, server: str) -> list[Reserved]:
    """Return one for each request. Those that are known have several rows, which come last."""
    rest = (None, server)
    if not rows or rows[-1][6] is None:
        return [_as_reserved(row[:6] + rest) for row in rows]
    reserved: list[Reserved] = []
    for _, (first, *more) in groupby(sorted(rows, key=itemgetter(0)), itemgetter(0)):
        known = [ResultRow(0, *row[6:]) for row in (first, *more)] if first[6] is not None else None
        reserved.append(_as_reserved((*first[:6], known, server)))
    return reserved


def _matched(rows: Rows) -> list[Matched]:
    """Return one for each place: nearly always each row is one, without shares."""
    if not rows or rows[-1][0] == len(rows):
        return list(map(_as_matched, rows))
    matched: list[Matched] = []
    for _, (first, *more) in groupby(rows, itemgetter(0)):
        told = [ResultRow(0, outcome, order_id, shares) for _, outcome, order_id, _, _, shares in more]
        matched.append(_as_matched((*first[:5], told)))
    return matched


def _boolean(value: bool) -> bytes:
    return b"true" if value else b"false"


def _array(values: Iterable[object]) -> bytes:
    """Write an array literal of values whose text needs no quotes, or has them."""
    return f"{{{','.join(map(str, values))}}}".encode("ascii")
