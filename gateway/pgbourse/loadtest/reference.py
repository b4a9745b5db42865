"""A small exchange in memory that is obviously right; tests compare the real one with it.

It has no batches, credits or locks: one request after the other, lists and loops, exact decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import ROUND_CEILING, Decimal, localcontext

from pgbourse.loadtest.reference_order import PLAIN, Order, Terms

__all__ = ["PLAIN", "Account", "Book", "Order", "ReferenceExchange", "Terms"]

# Cash and what is reserved of it, when the switch fires, and (sym, shares, reserved shares) of each position.
Account = tuple[Decimal, Decimal, int | None, list[tuple[str, Decimal, Decimal]]]
# Whether it is halted, and (price, shares, number of orders) of the bids and of the asks, best first.
Levels = list[tuple[Decimal, Decimal, int]]
Book = tuple[bool, Levels, Levels]

_ZERO = Decimal(0)


@contextmanager
def _exact() -> Iterator[None]:
    """Compute without rounding: a budget over a price over a step may have 150 digits."""
    with localcontext(prec=300):
        yield


class ReferenceExchange:
    """The market's rules, as docs/protocol.md states them. Each method returns what the client is told.

    A refusal is its code; where the client is told a number, that follows, as in `unfilled 30`. Orders are
    named by their id, a number, or by their ref, a text.
    """

    def __init__(self) -> None:
        self.cash: dict[str, Decimal] = {}
        self.shares: dict[tuple[str, str], Decimal] = {}
        self.symbols: set[str] = set()
        self.halted: set[str] = set()  # symbols
        self.frozen: set[str] = set()  # accounts
        self.switches: dict[str, Decimal] = {}  # when they fire, by account
        self.orders: dict[int, Order] = {}
        self._refs: dict[tuple[str, str], Order] = {}
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

    @_exact()
    def place_order(
        self, account: str, sym: str, amount: Decimal, limit: Decimal | None, terms: Terms = PLAIN
    ) -> str | Order:
        """Place an order; the caller gives it the id that the real exchange gave (see `number`).

        An order that has its id already is the one that this one repeats.
        """
        if account not in self.cash:
            return "unknown_account"
        order = Order(0, account, sym, amount > 0, limit, abs(amount), terms)
        return order.misspelt() or self._repeated(order) or self._enter(order)

    def number(self, order: Order, order_id: int) -> None:
        """Record the id of a placed order."""
        order.order_id = order_id
        self.orders[order_id] = order
        self._resting.setdefault(order.sym, []).append(order)
        if order.terms.ref is not None:
            self._refs[order.account, order.terms.ref] = order

    @_exact()
    def replace_order(
        self,
        account: str,
        named: int | str,
        amount: Decimal,
        limit: Decimal,
        terms: Terms = PLAIN,
        if_open: Decimal | None = None,
    ) -> str | Order:
        """Place an order in the place of another, on the same terms as `place_order`."""
        if account not in self.cash:
            return "unknown_account"
        old = self._find(account, named)
        sym = old.sym if old is not None else ""
        order = Order(0, account, sym, amount > 0, limit, abs(amount), terms, replaced=old)
        refusal = order.misspelt() or self._repeated(order)
        if refusal is not None:
            return refusal
        if old is None:
            return "unknown_order"
        if old.open == 0:
            return "nothing_open"
        if old.buying != order.buying:
            return "other_side"
        if if_open is not None and old.open != if_open:
            return f"open_differs {old.open.normalize():f}"
        order.released = self._cancel(old)
        placed = self._enter(order)
        if isinstance(placed, str):
            # Nothing has happened since, so what was given back is there to be taken again.
            old.open, old.canceled = order.released, _ZERO
            self._take(old)
        return placed

    def query_order(self, account: str, named: int | str) -> str | Order:
        """Return an order of this account."""
        return self._find(account, named) or "unknown_order"

    @_exact()
    def cancel_order(self, account: str, named: int | str) -> str | Order:
        """End the open part of an order of this account, and return the order."""
        order = self._find(account, named)
        if order is None:
            return "unknown_order"
        if order.open == 0:
            return "nothing_open"
        self._cancel(order)
        return order

    @_exact()
    def reduce_order(
        self, account: str, named: int | str, *, shares: Decimal | None = None, to: Decimal | None = None
    ) -> str | tuple[Decimal, Decimal]:
        """Cancel so much of the open part, or what is above; return the shares cancelled and those open."""
        order = self._find(account, named)
        if account not in self.cash or order is None:
            return "unknown_order"
        if order.open == 0:
            return "nothing_open"
        gone = shares if shares is not None else max(order.open - (to or _ZERO), _ZERO)
        if gone >= order.open:
            return self._cancel(order), _ZERO
        if gone > 0:
            order.open -= gone
            order.reductions.append(gone)
            self._give_back(order, gone)
        return gone, order.open

    @_exact()
    def cancel_all(self, account: str, sym: str | None = None) -> str | list[tuple[int, Decimal]]:
        """Cancel all open orders of the account, or those in a symbol; return their ids and shares."""
        if account not in self.cash:
            return "unknown_account"
        return [(order.order_id, self._cancel(order)) for order in self._open_orders(account, sym)]

    def arm_switch(self, account: str, seconds: int, now: Decimal) -> str | int:
        """Have all orders cancelled so many seconds after now; return when, in whole seconds, rounded up."""
        if account not in self.cash:
            return "unknown_account"
        if not 1 <= seconds <= 86400:
            return "invalid_seconds"
        self.switches[account] = now + seconds
        return _round_up(now + seconds)

    def disarm_switch(self, account: str) -> str:
        """Disarm the switch, if it is armed."""
        if account not in self.cash:
            return "unknown_account"
        self.switches.pop(account, None)
        return "disarmed"

    def fire_switch(self, account: str, now: Decimal) -> str | list[tuple[int, Decimal]]:
        """Cancel all open orders if the time has come; return their ids and shares."""
        if account not in self.switches or now < self.switches[account]:
            return "not_due"
        del self.switches[account]
        return self.cancel_all(account)

    @_exact()
    def look_account(self, account: str) -> str | Account:
        """Return what the account has, free and reserved; positions with anything in them, by symbol."""
        if account not in self.cash:
            return "unknown_account"
        reserved = _ZERO
        positions = {sym: [shares, _ZERO] for (owner, sym), shares in self.shares.items() if owner == account}
        for order in self._open_orders(account):
            if order.buying:
                reserved += order.cost()
            else:
                positions[order.sym][1] += order.open
        held = [(sym, free, bound) for sym, (free, bound) in sorted(positions.items()) if free or bound]
        fires_at = self.switches.get(account)
        return self.cash[account], reserved, None if fires_at is None else _round_up(fires_at), held

    def list_orders(
        self, account: str, sym: str | None = None, after: int = 0, most: int = 1000
    ) -> str | tuple[list[Order], bool]:
        """Return open orders of the account by id, and whether there are more."""
        if account not in self.cash:
            return "unknown_account"
        found = [order for order in self._open_orders(account, sym) if order.order_id > after]
        return found[:most], len(found) > most

    @_exact()
    def look_book(self, account: str, sym: str, depth: int = 10) -> str | Book:
        """Return the best prices of both sides."""
        if account not in self.cash:
            return "unknown_account"
        if sym not in self.symbols:
            return "unknown_symbol"
        sides: list[Levels] = []
        for buying in (True, False):
            levels: dict[Decimal, list[Decimal]] = {}
            for order in self._resting.get(sym, []):
                if order.open and order.buying == buying and order.limit is not None:
                    levels.setdefault(order.limit, []).append(order.open)
            best = sorted(levels, reverse=buying)[:depth]
            sides.append([(price, sum(levels[price], _ZERO), len(levels[price])) for price in best])
        return sym in self.halted, sides[0], sides[1]

    def book(self) -> list[tuple[int, Decimal]]:
        """Return the id and the open shares of every open order."""
        return sorted((order.order_id, order.open) for order in self.orders.values() if order.open > 0)

    def _find(self, account: str, named: int | str) -> Order | None:
        order = self.orders.get(named) if isinstance(named, int) else self._refs.get((account, named))
        return order if order is not None and order.account == account else None

    def _open_orders(self, account: str, sym: str | None = None) -> Sequence[Order]:
        """Return the open orders of an account by id, of one symbol if it is given."""
        found = [order for order in self.orders.values() if order.account == account and order.open > 0]
        return sorted(
            (order for order in found if sym in (None, order.sym)), key=lambda order: order.order_id
        )

    def _repeated(self, order: Order) -> str | Order | None:
        """Return the order that this one says again, or why it can't be: another has its ref."""
        if order.terms.ref is None or (order.account, order.terms.ref) not in self._refs:
            return None
        first = self._refs[order.account, order.terms.ref]
        return first if first.meaning() == order.meaning() else f"ref_taken {first.order_id}"

    def _enter(self, order: Order) -> str | Order:
        """Let an order into the market: all of what it does at once, or a refusal, which changes nothing."""
        if order.sym not in self.symbols:
            return "unknown_symbol"
        if order.account in self.frozen:
            return "account_frozen"
        if order.buying and self.cash[order.account] < order.cost():
            return "insufficient_funds"
        if not order.buying and self.shares.get((order.account, order.sym), _ZERO) < order.open:
            return "insufficient_shares"
        if order.sym in self.halted:
            return "symbol_halted"
        if order.terms.post and self._by_priority(order):
            return "would_trade"
        plan, stopped = self._plan(order)
        filled = sum((shares for _, shares in plan), _ZERO)
        if order.terms.tif == "FOK" and filled < order.open:
            return f"unfilled {filled.normalize():f}"
        self._take(order)
        for resting, shares in plan:
            if shares:
                self._fill(order, resting, shares)
            else:
                order.passed.append(resting.order_id)
                self._cancel(resting)
        order.executed = filled
        if stopped or not order.may_rest:
            order.canceled_at_once = self._cancel(order)
        return order

    def _plan(self, order: Order) -> tuple[list[tuple[Order, Decimal]], bool]:
        """Say which resting orders this one meets, and for how many shares; 0 where it passes its own.

        Also whether it is over because it would trade with one of its own account.
        """
        plan: list[tuple[Order, Decimal]] = []
        rest, budget, stp = order.open, order.terms.budget, order.terms.stp
        for resting in self._by_priority(order):
            price = resting.limit or _ZERO
            shares = order.possible(rest, resting.open, price, budget)
            if shares == 0:
                break
            if stp is not None and resting.account == order.account:
                if stp in ("maker", "both"):
                    plan.append((resting, _ZERO))
                if stp in ("taker", "both"):
                    return plan, True
                continue
            plan.append((resting, shares))
            if shares < min(rest, resting.open):  # the budget pays for no more
                break
            rest -= shares
            budget = None if budget is None else budget - shares * price
        return plan, False

    def _by_priority(self, order: Order) -> list[Order]:
        """Return the resting orders that this one can trade with: best price first, then the earlier."""
        resting = [other for other in self._resting.get(order.sym, []) if other.open > 0]
        return sorted(
            [other for other in resting if order.matches(other)],
            key=lambda other: ((other.limit or _ZERO) * (1 if order.buying else -1), other.order_id),
        )

    def _take(self, order: Order) -> None:
        """Take from the account what the order can cost."""
        if order.buying:
            self.cash[order.account] -= order.cost()
        else:
            self._add_shares(order.account, order.sym, -order.open)

    def _give_back(self, order: Order, shares: Decimal) -> None:
        """Give back what was reserved for so many shares that don't trade; of a market buy, what it left."""
        if not order.buying:
            self._add_shares(order.account, order.sym, shares)
        elif order.limit is not None:
            self.cash[order.account] += shares * order.limit
        else:
            spent = sum((shares * price for shares, price in order.fills), _ZERO)
            self.cash[order.account] += (order.terms.budget or _ZERO) - spent

    def _cancel(self, order: Order) -> Decimal:
        """End the open part, and return how many shares that were."""
        gone = order.open
        order.open, order.canceled = _ZERO, gone
        self._give_back(order, gone)
        return gone

    def _fill(self, order: Order, resting: Order, shares: Decimal) -> None:
        price = resting.limit or _ZERO
        buy, sell = (order, resting) if order.buying else (resting, order)
        order.open -= shares
        resting.open -= shares
        order.fills.append((shares, price))
        resting.fills.append((shares, price))
        self.cash[sell.account] += shares * price
        if buy.limit is not None:
            self.cash[buy.account] += shares * (buy.limit - price)
        self._add_shares(buy.account, buy.sym, shares)

    def _add_shares(self, account: str, sym: str, shares: Decimal) -> None:
        self.shares[account, sym] = self.shares.get((account, sym), _ZERO) + shares


def _round_up(seconds: Decimal) -> int:
    return int(seconds.to_integral_value(ROUND_CEILING))
