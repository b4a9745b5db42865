"""Orders with terms in the match by itself: what each does at once, and what becomes of its reservation."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import psycopg
import pytest

from pgbourse.loadtest.reference import Order, ReferenceExchange, Terms
from tests.sql.incoming import Incoming, match_told, open_market
from tests.sql.market import Market, always_hint
from tests.sql.mutants import Mutant, hiding, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 5, who have nothing but what their orders reserve, and the symbols X and Y."""
    open_market(market, 5, "X", "Y")
    return market


def place(market: Market, *orders: str) -> list[str]:
    """Match orders in one call; return what their clients are told: `opened 1, filled 5, canceled 0`."""
    return match_told(market.connection, [Incoming.read(order) for order in orders])


def trades(market: Market) -> list[str]:
    """Return all trades, in their order, as in `2 sold 1 10 @ 5`: the orders, shares and price."""
    query = (
        "select format('%s sold %s %s @ %s', sell_order_id, buy_order_id, trim_scale(shares), "
        "trim_scale(price)) from exchange.executions order by execution_id"
    )
    return [row[0] for row in market.connection.execute(query)]


def gains(market: Market) -> dict[str, str]:
    """Return what each account is owed of X, as in `10 shares, 50`; nobody else."""
    query = (
        "select account_id, format('%s shares, %s', trim_scale(sum(shares)), trim_scale(sum(cash))) "
        "from exchange.credits inner join exchange.accounts using (account_key) group by 1"
    )
    return dict(market.connection.execute(query).fetchall())


def canceled(market: Market) -> list[str]:
    """Return all cancellations, as in `2 10`: the order and its shares."""
    query = (
        "select format('%s %s', order_id, trim_scale(shares)) from exchange.cancellations order by order_id"
    )
    return [row[0] for row in market.connection.execute(query)]


def test_ioc_fills_what_it_can_and_the_rest_is_cancelled_and_given_back(traders: Market) -> None:
    place(traders, "1 X -10 5", "1 X -10 7")
    assert place(traders, "2 X 25 6 tif=IOC") == ["opened 3, filled 10, canceled 15"]
    assert trades(traders) == ["1 sold 3 10 @ 5"]
    assert traders.book("X") == ["sell 10 @ 7 (2)"]
    assert canceled(traders) == ["3 15"]
    assert gains(traders) == {"1": "0 shares, 50", "2": "10 shares, 100"}
    assert traders.violations() == []


def test_ioc_that_meets_nothing_is_an_order_all_the_same(traders: Market) -> None:
    assert place(traders, "1 X -10 5 tif=IOC", "2 X 10 5") == ["opened 1, filled 0, canceled 10", "opened 2"]
    assert traders.book("X") == ["buy 10 @ 5 (2)"]
    assert gains(traders) == {"1": "10 shares, 0"}
    assert canceled(traders) == ["1 10"]
    assert traders.violations() == []


def test_what_ioc_fills_and_what_it_cancels_is_one_transaction(traders: Market) -> None:
    """So nobody ever sees it rest, nor its reservation gone."""
    traders.account("7", 1000)
    traders.grant("7", "X", 10)
    traders.place("7", "X", -10, 5)
    traders.connection.execute("select exchange.place_order('7', 'X', 25, 6, tif => 'IOC')")
    of_one = (
        "select count(distinct xmin::text), count(*) from ("
        "select xmin from exchange.orders where order_id = 2 "
        "union all select xmin from exchange.executions "
        "union all select xmin from exchange.cancellations "
        "union all select xmin from exchange.credits where shares = 10) as written"
    )
    assert traders.connection.execute(of_one).fetchone() == (1, 4)


def test_gtc_that_is_said_rests_and_tells_what_it_did(traders: Market) -> None:
    place(traders, "1 X -10 5")
    assert place(traders, "2 X 25 6 tif=GTC", "3 X 1 1 type=limit") == [
        "opened 2, filled 10, canceled 0",
        "opened 3, filled 0, canceled 0",
    ]
    assert traders.book("X") == ["buy 15 @ 6 (2)", "buy 1 @ 1 (3)"]
    assert canceled(traders) == []
    assert traders.violations() == []


def test_a_ref_alone_tells_nothing_more(traders: Market) -> None:
    place(traders, "1 X -10 5")
    assert place(traders, "2 X 25 6 ref=a", "2 X 1 1 post=true ref=b") == ["opened 2", "opened 3"]
    assert traders.book("X") == ["buy 15 @ 6 (2)", "buy 1 @ 1 (3)"]


def test_fok_is_filled_wholly_or_nothing_happens(traders: Market) -> None:
    place(traders, "1 X -10 5", "1 X -10 6", "1 X -10 7")
    assert place(traders, "2 X 20.5 6 tif=FOK") == [
        "unfilled: it can't be filled wholly at once: 20 of 20.5 shares could be had"
    ]
    assert trades(traders) == canceled(traders) == []
    assert gains(traders) == {"2": "0 shares, 123"}
    assert place(traders, "3 X 20 6 tif=FOK") == [
        "opened 4, filled 20, canceled 0"
    ]  # no id was drawn for what was refused
    assert trades(traders) == ["1 sold 4 10 @ 5", "2 sold 4 10 @ 6"]
    assert gains(traders)["3"] == "20 shares, 10"
    assert traders.violations() == []


