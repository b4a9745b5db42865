"""Clients that send again, by ref, whatever they have no reply to, and some of what they have one to.

They lose their connections on purpose, and each of theirs may lead to another gateway. Nothing of that may
happen twice.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from lxml import etree

from pgbourse.wire.framing import Framer
from tests.faults.journal import Document, Order
from tests.faults.trader import GUARD, Trader, report
from tests.integration.client import length_line

__all__ = ["Resender"]

# Numbers in the whole run: of refs, which make numbers of shares as well, and of documents, whose order among
# each other counts for nothing.
_refs = itertools.count(1)
_NOT_NOW = {"internal", "no_room", "unavailable"}
_MAY_BE_REFUSED = {"nothing_open", "unfilled", "would_trade"}


@dataclass(slots=True)
class _Asked(Document):
    """A document, and which of its children are orders: None for the others."""

    children: list[Order | None] = field(default_factory=list)
    replies: int = 0
    is_sent: bool = False


class Resender(Trader):
    """A trader of every kind of order, which resends until it has a reply to each document."""

    def __init__(self, addresses: Sequence[tuple[str, int]], account: str, sym: str, seed: int) -> None:
        super().__init__(addresses[0], account, sym, seed)
        self._addresses = addresses
        self._due: list[_Asked] = []  # sent, perhaps, and not answered
        self._refs: dict[str, Order] = {}  # acknowledged, by ref
        self._told: dict[str, dict[str, str]] = {}  # what each of them was answered at first
        self.duplicates = 0

    def _run(self) -> None:
        while self._due or not self._stopping.is_set():
            try:
                address = self._random.choice(self._addresses)
                with socket.create_connection(address, timeout=GUARD) as connection:
                    self._trade(connection)
            except ConnectionError:
                self._stopping.wait(0.01)  # a gateway that was killed is not back yet

    def _trade(self, connection: socket.socket) -> None:
        """Send what is due and new documents, until told to stop, cut off, or tired of this connection."""
        framer = Framer(1 << 30)
        while self._due or not self._stopping.is_set():
            if not self._stopping.is_set() and len(self._due) < 3:
                new = [self._asked() for _ in range(self._random.choice((1, 2, 3)))]
                self.journal.documents += new
                self._due += new
            waiting = [*self._due, *self._answered_before()]
            for document in waiting:
                document.is_sent_again, document.is_sent = document.is_sent, True
            connection.sendall(b"".join(length_line(document.text) for document in waiting))
            if self._random.random() < 0.1:
                return  # without the replies
            while waiting:
                data = connection.recv(65536)
                if not data:
                    return
                for frame in framer.feed(data):
                    self._take_reply(waiting.pop(0), etree.fromstring(frame.document))

    def _answered_before(self) -> list[_Asked]:
        """Return a document that was answered, now and then, all of whose orders were acknowledged."""
        latest = [one for one in self.journal.documents[-15:] if isinstance(one, _Asked) and one.replies]
        whole = [one for one in latest if all(order is None or order.order_id for order in one.children)]
        return [self._random.choice(whole)] if whole and self._random.random() < 0.2 else []

    def _asked(self) -> _Asked:
        children: list[str] = []
        orders: list[Order | None] = []
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            known = self._random.choice(list(self._refs)[-10:]) if self._refs else None
            text, order = self._order() if known is None else self._child(known)
            children.append(text)
            orders.append(order)
            if order is not None and self._random.random() < 0.05:
                children.append(text)  # again at once
                orders.append(order)
        text = f'<transactions id="{self._account}" codes="true">{"".join(children)}</transactions>'
        mine = list(dict.fromkeys(id(order) for order in orders if order is not None))
        by_id = {id(order): order for order in orders if order is not None}
        return _Asked(next(_refs), text.encode(), [by_id[one] for one in mine], children=orders)

    def _child(self, known: str) -> tuple[str, Order | None]:
        """Make a child, which may be about an order that is there."""
        match self._random.choice(["order"] * 5 + ["replace"] * 2 + ["query", "cancel", "reduce"]):
            case "order":
                return self._order()
            case "replace":
                order, ref = self._new(self._refs[known].shares > 0)
                order.limit = Decimal(self._random.randint(98, 102))
                said = f'amount="{order.shares:f}" limit="{order.limit}" ref="{ref}"'
                return f'<replace of="{known}" {said}/>', order
            case "reduce":
                return f'<reduce ref="{known}" to="{self._random.randint(0, 3)}"/>', None
            case tag:
                return f'<{tag} ref="{known}"/>', None

    def _order(self) -> tuple[str, Order]:
        order, ref = self._new(self._random.random() < 0.5)
        said = f'ref="{ref}"'
        if self._random.random() < 0.15:
            said += ' type="market"' + (' budget="2000"' if order.shares > 0 else "")
        else:
            order.limit = Decimal(self._random.randint(98, 102))
            terms = ["", "", "", 'tif="IOC"', 'tif="FOK"', 'post="true"', 'stp="maker"', 'stp="both"']
            said += f' limit="{order.limit}" {self._random.choice(terms)}'
        return f'<order sym="{self.sym}" amount="{order.shares:f}" {said}/>', order

    def _new(self, is_buy: bool) -> tuple[Order, str]:
        number = next(_refs)
        shares = self._random.randint(1, 9) + Decimal(number).scaleb(-12)
        return Order(self._account, self.sym, shares if is_buy else -shares, None), f"r{number}"

    def _take_reply(self, document: _Asked, reply: etree._Element) -> None:
        """Record the first reply to a document, or compare this one with the first."""
        self._note_reply()
        sent = etree.fromstring(document.text)
        assert len(reply) == len(sent), etree.tostring(reply)
        if any(result.get("code") in _NOT_NOW for result in reply):
            return  # it stays due
        is_first = not document.replies
        document.replies += 1
        document.fate = "answered"
        if is_first:
            self._due.remove(document)
        for request, result, order in zip(sent, reply, document.children, strict=True):
            if order is not None:
                self._take_order(request, result, order, is_first)
            elif result.tag in ("status", "canceled"):
                self.journal.reports.append(report(result))
            elif result.tag != "reduced" and result.get("code") != "nothing_open":
                self._surprise(request, result)

    def _take_order(
        self, request: etree._Element, result: etree._Element, order: Order, is_first: bool
    ) -> None:
        ref = request.get("ref", "")
        if result.tag == "error":
            order.refused = is_first and order.order_id is None
            if not order.refused or result.get("code") not in _MAY_BE_REFUSED:
                self._surprise(request, result)
            return
        told = {name: value for name, value in result.attrib.items() if name != "duplicate"}
        if self._told.setdefault(ref, told) != told:
            self._surprise(request, result)  # the same order was told something else
        self.duplicates += "duplicate" in result.attrib
        if order.order_id is not None and "duplicate" not in result.attrib:
            self._surprise(request, result)
        order.refused = False
        order.order_id = int(result.get("id", ""))
        self._refs[ref] = order

    def _surprise(self, request: etree._Element, result: etree._Element) -> None:
        self.journal.surprises.append(f"{etree.tostring(request)!r} -> {etree.tostring(result)!r}")
