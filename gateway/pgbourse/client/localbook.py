"""A symbol's book, kept by what a feed says of it. No sockets here."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import islice

from pgbourse.client.feedvalues import (
    Add,
    BookOrder,
    Event,
    FeedValue,
    Halt,
    Remove,
    Resume,
    Resumed,
    Side,
    Snapshot,
    Trade,
    Update,
)
from pgbourse.client.results import Book, Level
from pgbourse.errors import PgbourseError

__all__ = ["BookError", "LocalBook"]

# A number has at most 38 digits, so every sum of them is exact; one that weren't would be an error.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])


class BookError(PgbourseError):
    """An update is missing, or does not fit the book that it is to change."""


class LocalBook:
    """The book of one symbol. Until its first snapshot `seq` is None, and nothing is known of it.

        book = LocalBook("SPY")
        for value in feed:
            book.apply(value)

    Not for several threads at once.
    """

    def __init__(self, sym: str) -> None:
        self.sym = sym
        self.seq: int | None = None
        self.halted = False
        self._bids, self._asks = _Side("buy"), _Side("sell")
        self._sides: dict[int, _Side] = {}  # by order id

    def apply(self, value: FeedValue) -> None:
        """Take what a feed says. What it says of other symbols, or of no symbol, changes nothing.

        Raises BookError where an update is missing or does not fit: the book then needs a snapshot.
        """
        match value:
            case Snapshot(sym=self.sym):
                self._begin(value)
            case Update(sym=self.sym):
                if self.seq is None or value.seq != self.seq + 1:
                    raise BookError(f"update {value.seq} of {self.sym} does not follow {self._at()}")
                self.seq = None  # if it does not fit, nothing is known any more
                for event in value.events:
                    self._change(event, value.seq)
                self.seq = value.seq
            case Resumed(sym=self.sym):
                if value.seq != self.seq:
                    raise BookError(f"{self.sym} is resumed after update {value.seq}, not after {self._at()}")

    @property
    def best_bid(self) -> Level | None:
        """The highest price that somebody buys at."""
        return next(self._bids.levels(), None)

    @property
    def best_ask(self) -> Level | None:
        """The lowest price that somebody sells at."""
        return next(self._asks.levels(), None)

    def bids(self, depth: int | None = None) -> tuple[Level, ...]:
        """Return the highest prices of the buys, best first: all, or at most `depth`."""
        return tuple(islice(self._bids.levels(), depth))

    def asks(self, depth: int | None = None) -> tuple[Level, ...]:
        """Return the lowest prices of the sells, best first: all, or at most `depth`."""
        return tuple(islice(self._asks.levels(), depth))

    def orders(self) -> tuple[BookOrder, ...]:
        """Return all orders in priority order, buys first: what a snapshot would say."""
        return (*self._bids.orders(), *self._asks.orders())

    def order(self, order_id: int) -> BookOrder | None:
        """Return an order that rests in this book."""
        side = self._sides.get(order_id)
        return None if side is None else side.find(order_id)

    def book(self, depth: int | None = None) -> Book:
        """Return what `Client.look_book` would, at this update.

        Raises BookError before the first snapshot.
        """
        if self.seq is None:
            raise BookError(f"nothing is known of {self.sym} yet")
        return Book(self.sym, self.seq, self.bids(depth), self.asks(depth), self.halted)

    def _at(self) -> str:
        return "a snapshot" if self.seq is None else str(self.seq)

    def _begin(self, snapshot: Snapshot) -> None:
        self.seq = None
        self._bids, self._asks = _Side("buy"), _Side("sell")
        self._sides = {}
        for order in snapshot.orders:
            self._add(order, snapshot.seq)
        self.seq, self.halted = snapshot.seq, snapshot.halted

    def _change(self, event: Event, seq: int) -> None:
        match event:
            case Trade():
                resting = [one for one in (event.buy_id, event.sell_id) if one in self._sides]
                for order_id in resting:
                    self._take(order_id, event.shares, seq)
                if not resting:
                    raise self._misfit(seq, f"{event.buy_id} and {event.sell_id} trade, and neither rests")
            case Add():
                self._add(BookOrder(event.order_id, event.side, event.price, event.shares), seq)
            case Remove():
                self._take(event.order_id, event.shares, seq)
            case Halt():
                self.halted = True
            case Resume():
                self.halted = False

    def _add(self, order: BookOrder, seq: int) -> None:
        if order.order_id in self._sides:
            raise self._misfit(seq, f"order {order.order_id} is added, and rests already")
        side = self._sides[order.order_id] = self._bids if order.side == "buy" else self._asks
        side.add(order)

    def _take(self, order_id: int, shares: Decimal, seq: int) -> None:
        side = self._sides.get(order_id)
        if side is None:
            raise self._misfit(seq, f"order {order_id} loses {shares} shares, and does not rest")
        left = side.take(order_id, shares)
        if left < 0:
            raise self._misfit(seq, f"order {order_id} loses {shares} shares, {-left} more than it has")
        if not left:
            del self._sides[order_id]

    def _misfit(self, seq: int, what: str) -> BookError:
        return BookError(f"update {seq} of {self.sym} does not fit the book: {what}")


class _Price:
    """The orders at one price, the earliest first: they are added in that order. `shares` is their sum."""

    __slots__ = ("orders", "price", "shares")

    def __init__(self, price: Decimal) -> None:
        self.price = price
        self.shares = Decimal(0)
        self.orders: dict[int, Decimal] = {}


class _Side:
    """One side of the book. `_ranks` has its prices in ascending order, those of buys negated: best first."""

    def __init__(self, side: Side) -> None:
        self._side: Side = side
        self._ranks: list[Decimal] = []
        self._prices: dict[Decimal, _Price] = {}  # by rank
        self._ranks_of: dict[int, Decimal] = {}  # by order id

    def add(self, order: BookOrder) -> None:
        rank = order.price.copy_negate() if self._side == "buy" else order.price
        price = self._prices.get(rank)
        if price is None:
            price = self._prices[rank] = _Price(order.price)
            insort(self._ranks, rank)
        price.orders[order.order_id] = order.shares
        price.shares = _EXACT.add(price.shares, order.shares)
        self._ranks_of[order.order_id] = rank

    def take(self, order_id: int, shares: Decimal) -> Decimal:
        """Take shares from an order, which leaves with its last; return those that are left.

        Below 0, nothing was taken.
        """
        rank = self._ranks_of[order_id]
        price = self._prices[rank]
        left = _EXACT.subtract(price.orders[order_id], shares)
        if left < 0:
            return left
        price.shares = _EXACT.subtract(price.shares, shares)
        if left:
            price.orders[order_id] = left
            return left
        del price.orders[order_id], self._ranks_of[order_id]
        if not price.orders:
            del self._prices[rank], self._ranks[bisect_left(self._ranks, rank)]
        return left

    def find(self, order_id: int) -> BookOrder:
        price = self._prices[self._ranks_of[order_id]]
        return BookOrder(order_id, self._side, price.price, price.orders[order_id])

    def levels(self) -> Iterator[Level]:
        for rank in self._ranks:
            price = self._prices[rank]
            yield Level(price.price, price.shares, len(price.orders))

    def orders(self) -> Iterator[BookOrder]:
        for rank in self._ranks:
            price = self._prices[rank]
            for order_id, shares in price.orders.items():
                yield BookOrder(order_id, self._side, price.price, shares)
