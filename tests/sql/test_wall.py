"""A wall between the stage that reserves, by account, and the one that matches, by symbol.

Only two tables pass between them. So neither waits for the other's locks, and one day they may live on
different machines. What each function names, and what it calls, is read from its text.
"""

import re
from collections.abc import Iterable

import pytest

from tests.sql.market import Connection, wrap

# What every part of the exchange may read: a symbol's name, and whether it is halted.
COMMON = {"symbols"}
PASSED = {"incoming_orders", "credits"}
# Where a ref is looked for, and what was placed under it: rows that never change.
KEPT = {"order_terms", "orders"}
HOLDINGS = {"accounts", "balances", "positions", "deposits"}
MARKET = {
    "resting_orders",
    "updates",
    "book_hints",
    "orders",
    "order_terms",
    "order_ids",
    "executions",
    "cancellations",
}

COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
NAME = re.compile(r"\bexchange\.(\w+)")


def texts_of(connection: Connection) -> dict[str, str]:
    """Return the code of each function of exchange, without comments."""
    rows = connection.execute(
        "select proname, coalesce(pg_get_function_sqlbody(oid), prosrc) from pg_proc "
        "where pronamespace = 'exchange'::regnamespace"
    ).fetchall()
    return {name: COMMENT.sub(" ", text) for name, text in rows}


def reached(connection: Connection, *functions: str) -> set[str]:
    """Return the tables and sequences that functions name, or those that they call."""
    texts = texts_of(connection)
    relations = {
        row[0]
        for row in connection.execute(
            "select relname from pg_class "
            "where relnamespace = 'exchange'::regnamespace and relkind in ('r', 'p', 'v', 'S')"
        )
    }
    seen: set[str] = set()
    waiting = list(functions)
    while waiting:
        if (function := waiting.pop()) not in seen:
            seen.add(function)
            waiting += called(texts[function], texts)
    return {name for function in seen for name in NAME.findall(texts[function]) if name in relations}


def called(text: str, functions: Iterable[str]) -> list[str]:
    return [name for name in re.findall(r"\bexchange\.(\w+)\s*\(", text) if name in functions]


def test_the_match_names_nothing_that_anybody_has(connection: Connection) -> None:
    assert reached(connection, "match_orders") <= COMMON | PASSED | MARKET
    assert reached(connection, "match_orders") >= PASSED | MARKET


def test_reserving_names_nothing_of_the_market(connection: Connection) -> None:
    assert reached(connection, "reserve_orders") & MARKET == KEPT


def test_only_incoming_orders_and_credits_pass(connection: Connection) -> None:
    both = reached(connection, "match_orders") & reached(connection, "reserve_orders")
    assert both == COMMON | PASSED | KEPT


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("write_gains", "update exchange.balances set cash = cash where false; perform {call}"),
        ("match_loaded", "perform from exchange.accounts where false; return {call}"),
    ],
)
def test_a_hole_in_the_wall_would_be_found(connection: Connection, function: str, named: str) -> None:
    wrap(connection, function, f"begin {named}; end")
    assert reached(connection, "match_orders") & HOLDINGS