def test_fok_looks_as_deep_as_it_must(traders: Market) -> None:
    place(traders, *(f"1 X -1 {price}" for price in range(1, 301)))
    assert place(traders, "2 X 300 299 tif=FOK") == [
        "unfilled: it can't be filled wholly at once: 299 of 300 shares could be had"
    ]
    assert place(traders, "2 X 1 1", "2 X 299 300 tif=FOK", "3 X 1 300 tif=FOK") == [
        "opened 301",
        "opened 302, filled 299, canceled 0",
        "unfilled: it can't be filled wholly at once: 0 of 1 shares could be had",
    ]
    assert traders.book("X") == []
    assert traders.violations() == []


def test_post_is_refused_if_it_would_trade_at_once(traders: Market) -> None:
    place(traders, "1 X -10 5")
    assert place(traders, "2 X 10 5 post=true", "2 X 10 4.9 post=true") == [
        "would_trade: it would trade at once: an order rests at 5",
        "opened 2",
    ]
    assert traders.book("X") == ["buy 10 @ 4.9 (2)", "sell 10 @ 5 (1)"]
    assert gains(traders) == {"2": "0 shares, 50"}
    # As its turn comes: after the orders before it in the same call.
    assert place(traders, "3 X 10 5", "3 X 1 5 post=true", "3 Y 1 5", "3 Y -1 5 post=true") == [
        "opened 3",
        "opened 4",
        "opened 5",
        "would_trade: it would trade at once: an order rests at 5",
    ]
    assert traders.violations() == []


def test_post_is_decided_before_stp(traders: Market) -> None:
    place(traders, "1 X -10 5")
    assert place(traders, "1 X 10 5 post=true stp=maker", "1 X 10 4 post=true stp=maker") == [
        "would_trade: it would trade at once: an order rests at 5",
        "opened 2, filled 0, canceled 0",
    ]


def test_without_stp_an_account_trades_with_itself(traders: Market) -> None:
    place(traders, "1 X -10 5")
    assert place(traders, "1 X 10 5 tif=IOC") == ["opened 2, filled 10, canceled 0"]


def test_stp_taker_cancels_the_rest_of_the_incoming_order(traders: Market) -> None:
    place(traders, "1 X -10 5", "2 X -10 6", "1 X -10 7")
    assert place(traders, "2 X 30 7 stp=taker") == ["opened 4, filled 10, canceled 20"]
    assert trades(traders) == ["1 sold 4 10 @ 5"]
    assert traders.book("X") == ["sell 10 @ 6 (2)", "sell 10 @ 7 (3)"]
    assert gains(traders) == {"1": "0 shares, 50", "2": "10 shares, 160"}
    assert canceled(traders) == ["4 20"]
    assert traders.violations() == []


def test_stp_maker_cancels_what_rests_and_goes_on(traders: Market) -> None:
    place(traders, "1 X -10 5", "2 X -10 5", "2 X -4 6", "1 X -10 7", "2 X -1 8")
    assert place(traders, "2 X 25 7 stp=maker") == ["opened 6, filled 20, canceled 0, passed 2, passed 3"]
    assert trades(traders) == ["1 sold 6 10 @ 5", "4 sold 6 10 @ 7"]
    assert traders.book("X") == ["buy 5 @ 7 (6)", "sell 1 @ 8 (5)"]
    assert gains(traders) == {"1": "0 shares, 120", "2": "34 shares, 20"}
    assert canceled(traders) == ["2 10", "3 4"]
    assert traders.violations() == []


def test_stp_maker_gives_back_what_a_resting_buy_had_reserved(traders: Market) -> None:
    place(traders, "1 X 10 5", "2 X 10 4")
    assert place(traders, "1 X -10 4 stp=maker") == ["opened 3, filled 10, canceled 0, passed 1"]
    assert gains(traders) == {"1": "0 shares, 90", "2": "10 shares, 0"}
    assert traders.violations() == []


def test_what_is_passed_is_told_in_the_order_in_which_it_was_met(traders: Market) -> None:
    place(traders, "1 X -10 8", "1 X -4 6", "2 X -1 7", "1 X -3 6")
    assert place(traders, "1 X 2 8 stp=maker") == [
        "opened 5, filled 1, canceled 0, passed 2, passed 4, passed 1"
    ]
    assert traders.book("X") == ["buy 1 @ 8 (5)"]
    assert traders.violations() == []


def test_all_of_a_deep_book_is_passed_or_bought(traders: Market) -> None:
    place(traders, *(f"{1 + price % 2} X -1 {price}" for price in range(1, 301)))
    (told,) = place(traders, "1 X 151 - type=market budget=1000000 stp=maker")
    assert told.split(", ")[:3] == ["opened 301", "filled 150", "canceled 1"]
    assert [int(words.split()[1]) for words in told.split(", ")[3:]] == list(range(2, 301, 2))
    assert traders.book("X") == []
    assert traders.violations() == []


def test_stp_both_cancels_both(traders: Market) -> None:
    place(traders, "1 X -10 5", "2 X -10 6", "2 X -10 7")
    assert place(traders, "2 X 30 7 stp=both") == ["opened 4, filled 10, canceled 20, passed 2"]
    assert traders.book("X") == ["sell 10 @ 7 (3)"]
    assert canceled(traders) == ["2 10", "4 20"]
    assert traders.violations() == []


