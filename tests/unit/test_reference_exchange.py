"""The reference exchange itself, where protocol.md's sentences are hard: by hand, number by number."""

from decimal import Decimal, localcontext

import pytest

from pgbourse.loadtest.reference import Order, ReferenceExchange, Terms


class Hand:
    """A reference exchange whose ids are 1, 2, …, and numbers written as text."""

    def __init__(self) -> None:
        self.exchange = ReferenceExchange()
        self._ids = 0
        for account in ("A", "B", "C"):
            self.exchange.create_account(account, Decimal(10000))
            self.exchange.grant_shares("X", account, Decimal(100))

    def place(self, account: str, amount: str, limit: str | None = None, **terms: object) -> str:
        """Place an order; return what the server adds to its attributes, or the refusal."""
        if "budget" in terms:
            terms["budget"] = Decimal(str(terms["budget"]))
        said = Terms(**terms)  # type: ignore[arg-type]
        price = None if limit is None else Decimal(limit)
        return self._told(self.exchange.place_order(account, "X", Decimal(amount), price, said))

    def replace(
        self, account: str, named: int | str, amount: str, limit: str, opened: str | None = None, **terms: str
    ) -> str:
        if_open = None if opened is None else Decimal(opened)
        said = Terms(**terms)  # type: ignore[arg-type]
        return self._told(
            self.exchange.replace_order(account, named, Decimal(amount), Decimal(limit), said, if_open)
        )

    def query(self, order_id: int) -> str:
        order = self.exchange.orders[order_id]
        parts = [("open", order.open)] if order.open else []
        parts += [("canceled", order.canceled)] if order.canceled else []
        parts += [("reduced", shares) for shares in order.reductions]
        return " ".join(
            [f"{word} {shares}" for word, shares in parts]
            + [f"{shares} @ {price}" for shares, price in order.fills]
        )

    def cash(self, account: str) -> str:
        with localcontext(prec=100):
            return f"{self.exchange.cash[account].normalize():f}"

    def _told(self, placed: str | Order) -> str:
        if isinstance(placed, str):
            return placed
        again = placed.order_id != 0
        if not again:
            self._ids += 1
            self.exchange.number(placed, self._ids)
        words = [f"{word} {value}" for word, value in placed.told()]
        return " ".join([f"id {placed.order_id}", *words, *(["duplicate"] if again else [])])


def plain(value: object) -> object:
    """Return an answer with its exact numbers, all of them whole, as int."""
    if isinstance(value, (tuple, list)):
        return type(value)(plain(one) for one in value)
    return int(value) if isinstance(value, Decimal) else value


@pytest.fixture
def hand() -> Hand:
    return Hand()


# Sells that rest (account B), then a market buy of A: amount, budget, and what it fills, by order.
STEPS = {
    "whole shares: as many as the budget pays for": (["5 @ 10"], "60", "49.99", "4 @ 10"),
    "tenths, if the amount has a decimal place": (["5 @ 10"], "60.0", "49.99", "4.9 @ 10"),
    "the next price with what is left": (["2 @ 10", "9 @ 11"], "60", "50", "2 @ 10 2 @ 11"),
    "what is smaller than a step is taken whole": (["0.5 @ 10", "9 @ 11"], "60", "16", "0.5 @ 10 1 @ 11"),
    "or not at all": (["0.5 @ 10", "9 @ 0.1"], "60", "4.99", "9 @ 0.1"),
    "and ends the order, though a later one would do": (["0.5 @ 10", "0.3 @ 10"], "60", "4.99", ""),
    "which was no smaller when it came to it": (["3.5 @ 10", "0.5 @ 11"], "60", "37", "3 @ 10"),
    "a rest of the amount is taken whole": (["0.5 @ 10", "9 @ 11"], "1", "10.5", "0.5 @ 10 0.5 @ 11"),
    "a rest behind steps as well": (["3.5 @ 10", "3.5 @ 10"], "7", "70", "3.5 @ 10 3.5 @ 10"),
    "or not, if the budget doesn't pay for it": (["3.5 @ 10", "3.5 @ 10"], "7", "69.99", "3.5 @ 10 3 @ 10"),
    "steps go by what is left": (["3.5 @ 10", "3.5 @ 10"], "60", "52", "3.5 @ 10 1 @ 10"),
}


