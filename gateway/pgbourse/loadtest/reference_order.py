"""An order of the reference exchange: what it says, what that means, and what has become of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["PLAIN", "Order", "Terms"]


@dataclass(frozen=True)
class Terms:
    """What an order says beyond symbol, amount and limit; None where its client did not say."""

    ref: str | None = None
    type: str | None = None  # limit or market
    budget: Decimal | None = None
    tif: str | None = None  # GTC, IOC or FOK
    post: bool = False
    stp: str | None = None  # taker, maker or both


PLAIN = Terms()  # of an order that says nothing of it


@dataclass(eq=False)
class Order:
    """An order as it was placed, and its state. Shares are positive on both sides."""

    order_id: int
    account: str
    sym: str
    buying: bool
    limit: Decimal | None  # None for a market order
    shares: Decimal
    terms: Terms = PLAIN
    replaced: Order | None = None
    released: Decimal = Decimal(0)  # of that one
    executed: Decimal = Decimal(0)  # at once
    canceled_at_once: Decimal = Decimal(0)
    passed: list[int] = field(default_factory=list)
    open: Decimal = field(init=False)
    canceled: Decimal = Decimal(0)
    reductions: list[Decimal] = field(default_factory=list)
    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open = self.shares

    @property
    def is_market(self) -> bool:
        return self.terms.type == "market"

    @property
    def may_rest(self) -> bool:
        return not self.is_market and self.terms.tif in (None, "GTC")

    def misspelt(self) -> str | None:
        """Return the code of what is wrong with it as it is written; None if nothing is."""
        terms = self.terms
        if self.shares == 0:
            return "invalid_amount"
        if self.limit is not None and self.limit <= 0:
            return "invalid_limit"
        if terms.budget is not None and terms.budget <= 0:
            return "invalid_budget"
        if terms.ref is not None and not re.fullmatch("[A-Za-z0-9._:-]{1,64}", terms.ref):
            return "invalid_ref"
        contradictions = (
            self.is_market != (self.limit is None),
            (self.is_market and self.buying) != (terms.budget is not None),
            self.is_market and terms.tif == "GTC",
            terms.post and not self.may_rest,
            self.replaced is not None and terms.type is not None,
        )
        return "invalid_terms" if any(contradictions) else None

    def meaning(self) -> tuple[object, ...]:
        """Return what must be equal for two orders of one ref to be the same one, said again."""
        terms, usual = self.terms, "IOC" if self.is_market else "GTC"
        return (
            *(self.sym, self.buying, self.shares, self.limit, terms.budget, self.is_market),
            *(terms.tif or usual, terms.post, terms.stp),
            None if self.replaced is None else self.replaced.order_id,
        )

    def told(self) -> list[tuple[str, object]]:
        """Return what the server adds to the attributes of the order, in its order."""
        said = [self.terms.tif, self.terms.stp, self.terms.type] != [None] * 3
        replaced = [] if self.replaced is None else [("replaced", self.replaced.order_id)]
        return [
            *replaced,
            *(("released", self.released) for _ in replaced),
            *((("executed", self.executed), ("canceled", self.canceled_at_once)) if said else ()),
            *([("passed", tuple(self.passed))] if self.passed else ()),
        ]

    def cost(self) -> Decimal:
        """Return the cash that a buy reserves for its open part."""
        return self.open * self.limit if self.limit is not None else self.terms.budget or Decimal(0)

    def matches(self, other: Order) -> bool:
        """Return whether it can trade with a resting one: same symbol, opposite sides, crossing limits."""
        if self.sym != other.sym or self.buying == other.buying:
            return False
        if self.limit is None or other.limit is None:
            return True
        buy, sell = (self.limit, other.limit) if self.buying else (other.limit, self.limit)
        return buy >= sell

    def possible(self, rest: Decimal, there: Decimal, price: Decimal, budget: Decimal | None) -> Decimal:
        """Return how many of the shares that are `there` it can take, if so many of it are left.

        With a budget: as many steps as that pays for, of the last decimal place of the amount. What is less
        than a step is taken whole, if the budget pays for it: what is there when the order comes to it, and
        what is left of the order.
        """
        want = min(rest, there)
        if budget is None:
            return want
        step = Decimal(1).scaleb(int(self.shares.as_tuple().exponent))
        if want < step:
            return want if want * price <= budget else Decimal(0)
        shares = min(want, budget // (price * step) * step)
        last = min(rest, there) - shares
        if rest - shares < step and (shares + last) * price <= budget:
            shares += last
        return shares
