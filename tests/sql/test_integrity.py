"""check_integrity finds each invariant broken, in the tables or by a mutated function, and nothing else."""

import random

import pytest

from tests.sql.market import Connection, Market, always_hint, mutate
from tests.sql.trading import random_batch

# Every row of every table may be changed to anything.
UNGUARD = """
do $$
declare
    v_constraint record;
begin
    for v_constraint in
        select conrelid::regclass as of_table, conname
        from pg_constraint
        where connamespace = 'exchange'::regnamespace and contype = 'c' and conrelid <> 0 and coninhcount = 0
            and coninhcount = 0
    loop
        execute format('alter table %s drop constraint %I', v_constraint.of_table, v_constraint.conname);
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


QUOTE = "insert into exchange.quotes (symbol_key, side, price_rank, order_id, quoted_at) values "
HINT = "insert into exchange.book_hints values "

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
        "delete from exchange.credits where symbol_key is null",
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
        "insert into exchange.credits (account_key, amount)"
        " select 1, cash + 1 from exchange.balances where account_key = 1;"
        "update exchange.balances set cash = -1 where account_key = 1",
        {"balance_never_negative"},
    ),
    (
        "update exchange.resting_orders set open_shares = open_shares - 1 where order_id = 4",
        {"order_adds_up", "account_shares_add_up", "shares_are_conserved"},
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
            "quote_is_best_order",
            "account_cash_adds_up",
        }
        | {"cash_is_conserved", "fills_keep_priority"},
    ),
    (
        QUOTE + "(1, 'sell', 130, 2, now())",
        {"quote_is_best_order"},
    ),
    ("delete from exchange.quotes where symbol_key = 2", {"quote_is_best_order"}),
    ("update exchange.orders set side = 'buy' where order_id = 5", {"resting_order_agrees_with_order"}),
    ("update exchange.orders set limit_price = 8 where order_id = 5", {"resting_order_agrees_with_order"}),
    ("update exchange.orders set account_key = 2 where order_id = 5", {"resting_order_agrees_with_order"}),
    ("update exchange.orders set symbol_key = 1 where order_id = 5", {"resting_order_agrees_with_order"}),
    (
        "insert into exchange.resting_orders"
        " select symbol_key, side, price_rank + 1, order_id, account_key, 1"
        " from exchange.resting_orders where order_id = 5;"
        "update exchange.resting_orders set open_shares = 2 where order_id = 5 and price_rank = 7",
        {"order_rests_once", "resting_order_agrees_with_order"},
    ),
    (
        "update exchange.executions set buy_limit = 126 where execution_id = 2",
        {"execution_agrees_with_orders"},
    ),
    ("update exchange.orders set side = 'buy' where order_id = 7", {"execution_agrees_with_orders"}),
    (
        "update exchange.executions set symbol_key = 2 where execution_id = 2",
        {"execution_agrees_with_orders", "account_shares_add_up"},
    ),
    (
        "update exchange.executions set price = 123 where execution_id = 2",
        {"execution_is_within_limits", "execution_is_at_earlier_limit", "account_cash_adds_up"},
    ),
    (
        "update exchange.executions set price = 124 where execution_id = 2",
        {"execution_is_at_earlier_limit", "account_cash_adds_up"},
    ),
    (
        "update exchange.executions set shares = 0 where execution_id = 2",
        {"execution_is_of_shares", "order_adds_up", "account_cash_adds_up", "account_shares_add_up"},
    ),
    ("update exchange.executions set execution_id = -execution_id", {"fills_keep_priority"}),
    (
        "insert into exchange.orders values (0, 1, 1, 'buy', 0, 126, now());"
        "insert into exchange.resting_orders values (1, 'buy', -126, 0, 1, 0);"
        f"{QUOTE} (1, 'buy', -126, 0, now())",
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
        QUOTE + "(9, 'buy', 'Infinity', 0, now())",
        {"no_orphans"},
    ),
    (
        "insert into exchange.credits (account_key, amount) values (9, 1);"
        "insert into exchange.deposits (account_key, amount, deposited_at) values (9, 1, now())",
        {"no_orphans"},
    ),
    (
        "insert into exchange.executions (symbol_key, buy_order_id, sell_order_id, shares, price,"
        " buy_limit, sell_limit, executed_at) values (9, 98, 99, 1, 1, 1, 1, now())",
        {"no_orphans"},
    ),
]


@pytest.mark.parametrize(("statement", "invariants"), BREAKS)
def test_a_broken_table_is_found(traded: Market, statement: str, invariants: set[str]) -> None:
    traded.connection.execute(statement.encode())
    assert {invariant for invariant, _, _ in traded.violations()} == invariants


def test_each_invariant_is_broken_by_some_test(connection: Connection) -> None:
    tested = set().union(*(invariants for _, invariants in BREAKS))
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
        "has 250401.5, but deposits and trades less what open orders reserve make 250400",
    )


def test_a_reader_may_check_a_standby(market: Market) -> None:
    """A standby runs nothing but read-only transactions."""
    market.account("1", 10)
    market.connection.execute("set role exchange_reader; set default_transaction_read_only = on")
    assert market.violations() == []


# What would be wrong with the functions, and what is then seen: file, old text, new text, invariant.
MUTATIONS = [
    # Time priority in the book is forgotten, and within a run of orders.
    (
        "place_orders",
        "order by resting_orders.price_rank, resting_orders.order_id\n",
        "order by resting_orders.price_rank, resting_orders.order_id desc\n",
        "fills_keep_priority",
    ),
    (
        "place_orders",
        "while v_rest_ranks[v_next[v_rest]] <= -v_reaches[i] loop",
        "while v_rest_ranks[v_next[v_rest]] < -v_reaches[i] loop",
        "fills_keep_priority",
    ),
    # Equal limits don't match.
    (
        "place_orders",
        "while v_open > 0 and v_rest_ranks[v_rest] <= v_reaches[i] loop",
        "while v_open > 0 and v_rest_ranks[v_rest] < v_reaches[i] loop",
        "book_is_not_crossed",
    ),
    # Price improvement isn't given back.
    (
        "place_orders",
        "v_cash[v_account] + v_fill * p_limits[i] - v_money;",
        "v_cash[v_account];",
        "account_cash_adds_up",
    ),
    # The last digit is rounded off.
    (
        "place_orders",
        "v_money := v_fill * abs(v_rest_ranks[v_rest]);",
        "v_money := round(v_fill * abs(v_rest_ranks[v_rest]), 19);",
        "cash_is_conserved",
    ),
    # Credits are lost.
    (
        "place_orders",
        "where fill.credited is null;",
        "where fill.credited is null and fill.i > 1;",
        "shares_are_conserved",
    ),
    (
        "collect_credits",
        "shares = positions.shares + elsewhere.amount",
        "shares = positions.shares",
        "account_shares_add_up",
    ),
    # A partial fill isn't always written to the book.
    (
        "place_orders",
        "and v_rest_open[n] < v_rest_loaded[n]",
        "and v_rest_open[n] * 2 < v_rest_loaded[n]",
        "order_adds_up",
    ),
    # A party with orders in the same run doesn't get what it bought.
    (
        "place_orders",
        "coalesce(v_held[v_credited], 0) + v_fill;",
        "coalesce(v_held[v_credited], v_fill);",
        "account_shares_add_up",
    ),
    # What belongs to a party without orders in the run goes to another that has some: cash, shares.
    (
        "place_orders",
        "if v_accounts[v_credited] = v_rest_accounts[v_rest] and",
        "if v_credited > 0 and",
        "account_cash_adds_up",
    ),
    (
        "place_orders",
        "if v_positions[v_credited] = exchange.position_key(v_rest_accounts[v_rest], v_symbol_keys[i]) then",
        "if v_credited > 0 then",
        "account_shares_add_up",
    ),
    (
        "collect_credits",
        "where owed.symbol_key is null or owed.position_key = p_position_keys[",
        "where owed.symbol_key is null or owed.position_key >= p_position_keys[",
        "account_shares_add_up",
    ),
    # Positions are searched by halves without being in order.
    (
        "place_orders",
        "order by placed.position_key\n",
        "order by placed.position_key desc\n",
        "account_shares_add_up",
    ),
    # Quotes aren't written: for what is known in memory, for what only the table can tell.
    ("place_orders", "where best is not null;", "where best < 0;", "quote_is_best_order"),
    ("place_orders", "if cardinality(v_unsure) > 0 then", "if false then", "quote_is_best_order"),
    # An order that rests isn't seen to be the best, or is taken for it though better ones lie beyond reach.
    (
        "place_orders",
        "if v_rest_ranks[v_rest] < v_quoted_ranks[v_side] then",
        "if v_rest_ranks[v_rest] < v_quoted_ranks[v_side] - 1 then",
        "quote_is_best_order",
    ),
    (
        "place_orders",
        "elsif v_rest_ranks[v_rest] <= coalesce(v_last_rank[v_side], v_side_reaches[v_side]) then",
        "elsif v_rest is not null then",
        "quote_is_best_order",
    ),
    # The refund is too small, of the wrong thing, or not what is noted.
    (
        "cancel_orders",
        "else ended.open_shares * ended.limit_price end",
        "else ended.open_shares * ended.limit_price / 2 end",
        "cash_is_conserved",
    ),
    (
        "cancel_orders",
        "case ended.side when 'sell' then ended.symbol_key end,",
        "null,",
        "shares_are_conserved",
    ),
    (
        "cancel_orders",
        "ended.open_shares,\n            c_now",
        "ended.open_shares + 1,\n            c_now",
        "order_adds_up",
    ),
    # More is granted than deposited.
    (
        "grant_shares",
        "values (v_account_key, v_symbol_key, p_shares);",
        "values (v_account_key, v_symbol_key, p_shares + 1);",
        "shares_are_conserved",
    ),
    # What is folded replaces what was there.
    ("settle_accounts", "cash = balances.cash + coalesce(", "cash = coalesce(", "cash_is_conserved"),
]


def trade(market: Market, sequences: int) -> None:
    """Let five accounts trade two symbols, with a sweep after each batch."""
    chance = random.Random(1)
    for number in range(12):
        batch = random_batch(chance, 40, 5, 2, number * 25, creating=number == 0)
        market.batch([request._replace(sequence=place % sequences) for place, request in enumerate(batch)])
        market.connection.execute("select exchange.settle_idle_accounts()")


@pytest.mark.parametrize("sequences", [1, 40])
@pytest.mark.parametrize("noted", [False, True], ids=["", "noted"])
def test_sound_functions_leave_nothing_to_find(market: Market, sequences: int, noted: bool) -> None:
    if noted:
        always_hint(market.connection)
    trade(market, sequences)
    assert market.violations() == []


@pytest.mark.parametrize(("file", "old", "new", "invariant"), MUTATIONS)
def test_a_mutated_function_is_found(market: Market, file: str, old: str, new: str, invariant: str) -> None:
    mutate(market.connection, file, old, new)
    trade(market, 40)
    trade(market, 1)
    assert invariant in {found for found, _, _ in market.violations()}


# Of what is read where the first orders are noted.
NOTED_MUTATIONS = [
    ("first_orders", "order_id >= levels.first_id", "order_id > levels.first_id", "fills_keep_priority"),
    ("first_orders", "order_id > v_hint.seen_id", "order_id > v_hint.seen_id + 1", "fills_keep_priority"),
    ("first_orders", "if v_found < p_count and", "if v_found = 0 and", "book_is_not_crossed"),
    ("first_orders", "p_from_rank := v_hint.end_rank", "p_from_rank := p_reach", "fills_keep_priority"),
    ("first_orders", "limit p_count;\n\n        get", "limit 1;\n\n        get", "book_is_not_crossed"),
    ("note_book_hints", "min(first_orders.order_id)", "max(first_orders.order_id)", "book_hint_is_true"),
    (
        "note_book_hints",
        "select order_ids.last_value",
        "select order_ids.last_value + 1",
        "book_hint_is_true",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "invariant"), NOTED_MUTATIONS)
def test_a_mutated_reading_of_notes_is_found(
    market: Market, file: str, old: str, new: str, invariant: str
) -> None:
    always_hint(market.connection)
    mutate(market.connection, file, old, new)
    trade(market, 40)
    trade(market, 1)
    assert invariant in {found for found, _, _ in market.violations()}


def test_a_cancel_that_is_not_quoted_is_found(market: Market) -> None:
    mutate(market.connection, "cancel_orders", "perform exchange.quote(", "-- perform exchange.quote(")
    market.account("1", 1000)
    market.grant("1", "X", 1)
    market.cancel("1", market.place("1", "X", 1, 10))
    assert {invariant for invariant, _, _ in market.violations()} == {"quote_is_best_order"}
