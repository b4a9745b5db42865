"""What a server answers, one result for each request. Numbers are exact, times are in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

__all__ = [
    "Account",
    "Armed",
    "Book",
    "Canceled",
    "CanceledAll",
    "Cancellation",
    "Created",
    "Disarmed",
    "Execution",
    "Level",
    "OpenOrder",
    "Opened",
    "Orders",
    "Position",
    "Reduced",
    "Refused",
    "Result",
    "Server",
    "Status",
]


@dataclass(frozen=True, slots=True)
class Created:
    """An account, a symbol, or a grant of shares of a symbol to an account."""

    account_id: str | None = None
    sym: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """An order that was accepted; it may have executed already, in part or whole.

    The fields from `type` to `stp` are what the request said, None where it didn't. Orders with `tif`, `stp`
    or `type` are told how many shares were `executed` and how many `canceled` at once. `passed` are orders of
    the same account that `stp` has cancelled, `replaced` is the order in whose place this one is, of which
    `released` shares were still open. `duplicate` says that the same order had been placed before: everything
    else is what was answered then.
    """

    order_id: int
    sym: str
    amount: Decimal
    limit: Decimal | None
    type: str | None = None
    budget: Decimal | None = None
    ref: str | None = None
    tif: str | None = None
    post: bool = False
    stp: str | None = None
    replaced: int | None = None
    released: Decimal | None = None
    executed: Decimal | None = None
    canceled: Decimal | None = None
    passed: tuple[int, ...] = ()
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill: this many shares, each at this price."""

    shares: Decimal
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The end of an order's open part, or of a part of that."""

    shares: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an order: shares still open (0 if none are), and what became of the others."""

    order_id: int
    open_shares: Decimal
    cancellation: Cancellation | None
    executions: tuple[Execution, ...]
    reductions: tuple[Cancellation, ...] = ()
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Canceled:
    """What a cancel has ended, and what had become of the order before it, oldest first."""

    order_id: int
    cancellation: Cancellation
    executions: tuple[Execution, ...]
    reductions: tuple[Cancellation, ...] = ()
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Reduced:
    """How many shares a Reduce has cancelled, and how many are open now."""

    order_id: int
    shares: Decimal
    open_shares: Decimal
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class CanceledAll:
    """The orders that a CancelAll has ended, by id, each with the shares that were open."""

    orders: Mapping[int, Decimal]


@dataclass(frozen=True, slots=True)
class Armed:
    """The dead man's switch, and when it fires."""

    seconds: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Disarmed:
    """The dead man's switch doesn't fire any more."""


@dataclass(frozen=True, slots=True)
class Position:
    """What an account has of a symbol: shares that can be sold, and those reserved in open orders."""

    sym: str
    shares: Decimal
    reserved: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """Cash that can be spent, cash reserved in open orders, positions, and when the switch fires."""

    cash: Decimal
    reserved: Decimal
    positions: tuple[Position, ...]
    armed: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An open order: its amount as placed, and the shares that are open."""

    order_id: int
    sym: str
    amount: Decimal
    limit: Decimal | None
    open_shares: Decimal
    ref: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Orders:
    """Open orders by id. If there are `more`, ask for those after the last one."""

    orders: tuple[OpenOrder, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A price in the book: the shares there, and of how many orders they are."""

    price: Decimal
    shares: Decimal
    orders: int


@dataclass(frozen=True, slots=True)
class Book:
    """Both sides of a symbol's book, best price first; `seq` is the number of the latest change in it."""

    sym: str
    seq: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """A server's version, None if it says nothing of itself, and what it knows beyond the base protocol."""

    version: str | None
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was not carried out, and why; `attributes` repeat the request's own.

    `code` is the reason in one word, for programs; None if the server doesn't tell it.
    """

    message: str
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    code: str | None = None


Result: TypeAlias = (
    Created
    | Opened
    | Status
    | Canceled
    | Reduced
    | CanceledAll
    | Armed
    | Disarmed
    | Account
    | Orders
    | Book
    | Server
    | Refused
)