@pytest.mark.parametrize("stp", ["taker", "maker", "both"])
def test_an_order_that_is_filled_or_out_of_reach_meets_no_own_order(traders: Market, stp: str) -> None:
    place(traders, "1 X -10 5", "2 X -10 6", "2 X -10 7")
    assert place(traders, f"2 X 10 7 stp={stp}") == ["opened 4, filled 10, canceled 0"]
    assert place(traders, f"2 X 10 5.9 stp={stp}") == ["opened 5, filled 0, canceled 0"]
    assert traders.book("X") == ["buy 10 @ 5.9 (5)", "sell 10 @ 6 (2)", "sell 10 @ 7 (3)"]


@pytest.mark.parametrize(
    ("stp", "told"),
    [
        ("taker", "unfilled: it can't be filled wholly at once: 10 of 20 shares could be had"),
        ("both", "unfilled: it can't be filled wholly at once: 10 of 20 shares could be had"),
        ("maker", "opened 4, filled 20, canceled 0, passed 2"),
    ],
)
def test_fok_among_own_orders(traders: Market, stp: str, told: str) -> None:
    place(traders, "1 X -10 5", "2 X -10 6", "3 X -10 7")
    assert place(traders, f"2 X 20 7 tif=FOK stp={stp}") == [told]
    assert canceled(traders) == (["2 10"] if stp == "maker" else [])


def test_fok_that_fails_passes_nothing(traders: Market) -> None:
    place(traders, "1 X -10 5", "2 X -10 6", "3 X -10 7")
    assert place(traders, "2 X 21 7 tif=FOK stp=maker") == [
        "unfilled: it can't be filled wholly at once: 20 of 21 shares could be had"
    ]
    assert canceled(traders) == trades(traders) == []
    assert len(traders.book("X")) == 3


def test_fok_is_cancelled_for_no_own_order_that_stands_in_its_way(traders: Market) -> None:
    place(traders, "2 X -5 5")
    for stp in ("taker", "both"):
        assert place(traders, f"2 X 5 5 tif=FOK stp={stp}") == [
            "unfilled: it can't be filled wholly at once: 0 of 5 shares could be had"
        ]
    assert traders.book("X") == ["sell 5 @ 5 (1)"]
    assert canceled(traders) == []


def test_what_is_passed_or_cancelled_is_gone_for_the_orders_behind(traders: Market) -> None:
    place(traders, "1 X -10 5")
    assert place(traders, "1 X 5 5 stp=both", "2 X 10 5", "3 X -4 5", "3 X -10 5 tif=IOC") == [
        "opened 2, filled 0, canceled 5, passed 1",
        "opened 3",
        "opened 4",
        "opened 5, filled 6, canceled 4",
    ]
    assert traders.book("X") == []
    assert traders.violations() == []


def test_a_market_sell_takes_any_price(traders: Market) -> None:
    place(traders, "1 X 10 5", "2 X 10 0.00000000000000000001")
    assert place(traders, "3 X -25 - type=market") == ["opened 3, filled 20, canceled 5"]
    assert gains(traders) == {
        "1": "10 shares, 0",
        "2": "10 shares, 0",
        "3": "5 shares, 50.0000000000000000001",
    }
    assert canceled(traders) == ["3 5"]
    assert traders.violations() == []


def test_a_market_buy_gets_back_what_it_does_not_spend(traders: Market) -> None:
    place(traders, "1 X -10 5", "1 X -10 6")
    assert place(traders, "2 X 15 - type=market budget=100") == ["opened 3, filled 15, canceled 0"]
    assert gains(traders) == {"1": "0 shares, 80", "2": "15 shares, 20"}
    row = traders.connection.execute("select limit_price from exchange.orders where order_id = 3").fetchone()
    assert row == (None,)
    limits = "select buy_limit, sell_limit from exchange.executions order by execution_id"
    assert traders.connection.execute(limits).fetchall() == [(None, 5), (None, 6)]
    assert traders.violations() == []


def test_a_market_buy_that_meets_nothing(traders: Market) -> None:
    assert place(traders, "2 X 15 - type=market budget=100") == ["opened 1, filled 0, canceled 15"]
    assert gains(traders) == {"2": "0 shares, 100"}
    assert traders.violations() == []


@pytest.mark.parametrize("sells", ["10@5", "3@5 3@5 4@5"])
@pytest.mark.parametrize(
    ("amount", "budget", "filled", "left"),
    [
        ("60", "50", "10", "0"),  # all there is
        ("60", "49", "9", "4"),  # whole shares
        ("60.0", "49", "9.8", "0"),  # tenths
        ("60", "4.9", "0", "4.9"),  # not even one
        ("9.5", "47.5", "9.5", "0"),
        ("9.50", "47.49", "9.49", "0.04"),
        ("0.0000000000000000003", "1", "0.0000000000000000003", "0.9999999999999999985"),
    ],
)
def test_a_market_buy_takes_the_steps_that_its_budget_pays_for(
    traders: Market, sells: str, amount: str, budget: str, filled: str, left: str
) -> None:
    place(traders, *(f"1 X -{sell.replace('@', ' ')}" for sell in sells.split()))
    count = len(sells.split())
    (told,) = place(traders, f"2 X {amount} - type=market budget={budget}")
    assert told.startswith(f"opened {count + 1}, filled {filled}, canceled ")
    assert gains(traders)["2"] == f"{filled} shares, {left}"
    assert traders.violations() == []


