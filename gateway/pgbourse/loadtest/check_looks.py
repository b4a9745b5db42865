"""What can be wrong with the reply to a look by itself: `<account/>`, `<orders/>` and `<book/>`."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from lxml import etree

__all__ = ["LOOKS", "faults_of_look"]

LOOKS = frozenset({"account", "orders", "book"})


def faults_of_look(request: etree._Element, result: etree._Element) -> Iterator[str]:
    """Say what is wrong with a result, beside what it repeats of its request.

    Raises InvalidOperation or KeyError if a number is missing.
    """
    match request.tag:
        case "account":
            yield from _of_account(result)
        case "orders":
            yield from _of_orders(request, result)
        case _:
            yield from _of_book(request, result)


def _number(element: etree._Element, name: str) -> Decimal:
    return Decimal(str(element.attrib[name]))


def _of_account(result: etree._Element) -> Iterator[str]:
    if min(_number(result, "cash"), _number(result, "reserved")) < 0:
        yield "less than no cash"
    held = [(_number(position, "shares"), _number(position, "reserved")) for position in result]
    if any(min(shares, reserved) < 0 or not shares + reserved for shares, reserved in held):
        yield "a position of nothing, or less"
    syms = [str(position.attrib["sym"]) for position in result]
    if syms != sorted(set(syms)):
        yield "positions in another order than that of their symbols"


def _of_orders(request: etree._Element, result: etree._Element) -> Iterator[str]:
    ids = [int(_number(order, "id")) for order in result]
    most = int(request.get("max", "1000"))
    if _number(result, "count") != len(ids) or len(ids) > most:
        yield f"another number of orders than it says, or more than {most}"
    if result.get("more") is not None and len(ids) != most:
        yield "there are said to be more, and there is room for them"
    if ids != sorted(set(ids)):
        yield "orders in another order than that of their ids"
    if request.get("sym") is not None and any(order.get("sym") != request.get("sym") for order in result):
        yield "orders of another symbol"
    if any(not 0 < _number(order, "open") <= abs(_number(order, "amount")) for order in result):
        yield "an order with nothing open, or more than it is for"


def _of_book(request: etree._Element, result: etree._Element) -> Iterator[str]:
    bids, asks = ([_number(level, "price") for level in result.iterfind(tag)] for tag in ("bid", "ask"))
    if any(better <= worse for better, worse in pairwise(bids)) or any(
        better >= worse for better, worse in pairwise(asks)
    ):
        yield "prices that don't stand best first"
    if bids and asks and bids[0] >= asks[0]:
        yield f"a bid at {bids[0]} and an ask at {asks[0]}, which should match"
    if max(len(bids), len(asks)) > int(request.get("depth", "10")):
        yield "more prices than were asked for"
    if any(min(_number(level, "shares"), _number(level, "orders")) <= 0 for level in result):
        yield "a price with nothing at it"