@pytest.mark.parametrize("case", STEPS)
def test_the_steps_of_a_market_buy(hand: Hand, case: str) -> None:
    sells, amount, budget, fills = STEPS[case]
    for sell in sells:
        shares, price = sell.split(" @ ")
        hand.place("B", f"-{shares}", price)
    before = hand.cash("A")
    hand.place("A", amount, type="market", budget=budget)
    order = hand.exchange.orders[len(sells) + 1]
    assert " ".join(f"{shares:f} @ {price}" for shares, price in order.fills) in (
        fills,
        fills.replace(".0", ""),
    )
    spent = sum(shares * price for shares, price in order.fills)
    assert Decimal(hand.cash("A")) == Decimal(before) - spent
    assert order.open == 0


def test_a_market_order_takes_all_that_there_is(hand: Hand) -> None:
    hand.place("B", "5", "10")
    hand.place("B", "5", "9")
    assert hand.place("A", "-20", type="market") == "id 3 executed 10 canceled 10"
    assert hand.query(3) == "canceled 10 5 @ 10 5 @ 9"
    assert hand.place("A", "20", type="market", budget="1") == "id 4 executed 0 canceled 20"


def test_a_market_fok_needs_all_within_its_budget(hand: Hand) -> None:
    hand.place("B", "-5", "10")
    hand.place("B", "-5", "11")
    assert hand.place("A", "8", type="market", budget="82", tif="FOK") == "unfilled 7"
    assert hand.place("A", "8", type="market", budget="83", tif="FOK") == "id 3 executed 8 canceled 0"
    assert hand.cash("A") == "9917"


def test_attributes_that_contradict_each_other(hand: Hand) -> None:
    for refusal in (
        hand.place("A", "1", "5", type="market", budget="5"),
        hand.place("A", "1", type="market"),
        hand.place("A", "-1", type="market", budget="5"),
        hand.place("A", "1", type="market", budget="5", tif="GTC"),
        hand.place("A", "1", type="market", budget="5", post=True),
        hand.place("A", "1", "5", budget="5"),
        hand.place("A", "1", "5", tif="IOC", post=True),
        hand.place("A", "1", "5", tif="FOK", post=True),
        hand.place("A", "1"),
    ):
        assert refusal == "invalid_terms"
    assert hand.place("A", "1", type="market", budget="0") == "invalid_budget"
    assert hand.place("A", "1", "5", type="limit", tif="GTC") == "id 1 executed 0 canceled 0"


def test_ioc_and_fok(hand: Hand) -> None:
    hand.place("B", "-5", "10")
    hand.place("B", "-5", "11")
    assert hand.place("A", "8", "10", tif="FOK") == "unfilled 5"
    assert hand.query(1) == "open 5"
    assert hand.place("A", "8", "10", tif="IOC") == "id 3 executed 5 canceled 3"
    assert hand.query(3) == "canceled 3 5 @ 10"
    assert hand.cash("A") == "9950"
    assert hand.place("A", "5", "12", tif="FOK") == "id 4 executed 5 canceled 0"


def test_post_looks_at_own_orders_too(hand: Hand) -> None:
    hand.place("A", "-5", "10")
    assert hand.place("A", "1", "10", post=True, stp="maker") == "would_trade"
    assert hand.query(1) == "open 5"
    assert hand.place("A", "1", "9", post=True) == "id 2"


@pytest.mark.parametrize(
    ("stp", "told", "resting"),
    [
        ("taker", "executed 2 canceled 7", "open 3"),
        ("maker", "executed 6 canceled 0 passed (2,)", "canceled 3"),
        ("both", "executed 2 canceled 7 passed (2,)", "canceled 3"),
    ],
)
def test_self_trade_prevention(hand: Hand, stp: str, told: str, resting: str) -> None:
    hand.place("B", "-2", "10")
    hand.place("A", "-3", "10")
    hand.place("B", "-4", "10")
    assert hand.place("A", "9", "10", stp=stp) == f"id 4 {told}"
    assert hand.query(2) == resting
    assert hand.query(4) == ("open 3 2 @ 10 4 @ 10" if stp == "maker" else "canceled 7 2 @ 10")
    assert hand.exchange.shares["A", "X"] == {"taker": 99, "maker": 106, "both": 102}[stp]


