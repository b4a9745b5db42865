"""What a document may ask for: requests, and the elements of the base protocol, which become requests.

Those beyond the base protocol are in pgbourse.wire.terms.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from pgbourse.wire.fields import (
    ACCOUNT_ID,
    AMOUNT,
    BALANCE,
    LIMIT,
    ORDER_ID,
    SHARES,
    SYM,
    Field,
    escape,
    order_number,
    shorten,
)

__all__ = [
    "ANY",
    "CANCEL",
    "CREATION",
    "GRANTS",
    "IN_CREATE",
    "IN_SYMBOL",
    "IN_TRANSACTIONS",
    "ORDER",
    "QUERY",
    "SYMBOL",
    "THE_SHARES",
    "Action",
    "Answered",
    "Attribute",
    "BeyondRequest",
    "Child",
    "Document",
    "Get",
    "Kind",
    "Refusal",
    "Request",
    "Terms",
    "make_request",
    "refuse",
    "unknown",
]

THE_SHARES = "the number of shares"  # what an error calls the text of an <account> in a <symbol>

Get = Callable[[str], str | None]  # of an attribute by its name


class Action:
    """What exchange.process_batch can do."""

    CREATE_ACCOUNT = "create_account"
    CREATE_SYMBOL = "create_symbol"
    GRANT_SHARES = "grant_shares"
    PLACE_ORDER = "place_order"
    QUERY_ORDER = "query_order"
    CANCEL_ORDER = "cancel_order"
    REPLACE_ORDER = "replace_order"
    REDUCE_ORDER = "reduce_order"
    REDUCE_ORDER_TO = "reduce_order_to"
    CANCEL_ALL = "cancel_all"
    ARM_SWITCH = "arm_switch"
    DISARM_SWITCH = "disarm_switch"
    LOOK_ACCOUNT = "look_account"
    LIST_ORDERS = "list_orders"
    LOOK_BOOK = "look_book"


class Terms(NamedTuple):
    """What a request says beyond the base protocol: the fields of exchange.terms, in their order.

    All are None where it is the request's action that is beyond it.
    """

    ref: str | None = None
    type: str | None = None
    budget: str | None = None
    tif: str | None = None
    post: str | None = None  # true, or None
    stp: str | None = None
    of_ref: str | None = None
    if_open: str | None = None


class Request(NamedTuple):
    """One request to the database, with its values checked: numbers are decimal text as the client wrote it.

    `amount` is the balance of a new account, the shares of a grant, or those of an order, negative to sell;
    or else the one number that the action needs: shares, seconds, levels, or how many to list.
    """

    action: str
    account_id: str | None = None
    sym: str | None = None
    amount: str | None = None
    limit: str | None = None
    order_id: int | None = None
    echo: str = ""  # the attributes that its result repeats, as XML
    terms: Terms | None = None  # None for a request of the base protocol
    error_echo: str = ""  # what an <error> repeats, if that is something else


class BeyondRequest(Request):
    """One that is beyond the base protocol. By its class, a document that has none is told at no cost."""

    __slots__ = ()


@dataclass(slots=True)
class Refusal:
    """A child, or a whole document, that can't become a request."""

    echo: str  # of its <error>, as XML
    message: str
    code: str = ""


@dataclass(slots=True)
class Answered:
    """A child that needs no database: its result, as XML."""

    result: str


Child = Request | Refusal | Answered


@dataclass(slots=True)
class Document:
    """What a document asks for: one entry for each result in its reply, in order."""

    children: list[Child]
    requests: list[Request]  # the children that the database has to answer
    codes: bool = False  # whether each <error> of the reply carries its code
    is_plain: bool = True  # whether no request is beyond the base protocol


class Attribute(NamedTuple):
    """An attribute of an element, or its text: its name, its allowed values, and its field in a Request."""

    name: str
    rule: Field
    field: str  # of Request, that it becomes
    is_repeated: bool = True  # in the result


