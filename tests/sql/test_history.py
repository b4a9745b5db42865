"""exchange.history: all that happened, in an order in which it can be carried out again.

Each sentence about that order has a mutant of the view, which has another order: then what comes of it isn't
the same, or an exchange refuses it. And each rule of the market has one of the exchange that carries it out.
"""

from pathlib import Path

import psycopg
import pytest

from pgbourse.replay.export import export
from pgbourse.replay.lines import LinesError
from pgbourse.replay.replay import Replayed, replay
from tests.sql.market import Connection, Market
from tests.sql.mutants import EQUAL_LIMITS_MISS, IMPROVEMENT_LOST, LAST_COMES_FIRST, Mutant, install

END = "9223372036854775807"
CANCELS = "COALESCE(caused.cause_id, cancellations.after_order_id)"
REPLACED = "order_terms.replaced_order_id AS order_id"
# What is changed in the text of the view, as PostgreSQL writes it.
ORDERS = {
    "cancels come last": (CANCELS, f"COALESCE(caused.cause_id, {END})"),
    "cancels come first": (CANCELS, "COALESCE(caused.cause_id, 0::bigint)"),
    "cancels come before the order that they note": ("COALESCE(caused.step, 5)", "COALESCE(caused.step, -1)"),
    "reductions come last": ("reductions.after_order_id AS place", f"{END} AS place"),
    "reductions come after cancels": ("reductions.entry_id AS part", f"{END} AS part"),
    "grants come last": ("deposits.after_order_id AS place", f"{END} AS place"),
    "orders come by account": ("orders.order_id AS place", "orders.account_key * 10000 + orders.order_id"),
    "what was passed is a cancel": ("passed.order_id,", "- passed.order_id,"),
    "what was replaced is a cancel": (REPLACED, f"- {REPLACED}"),
    "what was left is a cancel": ("> (0)::numeric", "> (1000000)::numeric"),
    "fills come backwards": ("executions.execution_id AS part", "- executions.execution_id AS part"),
}  # fmt: skip


def replayed(database: str, copy: str, folder: Path) -> Replayed:
    export(database, path := folder / "history.jsonl")
    return replay(path, copy)


def reorder(connection: Connection, old: str, new: str) -> None:
    """Give the view another text."""
    row = connection.execute("select pg_get_viewdef('exchange.history')").fetchone()
    assert row is not None
    assert old in row[0], row[0]
    connection.execute(f"create or replace view exchange.history as {row[0].replace(old, new)}".encode())


def grant_late(market: Market) -> None:
    """Sell what was given only then, and cancel the same order in two steps."""
    for account in ("1", "2", "3"):
        market.grant(account, "S2", "12345.5")
        order_id = market.place(account, "S2", "-12345.5", 1000)
        reduce = "select exchange.reduce_order(%s, %s, shares => 12000)"
        market.connection.execute(reduce, [account, order_id])
        assert market.cancel(account, order_id)[0] == "canceled 345.5"
        market.place(account, "S2", -12000, 1000)


def test_it_comes_out_the_same(varied: Market, database: str, second_database: str, tmp_path: Path) -> None:
    grant_late(varied)
    told = replayed(database, second_database, tmp_path)
    assert (told.differences, told.first, told.is_whole) == (0, [], True)
    row = varied.connection.execute("select count(*) from exchange.executions").fetchone()
    assert row == (told.fills,)


@pytest.mark.parametrize("how", ORDERS)
def test_another_order_would_not_do(
    varied: Market, database: str, second_database: str, tmp_path: Path, how: str
) -> None:
    grant_late(varied)
    reorder(varied.connection, *ORDERS[how])
    if how == "orders come by account":
        with pytest.raises(LinesError, match="ids must ascend"):
            replayed(database, second_database, tmp_path)
    else:
        assert replayed(database, second_database, tmp_path).differences > 0


@pytest.mark.parametrize(
    "mutant", [EQUAL_LIMITS_MISS, IMPROVEMENT_LOST, LAST_COMES_FIRST], ids=lambda mutant: mutant.function
)
def test_another_exchange_is_found_out(
    varied: Market, database: str, second_database: str, tmp_path: Path, mutant: Mutant
) -> None:
    with psycopg.connect(second_database, autocommit=True) as connection:
        install(connection, mutant)
    assert replayed(database, second_database, tmp_path).differences > 0
