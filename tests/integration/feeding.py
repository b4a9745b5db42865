"""A subscriber for the tests: it reads a feed line by line, and keeps the books that it tells of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from lxml import etree

from tests.integration.client import WireClient
from tests.integration.conftest import Session

__all__ = ["Book", "Feed", "Resting", "book_in_tables"]

Resting = tuple[str, Decimal, Decimal]  # side, price, open shares

_TABLES = """
    select order_id, side::text, abs(price_rank), open_shares
    from exchange.resting_orders inner join exchange.symbols using (symbol_key)
    where sym = %s
"""
_SEQ = """
    select coalesce(max(seq), 0)
    from exchange.updates inner join exchange.symbols using (symbol_key)
    where sym = %s
"""


@dataclass
class Book:
    """A book as its feed tells it: a snapshot, and every update after it, in its order."""

    seq: int = -1
    halted: bool = False
    time: Decimal = Decimal(0)
    orders: dict[int, Resting] = field(default_factory=dict)
    is_known: bool = False  # what rests; else only the updates are counted
    snapshots: int = 0
    updates: int = 0

    def begin(self, snapshot: etree._Element) -> None:
        """Take a snapshot, which must list both sides in the order in which they are matched."""
        assert snapshot.keys() in (["sym", "seq"], ["sym", "seq", "halted"])
        self.snapshots += 1
        self.seq = int(snapshot.get("seq", ""))
        self.halted = snapshot.get("halted") == "true"
        self.orders = {}
        self.is_known = True
        ranks: list[tuple[str, Decimal, int]] = []
        for order in snapshot:
            assert order.tag == "order"
            assert order.keys() == ["id", "side", "price", "shares"]
            number, side, price, _ = order.values()
            self._add(order)
            ranks.append((side, Decimal(price) * (-1 if side == "buy" else 1), int(number)))
        assert ranks == sorted(ranks)

    def apply(self, update: etree._Element) -> None:
        """Apply the next update."""
        assert update.keys() == ["sym", "seq", "time"]
        assert int(update.get("seq", "")) == self.seq + 1
        time = Decimal(update.get("time", ""))
        assert time >= self.time
        assert time.as_tuple().exponent == -6
        self.seq += 1
        self.time = time
        self.updates += 1
        assert len(update)
        for event in update:
            if self.is_known:
                self._happen(event)

    def _happen(self, event: etree._Element) -> None:
        match str(event.tag):
            case "trade":
                assert event.keys() == ["price", "shares", "buy", "sell"]
                shares = Decimal(event.get("shares", ""))
                rested = [
                    number for name in ("buy", "sell") if (number := int(event.get(name, ""))) in self.orders
                ]
                assert len(rested) == 1, "one order of a trade rested, and the other came in"
                assert self.orders[rested[0]][1] == Decimal(event.get("price", ""))
                self._take(rested[0], shares)
            case "add":
                assert event.keys() == ["id", "side", "price", "shares"]
                self._add(event)
            case "remove":
                assert event.keys() == ["id", "shares"]
                self._take(int(event.get("id", "")), Decimal(event.get("shares", "")))
            case "halt" | "resume":
                assert not event.attrib
                assert self.halted == (event.tag == "resume")
                self.halted = event.tag == "halt"
            case other:
                raise AssertionError(f"an update holds <{other}>")

    def _add(self, order: etree._Element) -> None:
        number, side, price, shares = order.values()
        assert int(number) not in self.orders
        assert Decimal(shares) > 0
        self.orders[int(number)] = (side, Decimal(price), Decimal(shares))

    def _take(self, number: int, shares: Decimal) -> None:
        side, price, open_shares = self.orders.pop(number)
        assert 0 < shares <= open_shares
        if shares < open_shares:
            self.orders[number] = (side, price, open_shares - shares)


class Feed:
    """A connection that is a feed, with the books of all symbols that it has told of."""

    def __init__(self, client: WireClient, *subscribed: str) -> None:
        """Subscribe to these symbols."""
        self.client = client
        self._received = bytearray()
        self.books: dict[str, Book] = {}
        for sym in subscribed:
            self.subscribe(sym)

    def subscribe(self, sym: str, first: int | None = None) -> None:
        """Send a <subscribe>; what answers it, `next` returns in its turn."""
        attribute = "" if first is None else f' from="{first}"'
        self.client.send(f'<subscribe sym="{sym}"{attribute}/>'.encode())

    def line(self) -> bytes:
        """Wait for the next line; empty once the server has closed."""
        while not (end := self._received.find(b"\n") + 1):
            data = self.client.socket.recv(65536)
            if not data:
                break
            self._received += data
        line = bytes(self._received[:end])
        del self._received[:end]
        return line

    def documents(self) -> Iterator[etree._Element]:
        """Give the documents that come until the server closes, each applied to its book."""
        while line := self.line():
            assert line.endswith(b"\n")
            assert not line.startswith(b"<?xml")
            document = etree.fromstring(line)
            sym = document.get("sym", "")
            match str(document.tag):
                case "snapshot":
                    self.books.setdefault(sym, Book()).begin(document)
                case "update":
                    self.books[sym].apply(document)
                case "resumed":
                    assert document.keys() == ["sym", "seq"]
                    book = self.books.setdefault(sym, Book())
                    assert book.seq in (-1, int(document.get("seq", "")))
                    book.seq = int(document.get("seq", ""))
                case tag:
                    assert tag in ("error", "heartbeat")
            yield document

    def next(self) -> etree._Element:
        """Wait for the next document that is not a heartbeat."""
        for document in self.documents():
            if document.tag != "heartbeat":
                return document
        raise AssertionError("the server has closed")

    def until(self, sym: str, seq: int) -> Book:
        """Read on until a symbol's book is that after this update."""
        while sym not in self.books or self.books[sym].seq < seq:
            self.next()
        assert self.books[sym].seq == seq
        return self.books[sym]

    def until_now(self, connection: Session, sym: str) -> Book:
        """Read on until a symbol's book is that of the tables, which must not change meanwhile."""
        row = connection.execute(_SEQ, [sym]).fetchone()
        assert row is not None
        book = self.until(sym, row[0])
        assert not book.is_known or book.orders == book_in_tables(connection, sym)
        return book


def book_in_tables(connection: Session, sym: str) -> dict[int, Resting]:
    """Return the orders that rest in a symbol's book."""
    rows = connection.execute(_TABLES, [sym])
    return {number: (side, price, shares) for number, side, price, shares in rows}
