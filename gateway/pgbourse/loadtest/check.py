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
_ANSWERS = {"order": "opened", "query": "status", "cancel": "canceled"}


@dataclass(slots=True)
class _Order:
    """An order that a reply called opened, and its latest status. Shares are positive."""

    order_id: str
    account: str
    sym: str
    buying: bool
    shares: Decimal
    limit: Decimal
    cancelled: bool = False  # a reply said so
    canceled: Decimal = Decimal(0)
    open: Decimal = Decimal(0)
    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # shares, price
    most_fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # of all statuses so far
    cancel_unknown: bool = False  # a document that cancels it went unanswered
    told: bool = False  # its status is known from the queries at the end


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

    def saw_no_reply(self, template: Template, document: bytes) -> None:  # noqa: ARG002
        """Take a document that was sent but not answered."""
        self.unknown_documents += 1
        for request in etree.fromstring(document, self._parser):
            if request.tag == "order":
                amount, limit = Decimal(request.get("amount", "")), Decimal(request.get("limit", ""))
                self._unknown.append(_Unknown(request.get("sym", ""), amount > 0, abs(amount), limit))
            elif request.tag == "cancel" and (order := self.orders.get(request.get("id", ""))) is not None:
                order.cancel_unknown = True

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
            canceled = bool(order.canceled)
            if order.told and canceled != order.cancelled and not (canceled and order.cancel_unknown):
                self._find(
                    f"order {order.order_id} was {'' if order.cancelled else 'not '}cancelled: see its status"
                )
            if order.told and (gone := Counter(order.most_fills) - Counter(order.fills)):
                fills = ", ".join(f"{shares} at {price}" for shares, price in gone.elements())
                self._find(f"order {order.order_id} was executed, {fills}, and its status has that no more")
        if lost := self.unasked:
            self._find(f"{lost} orders got no status at the end: what was bought and sold can't be compared")
            return
        self._compare_sides()
        self._check_books()

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
            if order.open and order.buying:
                bids[order.sym] = max(order.limit, bids.get(order.sym, order.limit))
            elif order.open:
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
        if result.tag != _ANSWERS[str(request.tag)] or any(
            result.get(name) != value for name, value in request.attrib.items()
        ):
            self._find(f"{etree.tostring(request)!r} was answered {etree.tostring(result)[:200]!r}")
            return
        try:
            if request.tag == "order":
                self._open(account, result)
            else:
                self._take_status(result)
        except (InvalidOperation, KeyError, TypeError):
            self._find(f"{etree.tostring(result)[:200]!r} lacks a number, or names no order of this run")

    def _open(self, account: str, result: etree._Element) -> None:
        attributes = result.attrib
        amount, limit = Decimal(attributes["amount"]), Decimal(attributes["limit"])
        order = _Order(attributes["id"], account, attributes["sym"], amount > 0, abs(amount), limit)
        if order.order_id in self.orders:
            self._find(f"two orders have the id {order.order_id}")
        self.orders[order.order_id] = order

    def _take_status(self, result: etree._Element) -> None:
        order = self.orders[result.attrib["id"]]
        order.open = sum((Decimal(part.attrib["shares"]) for part in result.iterfind("open")), Decimal(0))
        order.canceled = sum(
            (Decimal(part.attrib["shares"]) for part in result.iterfind("canceled")), Decimal(0)
        )
        order.fills = [
            (Decimal(part.attrib["shares"]), Decimal(part.attrib["price"]))
            for part in result.iterfind("executed")
        ]
        if len(order.fills) > len(order.most_fills):
            order.most_fills = order.fills
        order.cancelled = order.cancelled or result.tag == "canceled"
        executed = sum((shares for shares, _ in order.fills), Decimal(0))
        if order.open + order.canceled + executed != order.shares:
            parts = f"{order.open} open, {order.canceled} cancelled, {executed} executed"
            self._find(f"order {order.order_id} is for {order.shares} shares: {parts}")
        for _, price in order.fills:
            if price > order.limit if order.buying else price < order.limit:
                side = "buy" if order.buying else "sell"
                self._find(f"order {order.order_id}, a {side} at {order.limit}, executed at {price}")

    def _find(self, text: str) -> None:
        self.number_of_findings += 1
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(text)
