"""Orders as the match takes them: reserved for, and not yet in the market."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from tests.sql.market import Connection, Market

__all__ = [
    "Incoming",
    "bring",
    "match",
    "match_one_by_one",
    "match_told",
    "open_market",
    "random_orders",
    "what_happened",
]

_ORDERS = """
array(
    select
        row(
            placed.place, pg_backend_pid(), accounts.account_key, symbols.symbol_key,
            (case when placed.amount > 0 then 'buy' else 'sell' end)::exchange.side,
            abs(placed.amount), placed.limit_price, placed.terms::exchange.terms
        )::exchange.incoming_orders
    from unnest(%s::text[], %s::text[], %s::text[]::numeric[], %s::text[]::numeric[], %s::text[])
        with ordinality as placed (account_id, sym, amount, limit_price, terms, place)
    inner join exchange.accounts using (account_id)
    inner join exchange.symbols using (sym)
    order by placed.place
)
"""
_DEPOSIT = f"""
insert into exchange.deposits (account_key, symbol_key, amount, deposited_at)
select
    account_key,
    case side when 'sell' then symbol_key end,
    case side when 'sell' then shares else coalesce((terms).budget, shares * limit_price) end,
    now()
from unnest({_ORDERS})
"""
_BRING = f"""
insert into exchange.incoming_orders (session_pid, account_key, symbol_key, side, shares, limit_price, terms)
select session_pid, account_key, symbol_key, side, shares, limit_price, terms from unnest({_ORDERS})
returning incoming_id, ctid::text, (symbol_key & 63)::integer
"""
_MATCH = f"select unnest(order_ids), unnest(codes) from exchange.match({_ORDERS})"
_MATCH_TOLD = """
select concat_ws(
    ', ',
    case when codes[n] is null then 'opened ' || order_ids[n] else concat_ws(': ', codes[n], messages[n]) end,
    (
        select string_agg(concat_ws(' ', outcome, p.order_id, trim_scale(shares)), ', ' order by ordinality)
        from unnest(told) as terms
        cross join lateral exchange.opened_parts(terms) with ordinality as p
        where terms.order_id = order_ids[n]
    )
)
from (select {orders} as incoming) as placed
cross join lateral exchange.match({arguments})
cross join lateral generate_series(1, cardinality(order_ids)) as n
order by n
"""

_TERMS = ("ref", "type", "budget", "tif", "post", "stp", "of_ref", "if_open")

# All that a match does, but for times: what was placed, traded, and is open, and what everybody is owed.
_HAPPENED = (
    "select order_id, account_key, symbol_key, side, shares, limit_price "
    "from exchange.orders order by order_id",
    "select symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit "
    "from exchange.executions order by symbol_key, execution_id",
    "select symbol_key, side, price_rank, order_id, account_key, open_shares "
    "from exchange.resting_orders order by symbol_key, side, price_rank, order_id",
    "select account_key, symbol_key, sum(shares), sum(cash) "
    "from exchange.credits group by 1, 2 order by 1, 2",
)


class Incoming(NamedTuple):
    """An incoming order, as the test names it: what is reserved for it follows from it."""

    account: str
    sym: str
    amount: str
    limit: str | None  # None for a market order
    terms: str | None = None  # exchange.terms, as text

    @classmethod
    def read(cls, text: str) -> Incoming:
        """Read an order as in `1 X -10 5 tif=IOC stp=maker`, or `1 X 10 - type=market budget=50`."""
        account, sym, amount, limit, *said = text.split()
        terms = dict(word.split("=") for word in said)
        return cls(
            account,
            sym,
            amount,
            None if limit == "-" else limit,
            "({})".format(",".join(terms.get(name, "") for name in _TERMS)) if terms else None,
        )


def open_market(market: Market, accounts: int, *syms: str) -> None:
    """Create accounts 1, 2, ... that have nothing, and symbols."""
    for account in range(1, accounts + 1):
        market.account(str(account))
    for sym in syms:
        market.connection.execute("select exchange.create_symbol(%s)", [sym])


def bring(connection: Connection, orders: Sequence[Incoming]) -> list[tuple[int, str, int]]:
    """Deposit what the orders reserve and let them wait for the match; return their ids, addresses, slots."""
    columns = [list(column) for column in zip(*orders, strict=True)]
    with connection.transaction():
        connection.execute(_DEPOSIT.encode(), columns)
        return [(row[0], row[1], row[2]) for row in connection.execute(_BRING.encode(), columns).fetchall()]


def match(connection: Connection, orders: Sequence[Incoming]) -> list[tuple[int | None, str | None]]:
    """Deposit what the orders reserve and match them; return each one's id, or why it was refused."""
    columns = [list(column) for column in zip(*orders, strict=True)]
    with connection.transaction():
        connection.execute(_DEPOSIT.encode(), columns)
        return [(row[0], row[1]) for row in connection.execute(_MATCH.encode(), columns).fetchall()]


def match_told(connection: Connection, orders: Sequence[Incoming], arguments: str = "incoming") -> list[str]:
    """Match orders as `match` does; return what each client is told: `opened 1, filled 5, canceled 0`."""
    columns = [list(column) for column in zip(*orders, strict=True)]
    query = _MATCH_TOLD.format(orders=_ORDERS, arguments=arguments)
    with connection.transaction():
        connection.execute(_DEPOSIT.encode(), columns)
        return [row[0] for row in connection.execute(query.encode(), columns).fetchall()]


def match_one_by_one(connection: Connection, orders: Sequence[Incoming], function: str) -> list[int]:
    """Hand the orders to a function that matches one order, one after the other; return their ids."""
    columns = [list(column) for column in zip(*orders, strict=True)]
    query = f"select {function}(incoming) from unnest({_ORDERS}) as incoming"
    return [row[0] for row in connection.execute(query.encode(), columns)]


def what_happened(connection: Connection) -> list[list[tuple[object, ...]]]:
    """Return the rows of every table in which a match writes what counts."""
    return [connection.execute(query.encode()).fetchall() for query in _HAPPENED]


def random_orders(chance: random.Random, count: int, accounts: int, syms: Sequence[str]) -> list[Incoming]:
    """Make orders that often meet: few prices, some apart by the last digit, few of them large."""
    return [
        Incoming(
            str(chance.randint(1, accounts)),
            chance.choice(syms),
            str(
                Decimal(chance.randint(1, 200 if chance.random() < 0.9 else 3000))
                / chance.choice([1, 2, 8])
                * chance.choice([1, -1])
            ),
            f"{chance.randint(96, 104)}{chance.choice(['', '.5', '.00000000000000000001'])}",
        )
        for _ in range(count)
    ]
