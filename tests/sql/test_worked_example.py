"""The worked example of docs/protocol.md, order by order and as one batch."""

import pytest

from tests.sql.market import Market, Request

ORDERS = [(300, 125), (-100, 130), (200, 127), (-500, 128), (-200, 140), (400, 125), (-400, 124)]
BOOK_BEFORE = [
    "buy 200 @ 127 (3)",
    "buy 300 @ 125 (1)",
    "buy 400 @ 125 (6)",
    "sell 500 @ 128 (4)",
    "sell 100 @ 130 (2)",
    "sell 200 @ 140 (5)",
]
BOOK_AFTER = [
    "buy 100 @ 125 (1)",
    "buy 400 @ 125 (6)",
    "sell 500 @ 128 (4)",
    "sell 100 @ 130 (2)",
    "sell 200 @ 140 (5)",
]


@pytest.fixture
def traders(market: Market) -> Market:
    """Account n places order n: 1, 3 and 6 have just the cash for it, the others just the shares."""
    for account, (amount, limit) in enumerate(ORDERS, start=1):
        market.account(str(account), max(0, amount * limit))
        if amount < 0:
            market.grant(str(account), "X", -amount)
    return market


def assert_outcome(market: Market) -> None:
    assert market.book("X") == BOOK_AFTER
    assert market.query("1", 1) == ["open 100", "executed 200 @ 125"]
    assert market.query("3", 3) == ["executed 200 @ 127"]
    assert market.query("7", 7) == ["executed 200 @ 127", "executed 200 @ 125"]
    untouched = {"2": "open 100", "4": "open 500", "5": "open 200", "6": "open 400"}
    for account, part in untouched.items():
        assert market.query(account, int(account)) == [part]
    assert [market.cash(str(account)) for account in range(1, 8)] == ["0", "0", "0", "0", "0", "0", "50400"]
    shares = [market.shares(str(account), "X") for account in range(1, 8)]
    assert shares == ["200", "0", "200", "0", "0", "0", "0"]
    assert market.violations() == []


def test_one_order_after_the_other(traders: Market) -> None:
    for account, (amount, limit) in enumerate(ORDERS[:6], start=1):
        assert traders.place(str(account), "X", amount, limit) == account
    assert traders.book("X") == BOOK_BEFORE
    assert traders.place("7", "X", *ORDERS[6]) == 7
    assert_outcome(traders)


def test_all_in_one_batch(traders: Market) -> None:
    answers = traders.batch(
        [
            Request("place_order", str(account), "X", str(amount), str(limit))
            for account, (amount, limit) in enumerate(ORDERS, start=1)
        ]
    )
    assert [answer.order_id for (answer,) in answers] == list(range(1, 8))
    assert_outcome(traders)


def test_the_rest_can_be_cancelled(traders: Market) -> None:
    for account, (amount, limit) in enumerate(ORDERS, start=1):
        traders.place(str(account), "X", amount, limit)
    assert traders.cancel("1", 1) == ["canceled 100", "executed 200 @ 125"]
    assert traders.query("1", 1) == ["canceled 100", "executed 200 @ 125"]
    assert traders.cash("1") == "12500"
    assert traders.book("X") == BOOK_AFTER[1:]
