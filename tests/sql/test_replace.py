"""Replacing an order: one step, in which the old one ends and the new one is placed, or neither."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.sql.asking import ask, parse
from tests.sql.market import Market, meeting, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with cash 1000, and 100 shares of X; order 1: 1 buys 100 X at 10, for all it has."""
    for account in ("1", "2"):
        market.account(account, 1000)
        market.grant(account, "X", 100)
    ask(market, "1 order X 100 10 ref=a7")
    return market


def in_one_step(traders: Market) -> None:
    ask(traders, "2 order X 5 10")
    # The old one's reservation pays for the new one, which is last in its queue also at the same price.
    assert ask(traders, "1 replace 1 50 10 ref=b1") == ["opened #3 X, replaced #1 100"]
    assert traders.book("X") == ["buy 5 @ 10 (2)", "buy 50 @ 10 (3)"]
    assert traders.cash("1") == "500"
    assert ask(traders, "1 replace of=b1 90 11") == ["opened #4 X, replaced #3 50"]
    assert traders.cash("1") == "10"
    assert ask(traders, "1 query 1", "1 query ref=b1", "1 query 4") == [
        "canceled #1 100",
        "canceled #3 50",
        "open #4 90",
    ]
    assert traders.violations() == []


def test_the_old_one_ends_and_pays_for_the_new_one(traders: Market) -> None:
    in_one_step(traders)


def what_is_filled_is_on_top(traders: Market) -> None:
    ask(traders, "2 order X -30 10")
    assert ask(traders, "1 replace 1 70 9") == ["opened #3 X, replaced #1 70"]
    assert ask(traders, "1 query 1", "1 query 3") == ["canceled #1 70, executed #1 30 @ 10", "open #3 70"]
    assert traders.cash("1") == "70"


def test_the_amount_is_the_new_ones_own(traders: Market) -> None:
    what_is_filled_is_on_top(traders)


def only_if_open(traders: Market) -> None:
    ask(traders, "2 order X -30 10")
    ((row, *_),) = traders.batch([parse("1 replace 1 50 9 open=100")])
    assert (row.code, row.message) == ("open_differs", "order 1: 70 shares are open, not 100")
    assert ask(traders, "1 query 1") == ["open #1 70, executed #1 30 @ 10"]
    assert ask(traders, "1 replace 1 50 9 open=70.0") == ["opened #3 X, replaced #1 70"]


def test_only_if_so_many_are_open(traders: Market) -> None:
    only_if_open(traders)


REFUSED = {
    "1 replace 1 101 10": "insufficient_funds",
    "1 replace 1 -50 10": "other_side",
    "1 replace 1 50 11 post=true": "would_trade",
    "1 replace 1 50 11 tif=FOK": "unfilled",
    "1 replace 1 0 11": "invalid_amount",
    "1 replace 1 5 0": "invalid_limit",
    "1 replace 1 5 5 ref=a/b": "invalid_ref",
    "1 replace 1 5 5 ref=a7": "ref_taken",
    "1 replace 1 5 5 open=-1": "invalid_open",
    "1 replace 1 5 5 of=a7": "invalid_terms",
    "1 replace 1 5 5 tif=IOC post=true": "invalid_terms",
    "1 replace 1 5 5 type=limit": "invalid_terms",
    "1 replace 1 5 5 budget=5": "invalid_terms",
    "1 replace 99 5 5": "unknown_order",
    "1 replace of=zz 5 5": "unknown_order",
    "2 replace 1 5 5": "unknown_order",
    "9 replace 1 5 5": "unknown_account",
}


def untouched(traders: Market) -> None:
    ask(traders, "2 order X -10 11")
    state = (
        "select (select array_agg(r order by order_id) from exchange.resting_orders as r), "
        "(select array_agg(b order by account_key) from exchange.balances as b), "
        "(select array_agg(c) from exchange.credits as c), (select count(*) from exchange.cancellations), "
        "(select count(*) from exchange.order_terms), (select array_agg(u) from exchange.updates as u)"
    )
    before = traders.connection.execute(state).fetchone()
    for words, code in REFUSED.items():
        assert ask(traders, words) == [code], words
        assert traders.connection.execute(state).fetchone() == before, words
    assert traders.violations() == []


def test_if_the_new_one_is_refused_the_old_one_is_untouched(traders: Market) -> None:
    untouched(traders)


