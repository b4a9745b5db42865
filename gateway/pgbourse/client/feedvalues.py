"""What a feed says: books as they stand, and what happened to them, order by order. Numbers are exact."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

__all__ = [
    "Add",
    "BookOrder",
    "Event",
    "FeedError",
    "FeedValue",
    "Halt",
    "Heartbeat",
    "Remove",
    "Resume",
    "Resumed",
    "Side",
    "Snapshot",
    "Trade",
    "Update",
]

Side: TypeAlias = Literal["buy", "sell"]


@dataclass(frozen=True, slots=True)
class BookOrder:
    """An order in the book: its limit, and the shares that are open."""

    order_id: int
    side: Side
    price: Decimal
    shares: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill. Whichever of the two orders rests loses that many shares; the other had not come to rest."""

    price: Decimal
    shares: Decimal
    buy_id: int
    sell_id: int


@dataclass(frozen=True, slots=True)
class Add:
    """An order comes to rest, with these shares, behind all others of its price."""

    order_id: int
    side: Side
    price: Decimal
    shares: Decimal


@dataclass(frozen=True, slots=True)
class Remove:
    """Shares of a resting order are cancelled: all of them, or a part."""

    order_id: int
    shares: Decimal


@dataclass(frozen=True, slots=True)
class Halt:
    """Trading is halted."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Trading goes on."""


Event: TypeAlias = Trade | Add | Remove | Halt | Resume


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole book after update `seq`, in priority order, buys first."""

    sym: str
    seq: int
    orders: tuple[BookOrder, ...]
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """What one transaction did to one symbol, in the order in which it happened.

    `seq` counts a symbol's updates, from 1, without a gap. `at` is in UTC.
    """

    sym: str
    seq: int
    at: datetime
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Resumed:
    """A symbol's updates go on after `seq`: the next one is one more."""

    sym: str
    seq: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The server lives, and had nothing to say for a while."""

    at: datetime


@dataclass(frozen=True, slots=True)
class FeedError:
    """A subscription was refused, of `sym` if the server names one; the others go on."""

    message: str
    sym: str | None = None


FeedValue: TypeAlias = Snapshot | Update | Resumed | Heartbeat | FeedError
