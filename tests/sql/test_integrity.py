"""check_integrity finds each invariant broken, in the tables or by a mutated function, and nothing else."""

import random

import psycopg
import pytest

from tests.sql.market import Connection, Market, Request, Said, always_hint, replace
from tests.sql.mutants import (
    EQUAL_LIMITS_MISS,
    IMPROVEMENT_LOST,
    LAST_COMES_FIRST,
    Mutant,
    after,
    after_match,
    install,
)
from tests.sql.trading import random_batch

# Every row of every table may be changed to anything.
UNGUARD = """
do $$
declare
    v_constraint record;
begin
    for v_constraint in
        select
            coalesce('table ' || nullif(conrelid, 0)::regclass, 'domain ' || contypid::regtype) as place,
            conname
        from pg_constraint
        where connamespace = 'exchange'::regnamespace and contype = 'c' and coninhcount = 0
    loop
        execute format('alter %s drop constraint %I', v_constraint.place, v_constraint.conname);
    end loop;
end
$$;
"""


@pytest.fixture
def traded(market: Market) -> Market:
    """The worked example's market after a trade, with a cancel and credits; no constraint guards it."""
    for account in ("1", "2"):
        market.account(account, 200000)
        market.grant(account, "X", 1000)
        market.grant(account, "Y", 10)
    market.place("1", "X", 300, 125)  # 1
    market.place("2", "X", -100, 130)  # 2
    market.place("1", "X", 200, 127)  # 3
    market.place("2", "X", -500, 128)  # 4
    market.place("1", "Y", -3, 7)  # 5
    market.place("1", "X", 400, 125)  # 6
    market.place("2", "X", -400, 124)  # 7 fills 200 @ 127 with 3 and 200 @ 125 with 1
    market.cancel("1", 6)
    market.connection.execute(UNGUARD)
    assert market.violations() == []
    return market


@pytest.fixture
def termed(market: Market) -> Market:
    """A market of orders with terms of each kind; no constraint guards it."""
    for account in ("1", "2"):
        market.account(account, 200000)
        market.grant(account, "X", 1000)
    placed = [
        Request("place_order", "1", "X", "300", "125", said=Said(ref="a")),  # 1
        Request("place_order", "2", "X", "-100", "124", said=Said(tif="FOK", ref="b")),  # 2 fills 100 @ 125
        Request("place_order", "2", "X", "-300", "125", said=Said(tif="IOC")),  # 3 fills 200, 100 go
        Request("place_order", "1", "X", "-10", "130", said=Said(post=True)),  # 4
        Request("place_order", "1", "X", "20", "131", said=Said(stp="maker")),  # 5 passes 4
        Request("place_order", "2", "X", "-30", "140"),  # 6
        Request("place_order", "1", "X", "10", "140", said=Said(tif="IOC", stp="both")),  # 7 fills 10 with 6
        Request("place_order", "1", "X", "5", "1"),  # 8
        Request("cancel_order", "1", order_id=8),
        Request("place_order", "1", "X", "6", "1", said=Said(ref="c")),  # 9 as if in its place
    ]
    assert [parts[0].code for parts in market.batch(placed)] == [None] * len(placed)
    market.connection.execute(UNGUARD)
    market.connection.execute("alter table exchange.order_terms drop constraint order_terms_ref_key")
    market.connection.execute(
        f"{TERMS} replaced_order_id = 8, released_shares = 5 where order_id = 9".encode()
    )
    assert market.violations() == []
    return market


TERMS = "update exchange.order_terms set "
HINT = "insert into exchange.book_hints values "

FORGOTTEN = "delete from exchange.updates where symbol_key = 1 and seq < 5;"
EVENT = (
    "update exchange.updates set events = events || %s::exchange.update_event where symbol_key = 1 and seq = "
)

