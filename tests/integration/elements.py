"""Requests as the elements that a client writes, and results as rows of the database's answer."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from tests.sql.market import Answer, Request, Said

__all__ = ["Child", "answers", "assert_repeated", "write"]

# How the words of an <error> begin, for each code of a refusal, where the document doesn't ask for codes.
_WORDS = {
    "account_exists": "account [0-9]+ exists already$",
    "unknown_account": "no such account: [0-9]+$",
    "unknown_symbol": "no such symbol: [A-Z0-9]+$",
    "insufficient_funds": "insufficient funds: [0-9.]+ needed, [0-9.]+ available$",
    "insufficient_shares": "insufficient shares of [A-Z0-9]+: [0-9.]+ needed, [0-9.]+ available$",
    "unknown_order": "no such order: [A-Za-z0-9._:-]+$",
    "nothing_open": "order [0-9]+ has no open shares to cancel$",
    "ref_taken": "ref [A-Za-z0-9._:-]+ is order [0-9]+ already$",
    "unfilled": "it can't be filled wholly at once: [0-9.]+ of [0-9.]+ shares could be had$",
    "would_trade": "it would trade at once: an order rests at [0-9.]+$",
    "other_side": "order [0-9]+ is to (buy|sell), ",
    "open_differs": "order [0-9]+.* [0-9.]+ (open shares|shares are open), not [0-9.]+$",
    "invalid_": ".* (is not allowed|is missing|leave it out|contradict each other|never rests)\\b",
}

# The tag and the attributes of each action's element, in the order in which an <error> repeats them.
_ELEMENTS = {
    "place_order": ("order", "sym amount limit type budget ref tif post stp"),
    "replace_order": ("replace", "id of amount limit ref tif post stp open"),
    "query_order": ("query", "id ref"),
    "cancel_order": ("cancel", "id ref"),
    "reduce_order": ("reduce", "id ref shares"),
    "reduce_order_to": ("reduce", "id ref to"),
    "cancel_all": ("cancel", "all sym"),
    "arm_switch": ("cancel", "all after"),
    "disarm_switch": ("cancel", "all after"),
    "look_account": ("account", ""),
    "list_orders": ("orders", "sym after max"),
    "look_book": ("book", "sym depth"),
}
# What a result that is no error repeats; and, in any order, what the server adds.
_RESULTS = {
    "place_order": ("opened", "sym amount limit type budget ref tif post stp"),
    "replace_order": ("opened", "amount limit ref tif post stp"),
    "query_order": ("status", "ref id"),
    "cancel_order": ("canceled", "ref id"),
    "reduce_order": ("reduced", "ref id"),
    "reduce_order_to": ("reduced", "ref id"),
    "cancel_all": ("canceled", "all sym"),
    "arm_switch": ("armed", "after"),
    "disarm_switch": ("disarmed", ""),
    "look_account": ("account", ""),
    "list_orders": ("orders", "sym after max"),
    "look_book": ("book", "sym depth"),
}
_ADDED = ["id", "replaced", "released", "executed", "canceled", "passed", "duplicate"]
_TIME = 600  # seconds that a time may be from now


@dataclass(frozen=True)
class Child:
    """One child that a result is due for: what it asks for, what its result must repeat."""

    request: Request | None  # None where it must be refused before the database sees it
    xml: str
    echo: dict[str, str]


def write(request: Request, chance: random.Random) -> Child:
    """Write a request as its element, its attributes in any order."""
    tag, names = _ELEMENTS[request.action]
    values = _values(request)
    if request.action == "place_order" and values["post"] is None and chance.random() < 0.05:
        values["post"] = "false"
    echo = {name: value for name in names.split() if (value := values[name]) is not None}
    written = list(echo.items())
    chance.shuffle(written)
    return Child(request, f"<{tag}{''.join(f' {name}={value!r}' for name, value in written)}/>", echo)


def _values(request: Request) -> dict[str, str | None]:
    said, amount = request.said or Said(), request.amount
    values = {
        "sym": request.sym,
        "amount": amount,
        "limit": request.limit,
        "id": None if request.order_id is None else str(request.order_id),
        "of": said.of_ref,
        "post": "true" if said.post else None,
        "open": said.if_open,
        "shares": amount,
        "to": amount,
        "all": "true",
        "after": amount or "0",
        "max": amount,
        "depth": amount,
    }
    if request.action == "list_orders":
        values |= {"after": values["id"]}
    return values | {name: getattr(said, name) for name in ("type", "budget", "ref", "tif", "stp")}


def assert_repeated(child: Child, result: etree._Element) -> None:
    """Fail unless a result repeats what it must, in its order; what the server adds comes behind it."""
    there = list(result.attrib.items())
    request = child.request
    if request is None or request.action not in _RESULTS or result.tag == "error":
        wanted = list(child.echo.items())
        if result.tag == "error":
            there = [(name, value) for name, value in there if name != "code"]
            assert there == wanted, (child, etree.tostring(result))
        else:
            assert there[: len(wanted)] == wanted, (child, etree.tostring(result))
        return
    tag, names = _RESULTS[request.action]
    assert result.tag == tag, (child, etree.tostring(result))
    wanted = [(name, child.echo[name]) for name in names.split() if name in child.echo]
    if tag in ("account", "orders", "book"):
        wanted = [(name, value) for name, value in wanted if name == "sym" and tag == "book"]
    if request.action == "replace_order":
        wanted = [("sym", result.get("sym", "")), *wanted]
    assert there[: len(wanted)] == wanted, (child, etree.tostring(result))
    added = [name for name, _ in there[len(wanted) :]]
    if tag == "opened":
        assert added == [name for name in _ADDED if name in added], etree.tostring(result)


def answers(result: etree._Element, request: Request) -> list[Answer]:
    """Read one result of a reply as rows of the database's answer."""
    return list(_answers(result, request))


