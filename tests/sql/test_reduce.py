"""Reducing an order: what stays open keeps its place, and what is cancelled is told and given back."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.asking import ask, parse
from tests.sql.market import Market, meeting, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with cash 1000 and 100 shares of X; 1 buys 50 at 5, then 2 buys 10 at 5."""
    for account in ("1", "2"):
        market.account(account, 1000)
        market.grant(account, "X", 100)
    ask(market, "1 order X 50 5 ref=a7", "2 order X 10 5")
    return market


def keeps_its_place(traders: Market) -> None:
    assert ask(traders, "1 reduce 1 shares=20") == ["reduced #1 20, open #1 30"]
    assert traders.book("X") == ["buy 30 @ 5 (1)", "buy 10 @ 5 (2)"]
    assert traders.cash("1") == "850"
    assert ask(traders, "2 order X -31 5") == ["opened #3"]
    assert ask(traders, "1 query 1", "2 query 2") == [
        "reduced #1 20, executed #1 30 @ 5",
        "open #2 9, executed #2 1 @ 5",
    ]
    assert traders.violations() == []


def test_the_rest_keeps_its_place_and_the_reservation_is_given_back(traders: Market) -> None:
    keeps_its_place(traders)


def to_so_much(traders: Market) -> None:
    assert ask(traders, "1 reduce 1 to=30") == ["reduced #1 20, open #1 30"]
    # Safe to resend.
    assert ask(traders, "1 reduce 1 to=30") == ["reduced #1 0, open #1 30"]
    assert ask(traders, "1 reduce ref=a7 to=30.5") == ["reduced #1 0, open #1 30"]
    assert ask(traders, "1 query 1") == ["open #1 30, reduced #1 20"]
    assert ask(traders, "1 reduce 1 to=0") == ["reduced #1 30, open #1 0"]
    assert ask(traders, "1 query 1") == ["canceled #1 30, reduced #1 20"]
    assert traders.violations() == []


def test_reducing_to_so_much_leaves_at_most_that(traders: Market) -> None:
    to_so_much(traders)


def all_of_it(traders: Market, words: str) -> None:
    ask(traders, "2 order X -5 5")
    assert ask(traders, words) == ["reduced #1 45, open #1 0"]
    assert ask(traders, "1 query 1") == ["canceled #1 45, executed #1 5 @ 5"]
    assert traders.book("X") == ["buy 10 @ 5 (2)"]
    best = traders.connection.execute(
        "select bid_id from exchange.updates order by seq desc limit 1"
    ).fetchone()
    assert best == (2,)
    assert traders.cash("1") == "975"
    assert traders.violations() == []


ALL_OF_IT = ["1 reduce 1 shares=45", "1 reduce ref=a7 shares=99", "1 reduce 1 to=0"]


@pytest.mark.parametrize("words", ALL_OF_IT)
def test_as_much_as_is_open_or_more_is_a_cancel(traders: Market, words: str) -> None:
    all_of_it(traders, words)


def test_a_sell_gets_shares_back(traders: Market) -> None:
    ask(traders, "1 order X -40 7")
    assert ask(traders, "1 reduce 3 shares=0.5") == ["reduced #3 0.5, open #3 39.5"]
    assert traders.shares("1", "X") == "60.5"


def every_part_is_told(traders: Market) -> None:
    ask(traders, "1 reduce 1 shares=1", "1 reduce 1 shares=2", "2 order X -7 5", "1 reduce 1 to=35")
    parts = ["reduced #1 1", "reduced #1 2", "reduced #1 5", "executed #1 7 @ 5"]
    assert ask(traders, "1 query 1") == [", ".join(["open #1 35", *parts])]
    assert ask(traders, "1 cancel 1") == [", ".join(["canceled #1 35", *parts])]
    ((canceled, *reduced, executed),) = traders.batch([parse("1 query 1")])
    assert [part.at is not None for part in (canceled, *reduced, executed)] == [True] * 5


def test_query_and_cancel_tell_of_each_reduction(traders: Market) -> None:
    every_part_is_told(traders)