INCOMING = (
    "insert into exchange.incoming_orders"
    " (session_pid, account_key, symbol_key, side, shares, limit_price) values "
)
INCOMING_TERMED = INCOMING.replace("limit_price", "limit_price, terms")
REPLACED = {"replaced_order_is_canceled"}
PASSED = {"passed_order_is_canceled"}
FIVE_LESS = ";update exchange.positions set shares = shares - 5 where account_key = 1 and symbol_key = 1"
# Order 7, as if it had been a market order.
MARKET_ORDER = (
    "update exchange.orders set limit_price = null where order_id = 7;"
    "update exchange.executions set buy_limit = null where buy_order_id = 7;"
    f"{TERMS} type = 'market', budget = %s where order_id = 7"
)

BREAKS = [
    (
        "update exchange.balances set cash = cash + 0.00000000000000000001 where account_key = 1",
        {"account_cash_adds_up", "cash_is_conserved"},
    ),
    (
        "update exchange.balances set cash = cash + case account_key when 1 then 1 else -1 end",
        {"account_cash_adds_up"},
    ),
    (
        "update exchange.balances set cash = 'NaN'",
        {"account_cash_adds_up", "cash_is_conserved", "balance_never_negative"},
    ),
    (
        "update exchange.credits set cash = 0",
        {"account_cash_adds_up", "cash_is_conserved"},
    ),
    (
        "delete from exchange.deposits where symbol_key is null and account_key = 1",
        {"account_cash_adds_up", "cash_is_conserved"},
    ),
    (
        "update exchange.positions set shares = shares + 0.00000000000000000001"
        " where account_key = 2 and symbol_key = 1",
        {"account_shares_add_up", "shares_are_conserved"},
    ),
    (
        "update exchange.credits set symbol_key = 2 where symbol_key = 1",
        {"account_shares_add_up", "shares_are_conserved"},
    ),
    (
        "insert into exchange.credits (account_key, symbol_key, shares, cash)"
        " select 1, 1, 0, cash + 1 from exchange.balances where account_key = 1;"
        "update exchange.balances set cash = -1 where account_key = 1",
        {"balance_never_negative"},
    ),
    (INCOMING + "(0, 1, 1, 'buy', 5, 1)", {"account_cash_adds_up", "cash_is_conserved"}),
    (INCOMING + "(0, 1, 1, 'sell', 5, 1)", {"account_shares_add_up", "shares_are_conserved"}),
    (
        INCOMING + "(0, 1, 1, 'sell', 5, 0); update exchange.positions set shares = shares - 5"
        " where account_key = 1 and symbol_key = 1",
        {"incoming_order_is_of_shares"},
    ),
    (
        INCOMING + "(0, 1, 1, 'sell', 5, 1);"
        "insert into exchange.incoming_orders overriding system value select * from exchange.incoming_orders;"
        "update exchange.positions set shares = shares - 10 where account_key = 1 and symbol_key = 1",
        {"incoming_order_is_there_once"},
    ),
    (
        INCOMING + "(0, 1, 9, 'sell', 5, 1); insert into exchange.deposits"
        " (account_key, symbol_key, amount, deposited_at) values (1, 9, 5, now())",
        {"no_orphans"},
    ),
    (
        "update exchange.resting_orders set open_shares = open_shares - 1 where order_id = 4",
        {"order_adds_up", "account_shares_add_up", "shares_are_conserved", "updates_make_the_book"},
    ),
    ("update exchange.orders set shares = shares + 1 where order_id = 3", {"order_adds_up"}),
    (
        "insert into exchange.orders values (0, 1, 1, 'buy', 5, 1, now())",  # neither open nor anything else
        {"order_adds_up"},
    ),
    (
        "insert into exchange.cancellations values (2, 1, now());"
        "update exchange.orders set shares = 101 where order_id = 2",
        {"order_open_or_canceled"},
    ),
    (
        "update exchange.resting_orders set price_rank = -128 where order_id = 1",
        {
            "book_is_not_crossed",
            "resting_order_agrees_with_order",
            "newest_update_tells_best_order",
            "account_cash_adds_up",
        }
        | {"cash_is_conserved", "fills_keep_priority", "updates_make_the_book"},
    ),
    (
        "update exchange.updates set ask_rank = 130, ask_id = 2 where symbol_key = 1",
        {"newest_update_tells_best_order"},
    ),
    (
        "delete from exchange.updates where symbol_key = 2",
        {"newest_update_tells_best_order", "updates_make_the_book"},
    ),
    (
        "delete from exchange.updates where symbol_key = 1 and seq = 2",
        {"updates_have_no_gap", "updates_make_the_book"},
    ),
    ("delete from exchange.updates where symbol_key = 1 and seq < 7", set()),  # forgotten
    ("delete from exchange.updates where symbol_key = 1 and seq in (1, 2, 4)", {"updates_have_no_gap"}),
    (
        "update exchange.updates set updated_at = updated_at - interval '1 hour' "
        "where symbol_key = 1 and seq = 7",
        {"time_of_updates_never_goes_back"},
    ),
    ("update exchange.symbols set halted_at = now() where sym = 'Y'", set()),  # no word on it is kept
    (
        EVENT % "row('halt', null, null, null, null, null)" + "6",
        {"updates_tell_of_halts"},
    ),
    (
        "update exchange.updates set last_price = 126 where symbol_key = 1 and seq = 7",
        {"newest_update_tells_last_price"},
    ),
    # Events that didn't happen, from orders that rested and from others.
    (EVENT % "row('add', 'buy', 98, null, 124, 5)" + "7", {"updates_make_the_book"}),
    (EVENT % "row('remove', 'buy', 98, null, 124, 5)" + "7", {"updates_make_the_book"}),
    (EVENT % "row('remove', 'sell', 4, null, 128, 1)" + "7", {"updates_make_the_book"}),
    (
        EVENT % "row('trade', 'sell', 98, 4, 128, 1)" + "7",
        {"updates_make_the_book", "updates_tell_executions", "newest_update_tells_last_price"},
    ),
    # In the wrong order: an order is used up before it rests.
    (
        "update exchange.updates set events = case seq when 1 then array[(select event from unnest(("
        "select events from exchange.updates where symbol_key = 1 and seq = 7)) as event)] "
        "else '{}' end where symbol_key = 1 and seq in (1, 7)",
        {"updates_make_the_book"},
    ),
    # All that is left of its events is told, and not what was forgotten.
    (
        FORGOTTEN + "update exchange.updates set events[1].shares = 399 where symbol_key = 1 and seq = 5",
        {"updates_make_the_book"},
    ),
    (
        FORGOTTEN + "update exchange.updates set events[1].price = 126 where symbol_key = 1 and seq = 6",
        {"updates_tell_executions"},
    ),
    (FORGOTTEN + "update exchange.updates set events = events[2:] where symbol_key = 1 and seq = 6", set()),
    (
        "update exchange.updates set events = events[2:] where symbol_key = 1 and seq = 6",
        {"updates_make_the_book", "updates_tell_executions"},
    ),
    ("update exchange.orders set side = 'buy' where order_id = 5", {"resting_order_agrees_with_order"}),
    ("update exchange.orders set limit_price = 8 where order_id = 5", {"resting_order_agrees_with_order"}),
    ("update exchange.orders set account_key = 2 where order_id = 5", {"resting_order_agrees_with_order"}),
    ("update exchange.orders set symbol_key = 1 where order_id = 5", {"resting_order_agrees_with_order"}),
    (
        "insert into exchange.resting_orders"
        " select symbol_key, side, price_rank + 1, order_id, account_key, 1"
        " from exchange.resting_orders where order_id = 5;"
        "update exchange.resting_orders set open_shares = 2 where order_id = 5 and price_rank = 7",
        {"order_rests_once", "resting_order_agrees_with_order", "updates_make_the_book"},
    ),
    (
        "update exchange.executions set buy_limit = 126 where execution_id = 2",
        {"execution_agrees_with_orders"},
    ),
    ("update exchange.orders set side = 'buy' where order_id = 7", {"execution_agrees_with_orders"}),
    (
        "update exchange.executions set symbol_key = 2 where execution_id = 2",
        {"execution_agrees_with_orders", "account_shares_add_up", "updates_tell_executions"},
    ),
    (
        "update exchange.executions set price = 123 where execution_id = 2",
        {
            "execution_is_within_limits",
            "execution_is_at_earlier_limit",
            "account_cash_adds_up",
            "updates_tell_executions",
        },
    ),
    (
        "update exchange.executions set price = 124 where execution_id = 2",
        {"execution_is_at_earlier_limit", "account_cash_adds_up", "updates_tell_executions"},
    ),
    (
        "update exchange.executions set shares = 0 where execution_id = 2",
        {"execution_is_of_shares", "order_adds_up", "account_cash_adds_up", "account_shares_add_up"}
        | {"updates_tell_executions"},
    ),
    ("update exchange.executions set execution_id = -execution_id", {"fills_keep_priority"}),
    (
        "insert into exchange.orders values (0, 1, 1, 'buy', 0, 126, now());"
        "insert into exchange.resting_orders values (1, 'buy', -126, 0, 1, 0);"
        "update exchange.updates set bid_rank = -126, bid_id = 0 where symbol_key = 1",
        {"fills_keep_priority"},
    ),
    ("delete from exchange.symbols where sym = 'Y'", {"no_orphans"}),
    ("delete from exchange.orders where order_id = 5", {"no_orphans"}),
    ("delete from exchange.orders where order_id = 6", {"no_orphans"}),
    ("insert into exchange.positions (account_key, symbol_key, shares) values (9, 1, 0)", {"no_orphans"}),
    ("insert into exchange.balances (account_key, cash) values (9, 0)", {"no_orphans"}),
    (HINT + "(9, 'buy', 1, now(), 1, '{}', '{}')", {"no_orphans"}),
    ("insert into exchange.balances (account_key, generation, cash) values (1, 99, 0)", {"one_balance_each"}),
    ("insert into exchange.accounts (account_id, created_at) values ('9', now())", {"one_balance_each"}),
    (
        "insert into exchange.positions (account_key, symbol_key, generation, shares) values (1, 1, 99, 0)",
        {"one_position_each"},
    ),
    # A hint that leaves out a level, or orders of one.
    ("insert into exchange.book_hints values (1, 'buy', 99, now(), 0, '{-1}', '{1}')", {"book_hint_is_true"}),
    (
        "insert into exchange.book_hints values (1, 'buy', 99, now(), 0, '{-125}', '{2}')",
        {"book_hint_is_true"},
    ),
    ("insert into exchange.cancellations values (99, 1, now())", {"no_orphans"}),
    (
        "insert into exchange.updates values "
        "(9, 1, '1', now(), 'Infinity', 0, 'Infinity', 0, null, null, '{}')",
        {"no_orphans"},
    ),
    (
        "insert into exchange.credits (account_key, symbol_key, shares, cash) values (9, 1, 0, 1);"
        "insert into exchange.deposits (account_key, amount, deposited_at) values (9, 1, now())",
        {"no_orphans"},
    ),
    (
        "insert into exchange.executions (symbol_key, buy_order_id, sell_order_id, shares, price,"
        " buy_limit, sell_limit, executed_at) values (9, 98, 99, 1, 1, 1, 1, now())",
        {"no_orphans", "updates_tell_executions"},
    ),
]


