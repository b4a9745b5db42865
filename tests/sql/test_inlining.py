"""No function in SQL is started anew for each order: those that carrying out orders uses are inlined."""

import pytest

from tests.sql.market import Market, Request, Said, replace

CALLED = (
    "select funcname from pg_stat_xact_user_functions inner join pg_proc on pg_proc.oid = funcid "
    "inner join pg_language on pg_language.oid = prolang where schemaname = 'exchange' and lanname = 'sql'"
)
SAID = {
    "plain": (None, None),
    "refs": (Said(ref="a"), Said(ref="b")),
    "a duplicate": (Said(ref="a"), Said(ref="a")),
    "immediate": (Said(tif="IOC", stp="maker"), Said(tif="FOK")),
    "market": (Said(type="market", budget="99"), Said(type="market", budget="1000", tif="FOK")),
}


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with money and shares of X."""
    for account in "12":
        market.account(account, 10**6)
        market.grant(account, "X", 10**4)
    return market


def functions_in_sql(market: Market, kind: str) -> set[str]:
    """Return the functions in SQL that are called when orders are carried out of which none is refused."""
    limit = None if kind == "market" else "6"
    with market.connection.transaction():
        market.connection.execute("set local track_functions = 'all'")
        market.place("2", "X", "-50", "5")
        answers = market.batch(
            [Request("place_order", "1", "X", "7", limit, sequence=1, said=said) for said in SAID[kind]]
        )
        assert [parts[0].outcome for parts in answers] == ["opened", "opened"]
        found = {name for (name,) in market.connection.execute(CALLED.encode())}
        return found - {"place_order"}  # which is the call itself


@pytest.mark.parametrize("kind", SAID)
def test_orders_call_no_function_in_sql(traders: Market, kind: str) -> None:
    assert functions_in_sql(traders, kind) == set()


def test_a_function_that_cannot_be_inlined_is_found(traders: Market) -> None:
    # What formats is stable, and an immutable function that calls it is not inlined.
    replace(traders.connection, "is_planned", "select format('%s', p_terms) = ''", "sql")
    assert functions_in_sql(traders, "immediate") == {"is_planned"}
