"""A reader of the feed's functions, which keeps a book of its own from what they say."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import NamedTuple

from tests.sql.market import Connection

__all__ = ["Begin", "LocalBook", "Resting", "key_of", "levels_of", "lines_of", "subscribe"]


class Resting(NamedTuple):
    """An order in a book."""

    side: str
    price: Decimal
    shares: Decimal


class Begin(NamedTuple):
    """How a feed begins: a row of subscribe."""

    outcome: str
    seq: int | None = None
    halted: bool | None = None
    code: str | None = None
    message: str | None = None


def subscribe(
    connection: Connection, *asked: tuple[str, int | None], names: list[str | None] | None = None
) -> list[Begin]:
    """Ask how feeds begin, each of a symbol and a number or none; return the rows."""
    rows = connection.execute(
        "select place, outcome, seq, halted, code, message "
        "from exchange.subscribe(%s, %s::bigint[], %s::text[])",
        [[sym for sym, _ in asked], [begin for _, begin in asked], names],
    ).fetchall()
    assert [row[0] for row in rows] == list(range(1, len(asked) + 1))
    return [Begin(*row[1:]) for row in rows]


def key_of(connection: Connection, sym: str) -> int:
    """Return a symbol's key, as subscribe tells it."""
    row = connection.execute("select symbol_key from exchange.subscribe(%s, '{null}')", [[sym]]).fetchone()
    assert row is not None
    return int(row[0])


class LocalBook:
    """The book of a symbol, from a snapshot and the updates after it; each step fails unless it can be so."""

    def __init__(self, connection: Connection, symbol_key: int) -> None:
        """Take a snapshot."""
        self.symbol_key = symbol_key
        header, *rows = connection.execute(
            "select seq, halted, order_id, side, price, shares from exchange.snapshot_book(%s)", [symbol_key]
        ).fetchall()
        self.seq: int = header[0]
        self.halted: bool = header[1]
        assert header[2:] == (None,) * 4
        assert {row[:2] for row in rows} <= {(None, None)}
        self.orders = {row[2]: Resting(*row[3:]) for row in rows}
        assert [row[2] for row in rows] == self.in_priority_order()
        self.at = None

    def copy(self) -> LocalBook:
        """Return another one, as this one is now."""
        other = copy.copy(self)
        other.orders = dict(self.orders)
        return other

    def read(self, connection: Connection, most: int = 10**6, until: int | None = None) -> int:
        """Read updates, at most so many, and apply those up to one; return how many were applied."""
        rows = connection.execute(
            "select seq, updated_at, kind, side, order_id, sell_order_id, price, shares "
            "from exchange.read_updates(%s, %s, %s)",
            [[self.symbol_key], [self.seq], most],
        ).fetchall()
        before, numbers = self.seq, [row[0] for row in rows]
        assert numbers == sorted(numbers)
        assert len(set(numbers)) <= most
        for seq, at, *event in rows:
            if until is not None and seq > until:
                break
            assert seq in (self.seq, self.seq + 1), "there is a gap"
            assert self.at is None or at >= self.at
            assert seq > before
            self.seq, self.at = seq, at
            self.apply(*event)
        return self.seq - before

    def apply(
        self,
        kind: str,
        side: str | None,
        order_id: int | None,
        sell_order_id: int | None,
        price: Decimal | None,
        shares: Decimal | None,
    ) -> None:
        """Change the book by one event, by the rules of the protocol alone."""
        if kind in ("halt", "resume"):
            assert self.halted is (kind == "resume")
            self.halted = kind == "halt"
            return
        assert order_id is not None
        assert price is not None
        assert shares is not None
        assert shares > 0
        if kind == "add":
            assert order_id not in self.orders
            assert side is not None
            self.orders[order_id] = Resting(side, price, shares)
            return
        if kind == "trade":
            assert sell_order_id is not None
            rested = [number for number in (order_id, sell_order_id) if number in self.orders]
            assert len(rested) == 1  # the other one has just come in
            order_id = rested[0]
        resting = self.orders[order_id]
        assert (resting.side, resting.price) == (side, price)
        left = resting.shares - shares
        assert left >= 0
        if kind == "trade":
            assert order_id == self.in_priority_order(resting.side)[0]
        self.orders[order_id] = resting._replace(shares=left)
        if left == 0:
            del self.orders[order_id]

    def in_priority_order(self, *sides: str) -> list[int]:
        """Return the ids of the orders as they would be matched, buys first."""
        keys = sorted(
            (side == "sell", price if side == "sell" else -price, order_id)
            for order_id, (side, price, _) in self.orders.items()
            if not sides or side in sides
        )
        return [key[-1] for key in keys]

    def lines(self) -> list[str]:
        """Return it as `lines_of` does."""
        return [
            f"{resting.side} {plain(resting.shares)} @ {plain(resting.price)} ({order_id})"
            for order_id in self.in_priority_order()
            for resting in [self.orders[order_id]]
        ]

    def levels(self) -> list[str]:
        """Return it as `levels_of` does."""
        sums: dict[tuple[str, Decimal], tuple[Decimal, int]] = {}
        for order_id in self.in_priority_order():
            side, price, shares = self.orders[order_id]
            total, count = sums.get((side, price), (Decimal(0), 0))
            sums[side, price] = total + shares, count + 1
        return (
            [f"seq {self.seq}"]
            + ["halted"] * self.halted
            + [
                f"{'bid' if side == 'buy' else 'ask'} {plain(shares)} @ {plain(price)} ({count})"
                for (side, price), (shares, count) in sums.items()
            ]
        )


def plain(number: Decimal) -> str:
    """Write a number as the exchange does: without an exponent and trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def lines_of(connection: Connection, symbol_key: int) -> list[str]:
    """Return what rests in the tables, as in `buy 100 @ 125 (1)`."""
    rows = connection.execute(
        "select format('%%s %%s @ %%s (%%s)', side, trim_scale(open_shares), trim_scale(abs(price_rank)), "
        "order_id) from exchange.resting_orders where symbol_key = %s order by side, price_rank, order_id",
        [symbol_key],
    ).fetchall()
    return [row[0] for row in rows]


def levels_of(connection: Connection, account: str, sym: str) -> list[str]:
    """Return what look_book says, as in `seq 7`, `halted`, `bid 300 @ 145.5 (4)`."""
    rows = connection.execute(
        "select outcome, shares, price, orders, seq from exchange.look_book(%s, %s, 1000)", [account, sym]
    ).fetchall()
    return [
        f"seq {seq}"
        if outcome == "book"
        else f"{outcome} {shares} @ {price} ({orders})"
        if price
        else outcome
        for outcome, shares, price, orders, seq in rows
    ]