@pytest.mark.parametrize(
    ("sells", "amount", "budget", "told"),
    [
        # A resting order that is smaller than a step is taken whole, if the budget pays for it.
        ("0.5@10 5@10", "3", "20", "filled 1.5, canceled 1.5"),
        ("0.5@10 5@10", "3", "4.9", "filled 0, canceled 3"),
        ("0.5@10 5@10", "3", "5", "filled 0.5, canceled 2.5"),
        # One that isn't smaller when this order comes to it, is not: what is left of it, is.
        ("2.5@10 5@11", "60", "27", "filled 2, canceled 58"),
        ("2.5@10 5@11", "60", "29.9", "filled 2, canceled 58"),
        ("2.5@10 5@11", "60", "30", "filled 2.5, canceled 57.5"),
        # So is a rest of the amount.
        ("3.5@1 3.5@1", "7", "7", "filled 7, canceled 0"),
        ("3.5@1 3.5@1", "7", "6.9", "filled 6.5, canceled 0.5"),
        ("0.5@10 2@10", "1", "9.9", "filled 0.5, canceled 0.5"),
        ("0.5@10 2@10", "1", "10", "filled 1, canceled 0"),
        # Nothing is passed over: what the budget doesn't pay for ends the order.
        ("3@10 0.5@10", "3", "9", "filled 0, canceled 3"),
        ("1@10 1@20 1@1", "3", "29", "filled 2, canceled 1"),
    ],
)
def test_steps_and_what_is_smaller(traders: Market, sells: str, amount: str, budget: str, told: str) -> None:
    place(traders, *(f"1 X -{sell.replace('@', ' ')}" for sell in sells.split()))
    count = len(sells.split())
    assert place(traders, f"2 X {amount} - type=market budget={budget}") == [f"opened {count + 1}, {told}"]
    wanted = Decimal(amount) == Decimal(told.split()[1].strip(","))
    (fok,) = place(traders, f"3 X {amount} - type=market tif=FOK budget=0.01")
    assert fok.startswith("unfilled: ")
    assert wanted == told.endswith("canceled 0")
    assert traders.violations() == []


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ("110", "opened 3, filled 15, canceled 0"),
        ("80", "opened 3, filled 15, canceled 0"),
        ("79.99", "unfilled: it can't be filled wholly at once: 14 of 15 shares could be had"),
    ],
)
def test_a_market_buy_that_is_fok_gets_all_within_its_budget(traders: Market, budget: str, told: str) -> None:
    place(traders, "1 X -10 5", "1 X -10 6")
    assert place(traders, f"2 X 15 - type=market tif=FOK budget={budget}") == [told]
    expected = Decimal(budget) - (0 if "unfilled" in told else 80)
    shares = 0 if "unfilled" in told else 15
    assert gains(traders)["2"] == f"{shares} shares, {expected.normalize():f}"
    assert traders.violations() == []


def test_a_market_buy_whose_budget_is_spent_has_ended_before_its_own_order(traders: Market) -> None:
    place(traders, "1 X -10 5", "2 X -10 6")
    assert place(traders, "2 X 15 - type=market budget=55.9 stp=maker") == ["opened 3, filled 10, canceled 5"]
    assert traders.book("X") == ["sell 10 @ 6 (2)"]
    place(traders, "1 X -10 5")
    assert place(traders, "2 X 15 - type=market budget=56 stp=maker") == [
        "opened 5, filled 10, canceled 5, passed 2"
    ]
    assert traders.violations() == []


def test_a_market_order_never_rests_and_is_fok_if_it_says_so(traders: Market) -> None:
    place(traders, "1 X -10 5", "1 X 10 4")
    assert place(traders, "2 X 15 - type=market budget=500 tif=IOC", "2 X -15 - type=market tif=FOK") == [
        "opened 3, filled 10, canceled 5",
        "unfilled: it can't be filled wholly at once: 10 of 15 shares could be had",
    ]
    assert place(traders, "2 X -15 - type=market") == ["opened 4, filled 10, canceled 5"]
    assert traders.book("X") == []
    assert traders.violations() == []


def test_a_halted_symbols_orders_with_terms_are_refused_and_given_back(traders: Market) -> None:
    traders.connection.execute("select exchange.halt_symbol('X')")
    orders = ["1 X 5 5 tif=FOK", "2 X 5 - type=market budget=30", "3 X -5 - type=market", "4 X 1 1 post=true"]
    assert place(traders, *orders) == ["symbol_halted"] * 4
    assert gains(traders) == {
        "1": "0 shares, 25",
        "2": "0 shares, 30",
        "3": "5 shares, 0",
        "4": "0 shares, 1",
    }
    assert traders.violations() == []


def test_what_is_kept_of_an_orders_terms(traders: Market) -> None:
    place(traders, "1 X -10 5 ref=a1", "2 X -10 6", "3 X 1 1 post=true ref=p")
    place(
        traders, "2 X 20 7 tif=IOC stp=both ref=b:2", "4 X 5 - type=market budget=9", "1 X 1 9 tif=FOK ref=f"
    )
    rows = traders.connection.execute(
        "select order_id, account_id, ref, type, budget, tif, post, stp, executed_shares, canceled_shares, "
        "passed_order_ids from exchange.order_terms join exchange.accounts using (account_key) order by 1"
    ).fetchall()
    assert rows == [
        (1, "1", "a1", None, None, None, False, None, None, None, None),
        (3, "3", "p", None, None, None, True, None, None, None, None),
        (4, "2", "b:2", None, None, "IOC", False, "both", 10, 10, [2]),
        (5, "4", None, "market", 9, None, False, None, 0, 5, None),
    ]