@pytest.mark.parametrize("stp", ["taker", "maker", "both"])
def test_own_orders_and_fok(hand: Hand, stp: str) -> None:
    """Own shares don't count; those that stand behind what is needed are not met."""
    hand.place("B", "-2", "10")
    hand.place("A", "-3", "10")
    hand.place("B", "-4", "10")
    hand.place("A", "-1", "10")
    assert hand.place("A", "7", "10", stp=stp, tif="FOK") == f"unfilled {6 if stp == 'maker' else 2}"
    assert [hand.query(order_id) for order_id in (1, 2, 3, 4)] == ["open 2", "open 3", "open 4", "open 1"]
    six = hand.place("A", "6", "10", stp=stp, tif="FOK")
    assert six == ("id 5 executed 6 canceled 0 passed (2,)" if stp == "maker" else "unfilled 2")
    assert hand.query(4) == "open 1"


def test_what_is_passed_can_be_spent_by_the_next(hand: Hand) -> None:
    hand.place("A", "1000", "10")
    assert hand.cash("A") == "0"
    assert hand.place("A", "-1", "10", stp="maker") == "id 2 executed 0 canceled 0 passed (1,)"
    assert hand.cash("A") == "10000"


def test_a_market_buy_that_can_pay_for_no_more_meets_no_own_order(hand: Hand) -> None:
    hand.place("B", "-2", "10")
    hand.place("A", "-3", "11")
    buy = {"type": "market", "stp": "both"}
    assert hand.place("A", "9", budget="30.99", **buy) == "id 3 executed 2 canceled 7"
    assert hand.query(2) == "open 3"
    assert hand.place("A", "9", budget="11", **buy) == "id 4 executed 0 canceled 9 passed (2,)"


def test_the_same_ref_is_the_same_order(hand: Hand) -> None:
    hand.place("B", "-2", "10")
    first = hand.place("A", "5", "10", ref="a", tif="IOC")
    assert first == "id 2 executed 2 canceled 3"
    assert hand.place("A", "5.0", "10.00", ref="a", tif="IOC", type="limit") == f"{first} duplicate"
    assert hand.place("A", "5", "10", ref="a") == "ref_taken 2"
    assert hand.place("A", "-5", "10", ref="a", tif="IOC") == "ref_taken 2"
    assert hand.place("B", "5", "10", ref="a").startswith("id 3")
    hand.exchange.halted.add("X")
    hand.exchange.frozen.add("A")
    assert hand.place("A", "5", "10", ref="a", tif="IOC") == f"{first} duplicate"
    assert hand.place("A", "5", "10", ref="b") == "account_frozen"


def test_no_tif_is_gtc_and_no_type_is_limit(hand: Hand) -> None:
    assert hand.place("A", "5", "10", ref="a") == "id 1"
    assert hand.place("A", "5", "10", ref="a", tif="GTC", type="limit") == "id 1 duplicate"


def test_a_refused_order_leaves_its_ref_free(hand: Hand) -> None:
    assert hand.place("A", "5000", "10", ref="a") == "insufficient_funds"
    assert hand.place("A", "5", "10", ref="a", tif="FOK") == "unfilled 0"
    assert hand.place("A", "5", "10", ref="a") == "id 1"


def test_replace(hand: Hand) -> None:
    hand.place("A", "1000", "10", ref="a")
    hand.place("A", "-1", "20")
    assert hand.replace("A", "a", "900", "11", ref="b", opened="1000") == "id 3 replaced 1 released 1000"
    assert hand.cash("A") == "100"
    assert hand.replace("A", 1, "900", "11", ref="b") == "id 3 replaced 1 released 1000 duplicate"
    assert hand.replace("A", 3, "900", "11", ref="b") == "ref_taken 3"
    assert hand.place("A", "900", "11", ref="b") == "ref_taken 3"
    assert hand.replace("A", 3, "900", "11", ref="a") == "ref_taken 1"
    assert hand.replace("A", "a", "900", "11") == "nothing_open"
    assert hand.replace("A", "c", "900", "11") == "unknown_order"
    assert hand.replace("A", "c", "900", "11", ref="b") == "ref_taken 3"