BREAKS_OF_TERMS = [
    (TERMS + "account_key = 2 where order_id = 5", {"terms_agree_with_order"}),
    (TERMS + "type = 'market' where order_id = 7", {"terms_agree_with_order"}),
    (TERMS + "budget = 5000 where order_id = 7", {"terms_agree_with_order"}),
    (
        "update exchange.orders set limit_price = null where order_id = 6",
        {
            "resting_order_agrees_with_order",
            "execution_agrees_with_orders",
            "execution_is_at_earlier_limit",
        },
    ),
    (
        "update exchange.executions set sell_limit = null where execution_id = 1",
        {"execution_agrees_with_orders"},
    ),
    (TERMS + "tif = 'IOC' where order_id = 5", {"order_never_rests"}),
    (TERMS + "tif = 'FOK' where order_id = 5", {"order_never_rests", "fill_or_kill_is_filled"}),
    (TERMS + "tif = 'FOK' where order_id = 3", {"fill_or_kill_is_filled"}),
    (MARKET_ORDER % 1399, {"budget_is_kept"}),
    (MARKET_ORDER % 1400, set()),
    (MARKET_ORDER % "null", {"terms_agree_with_order"}),
    (TERMS + "post = true where order_id = 7", {"post_only_takes_nothing"}),
    (
        "update exchange.orders set account_key = 1 where order_id = 6;"
        "update exchange.resting_orders set account_key = 1 where order_id = 6",
        {"no_trade_with_itself", "account_cash_adds_up", "account_shares_add_up"},
    ),
    (TERMS + "executed_shares = 9 where order_id = 7", {"told_is_done"}),
    (TERMS + "executed_shares = null where order_id = 7", {"told_is_done"}),
    (TERMS + "canceled_shares = 99 where order_id = 3", {"told_is_done"}),
    (TERMS + "canceled_shares = 1 where order_id = 5", {"told_is_done"}),
    (TERMS + "canceled_shares = null where order_id = 7", {"told_is_done"}),
    (TERMS + "executed_shares = 0, canceled_shares = 0 where order_id = 1", {"told_is_done"}),
    (TERMS + "stp = 'taker' where order_id = 5", PASSED),
    (TERMS + "passed_order_ids = '{4,4}' where order_id = 5", PASSED),
    (TERMS + "passed_order_ids = '{3}' where order_id = 5", PASSED),  # another account's
    (TERMS + "passed_order_ids = '{6}' where order_id = 5", PASSED),  # a later one
    (TERMS + "passed_order_ids = '{99}' where order_id = 5", PASSED | {"no_orphans"}),
    (TERMS + "passed_order_ids = '{8}' where order_id = 7", PASSED | REPLACED),
    (TERMS + "released_shares = 4 where order_id = 9", REPLACED),
    (TERMS + "released_shares = null where order_id = 9", REPLACED),
    (TERMS + "replaced_order_id = null where order_id = 9", REPLACED),
    (TERMS + "replaced_order_id = 1 where order_id = 9", REPLACED),
    (TERMS + "replaced_order_id = 99 where order_id = 9", REPLACED | {"no_orphans"}),
    (TERMS + "replaced_order_id = 4, released_shares = 10 where order_id = 9", PASSED | REPLACED),
    (TERMS + "replaced_order_id = 8, released_shares = 5 where order_id = 7", REPLACED),  # not earlier
    (TERMS + "ref = 'a' where order_id = 9", {"ref_is_unique"}),
    (TERMS + "ref = 'a' where order_id = 2", set()),
    (
        INCOMING_TERMED
        + "(0, 1, 1, 'sell', 5, 1, row('c', null, null, null, null, null, null, null))"
        + FIVE_LESS,
        {"ref_is_unique"},
    ),
    (
        INCOMING_TERMED
        + "(0, 1, 1, 'sell', 5, null, row(null, 'market', null, null, null, null, null, null))"
        + FIVE_LESS,
        set(),
    ),
    (INCOMING_TERMED + "(0, 1, 1, 'sell', 5, null, null)" + FIVE_LESS, {"incoming_order_is_of_shares"}),
    (
        INCOMING_TERMED
        + "(0, 1, 1, 'sell', 5, 1, row(null, 'market', null, null, null, null, null, null))"
        + FIVE_LESS,
        {"incoming_order_is_of_shares"},
    ),
    (
        INCOMING_TERMED + "(0, 1, 1, 'buy', 5, null, row(null, 'market', 7, null, null, null, null, null));"
        "update exchange.balances set cash = cash - 7 where account_key = 1",
        set(),
    ),
    (
        INCOMING_TERMED + "(0, 1, 1, 'buy', 5, null, row(null, 'market', 0, null, null, null, null, null))",
        {"incoming_order_is_of_shares"},
    ),
    (
        "insert into exchange.reductions values (9, 2, now());"
        "update exchange.resting_orders set open_shares = 4 where order_id = 9;"
        "update exchange.balances set cash = cash + 2 where account_key = 1",
        {"updates_make_the_book"},
    ),
    ("insert into exchange.reductions values (9, 2, now())", {"order_adds_up"}),
    ("insert into exchange.reductions values (99, 2, now())", {"no_orphans"}),
    ("insert into exchange.switches values (9, 60, now())", {"no_orphans"}),
    ("insert into exchange.order_terms (order_id, account_key, post) values (99, 9, false)", {"no_orphans"}),
]