def refusals(traders: Market) -> None:
    refused = {
        "1 reduce 1 shares=0": "invalid_shares",
        "1 reduce 1 shares=-1": "invalid_shares",
        "1 reduce 1 to=-1": "invalid_shares",
        "1 reduce 1 shares=0.000000000000000000001": "invalid_shares",
        "1 reduce 99 shares=1": "unknown_order",
        "2 reduce 1 shares=1": "unknown_order",
        "9 reduce 1 shares=1": "unknown_order",
        "2 reduce ref=a7 to=1": "unknown_order",
        "1 reduce 1 ref=a7 to=1": "invalid_terms",
    }
    for words, code in refused.items():
        assert ask(traders, words) == [code], words
    ask(traders, "1 cancel 1")
    ((row,),) = traders.batch([parse("1 reduce ref=a7 to=1")])
    assert (row.code, row.message) == ("nothing_open", "order 1 has no open shares to cancel")
    ((row,),) = traders.batch([parse("1 reduce ref=b to=1")])
    assert row.message == "no such order: b"
    assert ask(traders, "1 reduce 1 to=0") == ["nothing_open"]


def test_what_cannot_be_reduced(traders: Market) -> None:
    refusals(traders)


def test_one_after_the_other_in_a_batch(traders: Market) -> None:
    assert ask(traders, *["1 reduce 1 shares=20"] * 3, "1 reduce 1 shares=20") == [
        "reduced #1 20, open #1 30",
        "reduced #1 20, open #1 10",
        "reduced #1 10, open #1 0",
        "nothing_open",
    ]


def on_halts_and_freezes(traders: Market) -> None:
    traders.connection.execute("select exchange.halt_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, "1 reduce 1 shares=20", "1 reduce 1 to=0") == [
        "reduced #1 20, open #1 30",
        "reduced #1 30, open #1 0",
    ]


def test_on_a_halted_symbol_and_a_frozen_account(traders: Market) -> None:
    on_halts_and_freezes(traders)


def waits_for_the_match(database: str, traders: Market) -> None:
    with meeting(database, 2) as (matching, reducing):
        matching.begin()
        ask(matching.market, "2 order X -45 5")
        call = reducing.start(ask, reducing.market, "1 reduce 1 shares=20")
        assert until_blocked(traders.connection, reducing, matching, call) == "advisory"
        matching.commit()
        assert call.result() == ["reduced #1 5, open #1 0"]
    assert traders.violations() == []


def test_a_match_under_way_is_waited_for(database: str, traders: Market) -> None:
    waits_for_the_match(database, traders)


def test_people_say_it_by_name(traders: Market) -> None:
    def call(arguments: str) -> tuple[object, ...] | None:
        query = (
            "select outcome, order_id, canceled_shares::text, open_shares::text, code "
            f"from exchange.reduce_order({arguments})"
        )
        return traders.connection.execute(query.encode()).fetchone()

    assert call("'1', 1, shares => 20") == ("reduced", 1, "20", "30", None)
    assert call("'1', ref => 'a7', to_open => 10") == ("reduced", 1, "20", "10", None)
    assert call("'1', 1") == ("refused", None, None, None, "invalid_terms")
    assert call("'1', 1, shares => 1, to_open => 1") == ("refused", None, None, None, "invalid_terms")
    assert call("'2', 1, shares => 1") == ("refused", 1, None, None, "unknown_order")


def reducing(before: str) -> Mutant:
    """Do something before an order is reduced."""
    return Mutant("reduce_one", f"begin {before} return query select * from {{call}}; end")


