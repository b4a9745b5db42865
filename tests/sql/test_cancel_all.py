"""Cancelling all open orders of an account: at once, or by a dead man's switch that is due."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sql.asking import ask, parse
from tests.sql.market import Market, Request, literals, meeting, replace, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with cash 1000, and 100 shares each of X and Y, with open orders of both."""
    for account in ("1", "2"):
        market.account(account, 1000)
        for sym in ("X", "Y"):
            market.grant(account, sym, 100)
    ask(market, "1 order X 10 5", "2 order X 10 5", "1 order Y -20 7", "1 order X 30 4", "2 order Y -1 7")
    return market


def all_of_an_account(traders: Market) -> None:
    assert ask(traders, "1 cancel-all") == ["canceled_all, canceled #1 10, canceled #3 20, canceled #4 30"]
    assert (traders.cash("1"), traders.shares("1", "Y")) == ("1000", "100")
    assert traders.book("X") + traders.book("Y") == ["buy 10 @ 5 (2)", "sell 1 @ 7 (5)"]
    assert ask(traders, "1 cancel-all", "1 query 4") == ["canceled_all", "canceled #4 30"]
    best = traders.connection.execute(
        "select distinct on (symbol_key) bid_id, ask_id from exchange.updates order by symbol_key, seq desc"
    ).fetchall()
    assert best == [(2, 0), (0, 5)]
    assert traders.violations() == []


def test_all_open_orders_of_an_account_and_no_other(traders: Market) -> None:
    all_of_an_account(traders)


def of_one_symbol(traders: Market) -> None:
    assert ask(traders, "1 cancel-all X") == ["canceled_all, canceled #1 10, canceled #4 30"]
    assert ask(traders, "1 cancel-all NONE", "1 query 3") == ["canceled_all", "open #3 20"]


def test_those_of_one_symbol(traders: Market) -> None:
    of_one_symbol(traders)


def more_than_a_list_has(traders: Market) -> None:
    """Lists of open orders have 1,000 at most; all are cancelled and told, however many there are."""
    traders.batch([parse("2 order X 0.1 1")] * 1200)
    (told,) = traders.batch([parse("2 cancel-all")])
    assert [row.order_id for row in told[1:]] == [2, 5, *range(6, 1206)]
    assert {row.shares for row in told[3:]} == {"0.1"}
    assert ask(traders, "2 cancel-all") == ["canceled_all"]
    assert traders.cash("2") == "1000"


def test_however_many_there_are(traders: Market) -> None:
    more_than_a_list_has(traders)


def test_what_the_batch_has_placed_before(traders: Market) -> None:
    ask(traders, "1 cancel-all")
    assert ask(
        traders, "1 order Y 3 2", "1 cancel-all", "1 order Y 3 2", "1 cancel-all Y", "1 cancel-all"
    ) == [
        "opened #6",
        "canceled_all, canceled #6 3",
        "opened #7",
        "canceled_all, canceled #7 3",
        "canceled_all",
    ]
    assert traders.violations() == []


def test_what_is_partly_filled_or_reduced(traders: Market) -> None:
    ask(traders, "2 order X -4 5", "1 reduce 4 shares=10")
    assert ask(traders, "1 cancel-all X") == ["canceled_all, canceled #1 6, canceled #4 20"]
    assert ask(traders, "1 query 1", "1 query 4") == [
        "canceled #1 6, executed #1 4 @ 5",
        "canceled #4 20, reduced #4 10",
    ]
    assert traders.violations() == []


def test_an_unknown_account(traders: Market) -> None:
    ((row,),) = traders.batch([parse("9 cancel-all")])
    assert (row.code, row.message) == ("unknown_account", "no such account: 9")


