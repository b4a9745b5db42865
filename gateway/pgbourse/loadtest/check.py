"""Judge an exchange by its replies alone: those to the load, then every order's status.

What an unanswered document asks for may or may not have been done: both are right.
"""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from lxml import etree

from pgbourse.loadtest.check_end import crossed_books, faults_of_sides, faults_of_status
from pgbourse.loadtest.check_looks import LOOKS, faults_of_look
from pgbourse.loadtest.checked import ZERO, CheckedOrder, UnknownOrder
from pgbourse.loadtest.replies import without_length
from pgbourse.loadtest.workload import Template

__all__ = ["Checker"]

_QUERIES = 100  # in a document
_MAX_FINDINGS = 20
# The result of each kind of request, and what it doesn't repeat of it, or says of another order.
_ANSWERS = {
    "order": ("opened", set[str]()),
    "replace": ("opened", {"id"}),
    "reduce": ("reduced", {"to"}),
    "query": ("status", set()),
    "cancel": ("canceled", set()),
    "cancel-all": ("canceled", set()),
    "arm": ("armed", {"all"}),
    "disarm": ("disarmed", {"all", "after"}),
    "account": ("account", set()),
    "orders": ("orders", {"sym", "max"}),
    "book": ("book", {"depth"}),
}


# Of an order that others saw: its account, its symbol, its amount and its limit.
_Seen = tuple[str, str | None, Decimal, Decimal]


