"""The match by itself: incoming orders, for which something is reserved somewhere, and the book."""

import random
import re
from pathlib import Path

import psycopg
import pytest

from tests.sql.incoming import Incoming, match, match_one_by_one, open_market, random_orders, what_happened
from tests.sql.market import Market, always_hint
from tests.sql.mutants import Mutant, install

TOUR = Path(__file__).parents[2] / "docs" / "dba.md"


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 7, who have nothing but what their orders reserve, and the symbols X and Y."""
    open_market(market, 7, "X", "Y")
    return market


def place(market: Market, *orders: str) -> list[int | str | None]:
    """Match orders in one call, each written as in `1 X -10 5`; return their ids, or codes."""
    matched = match(market.connection, [Incoming(*order.split()) for order in orders])
    return [code or order_id for order_id, code in matched]


def trades(market: Market) -> list[str]:
    """Return all trades, in their order, as in `2 sold 1 10 @ 5`: the orders, shares and price."""
    query = (
        "select format('%s sold %s %s @ %s', sell_order_id, buy_order_id, trim_scale(shares), "
        "trim_scale(price)) from exchange.executions order by execution_id"
    )
    return [row[0] for row in market.connection.execute(query)]


def credits(market: Market) -> dict[str, tuple[str, str]]:
    """Return what each account is owed of X: shares and money, in one row."""
    query = (
        "select account_id, trim_scale(shares)::text, trim_scale(cash)::text from exchange.credits "
        "inner join exchange.accounts using (account_key) inner join exchange.symbols using (symbol_key) "
        "where sym = 'X'"
    )
    rows = market.connection.execute(query).fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: (row[1], row[2]) for row in rows}


def test_the_worked_example(traders: Market) -> None:
    orders = ["1 X 300 125", "2 X -100 130", "3 X 200 127", "4 X -500 128", "5 X -200 140", "6 X 400 125"]
    assert place(traders, *orders) == [1, 2, 3, 4, 5, 6]
    assert place(traders, "7 X -400 124") == [7]
    assert trades(traders) == ["7 sold 3 200 @ 127", "7 sold 1 200 @ 125"]
    assert traders.book("X") == [
        "buy 100 @ 125 (1)",
        "buy 400 @ 125 (6)",
        "sell 500 @ 128 (4)",
        "sell 100 @ 130 (2)",
        "sell 200 @ 140 (5)",
    ]
    assert credits(traders) == {"1": ("200", "0"), "3": ("200", "0"), "7": ("0", "50400")}
    assert traders.violations() == []


def test_the_best_price_goes_first_then_the_earlier_order(traders: Market) -> None:
    place(traders, "1 X -10 6", "2 X -10 5", "3 X -10 5", "4 X -10 4")
    place(traders, "5 X 25 6")
    assert trades(traders) == ["4 sold 5 10 @ 4", "2 sold 5 10 @ 5", "3 sold 5 5 @ 5"]


def test_orders_of_one_call_trade_with_each_other_in_its_order(traders: Market) -> None:
    place(traders, "1 X -10 6", "2 X -10 5", "3 X 5 6", "4 X -10 5", "5 X 20 6")
    assert trades(traders) == ["2 sold 3 5 @ 5", "2 sold 5 5 @ 5", "4 sold 5 10 @ 5", "1 sold 5 5 @ 6"]
    assert traders.book("X") == ["sell 5 @ 6 (1)"]
    assert traders.violations() == []


def test_a_buyer_is_owed_what_was_reserved_above_the_price(traders: Market) -> None:
    place(traders, "1 X -10 5")
    place(traders, "2 X 15 7")
    assert credits(traders) == {"1": ("0", "50"), "2": ("10", "20")}


def test_a_seller_is_owed_the_limit_of_the_earlier_buy(traders: Market) -> None:
    place(traders, "1 X 10 7")
    place(traders, "2 X -10 5")
    assert credits(traders) == {"1": ("10", "0"), "2": ("0", "70")}


def test_all_that_an_account_gains_in_a_symbol_is_one_credit(traders: Market) -> None:
    place(traders, "1 X -10 5", "1 X -10 6", "2 X 5 5")
    traders.connection.execute("delete from exchange.credits")
    place(traders, "1 X 10 7", "1 Y 1 1", "3 X 5 6")
    assert credits(traders) == {"1": ("10", str(5 * 5 + 5 * 6 + 5 * 2 + 5 * 1 + 5 * 6)), "3": ("5", "0")}


def test_a_halted_symbols_orders_are_refused_and_given_back(traders: Market) -> None:
    place(traders, "1 X 10 5")
    traders.connection.execute("select exchange.halt_symbol('X')")
    answers = place(traders, "2 X -10 5", "3 X 3 7", "2 Y -1 1", "3 X 2 7")
    assert answers == ["symbol_halted", "symbol_halted", 2, "symbol_halted"]
    assert traders.book("X") == ["buy 10 @ 5 (1)"]
    assert credits(traders) == {"2": ("10", "0"), "3": ("0", "35")}
    assert traders.violations() == []
    traders.connection.execute("select exchange.resume_symbol('X')")
    assert place(traders, "4 X -10 5") == [3]  # no id was drawn for what was refused
    assert trades(traders) == ["3 sold 1 10 @ 5"]


def test_nothing_but_halted_orders(traders: Market) -> None:
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert place(traders, "2 X -10 5") == ["symbol_halted"]
    assert traders.violations() == []


def test_no_orders_at_all(traders: Market) -> None:
    assert traders.connection.execute("select * from exchange.match('{}')").fetchall() == [
        ([], [], None, None)
    ]


def test_the_updates_follow_the_best_orders(traders: Market) -> None:
    def told() -> list[str]:
        query = (
            "select distinct on (symbol_key) array[format('buy %s', bid_id), format('sell %s', ask_id)] "
            "from exchange.updates order by symbol_key, seq desc"
        )
        return [text for row in traders.connection.execute(query) for text in row[0]]

    place(traders, "1 X 10 5", "2 X 10 6", "3 X -10 8")
    assert told() == ["buy 2", "sell 3"]
    place(traders, "4 X -10 6")
    assert told() == ["buy 1", "sell 3"]
    place(traders, "4 X -10 1")
    assert told() == ["buy 0", "sell 3"]


@pytest.mark.parametrize("hinted", [False, True], ids=["", "hinted"])
@pytest.mark.parametrize("seed", range(3))
def test_random_orders_leave_books_that_are_sound(traders: Market, seed: int, hinted: bool) -> None:
    if hinted:
        always_hint(traders.connection)
    chance = random.Random(seed)
    for _ in range(15):
        count = chance.choice([1, 2, 20, 100])
        match(traders.connection, random_orders(chance, count, 7, ["X", "Y"]))
        assert traders.violations() == []


@pytest.fixture
def textbook(traders: Market) -> Market:
    """The same market, with the textbook's match from docs/dba.md beside the real one."""
    found = re.search(r"```sql\n(create function textbook_match.*?)```", TOUR.read_text(), re.DOTALL)
    assert found is not None
    traders.connection.execute(found[1].encode())
    return traders


