"""Results as what a person sees (sheets) and what a program reads (JSON). Pure."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from pgbourse.client.results import Account, Book, Level, OpenOrder
from pgbourse.look.sheets import Column, Grid, Sheet, aligned, moment, number

__all__ = ["account_json", "account_sheet", "as_json", "book_sheet", "orders_grid"]

_BOOK = (
    Column("orders", "dim"),
    Column("shares"),
    Column("bid", "green"),
    Column("ask", "red"),
    Column("shares"),
    Column("orders", "dim"),
)
_HOLDINGS = (Column("holding", "bold", words=True), Column("available"), Column("reserved"))
_ORDERS = (
    Column("order", "bold"),
    Column("symbol", words=True),
    Column("side", words=True),
    Column("shares"),
    Column("open"),
    Column("limit"),
    Column("since", "dim", words=True),
    Column("ref", words=True),
)


def book_sheet(book: Book) -> Sheet:
    """Show both sides of a book, best prices first, next to each other."""
    heading = f"{book.sym}, change {book.seq}"
    if book.bids and book.asks:
        heading += f", spread {number(book.asks[0].price - book.bids[0].price)}"
    elif not book.bids and not book.asks:
        heading += ", no open orders"
    bids, asks = _side(book.bids), _side(book.asks)
    rows = zip_longest(bids, asks, fillvalue=("", "", ""))
    grid = Grid(_BOOK, tuple((*reversed(bid), *ask) for bid, ask in rows))
    if book.halted:
        heading += ","
    return Sheet(heading, (grid,), "halted" if book.halted else "")


def account_sheet(account_id: str, account: Account, orders: Sequence[OpenOrder] = ()) -> Sheet:
    """Show what an account has, what of it is reserved, and these open orders of it."""
    names = ["cash", *(position.sym for position in account.positions)]
    available = aligned([account.cash, *(position.shares for position in account.positions)])
    reserved = aligned([account.reserved, *(position.reserved for position in account.positions)])
    holdings = Grid(_HOLDINGS, tuple(zip(names, available, reserved, strict=True)))
    alarm = f"all its orders are cancelled at {moment(account.armed)}" if account.armed else ""
    heading = f"account {account_id}" + (":" if alarm else "")
    return Sheet(heading, (holdings, orders_grid(orders)), alarm)


def orders_grid(orders: Sequence[OpenOrder]) -> Grid:
    """Show open orders, a row each."""
    shares = aligned(abs(order.amount) for order in orders)
    still_open = aligned(order.open_shares for order in orders)
    limits = aligned(order.limit for order in orders)
    rows = (
        (
            str(order.order_id),
            order.sym,
            "buy" if order.amount > 0 else "sell",
            *numbers,
            moment(order.at),
            order.ref or "",
        )
        for order, *numbers in zip(orders, shares, still_open, limits, strict=True)
    )
    return Grid(_ORDERS, tuple(rows))


def as_json(value: object) -> str:
    """Write a value, with results anywhere in it, as JSON on one line.

    Prices, money and shares are text, for they are exact; times are in UTC, as RFC 3339 has them.
    """
    return json.dumps(_plain_value(value))


def account_json(account_id: str, account: Account, orders: Sequence[OpenOrder] | None = None) -> str:
    """Write an account as JSON, with these open orders if any were asked for."""
    value = {"account": account_id, **_plain_value(account)}
    return json.dumps(value if orders is None else value | {"orders": _plain_value(orders)})


def _side(levels: Sequence[Level]) -> list[tuple[str, str, str]]:
    prices = aligned(level.price for level in levels)
    shares = aligned(level.shares for level in levels)
    orders = [str(level.orders) for level in levels]
    return list(zip(prices, shares, orders, strict=True))


def _plain_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain_value(getattr(value, field.name)) for field in fields}
    match value:
        case Decimal():
            return number(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Mapping():
            return {str(key): _plain_value(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain_value(part) for part in value]
    return value
