"""What can be wrong with orders as their statuses tell them in the end: each by itself, and all together."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal

from pgbourse.loadtest.checked import CheckedOrder, UnknownOrder

__all__ = ["crossed_books", "faults_of_sides", "faults_of_status"]


def faults_of_status(order: CheckedOrder, in_doubt: bool) -> Iterator[str]:
    """Find what replies said of an order, and its status at the end doesn't."""
    which, canceled = f"order {order.order_id}", bool(order.canceled)
    if canceled != order.cancelled and not (canceled and in_doubt):
        yield f"{which} was {'' if order.cancelled else 'not '}cancelled: see its status"
    elif order.ended is not None and order.ended != order.canceled:
        yield f"{which} had {order.ended} shares cancelled, and {order.canceled} by its status"
    if order.reductions < order.reduced or (order.reductions > order.reduced and not order.reduce_unknown):
        yield f"{which} was reduced by {order.reduced}, and by {order.reductions} by its status"
    if order.at_once is not None and (
        order.at_once > order.executed
        or (order.ended_at_once and (order.open or order.at_once != order.executed))
    ):
        now = f"{order.executed} are, {order.open} open"
        rests = ", which doesn't rest," if order.ended_at_once else ""
        yield f"{which}{rests} had {order.at_once} shares executed at once: {now}"
    if gone := Counter(order.most_fills) - Counter(order.fills):
        fills = ", ".join(f"{shares} at {price}" for shares, price in gone.elements())
        yield f"{which} was executed, {fills}, and its status has that no more"


def faults_of_sides(orders: Iterable[CheckedOrder], unknown: list[UnknownOrder]) -> Iterator[str]:
    """Find shares that were bought but not sold, or sold but not bought, at any price.

    Orders of unknown fate may be the other side, as far as their shares and limits allow.
    """
    traded: defaultdict[str, defaultdict[Decimal, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for order in orders:
        for shares, price in order.fills:
            traded[order.sym][price] += shares if order.buying else -shares
    for sym, differences in sorted(traded.items()):
        for bought_more in (True, False):
            yield from _faults_of_side(sym, differences, unknown, bought_more)


def _faults_of_side(
    sym: str, differences: dict[Decimal, Decimal], unknown: list[UnknownOrder], bought_more: bool
) -> Iterator[str]:
    """Look for unknown sells that explain what was bought without a known seller; or the reverse.

    A sell can trade at its limit and above. So going up from the lowest price, unknown sells with limits
    up to a price must cover what was bought without a seller up to it. For buys, it is from the highest
    price down.
    """
    sign = 1 if bought_more else -1
    others = sorted(
        (order.limit * sign, order.shares)
        for order in unknown
        if order.sym == sym and order.buying != bought_more
    )
    covered, number = Decimal(0), 0
    for price in sorted(differences, key=lambda price: price * sign):
        while number < len(others) and others[number][0] <= price * sign:
            covered += others[number][1]
            number += 1
        covered -= max(Decimal(0), differences[price] * sign)
        if covered < 0:
            more, less = ("bought", "sold") if bought_more else ("sold", "bought")
            yield f"{-covered} shares of {sym} more were {more} than {less} at {price}"
            covered = Decimal(0)


def crossed_books(orders: Iterable[CheckedOrder]) -> Iterator[str]:
    """Find symbols whose best open orders should have traded."""
    bids: dict[str, Decimal] = {}
    asks: dict[str, Decimal] = {}
    for order in orders:
        if not order.open or order.limit is None:
            continue
        if order.buying:
            bids[order.sym] = max(order.limit, bids.get(order.sym, order.limit))
        else:
            asks[order.sym] = min(order.limit, asks.get(order.sym, order.limit))
    for sym, bid in sorted(bids.items()):
        if sym in asks and bid >= asks[sym]:
            yield f"{sym} has an open buy at {bid} and an open sell at {asks[sym]}, which should match"