FAULTS = {
    "the place is lost": (
        Mutant(
            "shrink_order",
            "begin perform {call}; update exchange.resting_orders set order_id = order_id + 1000 "
            "where order_id = p_order.order_id; end",
        ),
        keeps_its_place,
    ),
    "nothing is given back": (
        Mutant("shrink_order", "begin perform {call}; delete from exchange.credits; end"),
        keeps_its_place,
    ),
    "nothing is noted": (
        Mutant("shrink_order", "begin perform {call}; delete from exchange.reductions; end"),
        every_part_is_told,
    ),
    "to is taken for shares": (
        Mutant(
            "reduce_one", "begin p_request.action := 'reduce_order'; return query select * from {call}; end"
        ),
        to_so_much,
    ),
    "all of it leaves an order of nothing": (
        Mutant(
            "end_orders",
            "begin insert into exchange.reductions (order_id, shares, reduced_at) "
            "select order_id, open_shares, p_now from unnest(p_orders); "
            "delete from exchange.resting_orders where order_id in (select order_id from unnest(p_orders)); "
            "return p_orders; end",
        ),
        to_so_much,
    ),
    "reductions stand behind executions": (
        Mutant(
            "query_orders",
            "begin return query select told.* from {call} as told order by request, outcome = 'reduced'; end",
        ),
        every_part_is_told,
    ),
    "a cancel doesn't tell of reductions": (
        Mutant(
            "cancel_orders",
            "begin return query select told.* from {call} as told where outcome <> 'reduced'; end",
        ),
        every_part_is_told,
    ),
    "to may not be 0": (
        reducing("if p_request.amount = 0 then p_request.amount := -1; end if;"),
        to_so_much,
    ),
    "more than is open is refused": (
        reducing(
            "if p_request.amount > (select open_shares from exchange.resting_orders where order_id = 1) "
            "then p_request.amount := -1; end if;"
        ),
        to_so_much,
    ),
    "nothing is as good as open": (
        reducing(
            "if not exists (select from exchange.resting_orders where account_key = 1) then "
            "return next (p_place, 'reduced', 1, 0, null, null, null, null, null, null, null)"
            "::exchange.answer; return; end if;"
        ),
        refusals,
    ),
    "not while the symbol is halted": (
        reducing(
            "if exists (select from exchange.symbols where halted_at is not null) "
            "then p_request.amount := -1; end if;"
        ),
        on_halts_and_freezes,
    ),
    "not while the account is frozen": (
        reducing(
            "if exists (select from exchange.accounts where frozen_at is not null) "
            "then p_request.amount := -1; end if;"
        ),
        on_halts_and_freezes,
    ),
    "whose it is isn't asked": (
        Mutant("account_order", "begin p_account_id := '1'; return query select * from {call}; end"),
        refusals,
    ),
}


OPEN = "(select open_shares from exchange.resting_orders where order_id = 1)"
ROWS = "request, outcome, order_id, {shares}, price, at, code, message, sym, amount, ref"
# Faults of a reduction by as much as is open or more, and with which one each shows.
FAULTS_OF_ALL: dict[str, tuple[Mutant, str]] = {
    "more shares than are open are refused": (
        reducing(f"if p_request.amount > {OPEN} then p_request.amount := -1; end if;"),
        ALL_OF_IT[1],
    ),
    "more shares than are open are none": (
        reducing(f"if p_request.amount > {OPEN} then p_request.amount := 0.00000001; end if;"),
        ALL_OF_IT[1],
    ),
    "what was asked for is told": (
        Mutant(
            "reduce_one",
            "begin return query select {} from {{call}}; end".format(
                ROWS.format(shares="case outcome when 'reduced' then p_request.amount else shares end")
            ),
        ),
        ALL_OF_IT[1],
    ),
    "what was open is told as open": (
        Mutant(
            "reduce_one",
            f"declare v numeric := {OPEN}; begin return query select {{}} from {{{{call}}}}; end".format(
                ROWS.format(shares="case outcome when 'open' then v else shares end")
            ),
        ),
        ALL_OF_IT[0],
    ),
    "one share stays": (
        reducing(f"if p_request.amount = {OPEN} then p_request.amount := p_request.amount - 1; end if;"),
        ALL_OF_IT[0],
    ),
    "to 0 leaves a share": (
        reducing("if p_request.amount = 0 then p_request.amount := 1; end if;"),
        ALL_OF_IT[2],
    ),
    "it is a reduction of everything": (
        Mutant(
            "end_orders",
            "begin insert into exchange.reductions (order_id, shares, reduced_at) "
            "select order_id, open_shares, p_now from unnest(p_orders); "
            "delete from exchange.resting_orders where order_id in (select order_id from unnest(p_orders)); "
            "return p_orders; end",
        ),
        ALL_OF_IT[1],
    ),
}


@pytest.mark.parametrize("fault", FAULTS_OF_ALL)
def test_a_fault_of_a_reduction_of_all_is_found(traders: Market, fault: str) -> None:
    mutant, words = FAULTS_OF_ALL[fault]
    install(traders.connection, mutant)
    with pytest.raises(AssertionError):
        all_of_it(traders, words)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(traders: Market, fault: str) -> None:
    mutant, test = FAULTS[fault]
    install(traders.connection, mutant)
    with pytest.raises(AssertionError):
        test(traders)


def test_a_symbol_that_is_not_locked_is_found(database: str, traders: Market) -> None:
    install(traders.connection, Mutant("lock_symbols", "begin return p_slots; end"))
    with pytest.raises((AssertionError, psycopg.Error)):
        waits_for_the_match(database, traders)
