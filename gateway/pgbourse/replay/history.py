"""Read an exchange's history, and how it stands, from its database: all of one moment, in one order."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from pgbourse import __version__
from pgbourse.database.ledger import Connection
from pgbourse.database.migrate import connect
from pgbourse.database.rights import act_as
from pgbourse.errors import PgbourseError
from pgbourse.replay.lines import Line

__all__ = ["HistoryError", "header", "lines", "open_history", "read"]

_Row = tuple[str | None, ...]

# What a row has, in this order: the columns of the view exchange.history. Rows of a state lack the last ones.
_HISTORY = """
    select
        event, at, account_id, sym, order_id, other_order_id, side, shares, price, cash,
        ref, type, tif, post, stp, released_shares, executed_shares, canceled_shares,
        passed_order_ids
    from exchange.history
"""
_OPEN = """
    select
        'open', null, account_id, sym, order_id, null, side,
        trim_scale(open_shares), trim_scale(limit_price), null
    from exchange.order_book
"""
# Cash and shares that are reserved for orders between the two stages are free: nobody was told of those.
_FREE = """
    with free as (
        select account_key, symbol_key, trim_scale(sum(amount)) as amount
        from exchange.holdings
        where kind <> 'open'
        group by account_key, symbol_key
    )
    select
        case when free.symbol_key is null then 'cash' else 'position' end,
        null, account_id, sym, null, null, null,
        case when free.symbol_key is not null then free.amount end, null,
        case when free.symbol_key is null then free.amount end
    from free
    inner join exchange.accounts using (account_key)
    left join exchange.symbols using (symbol_key)
    where free.symbol_key is null or free.amount <> 0
    order by free.symbol_key is not null, account_key, free.symbol_key
"""
_HALTED = """
    select 'halted', halted_at, null, sym, null, null, null, null, null, null
    from exchange.symbols where halted_at is not null order by symbol_key
"""
_FROZEN = """
    select 'frozen', frozen_at, account_id, null, null, null, null, null, null, null
    from exchange.accounts where frozen_at is not null order by account_key
"""

_COUNTS = """
    select
        (select count(*) from exchange.accounts),
        (select count(*) from exchange.symbols),
        (select count(*) from exchange.orders),
        (select count(*) from exchange.executions),
        (select count(*) from exchange.resting_orders)
"""


class HistoryError(PgbourseError):
    """The history can't be read, or part of it isn't there."""

    exit_status = 2


@contextmanager
def open_history(database_url: str, name: str = "pgbourse export") -> Iterator[Connection]:
    """Connect to an exchange for the length of a with block, in which all that is read is of one moment.

    Needs the rights of exchange_reader. Raises HistoryError if the database has no exchange of this version,
    or the role may not read it; MigrationError if it can't be reached.
    """
    with connect(database_url, name) as connection:
        act_as(connection, "exchange_reader", "exchange_owner")
        try:
            with connection.transaction():
                connection.execute("set transaction isolation level repeatable read, read only")
                yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise HistoryError(
                "the database has no exchange of this version: run `pgbourse migrate`"
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            role = connection.info.user
            raise HistoryError(
                f'role {role} may not read the exchange: grant exchange_reader to "{role}"'
            ) from error


def header(connection: Connection) -> Line:
    """Return what the first line of a file says of the exchange: when it was so, and its counts."""
    counts = connection.execute(_COUNTS.encode()).fetchone()
    assert counts is not None
    names = ("accounts", "symbols", "orders", "fills", "open_orders")
    now = datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    return {"pgbourse": __version__, "at": now, **dict(zip(names, counts, strict=True))}


def lines(connection: Connection) -> Generator[Line]:
    """Read what happened, then how it stands, as the lines of a file. Holds a few rows at a time.

    Close it unless it is read to its end: the connection is busy until then.

    Raises HistoryError if an order that something happened to was moved out.
    """
    for query in (_HISTORY, _OPEN, _FREE, _HALTED, _FROZEN):
        with connection.cursor() as cursor, cursor.copy(f"copy ({query}) to stdout".encode()) as copy:
            rows: Callable[[], Iterator[_Row]] = copy.rows
            for row in rows():
                yield read(row)


def read(row: _Row) -> Line:
    """Turn a row into its line."""
    kind = row[0]
    assert kind is not None
    at, account, sym, order_id, other_id, side, shares, price, cash = row[1:10]
    match kind:
        case "order" | "replace":
            return _ordered(row)
        case "fill":
            told = {"buy": _id(order_id), "sell": _id(other_id), "sym": sym, "shares": shares, "price": price}
            return {"result": kind, **told, "at": _time(at)}
        case "cancel" | "reduce" | "canceled":
            if account is None:
                raise HistoryError(
                    f"order {order_id} was moved out, so the history is not whole: attach its partition again"
                )
            if kind == "canceled":
                by = {"id": _id(order_id), "by": _id(other_id)}
                return {"result": kind, **by, "account": account, "shares": shares, "at": _time(at)}
            told = {"id": _id(order_id), "account": account, "shares": shares, "at": _time(at)}
            return {"event": kind, **told}
        case "account":
            return {"event": kind, "account": account, "balance": cash, "at": _time(at)}
        case "symbol":
            return {"event": kind, "sym": sym, "at": _time(at)}
        case "grant":
            return {"event": kind, "account": account, "sym": sym, "shares": shares, "at": _time(at)}
        case "open":
            told = {"id": _id(order_id), "account": account, "sym": sym, "side": side}
            return {"state": kind, **told, "limit": price, "shares": shares}
        case "cash":
            return {"state": kind, "account": account, "cash": cash}
        case "position":
            return {"state": kind, "account": account, "sym": sym, "shares": shares}
        case "halted":
            return {"state": kind, "sym": sym, "at": _time(at)}
        case "frozen":
            return {"state": kind, "account": account, "at": _time(at)}
    raise AssertionError(kind)


def _ordered(row: _Row) -> Line:
    kind, at, account, sym, order_id, other_id, side, shares, price, cash = row[:10]
    ref, type_, tif, post, stp, released, executed, canceled, passed = row[10:]
    line: Line = {
        "event": kind,
        "id": _id(order_id),
        "replaced": None if other_id is None else int(other_id),
        "account": account,
        "sym": sym,
        "side": side,
        "shares": shares,
        "limit": price,
    }
    if post is not None:  # it said something beyond symbol, shares and limit
        line |= {"type": type_, "budget": cash, "ref": ref, "tif": tif, "post": post == "t", "stp": stp}
        line |= {"released": released, "executed": executed, "canceled": canceled, "passed": _ids(passed)}
    line["at"] = _time(at)
    return {name: value for name, value in line.items() if value is not None}


def _id(text: str | None) -> int:
    assert text is not None
    return int(text)


def _ids(text: str | None) -> list[int] | None:
    """Read an array as PostgreSQL writes it."""
    return None if text is None else [int(one) for one in text[1:-1].split(",")]


def _time(text: str | None) -> str:
    """Write a moment as ISO 8601 does: sessions of ours have it in UTC, as 2026-11-27 23:30:05.123456+00."""
    assert text is not None
    return f"{text[:10]}T{text[11:-3]}Z"
