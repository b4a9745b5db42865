"""Symbols and accounts out of trading: what is refused, what stays possible, and who waits for whom."""

import psycopg
import pytest

from tests.sql.market import Connection, Market, Request, meeting, replace, until_blocked


@pytest.fixture
def open_market(market: Market) -> Market:
    """Accounts 1 and 2 with money and shares of X and Y; account 1 buys 10 X at 5 in the book."""
    for account in ("1", "2"):
        market.account(account, 1000)
        for sym in ("X", "Y"):
            market.grant(account, sym, 100)
    market.place("1", "X", 10, 5)
    return market


def call(connection: Connection, function: str, *arguments: str) -> tuple[str, str | None]:
    """Call a function of the DBA; return its outcome and code."""
    marks = ", ".join(["%s"] * len(arguments))
    row = connection.execute(
        f"select outcome, code from exchange.{function}({marks})".encode(), arguments
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_a_halted_symbol_takes_no_orders_but_cancels(open_market: Market) -> None:
    connection = open_market.connection
    assert call(connection, "halt_symbol", "X") == ("halted", None)
    assert open_market.try_place("2", "X", -10, 5) == (None, "symbol_halted")
    assert open_market.try_place("2", "Y", -10, 5)[1] is None
    assert open_market.query("1", 1) == ["open 10"]
    assert open_market.cancel("1", 1) == ["canceled 10"]
    assert open_market.cash("1") == "1000"
    assert call(connection, "resume_symbol", "X") == ("resumed", None)
    assert open_market.try_place("2", "X", -10, 5)[1] is None
    assert open_market.violations() == []


def test_a_frozen_account_places_no_orders_but_is_filled_and_cancels(open_market: Market) -> None:
    connection = open_market.connection
    assert call(connection, "freeze_account", "1") == ("frozen", None)
    assert open_market.try_place("1", "Y", 1, 1) == (None, "account_frozen")
    open_market.place("2", "X", -4, 5)
    assert open_market.shares("1", "X") == "104"
    assert open_market.cancel("1", 1) == ["canceled 6", "executed 4 @ 5"]
    assert call(connection, "unfreeze_account", "1") == ("unfrozen", None)
    assert open_market.try_place("1", "Y", 1, 1)[1] is None
    assert open_market.violations() == []


def test_a_batch_is_refused_what_is_halted_and_no_more(open_market: Market) -> None:
    call(open_market.connection, "halt_symbol", "X")
    call(open_market.connection, "freeze_account", "2")
    orders = [("1", "X"), ("1", "Y"), ("2", "Y"), ("2", "X")]
    answers = open_market.batch([Request("place_order", account, sym, "1", "1") for account, sym in orders])
    codes = [answer[0].code for answer in answers]
    assert codes == ["symbol_halted", None, "account_frozen", "account_frozen"]


def test_a_halt_waits_for_who_matches_and_holds_for_who_comes_after(
    database: str, open_market: Market
) -> None:
    observer = open_market.connection
    with meeting(database, 3) as (matching, halting, late):
        matching.begin()
        matching.market.place("2", "X", -1, 5)
        halt = halting.start(call, halting.connection, "halt_symbol", "X")
        assert until_blocked(observer, halting, matching, halt) == "advisory"
        order = late.start(late.market.try_place, "2", "X", -1, 5)
        assert until_blocked(observer, late, halting, order) == "advisory"
        matching.commit()
        assert halt.result() == ("halted", None)
        assert order.result() == (None, "symbol_halted")
    assert open_market.query("1", 1) == ["open 9", "executed 1 @ 5"]


def test_a_freeze_waits_for_who_places_and_holds_for_who_comes_after(
    database: str, open_market: Market
) -> None:
    observer = open_market.connection
    with meeting(database, 3) as (placing, freezing, late):
        placing.begin()
        placing.market.place("2", "X", -1, 5)
        freezing.begin()
        freeze = freezing.start(call, freezing.connection, "freeze_account", "2")
        until_blocked(observer, freezing, placing, freeze)
        placing.commit()
        assert freeze.result() == ("frozen", None)
        # Who comes before the freeze has committed waits for it. (Two who wait for a row have no order.)
        order = late.start(late.market.try_place, "2", "Y", -1, 5)
        until_blocked(observer, late, freezing, order)
        freezing.commit()
        assert order.result() == (None, "account_frozen")


def test_all_open_orders_of_an_account_are_cancelled_at_once(open_market: Market) -> None:
    open_market.place("1", "Y", -10, 7)
    open_market.place("2", "Y", 10, 6)
    rows = open_market.connection.execute(
        "select order_id, outcome, shares::text from exchange.cancel_open_orders('1')"
    ).fetchall()
    assert rows == [(1, "canceled", "10"), (2, "canceled", "10")]
    assert open_market.connection.execute("select from exchange.cancel_open_orders('1')").rowcount == 0
    assert (open_market.cash("1"), open_market.shares("1", "Y")) == ("1000", "100")
    assert open_market.book("Y") == ["buy 10 @ 6 (3)"]


def test_nobody_is_told_of_a_halt_that_hit_nothing(market: Market) -> None:
    for function in ("halt_symbol", "resume_symbol"):
        assert call(market.connection, function, "NONE") == ("refused", "unknown_symbol")
    for function in ("freeze_account", "unfreeze_account", "settle_account"):
        assert call(market.connection, function, "9") == ("refused", "unknown_account")


@pytest.mark.parametrize("role", ["exchange_gateway", "exchange_reader"])
@pytest.mark.parametrize(
    "function", ["halt_symbol", "resume_symbol", "freeze_account", "unfreeze_account", "cancel_open_orders"]
)
def test_only_the_owner_may_halt(connection: Connection, role: str, function: str) -> None:
    connection.execute(f"set role {role}".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"select from exchange.{function}('1')".encode())


def test_placing_by_hand_tells_what_was_filled_at_once(open_market: Market) -> None:
    query = (
        "select outcome, executed_shares::text, executed_value::text, open_shares::text "
        "from exchange.place_order(%s, 'X', %s, %s)"
    )
    open_market.place("1", "X", 10, 4)
    rows = [
        open_market.connection.execute(query, order).fetchone()
        for order in (("2", -15, 4), ("1", 1, 6), ("2", -1000, 4))
    ]
    assert rows == [
        ("opened", "15", "70", "0"),
        ("opened", "0", "0", "1"),
        ("refused", None, None, None),
    ]


MUTANTS = {
    "a halt that waits for nobody": (
        "halt_symbol",
        "begin update exchange.symbols set halted_at = now() where sym = p_sym; outcome := 'halted'; end",
        test_a_halt_waits_for_who_matches_and_holds_for_who_comes_after,
    ),
    "a freeze that waits for nobody": (
        "freeze_account",
        "begin update exchange.accounts set frozen_at = now() where account_id = p_account_id; "
        "outcome := 'frozen'; end",
        test_a_freeze_waits_for_who_places_and_holds_for_who_comes_after,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(database: str, open_market: Market, mutant: str) -> None:
    function, body, test = MUTANTS[mutant]
    replace(open_market.connection, function, body)
    with pytest.raises(AssertionError):
        test(database, open_market)
