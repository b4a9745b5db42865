"""Clients that follow books whatever happens to the server, and what the tables say of the same books."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple, TypeAlias

import psycopg
from psycopg.rows import TupleRow

from pgbourse.client import (
    Add,
    Book,
    BookError,
    BookOrder,
    Event,
    Feed,
    Halt,
    LocalBook,
    Remove,
    Resume,
    Resumed,
    Snapshot,
    Trade,
    Update,
)
from tests.faults.background import Background
from tests.faults.trader import GUARD
from tests.integration.client import wait_until

__all__ = ["Follower", "Sighting", "differences", "sight", "updates_of"]

Session = psycopg.Connection[TupleRow]
Told: TypeAlias = Snapshot | Resumed | Update


class Follower(Background):
    """A thread that follows symbols, and records all that it is told of each, in order."""

    def __init__(self, address: tuple[str, int], **options: float) -> None:
        super().__init__("follower")
        self.values: dict[str, list[Told]] = defaultdict(list)
        self.resumptions = 0
        self.snapshots = 0  # beyond the first of each symbol
        self._seqs: dict[str, int] = {}
        self._address = address
        self._options = options
        self._new: queue.SimpleQueue[tuple[str, int | None]] = queue.SimpleQueue()
        self._reads = threading.Event()
        self._reads.set()

    def stop(self) -> None:
        self._reads.set()
        super().stop()

    def follow(self, sym: str, start: int | None = None) -> None:
        """Follow a symbol too, from its book on or from an update."""
        self._new.put((sym, start))

    def pause(self) -> None:
        """Read nothing until `go_on`."""
        self._reads.clear()

    def go_on(self) -> None:
        self._reads.set()

    def wait_for(self, sym: str, seq: int) -> None:
        """Return once it has been told of a symbol's update with this number."""
        wait_until(lambda: self._is_at(sym, seq), f"the feed of {sym} comes to {seq}")

    def _is_at(self, sym: str, seq: int) -> bool:
        assert self._running is not None
        if self._running.done():
            self._running.result()  # it fails here rather than never coming there
        return self._seqs.get(sym, -1) >= seq

    def _run(self) -> None:
        with Feed(*self._address, resume=True, timeout=GUARD, reconnect_seconds=GUARD) as feed:
            while not self._stopping.is_set():
                self._reads.wait()
                while not self._new.empty():
                    sym, start = self._new.get()
                    feed.subscribe(sym, from_=start)
                value = feed.receive(0.02)
                if isinstance(value, Told):
                    self._take(value)

    def _take(self, value: Told) -> None:
        values = self.values[value.sym]
        if values:
            self.resumptions += isinstance(value, Resumed)
            self.snapshots += isinstance(value, Snapshot)
        values.append(value)
        self._seqs[value.sym] = value.seq


class Sighting(NamedTuple):
    """A book at one instant: all its orders, as the tables have them, or the levels that a client sees."""

    seq: int
    orders: tuple[BookOrder, ...] | None
    levels: Book | None = None


def sight(session: Session, sym: str) -> Sighting:
    """Read a book from the tables; it is durable when this returns."""
    query = """
    select coalesce(seq, 0), order_id, side::text, limit_price, open_shares
    from exchange.symbols
    left join lateral (
        select max(seq) as seq from exchange.updates where updates.symbol_key = symbols.symbol_key
    ) as newest on true
    left join lateral (
        select order_id, side, price_rank, abs(price_rank) as limit_price, open_shares
        from exchange.resting_orders where resting_orders.symbol_key = symbols.symbol_key
    ) as resting on true
    where sym = %s order by side, price_rank, order_id
    """
    rows = session.execute(query, [sym]).fetchall()
    session.execute("select pg_logical_emit_message(true, '', '')")  # whose commit is flushed
    orders = tuple(BookOrder(*row[1:]) for row in rows if row[1] is not None)
    return Sighting(rows[0][0], orders)


def updates_of(session: Session, sym: str, after: int) -> list[Update]:
    """Return a symbol's updates as the table has them."""
    query = """
    select
        seq, updated_at,
        array(
            select jsonb_build_array(kind, side, order_id, sell_order_id, price::text, shares::text)
            from unnest(events) with ordinality order by ordinality
        )
    from exchange.updates natural join exchange.symbols where sym = %s and seq > %s order by seq
    """
    rows = session.execute(query, [sym, after])
    return [Update(sym, seq, at, tuple(_event(*event) for event in events)) for seq, at, events in rows]


def _event(
    kind: str, side: str, order_id: int, sell_order_id: int, price: str | None, shares: str | None
) -> Event:
    match kind:
        case "trade":
            return Trade(Decimal(price or ""), Decimal(shares or ""), order_id, sell_order_id)
        case "add":
            assert side in ("buy", "sell")
            return Add(
                order_id, "buy" if side == "buy" else "sell", Decimal(price or ""), Decimal(shares or "")
            )
        case "remove":
            return Remove(order_id, Decimal(shares or ""))
        case "halt":
            return Halt()
        case _:
            assert kind == "resume", kind
            return Resume()


def differences(
    values: list[Told], updates: list[Update], sightings: list[Sighting], *, may_skip: bool = False
) -> list[str]:
    """Return what is wrong with what a client was told of a symbol, in order: nothing, if it is all.

    It begins with a snapshot. `updates` are those that the table has from there on: each must have come once
    and in its place, and no other, but for those that a later snapshot replaces if the client `may_skip`
    some. The book that the client has after each must be the one that was sighted there.
    """
    first = values[0]
    assert isinstance(first, Snapshot)
    book = LocalBook(first.sym)
    stored = {update.seq: update for update in updates}
    sighted: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        sighted[sighting.seq].append(sighting)
    found = []
    for value in values:
        if isinstance(value, Snapshot) and value is not first and not may_skip:
            found.append(f"a snapshot after update {book.seq}, at {value.seq}")
        if isinstance(value, Update) and stored.get(value.seq) != value:
            found.append(f"told {value}, and stored is {stored.get(value.seq)}")
        try:
            book.apply(value)
        except BookError as error:
            return [*found, str(error)]
        found += [
            f"{difference}; the last it was told is {value}"
            for one in sighted.get(book.seq or 0, ())
            if (difference := _differs(book, one))
        ]
    if book.seq != max(stored, default=first.seq):
        found.append(f"told up to {book.seq}, and stored are updates up to {max(stored, default=0)}")
    return found


def _differs(book: LocalBook, sighting: Sighting) -> str:
    if sighting.orders is not None and sighting.orders != book.orders():
        return f"after {book.seq} the tables have {sighting.orders}, and the feed {book.orders()}"
    if sighting.levels is not None and sighting.levels != book.book():
        return f"after {book.seq} a client sees {sighting.levels}, and the feed has {book.book()}"
    return ""