class Kind:
    """A kind of element that becomes a request: its action and its attributes, all of them required.

    They are in the order in which results repeat them; those that are not repeated come last.
    """

    def __init__(self, action: str, *attributes: Attribute) -> None:
        self._action = action
        self._attributes = attributes
        self._names = [attribute.name for attribute in attributes]
        self.repeated = [attribute.name for attribute in attributes if attribute.is_repeated]
        # All values are checked at once, as written in a result. No value may hold a quote, so none can pass
        # for two.
        self._written = "".join([f' {name}="%s"' for name in self._names])
        self.allowed = re.compile(
            "".join([f' {name}="(?:{rule.allowed.pattern})"' for name, rule, *_ in attributes])
        )
        self._echo = "".join([f' {name}="%s"' for name in self.repeated])
        self._order_id = next(
            (i for i, attribute in enumerate(attributes) if attribute.rule is ORDER_ID), None
        )
        # What lies between action and echo in a Request, taken from (None, the asking account, the values).
        places = {"account_id": 1} | {attribute.field: i for i, attribute in enumerate(attributes, 2)}
        fields = Request._fields[1 : Request._fields.index("echo")]
        self._arrange = itemgetter(*(places.get(field, 0) for field in fields))

    def read(self, get: Get, account_id: str | None = None) -> Request | Refusal:
        """Make a request from an element whose attributes `get` returns, for the asking account."""
        values: list[Any] = [get(name) for name in self._names]
        echo = self._written % (*values,)
        if None in values or not self.allowed.fullmatch(echo):
            return self.refuse(get)
        if self._order_id is not None:
            number = order_number(values[self._order_id])
            if number is None:
                return self.refuse(get)
            values[self._order_id] = number
        if self._echo != self._written:
            echo = self._echo % (*values[: len(self.repeated)],)
        return make_request((self._action, *self._arrange((None, account_id, *values)), echo, None, ""))

    def refuse(self, get: Get, message: str = "", code: str = "") -> Refusal:
        """Refuse an element; without a `message`, because of its first wrong attribute."""
        if message:
            return refuse(get, self.repeated, message, code)
        for attribute in self._attributes:
            value = get(attribute.name)
            if problem := attribute.rule.problem(attribute.name, value):
                return refuse(get, self.repeated, problem, attribute.rule.code_of(value))
        raise AssertionError("nothing is wrong with this element")


# Does what Request._make does, in less time.
make_request: Callable[[tuple[Any, ...]], Request] = partial(tuple.__new__, Request)


def refuse(get: Get, repeated: Iterable[str], message: str, code: str) -> Refusal:
    """Refuse an element, repeating those of the given attributes that it has."""
    written = [(name, get(name)) for name in repeated]
    return Refusal(
        "".join([f' {name}="{escape(value)}"' for name, value in written if value is not None]), message, code
    )


# The children of <transactions>, which act for its account, as the base protocol has them.
ORDER = Kind(
    Action.PLACE_ORDER,
    Attribute("sym", SYM, "sym"),
    Attribute("amount", AMOUNT, "amount"),
    Attribute("limit", LIMIT, "limit"),
)
QUERY = Kind(Action.QUERY_ORDER, Attribute("id", ORDER_ID, "order_id"))
CANCEL = Kind(Action.CANCEL_ORDER, Attribute("id", ORDER_ID, "order_id"))
# The children of <create>, but for <symbol>,
CREATION = {
    "account": Kind(
        Action.CREATE_ACCOUNT,
        Attribute("id", ACCOUNT_ID, "account_id"),
        Attribute("balance", BALANCE, "amount", is_repeated=False),
    ),
}
# which is one if it is empty,
SYMBOL = Kind(Action.CREATE_SYMBOL, Attribute("sym", SYM, "sym"))
# and else holds these: the shares are their text.
GRANTS = {
    "account": Kind(
        Action.GRANT_SHARES,
        Attribute("sym", SYM, "sym"),
        Attribute("id", ACCOUNT_ID, "account_id"),
        Attribute(THE_SHARES, SHARES, "amount", is_repeated=False),
    ),
}


def _may_hold(name: str, allowed: Iterable[str]) -> str:
    *most, last = [f"<{child}>" for child in allowed]
    return f"<{name}> may hold {', '.join(most) + ' and ' if most else ''}{last}"


# What an unknown element is told of those that are known. A document that uses nothing beyond the base
# protocol is answered in the words that it always was, so these are the elements of that.
IN_TRANSACTIONS = _may_hold("transactions", ("order", "query", "cancel"))
IN_CREATE = _may_hold("create", (*CREATION, "symbol"))
IN_SYMBOL = _may_hold("symbol", GRANTS)

ANY = ("sym", "amount", "limit", "id")  # what the <error> of an unknown element repeats


def unknown(name: str, get: Get, allowed: str) -> Refusal:
    """Refuse an element of this name, which isn't one of those that are `allowed`."""
    return refuse(get, ANY, f"unknown element <{shorten(name)}>: {allowed}", "unknown_element")
