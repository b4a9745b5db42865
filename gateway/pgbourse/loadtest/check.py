"""Judge an exchange by its replies alone: those to the load, then every order's status.

What an unanswered document asks for may or may not have been done: both are right.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from lxml import etree

from pgbourse.loadtest.replies import without_length
from pgbourse.loadtest.workload import Template

__all__ = ["Checker"]

_QUERIES = 100  # in a document
_MAX_FINDINGS = 20
_ANSWERS = {
    "order": "opened",
    "replace": "opened",
    "reduce": "reduced",
    "query": "status",
    "cancel": "canceled",
}
# What a result doesn't repeat of its request, or says of another order.
_NOT_REPEATED = {"replace": {"id"}, "reduce": {"to"}}
_ZERO = Decimal(0)


@dataclass(slots=True)
class _Order:
    """An order that a reply called opened, and its latest status. Shares are positive."""

    order_id: str
    account: str
    sym: str
    buying: bool
    shares: Decimal
    limit: Decimal | None  # None for a market order
    budget: Decimal | None = None
    at_once: Decimal | None = None  # shares that an order that never rests executed
    cancelled: bool = False  # a reply said so
    ended: Decimal | None = None  # with so many shares open
    reduced: Decimal = _ZERO  # by so many shares, as replies said
    canceled: Decimal = _ZERO
    reductions: Decimal = _ZERO
    open: Decimal = _ZERO
    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # shares, price
    most_fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # of all statuses so far
    cancel_unknown: bool = False  # a document that cancels or replaces it went unanswered
    reduce_unknown: bool = False  # one that reduces it did
    told: bool = False  # its status is known from the queries at the end

    @property
    def executed(self) -> Decimal:
        return sum((shares for shares, _ in self.fills), _ZERO)


@dataclass(frozen=True, slots=True)
class _Unknown:
    """An order that may or may not have been opened."""

    sym: str
    buying: bool
    shares: Decimal
    limit: Decimal


class Checker:
    """Collect replies and find contradictions.

    The accounts and symbols must be the run's own: trades with unknown orders look like losses.
    """

    def __init__(self) -> None:
        self.orders: dict[str, _Order] = {}
        self.unknown_documents = 0
        self.findings: list[str] = []  # the first ones
        self.number_of_findings = 0
        self._unknown: list[_Unknown] = []
        self._parser = etree.XMLParser(resolve_entities=False, no_network=True)

    def saw(self, template: Template, document: bytes, reply: bytes) -> None:
        """Take a document and the reply to it."""
        requests = etree.fromstring(document, self._parser)
        results = self._read(reply)
        if results is None:
            return
        if len(results) != len(requests):
            self._find(f"{len(requests)} requests got {len(results)} results: {reply[:200]!r}")
            return
        for request, result in zip(requests, results, strict=True):
            self._compare(template.account, request, result)

    def saw_no_reply(self, template: Template, document: bytes) -> None:
        """Take a document that was sent but not answered."""
        self.unknown_documents += 1
        self.saw_resent(template, document)
        for request in etree.fromstring(document, self._parser):
            if request.tag in ("order", "replace"):
                amount, old = Decimal(request.get("amount", "")), self.orders.get(request.get("id", ""))
                sym = request.get("sym", "") if old is None else old.sym
                at_worst = Decimal("Infinity") if amount > 0 else _ZERO
                limit = Decimal(request.get("limit", at_worst))
                self._unknown.append(_Unknown(sym, amount > 0, abs(amount), limit))

    def saw_resent(self, template: Template, document: bytes) -> None:  # noqa: ARG002
        """Take a document that was not answered and is sent again, so that its last reply tells only that."""
        for request in etree.fromstring(document, self._parser):
            order = self.orders.get(request.get("id", ""))
            if order is not None and request.tag in ("cancel", "replace"):
                order.cancel_unknown = True
            elif order is not None and request.tag == "reduce":
                order.reduce_unknown = True

    @property
    def unasked(self) -> int:
        """Return how many orders have no status yet."""
        return sum(not order.told for order in self.orders.values())

    def queries(self) -> Iterator[tuple[bytes, Template]]:
        """Write documents that query every order whose final status is not known yet."""
        by_account: defaultdict[str, list[str]] = defaultdict(list)
        for order in self.orders.values():
            if not order.told:
                by_account[order.account].append(order.order_id)
        for account, ids in by_account.items():
            for start in range(0, len(ids), _QUERIES):
                some = ids[start : start + _QUERIES]
                asked = "".join(f'<query id="{order_id}"/>' for order_id in some)
                document = f'<transactions id="{account}">{asked}</transactions>'.encode()
                yield document, Template.fixed(account, document, len(some))

    def saw_status(self, template: Template, document: bytes, reply: bytes) -> None:
        """Take the reply to one of `queries`; no order may be missing from it."""
        self.saw(template, document, reply)
        for query in etree.fromstring(document, self._parser):
            self.orders[query.get("id", "")].told = True

    def conclude(self) -> None:
        """Compare the two sides of every trade, once every order's status is known."""
        for order in self.orders.values():
            if order.told:
                self._compare_with_status(order)
        if lost := self.unasked:
            self._find(f"{lost} orders got no status at the end: what was bought and sold can't be compared")
            return
        self._compare_sides()
        self._check_books()

    def _compare_with_status(self, order: _Order) -> None:
        """Find what replies said of an order, and its status at the end doesn't."""
        which, canceled = f"order {order.order_id}", bool(order.canceled)
        if canceled != order.cancelled and not (canceled and order.cancel_unknown):
            self._find(f"{which} was {'' if order.cancelled else 'not '}cancelled: see its status")
        elif order.ended is not None and order.ended != order.canceled:
            self._find(f"{which} had {order.ended} shares cancelled, and {order.canceled} by its status")
        if order.reductions < order.reduced or (
            order.reductions > order.reduced and not order.reduce_unknown
        ):
            self._find(f"{which} was reduced by {order.reduced}, and by {order.reductions} by its status")
        if order.at_once is not None and (order.open or order.at_once != order.executed):
            now = f"{order.executed} are, {order.open} open"
            self._find(f"{which}, which never rests, had {order.at_once} shares executed: {now}")
        if gone := Counter(order.most_fills) - Counter(order.fills):
            fills = ", ".join(f"{shares} at {price}" for shares, price in gone.elements())
            self._find(f"{which} was executed, {fills}, and its status has that no more")

    def _compare_sides(self) -> None:
        """Find shares that were bought but not sold, or sold but not bought, at any price.

        Orders of unknown fate may be the other side, as far as their shares and limits allow.
        """
        traded: defaultdict[str, defaultdict[Decimal, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for order in self.orders.values():
            for shares, price in order.fills:
                traded[order.sym][price] += shares if order.buying else -shares
        for sym, differences in sorted(traded.items()):
            for bought_more in (True, False):
                self._compare_side(sym, differences, bought_more)

    def _compare_side(self, sym: str, differences: dict[Decimal, Decimal], bought_more: bool) -> None:
        """Look for unknown sells that explain what was bought without a known seller; or the reverse.

        A sell can trade at its limit and above. So going up from the lowest price, unknown sells with limits
        up to a price must cover what was bought without a seller up to it. For buys, it is from the highest
        price down.
        """
        sign = 1 if bought_more else -1
        others = sorted(
            (order.limit * sign, order.shares)
            for order in self._unknown
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
                self._find(f"{-covered} shares of {sym} more were {more} than {less} at {price}")
                covered = Decimal(0)

    def _check_books(self) -> None:
        bids: dict[str, Decimal] = {}
        asks: dict[str, Decimal] = {}
        for order in self.orders.values():
            if not order.open or order.limit is None:
                continue
            if order.buying:
                bids[order.sym] = max(order.limit, bids.get(order.sym, order.limit))
            else:
                asks[order.sym] = min(order.limit, asks.get(order.sym, order.limit))
        for sym, bid in sorted(bids.items()):
            if sym in asks and bid >= asks[sym]:
                self._find(
                    f"{sym} has an open buy at {bid} and an open sell at {asks[sym]}, which should match"
                )

    def _read(self, reply: bytes) -> etree._Element | None:
        try:
            # A length may precede the XML.
            results = etree.fromstring(without_length(reply), self._parser)
        except etree.XMLSyntaxError as error:
            self._find(f"a reply is not XML ({error}): {reply[:200]!r}")
            return None
        if results.tag != "results":
            self._find(f"a reply is no <results>: {reply[:200]!r}")
            return None
        return results

    def _compare(self, account: str, request: etree._Element, result: etree._Element) -> None:
        if result.tag == "error":
            if result.get("id") in self.orders and request.tag == "query":
                self._find(f"order {result.get('id')} was opened and can't be queried: {result.text}")
            return
        tag = str(request.tag)
        if result.tag != _ANSWERS[tag] or any(
            result.get(name) != value
            for name, value in request.attrib.items()
            if name not in _NOT_REPEATED.get(tag, ())
        ):
            self._find(f"{etree.tostring(request)!r} was answered {etree.tostring(result)[:200]!r}")
            return
        try:
            if tag == "reduce":
                self._take_reduction(result)
            elif result.tag == "opened":
                self._open(account, request, result)
            else:
                self._take_status(result)
        except (InvalidOperation, KeyError, TypeError):
            self._find(f"{etree.tostring(result)[:200]!r} lacks a number, or names no order of this run")

    def _open(self, account: str, request: etree._Element, result: etree._Element) -> None:
        attributes = result.attrib
        amount = Decimal(attributes["amount"])
        order = _Order(
            attributes["id"],
            account,
            attributes["sym"],
            amount > 0,
            abs(amount),
            _decimal(result, "limit"),
            _decimal(result, "budget"),
            _decimal(result, "executed"),
        )
        if order.order_id in self.orders:
            self._find(f"two orders have the id {order.order_id}")
        self.orders[order.order_id] = order
        if order.at_once is not None:
            order.ended = Decimal(attributes["canceled"])
            order.cancelled = bool(order.ended)
            if result.get("tif") == "FOK" and order.at_once != order.shares:
                self._find(f"order {order.order_id} was to be filled or refused, and {order.at_once} were")
        if request.tag == "replace":
            old = self.orders[attributes["replaced"]]
            old.cancelled, old.ended = True, Decimal(attributes["released"])
            if old.order_id != request.get("id") or (old.sym, old.buying) != (order.sym, order.buying):
                self._find(f"order {order.order_id} replaced another than it should: {old.order_id}")

    def _take_reduction(self, result: etree._Element) -> None:
        order = self.orders[result.attrib["id"]]
        if Decimal(result.attrib["open"]):
            order.reduced += Decimal(result.attrib["shares"])
        else:
            order.cancelled = True

    def _take_status(self, result: etree._Element) -> None:
        order = self.orders[result.attrib["id"]]
        order.open, order.canceled, order.reductions = (
            sum((Decimal(part.attrib["shares"]) for part in result.iterfind(tag)), _ZERO)
            for tag in ("open", "canceled", "reduced")
        )
        order.fills = [
            (Decimal(part.attrib["shares"]), Decimal(part.attrib["price"]))
            for part in result.iterfind("executed")
        ]
        if len(order.fills) > len(order.most_fills):
            order.most_fills = order.fills
        order.cancelled = order.cancelled or result.tag == "canceled"
        gone = order.canceled + order.reductions
        if order.open + gone + order.executed != order.shares:
            parts = f"{order.open} open, {gone} cancelled, {order.executed} executed"
            self._find(f"order {order.order_id} is for {order.shares} shares: {parts}")
        self._check_prices(order)

    def _check_prices(self, order: _Order) -> None:
        side = "buy" if order.buying else "sell"
        for _, price in order.fills:
            if order.limit is not None and (price > order.limit if order.buying else price < order.limit):
                self._find(f"order {order.order_id}, a {side} at {order.limit}, executed at {price}")
        spent = sum((shares * price for shares, price in order.fills), _ZERO)
        if order.budget is not None and spent > order.budget:
            self._find(f"order {order.order_id} has a budget of {order.budget}, and spent {spent}")

    def _find(self, text: str) -> None:
        self.number_of_findings += 1
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(text)


def _decimal(element: etree._Element, name: str) -> Decimal | None:
    text = element.get(name)
    return None if text is None else Decimal(text)
