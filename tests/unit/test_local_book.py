"""A book that is kept by a feed is what a list of orders, changed in the plainest way, says it is."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbourse.client import (
    Add,
    Book,
    BookError,
    BookOrder,
    Event,
    FeedError,
    FeedValue,
    Halt,
    Heartbeat,
    Level,
    LocalBook,
    Remove,
    Resume,
    Resumed,
    Side,
    Snapshot,
    Trade,
    Update,
)

AT = datetime(2026, 11, 27, tzinfo=UTC)


def D(text: str) -> Decimal:
    return Decimal(text)


def update(seq: int, *events: Event) -> Update:
    return Update("A", seq, AT, events)


def start() -> LocalBook:
    """A book with two buys at 10, one at 9, and a sell at 11."""
    book = LocalBook("A")
    orders = [(1, D("10"), "5"), (3, D("10.0"), "0.5"), (2, D("9"), "7")]
    bids = [BookOrder(number, "buy", price, D(shares)) for number, price, shares in orders]
    book.apply(Snapshot("A", 4, (*bids, BookOrder(4, "sell", D("11"), D("8")))))
    return book


def test_a_snapshot_is_the_book() -> None:
    book = start()
    assert book.seq == 4
    assert book.best_bid == Level(D("10"), D("5.5"), 2)
    assert book.best_ask == Level(D("11"), D("8"), 1)
    assert book.bids() == (Level(D("10"), D("5.5"), 2), Level(D("9"), D("7"), 1))
    assert book.bids(1) == book.bids()[:1]
    assert [order.order_id for order in book.orders()] == [1, 3, 2, 4]
    assert book.order(3) == BookOrder(3, "buy", D("10"), D("0.5"))
    assert book.order(9) is None
    assert book.book(1) == Book("A", 4, book.bids(1), book.asks(1))


def test_before_its_snapshot_nothing_is_known() -> None:
    book = LocalBook("A")
    assert (book.seq, book.best_bid, book.orders()) == (None, None, ())
    with pytest.raises(BookError, match="nothing is known of A yet"):
        book.book()
    with pytest.raises(BookError, match="update 1 of A does not follow a snapshot"):
        book.apply(update(1))


def test_updates_change_it_in_the_order_of_their_events() -> None:
    book = start()
    # An incoming sell of 6 takes all of 1 and half of what 3 has; another comes to rest.
    book.apply(update(5, Trade(D("10"), D("5"), 1, 5), Trade(D("10"), D("0.25"), 3, 5)))
    assert book.best_bid == Level(D("10"), D("0.25"), 1)
    book.apply(update(6, Trade(D("10"), D("0.25"), 3, 6), Add(6, "sell", D("10"), D("2"))))
    assert (book.best_bid, book.best_ask) == (Level(D("9"), D("7"), 1), Level(D("10"), D("2"), 1))
    book.apply(update(7, Remove(2, D("3")), Remove(6, D("2")), Add(7, "buy", D("9"), D("1"))))
    assert book.bids() == (Level(D("9"), D("5"), 2),)
    assert [order.order_id for order in book.orders()] == [2, 7, 4]
    assert book.seq == 7


def test_halts_are_followed() -> None:
    book = start()
    book.apply(update(5, Halt()))
    assert book.halted
    assert book.book().halted
    book.apply(update(6, Resume()))
    assert not book.halted
    book.apply(Snapshot("A", 9, (), halted=True))
    assert (book.halted, book.seq, book.orders()) == (True, 9, ())


def test_what_is_said_of_others_changes_nothing() -> None:
    book, before = start(), start().book()
    others: list[FeedValue] = [Snapshot("B", 9, ()), Update("B", 1, AT, (Halt(),)), Resumed("B", 3)]
    for value in [*others, Heartbeat(AT), FeedError("no", "A"), Resumed("A", 4)]:
        book.apply(value)
    assert book.book() == before


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (update(6), "update 6 of A does not follow 4"),
        (update(4), "update 4 of A does not follow 4"),
        (Resumed("A", 5), "A is resumed after update 5, not after 4"),
        (Resumed("A", 3), "A is resumed after update 3, not after 4"),
        (update(5, Trade(D("10"), D("1"), 8, 9)), "update 5 of A does not fit the book: 8 and 9 trade"),
        (update(5, Trade(D("10"), D("6"), 1, 9)), "order 1 loses 6 shares, 1 more than it has"),
        (update(5, Remove(3, D("0.51"))), "order 3 loses 0.51 shares, 0.01 more than it has"),
        (update(5, Remove(9, D("1"))), "order 9 loses 1 shares, and does not rest"),
        (update(5, Add(4, "buy", D("1"), D("1"))), "order 4 is added, and rests already"),
    ],
)
def test_what_does_not_fit_is_told(value: FeedValue, problem: str) -> None:
    with pytest.raises(BookError, match=problem):
        start().apply(value)


def test_a_book_that_did_not_fit_needs_a_snapshot() -> None:
    book = start()
    with pytest.raises(BookError):
        book.apply(update(5, Remove(9, D("1"))))
    with pytest.raises(BookError, match="update 6 of A does not follow a snapshot"):
        book.apply(update(6))
    book.apply(Snapshot("A", 6, ()))
    book.apply(update(7, Add(8, "sell", D("2"), D("1"))))
    assert book.best_ask == Level(D("2"), D("1"), 1)


def test_sums_are_exact() -> None:
    """As many digits as a number may have, at both ends."""
    large, small = D("9" * 18), D("0." + "0" * 19 + "1")
    book = LocalBook("A")
    book.apply(Snapshot("A", 0, (BookOrder(1, "buy", large, large), BookOrder(2, "buy", large, small))))
    assert book.best_bid == Level(large, D("9" * 18 + "." + "0" * 19 + "1"), 2)
    book.apply(update(1, Remove(1, small), Remove(2, small)))
    assert book.best_bid == Level(large, D("9" * 17 + "8." + "9" * 20), 1)


class Plain:
    """The same book as a list of orders in priority order, and what may happen to it, at random."""

    def __init__(self, seed: int) -> None:
        self.orders: list[BookOrder] = []
        self.seq = 0
        self._random = random.Random(seed)
        self._ids = 0

    def change(self) -> Update:
        self.seq += 1
        return update(self.seq, *(self._event() for _ in range(self._random.randint(1, 4))))

    def _event(self) -> Event:
        self._ids += 1
        kind = self._random.choice(["add", "add", "add", "remove", "trade"])
        if kind == "add" or not self.orders:
            side: Side = self._random.choice(["buy", "sell"])
            price = D(str(self._random.randint(90, 110))).scaleb(-1)
            shares = D(str(self._random.randint(1, 999))).scaleb(-self._random.randint(0, 3))
            self.orders.append(BookOrder(self._ids, side, price, shares))
            self.orders.sort(key=lambda o: (o.side, -o.price if o.side == "buy" else o.price, o.order_id))
            return Add(self._ids, side, price, shares)
        place = self._random.randrange(len(self.orders))
        order = self.orders[place]
        taken = self._random.choice([order.shares, order.shares / 2, order.shares / 10])
        if taken == order.shares:
            del self.orders[place]
        else:
            self.orders[place] = replace(order, shares=order.shares - taken)
        if kind == "remove":
            return Remove(order.order_id, taken)
        ids = (order.order_id, self._ids) if order.side == "buy" else (self._ids, order.order_id)
        return Trade(order.price, taken, *ids)

    def levels(self, side: str) -> tuple[Level, ...]:
        found: list[Level] = []
        for price, group in groupby((o for o in self.orders if o.side == side), key=lambda o: o.price):
            orders = list(group)
            found.append(Level(price, sum((o.shares for o in orders), Decimal(0)), len(orders)))
        return tuple(found)


def differences(seed: int, updates: int = 60) -> list[int]:
    """Return the updates after which a local book is not the plain one, or where it refuses one."""
    plain, book = Plain(seed), LocalBook("A")
    book.apply(Snapshot("A", 0, ()))
    found: list[int] = []
    for _ in range(updates):
        value = plain.change()
        try:
            book.apply(value)
        except BookError:
            return [*found, value.seq]
        sides = (plain.levels("buy"), plain.levels("sell"))
        if (book.orders(), book.bids(), book.asks()) != (tuple(plain.orders), *sides):
            found.append(value.seq)
    return found


@given(st.integers(0, 2**32))
def test_a_local_book_is_the_plain_one(seed: int) -> None:
    assert differences(seed) == []