@pytest.mark.parametrize(("statement", "invariants"), BREAKS_OF_TERMS)
def test_broken_terms_are_found(termed: Market, statement: str, invariants: set[str]) -> None:
    termed.connection.execute(statement.encode())
    assert {invariant for invariant, _, _ in termed.violations()} == invariants


@pytest.mark.parametrize(("statement", "invariants"), BREAKS)
def test_a_broken_table_is_found(traded: Market, statement: str, invariants: set[str]) -> None:
    traded.connection.execute(statement.encode())
    assert {invariant for invariant, _, _ in traded.violations()} == invariants


def test_each_invariant_is_broken_by_some_test(connection: Connection) -> None:
    tested = set().union(*(invariants for _, invariants in BREAKS + BREAKS_OF_TERMS))
    sources = connection.execute("select prosrc from pg_proc where proname like 'check\\_%'").fetchall()
    known = {word for (source,) in sources for word in tested if f"'{word}'" in source}
    assert known == tested
    named = connection.execute(
        "select distinct found[1] from pg_proc, regexp_matches(prosrc, '''([a-z]+_[a-z_]+)''', 'g') as found "
        "where pronamespace = 'exchange'::regnamespace and proname like 'check\\_%'"
    ).fetchall()
    assert {name for (name,) in named} == tested


