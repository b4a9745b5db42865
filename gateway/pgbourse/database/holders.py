"""Who holds symbols and accounts for long, in words for a log, a probe or a screen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

__all__ = ["Holder", "describe", "holders_line"]

_TOLD = 3  # sessions, symbols or accounts of a line; the rest are counted

_QUERY = """
    select
        pid, application_name, username, state, extract(epoch from held_for)::float8,
        creates, coalesce(symbols, '{}'), accounts
    from exchange.lock_holders(%s::numeric)
"""


class Holder(NamedTuple):
    """A session in an open transaction, and what is the market's that it holds: a row of lock_holders."""

    pid: int | None  # None: a transaction that is prepared
    application_name: str | None
    username: str | None
    state: str | None
    seconds: float | None  # None: we may not see it
    creates: bool
    symbols: Sequence[str]
    accounts: Sequence[str] | None  # empty: some, but nobody can tell which


def holders_line(connection: psycopg.Connection[Any], seconds: float = 1.0) -> str:
    """Ask the database, and say who has held what for so many seconds; an empty string if nobody has.

    As in `pid 4711 (psql, alice) has held symbol SPY for 12 s, idle in transaction`. The answer takes some
    milliseconds, and longer where accounts are many and somebody holds one: ask every few seconds at most.
    """
    return describe([Holder(*row) for row in connection.execute(_QUERY, [seconds]).fetchall()])


def describe(holders: Sequence[Holder]) -> str:
    """Say who holds what on one line; an empty string for nobody."""
    told = [_describe(holder) for holder in holders[:_TOLD]]
    if len(holders) > _TOLD:
        told.append(f"{len(holders) - _TOLD} more")
    return "; ".join(told)


def _describe(holder: Holder) -> str:
    names = ", ".join(name for name in (holder.application_name, holder.username) if name)
    who = "a prepared transaction" if holder.pid is None else f"pid {holder.pid}"
    parts = ["the lock of creation"] if holder.creates else []
    parts += _list("symbol", holder.symbols)
    parts += ["accounts"] if holder.accounts == [] else _list("account", holder.accounts or ())
    line = f"{who}{f' ({names})' if names else ''} has held {' and '.join(parts)}"
    line += f" for {holder.seconds:.0f} s" if holder.seconds is not None else " for some time"
    return f"{line}, {holder.state}" if holder.state and holder.pid is not None else line


def _list(noun: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    told = ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")
    return [f"{noun}{'s' * (len(names) > 1)} {told}"]
