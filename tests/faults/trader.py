"""Clients that trade without pause, and record what they asked for and were told."""

from __future__ import annotations

import itertools
import random
import socket
import time
from decimal import Decimal

from lxml import etree

from pgbourse.wire.framing import Framer
from tests.faults.background import Background
from tests.faults.journal import Document, Journal, Order, Report
from tests.integration.client import length_line

__all__ = ["GUARD", "Trader", "report"]

GUARD = 60.0  # seconds after which a client that gets neither a reply nor an end fails the test
_numbers = itertools.count(1)  # of orders and of connections, in the whole run


class Trader(Background):
    """A thread that sends documents of one account and symbol, a few at a time, whatever happens to it."""

    def __init__(self, address: tuple[str, int], account: str, sym: str, seed: int) -> None:
        super().__init__(f"trader-{account}")
        self.journal = Journal()
        self.replies = 0
        self._address = address
        self._account = account
        self.sym = sym
        self._random = random.Random(seed)
        self._served_at = 0.0
        self._watching_since = 0.0

    def watch(self, since: float) -> None:
        """Note the first reply from this time on."""
        self._served_at = 0.0
        self._watching_since = since

    @property
    def served_at(self) -> float:
        """When the first reply that was watched for came; 0 if none has."""
        assert self._running is not None
        if self._running.done():
            self._running.result()  # it fails here rather than never being served
        return self._served_at

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with socket.create_connection(self._address, timeout=GUARD) as connection:
                    self._trade(connection)
            except ConnectionError:
                self._stopping.wait(0.01)  # a gateway that was killed is not back yet

    def _trade(self, connection: socket.socket) -> None:
        """Send documents and take replies until told to stop or cut off."""
        number = next(_numbers)
        framer = Framer(1 << 30)
        while not self._stopping.is_set():
            documents = [self._document(number) for _ in range(self._random.choice((1, 1, 2, 3)))]
            self.journal.documents += documents
            connection.sendall(b"".join(length_line(document.text) for document in documents))
            waiting = list(documents)
            while waiting:
                data = connection.recv(65536)
                if not data:
                    return
                for frame in framer.feed(data):
                    self._take(waiting.pop(0), etree.fromstring(frame.document))

    def _document(self, connection: int) -> Document:
        """Make a document of new orders, and of queries and cancels of orders that were acknowledged."""
        children: list[str] = []
        orders: list[Order] = []
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            known = self._random_order() if self._random.random() < 0.4 else None
            if known is not None:
                tag = self._random.choice(("query", "cancel"))
                children.append(f'<{tag} id="{known}"/>')
                continue
            shares = self._random.randint(1, 9) + Decimal(next(_numbers)).scaleb(-12)
            shares *= self._random.choice((1, -1))
            limit = Decimal(self._random.randint(98, 102))
            orders.append(Order(self._account, self.sym, shares, limit))
            children.append(f'<order sym="{self.sym}" amount="{shares:f}" limit="{limit}"/>')
        text = f'<transactions id="{self._account}">{"".join(children)}</transactions>'
        return Document(connection, text.encode(), orders)

    def _random_order(self) -> int | None:
        """Return the id of an order among the latest that were acknowledged."""
        latest = [order.order_id for document in self.journal.documents[-20:] for order in document.orders]
        return self._random.choice(latest) if latest else None

    def _note_reply(self) -> None:
        self.replies += 1
        now = time.monotonic()
        if not self._served_at and 0 < self._watching_since <= now:
            self._served_at = now

    def _take(self, document: Document, reply: etree._Element) -> None:
        """Record a reply."""
        self._note_reply()
        sent = etree.fromstring(document.text)
        if [child.tag for child in reply] == ["error"] and not reply[0].attrib:
            document.fate = "refused"  # as a whole, whatever the reason
            return
        document.fate = "answered"
        assert len(reply) == len(sent), etree.tostring(reply)
        orders = iter(document.orders)
        for request, result in zip(sent, reply, strict=True):
            if result.tag == "opened":
                next(orders).order_id = int(result.get("id", ""))
            elif "not carried out" in (result.text or ""):
                if request.tag == "order":
                    next(orders).refused = True
            elif result.tag in ("status", "canceled"):
                self.journal.reports.append(report(result))
            elif request.tag != "cancel" or "no open shares" not in (result.text or ""):
                self.journal.surprises.append(f"{etree.tostring(request)!r} -> {etree.tostring(result)!r}")


def report(result: etree._Element) -> Report:
    """Read what a query or a cancel is answered."""
    parts = {"open": Decimal(0), "canceled": Decimal(0), "reduced": Decimal(0)}
    fills = []
    for part in result:
        shares = Decimal(part.get("shares", ""))
        if part.tag == "executed":
            fills.append((shares, Decimal(part.get("price", ""))))
        else:
            parts[str(part.tag)] += shares
    return Report(int(result.get("id", "")), parts["open"], parts["canceled"] + parts["reduced"], fills)