def test_a_finding_says_what_is_wrong(traded: Market) -> None:
    traded.connection.execute("update exchange.balances set cash = cash + 1.5 where account_key = 2")
    assert traded.violations()[0] == (
        "account_cash_adds_up",
        "account 2",
        "has 250401.5, what is reserved for its orders included, but deposits and trades make 250400",
    )


def test_a_reader_may_check_a_standby(market: Market) -> None:
    """A standby runs nothing but read-only transactions."""
    market.account("1", 10)
    market.connection.execute("set role exchange_reader; set default_transaction_read_only = on")
    assert market.violations() == []


OF_THIS_BATCH = "where transaction_id = pg_current_xact_id()"

# What could be wrong with the functions, and what is then seen.
MUTANTS = {
    "time priority is forgotten": (LAST_COMES_FIRST, "fills_keep_priority"),
    "equal limits don't match": (EQUAL_LIMITS_MISS, "book_is_not_crossed"),
    "price improvement isn't given back": (IMPROVEMENT_LOST, "account_cash_adds_up"),
    "the last digit is rounded off": (
        after_match(f"update exchange.credits set cash = round(cash, 19) {OF_THIS_BATCH}"),
        "cash_is_conserved",
    ),
    "credits are lost": (
        after_match(f"delete from exchange.credits {OF_THIS_BATCH} and shares > 0"),
        "shares_are_conserved",
    ),
    "credits are lost where no position is at hand": (
        Mutant(
            "settle_accounts",
            """
            begin
                delete from exchange.credits
                where account_key = any(p_account_keys) and shares > 0
                    and not exists (
                        select from exchange.positions
                        where positions.account_key = credits.account_key
                            and positions.symbol_key = credits.symbol_key
                    );
                perform {call};
            end
            """,
        ),
        "account_shares_add_up",
    ),
    "a large partial fill isn't written": (
        after_match(
            "update exchange.resting_orders set open_shares = orders.shares from exchange.orders "
            "where orders.order_id = resting_orders.order_id and open_shares * 2 < orders.shares",
        ),
        "order_adds_up",
    ),
    "the incoming order's side of a trade is lost": (
        Mutant(
            "write_gains",
            f"""
            begin
                perform {{call}};
                delete from exchange.credits using unnest(p_events) as event
                {OF_THIS_BATCH} and event.kind = 'trade' and event.account_key = credits.account_key
                    and event.symbol_key = credits.symbol_key;
            end
            """,
        ),
        "account_shares_add_up",
    ),
    "money goes to another": (
        after_match(
            f"update exchange.credits set account_key = 1 {OF_THIS_BATCH} and cash > 0",
        ),
        "account_cash_adds_up",
    ),
    "shares go to another": (
        after_match(f"update exchange.credits set account_key = 1 {OF_THIS_BATCH} and shares > 0"),
        "account_shares_add_up",
    ),
    "credits go to another position": (
        Mutant(
            "settle_accounts",
            """
            begin
                update exchange.credits set symbol_key = 1
                where account_key = any(p_account_keys) and shares > 0;
                perform {call};
            end
            """,
        ),
        "account_shares_add_up",
    ),
    "updates aren't written": (
        after_match("delete from exchange.updates where transaction_id = pg_current_xact_id()"),
        "newest_update_tells_best_order",
    ),
    "best orders that only the table tells are as they were": (
        Mutant(
            "find_best", "begin return row(coalesce(p_from_rank, 'Infinity'), coalesce(p_from_id, 0)); end"
        ),
        "newest_update_tells_best_order",
    ),
    "an order is taken for the best that isn't": (
        after_match(
            "update exchange.updates set ask_id = ask_id + 1 where transaction_id = pg_current_xact_id()",
        ),
        "newest_update_tells_best_order",
    ),
    "what comes to rest isn't told": (
        Mutant(
            "write_updates",
            "begin p_events := array(select event from unnest(p_events) as event where kind <> 'add'); "
            "perform {call}; end",
        ),
        "updates_make_the_book",
    ),
    "a trade is told at the incoming order's limit": (
        Mutant(
            "write_updates",
            "begin for n in 1 .. coalesce(cardinality(p_events), 0) loop if p_events[n].kind = 'trade' "
            "then p_events[n].price := coalesce(p_events[n].limit_price, 1); end if; end loop; "
            "perform {call}; end",
        ),
        "updates_tell_executions",
    ),
    "a refund is too small": (
        after("cancel_orders", f"update exchange.credits set cash = cash / 2 {OF_THIS_BATCH}"),
        "cash_is_conserved",
    ),
    "a refund is of the wrong thing": (
        after("cancel_orders", f"update exchange.credits set shares = cash, cash = shares {OF_THIS_BATCH}"),
        "shares_are_conserved",
    ),
    "a cancel is noted wrongly": (
        after(
            "cancel_orders",
            "update exchange.cancellations set shares = shares + 1 where entry_id > v_entry_id",
        ),
        "order_adds_up",
    ),
    "more is granted than deposited": (
        Mutant(
            "grant_shares",
            """
            begin
                select * into outcome, code, message from {call};
                update exchange.credits set shares = shares + 1 where transaction_id = pg_current_xact_id();
            end
            """,
        ),
        "shares_are_conserved",
    ),
    "what is folded replaces what was there": (
        Mutant(
            "settle_accounts",
            """
            begin
                update exchange.balances set cash = 0 where account_key = any(p_account_keys);
                perform {call};
            end
            """,
        ),
        "cash_is_conserved",
    ),
}


