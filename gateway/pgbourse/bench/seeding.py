"""Years of trading in seconds: history and a deep book, as sound as if clients had made them."""

from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

__all__ = ["seed_history", "seed_resting"]

# Orders come in fours: A buys from B, then B buys the same from A at the same price. So nobody's cash or
# shares change, and each order matches only its counterpart.
_HISTORY: LiteralString = """
with
people as (
    select array_agg(accounts.account_key order by accounts.account_key) as keys from exchange.accounts
),
traded as (
    select array_agg(symbols.symbol_key order by symbols.symbol_key) as keys from exchange.symbols
),
pairs as (
    select
        pair,
        people.keys[1 + (pair / 2 + pair %% 2) %% cardinality(people.keys)] as buyer,
        people.keys[1 + (pair / 2 + (pair + 1) %% 2) %% cardinality(people.keys)] as seller,
        traded.keys[1 + (pair / 2) %% cardinality(traded.keys)] as symbol_key,
        1 + (pair / 2) %% 99 as shares,
        95 + (pair / 2) %% 41 * 0.25 as price,
        first.order_id + 2 * pair as buy_order_id,
        first.order_id + 2 * pair + 1 as sell_order_id
    from people
    cross join traded
    cross join (select coalesce(max(orders.order_id), 0) + 1 as order_id from exchange.orders) as first
    cross join generate_series(0, %(orders)s::integer / 2 - 1) as pair
),
placed as (
    insert into exchange.orders (order_id, account_key, symbol_key, side, shares, limit_price, placed_at)
    select buy_order_id, buyer, symbol_key, 'buy'::exchange.side, shares, price, now() from pairs
    union all
    select sell_order_id, seller, symbol_key, 'sell'::exchange.side, shares, price, now() from pairs
    order by 1
),
-- The last update of each symbol. Those before it have been forgotten.
told as (
    insert into exchange.updates
    (symbol_key, seq, updated_at, bid_rank, bid_id, ask_rank, ask_id, last_price, last_at, events)
    select distinct on (symbol_key)
        symbol_key,
        1 + count(*) over (partition by symbol_key),
        now(),
        'Infinity',
        0,
        'Infinity',
        0,
        price,
        now(),
        array[('trade', 'buy', buy_order_id, sell_order_id, price, shares)::exchange.update_event]
    from pairs
    order by symbol_key, pair desc
)
insert into exchange.executions (
    symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit, executed_at
)
select symbol_key, buy_order_id, sell_order_id, shares, price, price, price, now() from pairs
order by pair
"""

# Too far from the traded prices ever to match.
_RESTING: LiteralString = """
select count(*) filter (where answer.outcome = 'opened')
from (
    select
        array_agg(
            (
                number,
                'place_order',
                people.ids[1 + number * 7 %% cardinality(people.ids)],
                traded.syms[1 + number / 2 %% cardinality(traded.syms)],
                (1 + number %% 20) * (1 - 2 * (number %% 2)),
                100 + (10 + number %% 160 * 0.25) * (2 * (number %% 2) - 1),
                null,
                null,
                null
            )::exchange.request
            order by number
        ) as requests
    from generate_series(%(first)s::integer, %(first)s::integer + %(orders)s::integer - 1) as number
    cross join (select array_agg(accounts.account_id) as ids from exchange.accounts) as people
    cross join (select array_agg(symbols.sym) as syms from exchange.symbols) as traded
) as made
cross join lateral exchange.process_batch(made.requests) as answer
"""
_BATCH = 1000


def seed_history(connection: psycopg.Connection[TupleRow], orders: int) -> None:
    """Insert orders that were placed and filled; `orders` is rounded down to a multiple of four.

    The connection must be a superuser's, in autocommit mode, to a database with at least two accounts, where
    no order has been placed yet.
    """
    with connection.transaction():
        connection.execute(_HISTORY, {"orders": orders // 4 * 4})
        connection.execute("select setval('exchange.order_ids', max(order_id)) from exchange.orders")
    _settle_down(connection)


def seed_resting(connection: psycopg.Connection[TupleRow], orders: int) -> None:
    """Place orders that stay in the book, through process_batch: half buys below 90, half sells above 110."""
    for first in range(0, orders, _BATCH):
        count = min(_BATCH, orders - first)
        row = connection.execute(_RESTING, {"first": first, "orders": count}).fetchone()
        assert row == (count,), f"{count} orders should rest: {row}"
    _settle_down(connection)


def _settle_down(connection: psycopg.Connection[TupleRow]) -> None:
    connection.execute("vacuum (analyze)")
    connection.execute("checkpoint")
