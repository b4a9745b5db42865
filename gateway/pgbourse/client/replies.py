"""XML replies -> results: the mirror image of pgbourse.wire.messages. No sockets here either."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias
from xml.etree import ElementTree

from pgbourse.client.replyerror import ReplyError
from pgbourse.client.results import (
    Account,
    Armed,
    Book,
    Canceled,
    CanceledAll,
    Cancellation,
    Created,
    Disarmed,
    Execution,
    Level,
    Opened,
    OpenOrder,
    Orders,
    Position,
    Reduced,
    Refused,
    Result,
    Server,
    Status,
)

__all__ = ["ReplyError", "read_reply"]

_Element: TypeAlias = ElementTree.Element


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


def _read_created(element: _Element) -> Created:
    return Created(account_id=element.get("id"), sym=element.get("sym"))


def _read_opened(element: _Element) -> Opened:
    of = element.attrib
    return Opened(
        int(of["id"]),
        of["sym"],
        Decimal(of["amount"]),
        _decimal(element, "limit"),
        type=of.get("type"),
        budget=_decimal(element, "budget"),
        ref=of.get("ref"),
        tif=of.get("tif"),
        post=_flag(element, "post"),
        stp=of.get("stp"),
        replaced=int(of["replaced"]) if "replaced" in of else None,
        released=_decimal(element, "released"),
        executed=_decimal(element, "executed"),
        canceled=_decimal(element, "canceled"),
        passed=tuple(map(int, of.get("passed", "").split())),
        duplicate=_flag(element, "duplicate"),
    )


def _read_status(element: _Element) -> Status:
    opened = element.find("open")
    return Status(
        int(element.attrib["id"]),
        Decimal(0) if opened is None else Decimal(opened.attrib["shares"]),
        next(_cancellations(element, "canceled"), None),
        _executions(element),
        tuple(_cancellations(element, "reduced")),
        element.get("ref"),
    )


def _read_canceled(element: _Element) -> Canceled | CanceledAll:
    if "all" in element.attrib:
        ended = element.iterfind("order")
        return CanceledAll({int(order.attrib["id"]): Decimal(order.attrib["shares"]) for order in ended})
    cancellation = next(_cancellations(element, "canceled"), None)
    if cancellation is None:
        raise ValueError("a <canceled> that does not say what it has ended")
    return Canceled(
        int(element.attrib["id"]),
        cancellation,
        _executions(element),
        tuple(_cancellations(element, "reduced")),
        element.get("ref"),
    )


def _read_reduced(element: _Element) -> Reduced:
    of = element.attrib
    return Reduced(int(of["id"]), Decimal(of["shares"]), Decimal(of["open"]), of.get("ref"))


def _read_armed(element: _Element) -> Armed:
    return Armed(int(element.attrib["after"]), _time(element))


def _read_disarmed(_: _Element) -> Disarmed:
    return Disarmed()


def _read_account(element: _Element) -> Account:
    of = element.attrib
    positions = tuple(
        Position(part.attrib["sym"], Decimal(part.attrib["shares"]), Decimal(part.attrib["reserved"]))
        for part in element.iterfind("position")
    )
    armed = _time(element, "armed") if "armed" in of else None
    return Account(Decimal(of["cash"]), Decimal(of["reserved"]), positions, armed)


def _read_orders(element: _Element) -> Orders:
    return Orders(tuple(map(_open_order, element.iterfind("order"))), _flag(element, "more"))


def _open_order(element: _Element) -> OpenOrder:
    of = element.attrib
    return OpenOrder(
        int(of["id"]),
        of["sym"],
        Decimal(of["amount"]),
        _decimal(element, "limit"),
        Decimal(of["open"]),
        of.get("ref"),
        _time(element),
    )


def _read_book(element: _Element) -> Book:
    bids, asks = (tuple(map(_level, element.iterfind(side))) for side in ("bid", "ask"))
    return Book(element.attrib["sym"], int(element.attrib["seq"]), bids, asks, _flag(element, "halted"))


def _level(element: _Element) -> Level:
    of = element.attrib
    return Level(Decimal(of["price"]), Decimal(of["shares"]), int(of["orders"]))


def _read_server(element: _Element) -> Server:
    return Server(element.attrib["version"], frozenset(element.attrib["features"].split()))


def _read_refused(element: _Element) -> Refused:
    attributes = dict(element.attrib)
    code = attributes.pop("code", None)
    return Refused(element.text or "", MappingProxyType(attributes), code)


_READERS: dict[str, Callable[[_Element], Result]] = {
    "created": _read_created,
    "opened": _read_opened,
    "status": _read_status,
    "canceled": _read_canceled,
    "reduced": _read_reduced,
    "armed": _read_armed,
    "disarmed": _read_disarmed,
    "account": _read_account,
    "orders": _read_orders,
    "book": _read_book,
    "server": _read_server,
    "error": _read_refused,
}


def _decimal(element: _Element, name: str) -> Decimal | None:
    text = element.get(name)
    return None if text is None else Decimal(text)


def _flag(element: _Element, name: str) -> bool:
    return element.get(name) == "true"


def _time(element: _Element, name: str = "time") -> datetime:
    return datetime.fromtimestamp(int(element.attrib[name]), UTC)


def _cancellations(element: _Element, name: str) -> Iterator[Cancellation]:
    for part in element.iterfind(name):
        yield Cancellation(Decimal(part.attrib["shares"]), _time(part))


def _executions(element: _Element) -> tuple[Execution, ...]:
    return tuple(
        Execution(Decimal(part.attrib["shares"]), Decimal(part.attrib["price"]), _time(part))
        for part in element.iterfind("executed")
    )