def trade(market: Market, sequences: int) -> set[str]:
    """Let five accounts trade two symbols, with sweeps; return the invariants that any batch broke."""
    found = set()
    chance = random.Random(1)
    for number in range(12):
        batch = random_batch(chance, 40, 5, 2, number * 25, creating=number == 0)
        market.batch([request._replace(sequence=place % sequences) for place, request in enumerate(batch)])
        market.connection.execute("select exchange.settle_idle_accounts()")
        found |= {invariant for invariant, _, _ in market.violations()}
    return found


@pytest.mark.parametrize("sequences", [1, 40])
@pytest.mark.parametrize("hinted", [False, True], ids=["", "hinted"])
def test_sound_functions_leave_nothing_to_find(market: Market, sequences: int, hinted: bool) -> None:
    """With hints, the sweep asks each account as well, as it does where vacuum can't keep up."""
    replace(market.connection, "credits_are_many", f"select {hinted}", "sql")
    if hinted:
        always_hint(market.connection)
    assert trade(market, sequences) == set()


def test_the_highest_keys_are_as_good_as_the_lowest(market: Market) -> None:
    """A position's two keys share 63 bits, and a side's key is its symbol's doubled."""
    for table, key, highest in (("accounts", "account_key", 2**35 - 1), ("symbols", "symbol_key", 2**28 - 1)):
        few = 5 if table == "accounts" else 2
        sequence = f"pg_get_serial_sequence('exchange.{table}', '{key}')"
        market.connection.execute(f"select setval({sequence}, {highest - few})".encode())
    trade(market, 1)
    assert market.violations() == []
    keys = "select max(account_key), max(symbol_key) from exchange.positions"
    assert market.connection.execute(keys).fetchone() == (2**35 - 1, 2**28 - 1)
    fills = market.connection.execute("select count(*) from exchange.executions").fetchone()
    assert fills is not None
    assert fills[0] > 50
    with pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded):
        market.account("99")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutated_function_is_found(market: Market, mutant: str) -> None:
    fault, invariant = MUTANTS[mutant]
    install(market.connection, fault)
    assert invariant in trade(market, 40) | trade(market, 1)