def on_halts_and_freezes(traders: Market) -> None:
    traders.connection.execute("select exchange.halt_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, "1 cancel-all") == ["canceled_all, canceled #1 10, canceled #3 20, canceled #4 30"]


def test_on_a_halted_symbol_and_a_frozen_account(traders: Market) -> None:
    on_halts_and_freezes(traders)


def meets_a_match(database: str, traders: Market) -> None:
    with meeting(database, 2) as (matching, canceling):
        matching.begin()
        ask(matching.market, "2 order X -4 5")
        call = canceling.start(ask, canceling.market, "1 cancel-all")
        assert until_blocked(traders.connection, canceling, matching, call) == "advisory"
        matching.commit()
        assert call.result() == ["canceled_all, canceled #1 6, canceled #3 20, canceled #4 30"]
    assert traders.violations() == []


def test_a_match_under_way_is_waited_for(database: str, traders: Market) -> None:
    meets_a_match(database, traders)


def meets_an_order(database: str, traders: Market) -> None:
    """Meanwhile an order of the account comes to rest in a symbol that nothing of it rested in."""
    traders.grant("1", "Z", 100)
    with meeting(database, 2) as (placing, canceling):
        placing.begin()
        ask(placing.market, "1 order Z -5 9")
        call = canceling.start(ask, canceling.market, "1 cancel-all", "1 account")
        until_blocked(traders.connection, canceling, placing, call)
        placing.commit()
        answers = call.result()
        if answers == ["later", "later"]:  # a commit lets go of the account an instant before the symbol
            answers = ask(canceling.market, "1 cancel-all", "1 account")
        canceled, looked = answers
        assert canceled == "canceled_all, canceled #1 10, canceled #3 20, canceled #4 30, canceled #6 5"
        assert looked.startswith("account 1000")


def test_an_order_that_came_to_rest_meanwhile_is_cancelled_too(database: str, traders: Market) -> None:
    meets_an_order(database, traders)


def unlocked_meanwhile(database: str, traders: Market) -> None:
    """As above, but somebody else has that symbol by then: none of the sequence is done."""
    traders.grant("1", "Z", 100)
    with meeting(database, 3) as (placing, canceling, rival):
        placing.begin()
        ask(placing.market, "1 order Z -5 9")
        call = canceling.start(ask, canceling.market, "1 order Y 1 1", "1 cancel-all", "1 account")
        until_blocked(traders.connection, canceling, placing, call)
        rival.begin()
        held = rival.start(rival.connection.execute, "select exchange.halt_symbol('Z')")
        until_blocked(traders.connection, rival, placing, held)
        placing.commit()
        held.result()
        assert call.result() == ["later", "later", "later"]
        rival.commit()
    assert ask(traders, "1 query 1", "1 query 6") == ["open #1 10", "open #6 5"]
    assert traders.violations() == []


def test_a_symbol_that_cannot_be_locked_any_more_puts_it_off(database: str, traders: Market) -> None:
    unlocked_meanwhile(database, traders)


def test_people_call_it(traders: Market) -> None:
    query = "select outcome, order_id, shares::text, code from exchange.cancel_all_orders({})"
    rows = traders.connection.execute(query.format("'1', 'X'").encode()).fetchall()
    assert rows == [
        ("canceled_all", None, None, None),
        ("canceled", 1, "10", None),
        ("canceled", 4, "30", None),
    ]
    rows = traders.connection.execute(query.format("'9'").encode()).fetchall()
    assert rows == [("refused", None, None, "unknown_account")]


# --- sequences that are done whole --------------------------------------------------------------------------


def in_flight(traders: Market) -> None:
    """A match of the account must not come in between the requests of a sequence."""
    traders.connection.execute("select exchange.begin_session()")
    traders.connection.execute(
        "select exchange.reserve_orders(array['(1,place_order,1,X,1,1,,,)']::exchange.request[])"
    )
    whole = ["1 cancel-all", "1 account"]
    assert ask(traders, *whole) == ["later", "later"]
    # Others go on, and so does what is alone, or says nothing beyond the base protocol, or only looks.
    rows = traders.batch(
        [
            *(parse(words, 1) for words in whole),
            *(parse(words, 2) for words in ("2 cancel-all", "2 account")),
            *(parse(words, 3) for words in ("1 order Y 1 1", "1 query 1")),
            *(parse(words, 4) for words in ("1 account", "1 account")),
            parse("1 reduce 1 shares=1", 5),
        ]
    )
    assert [parts[0].outcome for parts in rows] == [
        "later",
        "later",
        "canceled_all",
        "account",
        "opened",
        "open",
        "account",
        "account",
        "reduced",
    ]
    traders.connection.execute(
        "select exchange.match_orders(array_agg(incoming_id), array_agg(ctid), array[1]) "
        "from exchange.incoming_orders"
    )
    assert ask(traders, *whole)[0].startswith("canceled_all, canceled #1 9")


def test_a_sequence_waits_for_what_is_in_flight_for_its_account(traders: Market) -> None:
    in_flight(traders)


def left_whole(database: str, traders: Market) -> None:
    """Where a lock is missing for one request of a sequence, none of it is done."""
    with meeting(database, 1) as (rival,):
        rival.begin()
        rival.connection.execute("select exchange.halt_symbol('Y')")
        requests = [parse(words) for words in ("1 reduce 1 shares=1", "1 order Y 1 1", "1 account")]
        requests += [parse(words, 2) for words in ("2 order X 1 1", "2 order Y 1 1", "2 query 2")]
        rows = unwaiting(traders, requests)
        assert rows == [
            (1, "later"),
            (2, "later"),
            (3, "later"),
            (4, "opened"),
            (5, "later"),
            (6, "later"),
        ]
        rival.commit()


def unwaiting(traders: Market, requests: list[Request]) -> list[tuple[object, ...]]:
    return traders.connection.execute(
        "select request, outcome from exchange.process_batch(%s::text[]::exchange.request[], false, false)",
        [literals(requests)],
    ).fetchall()


def test_a_sequence_beyond_the_base_protocol_is_left_whole(database: str, traders: Market) -> None:
    left_whole(database, traders)


def locks_its_account(database: str, traders: Market) -> None:
    """An order of another client waits until a sequence with a cancel and a look has ended."""
    with meeting(database, 2) as (looking, placing):
        looking.begin()
        assert ask(looking.market, "1 cancel 1", "1 account")[0] == "canceled #1 10"
        call = placing.start(ask, placing.market, "1 order Z 1 1")
        assert until_blocked(traders.connection, placing, looking, call) == "transactionid"
        looking.commit()
        assert call.result() == ["unknown_symbol"]


def test_a_sequence_that_changes_and_looks_locks_its_account(database: str, traders: Market) -> None:
    locks_its_account(database, traders)


def test_looks_and_queries_lock_nothing(database: str, traders: Market) -> None:
    traders.connection.execute("begin read only")
    assert ask(traders, "1 account", "1 query 1", "1 account") == [
        "account 830, position X 100, position Y 80",
        "open #1 10",
        "account 830, position X 100, position Y 80",
    ]
    traders.connection.execute("rollback")


FAULTS: dict[str, tuple[Mutant, Callable[[Market], None]]] = {
    "of every account": (
        Mutant(
            "resting_of",
            "begin return query select r.* from exchange.accounts as a, "
            "exchange.wrapped_resting_of(a.account_id, p_sym) as r; end",
        ),
        all_of_an_account,
    ),
    "the symbol isn't looked at": (
        Mutant("resting_of", "begin p_sym := null; return query select * from {call}; end"),
        of_one_symbol,
    ),
    "a thousand at most": (
        Mutant("resting_of", "begin return query select told.* from {call} as told limit 1000; end"),
        more_than_a_list_has,
    ),
    "a thousand are told": (
        Mutant("cancel_all_of_one", "begin return query select told.* from {call} as told limit 1001; end"),
        more_than_a_list_has,
    ),
    "none is an error": (
        Mutant(
            "cancel_all_of_one",
            "begin if not exists (select from exchange.resting_of(p_request.account_id, p_request.sym)) "
            "then p_request.account_id := null; end if; return query select * from {call}; end",
        ),
        all_of_an_account,
    ),
    "not by id": (
        Mutant(
            "cancel_all_of_one",
            "begin return query select told.* from {call} as told "
            "order by outcome <> 'canceled_all', order_id desc; end",
        ),
        all_of_an_account,
    ),
    "an unknown symbol is refused": (
        Mutant(
            "cancel_all_of_one",
            "begin return query select request, "
            "case when p_request.sym = 'NONE' then 'refused' else outcome end, order_id, shares, price, at, "
            "case when p_request.sym = 'NONE' then 'unknown_symbol' end, message, sym, amount, ref "
            "from {call}; end",
        ),
        of_one_symbol,
    ),
    "not what is halted": (
        Mutant(
            "resting_of",
            "begin return query select told.* from {call} as told where symbol_key not in "
            "(select symbol_key from exchange.symbols where halted_at is not null); end",
        ),
        on_halts_and_freezes,
    ),
    "not who is frozen": (
        Mutant(
            "resting_of",
            "begin return query select told.* from {call} as told where account_key not in "
            "(select account_key from exchange.accounts where frozen_at is not null); end",
        ),
        on_halts_and_freezes,
    ),
    "nothing is given back": (
        Mutant(
            "end_orders",
            "declare v exchange.resting_orders[] := {call}; begin "
            "delete from exchange.credits; return v; end",
        ),
        all_of_an_account,
    ),
    "the book's update isn't written": (Mutant("write_updates", "begin end"), all_of_an_account),
    "what is in flight is overlooked": (
        Mutant("find_in_flight", "begin return array[]::integer[]; end"),
        in_flight,
    ),
    "all wait for what is in flight": (
        Mutant(
            "survey",
            "begin return query select s.place, s.request, s.acts, true from {call} as s; end",
        ),
        in_flight,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(traders: Market, fault: str) -> None:
    mutant, test = FAULTS[fault]
    install(traders.connection, mutant)
    with pytest.raises(AssertionError):
        test(traders)


MEETINGS: dict[str, tuple[Mutant, Callable[[str, Market], None]]] = {
    "a sequence is left from the locked on": (
        Mutant(
            "mark_later",
            "declare v exchange.request[] := {call}; begin "
            "for n in 1 .. least(1, cardinality(p_places)) loop v[n] := p_requests[n]; end loop; "
            "return v; end",
        ),
        left_whole,
    ),
    "only orders lock accounts": (
        Mutant(
            "survey",
            "begin return query select s.place, s.request, p_requests[s.place].action = 'place_order', "
            "s.is_whole from {call} as s; end",
        ),
        locks_its_account,
    ),
    "only a sequence's own requests are put off": (
        Mutant(
            "survey",
            "begin return query select s.place, s.request, s.acts, false from {call} as s; end",
        ),
        left_whole,
    ),
    "what came meanwhile isn't looked for": (
        Mutant(
            "lock_batch",
            "declare v exchange.held_locks; begin v := {call}; v.symbol_slots := array("
            "select slot from unnest(v.symbol_slots) as slot where slot < 3); return v; end",
        ),
        meets_an_order,
    ),
    "what isn't locked is cancelled": (
        Mutant("find_locked", "begin return array[]::integer[]; end"),
        unlocked_meanwhile,
    ),
}


@pytest.mark.parametrize("fault", MEETINGS)
def test_a_fault_is_found_where_sessions_meet(database: str, traders: Market, fault: str) -> None:
    mutant, test = MEETINGS[fault]
    install(traders.connection, mutant)
    with pytest.raises(AssertionError):
        test(database, traders)


def test_cancels_without_the_locks_of_symbols_are_found(database: str, traders: Market) -> None:
    replace(traders.connection, "lock_symbols", "begin return p_slots; end")
    with pytest.raises(AssertionError):
        meets_a_match(database, traders)