def test_a_replaces_order_says_what_it_replaced(traders: Market) -> None:
    (told,) = match_told(traders.connection, [Incoming.read("1 X 10 5 ref=b")], "incoming, 17, 30.50")
    assert told == "opened 1, replaced 17 30.5"
    row = traders.connection.execute("select replaced_order_id, released_shares from exchange.order_terms")
    assert row.fetchall() == [(17, Decimal("30.50"))]


def test_terms_that_say_nothing_are_kept_of_a_replace(traders: Market) -> None:
    order = Incoming("1", "X", "10", "5", "(,,,,,,,)")
    assert match_told(traders.connection, [order], "incoming, 17, 30") == ["opened 1, replaced 17 30"]


def random_order(chance: random.Random) -> Incoming:
    """Draw an order of any kind, of which many meet: few prices, few accounts."""
    said = {}
    amount = str(Decimal(chance.randint(1, 60)) / chance.choice([1, 1, 2, 4]))
    if chance.random() < 0.2:
        amount += ".0" if "." not in amount else "0"
    buying = chance.random() < 0.5
    market = chance.random() < 0.25
    if market or chance.random() < 0.1:
        said["type"] = "market" if market else "limit"
    if market and buying:
        said["budget"] = str(Decimal(chance.randint(1, 60 * 5)) / chance.choice([1, 4]))
    if chance.random() < 0.6:
        said["tif"] = chance.choice(["IOC", "FOK"] if market else ["GTC", "IOC", "FOK"])
    if chance.random() < 0.5:
        said["stp"] = chance.choice(["taker", "maker", "both"])
    if not market and said.get("tif") in (None, "GTC") and chance.random() < 0.3:
        said["post"] = "true"
    if chance.random() < 0.4 and not market:
        said = {}
    limit = "-" if market else chance.choice(["4", "4.5", "5", "5.00000000000000000001", "6"])
    words = [str(chance.randint(1, 4)), "X", amount if buying else f"-{amount}", limit]
    return Incoming.read(" ".join([*words, *(f"{name}={value}" for name, value in said.items())]))


def refer(exchange: ReferenceExchange, order: Incoming, next_id: int) -> str:
    """Place an order in the reference, which first gets what it reserves; return what the client is told."""
    assert order.terms is not None or order.limit is not None
    ref, kind, budget, tif, post, stp = (order.terms or "(,,,,,,,)").strip("()").split(",")[:6]
    terms = Terms(
        ref=ref or None,
        type=kind or None,
        budget=Decimal(budget) if budget else None,
        tif=tif or None,
        post=post == "true",
        stp=stp or None,
    )
    amount, limit = Decimal(order.amount), None if order.limit is None else Decimal(order.limit)
    if amount < 0:
        exchange.grant_shares(order.sym, order.account, -amount)
    else:
        exchange.cash[order.account] += terms.budget or amount * (limit or 0)
    placed = exchange.place_order(order.account, order.sym, amount, limit, terms)
    if not isinstance(placed, Order):
        return placed
    exchange.number(placed, next_id)
    told = [f"opened {next_id}"]
    if tif or kind or stp:
        told += [
            f"filled {placed.executed.normalize():f}",
            f"canceled {placed.canceled_at_once.normalize():f}",
        ]
    return ", ".join([*told, *(f"passed {passed}" for passed in placed.passed)])


def compare(market: Market, seed: int, sizes: tuple[int, ...], count: int) -> None:
    """Match random orders, some in one call, and place them one by one in the reference."""
    chance = random.Random(seed)
    exchange = ReferenceExchange()
    exchange.symbols.add("X")
    for account in "12345":
        exchange.create_account(account, Decimal(0))
    while count > 0:
        orders = [random_order(chance) for _ in range(chance.choice(sizes))]
        count -= len(orders)
        expected = [refer(exchange, order, 1 + len(exchange.orders)) for order in orders]
        told = match_told(market.connection, orders)
        assert [text.split(":")[0] for text in told] == [
            text.split(" ")[0] if text[:6] != "opened" else text for text in expected
        ]
        assert [text.split()[8] for text in told if text.startswith("unfilled")] == [
            text.split()[1] for text in expected if text.startswith("unfilled")
        ]
    rests = "select order_id, open_shares from exchange.resting_orders order by order_id"
    assert market.connection.execute(rests).fetchall() == exchange.book()
    for account, cash in exchange.cash.items():
        assert Decimal(market.cash(account)) == cash
        assert Decimal(market.shares(account, "X")) == exchange.shares.get((account, "X"), 0)
    assert market.violations() == []


@pytest.mark.parametrize("hinted", [False, True], ids=["", "hinted"])
@pytest.mark.parametrize("seed", range(6))
def test_random_orders_do_what_the_reference_says(traders: Market, seed: int, hinted: bool) -> None:
    if hinted:
        always_hint(traders.connection)
    compare(traders, seed, (1, 5, 40), 300)