def test_positions_that_are_taken_for_one_are_found(market: Market) -> None:
    replace(market.connection, "position_key", "select p_account_key << 28 | 1", "sql")
    trade(market, 40)
    assert "account_shares_add_up" in {found for found, _, _ in market.violations()}


# What could be wrong with the reading of hints. What the match reads has a reach.
FIRST_ORDERS = "begin return query select found.* from {call} as found %s; end"
MUTATED_HINTS = {
    "a level's first order is left out": (
        Mutant("first_orders", FIRST_ORDERS % "offset (p_reach < 'Infinity')::integer"),
        "fills_keep_priority",
    ),
    "the first order after a hint is left out": (
        Mutant(
            "first_orders",
            FIRST_ORDERS % "where found.order_id not in (select seen_id + 1 from exchange.book_hints "
            "where symbol_key = p_symbol_key and side = p_side)",
        ),
        "fills_keep_priority",
    ),
    "what lies beyond a hint is left out": (
        Mutant(
            "first_orders",
            FIRST_ORDERS
            % "where p_reach = 'Infinity' or found.price_rank <= (select end_rank from exchange.book_hints "
            "where symbol_key = p_symbol_key and side = p_side order by seen_id desc limit 1)",
        ),
        "fills_keep_priority",
    ),
    "too few are read": (
        Mutant("first_orders", FIRST_ORDERS % "limit case when p_reach < 'Infinity' then 1 end"),
        "book_is_not_crossed",
    ),
    "a hint names a level's second order": (
        Mutant(
            "note_book_hints",
            """
            begin
                perform {call};
                update exchange.book_hints set level_ids = array(select id + 1 from unnest(level_ids) as id);
            end
            """,
        ),
        "book_hint_is_true",
    ),
    "a hint leaves out a level": (
        Mutant(
            "note_book_hints",
            """
            begin
                perform {call};
                update exchange.book_hints set level_ranks = level_ranks[1:1], level_ids = level_ids[1:1];
            end
            """,
        ),
        "book_hint_is_true",
    ),
}


@pytest.mark.parametrize("mutant", MUTATED_HINTS)
def test_a_mutated_reading_of_hints_is_found(market: Market, mutant: str) -> None:
    fault, invariant = MUTATED_HINTS[mutant]
    always_hint(market.connection)
    install(market.connection, fault)
    trade(market, 40)
    trade(market, 1)
    assert invariant in {found for found, _, _ in market.violations()}


def test_a_cancel_without_an_update_is_found(market: Market) -> None:
    market.account("1", 1000)
    market.grant("1", "X", 1)
    placed = market.place("1", "X", 1, 10)
    replace(market.connection, "write_updates", "begin end")
    market.cancel("1", placed)
    assert {invariant for invariant, _, _ in market.violations()} == {
        "newest_update_tells_best_order",
        "updates_make_the_book",
    }
