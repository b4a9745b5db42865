"""The levels of books, as the page reads them: of symbols that have changed, and of no account."""

import pytest

from tests.sql.market import Market

Row = tuple[object, ...]


@pytest.fixture
def traders(market: Market) -> Market:
    """Two accounts with money and shares of X and Y."""
    for account in ("1", "2"):
        market.account(account, 10_000)
        market.grant(account, "X", 100)
        market.grant(account, "Y", 100)
    return market


def levels(market: Market, syms: list[str], seqs: list[int | None], depth: int = 10) -> list[Row]:
    columns = "sym, seq, halted, side::text, price::text, shares::text, orders"
    query = f"select {columns} from exchange.look_levels(%s, %s, %s)"
    return market.connection.execute(query.encode(), [syms, seqs, depth]).fetchall()


def test_levels_are_told_best_first_behind_a_row_of_their_book(traders: Market) -> None:
    for shares, price in (("1", "9.50"), ("2", "10"), ("2.5", "9.5")):
        traders.place("1", "X", shares, price)
    for shares, price in (("-3", "12"), ("-4", "11"), ("-1", "11"), ("-1", "13")):
        traders.place("2", "X", shares, price)
    assert levels(traders, ["X"], [None]) == [
        ("X", 7, False, None, None, None, None),
        ("X", 7, False, "buy", "10", "2", 1),
        ("X", 7, False, "buy", "9.5", "3.5", 2),
        ("X", 7, False, "sell", "11", "5", 2),
        ("X", 7, False, "sell", "12", "3", 1),
        ("X", 7, False, "sell", "13", "1", 1),
    ]
    best = [("X", 7, False, None, None, None, None), ("X", 7, False, "buy", "10", "2", 1)]
    assert levels(traders, ["X"], [None], 1) == [*best, ("X", 7, False, "sell", "11", "5", 2)]
    assert levels(traders, ["X"], [None], 0) == levels(traders, ["X"], [None], -1) == best[:1]
    # What is filled, in part or wholly, is gone at once, and what is left of an order rests at its price.
    traders.place("2", "X", -3, 10)
    after = [("X", 8, False, "buy", "9.5", "3.5", 2), ("X", 8, False, "sell", "10", "1", 1)]
    assert levels(traders, ["X"], [None], 1)[1:] == after
    traders.place("1", "X", 7, 12)
    assert levels(traders, ["X"], [None], 1)[2] == ("X", 9, False, "sell", "12", "2", 1)


def test_only_what_has_changed_is_told(traders: Market) -> None:
    traders.place("1", "X", 1, 5)
    assert [row[:2] for row in levels(traders, ["X", "Y"], [1, None])] == [("Y", 0)]
    assert levels(traders, ["X", "Y", "Z"], [1, 0, None]) == []
    traders.place("1", "Y", 1, 5)
    assert [row[:2] for row in levels(traders, ["Y", "X"], [0, 1])] == [("Y", 1)] * 2
    # A server that was restored from a backup may be behind the caller.
    assert {row[:2] for row in levels(traders, ["X"], [77])} == {("X", 1)}
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert {row[:3] for row in levels(traders, ["X"], [None])} >= {
        ("X", levels(traders, ["X"], [None])[0][1], True)
    }
