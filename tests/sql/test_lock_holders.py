"""lock_holders tells which sessions hold symbols and accounts for long, to whoever may ask."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.market import Connection, Market, Session, meeting

HOLDERS = (
    "select pid, state, held_for > '0', creates, symbols, accounts "
    "from exchange.lock_holders(%s) order by pid"
)


@pytest.fixture
def market(market: Market) -> Market:
    """Two accounts and two symbols. What the test itself holds isn't told."""
    for account in ("1", "2"):
        market.account(account, 100)
        market.grant(account, "X", 10)
        market.grant(account, "Y", 10)
    return market


@pytest.fixture
def holder(database: str, market: Market) -> Iterator[Session]:
    """A session in an open transaction."""
    with meeting(database, 1) as (session,):
        session.begin()
        yield session


def holders(connection: Connection, seconds: float = 0) -> list[Any]:
    return connection.execute(HOLDERS.encode(), [seconds]).fetchall()


def test_who_holds_nothing_is_not_told(market: Market, holder: Session) -> None:
    holder.connection.execute("select * from exchange.balances")
    holder.connection.execute("create table public.other ()")
    assert holders(market.connection) == []
    with market.connection.transaction():
        market.place("1", "X", 1, 1)
        assert holders(market.connection) == []


def test_an_order_holds_its_symbol_and_its_account(market: Market, holder: Session) -> None:
    holder.market.place("1", "X", 1, 1)
    expected = (holder.pid, "idle in transaction", True, False, ["X"], ["1"])
    assert holders(market.connection) == [expected]
    for role in ("exchange_gateway", "exchange_reader"):
        market.connection.execute(f"set role {role}".encode())
        assert holders(market.connection) == [expected]
    market.connection.execute("reset role")
    assert holders(market.connection, 100) == []
    holder.commit()
    assert holders(market.connection) == []


@pytest.mark.parametrize(
    ("statement", "accounts"),
    [
        ("select * from exchange.balances order by account_key for update", ["1", "2"]),
        ("update exchange.balances set cash = cash where account_key = 2", ["2"]),
        ("savepoint one; update exchange.balances set cash = cash where account_key = 2", ["2"]),
        ("savepoint one; update exchange.balances set cash = cash; release one", []),
    ],
)
def test_a_row_that_psql_has_is_an_account(
    market: Market, holder: Session, statement: str, accounts: list[str]
) -> None:
    holder.connection.execute(statement.encode())
    assert holders(market.connection) == [(holder.pid, "idle in transaction", True, False, None, accounts)]


def test_sessions_are_told_apart(database: str, market: Market, holder: Session) -> None:
    with meeting(database, 1) as (second,):
        second.begin()
        second.connection.execute("select exchange.create_symbol('Z')")
        holder.connection.execute("select exchange.halt_symbol('Y')")
        found = {row[0]: row[3:] for row in holders(market.connection)}
    assert found == {second.pid: (True, None, None), holder.pid: (False, ["Y"], None)}


def test_names_are_told_and_queries_are_not(database: str, market: Market) -> None:
    with psycopg.connect(database, application_name="a psql") as other:
        other.execute("select exchange.halt_symbol('Y'), 'secret'")
        row = market.connection.execute(
            "select application_name, username = session_user, holders::text "
            "from exchange.lock_holders(0) as holders"
        ).fetchone()
    assert row is not None
    assert row[:2] == ("a psql", True)
    assert "secret" not in row[2]


def test_without_the_right_to_see_times_every_holder_is_told(market: Market, holder: Session) -> None:
    holder.market.place("1", "X", 1, 1)
    with market.connection.transaction(force_rollback=True):
        market.connection.execute(
            "create role curious; alter function exchange.lock_holders owner to curious"
        )
        market.connection.execute("grant exchange_reader to curious")
        market.connection.execute("revoke pg_read_all_stats from exchange_reader")
        market.connection.execute("grant execute on all functions in schema exchange to curious")
        assert holders(market.connection, 100) == [(holder.pid, None, None, False, ["X"], ["1"])]
