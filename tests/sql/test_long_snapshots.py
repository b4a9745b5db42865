"""What a snapshot that is held for long may cost: what dies under it can't be removed, and must not be met.

Counted by the server's own statistics, without a clock.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.sql.market import Market, Request, replace

ACCOUNTS, SYMS, ORDERS = 100, 2, 50
# Of the book, each scan reads what it needs, some more orders, and what died since the last hint.
MOST_ENTRIES = 20
# An order looks up one balance or position and changes it. A look-up tries the versions of one generation at
# most, which are 16, and so does the check that a new one is unique.
MOST_BLOCKS = 10


@contextmanager
def held_snapshot(database: str) -> Iterator[None]:
    with psycopg.connect(database) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1")
        yield


def trade(market: Market, chance: random.Random, batches: int) -> None:
    for _ in range(batches):
        market.batch(
            [
                Request(
                    "place_order",
                    str(chance.randint(1, ACCOUNTS)),
                    f"S{chance.randint(1, SYMS)}",
                    str(chance.choice([1, -1]) * chance.randint(1, 9)),
                    str(100 + chance.randint(-10, 10)),
                )
                for _ in range(ORDERS)
            ]
        )


def measure_under_a_snapshot(market: Market, database: str) -> tuple[float, float]:
    """Trade under a snapshot for long; return what the last batches had to read.

    Index entries for each scan of the book, and blocks of balances and positions for each order.
    """
    for account in range(1, ACCOUNTS + 1):
        market.account(str(account), 10**9)
        for sym in range(1, SYMS + 1):
            market.grant(str(account), f"S{sym}", 10**6)
    chance = random.Random(1)
    trade(market, chance, 20)
    with held_snapshot(database):
        trade(market, chance, 250)
        market.connection.execute("select pg_stat_force_next_flush()")
        market.connection.execute("select pg_stat_reset()")
        trade(market, chance, 30)
    market.connection.execute("select pg_stat_force_next_flush()")
    row = market.connection.execute(
        """
        select
            (
                select idx_tup_read::float / idx_scan
                from pg_stat_user_indexes
                where indexrelname = 'resting_orders_pkey'
            ),
            (
                select sum(heap_blks_hit + heap_blks_read)::float / %s
                from pg_statio_user_tables
                where relname in ('balances', 'positions')
            )
        """,
        [30 * ORDERS],
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_look_ups_stay_short(market: Market, database: str) -> None:
    entries, blocks = measure_under_a_snapshot(market, database)
    assert entries <= MOST_ENTRIES
    assert blocks <= MOST_BLOCKS
    assert market.connection.execute("select 1 from exchange.book_hints").fetchone() is not None
    assert market.violations() == []


def test_without_generations_they_get_long(market: Market, database: str) -> None:
    replace(market.connection, "generation", "select 0::bigint", "sql")
    _, blocks = measure_under_a_snapshot(market, database)
    assert blocks > MOST_BLOCKS


def test_without_hints_they_get_long(market: Market, database: str) -> None:
    replace(market.connection, "note_book_hints", "begin end")
    entries, _ = measure_under_a_snapshot(market, database)
    assert entries > MOST_ENTRIES


OWED, ROUNDS = 200, 60


def measure_a_sweep(market: Market, database: str) -> int:
    """Owe accounts something and sweep, again and again under a snapshot; return what the last sweep read.

    Index entries of credits, for a row to each account.
    """
    for account in range(1, ACCOUNTS + 1):
        market.account(str(account), 1)
    market.grant("1", "S1", 1)
    market.connection.execute("analyze exchange.balances")
    # The plans that the session keeps are made while there is nothing.
    for _ in range(10):
        market.connection.execute("select exchange.settle_idle_accounts()")

    def owe_and_sweep(rows: int) -> None:
        market.connection.execute(
            "insert into exchange.credits (account_key, symbol_key, shares, cash) "
            "select 1 + place %% %s, 1, 0, 1 from generate_series(1, %s) as place",
            [ACCOUNTS, rows],
        )
        market.connection.execute("select exchange.settle_idle_accounts()")

    with held_snapshot(database):
        for _ in range(ROUNDS):
            owe_and_sweep(OWED)
        market.connection.execute("select pg_stat_force_next_flush()")
        market.connection.execute("select pg_stat_reset()")
        owe_and_sweep(ACCOUNTS)
    market.connection.execute("select pg_stat_force_next_flush()")
    row = market.connection.execute(
        "select idx_tup_read, seq_scan from pg_stat_user_indexes "
        "inner join pg_stat_user_tables using (relid) where indexrelname = 'credits_pkey'"
    ).fetchone()
    assert row is not None
    assert row[1] <= 1  # however many accounts
    assert market.cash("7") == str(1 + (OWED * ROUNDS + ACCOUNTS) // ACCOUNTS)
    return int(row[0])


@pytest.mark.parametrize("by_account", [True, False])
def test_a_sweep_steps_over_little(market: Market, database: str, by_account: bool) -> None:
    """Each account is owed one row. A sweep finds it once more to delete it."""
    if by_account:
        # There are 12,000 dead rows: more pages than accounts.
        assert measure_a_sweep(market, database) <= 3 * ACCOUNTS
        assert market.connection.execute("select exchange.credits_are_many()").fetchone() == (True,)
    else:
        replace(market.connection, "credits_are_many", "select false", "sql")
        assert measure_a_sweep(market, database) <= 3 * ACCOUNTS


def test_a_sweep_of_all_that_ever_was_steps_over_all_of_it(market: Market, database: str) -> None:
    replace(market.connection, "settled_since", "select '0'::xid8", "sql")
    assert measure_a_sweep(market, database) > OWED * ROUNDS
