"""What a client asks for, and the XML documents that ask for it.

The mirror image of pgbourse.wire.requests: no sockets here either. Numbers are exact, and text goes
unchecked, for the server says best what is wrong with it.
"""

from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from typing import Literal, TypeAlias
from xml.sax.saxutils import quoteattr

__all__ = [
    "ArmSwitch",
    "Cancel",
    "CancelAll",
    "Creation",
    "DisarmSwitch",
    "Grant",
    "ListOrders",
    "LookAccount",
    "LookBook",
    "NewAccount",
    "NewSymbol",
    "Number",
    "Order",
    "OrderType",
    "Query",
    "Reduce",
    "Replace",
    "SelfTrade",
    "TimeInForce",
    "Transaction",
    "create_document",
    "transactions_document",
]

Number: TypeAlias = int | Decimal | str  # text goes as it is
OrderType: TypeAlias = Literal["limit", "market"]
TimeInForce: TypeAlias = Literal["GTC", "IOC", "FOK"]
SelfTrade: TypeAlias = Literal["taker", "maker", "both"]


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Create an account with this much cash."""

    account_id: str
    balance: Number


@dataclass(frozen=True, slots=True)
class NewSymbol:
    """Create a symbol."""

    sym: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Give an account shares of a symbol, which is created if it does not exist."""

    sym: str
    account_id: str
    shares: Number


@dataclass(frozen=True, slots=True)
class Order:
    """Buy `amount` shares, or sell them if it is negative, at `limit` or a better price.

    `ref` is your own name for the order, never used before in its account: with it the same order can be sent
    again, and is placed once. `tif` "IOC" cancels at once what can't be filled at once, "FOK" fills the whole
    order or refuses it. With `post` it is refused if it would trade at once. `stp` says what goes if it meets
    an order of its own account: the rest of this one ("taker"), the other ("maker"), or both. `type` "market"
    takes no limit, and a buy needs a `budget`.
    """

    sym: str
    amount: Number
    limit: Number | None = None
    _: KW_ONLY
    type: OrderType | None = None
    budget: Number | None = None
    ref: str | None = None
    tif: TimeInForce | None = None
    post: bool = False
    stp: SelfTrade | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Cancel the open part of an order, and place another of its symbol and side, in one step.

    The old order is named by its id or, with `of`, by its ref. With `open`, only if so many of its shares are
    open. If the new order is refused, the old one stays as it is. The other fields are those of `Order`.
    """

    order_id: int | None = None
    _: KW_ONLY
    of: str | None = None
    amount: Number
    limit: Number
    open: Number | None = None
    ref: str | None = None
    tif: TimeInForce | None = None
    post: bool = False
    stp: SelfTrade | None = None


@dataclass(frozen=True, slots=True)
class Reduce:
    """Cancel so many `shares` of an order's open part, or all but `to`.

    The rest keeps its place in the queue. The order is named by its id or by its ref.
    """

    order_id: int | None = None
    _: KW_ONLY
    ref: str | None = None
    shares: Number | None = None
    to: Number | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Query an order, by its id or by its ref."""

    order_id: int | None = None
    _: KW_ONLY
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the open part of an order, named by its id or by its ref."""

    order_id: int | None = None
    _: KW_ONLY
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Cancel all open orders of the account, or those in one symbol."""

    sym: str | None = None


@dataclass(frozen=True, slots=True)
class ArmSwitch:
    """Have all open orders cancelled after so many whole seconds, unless this is said again before."""

    seconds: int


@dataclass(frozen=True, slots=True)
class DisarmSwitch:
    """Take back what the last ArmSwitch said."""


@dataclass(frozen=True, slots=True)
class LookAccount:
    """Look at the account: its cash, its positions, and what its open orders have reserved of both."""


@dataclass(frozen=True, slots=True)
class ListOrders:
    """List the account's open orders by id: of one symbol, with ids above `after`, at most `max` of them."""

    sym: str | None = None
    after: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class LookBook:
    """Look at a symbol's book, at most `depth` prices of each side."""

    sym: str
    depth: int | None = None


Creation: TypeAlias = NewAccount | NewSymbol | Grant
Transaction: TypeAlias = (
    Order
    | Replace
    | Reduce
    | Query
    | Cancel
    | CancelAll
    | ArmSwitch
    | DisarmSwitch
    | LookAccount
    | ListOrders
    | LookBook
)


def create_document(*items: Creation, codes: bool = True) -> bytes:
    """Write a <create>: its parts are carried out in this order, and each gets one result.

    With `codes` refusals carry a word for programs, if the server knows that.

    Raises TypeError for a float: its value is not what was written.
    """
    return f"<create{_codes(codes)}>{''.join(map(_creation, items))}</create>".encode()


def transactions_document(account_id: str, *items: Transaction, codes: bool = True) -> bytes:
    """Write a <transactions> of this account: its parts are carried out in order, and each gets one result.

    With `codes` refusals carry a word for programs, if the server knows that.

    Raises TypeError for a float: its value is not what was written.
    """
    parts = "".join(map(_transaction, items))
    return f"<transactions id={quoteattr(account_id)}{_codes(codes)}>{parts}</transactions>".encode()


def _codes(codes: bool) -> str:
    return ' codes="true"' if codes else ""


def _creation(item: Creation) -> str:
    match item:
        case NewAccount():
            return _element("account", id=item.account_id, balance=item.balance)
        case NewSymbol():
            return _element("symbol", sym=item.sym)
        case Grant():
            account = f"<account id={quoteattr(item.account_id)}>{_write(item.shares)}</account>"
            return f"<symbol sym={quoteattr(item.sym)}>{account}</symbol>"


def _transaction(item: Transaction) -> str:
    match item:
        case Order():
            price = {"limit": item.limit, "type": item.type, "budget": item.budget}
            return _element("order", sym=item.sym, amount=item.amount, **price, **_terms(item))
        case Replace():
            old = {"id": item.order_id, "of": item.of, "open": item.open}
            return _element("replace", **old, amount=item.amount, limit=item.limit, **_terms(item))
        case Reduce():
            return _element("reduce", id=item.order_id, ref=item.ref, shares=item.shares, to=item.to)
        case Query():
            return _element("query", id=item.order_id, ref=item.ref)
        case Cancel():
            return _element("cancel", id=item.order_id, ref=item.ref)
        case CancelAll():
            return _element("cancel", all=True, sym=item.sym)
        case ArmSwitch():
            return _element("cancel", all=True, after=item.seconds)
        case DisarmSwitch():
            return _element("cancel", all=True, after=0)
        case LookAccount():
            return _element("account")
        case ListOrders():
            return _element("orders", sym=item.sym, after=item.after, max=item.max)
        case LookBook():
            return _element("book", sym=item.sym, depth=item.depth)


def _terms(item: Order | Replace) -> dict[str, str | bool | None]:
    return {"ref": item.ref, "tif": item.tif, "post": item.post, "stp": item.stp}


def _element(name: str, **attributes: Number | bool | None) -> str:
    """Write an element with those attributes that have a value; False is as if not there."""
    written = [
        f' {key}="{"true" if value is True else _write(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    return f"<{name}{''.join(written)}/>"


def _write(value: Number) -> str:
    """Write a number without an exponent, or text so that it stays within its attribute."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str):
        return quoteattr(value, {'"': "&quot;"})[1:-1]
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}: a number must be an int, a Decimal or text")
