"""Each function of the API called directly, as from psql, and the market's rules through it."""

import random
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.sql.market import Market, Request, wrap

# The largest and the finest number that the exchange takes.
LARGEST = "999999999999999999.99999999999999999999"
FINEST = "0.00000000000000000001"
NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "1000000000000000000", "0.000000000000000000001", None]


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1, 2 and 3 with cash 10000 and 1000 shares of X each."""
    for account in ("1", "2", "3"):
        assert market.account(account, 10000) == "created"
        assert market.grant(account, "X", 1000) == "created"
    return market


def row(market: Market, query: str, *arguments: Any) -> tuple[Any, ...]:
    found = market.connection.execute(query.encode(), arguments).fetchone()
    assert found is not None
    return tuple(found)


# --- creating -----------------------------------------------------------------------------------------------


def test_an_account_exists_with_its_balance(market: Market) -> None:
    assert row(market, "select * from exchange.create_account('007', 12.50)") == ("created", None, None)
    assert market.cash("007") == "12.5"
    assert market.account("7", 0) == "created"  # another one
    assert market.cash("7") == "0"


def test_an_account_is_created_once(market: Market) -> None:
    market.account("1", 5)
    answer = row(market, "select * from exchange.create_account('1', 6)")
    assert answer == ("refused", "account_exists", "account 1 exists already")
    assert market.cash("1") == "5"


@pytest.mark.parametrize("account", ["", "a", "1a", " 1", "1\n", "-1", "1.0", "٣", "1" * 256, None])
def test_an_account_id_is_digits(market: Market, account: str | None) -> None:
    answer = row(market, "select code, message from exchange.create_account(%s, 5)", account)
    assert answer[0] == "invalid_account"
    assert "1 to 255 digits" in answer[1]
    assert len(answer[1]) < 100


@pytest.mark.parametrize("balance", ["-1", f"-{FINEST}", *NO_NUMBERS])
def test_a_balance_is_a_number_from_0(market: Market, balance: str | None) -> None:
    assert market.account("1", balance) == "invalid_balance"
    assert market.batch([Request("query_order", "1", order_id=1)])[0][0].code == "unknown_order"


def test_the_longest_names_are_taken(market: Market) -> None:
    account, sym = "9" * 255, "aZ9" * 85
    market.account(account, 1000)
    market.grant(account, sym, 5)
    assert market.query(account, market.place(account, sym, 1, 5)) == ["open 1"]


def test_a_symbol_may_be_created_again(market: Market) -> None:
    for _ in range(2):
        assert row(market, "select * from exchange.create_symbol('SPY')") == ("created", None, None)
    assert row(market, "select count(*) from exchange.symbols") == (1,)


@pytest.mark.parametrize("sym", ["", "a b", "SPY\n", "Ä", "x;", "x" * 256, None])
def test_a_symbol_is_letters_and_digits(market: Market, sym: str | None) -> None:
    market.account("1", 5)
    assert row(market, "select code from exchange.create_symbol(%s)", sym) == ("invalid_symbol",)
    assert row(market, "select code from exchange.grant_shares(%s, '1', 5)", sym) == ("invalid_symbol",)


def test_shares_add_up(market: Market) -> None:
    market.account("1", 5)
    market.grant("1", "X", "1.5")
    market.grant("1", "X", FINEST)
    assert market.shares("1", "X") == "1.50000000000000000001"


def test_shares_are_granted_to_accounts_that_exist(market: Market) -> None:
    answer = row(market, "select * from exchange.grant_shares('X', '1', 5)")
    assert answer == ("refused", "unknown_account", "no such account: 1")
    assert row(market, "select count(*) from exchange.symbols") == (0,)


@pytest.mark.parametrize("shares", ["0", "-1", *NO_NUMBERS])
def test_granted_shares_are_a_number_above_0(market: Market, shares: str | None) -> None:
    market.account("1", 5)
    assert market.grant("1", "X", shares) == "invalid_amount"
    assert market.shares("1", "X") == "0"


# --- placing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "sym", "amount", "limit", "code"),
    [
        ("9", "X", "1", "1", "unknown_account"),
        (None, "X", "1", "1", "unknown_account"),
        ("1", "Y", "1", "1", "unknown_symbol"),
        ("1", "x", "1", "1", "unknown_symbol"),
        ("1", None, "1", "1", "unknown_symbol"),
        ("1", "X", "0", "1", "invalid_amount"),
        *(("1", "X", number, "1", "invalid_amount") for number in NO_NUMBERS),
        ("1", "X", "1", "0", "invalid_limit"),
        ("1", "X", "1", "-1", "invalid_limit"),
        *(("1", "X", "1", number, "invalid_limit") for number in NO_NUMBERS),
        ("1", "X", "100.00000000000000000001", "100", "insufficient_funds"),
        ("1", "X", LARGEST, LARGEST, "insufficient_funds"),
        ("1", "X", "-1000.00000000000000000001", "1", "insufficient_shares"),
    ],
)
def test_an_order_is_refused_and_changes_nothing(
    traders: Market, account: str | None, sym: str | None, amount: str | None, limit: str | None, code: str
) -> None:
    assert traders.try_place(account, sym, amount, limit) == (None, code)
    assert (traders.cash("1"), traders.shares("1", "X"), traders.book("X")) == ("10000", "1000", [])
    assert row(traders, "select count(*) from exchange.orders") == (0,)


def test_a_refusal_says_what_was_wrong(traders: Market) -> None:
    query = "select message from exchange.place_order(%s, %s, %s, %s)"
    for arguments, message in [
        (("9", "X", 1, 1), "no such account: 9"),
        (("1", "Y", 1, 1), "no such symbol: Y"),
        (("1", "X", 101, 100), "insufficient funds: 10100 needed, 10000 available"),
        (("1", "X", -1001, 100), "insufficient shares of X: 1001 needed, 1000 available"),
    ]:
        assert row(traders, query, *arguments) == (message,)
    assert "amount 0 is not allowed" in row(traders, query, "1", "X", 0, 1)[0]
    assert "limit 0 is not allowed" in row(traders, query, "1", "X", 1, 0)[0]


def test_an_order_reserves_what_it_can_cost(traders: Market) -> None:
    traders.place("1", "X", 10, "12.5")
    traders.place("1", "X", -10, 20)
    assert (traders.cash("1"), traders.shares("1", "X")) == ("9875", "990")
    assert traders.book("X") == ["buy 10 @ 12.5 (1)", "sell 10 @ 20 (2)"]


def test_the_last_of_cash_and_shares_can_be_spent(traders: Market) -> None:
    traders.place("1", "X", 100, 100)
    traders.place("1", "X", -1000, 101)
    assert (traders.cash("1"), traders.shares("1", "X")) == ("0", "0")
    assert traders.try_place("1", "X", FINEST, FINEST) == (None, "insufficient_funds")
    assert traders.try_place("1", "X", f"-{FINEST}", 1) == (None, "insufficient_shares")


@pytest.mark.parametrize(("first", "second"), [((10, 5), (-10, 5)), ((-10, 5), (10, 5))])
def test_equal_limits_match(traders: Market, first: tuple[int, int], second: tuple[int, int]) -> None:
    assert traders.query("2", traders.place("2", "X", *second)) == ["open 10"]
    assert traders.query("1", traders.place("1", "X", *first)) == ["executed 10 @ 5"]
    assert traders.book("X") == []


def test_limits_a_hair_apart_dont_match(traders: Market) -> None:
    traders.place("1", "X", -10, "5.000000000001")
    traders.place("2", "X", 10, 5)
    assert len(traders.book("X")) == 2


def test_a_buyer_gets_back_what_was_reserved_above_the_price(traders: Market) -> None:
    traders.place("1", "X", -10, 5)
    bought = traders.place("2", "X", 10, 7)
    assert traders.query("2", bought) == ["executed 10 @ 5"]
    assert (traders.cash("1"), traders.cash("2")) == ("10050", "9950")


def test_a_seller_gets_the_limit_of_an_earlier_buy(traders: Market) -> None:
    traders.place("1", "X", 10, 7)
    sold = traders.place("2", "X", -10, 5)
    assert traders.query("2", sold) == ["executed 10 @ 7"]
    assert (traders.cash("1"), traders.cash("2")) == ("9930", "10070")


def test_the_best_price_goes_first_then_the_earlier_order(traders: Market) -> None:
    for account, limit in (("1", 6), ("2", 5), ("1", 5), ("2", 4)):
        traders.place(account, "X", -10, limit)
    bought = traders.place("3", "X", 25, 6)
    assert traders.query("3", bought) == ["executed 10 @ 4", "executed 10 @ 5", "executed 5 @ 5"]
    assert traders.book("X") == ["sell 5 @ 5 (3)", "sell 10 @ 6 (1)"]


def test_a_partly_filled_order_keeps_its_place(traders: Market) -> None:
    first = traders.place("1", "X", -10, 5)
    second = traders.place("2", "X", -10, 5)
    traders.place("3", "X", 4, 5)
    traders.place("3", "X", 8, 5)
    assert traders.query("1", first) == ["executed 4 @ 5", "executed 6 @ 5"]
    assert traders.query("2", second) == ["open 8", "executed 2 @ 5"]


def test_what_isnt_filled_at_once_rests(traders: Market) -> None:
    traders.place("1", "X", -10, 5)
    bought = traders.place("2", "X", 30, 5)
    assert traders.query("2", bought) == ["open 20", "executed 10 @ 5"]
    assert traders.book("X") == ["buy 20 @ 5 (2)"]
    assert traders.cash("2") == "9850"


def test_an_account_can_trade_with_itself(traders: Market) -> None:
    traders.place("1", "X", -10, 5)
    bought = traders.place("1", "X", 15, 7)
    assert traders.query("1", bought) == ["open 5", "executed 10 @ 5"]
    assert (traders.cash("1"), traders.shares("1", "X")) == ("9965", "1000")
    traders.cancel("1", bought)
    assert (traders.cash("1"), traders.shares("1", "X")) == ("10000", "1000")
    assert traders.violations() == []


def test_an_order_sweeps_hundreds(traders: Market) -> None:
    """More than is loaded of the book at once, several times over."""
    sells = [Request("place_order", "1", "X", "-2", str(10 + place % 7)) for place in range(400)]
    ids = [answer.order_id for (answer,) in traders.batch(sells)]
    bought = traders.place("2", "X", 799, 12)
    by_priority = sorted(
        (10 + place % 7, order_id) for place, order_id in enumerate(ids) if order_id is not None
    )
    within = [(limit, order_id) for limit, order_id in by_priority if limit <= 12]
    assert len(within) == 172
    assert traders.query("2", bought) == [f"open {799 - 344}"] + [
        f"executed 2 @ {limit}" for limit, _ in within
    ]
    fills = traders.connection.execute(
        "select sell_order_id from exchange.executions order by execution_id"
    ).fetchall()
    assert [order_id for (order_id,) in fills] == [order_id for _, order_id in within]
    assert len(traders.book("X")) == 1 + 400 - 172
    assert traders.violations() == []


def test_a_batch_sweeps_what_it_has_placed_itself(traders: Market) -> None:
    """Resting orders of the run are written and read again when the loaded part of the book is eaten up."""
    for place in range(20):
        traders.place("1", "X", -1, 10 + place)
    batch = [Request("place_order", "3", "X", "-1", str(10 + place)) for place in range(20)]
    batch += [Request("place_order", "2", "X", "40", "29"), Request("place_order", "1", "X", "-1", "29")]
    bought = traders.batch(batch)[20][0].order_id
    assert bought is not None
    assert traders.query("2", bought) == [f"executed 1 @ {10 + place // 2}" for place in range(40)]
    assert traders.book("X") == ["sell 1 @ 29 (42)"]
    assert traders.violations() == []


# --- numbers ------------------------------------------------------------------------------------------------


def test_numbers_are_exact_to_18_and_20_digits(market: Market) -> None:
    market.account("1", LARGEST)
    market.account("2", 0)
    market.grant("2", "X", LARGEST)
    price = "0.99999999999999999999"
    sold = market.place("2", "X", f"-{LARGEST}", price)
    amount = "123456789012345678.12345678901234567891"
    bought = market.place("1", "X", amount, price)
    assert market.query("1", bought) == [f"executed {amount} @ {price}"]
    # The product, to all of its 40 digits after the point.
    assert market.cash("2") == "123456789012345678.1222222211222222221287654321098765432109"
    assert market.cash("1") == "876543210987654321.8777777788777777778612345678901234567891"
    assert market.query("2", sold)[0] == "open 876543210987654321.87654321098765432108"
    assert market.violations() == []


def test_a_hint_from_before_the_clock_was_set_back_is_not_used(traders: Market) -> None:
    """It would be taken for fresh until the clock is where it was: here it is false, which would show."""
    traders.place("1", "X", -10, 5)
    hint = "insert into exchange.book_hints values (1, 'sell', 99, now() + %s::interval, 10, '{9}', '{1}')"
    traders.connection.execute(hint, ["1 hour"])
    assert traders.query("2", traders.place("2", "X", 10, 5)) == ["executed 10 @ 5"]


def test_the_finest_of_all_trades(market: Market) -> None:
    market.account("1", FINEST)
    market.account("2", 0)
    market.grant("2", "X", FINEST)
    market.place("2", "X", f"-{FINEST}", FINEST)
    market.place("1", "X", FINEST, FINEST)
    assert market.cash("2") == "0.0000000000000000000000000000000000000001"
    assert market.cash("1") == "0.0000000000000000000099999999999999999999"
    assert market.violations() == []


def test_what_programs_print_of_doubles_is_taken_exactly(market: Market) -> None:
    """17 significant digits tell any double from its neighbours: what `%.17g` writes."""
    chance = random.Random(1)
    market.account("1", 10**9)
    market.account("2", 10**9)
    market.grant("2", "X", 10**6)
    for price in (618.70666885082926, 0.1, 1 / 3, *(10 ** chance.uniform(-3, 6) for _ in range(50))):
        amount = f"{chance.uniform(0.001, 10):.17g}"
        market.place("2", "X", f"-{amount}", f"{price:.17g}")
        bought = market.place("1", "X", amount, f"{price:.17g}")
        assert market.query("1", bought) == [f"executed {Decimal(amount)} @ {Decimal(f'{price:.17g}')}"]
    assert market.violations() == []


def test_balances_grow_beyond_18_digits(market: Market) -> None:
    for account in ("1", "2"):
        market.account(account, LARGEST)
        market.grant(account, "X", LARGEST)
        market.grant(account, "X", LARGEST)
    market.place("1", "X", "-2", "999999999999999999")
    assert market.try_place("2", "X", "2", "999999999999999999") == (None, "insufficient_funds")
    market.place("2", "X", "1", "999999999999999999")
    assert market.cash("1") == "1999999999999999998.99999999999999999999"
    assert market.shares("1", "X") == "1999999999999999997.99999999999999999998"
    market.place("1", "X", "1.5", "1000000000000000")
    assert market.violations() == []


@pytest.mark.parametrize("number", ["1.500", "1.5", "+1.5", "01.5", "1.5000000000000000"])
def test_numbers_are_told_without_trailing_zeros(traders: Market, number: str) -> None:
    order_id = traders.place("1", "X", number, number)
    assert traders.query("1", order_id) == ["open 1.5"]
    assert traders.cancel("1", order_id) == ["canceled 1.5"]
    assert traders.cash("1") == "10000"


# --- querying and cancelling --------------------------------------------------------------------------------


def test_a_cancel_refunds_what_was_open(traders: Market) -> None:
    buy = traders.place("1", "X", 30, 7)
    sell = traders.place("2", "X", -40, 9)
    traders.place("3", "X", -10, 7)
    assert traders.cancel("1", buy) == ["canceled 20", "executed 10 @ 7"]
    assert traders.cancel("2", sell) == ["canceled 40"]
    assert (traders.cash("1"), traders.shares("1", "X")) == ("9930", "1010")
    assert traders.shares("2", "X") == "1000"
    assert traders.book("X") == []
    assert traders.violations() == []


def test_only_an_open_order_can_be_cancelled(traders: Market) -> None:
    filled = traders.place("1", "X", -10, 5)
    traders.place("2", "X", 10, 5)
    assert traders.cancel("1", filled) == ["nothing_open"]
    canceled = traders.place("1", "X", -10, 5)
    traders.cancel("1", canceled)
    assert traders.cancel("1", canceled) == ["nothing_open"]
    assert traders.query("1", canceled) == ["canceled 10"]
    message = row(traders, "select message from exchange.cancel_order('1', %s)", canceled)
    assert message == (f"order {canceled} has no open shares to cancel",)
    assert traders.shares("1", "X") == "990"


@pytest.mark.parametrize("function", ["query_order", "cancel_order"])
def test_orders_of_others_look_like_none(traders: Market, function: str) -> None:
    order_id = traders.place("1", "X", -10, 5)
    query = f"select * from exchange.{function}(%s, %s)"
    for unknown in (order_id, 987654321):
        answer = traders.connection.execute(query.encode(), ["2", unknown]).fetchall()
        refused = ("refused", None, None, None, "unknown_order", f"no such order: {unknown}")
        assert [parts[:6] for parts in answer] == [refused]
    for account in ("9", None, "1 ", "01"):
        assert row(traders, query, account, order_id)[4] == "unknown_order"
    assert row(traders, query, "1", None)[4] == "unknown_order"
    assert traders.query("1", order_id) == ["open 10"]


def test_times_are_those_of_the_events(traders: Market) -> None:
    (before,) = row(traders, "select extract(epoch from clock_timestamp())")
    sold = traders.place("1", "X", -10, 5)
    traders.place("2", "X", 4, 5)
    traders.cancel("1", sold)
    (after,) = row(traders, "select extract(epoch from clock_timestamp())")
    answers = traders.batch([Request("query_order", "1", order_id=sold)])[0]
    assert [answer.outcome for answer in answers] == ["canceled", "executed"]
    for answer in answers:
        assert answer.at is not None
        assert int(before) <= answer.at <= after


# --- what is owed -------------------------------------------------------------------------------------------


def test_what_is_owed_can_be_spent_at_once(market: Market) -> None:
    for account in ("1", "2", "3"):
        market.account(account, 0 if account == "1" else 100)
    market.grant("1", "X", 10)
    market.place("1", "X", -10, 5)  # sells what it was granted, before anything was settled
    market.place("2", "X", 10, 5)
    market.place("2", "X", -10, 6)  # the shares that it has bought
    market.place("1", "X", 10, 5)  # the money that it has got
    assert (market.cash("1"), market.cash("2"), market.shares("2", "X")) == ("0", "50", "0")
    assert market.violations() == []


def test_settling_changes_nothing_that_an_account_has(traders: Market) -> None:
    traders.place("1", "X", -10, 5)
    traders.place("2", "X", 10, 5)
    before = [(traders.cash(account), traders.shares(account, "X")) for account in ("1", "2", "3")]
    traders.connection.execute("select exchange.settle_account('1')")
    owed = "select account_id from exchange.account_balances where unsettled_cash > 0"
    assert traders.connection.execute(owed).fetchall() == []
    (settled,) = row(traders, "select exchange.settle_idle_accounts()")
    assert settled > 0
    assert row(traders, "select exchange.settle_idle_accounts()") == (0,)
    assert row(traders, "select count(*) from exchange.credits") == (0,)
    assert [(traders.cash(account), traders.shares(account, "X")) for account in ("1", "2", "3")] == before
    assert traders.violations() == []


def test_the_sweep_takes_as_many_accounts_as_it_is_told(traders: Market) -> None:
    counts = [row(traders, "select exchange.settle_idle_accounts(2)")[0] for _ in range(3)]
    assert counts == [2, 1, 0]


# --- batches ------------------------------------------------------------------------------------------------


def test_an_empty_batch_has_no_answer(market: Market) -> None:
    assert market.batch([]) == []


def test_a_sequence_keeps_its_order_whatever_kinds_it_mixes(market: Market) -> None:
    answers = market.batch(
        [
            Request("place_order", "1", "X", "1", "5"),
            Request("create_account", "1", amount="100"),
            Request("place_order", "1", "X", "1", "5"),
            Request("create_symbol", sym="X"),
            Request("place_order", "1", "X", "-1", "5"),
            Request("grant_shares", "1", "X", "1"),
            Request("place_order", "1", "X", "-1", "6"),
            Request("query_order", "1", order_id=1),
            Request("cancel_order", "1", order_id=1),
            Request("query_order", "1", order_id=1),
            Request("cancel_order", "1", order_id=1),
            Request("place_order", "1", "X", "100", "1"),
        ]
    )
    assert [answer.code or answer.outcome for (answer,) in answers] == [
        "unknown_account",
        "created",
        "unknown_symbol",
        "created",
        "insufficient_shares",
        "created",
        "opened",
        "open",
        "canceled",
        "canceled",
        "nothing_open",
        "opened",
    ]
    assert market.violations() == []


def test_sequences_are_answered_each_in_its_place(traders: Market) -> None:
    """Their requests are interleaved, and carried out kind by kind."""
    first = traders.place("1", "X", -10, 5)
    answers = traders.batch(
        [
            Request("query_order", "1", order_id=first, sequence=1),
            Request("place_order", "2", "X", "4", "5", sequence=2),
            Request("cancel_order", "1", order_id=first, sequence=1),
            Request("query_order", "2", order_id=first + 1, sequence=2),
            Request("create_account", "4", amount="1", sequence=3),
            Request("query_order", "1", order_id=first, sequence=1),
        ]
    )
    outcomes = [[answer.outcome for answer in parts] for parts in answers]
    assert [outcomes[place] for place in (1, 3, 4)] == [["opened"], ["executed"], ["created"]]
    assert outcomes[2] == ["canceled", "executed"]
    assert outcomes[5] == ["canceled", "executed"]
    assert traders.violations() == []


def test_one_refusal_costs_the_others_nothing(traders: Market) -> None:
    amounts = ["10", "0", "99999", "-10", "NaN", "5"]
    answers = traders.batch([Request("place_order", "1", "X", amount, "5") for amount in amounts])
    codes = [answer.code for (answer,) in answers]
    assert codes == [None, "invalid_amount", "insufficient_funds", None, "invalid_amount", None]
    assert traders.cash("1") == "9975"


def test_a_refund_pays_for_the_next_order_of_the_batch(traders: Market) -> None:
    order_id = traders.place("1", "X", 100, 100)
    answers = traders.batch(
        [
            Request("place_order", "1", "X", "1", "1"),
            Request("cancel_order", "1", order_id=order_id),
            Request("place_order", "1", "X", "1", "1"),
        ]
    )
    assert [answer.code or answer.outcome for (answer,) in answers] == [
        "insufficient_funds",
        "canceled",
        "opened",
    ]


def test_proceeds_pay_for_the_next_order_of_the_run(market: Market) -> None:
    for account in ("1", "2"):
        market.account(account, 0 if account == "1" else 50)
    market.grant("1", "X", 10)
    answers = market.batch(
        [
            Request("place_order", "1", "X", "-10", "5"),
            Request("place_order", "2", "X", "10", "5"),
            Request("place_order", "2", "X", "-10", "4"),
            Request("place_order", "1", "X", "10", "5"),
            Request("place_order", "1", "X", "1", "11"),
        ]
    )
    codes = [answer.code or answer.outcome for (answer,) in answers]
    assert codes == ["opened"] * 4 + ["insufficient_funds"]
    assert (market.cash("1"), market.shares("1", "X"), market.cash("2")) == ("10", "10", "40")
    assert market.violations() == []


def test_an_unknown_action_ends_the_batch(traders: Market) -> None:
    batch = [Request("place_order", "1", "X", "1", "5"), Request("steal", "1")]
    with pytest.raises(psycopg.Error, match="unknown action: steal") as refused:
        traders.batch(batch)
    assert refused.value.sqlstate == "EX001"
    assert traders.book("X") == []


@pytest.mark.parametrize(
    "requests",
    [
        "'[0:1]={row,row}'",
        "'[2:3]={row,row}'",
        "'{{row,row}}'",
        "'{{row},{row}}'",
        "'{row,null}'",
        "'{null}'",
    ],
)
def test_crooked_arrays_are_refused(traders: Market, requests: str) -> None:
    """A request is called by its place, so it must have one."""
    requests = requests.replace("row", '"(1,place_order,1,X,10,5,,,)"')
    query = f"select exchange.process_batch({requests}::exchange.request[])"
    with pytest.raises(psycopg.Error, match="array of a batch") as refused:
        traders.connection.execute(query.encode())
    assert refused.value.sqlstate == "EX002"
    assert traders.cash("1") == "10000"


def test_what_is_empty_is_missing(traders: Market) -> None:
    query = "select code from exchange.process_batch('{\"(1,place_order,1,X,10,,,,)\"}')"
    assert row(traders, query) == ("invalid_limit",)


def test_no_requests_have_no_answers(traders: Market) -> None:
    assert traders.batch([]) == []
    assert traders.connection.execute("select exchange.process_batch(null)").fetchall() == []


def test_an_account_without_a_balance_is_unknown(market: Market) -> None:
    """No function makes one: it must not buy for nothing."""
    market.account("1", 100)
    market.connection.execute("delete from exchange.balances")
    market.grant("1", "X", 5)
    assert market.try_place("1", "X", 1, 10) == (None, "unknown_account")
    assert market.connection.execute("select shares from exchange.credits").fetchall() == [(5,)]


def test_what_an_account_without_a_balance_sells_is_owed_to_it(market: Market) -> None:
    """Also if the buyer's batch holds an order of its own, which is refused."""
    market.account("1", 100)
    market.account("2", 100)
    market.grant("1", "X", 5)
    market.place("1", "X", -5, 10)
    market.connection.execute("delete from exchange.balances where account_key = 1")
    orders = [Request("place_order", "1", "X", "1", "5"), Request("place_order", "2", "X", "5", "10")]
    (refused,), (opened,) = market.batch(orders)
    assert (refused.code, opened.outcome) == ("unknown_account", "opened")
    owed = "select cash from exchange.credits where account_key = 1"
    assert market.connection.execute(owed).fetchall() == [(50,)]


def test_a_code_that_is_in_no_table_is_found(market: Market) -> None:
    """Every test that asks in a batch holds that none comes."""
    market.account("1")
    wrap(market.connection, "unknown_order", "begin return 'mislaid'; end")
    with pytest.raises(AssertionError):
        market.batch([Request("query_order", "1", order_id=9)])