# What could be wrong with the match of orders with terms, each around one of its steps, and what finds it.
PLAN = "declare v_plan exchange.run_plan := {call}; begin %s; return v_plan; end"
ORDER = "begin p_order.%s; return {call}; end"
EVENTS = """
declare
    v_events exchange.run_event[] := p_events;
begin
    for n in 1 .. cardinality(v_events) loop
        %s;
    end loop;
    p_events := v_events;
    perform {call};
end
"""
KEPT = """
begin
    for n in 1 .. cardinality(p_ends) loop p_ends[n].passed := null; end loop;
    return {call};
end
"""
TOLD = "begin for n in 1 .. cardinality(p_ends) loop %s; end loop; return {call}; end"
MUTANTS: dict[str, tuple[Mutant, Callable[[Market], None]]] = {
    "IOC rests": (
        Mutant("plan_order", PLAN % "v_plan.rests := v_plan.rests + v_plan.cancels; v_plan.cancels := 0"),
        test_ioc_fills_what_it_can_and_the_rest_is_cancelled_and_given_back,
    ),
    "what is cancelled isn't given back": (
        Mutant("write_gains", EVENTS % "if v_events[n].kind = 'cancel' then v_events[n].shares := 0; end if"),
        test_ioc_that_meets_nothing_is_an_order_all_the_same,
    ),
    "a cancelled rest is written in another transaction": (
        Mutant(
            "write_cancellations",
            "begin begin perform {call}; exception when division_by_zero then null; end; end",
        ),
        test_what_ioc_fills_and_what_it_cancels_is_one_transaction,
    ),
    "a cancelled rest isn't written": (
        Mutant("write_cancellations", "begin end"),
        test_ioc_that_meets_nothing_is_an_order_all_the_same,
    ),
    "FOK takes what it can": (
        Mutant("plan_order", ORDER % "terms.tif := 'IOC'"),
        test_fok_is_filled_wholly_or_nothing_happens,
    ),
    "FOK tells what it wants": (
        Mutant("plan_order", PLAN % "v_plan.message := replace(v_plan.message, ': 20 of', ': 20.5 of')"),
        test_fok_is_filled_wholly_or_nothing_happens,
    ),
    "FOK looks no deeper than what is loaded": (
        Mutant("plan_order", "begin p_is_whole := true; return {call}; end"),
        test_fok_looks_as_deep_as_it_must,
    ),
    "post only is forgotten": (
        Mutant("plan_order", ORDER % "terms.post := false"),
        test_post_is_refused_if_it_would_trade_at_once,
    ),
    "post only is refused whatever the price": (
        Mutant("plan_order", ORDER % "limit_price := case p_order.side when 'buy' then 100 else 0.1 end"),
        test_post_is_refused_if_it_would_trade_at_once,
    ),
    "stp goes before post": (
        Mutant(
            "plan_order",
            """
            declare
                v_plan exchange.run_plan;
            begin
                p_order.terms.post := false;
                v_plan := {call};
                if exists (select from unnest(v_plan.steps) as step where step.kind = 'trade') then
                    v_plan.code := 'would_trade';
                end if;
                return v_plan;
            end
            """,
        ),
        test_post_is_decided_before_stp,
    ),
    "nobody trades with themselves": (
        Mutant("plan_order", ORDER % "terms.stp := coalesce((p_order.terms).stp, 'taker')"),
        test_without_stp_an_account_trades_with_itself,
    ),
    "stp is forgotten": (
        Mutant("plan_order", ORDER % "terms.stp := null"),
        test_stp_taker_cancels_the_rest_of_the_incoming_order,
    ),
    "taker is both": (
        Mutant(
            "plan_order",
            ORDER
            % "terms.stp := case (p_order.terms).stp when 'taker' then 'both' else (p_order.terms).stp end",
        ),
        test_stp_taker_cancels_the_rest_of_the_incoming_order,
    ),
    "maker is both": (
        Mutant(
            "plan_order",
            ORDER
            % "terms.stp := case (p_order.terms).stp when 'maker' then 'both' else (p_order.terms).stp end",
        ),
        test_stp_maker_cancels_what_rests_and_goes_on,
    ),
    "both is maker": (
        Mutant(
            "plan_order",
            ORDER
            % "terms.stp := case (p_order.terms).stp when 'both' then 'maker' else (p_order.terms).stp end",
        ),
        test_stp_both_cancels_both,
    ),
    "the rest is left to rest, stopped or not": (
        Mutant(
            "plan_order",
            PLAN % "v_plan.rests := v_plan.rests + v_plan.cancels; v_plan.cancels := 0",
        ),
        test_stp_taker_cancels_the_rest_of_the_incoming_order,
    ),
    "what is passed isn't told": (
        Mutant("write_order_terms", KEPT),
        test_stp_maker_cancels_what_rests_and_goes_on,
    ),
    "what is passed is told by id": (
        Mutant(
            "write_order_terms",
            "begin for n in 1 .. cardinality(p_ends) loop p_ends[n].passed := array(select passed "
            "from unnest(p_ends[n].passed) as passed order by passed); end loop; return {call}; end",
        ),
        test_what_is_passed_is_told_in_the_order_in_which_it_was_met,
    ),
    "no deeper than what is loaded": (
        Mutant("plan_order", "begin p_is_whole := true; return {call}; end"),
        test_all_of_a_deep_book_is_passed_or_bought,
    ),
    **{
        f"FOK passes own orders though it is {stp}": (
            Mutant(
                "plan_order",
                f"begin if (p_order.terms).tif = 'FOK' and (p_order.terms).stp = '{stp}' "
                "then p_order.terms.stp := 'maker'; end if; return {call}; end",
            ),
            partial(
                test_fok_among_own_orders,
                stp=stp,
                told="unfilled: it can't be filled wholly at once: 10 of 20 shares could be had",
            ),
        )
        for stp in ("taker", "both")
    },
    "FOK ends at own orders that it may pass": (
        Mutant(
            "plan_order",
            "begin if (p_order.terms).tif = 'FOK' then p_order.terms.stp := 'taker'; end if; "
            "return {call}; end",
        ),
        partial(test_fok_among_own_orders, stp="maker", told="opened 4, filled 20, canceled 0, passed 2"),
    ),
    "FOK is an order that is cancelled": (
        Mutant(
            "plan_order",
            """
            declare
                v_plan exchange.run_plan := {call};
            begin
                if v_plan.code = 'unfilled' then
                    p_order.terms.tif := 'IOC';
                    v_plan := {call};
                    v_plan.steps := array(
                        select step from unnest(v_plan.steps) as step where step.kind = 'remove'
                    );
                    v_plan.cancels := p_order.shares;
                end if;
                return v_plan;
            end
            """,
        ),
        test_fok_is_cancelled_for_no_own_order_that_stands_in_its_way,
    ),
    "FOK that fails has passed own orders": (
        Mutant(
            "plan_order",
            """
            declare
                v_plan exchange.run_plan := {call};
            begin
                if v_plan.code = 'unfilled' and (p_order.terms).stp = 'maker' then
                    perform exchange.end_orders(
                        array(
                            select rest from exchange.resting_orders as rest
                            where rest.account_key = p_order.account_key
                        ),
                        clock_timestamp()
                    );
                end if;
                return v_plan;
            end
            """,
        ),
        test_fok_that_fails_passes_nothing,
    ),
    "what taker has filled goes with the rest": (
        Mutant(
            "plan_order",
            PLAN % "if v_plan.cancels > 0 then v_plan.cancels := p_order.shares; v_plan.best := p_best; "
            "v_plan.steps := array[]::exchange.run_step[]; end if",
        ),
        test_stp_taker_cancels_the_rest_of_the_incoming_order,
    ),
    "what is passed loses no more than would be filled": (
        Mutant(
            "plan_order",
            PLAN % "for n in 1 .. coalesce(cardinality(v_plan.steps), 0) loop "
            "if v_plan.steps[n].kind = 'remove' then "
            "v_plan.steps[n].shares := least(v_plan.steps[n].shares, p_order.shares); end if; end loop",
        ),
        test_what_is_passed_is_told_in_the_order_in_which_it_was_met,
    ),
    "stp is for others' orders": (
        Mutant("plan_order", ORDER % "account_key := p_order.account_key + 1"),
        test_stp_both_cancels_both,
    ),
    "post only looks past its own batch": (
        Mutant(
            "plan_order",
            PLAN % "if v_plan.code = 'would_trade' and not exists (select from exchange.orders "
            "where order_id = p_resting[p_best].order_id) then v_plan := row(null, null, null, array[]::"
            "exchange.run_step[], null, p_best, p_order.shares, 0)::exchange.run_plan; end if",
        ),
        test_post_is_refused_if_it_would_trade_at_once,
    ),
    "post only tells what it did": (
        Mutant(
            "write_order_terms",
            "begin for n in 1 .. cardinality(p_incoming) loop if (p_incoming[n].terms).post then "
            "p_incoming[n].terms.type := 'limit'; end if; end loop; return {call}; end",
        ),
        test_a_ref_alone_tells_nothing_more,
    ),
    "GTC is IOC": (
        Mutant(
            "plan_order",
            PLAN % "v_plan.cancels := v_plan.cancels + v_plan.rests; v_plan.rests := 0",
        ),
        test_gtc_that_is_said_rests_and_tells_what_it_did,
    ),
    **{
        f"nothing is told of an order that says no more than its {name}": (
            Mutant(
                "write_order_terms",
                TOLD % f"if (p_incoming[p_ends[n].place].terms).{name} is not null then "
                "p_ends[n].executed := null; p_ends[n].canceled := null; p_ends[n].passed := null; end if",
            ),
            test,
        )
        for name, test in (
            ("tif", test_gtc_that_is_said_rests_and_tells_what_it_did),
            ("type", test_gtc_that_is_said_rests_and_tells_what_it_did),
            (
                "stp",
                partial(test_an_order_that_is_filled_or_out_of_reach_meets_no_own_order, stp="taker"),
            ),
        )
    },
    "nothing is told of what was filled": (
        Mutant("write_order_terms", TOLD % "p_ends[n].executed := 0"),
        test_ioc_fills_what_it_can_and_the_rest_is_cancelled_and_given_back,
    ),
    "nothing is told of what was cancelled": (
        Mutant("write_order_terms", TOLD % "p_ends[n].canceled := 0"),
        test_ioc_fills_what_it_can_and_the_rest_is_cancelled_and_given_back,
    ),
    "what is passed isn't given back": (
        Mutant("write_gains", EVENTS % "if v_events[n].kind = 'remove' then v_events[n].shares := 0; end if"),
        test_stp_maker_gives_back_what_a_resting_buy_had_reserved,
    ),
    "what is passed is counted as had": (
        Mutant(
            "plan_order",
            """
            begin
                if (p_order.terms).tif = 'FOK' then p_order.terms.stp := null; end if;
                return {call};
            end
            """,
        ),
        test_fok_that_fails_passes_nothing,
    ),
    "a market order has a limit": (
        Mutant(
            "load_sides",
            "declare v_sides exchange.run_side[] := {call}; begin for n in 1 .. cardinality(v_sides) loop "
            "v_sides[n].reach := least(v_sides[n].reach, -1); end loop; return v_sides; end",
        ),
        test_a_market_sell_takes_any_price,
    ),
    "a market order is GTC": (
        Mutant(
            "plan_order",
            PLAN % "v_plan.rests := v_plan.rests + v_plan.cancels; v_plan.cancels := 0",
        ),
        test_a_market_order_never_rests_and_is_fok_if_it_says_so,
    ),
    "a market order is never FOK": (
        Mutant("plan_order", ORDER % "terms.tif := 'IOC'"),
        test_a_market_order_never_rests_and_is_fok_if_it_says_so,
    ),
    "a market order has the worst price first": (
        hiding(
            "exists (select from exchange.resting_orders as worse where worse.symbol_key = rest.symbol_key "
            "and worse.side = rest.side and worse.price_rank > rest.price_rank)"
        ),
        test_a_market_buy_gets_back_what_it_does_not_spend,
    ),
    "FOK within twice its budget": (
        Mutant("affordable_shares", "begin p_budget := p_budget * 2; return {call}; end"),
        partial(
            test_a_market_buy_that_is_fok_gets_all_within_its_budget,
            budget="79.99",
            told="unfilled: it can't be filled wholly at once: 14 of 15 shares could be had",
        ),
    ),
    "the rest of a budget is kept": (
        Mutant(
            "write_gains",
            EVENTS
            % "if v_events[n].kind = 'cancel' and v_events[n].shares = 0 then v_events[n].kind := 'add'; "
            "v_events[n].budget := null; elsif v_events[n].kind = 'trade' then v_events[n].budget := null; "
            "v_events[n].limit_price := coalesce(v_events[n].limit_price, v_events[n].price); end if",
        ),
        test_a_market_buy_gets_back_what_it_does_not_spend,
    ),
    "a market buy is paid nothing back if it meets nothing": (
        Mutant(
            "write_gains", EVENTS % "if v_events[n].budget is not null then v_events[n].budget := 0; end if"
        ),
        test_a_market_buy_that_meets_nothing,
    ),
    "a market buy ends at its own order though its budget is spent": (
        Mutant("affordable_shares", "begin return least(p_left, p_open); end"),
        test_a_market_buy_whose_budget_is_spent_has_ended_before_its_own_order,
    ),
    "refs aren't kept": (
        Mutant("write_order_terms", "begin return null; end"),
        test_what_is_kept_of_an_orders_terms,
    ),
    "what was replaced isn't kept": (
        Mutant("write_order_terms", "begin p_replaced_order_id := null; return {call}; end"),
        test_a_replaces_order_says_what_it_replaced,
    ),
    "a halt is overlooked": (
        Mutant("load_sides", "begin update exchange.symbols set halted_at = null; return {call}; end"),
        test_a_halted_symbols_orders_with_terms_are_refused_and_given_back,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(traders: Market, mutant: str) -> None:
    fault, test = MUTANTS[mutant]
    install(traders.connection, fault)
    with pytest.raises((AssertionError, psycopg.errors.CheckViolation)):
        test(traders)


# How else the paragraph on steps could be read.
STEPS = {
    "whatever the budget pays for": "return least(p_left, p_open, p_budget / p_price)",
    "nothing smaller than a step": "return least(p_left, p_open, div(p_budget, p_price * p_step) * p_step)",
    "a smaller order only": "return case when p_open < p_step and p_open * p_price <= p_budget then "
    "least(p_left, p_open) else least(p_left, p_open, div(p_budget, p_price * p_step) * p_step) end",
    "a smaller rest only": "return case when p_left - div(p_budget, p_price * p_step) * p_step < p_step and "
    "least(p_left, p_open) * p_price <= p_budget then least(p_left, p_open) else "
    "least(p_left, p_open, div(p_budget, p_price * p_step) * p_step) end",
    "all that the budget pays for whole": "return case when least(p_left, p_open) * p_price <= p_budget "
    "then least(p_left, p_open) else div(p_budget, p_price * p_step) * p_step end",
    "whole shares": "p_step := 1; return {call}",
    "too much": "p_budget := p_budget * 2; return {call}",
}
SELLS = [
    ("0.5@10 5@10", "3", "5", "filled 0.5, canceled 2.5"),
    ("0.5@10 5@10", "3", "20", "filled 1.5, canceled 1.5"),
    ("2.5@10 5@11", "60", "27", "filled 2, canceled 58"),
    ("3.5@1 3.5@1", "7", "7", "filled 7, canceled 0"),
    ("5@10", "3.0", "19.9", "filled 1.9, canceled 1.1"),
]


@pytest.mark.parametrize("steps", STEPS)
def test_another_reading_of_steps_is_found(traders: Market, steps: str) -> None:
    install(traders.connection, Mutant("affordable_shares", f"begin {STEPS[steps]}; end"))
    found = 0
    for example in SELLS:
        with traders.connection.transaction(force_rollback=True):
            traders.connection.execute("select setval('exchange.order_ids', 1, false)")
            try:
                test_steps_and_what_is_smaller(traders, *example)
            except (AssertionError, psycopg.errors.CheckViolation):
                found += 1
    assert found
