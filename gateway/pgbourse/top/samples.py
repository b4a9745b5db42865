"""What top reads: an exchange's database, as exchange_reader may see it, and a gateway's metrics.

A sample holds plain counters; pgbourse.top.screen turns two of them into rates. Every query is short and
touches little, however long the history is.
"""

import http.client
import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from psycopg.rows import class_row

from pgbourse.database.conninfo import connect
from pgbourse.database.holders import holders_line
from pgbourse.errors import PgbourseError

__all__ = [
    "DatabaseSample",
    "DatabaseSampler",
    "GatewaySample",
    "Market",
    "Sessions",
    "TopError",
    "Totals",
    "sample_gateway",
]

_SYMBOLS = 200  # at most so many, the busiest first; more than a terminal has lines
_RECENT_ORDERS = 1000  # their symbols are shown even when nothing is going on
_SCRAPE_SECONDS = 2.0

# Watching the exchange must not slow it down, and nothing that a role or a database sets may change what is
# seen. All of it ends with the transaction: behind a pooler, others get the session next.
_SESSION = """
    set transaction isolation level read committed, read only;
    set local search_path = '';
    set local statement_timeout = '5s';
    set local lock_timeout = 0;
    set local extra_float_digits = 1;
    set local jit = off
"""
_MAY_BE_READER = """
    select pg_has_role(
        session_user,
        oid,
        case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end
    )
    from pg_roles
    where rolname = 'exchange_reader'
"""

_TOTALS = """
    select
        coalesce((select max(order_id) from exchange.orders), 0) as orders,
        coalesce((select max(execution_id) from exchange.executions), 0) as executions,
        xact_commit as commits,
        xact_rollback as rollbacks,
        blks_hit as blocks_hit,
        blks_read as blocks_read,
        (active_time / 1000)::float8 as active_seconds,
        (
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end - '0/0'
        )::float8 as wal_bytes,
        pg_stat_get_live_tuples('exchange.resting_orders'::regclass) as open_orders,
        pg_stat_get_live_tuples('exchange.credits'::regclass) as credits
    from pg_stat_database
    where datname = current_database()
"""

_SESSIONS = """
    select
        count(*) filter (where wait_event_type = 'Lock') as waiting,
        count(*) filter (where state like 'idle in transaction%') as idle_in_transaction,
        extract(epoch from clock_timestamp() - min(xact_start))::float8 as oldest_transaction,
        (
            select extract(epoch from clock_timestamp() - min(pg_locks.waitstart))::float8
            from pg_locks
            inner join pg_stat_activity as waiting using (pid)
            where not pg_locks.granted and waiting.datname = current_database()
        ) as longest_wait
    from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""

_MARKETS = """
    with placed as (
        select symbol_key, count(*) filter (where order_id > %(orders)s) as orders, max(order_id) as latest
        from exchange.orders
        where order_id > least(%(orders)s, %(recent)s)
        group by symbol_key
    ),

    traded as (
        select symbol_key, count(*) as trades, sum(shares) as shares
        from exchange.executions
        where execution_id > %(executions)s
        group by symbol_key
    ),

    -- The newest update of a symbol knows its best orders; the book itself may begin with many dead rows.
    quoted as (
        select symbols.symbol_key
        from exchange.symbols
        cross join lateral (
            select updates.bid_id, updates.ask_id
            from exchange.updates
            where updates.symbol_key = symbols.symbol_key
            order by updates.seq desc
            limit 1
        ) as newest
        where newest.bid_id > 0 or newest.ask_id > 0
        limit %(limit)s
    ),

    busiest as (
        select
            symbol_key,
            coalesce(placed.orders, 0) as orders,
            coalesce(traded.trades, 0) as trades,
            coalesce(traded.shares, 0) as shares
        from placed
        full join traded using (symbol_key)
        full join quoted using (symbol_key)
        order by 2 desc, 3 desc, placed.latest desc nulls last
        limit %(limit)s
    )

    select
        symbols.sym, busiest.orders, busiest.trades, busiest.shares, best.bid, best.bid_shares,
        best.ask, best.ask_shares, best.spread, best.halted_at is not null as halted, locked.waiters,
        extract(epoch from locked.longest_wait)::float8 as longest_wait
    from busiest
    inner join exchange.symbols using (symbol_key)
    inner join exchange.best_bid_ask as best using (sym)
    inner join exchange.symbol_locks as locked using (sym)
    order by busiest.orders desc, busiest.trades desc, symbols.sym