def _answers(result: etree._Element, request: Request) -> Iterator[Answer]:
    get = result.get
    match str(result.tag), request.action:
        case "error", _:
            text = result.text or ""
            codes = [code for code, words in _WORDS.items() if re.match(words, text)]
            yield _row("refused", code=get("code") or (codes or [text])[0], message=text)
        case "created", _:
            yield _row("created")
        case "opened", _:
            yield from _opened(result, request)
        case "canceled", "cancel_all":
            assert get("count") == str(len(result))
            yield _row("canceled_all")
            for order in result:
                assert order.keys() == ["id", "shares"]
                yield _row("canceled", order_id=int(order.get("id", "")), shares=order.get("shares"))
        case "status" | "canceled", _:
            for part in result:
                assert part.keys() == _PARTS[str(part.tag)], etree.tostring(result)
                _assert_time(part)
                price = part.get("price")
                yield _row(str(part.tag), order_id=int(get("id", "")), shares=part.get("shares"), price=price)
        case "reduced", _:
            yield _row("reduced", order_id=int(get("id", "")), shares=get("shares"))
            yield _row("open", order_id=int(get("id", "")), shares=get("open"))
        case "armed", _:
            yield _row("armed", at=int(get("time", "")))
        case "disarmed", _:
            assert not result.attrib
            yield _row("disarmed")
        case "account", _:
            armed = get("armed")
            at = None if armed is None else int(armed)
            yield _row("account", shares=get("cash"), amount=get("reserved"), at=at)
            for position in result:
                assert position.keys() == ["sym", "shares", "reserved"]
                sym, shares, amount = position.values()
                yield _row("position", sym=sym, shares=shares, amount=amount)
        case "orders", _:
            yield from _orders(result)
        case "book", _:
            yield from _book(result)
        case tag, action:
            raise AssertionError(f"<{tag}> answers {action}")


_PARTS = {
    "open": ["shares"],
    "canceled": ["shares", "time"],
    "reduced": ["shares", "time"],
    "executed": ["shares", "price", "time"],
}


def _opened(result: etree._Element, request: Request) -> Iterator[Answer]:
    get = result.get
    sym = get("sym") if request.action == "replace_order" else None
    yield _row("opened", order_id=int(get("id", "")), sym=sym)
    if "replaced" in result.attrib:
        yield _row("replaced", order_id=int(get("replaced", "")), shares=get("released"))
    if "executed" in result.attrib:
        yield _row("filled", shares=get("executed"))
        yield _row("canceled", shares=get("canceled"))
    for order_id in (get("passed") or "").split():
        yield _row("passed", order_id=int(order_id))
    if "duplicate" in result.attrib:
        assert get("duplicate") == "true"
        yield _row("duplicate")


def _orders(result: etree._Element) -> Iterator[Answer]:
    assert result.get("count") == str(len(result))
    yield _row("orders")
    for order in result:
        _assert_time(order)
        yield _row(
            "order",
            order_id=int(order.get("id", "")),
            sym=order.get("sym"),
            amount=order.get("amount"),
            price=order.get("limit"),
            shares=order.get("open"),
            ref=order.get("ref"),
        )
    if "more" in result.attrib:
        assert result.get("more") == "true"
        yield _row("more")


def _book(result: etree._Element) -> Iterator[Answer]:
    assert int(result.get("seq", "")) >= 0
    yield _row("book")
    if "halted" in result.attrib:
        assert result.get("halted") == "true"
        yield _row("halted")
    for level in result:
        assert level.keys() == ["price", "shares", "orders"]
        price, shares, amount = level.values()
        yield _row(str(level.tag), price=price, shares=shares, amount=amount)


def _row(
    outcome: str,
    *,
    order_id: int | None = None,
    shares: str | None = None,
    price: str | None = None,
    at: int | None = None,
    code: str | None = None,
    message: str | None = None,
    sym: str | None = None,
    amount: str | None = None,
    ref: str | None = None,
) -> Answer:
    return Answer(1, outcome, order_id, shares, price, at, code, message, sym, amount, ref)


def _assert_time(part: etree._Element) -> None:
    at = part.get("time")
    assert at is None or abs(int(at) - time.time()) < _TIME, "the time is not that of the trade"
