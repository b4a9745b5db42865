"""The replies of an empty exchange to documents, as the reference exchange knows them."""

import re
from collections import defaultdict
from decimal import Decimal

from lxml import etree

from pgbourse.loadtest.reference import Order, ReferenceExchange, Terms

__all__ = ["ReferenceServer"]

_TIME = "0"  # in place of the real time in seconds, and of the number of a book's update

_REFUSALS = {
    "nothing_open": "order {} has no open shares to cancel",
    "unknown_order": "no such order: {}",
    "unfilled": "it can't be filled wholly at once: {} of {} shares could be had",
    "would_trade": "it would trade at once: an order rests at {}",
}


class ReferenceServer:
    """The reference exchange, behind the protocol."""

    def __init__(self) -> None:
        self._exchange = ReferenceExchange()
        # The orders of each account: their ids, and "-" if they sell.
        self.known: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._opened = 0

    def reply(self, document: bytes) -> str:
        """Carry out a document and return the reply, indented."""
        root = etree.fromstring(document)
        results = etree.Element("results")
        for child in root:
            if root.tag == "create":
                self._create(child, results)
            else:
                self._transact(root.get("id", ""), child, results)
        etree.indent(results)
        return etree.tostring(results, encoding="unicode")

    def _create(self, child: etree._Element, results: etree._Element) -> None:
        if child.tag == "account":
            account, balance = child.get("id", ""), Decimal(child.get("balance", ""))
            assert self._exchange.create_account(account, balance) == "created"
            etree.SubElement(results, "created", id=account)
        for grant in child.iterfind("account"):
            sym, account = child.get("sym", ""), grant.get("id", "")
            assert self._exchange.grant_shares(sym, account, Decimal(grant.text or "")) == "created"
            etree.SubElement(results, "created", sym=sym, id=account)

    def _transact(self, account: str, child: etree._Element, results: etree._Element) -> None:
        echo = {str(name): str(value) for name, value in child.attrib.items()}
        answer = getattr(self, f"_{child.tag!s}")(account, echo)
        if isinstance(answer, str):
            etree.SubElement(results, "error", echo).text = self._refusal(answer, account, echo)
        else:
            results.append(answer)

    def _refusal(self, answer: str, account: str, echo: dict[str, str]) -> str:
        code, *numbers = answer.split()
        if code == "unfilled":
            numbers.append(_plain(abs(Decimal(echo["amount"]))))
        elif code == "would_trade":
            book = self._exchange.look_book(account, echo["sym"], 1)
            assert not isinstance(book, str)
            _, bids, asks = book
            ((price, _, _),) = asks if Decimal(echo["amount"]) > 0 else bids
            numbers.append(_plain(price))
        return _REFUSALS[code].format(*numbers or [echo["id"]])

    def _order(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        amount, limit = Decimal(echo["amount"]), _decimal(echo, "limit")
        order = self._exchange.place_order(account, echo["sym"], amount, limit, _terms(echo))
        return order if isinstance(order, str) else self._opened_as(order, echo)

    def _replace(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        amount, limit = Decimal(echo["amount"]), Decimal(echo["limit"])
        order = self._exchange.replace_order(account, int(echo["id"]), amount, limit, _terms(echo))
        if isinstance(order, str):
            return order
        repeated = {name: value for name, value in echo.items() if name not in ("id", "open")}
        return self._opened_as(order, {"sym": order.sym} | repeated)

    def _opened_as(self, order: Order, echo: dict[str, str]) -> etree._Element:
        """Write what is told of an order, which gets its number unless it had been placed before."""
        duplicate = {"duplicate": "true"} if order.order_id else {}
        if not order.order_id:
            self._opened += 1
            self._exchange.number(order, self._opened)
            self.known[order.account].append((self._opened, "" if order.buying else "-"))
        told = {name: _text(value) for name, value in order.told()}
        return etree.Element("opened", echo | {"id": str(order.order_id)} | told | duplicate)

    def _reduce(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        done = self._exchange.reduce_order(
            account, int(echo["id"]), shares=_decimal(echo, "shares"), to=_decimal(echo, "to")
        )
        if isinstance(done, str):
            return done
        shares, left = done
        return etree.Element("reduced", {"id": echo["id"], "shares": _plain(shares), "open": _plain(left)})

    def _query(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        return _with_parts("status", self._exchange.query_order(account, int(echo["id"])), echo)

    def _cancel(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        if "after" in echo:
            return self._set_switch(account, echo["after"])
        if "all" in echo:
            return self._cancel_all(account, echo)
        return _with_parts("canceled", self._exchange.cancel_order(account, int(echo["id"])), echo)

    def _set_switch(self, account: str, after: str) -> str | etree._Element:
        if after == "0":
            self._exchange.disarm_switch(account)
            return etree.Element("disarmed")
        self._exchange.arm_switch(account, int(after), Decimal(0))
        return etree.Element("armed", after=after, time=_TIME)

    def _cancel_all(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        canceled = self._exchange.cancel_all(account, echo.get("sym"))
        if isinstance(canceled, str):
            return canceled
        element = etree.Element("canceled", echo | {"count": str(len(canceled))})
        for order_id, shares in canceled:
            etree.SubElement(element, "order", id=str(order_id), shares=_plain(shares))
        return element

    def _account(self, account: str, _: dict[str, str]) -> str | etree._Element:
        seen = self._exchange.look_account(account)
        if isinstance(seen, str):
            return seen
        cash, reserved, fires_at, positions = seen
        armed = {} if fires_at is None else {"armed": _TIME}
        element = etree.Element("account", {"cash": _plain(cash), "reserved": _plain(reserved)} | armed)
        for sym, free, bound in positions:
            etree.SubElement(element, "position", sym=sym, shares=_plain(free), reserved=_plain(bound))
        return element

    def _orders(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        listed = self._exchange.list_orders(account, echo.get("sym"), most=int(echo["max"]))
        if isinstance(listed, str):
            return listed
        orders, is_more = listed
        element = etree.Element("orders", {"count": str(len(orders))} | ({"more": "true"} if is_more else {}))
        for order in orders:
            amount, limit = order.shares if order.buying else -order.shares, order.limit or Decimal(0)
            told = {"amount": _plain(amount), "limit": _plain(limit), "open": _plain(order.open)}
            ref = {} if order.terms.ref is None else {"ref": order.terms.ref}
            etree.SubElement(
                element, "order", {"id": str(order.order_id), "sym": order.sym} | told | ref | {"time": _TIME}
            )
        return element

    def _book(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        book = self._exchange.look_book(account, echo["sym"], int(echo["depth"]))
        if isinstance(book, str):
            return book
        element = etree.Element("book", sym=echo["sym"], seq=_TIME)
        for tag, levels in zip(("bid", "ask"), book[1:], strict=True):
            for price, shares, number in levels:
                etree.SubElement(element, tag, price=_plain(price), shares=_plain(shares), orders=str(number))
        return element


def _terms(echo: dict[str, str]) -> Terms:
    return Terms(
        echo.get("ref"),
        echo.get("type"),
        _decimal(echo, "budget"),
        echo.get("tif"),
        echo.get("post") == "true",
        echo.get("stp"),
    )


def _decimal(echo: dict[str, str], name: str) -> Decimal | None:
    return Decimal(echo[name]) if name in echo else None


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return _plain(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _with_parts(tag: str, order: Order | str, echo: dict[str, str]) -> str | etree._Element:
    if isinstance(order, str):
        return order
    status = etree.Element(tag, echo)
    _add_parts(order, status)
    return status


def _add_parts(order: Order, status: etree._Element) -> None:
    if order.open:
        etree.SubElement(status, "open", shares=_plain(order.open))
    if order.canceled:
        etree.SubElement(status, "canceled", shares=_plain(order.canceled), time=_TIME)
    for shares in order.reductions:
        etree.SubElement(status, "reduced", shares=_plain(shares), time=_TIME)
    for shares, price in order.fills:
        etree.SubElement(status, "executed", shares=_plain(shares), price=_plain(price), time=_TIME)


def _plain(number: Decimal) -> str:
    """Write a number without an exponent or trailing zeros."""
    text = f"{number:f}"
    return re.sub(r"\.?0+$", "", text) if "." in text else text