"""


class TopError(PgbourseError):
    """The database or the metrics can't be read."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The database's counters, which only grow, and estimates from its statistics."""

    orders: int  # the latest order's id
    executions: int  # the latest fill's id
    commits: int
    rollbacks: int
    blocks_hit: int
    blocks_read: int
    active_seconds: float  # spent in statements by all sessions
    wal_bytes: float
    open_orders: int
    credits: int


@dataclass(frozen=True, slots=True)
class Sessions:
    """What other sessions are doing now; times in seconds."""

    waiting: int  # for a lock
    idle_in_transaction: int
    oldest_transaction: float | None
    longest_wait: float | None  # for a lock


@dataclass(frozen=True, slots=True)
class Market:
    """One symbol: orders, fills and shares traded in the interval, and the top of its book now."""

    sym: str
    orders: int
    trades: int
    shares: Decimal
    bid: Decimal | None
    bid_shares: Decimal | None
    ask: Decimal | None
    ask_shares: Decimal | None
    spread: Decimal | None
    halted: bool
    waiters: int  # for the symbol's lock
    longest_wait: float | None  # seconds


@dataclass(frozen=True, slots=True)
class DatabaseSample:
    """The database at one moment; `at` and `since` by time.monotonic()."""

    at: float
    totals: Totals
    sessions: Sessions
    since: float | None  # the start of the markets' interval; None if there is none yet
    markets: tuple[Market, ...]
    held: str = ""  # who holds symbols or accounts for long, in words


@dataclass(frozen=True, slots=True)
class GatewaySample:
    """A gateway's counters at one moment, `at` by time.monotonic()."""

    at: float
    requests: Mapping[str, float]  # by kind
    refused: float
    latency: tuple[tuple[float, float], ...]  # of documents: upper bound in seconds, number below it
    batches: float
    batched_documents: float
    connections: float
    queue_documents: float
    draining: bool


class DatabaseSampler:
    """A connection that takes samples, reopened after each failure."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection | None = None
        self.name = ""  # of the database, its server's version and address, once connected

    def sample(self, since: DatabaseSample | None) -> DatabaseSample:
        """Read the database's counters, and what has happened in its markets since an earlier sample.

        Raises TopError if the database is out of reach, holds no exchange or may not be read, and
        ConninfoError if nobody can read the connection string.
        """
        try:
            connection = self._connection = self._connection or self._connect()
            with connection.transaction():
                connection.execute(_SESSION)
                if connection.execute(_MAY_BE_READER).fetchone() == (True,):
                    connection.execute("set local role exchange_reader")
                totals, sessions, markets = _read(connection, since)
                held = holders_line(connection)
        except psycopg.Error as error:
            self.close()
            raise TopError(_explain(error)) from error
        return DatabaseSample(time.monotonic(), totals, sessions, since.at if since else None, markets, held)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection:
        connection = connect(self._conninfo, application_name="pgbourse top", connect_timeout=5)
        connection.prepare_threshold = None  # a pooler's next session would not know the statement
        info = connection.info
        version = (info.parameter_status("server_version") or "").split()[0]
        where = "this machine" if info.host.startswith("/") else info.host
        self.name = f"{info.dbname} on {where}, PostgreSQL {version}"
        return connection


def _read(
    connection: psycopg.Connection, since: DatabaseSample | None
) -> tuple[Totals, Sessions, tuple[Market, ...]]:
    with connection.cursor(row_factory=class_row(Totals)) as cursor:
        totals = cursor.execute(_TOTALS).fetchone()
    with connection.cursor(row_factory=class_row(Sessions)) as cursor:
        sessions = cursor.execute(_SESSIONS).fetchone()
    assert totals is not None
    assert sessions is not None
    start = {
        "orders": since.totals.orders if since else totals.orders,
        "executions": since.totals.executions if since else totals.executions,
        "recent": totals.orders - _RECENT_ORDERS,
        "limit": _SYMBOLS,
    }
    with connection.cursor(row_factory=class_row(Market)) as cursor:
        return totals, sessions, tuple(cursor.execute(_MARKETS, start).fetchall())


def sample_gateway(url: str) -> GatewaySample:
    """Read a gateway's metrics, which `pgbourse serve --http-port` offers under /metrics.

    Raises TopError if nothing answers, or something other than a gateway.
    """
    try:
        with urllib.request.urlopen(url, timeout=_SCRAPE_SECONDS) as answer:
            text = answer.read().decode()
        values = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TopError(f"no metrics from {url}") from error
    requests: defaultdict[str, float] = defaultdict(float)
    latency: list[tuple[float, float]] = []
    plain: defaultdict[str, float] = defaultdict(float)
    refused = 0.0
    for sample in values:
        if sample.name == "pgbourse_requests_total":
            requests[sample.labels["kind"]] += sample.value
            refused += sample.value if sample.labels["outcome"] == "refused" else 0
        elif sample.name == "pgbourse_document_latency_seconds_bucket":
            latency.append((float(sample.labels["le"]), sample.value))
        else:
            plain[sample.name] = sample.value
    if "pgbourse_connections" not in plain:
        raise TopError(f"{url} has no metrics of a pgbourse")
    return GatewaySample(
        time.monotonic(),
        requests,
        refused,
        tuple(sorted(latency)),
        plain["pgbourse_batch_documents_count"],
        plain["pgbourse_batch_documents_sum"],
        plain["pgbourse_connections"],
        plain["pgbourse_queue_documents"],
        plain["pgbourse_draining"] > 0,
    )


def _explain(error: psycopg.Error) -> str:
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.InvalidSchemaName():
            return "the database is no exchange of this version: run `pgbourse migrate`"
        case psycopg.errors.InsufficientPrivilege():
            return "the role may not read the exchange: grant exchange_reader to it"
        case psycopg.OperationalError():
            return "can't reach the database"
    return "the database can't be read"