@pytest.mark.parametrize("seed", range(5))
def test_the_textbook_says_the_same(textbook: Market, seed: int) -> None:
    """Orders one by one in the textbook, in calls of some or many here: the same trades, book and gains."""
    connection = textbook.connection
    orders = random_orders(random.Random(seed), 300, 7, ["X", "Y"])
    with connection.transaction(force_rollback=True):
        assert match_one_by_one(connection, orders, "textbook_match") == list(range(1, 301))
        expected = what_happened(connection)
    assert all(expected)
    for size in (1, 7, 300):
        with connection.transaction(force_rollback=True):
            connection.execute("select setval('exchange.order_ids', 1, false)")
            for start in range(0, len(orders), size):
                match(connection, orders[start : start + size])
            assert what_happened(connection) == expected
            assert textbook.violations() == []


def test_the_textbook_would_not_agree_with_another_rule(textbook: Market) -> None:
    connection = textbook.connection
    definition = connection.execute("select pg_get_functiondef('textbook_match'::regproc)").fetchone()
    assert definition is not None
    later_first = definition[0].replace("order by price_rank, order_id", "order by price_rank, order_id desc")
    assert later_first != definition[0]
    orders = random_orders(random.Random(1), 100, 7, ["X"])
    happened = []
    for text in (definition[0], later_first):
        with connection.transaction(force_rollback=True):
            connection.execute(text.encode())
            connection.execute("select setval('exchange.order_ids', 1, false)")
            match_one_by_one(connection, orders, "textbook_match")
            happened.append(what_happened(connection))
    assert happened[0] != happened[1]