class Checker:
    """Collect replies and find contradictions.

    The accounts and symbols must be the run's own: trades with unknown orders look like losses.
    """

    def __init__(self) -> None:
        self.orders: dict[str, CheckedOrder] = {}
        self.unknown_documents = 0
        self.findings: list[str] = []  # the first ones
        self.number_of_findings = 0
        self._unknown: list[UnknownOrder] = []
        # An account's replies come in any order, so what they say of other orders is looked at in the end.
        self._listed: dict[str, _Seen] = {}  # orders that looks showed
        self._gone: dict[str, tuple[str, Decimal | None]] = {}  # cancelled with others: whose, and how much
        self._doubtful: set[str] = set()  # accounts whose orders may be cancelled without a word
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
                at_worst = Decimal("Infinity") if amount > 0 else ZERO
                limit = Decimal(request.get("limit", at_worst))
                self._unknown.append(UnknownOrder(sym, amount > 0, abs(amount), limit))

    def saw_resent(self, template: Template, document: bytes) -> None:
        """Take a document that was not answered and is sent again, so that its last reply tells only that."""
        for request in etree.fromstring(document, self._parser):
            order = self.orders.get(request.get("id", ""))
            if request.get("stp") in ("maker", "both") or _kind(request) == "cancel-all":
                self._doubtful.add(template.account)
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
        self._compare_with_others()
        for order in self.orders.values():
            if order.told:
                in_doubt = order.cancel_unknown or order.account in self._doubtful
                self._find(*faults_of_status(order, in_doubt))
        if lost := self.unasked:
            self._find(f"{lost} orders got no status at the end: what was bought and sold can't be compared")
            return
        self._find(*faults_of_sides(self.orders.values(), self._unknown))
        self._find(*crossed_books(self.orders.values()))

    def _compare_with_others(self) -> None:
        """Find orders that looks show otherwise, or that were cancelled with those of another account."""
        for order_id, (account, shares) in self._gone.items():
            order = self._known_as(order_id, account)
            if order is not None:
                order.cancelled = True
                order.ended = order.ended if shares is None else shares
        for order_id, (account, *seen) in self._listed.items():
            order = self._known_as(order_id, account)
            if order is not None:
                amount = order.shares if order.buying else -order.shares
                if seen != [order.sym, amount, order.limit]:
                    self._find(f"order {order_id} was listed as another one than was opened")

    def _known_as(self, order_id: str, account: str) -> CheckedOrder | None:
        """Return an order of this account; that it isn't one is a finding, unless no reply told of it."""
        order = self.orders.get(order_id)
        if order is not None and order.account == account:
            return order
        if order is not None or not self.unknown_documents:
            self._find(f"order {order_id} was cancelled or listed as one of {account}, which it is not")
        return None

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
        kind = _kind(request)
        tag, not_repeated = _ANSWERS[kind]
        if result.tag != tag or any(
            result.get(name) != value for name, value in request.attrib.items() if name not in not_repeated
        ):
            self._find(f"{etree.tostring(request)!r} was answered {etree.tostring(result)[:200]!r}")
            return
        try:
            if kind in LOOKS:
                self._take_look(account, request, result)
            elif kind == "cancel-all":
                self._take_all(account, request, result)
            elif kind == "reduce":
                self._take_reduction(result)
            elif tag == "opened":
                self._open(account, request, result)
            elif kind == "arm":
                int(result.attrib["time"])
            elif kind != "disarm":
                self._take_status(result)
        except (InvalidOperation, KeyError, TypeError, ValueError):
            self._find(f"{etree.tostring(result)[:200]!r} lacks a number, or names no order of this run")

    def _open(self, account: str, request: etree._Element, result: etree._Element) -> None:
        attributes = result.attrib
        amount = Decimal(attributes["amount"])
        order = CheckedOrder(
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
            canceled = Decimal(attributes["canceled"])
            order.cancelled = bool(canceled)
            never_rests = order.limit is None or result.get("tif") in ("IOC", "FOK")
            order.ended_at_once = never_rests or order.cancelled
            order.ended = canceled if order.ended_at_once else None
            for passed in result.get("passed", "").split():
                self._take_gone(passed, account, None)
            if result.get("tif") == "FOK" and order.at_once != order.shares:
                self._find(f"order {order.order_id} was to be filled or refused, and {order.at_once} were")
        if request.tag == "replace":
            old = self.orders[attributes["replaced"]]
            old.cancelled, old.ended = True, Decimal(attributes["released"])
            if old.order_id != request.get("id") or (old.sym, old.buying) != (order.sym, order.buying):
                self._find(f"order {order.order_id} replaced another than it should: {old.order_id}")

    def _take_all(self, account: str, request: etree._Element, result: etree._Element) -> None:
        """Take what was cancelled of all that an account had open."""
        if Decimal(result.attrib["count"]) != len(result):
            self._find(f"{etree.tostring(result)[:200]!r} says another number of orders than it has")
        for order in result:
            self._take_gone(str(order.attrib["id"]), account, Decimal(order.attrib["shares"]))
            known = self.orders.get(str(order.attrib["id"]))
            if known is not None and request.get("sym") not in (None, known.sym):
                self._find(f"order {known.order_id} was cancelled with those of {request.get('sym')}")

    def _take_gone(self, order_id: str, account: str, shares: Decimal | None) -> None:
        if order_id in self._gone:
            self._find(f"order {order_id} was cancelled twice")
        self._gone[order_id] = account, shares

    def _take_look(self, account: str, request: etree._Element, result: etree._Element) -> None:
        for fault in faults_of_look(request, result):
            self._find(f"{etree.tostring(result)[:200]!r} has {fault}")
        for order in result if request.tag == "orders" else ():
            amount, limit = Decimal(order.attrib["amount"]), Decimal(order.attrib["limit"])
            self._listed[str(order.attrib["id"])] = account, order.get("sym"), amount, limit

    def _take_reduction(self, result: etree._Element) -> None:
        order = self.orders[result.attrib["id"]]
        if Decimal(result.attrib["open"]):
            order.reduced += Decimal(result.attrib["shares"])
        else:
            order.cancelled = True

    def _take_status(self, result: etree._Element) -> None:
        order = self.orders[result.attrib["id"]]
        order.open, order.canceled, order.reductions = (
            sum((Decimal(part.attrib["shares"]) for part in result.iterfind(tag)), ZERO)
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

    def _check_prices(self, order: CheckedOrder) -> None:
        side = "buy" if order.buying else "sell"
        for _, price in order.fills:
            if order.limit is not None and (price > order.limit if order.buying else price < order.limit):
                self._find(f"order {order.order_id}, a {side} at {order.limit}, executed at {price}")
        spent = sum((shares * price for shares, price in order.fills), ZERO)
        if order.budget is not None and spent > order.budget:
            self._find(f"order {order.order_id} has a budget of {order.budget}, and spent {spent}")

    def _find(self, *texts: str) -> None:
        self.number_of_findings += len(texts)
        self.findings += texts[: _MAX_FINDINGS - len(self.findings)]


def _kind(request: etree._Element) -> str:
    """Return what a request asks for, in the words of a --mix as far as results differ."""
    if "all" not in request.attrib:
        return str(request.tag)
    after = request.get("after")
    return "cancel-all" if after is None else "disarm" if after == "0" else "arm"


def _decimal(element: etree._Element, name: str) -> Decimal | None:
    text = element.get(name)
    return None if text is None else Decimal(text)
