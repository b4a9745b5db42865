"""What the shell says of a result: a line, or a sheet where there is more to see. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from pgbourse.client.results import (
    Account,
    Armed,
    Book,
    Canceled,
    CanceledAll,
    Created,
    Disarmed,
    Execution,
    Opened,
    Orders,
    Reduced,
    Refused,
    Result,
    Server,
    Status,
)
from pgbourse.errors import counted
from pgbourse.look.sheets import Column, Grid, Sheet, aligned, moment, number
from pgbourse.look.views import account_sheet, book_sheet, orders_grid

__all__ = ["tell", "tell_all"]

_FILLS = (Column("shares"), Column("price"), Column("time", "dim", words=True))
_ENDED = (Column("order", "bold"), Column("shares"))


def tell_all(results: Sequence[Result], account_id: str) -> list[Sheet]:
    """Show results of a document of this account; an order and the query of it that follows are one.

    The query of an order that was refused isn't shown: it was asked together with it.
    """
    sheets: list[Sheet] = []
    before: Result | None = None
    for result in results:
        asked_of = _ref_of(before)
        if asked_of and isinstance(result, Status) and result.ref == asked_of and isinstance(before, Opened):
            sheets[-1] = _opened(before, result)
        elif not (asked_of and isinstance(before, Refused) and _ref_of(result) == asked_of):
            sheets.append(tell(result, account_id))
        before = result
    return sheets


def tell(result: Result, account_id: str) -> Sheet:
    """Show a result of a request of this account."""
    match result:
        case Opened():
            return _opened(result)
        case Status():
            parts = [f"{number(result.open_shares)} open", *_filled(result.executions), *_lost(result)]
            return _life(f"{_order(result.order_id, result.ref)}: {', '.join(parts)}", result.executions)
        case Canceled():
            parts = [*_lost(result), *_filled(result.executions)]
            return _life(f"{_order(result.order_id, result.ref)}: {', '.join(parts)}", result.executions)
        case Reduced():
            ended, still = number(result.shares), number(result.open_shares)
            return Sheet(f"{_order(result.order_id, result.ref)}: {ended} cancelled, {still} open")
        case CanceledAll():
            shares = aligned(result.orders.values())
            rows = zip(map(str, result.orders), shares, strict=True)
            return Sheet(f"{counted(len(result.orders), 'order')} cancelled", (Grid(_ENDED, tuple(rows)),))
        case Armed():
            within = f"unless it is said again within {result.seconds} s"
            return Sheet(f"all open orders are cancelled at {moment(result.at)}, {within}")
        case Disarmed():
            return Sheet("nothing is cancelled by itself any more")
        case Account():
            return account_sheet(account_id, result)
        case Orders():
            more = ", and more" if result.more else ""
            return Sheet(f"{counted(len(result.orders), 'open order')}{more}", (orders_grid(result.orders),))
        case Book():
            return book_sheet(result)
        case Server():
            knows = ", ".join(sorted(result.features)) or "nothing beyond the base protocol"
            return Sheet(f"pgbourse {result.version} knows {knows}" if result.version else "an older server")
        case Created():
            return Sheet(_created(result))
        case Refused():
            return Sheet("", alarm=f"refused: {result.message}")


def _opened(order: Opened, status: Status | None = None) -> Sheet:
    """Show an order that was accepted, and what had become of it a moment later, if that was asked."""
    side = "buy" if order.amount > 0 else "sell"
    price = "market" if order.limit is None else number(order.limit)
    what = f"{_order(order.order_id)}: {side} {number(abs(order.amount))} {order.sym} @ {price}"
    parts: list[str] = []
    if order.replaced is not None:
        parts.append(f"in place of order {order.replaced}")
    if status is not None:
        parts += [*_filled(status.executions), *_lost(status)]
        if status.open_shares:
            parts.append(f"{number(status.open_shares)} open")
    elif order.executed is not None:
        parts.append(f"{number(order.executed)} filled")
        if order.canceled:
            parts.append(f"{number(order.canceled)} cancelled")
    if order.passed:
        parts.append(f"own orders cancelled: {', '.join(map(str, order.passed))}")
    if order.duplicate:
        parts.append("placed before")
    executions = () if status is None else status.executions
    return _life(", ".join([what, *parts]), executions)


def _life(heading: str, executions: Sequence[Execution]) -> Sheet:
    """Add a table of the fills to a heading, which tells a single fill already."""
    if len(executions) < 2:
        return Sheet(heading)
    shares = aligned(execution.shares for execution in executions)
    prices = aligned(execution.price for execution in executions)
    times = [moment(execution.at) for execution in executions]
    return Sheet(heading, (Grid(_FILLS, tuple(zip(shares, prices, times, strict=True))),))


def _filled(executions: Sequence[Execution]) -> list[str]:
    if not executions:
        return []
    shares = sum((execution.shares for execution in executions), Decimal(0))
    prices = {execution.price for execution in executions}
    at = f" @ {number(prices.pop())}" if len(prices) == 1 else f" in {len(executions)} fills"
    return [f"{number(shares)} filled{at}"]


def _lost(order: Status | Canceled) -> list[str]:
    parts = []
    if order.reductions:
        shares = sum((reduction.shares for reduction in order.reductions), Decimal(0))
        parts.append(f"{number(shares)} reduced")
    if order.cancellation is not None:
        parts.append(f"{number(order.cancellation.shares)} cancelled")
    return parts


def _ref_of(result: Result | None) -> str | None:
    """Return the ref that a result repeats, if any."""
    match result:
        case Opened() | Status():
            return result.ref
        case Refused():
            return result.attributes.get("ref")
    return None


def _order(order_id: int, ref: str | None = None) -> str:
    return f"order {order_id}" + (f" ({ref})" if ref else "")


def _created(result: Created) -> str:
    if result.sym is None:
        return f"account {result.account_id} made"
    if result.account_id is None:
        return f"symbol {result.sym} is there"
    return f"account {result.account_id} has been given shares of {result.sym}"
