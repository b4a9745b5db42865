"""What a check of a load keeps of each order: what replies said of it, and what its status says."""

from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["ZERO", "CheckedOrder", "UnknownOrder"]

ZERO = Decimal(0)


@dataclass(slots=True)
class CheckedOrder:
    """An order that a reply called opened, and its latest status. Shares are positive."""

    order_id: str
    account: str
    sym: str
    buying: bool
    shares: Decimal
    limit: Decimal | None  # None for a market order
    budget: Decimal | None = None
    at_once: Decimal | None = None  # shares that it executed at once, if its reply said so
    ended_at_once: bool = False  # it never rests, or the rest of it was cancelled
    cancelled: bool = False  # a reply said so
    ended: Decimal | None = None  # with so many shares open
    reduced: Decimal = ZERO  # by so many shares, as replies said
    canceled: Decimal = ZERO
    reductions: Decimal = ZERO
    open: Decimal = ZERO
    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # shares, price
    most_fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # of all statuses so far
    cancel_unknown: bool = False  # a document that cancels or replaces it went unanswered
    reduce_unknown: bool = False  # one that reduces it did
    told: bool = False  # its status is known from the queries at the end

    @property
    def executed(self) -> Decimal:
        return sum((shares for shares, _ in self.fills), ZERO)


@dataclass(frozen=True, slots=True)
class UnknownOrder:
    """An order that may or may not have been opened."""

    sym: str
    buying: bool
    shares: Decimal
    limit: Decimal
