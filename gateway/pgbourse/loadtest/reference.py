"""A small exchange in memory that is obviously right; tests compare the real one with it.

It has no batches, credits or locks: one request after the other, lists and loops, exact decimals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext

__all__ = ["Order", "ReferenceExchange"]


@dataclass
class Order:
    """An order as it was placed, and its state. Shares are positive on both sides."""

    order_id: int
    account: str
    sym: str
    buying: bool
    limit: Decimal
    open: Decimal
    canceled: Decimal = Decimal(0)
    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)

    def matches(self, other: Order) -> bool:
        """Return whether the two can trade: same symbol, opposite sides, crossing limits."""
        if self.sym != other.sym or self.buying == other.buying:
            return False
        buy, sell = (self, other) if self.buying else (other, self)
        return buy.limit >= sell.limit


class ReferenceExchange:
    """The market's rules, as docs/protocol.md states them. Each method returns what the client is told."""

    def __init__(self) -> None:
        self.cash: dict[str, Decimal] = {}
        self.shares: dict[tuple[str, str], Decimal] = {}
        self.symbols: set[str] = set()
        self.orders: dict[int, Order] = {}
        self._resting: dict[str, list[Order]] = {}  # by symbol; closed ones are removed when met

    def create_account(self, account: str, balance: Decimal) -> str:
        """Create an account with this much money."""
        if account in self.cash:
            return "account_exists"
        self.cash[account] = balance
        return "created"

    def grant_shares(self, sym: str, account: str, shares: Decimal) -> str:
        """Give shares to an account; a new symbol is created."""
        if account not in self.cash:
            return "unknown_account"
        self.symbols.add(sym)
        self._add_shares(account, sym, shares)
        return "created"

    def place_order(self, account: str, sym: str, amount: Decimal, limit: Decimal) -> str | Order:
        """Place an order; the caller gives it the id that the real exchange gave (see `number`)."""
        if account not in self.cash:
            return "unknown_account"
        if amount == 0:
            return "invalid_amount"
        if limit <= 0:
            return "invalid_limit"
        if sym not in self.symbols:
            return "unknown_symbol"
        order = Order(0, account, sym, amount > 0, limit, abs(amount))
        with localcontext(prec=100):
            if order.buying:
                if self.cash[account] < order.open * limit:
                    return "insufficient_funds"
                self.cash[account] -= order.open * limit
            else:
                if self.shares.get((account, sym), Decimal(0)) < order.open:
                    return "insufficient_shares"
                self.shares[account, sym] -= order.open
            for resting in self._by_priority(order):
                self._fill(order, resting)
        return order

    def number(self, order: Order, order_id: int) -> None:
        """Record the id of a placed order."""
        order.order_id = order_id
        self.orders[order_id] = order
        self._resting.setdefault(order.sym, []).append(order)

    def query_order(self, account: str, order_id: int) -> str | Order:
        """Return an order of this account."""
        order = self.orders.get(order_id)
        return order if order is not None and order.account == account else "unknown_order"

    def cancel_order(self, account: str, order_id: int) -> str | Order:
        """End the open part of an order of this account, and return the order."""
        order = self.query_order(account, order_id)
        if isinstance(order, str):
            return order
        if order.open == 0:
            return "nothing_open"
        with localcontext(prec=100):
            if order.buying:
                self.cash[account] += order.open * order.limit
            else:
                self._add_shares(account, order.sym, order.open)
        order.canceled, order.open = order.open, Decimal(0)
        return order

    def book(self) -> list[tuple[int, Decimal]]:
        """Return the id and the open shares of every open order."""
        return sorted((order.order_id, order.open) for order in self.orders.values() if order.open > 0)

    def _by_priority(self, order: Order) -> list[Order]:
        """Return the resting orders that this one can trade with: best price first, then the earlier."""
        resting = [other for other in self._resting.get(order.sym, []) if other.open > 0]
        self._resting[order.sym] = resting
        return sorted(
            [other for other in resting if order.matches(other)],
            key=lambda other: (other.limit if order.buying else -other.limit, other.order_id),
        )

    def _fill(self, order: Order, resting: Order) -> None:
        shares = min(order.open, resting.open)
        if shares == 0:
            return
        price = resting.limit
        buy, sell = (order, resting) if order.buying else (resting, order)
        order.open -= shares
        resting.open -= shares
        order.fills.append((shares, price))
        resting.fills.append((shares, price))
        self.cash[sell.account] += shares * price
        self.cash[buy.account] += shares * (buy.limit - price)
        self._add_shares(buy.account, buy.sym, shares)

    def _add_shares(self, account: str, sym: str, shares: Decimal) -> None:
        self.shares[account, sym] = self.shares.get((account, sym), Decimal(0)) + shares
