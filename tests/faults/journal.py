"""What clients asked for and were told, compared with what the database holds.

Every order is for a number of shares that no other order has. That is how it is found again, whether or not
its client was ever told an id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import psycopg
from psycopg.rows import TupleRow

__all__ = ["Document", "Journal", "Order", "Report", "disagreements"]

Fill = tuple[Decimal, Decimal]  # shares, price


@dataclass(slots=True)
class Order:
    """An order as its client sent it; shares are negative in a sell."""

    account: str
    sym: str
    shares: Decimal
    limit: Decimal | None  # None for a market order
    order_id: int | None = None  # once acknowledged
    refused: bool = False  # whatever the reason


@dataclass(slots=True)
class Report:
    """What a query or a cancel told a client about an order."""

    order_id: int
    open: Decimal
    canceled: Decimal  # or reduced
    fills: list[Fill]

    @property
    def final(self) -> bool:
        return self.open == 0


@dataclass(slots=True)
class Document:
    """One document with its place on its connection, and its fate as far as its client knows."""

    connection: int
    text: bytes
    orders: list[Order]
    fate: Literal["unknown", "answered", "refused"] = "unknown"
    # Sent more than once: one copy of an order may be refused, and another let in after what follows it.
    is_sent_again: bool = False


@dataclass(slots=True)
class Journal:
    """Everything that one or more clients sent and were told."""

    documents: list[Document] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)  # replies that a sound exchange would not have given

    def add(self, other: Journal) -> None:
        self.documents += other.documents
        self.reports += other.reports
        self.surprises += other.surprises

    def count(self, fate: str) -> int:
        return sum(document.fate == fate for document in self.documents)


@dataclass(slots=True)
class _Stored:
    """An order as the database holds it."""

    order: Order
    canceled: Decimal = Decimal(0)
    fills: list[Fill] = field(default_factory=list)

    @property
    def executed(self) -> Decimal:
        return sum((shares for shares, _ in self.fills), Decimal(0))


def disagreements(session: psycopg.Connection[TupleRow], sym: str, journal: Journal) -> list[str]:
    """Return what is wrong: nothing if the database holds what clients were told and only whole requests.

    The journal must have everything that its accounts sent about the symbol; other accounts may trade it too.
    """
    with session.transaction():
        session.execute("set transaction isolation level repeatable read, read only")
        stored = _read(session, sym)
    return [
        *_disagreeing_orders(journal.documents, stored),
        *_out_of_order(journal.documents),
        *(problem for report in journal.reports for problem in _disagreeing_report(report, stored)),
        *journal.surprises,
    ]


def _read(session: psycopg.Connection[TupleRow], sym: str) -> dict[int, _Stored]:
    """Read the orders of a symbol, by id."""
    stored: dict[int, _Stored] = {}
    query = (
        "select order_id, account_id, case side when 'buy' then shares else -shares end, limit_price, "
        "(select sum(shares) from (select order_id, shares from exchange.cancellations "
        "union all select order_id, shares from exchange.reductions) as gone "
        "where gone.order_id = orders.order_id) "
        "from exchange.orders natural join exchange.symbols join exchange.accounts using (account_key) "
        "where sym = %s"
    )
    for order_id, account, shares, limit, canceled in session.execute(query, [sym]):
        stored[order_id] = _Stored(Order(account, sym, shares, limit, order_id), canceled or Decimal(0))
    query = (
        "select buy_order_id, sell_order_id, shares, price "
        "from exchange.executions natural join exchange.symbols where sym = %s order by execution_id"
    )
    for buy, sell, shares, price in session.execute(query, [sym]):
        stored[buy].fills.append((shares, price))
        stored[sell].fills.append((shares, price))
    return stored


def _disagreeing_orders(documents: Sequence[Document], stored: dict[int, _Stored]) -> Iterable[str]:
    """Compare what clients were told of placing each order with the orders that exist."""
    accounts = {order.account for document in documents for order in document.orders}
    by_shares: dict[Decimal, list[_Stored]] = defaultdict(list)
    for one in stored.values():
        if one.order.account in accounts:
            by_shares[one.order.shares].append(one)
    for document in documents:
        for order in document.orders:
            found = by_shares.pop(order.shares, [])
            if len(found) > 1:
                yield f"carried out {len(found)} times: {order}"
            elif order.refused or document.fate == "refused":
                if found and not document.is_sent_again:
                    yield f"refused and there all the same: {order}"
            elif document.fate == "answered" and not found:
                yield f"acknowledged and not there: {order}"
            elif document.fate == "answered" and found[0].order != order:
                yield f"acknowledged as {order} and stored as {found[0].order}"
            elif found and (found[0].order.account, found[0].order.limit) != (order.account, order.limit):
                yield f"sent as {order} and stored as {found[0].order}"
    for left in by_shares.values():
        yield f"nobody sent {left[0].order}"


def _out_of_order(documents: Iterable[Document]) -> Iterable[str]:
    """Look for orders of one connection, all for one symbol, that overtook each other on their way in."""
    latest: dict[int, Order] = {}
    for document in documents:
        for order in document.orders if document.fate == "answered" and not document.is_sent_again else ():
            before = latest.get(document.connection, order)
            if (
                before.order_id is not None
                and order.order_id is not None
                and before.order_id > order.order_id
            ):
                yield f"{order} was sent after {before}"
            latest[document.connection] = order


def _disagreeing_report(report: Report, stored: dict[int, _Stored]) -> Iterable[str]:
    """Compare what a client was told of an order with its state since."""
    found = stored.get(report.order_id)
    if found is None:
        yield f"reported and not there: {report}"
        return
    told = sum((shares for shares, _ in report.fills), report.open + report.canceled)
    if told != abs(found.order.shares):
        yield f"does not add up to {found.order}: {report}"
    if found.fills[: len(report.fills)] != report.fills:
        yield f"fills were told that are not there: {report}, {found}"
    if report.final and (found.canceled != report.canceled or len(found.fills) != len(report.fills)):
        yield f"reported as finished, and changed since: {report}, {found}"
    if found.executed + found.canceled > abs(found.order.shares):
        yield f"more executed and cancelled than ordered: {found}"