NOTHING = "begin end"
LOADED = "declare v_loaded exchange.run_resting[] := {call}; begin return %s; end"
# What could be wrong with the steps of the match, each around one of them.
MUTANTS = {
    "the best order isn't loaded": Mutant("load_resting", LOADED % "v_loaded[2:]"),
    "the last order isn't loaded": Mutant("load_resting", LOADED % "v_loaded[:cardinality(v_loaded) - 1]"),
    "of equal limits the later order goes first": Mutant(
        "load_resting",
        LOADED
        % "array(select r from unnest(v_loaded) as r order by r.side_place, r.price_rank, r.order_id desc)",
    ),
    "equal limits don't match": Mutant(
        "load_sides",
        """
        declare
            v_sides exchange.run_side[] := {call};
        begin
            for n in 1 .. cardinality(v_sides) loop
                v_sides[n].reach := v_sides[n].reach - 0.00000000000000000001;
            end loop;
            return v_sides;
        end
        """,
    ),
    "what is left when the loaded orders are used up is forgotten": Mutant(
        "match_loaded",
        """
        declare
            v_run exchange.run := {call};
        begin
            if v_run.shares_left is not null then
                v_run.place := v_run.place + 1;
                v_run.shares_left := null;
            end if;
            return v_run;
        end
        """,
    ),
    "what is left when the loaded orders are used up begins anew": Mutant(
        "match_loaded",
        """
        declare
            v_run exchange.run := {call};
        begin
            v_run.shares_left := null;
            return v_run;
        end
        """,
    ),
    "the price is the incoming order's": Mutant(
        "event_of",
        "declare v_event exchange.run_event := {call}; "
        "begin if p_kind = 'trade' then v_event.price := p_order.limit_price; end if; return v_event; end",
    ),
    "the other party isn't paid": Mutant(
        "write_gains",
        """
        declare
            v_events exchange.run_event[] := p_events;
        begin
            for n in 1 .. cardinality(v_events) loop
                v_events[n].resting_account_key := v_events[n].account_key;
            end loop;
            p_events := v_events;
            perform {call};
        end
        """,
    ),
    "nobody is paid": Mutant("write_gains", NOTHING),
    "trades aren't written": Mutant("write_executions", NOTHING),
    "nothing comes to rest": Mutant("write_adds", NOTHING),
    "what is used up stays in the book": Mutant("write_used_up", NOTHING),
    "what is used in part stays whole": Mutant("write_reduced", NOTHING),
    "orders aren't written": Mutant("write_orders", NOTHING),
    "no updates are written": Mutant("write_updates", NOTHING),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutated_step_is_found(textbook: Market, mutant: str) -> None:
    connection = textbook.connection
    orders = random_orders(random.Random(1), 200, 7, ["X", "Y"])
    # At last, one that uses up more than is loaded at once.
    sweep = [Incoming("1", "X", "-1", "120")] * 20 + [Incoming("2", "X", "100000", "120")]
    with connection.transaction(force_rollback=True):
        match_one_by_one(connection, orders + sweep, "textbook_match")
        expected = what_happened(connection)
    install(connection, MUTANTS[mutant])
    connection.execute("select setval('exchange.order_ids', 1, false)")
    try:
        for start in range(0, 200, 20):
            match(connection, orders[start : start + 20])
        for order in sweep:
            match(connection, [order])
    except psycopg.errors.CheckViolation:
        return
    assert what_happened(connection) != expected or textbook.violations()


def test_a_halt_that_is_overlooked_would_be_found(traders: Market) -> None:
    install(
        traders.connection,
        Mutant("load_sides", "begin update exchange.symbols set halted_at = null; return {call}; end"),
    )
    with pytest.raises(AssertionError):
        test_a_halted_symbols_orders_are_refused_and_given_back(traders)
