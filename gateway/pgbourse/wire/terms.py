"""The children of <transactions>: orders with terms, and all that is beyond the base protocol.

An element that uses none of that is read as pgbourse.wire.requests says, and what it is answered is byte for
byte what the base protocol answers. Here is what there is more, and which attributes contradict each other.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from pgbourse import __version__
from pgbourse.wire.elements import Element
from pgbourse.wire.fields import (
    AFTER,
    AMOUNT,
    BUDGET,
    CANCELED,
    DEPTH,
    FLAG,
    LEFT_OPEN,
    LIMIT,
    MAX,
    MAX_ORDER_ID,
    OPEN,
    ORDER_ID,
    REF,
    SECONDS,
    STP,
    SYM,
    TIF,
    TYPE,
    Field,
    order_number,
)
from pgbourse.wire.requests import (
    ANY,
    CANCEL,
    IN_TRANSACTIONS,
    ORDER,
    QUERY,
    Action,
    Answered,
    BeyondRequest,
    Child,
    Kind,
    Refusal,
    Request,
    Terms,
    make_request,
    refuse,
    unknown,
)

__all__ = ["CHILDREN", "SERVER", "Reader"]

# How many orders a document lists and how many levels of a book it shows where it doesn't say.
_MAX = "1000"
_DEPTH = "10"

_FEATURES = (
    "codes ref tif post stp market reduce replace cancel-all cancel-after account orders book subscribe"
)


class Reader(Protocol):
    """How one kind of child is read."""

    def read(self, element: Element, account_id: str) -> Child:
        """Make what a child becomes, for the asking account."""

    def refuse(self, element: Element, message: str, code: str) -> Child:
        """Refuse a child because of the document that it is in."""


class _Wrong(Exception):
    """An attribute is missing, or attributes contradict each other."""

    def __init__(self, message: str, code: str = "invalid_terms") -> None:
        super().__init__(message)
        self.code = code


class _Said:
    """What an element says: the values of its known attributes, each of them allowed by itself."""

    def __init__(self, account_id: str, values: dict[str, str], flags: Iterable[str]) -> None:
        self.account_id = account_id
        self._written = values
        # A flag that is false is as if it were not there, except that the client gets it repeated.
        self._values = {name: value for name, value in values.items() if name not in flags or value == "true"}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def require(self, **rules: Field) -> None:
        """Raise _Wrong unless these attributes are there."""
        for name, rule in rules.items():
            if name not in self._values:
                raise _Wrong(rule.problem(name, None) or "", rule.code)

    def order_id(self, ref: str = "ref") -> int | None:
        """Return the id of the order that is meant; None if it is meant by the attribute `ref`."""
        if "id" not in self:
            if ref not in self:
                raise _Wrong(
                    f"id is missing: it must be {ORDER_ID.rule}; or {ref}, the client's own name for it",
                    ORDER_ID.code,
                )
            return None
        if ref in self:
            raise _Wrong(f"id and {ref} are both there: one of them says which order is meant")
        return order_number(self["id"])

    def repeat(self, *names: str) -> str:
        """Write those of the named attributes that are there, for a result. None needs to be escaped."""
        return "".join([f' {name}="{self._written[name]}"' for name in names if name in self._written])


class _Beyond:
    """A kind of element beyond the base protocol: its known attributes, and what they make together."""

    def __init__(self, make: Callable[[_Said, str], Request], **rules: Field) -> None:
        """Take what makes a request of what is said and of what an <error> repeats, or raises _Wrong.

        An <error> repeats the known attributes in the order of the rules.
        """
        self._make = make
        self._rules = rules
        self._flags = [name for name, rule in rules.items() if rule is FLAG]

    def read(self, element: Element, account_id: str) -> Child:
        get = element.get
        values: dict[str, str] = {}
        for name, rule in self._rules.items():
            value = get(name)
            if value is not None:
                if problem := rule.problem(name, value):
                    return refuse(get, self._rules, problem, rule.code_of(value))
                values[name] = value
        said = _Said(account_id, values, self._flags)
        try:
            request = self._make(said, said.repeat(*self._rules))
        except _Wrong as wrong:
            return refuse(get, self._rules, str(wrong), wrong.code)
        return request if request.terms is None else BeyondRequest._make(request)

    def refuse(self, element: Element, message: str, code: str) -> Refusal:
        return refuse(element.get, self._rules, message, code)


def _refuse_resting(said: _Said) -> None:
    """Refuse an order that says post only and never rests."""
    for name, value in (("tif", "IOC"), ("tif", "FOK"), ("type", "market")):
        if "post" in said and said.get(name) == value:
            raise _Wrong(f"post and {name} {value} contradict each other: such an order never rests")


def _order(said: _Said, echo: str) -> Request:
    said.require(sym=SYM, amount=AMOUNT)
    if said.get("type") == "market":
        if "limit" in said:
            raise _Wrong(
                "a market order has no limit: to bound its price, use tif IOC and a limit without type"
            )
        if said.get("tif") == "GTC":
            raise _Wrong("a market order never rests: its tif may be IOC or FOK")
        if not said["amount"].startswith("-"):
            said.require(budget=BUDGET)
        elif "budget" in said:
            raise _Wrong("a market order that sells has no budget: leave it out")
    else:
        said.require(limit=LIMIT)
        if "budget" in said:
            raise _Wrong("budget is for market orders that buy: leave it out, for the limit bounds the cost")
    _refuse_resting(said)
    terms = Terms(*map(said.get, ("ref", "type", "budget", "tif", "post", "stp")))
    return Request(
        Action.PLACE_ORDER,
        said.account_id,
        said["sym"],
        said["amount"],
        said.get("limit"),
        None,
        echo,
        terms if any(terms) else None,
    )


def _replace(said: _Said, echo: str) -> Request:
    order_id = said.order_id("of")
    for name in ("sym", "type", "budget"):
        if name in said:
            raise _Wrong(
                f"{name} is not for <replace>: the new order is a limit order of the old one's symbol"
            )
    said.require(amount=AMOUNT, limit=LIMIT)
    _refuse_resting(said)
    return Request(
        Action.REPLACE_ORDER,
        said.account_id,
        None,
        said["amount"],
        said["limit"],
        order_id,
        said.repeat("amount", "limit", "ref", "tif", "post", "stp"),
        Terms(
            ref=said.get("ref"),
            tif=said.get("tif"),
            post=said.get("post"),
            stp=said.get("stp"),
            of_ref=said.get("of"),
            if_open=said.get("open"),
        ),
        echo,
    )


def _reduce(said: _Said, echo: str) -> Request:
    order_id = said.order_id()
    if ("to" in said) == ("shares" in said):
        raise _Wrong(
            "one of to and shares says by how much: to, what may stay open; or shares, what is cancelled"
        )
    return Request(
        Action.REDUCE_ORDER_TO if "to" in said else Action.REDUCE_ORDER,
        said.account_id,
        None,
        said["to" if "to" in said else "shares"],
        None,
        order_id,
        said.repeat("id", "ref"),
        Terms(ref=said.get("ref")),
        echo,
    )


def _query(said: _Said, echo: str) -> Request:
    return _by_ref(Action.QUERY_ORDER, said, echo)


def _cancel(said: _Said, echo: str) -> Request:
    if "all" not in said:
        return _by_ref(Action.CANCEL_ORDER, said, echo)
    for name in ("id", "ref"):
        if name in said:
            raise _Wrong(f"all and {name} contradict each other: leave one of them out")
    if "after" in said:
        if "sym" in said:
            raise _Wrong("after and sym contradict each other: the switch is for all of the account's orders")
        is_armed = said["after"].strip("0") != ""
        return Request(
            Action.ARM_SWITCH if is_armed else Action.DISARM_SWITCH,
            said.account_id,
            amount=said["after"] if is_armed else None,
            echo=said.repeat("after"),
            terms=Terms(),
            error_echo=echo,
        )
    return Request(Action.CANCEL_ALL, said.account_id, said.get("sym"), echo=echo, terms=Terms())


def _by_ref(action: str, said: _Said, echo: str) -> Request:
    """Ask for an order by its ref; or by its id, in an element that says all="false"."""
    order_id = said.order_id()
    for name in ("sym", "after"):
        if order_id is None and name in said:
            raise _Wrong(f'{name} is for <cancel all="true">: leave it out')
    terms = Terms(ref=said["ref"]) if order_id is None else None
    return Request(action, said.account_id, None, None, None, order_id, said.repeat("id", "ref"), terms, echo)


def _look(said: _Said, echo: str) -> Request:
    return Request(Action.LOOK_ACCOUNT, said.account_id, echo=echo, terms=Terms())


def _list(said: _Said, echo: str) -> Request:
    # No order has an id that the database can't hold, so none comes after the greatest that it can.
    after = order_number(said["after"]) if "after" in said else 0
    return Request(
        Action.LIST_ORDERS,
        said.account_id,
        said.get("sym"),
        said.get("max") or _MAX,
        None,
        MAX_ORDER_ID if after is None else after or None,
        echo,
        Terms(),
    )


def _book(said: _Said, echo: str) -> Request:
    said.require(sym=SYM)
    depth = said.get("depth") or _DEPTH
    return Request(Action.LOOK_BOOK, said.account_id, said["sym"], depth, echo=echo, terms=Terms())


class _Base:
    """An element of the base protocol, which attributes may make one beyond it."""

    def __init__(self, base: Kind, beyond: _Beyond, more: Iterable[str]) -> None:
        """It is beyond the base protocol if it has one of the attributes `more`."""
        self._base = base
        self._beyond = beyond
        self._more = frozenset(more)
        self._usual = list(base.repeated)

    def read(self, element: Element, account_id: str) -> Child:
        names = element.keys()
        if names == self._usual or self._more.isdisjoint(names):
            return self._base.read(element.get, account_id)
        return self._beyond.read(element, account_id)

    def refuse(self, element: Element, message: str, code: str) -> Refusal:
        if self._more.isdisjoint(element.keys()):
            return refuse(element.get, self._base.repeated, message, code)
        return self._beyond.refuse(element, message, code)


_USUAL_ORDER = ["sym", "amount", "limit"]


class _Order(_Base):
    """The same, written out for the most frequent element, and for how most clients write it."""

    def __init__(self, base: Kind, beyond: _Beyond, more: Iterable[str]) -> None:
        super().__init__(base, beyond, more)
        self._is_allowed = base.allowed.fullmatch

    def read(self, element: Element, account_id: str) -> Child:
        names = element.keys()
        sym: str | None
        amount: str | None
        limit: str | None
        if names == _USUAL_ORDER:
            sym, amount, limit = element.values()
        elif self._more.isdisjoint(names):
            get = element.get
            sym, amount, limit = get("sym"), get("amount"), get("limit")
        else:
            return super().read(element, account_id)
        echo = f' sym="{sym}" amount="{amount}" limit="{limit}"'
        if sym is not None and self._is_allowed(echo):
            return make_request((Action.PLACE_ORDER, account_id, sym, amount, limit, None, echo, None, ""))
        return super().read(element, account_id)


class _Account(_Beyond):
    """A look at the account. One with an id or a balance is of <create>, and stays the error that it was."""

    def read(self, element: Element, account_id: str) -> Child:
        if element.get("id") is None and element.get("balance") is None:
            return super().read(element, account_id)
        return unknown("account", element.get, IN_TRANSACTIONS)

    def refuse(self, element: Element, message: str, code: str) -> Refusal:
        return refuse(element.get, ANY, message, code)


class _Server:
    """Which version this is and what it can do, whoever asks."""

    def read(self, *_: object) -> Answered:
        return Answered(f'<server version="{__version__}" features="{_FEATURES}"/>')

    refuse = read


SERVER = _Server()

_TERMS = {"type": TYPE, "budget": BUDGET, "ref": REF, "tif": TIF, "post": FLAG, "stp": STP}

CHILDREN: dict[str, Reader] = {
    "order": _Order(ORDER, _Beyond(_order, sym=SYM, amount=AMOUNT, limit=LIMIT, **_TERMS), _TERMS),
    "query": _Base(QUERY, _Beyond(_query, id=ORDER_ID, ref=REF), ["ref"]),
    "cancel": _Base(
        CANCEL,
        _Beyond(_cancel, id=ORDER_ID, ref=REF, all=FLAG, sym=SYM, after=SECONDS),
        ["ref", "all"],
    ),
    "reduce": _Beyond(_reduce, id=ORDER_ID, ref=REF, to=LEFT_OPEN, shares=CANCELED),
    "replace": _Beyond(
        _replace, id=ORDER_ID, of=REF, sym=SYM, amount=AMOUNT, limit=LIMIT, **_TERMS, open=OPEN
    ),
    "account": _Account(_look),
    "orders": _Beyond(_list, sym=SYM, after=AFTER, max=MAX),
    "book": _Beyond(_book, sym=SYM, depth=DEPTH),
    "server": SERVER,
}