def test_a_refused_replace_leaves_the_old_order(hand: Hand) -> None:
    hand.place("A", "5", "10")
    hand.place("B", "5", "10")
    hand.place("C", "-1", "10")
    hand.place("C", "-1", "30")
    before = hand.cash("A")
    assert hand.replace("A", 1, "-5", "10") == "other_side"
    assert hand.replace("A", 1, "5", "10", opened="5") == "open_differs 4"
    assert hand.replace("A", 1, "50000", "10") == "insufficient_funds"
    assert hand.replace("A", 1, "4", "30", tif="FOK") == "unfilled 1"
    assert hand.replace("A", 1, "4", "30", post=True) == "would_trade"  # type: ignore[arg-type]
    assert hand.cash("A") == before
    hand.place("C", "-1", "10")
    assert hand.query(1) == "open 3 1 @ 10 1 @ 10"  # it has kept its place


def test_a_replace_comes_last_at_its_price(hand: Hand) -> None:
    hand.place("A", "5", "10")
    hand.place("B", "5", "10")
    hand.replace("A", 1, "5", "10")
    hand.place("C", "-5", "10")
    assert hand.query(2) == "5 @ 10"


def test_reduce(hand: Hand) -> None:
    hand.place("A", "10", "10", ref="a")
    hand.place("B", "5", "10")
    reduce_order = hand.exchange.reduce_order
    assert plain(reduce_order("A", "a", shares=Decimal(3))) == (3, 7)
    assert plain(reduce_order("A", 1, to=Decimal(6))) == (1, 6)
    assert plain(reduce_order("A", 1, to=Decimal(6))) == (0, 6)
    hand.place("C", "-2", "10")
    assert hand.query(1) == "open 4 reduced 3 reduced 1 2 @ 10"
    assert hand.cash("A") == "9940"
    assert plain(reduce_order("A", 1, to=Decimal(0))) == (4, 0)
    assert hand.query(1) == "canceled 4 reduced 3 reduced 1 2 @ 10"
    assert plain(reduce_order("A", 1, to=Decimal(9))) == "nothing_open"
    assert plain(reduce_order("B", 1, to=Decimal(9))) == "unknown_order"


def test_cancel_all_and_the_switch(hand: Hand) -> None:
    hand.place("A", "10", "10")
    hand.place("B", "10", "10")
    hand.place("A", "-1", "20")
    assert plain(hand.exchange.cancel_all("A", "Y")) == []
    assert plain(hand.exchange.arm_switch("A", 60, Decimal("100.25"))) == 161
    assert plain(hand.exchange.cancel_all("A")) == [(1, 10), (3, 1)]
    hand.place("A", "10", "10")
    assert plain(hand.exchange.look_account("A")) == (9900, 100, 161, [("X", 100, 0)])
    assert plain(hand.exchange.fire_switch("A", Decimal("160.24"))) == "not_due"
    assert plain(hand.exchange.fire_switch("A", Decimal("160.25"))) == [(4, 10)]
    assert plain(hand.exchange.fire_switch("A", Decimal("160.25"))) == "not_due"
    assert plain(hand.exchange.book()) == [(2, 10)]


def test_looking(hand: Hand) -> None:
    for account, amount, limit in (("A", "1", "9"), ("B", "2", "10"), ("A", "3", "10"), ("A", "-4", "11")):
        hand.place(account, amount, limit)
    assert plain(hand.exchange.look_book("C", "X", 1)) == (False, [(10, 5, 2)], [(11, 4, 1)])
    listed = hand.exchange.list_orders("A", after=1, most=1)
    assert not isinstance(listed, str)
    assert ([order.order_id for order in listed[0]], listed[1]) == ([3], True)
    assert plain(hand.exchange.look_account("A")) == (9961, 39, None, [("X", 96, 4)])