def halts_and_freezes(traders: Market) -> None:
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert ask(traders, "1 replace 1 50 9") == ["symbol_halted"]
    traders.connection.execute("select exchange.resume_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, "1 replace 1 50 9") == ["account_frozen"]
    assert ask(traders, "1 query 1") == ["open #1 100"]
    assert traders.violations() == []


def test_a_halt_and_a_freeze_refuse_it(traders: Market) -> None:
    halts_and_freezes(traders)


def nothing_is_open(traders: Market) -> None:
    ask(traders, "1 cancel 1")
    ((row,),) = traders.batch([parse("1 replace 1 50 9")])
    assert (row.code, row.message) == ("nothing_open", "order 1 has no open shares to cancel")
    ((row,),) = traders.batch([parse("1 replace of=zz 50 9")])
    assert row.message == "no such order: zz"


def test_the_error_of_a_cancel_where_nothing_is_open(traders: Market) -> None:
    nothing_is_open(traders)


def the_same_again(traders: Market) -> None:
    assert ask(traders, "1 replace 1 50 9 ref=b1") == ["opened #2 X, replaced #1 100"]
    # By id or by ref, whatever is open by now, and however the condition is put.
    for words in ("1 replace 1 50 9 ref=b1", "1 replace of=a7 50.0 9 ref=b1 tif=GTC open=3"):
        assert ask(traders, words) == ["opened #2 X, replaced #1 100, duplicate"]
    others = [
        "1 order X 50 9 ref=b1",  # never the same as a replace
        "1 replace 2 50 9 ref=b1",
        "1 replace 99 50 9 ref=b1",
        "1 replace 1 51 9 ref=b1",
        "1 replace 1 50 8 ref=b1",
        "1 replace 1 50 9 ref=b1 stp=taker",
        "1 replace 2 100 10 ref=a7",
    ]
    for words in others:
        assert ask(traders, words) == ["ref_taken"], words
    traders.connection.execute("select exchange.halt_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, "1 replace 1 50 9 ref=b1") == ["opened #2 X, replaced #1 100, duplicate"]
    assert traders.violations() == []


def test_the_same_replace_again_does_nothing(traders: Market) -> None:
    the_same_again(traders)


def test_it_trades_and_says_what_it_did_at_once(traders: Market) -> None:
    ask(traders, "2 order X -10 11", "2 order X -10 12")
    assert ask(traders, "1 replace 1 15 11 tif=IOC stp=taker") == [
        "opened #4 X, replaced #1 100, filled 10, canceled 5"
    ]
    assert traders.book("X") == ["sell 10 @ 12 (3)"]
    # 100 * 10 came back, 10 * 11 were paid.
    assert (traders.cash("1"), traders.shares("1", "X")) == ("890", "110")
    assert traders.violations() == []


def only_symbol_and_side_are_inherited(traders: Market) -> None:
    """Neither what the old order said of itself, nor what it fills against."""
    ask(traders, "1 cancel 1")
    assert ask(
        traders, "1 order X -10 10 ref=s post=true stp=taker", "1 order X 10 9 ref=t post=true stp=both"
    ) == [
        "opened #2, filled 0, canceled 0",
        "opened #3, filled 0, canceled 0",
    ]
    assert ask(traders, "1 replace of=t 4 10", "1 query ref=t", "1 query 4") == [
        "opened #4 X, replaced #3 10",
        "canceled #3 10",
        "executed #4 4 @ 10",
    ]
    assert traders.violations() == []


def test_nothing_but_symbol_and_side_is_inherited(traders: Market) -> None:
    only_symbol_and_side_are_inherited(traders)


def test_replaces_follow_each_other_in_a_batch(traders: Market) -> None:
    assert ask(
        traders,
        "1 replace 1 10 9 ref=b",
        "1 replace of=b 10 8 ref=c",
        "1 replace of=b 10 7",
        "1 cancel ref=c",
    ) == ["opened #2 X, replaced #1 100", "opened #3 X, replaced #2 10", "nothing_open", "canceled #3 10"]


def waits_for_the_match(database: str, traders: Market) -> None:
    with meeting(database, 2) as (matching, replacing):
        matching.begin()
        ask(matching.market, "2 order X -40 10")
        call = replacing.start(
            ask, replacing.market, "1 replace 1 60 10 open=100", "1 replace 1 60 10 open=60"
        )
        assert until_blocked(traders.connection, replacing, matching, call) == "advisory"
        matching.commit()
        assert call.result() == ["open_differs", "opened #3 X, replaced #1 60"]
    assert traders.violations() == []


def test_a_match_under_way_is_waited_for(database: str, traders: Market) -> None:
    waits_for_the_match(database, traders)


def test_people_say_it_by_name(traders: Market) -> None:
    row = traders.connection.execute(
        "select outcome, order_id, replaced, released_shares::text, executed_shares::text, "
        "open_shares::text, is_duplicate, code "
        "from exchange.replace_order('1', null, 50, 9, ref => 'b1', open => 100, of => 'a7')"
    ).fetchone()
    assert row == ("opened", 2, 1, "100", "0", "50", False, None)
    row = traders.connection.execute(
        "select outcome, code from exchange.replace_order('1', 1, 50, 9, tif => 'IOC')"
    ).fetchone()
    assert row == ("refused", "nothing_open")


def resolving(before: str, then: str = "") -> Mutant:
    """Do something before a replace is looked at, or then; `v_found` is what was found."""
    body = f"begin {before} v_found := {{call}}; {then} return v_found; end"
    return Mutant("resolve_replace", f"declare v_found exchange.replacement; {body}")


def replacing(before: str, then: str = "") -> Mutant:
    """Do something before an order is replaced, or then."""
    return Mutant("replace_one", f"begin {before} return query select * from {{call}}; {then} end")


FAULTS: dict[str, tuple[Mutant, Callable[[Market], None]]] = {
    "the old one stays": (Mutant("end_orders", "begin return p_orders; end"), in_one_step),
    "the old one ends first, whatever comes": (
        resolving(
            "",
            "perform exchange.end_orders(array(select rest from exchange.resting_orders as rest "
            "where rest.order_id = p_request.order_id), clock_timestamp());",
        ),
        untouched,
    ),
    "its side isn't looked at": (resolving("p_request.amount := abs(p_request.amount);"), untouched),
    "the condition isn't looked at": (resolving("p_request.terms.if_open := null;"), only_if_open),
    "how many are open isn't said": (
        resolving("", "v_found.message := replace(v_found.message, '70', 'some');"),
        only_if_open,
    ),
    "more may be open than is said": (
        resolving(
            "",
            "if v_found.code = 'open_differs' "
            "and (v_found.old_order).open_shares <= (p_request.terms).if_open "
            "then v_found.code := null; end if;",
        ),
        only_if_open,
    ),
    "the old one's place is inherited": (
        replacing(
            "",
            "update exchange.resting_orders set order_id = p_request.order_id where account_key = 1;",
        ),
        in_one_step,
    ),
    "the old one's reservation is no help": (
        Mutant(
            "end_orders",
            "declare v exchange.resting_orders[] := {call}; begin "
            "delete from exchange.credits; return v; end",
        ),
        in_one_step,
    ),
    "what is released is told as more": (
        Mutant(
            "place_orders",
            "begin p_released_shares := p_released_shares + 1; return query select * from {call}; end",
        ),
        in_one_step,
    ),
    "the amount is what it and the old one come to": (
        resolving("p_request.amount := p_request.amount - 30;"),
        what_is_filled_is_on_top,
    ),
    "terms are inherited": (
        resolving(
            "p_request.terms.post := (select post from exchange.order_terms where ref = 't'); "
            "p_request.terms.stp := (select stp from exchange.order_terms where ref = 't');"
        ),
        only_symbol_and_side_are_inherited,
    ),
    "it is looked for among all accounts' orders": (
        Mutant(
            "account_order",
            "begin if p_account_id = '2' then p_account_id := '1'; end if; "
            "return query select * from {call}; end",
        ),
        untouched,
    ),
    "a halt doesn't hold": (
        replacing("update exchange.symbols set halted_at = null;"),
        halts_and_freezes,
    ),
    "a freeze doesn't hold": (
        replacing("update exchange.accounts set frozen_at = null;"),
        halts_and_freezes,
    ),
    "the old one's ref is free": (
        resolving("if (p_request.terms).ref = 'a7' then p_request.terms.ref := null; end if;"),
        untouched,
    ),
    "nothing open is unknown": (
        resolving(
            "",
            "if v_found.code = 'nothing_open' then v_found.code := 'unknown_order'; end if;",
        ),
        nothing_is_open,
    ),
    "whatever it replaces is the same": (
        Mutant(
            "resolve_terms",
            "begin if p_replaced_order_id is not null then p_replaced_order_id := "
            "(select max(replaced_order_id) from exchange.order_terms); end if; return {call}; end",
        ),
        the_same_again,
    ),
    "an order and a replace are the same": (
        Mutant(
            "resolve_terms",
            "begin p_replaced_order_id := coalesce(p_replaced_order_id, "
            "(select max(replaced_order_id) from exchange.order_terms)); return {call}; end",
        ),
        the_same_again,
    ),
    "a ref is looked at after the old one": (
        resolving(
            "",
            "if not exists (select from exchange.resting_orders where order_id = p_request.order_id) then "
            "v_found.code := 'nothing_open'; end if;",
        ),
        the_same_again,
    ),
}


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


@pytest.mark.parametrize("code", ["invalid_ref", "invalid_terms", "invalid_open"])
def test_terms_that_are_not_looked_at_are_found(traders: Market, code: str) -> None:
    install(traders.connection, Mutant("terms_fault", f"begin return nullif({{call}}, '{code}'); end"))
    with pytest.raises((AssertionError, psycopg.Error)):
        untouched(traders)
