"""The second stage as the gateway calls it: orders wait in incoming_orders, and symbols are locked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest

from tests.sql.incoming import Incoming, bring, open_market
from tests.sql.market import Market, Session, meeting, replace, until_blocked
from tests.sql.mutants import Mutant, install


class Brought(NamedTuple):
    """Orders that wait in incoming_orders, as reserve_orders tells of them."""

    ids: list[int]
    addresses: list[str | None]
    slots: list[int]


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 4, who have nothing but what their orders reserve, and the symbols X and Y."""
    open_market(market, 4, "X", "Y")
    return market


@pytest.fixture
def sessions(traders: Market, database: str) -> Iterator[list[Session]]:
    with meeting(database, 2) as sessions:
        yield sessions


def incoming(market: Market, *orders: str) -> Brought:
    """Let orders wait for the match, each written as in `1 X -10 5`."""
    rows = bring(market.connection, [Incoming(*order.split()) for order in orders])
    return Brought([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def match(market: Market, orders: Brought, waits: bool = True) -> list[str]:
    """Match orders; return what became of each, as in `opened 1` or `later locked`."""
    rows = market.connection.execute(
        "select place, concat_ws(' ', outcome, order_id, code) "
        "from exchange.match_orders(%s::bigint[], %s::tid[], %s::integer[], %s)",
        [orders.ids, orders.addresses, orders.slots, waits],
    ).fetchall()
    assert [row[0] for row in rows] == list(range(1, len(orders.ids) + 1))
    return [row[1] for row in rows]


def waiting(market: Market) -> list[int]:
    """Return the ids of the orders that wait for the match."""
    query = "select incoming_id from exchange.incoming_orders order by incoming_id"
    return [row[0] for row in market.connection.execute(query)]


def test_orders_are_matched_in_the_order_named(traders: Market) -> None:
    orders = incoming(traders, "1 X -10 5", "2 X -10 5", "3 X 15 5")
    backwards = Brought(orders.ids[::-1], orders.addresses[::-1], orders.slots[::-1])
    assert match(traders, backwards) == ["opened 1", "opened 2", "opened 3"]
    assert traders.query("3", 1) == ["executed 10 @ 5", "executed 5 @ 5"]
    assert traders.query("1", 3) == ["open 5", "executed 5 @ 5"]
    assert waiting(traders) == []
    assert traders.violations() == []


def test_an_order_is_matched_once(traders: Market, sessions: list[Session]) -> None:
    orders = incoming(traders, "1 X -10 5", "2 X 10 5")
    assert match(traders, orders) == ["opened 1", "opened 2"]
    assert match(traders, orders) == ["gone", "gone"]
    assert traders.violations() == []


def test_what_was_given_back_is_gone_and_the_others_are_matched(traders: Market) -> None:
    orders = incoming(traders, "1 X -10 5", "2 X 10 5", "3 Y 1 1")
    traders.connection.execute("delete from exchange.incoming_orders where incoming_id = %s", [orders.ids[1]])
    assert match(traders, orders) == ["opened 1", "gone", "opened 2"]
    assert traders.book("X") == ["sell 10 @ 5 (1)"]


def withdraw(market: Market, ids: list[int]) -> int:
    row = market.connection.execute("select exchange.withdraw_orders(%s::bigint[])", [ids]).fetchone()
    assert row is not None
    return int(row[0])


def test_what_is_withdrawn_is_given_back_once_and_the_others_are_matched(
    traders: Market, sessions: list[Session]
) -> None:
    orders = incoming(traders, "1 X -10 5", "2 X 10 5", "3 Y 1 1")
    assert withdraw(traders, [orders.ids[1], orders.ids[0] + 1000]) == 1
    assert (traders.cash("2"), traders.cash("3")) == ("50", "0")
    assert match(traders, orders) == ["opened 1", "gone", "opened 2"]
    assert withdraw(traders, orders.ids) == 0
    assert (traders.cash("2"), traders.shares("1", "X")) == ("50", "0")
    assert traders.violations() == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_match_that_has_an_order_is_waited_for(traders: Market, sessions: list[Session], end: str) -> None:
    orders = incoming(traders, "1 X -10 5", "2 Y 10 5")
    lane, other = sessions
    lane.begin()
    assert match(lane.market, Brought(orders.ids[:1], orders.addresses[:1], orders.slots[:1])) == ["opened 1"]
    call = other.start(withdraw, other.market, orders.ids)
    until_blocked(traders.connection, other, lane, call)
    lane.connection.execute(end)
    assert call.result() == (1 if end == "commit" else 2)
    assert traders.violations() == []


def test_a_halted_symbols_order_is_refused_and_its_reservation_given_back(traders: Market) -> None:
    orders = incoming(traders, "1 X 10 5", "1 Y 10 5")
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert match(traders, orders) == ["refused symbol_halted", "opened 1"]
    assert traders.cash("1") == "50"
    assert traders.violations() == []
    orders = incoming(traders, "1 X 10 5")
    message = traders.connection.execute(
        "select message from exchange.match_orders(%s::bigint[], %s::tid[], %s::integer[])", orders
    ).fetchone()
    assert message is not None
    assert message[0].startswith("trading of X is halted")


def every_part_is_told(traders: Market) -> None:
    """Beside its id: what an order did at once, and which own orders it passed, in rows that follow it."""
    texts = ("1 X -10 5", "2 X 15 5 tif=IOC", "3 X -4 6", "3 X 4 6 stp=both", "4 X 9 5 tif=FOK", "4 X -2 5")
    rows = bring(traders.connection, [Incoming.read(text) for text in texts])
    told = traders.connection.execute(
        "select place, concat_ws(' ', outcome, order_id, trim_scale(shares), code) "
        "from exchange.match_orders(%s::bigint[], %s::tid[], %s::integer[])",
        [[row[column] for row in rows] for column in range(3)],
    ).fetchall()
    assert told == [
        (1, "opened 1"),
        *((2, part) for part in ("opened 2", "filled 10", "canceled 5")),
        (3, "opened 3"),
        *((4, part) for part in ("opened 4", "filled 0", "canceled 4", "passed 3")),
        (5, "refused unfilled"),
        (6, "opened 5"),
    ]
    assert traders.violations() == []


def test_what_orders_with_terms_are_told(traders: Market) -> None:
    every_part_is_told(traders)


@pytest.mark.parametrize("address", [None, "(0,1)", "(0,2)", "(99,1)"])
def test_an_order_that_isnt_where_it_was_is_found_by_its_id(traders: Market, address: str | None) -> None:
    orders = incoming(traders, "1 X -10 5", "2 X 10 5")
    assert match(traders, orders._replace(addresses=[address] * 2)) == ["opened 1", "opened 2"]
    assert traders.query("2", 2) == ["executed 10 @ 5"]
    assert traders.violations() == []


def test_an_address_that_is_used_again_leads_nobody_astray(traders: Market, sessions: list[Session]) -> None:
    orders = incoming(traders, "1 X -10 5", "2 Y -20 5")
    astray = orders._replace(ids=orders.ids[:1], addresses=orders.addresses[1:], slots=orders.slots)
    assert match(traders, astray) == ["opened 1"]
    assert traders.book("X") == ["sell 10 @ 5 (1)"]
    assert waiting(traders) == orders.ids[1:]


def test_what_the_row_says_counts_not_the_slot_that_was_named(
    traders: Market, sessions: list[Session]
) -> None:
    orders = incoming(traders, "1 X -10 5")
    (elsewhere,) = incoming(traders, "1 Y -10 5").slots
    assert match(traders, orders._replace(slots=[elsewhere])) == ["later locked"]
    assert match(traders, orders) == ["opened 1"]


def test_a_symbol_that_somebody_holds_is_left_for_later(traders: Market, sessions: list[Session]) -> None:
    orders = incoming(traders, "1 X -10 5", "2 Y -10 5", "3 X 10 5")
    holder, other = sessions
    holder.begin()
    holder.market.connection.execute("select exchange.halt_symbol('X')")
    other.connection.execute("set lock_timeout = '1s'")
    assert match(other.market, orders, waits=False) == ["later locked", "opened 1", "later locked"]
    assert waiting(traders) == [orders.ids[0], orders.ids[2]]
    assert match(other.market, orders, waits=False) == ["later locked", "gone", "later locked"]
    other.connection.execute("set lock_timeout = 0")
    call = other.start(match, other.market, orders)
    assert until_blocked(traders.connection, other, holder, call) == "advisory"
    holder.connection.execute("rollback")
    assert call.result() == ["opened 2", "gone", "opened 3"]
    assert traders.violations() == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_match_waits_for_who_gives_an_order_back(
    traders: Market, sessions: list[Session], end: str
) -> None:
    orders = incoming(traders, "1 X -10 5", "2 X -10 6")
    giver, other = sessions
    giver.begin()
    giver.connection.execute("delete from exchange.incoming_orders where incoming_id = %s", [orders.ids[0]])
    call = other.start(match, other.market, orders)
    until_blocked(traders.connection, other, giver, call)
    giver.connection.execute(end)
    assert call.result() == (["gone", "opened 1"] if end == "commit" else ["opened 1", "opened 2"])


def test_orders_are_taken_in_the_order_in_which_they_lie(traders: Market, sessions: list[Session]) -> None:
    """As who gives them back does: or each of the two could hold what the other waits for."""
    orders = incoming(traders, "1 X -10 5", "1 X -10 6", "1 X -10 7")
    giver, other = sessions
    giver.begin()
    giver.connection.execute("delete from exchange.incoming_orders where incoming_id = %s", [orders.ids[1]])
    backwards = Brought(orders.ids[::-1], orders.addresses[::-1], orders.slots[::-1])
    call = other.start(match, other.market, backwards)
    until_blocked(traders.connection, other, giver, call)
    free = "select incoming_id from exchange.incoming_orders for update skip locked"
    assert [row[0] for row in giver.connection.execute(free)] == orders.ids[2:]
    giver.commit()
    assert call.result() == ["opened 1", "gone", "opened 2"]


def test_matches_of_different_symbols_never_wait_for_each_other(
    traders: Market, sessions: list[Session]
) -> None:
    """Though the same accounts trade in them, and buy from each other."""
    first, second = sessions
    for sym in ("X", "Y"):
        match(traders, incoming(traders, f"1 {sym} -10 5", f"2 {sym} -10 5"))
    lanes = [incoming(traders, f"2 {sym} 15 5", f"1 {sym} -7 5") for sym in ("X", "Y")]
    first.begin()
    second.begin()
    first.connection.execute("set local lock_timeout = '1ms'")
    second.connection.execute("set local lock_timeout = '1ms'")
    assert match(first.market, lanes[0]) == ["opened 5", "opened 6"]
    assert match(second.market, lanes[1]) == ["opened 7", "opened 8"]
    first.commit()
    second.commit()
    assert traders.violations() == []


def test_a_match_waits_for_no_account(traders: Market, sessions: list[Session]) -> None:
    holder, other = sessions
    holder.begin()
    for table in ("accounts", "balances", "positions"):
        holder.connection.execute(f"select from exchange.{table} for update".encode())
    other.connection.execute("set lock_timeout = '1ms'")
    orders = incoming(traders, "1 X -10 5", "2 X 10 6")
    assert match(other.market, orders) == ["opened 1", "opened 2"]
    holder.commit()
    assert traders.violations() == []


def test_a_match_needs_snapshots_of_its_own(traders: Market) -> None:
    orders = incoming(traders, "1 X -10 5")
    with traders.connection.transaction(force_rollback=True):
        traders.connection.execute("set transaction isolation level repeatable read")
        with pytest.raises(psycopg.errors.Error, match="read committed"):
            match(traders, orders)
    assert waiting(traders) == orders.ids


# The first statement of take_incoming, but for one of its conditions.
TAKES = """
begin
    with taken as (
        delete from exchange.incoming_orders
        using unnest(p_incoming_ids, p_addresses) with ordinality as asked (incoming_id, address, place)
        where {condition}
        returning asked.place, incoming_orders as incoming
    )
    select array_agg(taken.place::integer order by taken.place), array_agg(taken.incoming order by place)
    into places, incoming from taken;
end
"""
BY_ADDRESS = "incoming_orders.ctid = asked.address"
BY_ID = "incoming_orders.incoming_id = asked.incoming_id"
IF_LOCKED = "exchange.symbol_slot(incoming_orders.symbol_key) = any(p_locked_slots)"


def mutated_take(*conditions: str) -> tuple[str, str]:
    return "take_incoming", TAKES.format(condition=" and ".join(conditions))


MUTANTS = {
    "an address is trusted": (
        mutated_take(BY_ADDRESS, IF_LOCKED),
        test_an_address_that_is_used_again_leads_nobody_astray,
    ),
    "a slot is trusted": (
        mutated_take(BY_ADDRESS, BY_ID),
        test_what_the_row_says_counts_not_the_slot_that_was_named,
    ),
    "an order is taken and stays": (
        (
            "take_incoming",
            "begin select array_agg(array_position(p_incoming_ids, i.incoming_id) order by i.incoming_id), "
            "array_agg(i order by i.incoming_id) into places, incoming from exchange.incoming_orders as i "
            "where i.incoming_id = any(p_incoming_ids); end",
        ),
        test_an_order_is_matched_once,
    ),
    "an order is withdrawn and stays": (
        (
            "withdraw_orders",
            "begin return exchange.give_back(array(select incoming from exchange.incoming_orders as incoming "
            "where incoming.incoming_id = any(p_incoming_ids))); end",
        ),
        test_what_is_withdrawn_is_given_back_once_and_the_others_are_matched,
    ),
    "an order is withdrawn and not given back": (
        (
            "withdraw_orders",
            "declare v bigint; begin "
            "delete from exchange.incoming_orders where incoming_id = any(p_incoming_ids); "
            "get diagnostics v = row_count; return v; end",
        ),
        test_what_is_withdrawn_is_given_back_once_and_the_others_are_matched,
    ),
    "all is withdrawn": (
        (
            "withdraw_orders",
            "declare v exchange.incoming_orders[]; begin with deleted as "
            "(delete from exchange.incoming_orders returning incoming_orders as incoming) "
            "select array_agg(incoming) into v from deleted; "
            "return exchange.give_back(v); end",
        ),
        test_what_is_withdrawn_is_given_back_once_and_the_others_are_matched,
    ),
    "all symbols have one lock": (
        ("symbol_slot", "begin return 0; end"),
        test_matches_of_different_symbols_never_wait_for_each_other,
    ),
    "the parties of a trade are locked": (
        (
            "write_orders",
            "begin perform from exchange.balances for no key update; insert into exchange.orders "
            "select p_order_ids[n], i.account_key, i.symbol_key, i.side, i.shares, i.limit_price, p_now "
            "from unnest(p_incoming) with ordinality as i "
            "(id, pid, account_key, symbol_key, side, shares, limit_price, terms, n); end",
        ),
        test_a_match_waits_for_no_account,
    ),
    "locks aren't taken": (
        ("lock_symbols", "begin return array(select distinct slot from unnest(p_slots) as slot); end"),
        test_a_symbol_that_somebody_holds_is_left_for_later,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(traders: Market, sessions: list[Session], mutant: str) -> None:
    (function, body), test = MUTANTS[mutant]
    replace(traders.connection, function, body)
    with pytest.raises((AssertionError, psycopg.errors.LockNotAvailable)):
        test(traders, sessions)


TOLD = "begin return query select {} from {{call}} as told {}; end"
ROW = "place, outcome, order_id, shares, code, message"
FAULTS = {
    "only what becomes of an order is told": Mutant(
        "match_orders", TOLD.format(ROW, "where code is not null or outcome = 'opened'")
    ),
    "parts are the next order's": Mutant(
        "match_orders",
        TOLD.format(ROW.replace("place", "place + (outcome in ('filled', 'canceled'))::integer"), ""),
    ),
    "parts stand before their order": Mutant(
        "match_orders", TOLD.format(ROW, "order by place, outcome = 'opened'")
    ),
    "shares aren't told": Mutant("match_orders", TOLD.format(ROW.replace("shares", "null::numeric"), "")),
    "what is passed isn't told": Mutant(
        "opened_parts", "begin return query select told.* from {call} as told where outcome <> 'passed'; end"
    ),
    "an order that can't be filled is opened": Mutant(
        "match_orders", TOLD.format(ROW.replace("outcome", "replace(outcome, 'refused', 'opened')"), "")
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(traders: Market, fault: str) -> None:
    install(traders.connection, FAULTS[fault])
    with pytest.raises(AssertionError):
        every_part_is_told(traders)
