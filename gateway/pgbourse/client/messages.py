"""A client's messages, typed: requests -> XML documents, and XML replies -> results.

The mirror image of pgbourse.wire.messages: no sockets here either. Numbers are exact both ways.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from pgbourse.errors import PgbourseError

__all__ = [
    "Cancel",
    "Canceled",
    "Cancellation",
    "Created",
    "Creation",
    "Execution",
    "Grant",
    "NewAccount",
    "NewSymbol",
    "Number",
    "Opened",
    "Order",
    "Query",
    "Refused",
    "ReplyError",
    "Result",
    "Status",
    "Transaction",
    "create_document",
    "read_reply",
    "transactions_document",
]

Number: TypeAlias = int | Decimal | str  # text goes as it is


class ReplyError(PgbourseError):
    """What the server sent is not a reply of this protocol."""


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
    """Buy `amount` shares, or sell them if it is negative, at `limit` or a better price."""

    sym: str
    amount: Number
    limit: Number


@dataclass(frozen=True, slots=True)
class Query:
    """Query an order."""

    order_id: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the open part of an order."""

    order_id: int


Creation: TypeAlias = NewAccount | NewSymbol | Grant
Transaction: TypeAlias = Order | Query | Cancel


@dataclass(frozen=True, slots=True)
class Created:
    """An account, a symbol, or a grant of shares of a symbol to an account."""

    account_id: str | None = None
    sym: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """An order that was accepted; it may have executed already, in part or whole."""

    order_id: int
    sym: str
    amount: Decimal
    limit: Decimal


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill: this many shares, each at this price."""

    shares: Decimal
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The end of an order's open part."""

    shares: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an order: shares still open (0 if none are), and its fills, oldest first."""

    order_id: int
    open_shares: Decimal
    cancellation: Cancellation | None
    executions: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class Canceled:
    """What a cancel has ended, and the order's fills before it, oldest first."""

    order_id: int
    cancellation: Cancellation
    executions: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was not carried out, and why; `attributes` repeat the request's own."""

    message: str
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


Result: TypeAlias = Created | Opened | Status | Canceled | Refused


def create_document(*items: Creation) -> bytes:
    """Write a <create>: its parts are carried out in this order, and each gets one result.

    Raises TypeError for a float: its value is not what was written.
    """
    return f"<create>{''.join(map(_creation, items))}</create>".encode()


def transactions_document(account_id: str, *items: Transaction) -> bytes:
    """Write a <transactions> of this account: its parts are carried out in order, and each gets one result.

    Raises TypeError for a float: its value is not what was written.
    """
    parts = "".join(map(_transaction, items))
    return f"<transactions id={quoteattr(account_id)}>{parts}</transactions>".encode()


def read_reply(document: bytes) -> list[Result]:
    """Read a reply: one result for each part of the request, in its order.

    Raises ReplyError if it is not a reply of this protocol.
    """
    try:
        root = ElementTree.fromstring(document)
        if root.tag == "results":
            return [_READERS[child.tag](child) for child in root]
    except ElementTree.ParseError as error:
        raise ReplyError(f"the server's reply is not XML: {error}") from error
    except (KeyError, ValueError, ArithmeticError) as error:
        raise ReplyError(f"this client does not understand the server's reply: {error}") from error
    raise ReplyError(f"the server's reply is <{root.tag}>: it must be <results>")


def _creation(item: Creation) -> str:
    match item:
        case NewAccount():
            return f'<account id={quoteattr(item.account_id)} balance="{_write(item.balance)}"/>'
        case NewSymbol():
            return f"<symbol sym={quoteattr(item.sym)}/>"
        case Grant():
            account = f"<account id={quoteattr(item.account_id)}>{_write(item.shares)}</account>"
            return f"<symbol sym={quoteattr(item.sym)}>{account}</symbol>"


def _transaction(item: Transaction) -> str:
    match item:
        case Order():
            numbers = f'amount="{_write(item.amount)}" limit="{_write(item.limit)}"'
            return f"<order sym={quoteattr(item.sym)} {numbers}/>"
        case Query():
            return f'<query id="{item.order_id}"/>'
        case Cancel():
            return f'<cancel id="{item.order_id}"/>'


def _write(number: Number) -> str:
    """Write a number without an exponent. Text goes unchecked: the server says best what is wrong with it."""
    if isinstance(number, Decimal):
        return f"{number:f}"
    if isinstance(number, str):
        return quoteattr(number, {'"': "&quot;"})[1:-1]
    if isinstance(number, int):
        return str(number)
    raise TypeError(f"{number!r} is a {type(number).__name__}: a number must be an int, a Decimal or text")


def _read_created(element: ElementTree.Element) -> Created:
    return Created(account_id=element.get("id"), sym=element.get("sym"))


def _read_opened(element: ElementTree.Element) -> Opened:
    of = element.attrib
    return Opened(int(of["id"]), of["sym"], Decimal(of["amount"]), Decimal(of["limit"]))


def _read_status(element: ElementTree.Element) -> Status:
    opened = element.find("open")
    return Status(
        int(element.attrib["id"]),
        Decimal(0) if opened is None else Decimal(opened.attrib["shares"]),
        _cancellation(element),
        _executions(element),
    )


def _read_canceled(element: ElementTree.Element) -> Canceled:
    cancellation = _cancellation(element)
    if cancellation is None:
        raise ValueError("a <canceled> that does not say what it has ended")
    return Canceled(int(element.attrib["id"]), cancellation, _executions(element))


def _read_refused(element: ElementTree.Element) -> Refused:
    return Refused(element.text or "", MappingProxyType(dict(element.attrib)))


_READERS: dict[str, Callable[[ElementTree.Element], Result]] = {
    "created": _read_created,
    "opened": _read_opened,
    "status": _read_status,
    "canceled": _read_canceled,
    "error": _read_refused,
}


def _cancellation(element: ElementTree.Element) -> Cancellation | None:
    part = element.find("canceled")
    return None if part is None else Cancellation(Decimal(part.attrib["shares"]), _time(part))


def _executions(element: ElementTree.Element) -> tuple[Execution, ...]:
    return tuple(
        Execution(Decimal(part.attrib["shares"]), Decimal(part.attrib["price"]), _time(part))
        for part in element.iterfind("executed")
    )


def _time(element: ElementTree.Element) -> datetime:
    return datetime.fromtimestamp(int(element.attrib["time"]), UTC)
