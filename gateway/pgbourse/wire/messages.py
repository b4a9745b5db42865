"""XML documents -> typed requests, and results -> XML replies, as docs/protocol.md describes them.

No sockets and no SQL. Nothing is shared between documents, so any number of threads may read and write them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pgbourse.wire.elements import DocumentRefused, read_elements
from pgbourse.wire.fields import (
    ACCOUNT_ID,
    AMOUNT,
    BALANCE,
    LIMIT,
    ORDER_ECHO,
    ORDER_ID,
    SHARES,
    SYM,
    escape,
    shorten,
)

__all__ = ["Action", "Document", "Refusal", "Request", "ResultRow", "error_reply", "format_reply", "parse"]

_MAX_ORDER_ID = 2**63 - 1  # PostgreSQL's bigint
# A child of four bytes may need 500 of memory, result included. More orders than this need 16 MB of XML.
_MAX_CHILDREN = 250_000


class Action:
    """What exchange.process_batch can do."""

    CREATE_ACCOUNT = "create_account"
    CREATE_SYMBOL = "create_symbol"
    GRANT_SHARES = "grant_shares"
    PLACE_ORDER = "place_order"
    QUERY_ORDER = "query_order"
    CANCEL_ORDER = "cancel_order"


class ResultRow(NamedTuple):
    """A row of what exchange.process_batch returns: one part of the answer to one request.

    Numbers are exact decimals, as text.
    """

    request: int  # its place in the batch, from 1
    outcome: str
    order_id: int | None = None
    shares: str | None = None
    price: str | None = None
    at: int | None = None  # whole seconds since the epoch
    code: str | None = None  # of a refusal
    message: str | None = None


@dataclass(slots=True)
class Request:
    """One request to the database, its values checked: numbers are decimal text as the client wrote it.

    `amount` is the balance of a new account, the shares of a grant, or those of an order, negative to sell.
    """

    action: str
    account_id: str | None
    sym: str | None
    amount: str | None
    limit: str | None
    order_id: int | None
    echo: str  # the attributes that its result repeats, as XML


@dataclass(slots=True)
class Refusal:
    """A child, or a whole document, that no request can be made of."""

    echo: str  # as in Request
    message: str


@dataclass(slots=True)
class Document:
    """What a document asks for: one entry for each result in its reply, in their order."""

    children: list[Request | Refusal]
    requests: list[Request]  # those of the children that the database has to answer


def parse(document: bytes) -> Document:
    """Read a document. Never raises for what a client sent: that becomes refusals, or a single one."""
    reader = _Reader()
    try:
        read_elements(document, reader.start, reader.end, reader.text.append)
    except DocumentRefused as refused:
        return Document([Refusal("", str(refused))], [])
    return Document(reader.children, [child for child in reader.children if type(child) is Request])


class _Reader:
    """What is known of a document while its elements are read."""

    def __init__(self) -> None:
        self.children: list[Request | Refusal] = []
        self.text: list[str] = []  # pieces of text since this was last cleared
        self._depth = 0  # how many elements are open
        self._root = ""
        self._account_id: str | None = None  # of <transactions>
        self._problem: str | None = None  # with <transactions> itself, or with the open <symbol>
        self._symbol: Mapping[str, str] | None = None  # attributes of the open <symbol>
        self._is_empty = False  # it has had no child
        self._granted: Mapping[str, str] | None = None  # attributes of the <account> that is open in it
        self._nested = ""  # the element that this <account> holds and should not

    def start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        if depth == 1:
            if self._root == "transactions":
                self.children.append(self._transaction(name, attributes))
            else:
                self._start_creation(name, attributes)
        elif depth == 0:
            self._start_root(name, attributes)
        elif self._granted is not None:
            self._nested = name
        elif depth == 2 and self._symbol is not None:
            self._start_in_symbol(name, attributes)

    def end(self, _name: str) -> None:
        depth = self._depth = self._depth - 1
        if len(self.children) > _MAX_CHILDREN:
            raise DocumentRefused(f"the document has more than {_MAX_CHILDREN} children: split it")
        if depth == 2 and self._granted is not None:
            self.children.append(self._grant())
            self._granted = None
        elif depth == 1 and self._symbol is not None:
            if self._is_empty:
                self.children.append(self._new_symbol())
            self._symbol = self._problem = None
        elif depth == 0 and self._problem and not self.children:
            raise DocumentRefused(self._problem)

    def _start_root(self, name: str, attributes: Mapping[str, str]) -> None:
        if name not in ("create", "transactions"):
            raise DocumentRefused(f"unknown root element {_tag(name)}: it must be <create> or <transactions>")
        self._root = name
        if name == "transactions":
            self._account_id = attributes.get("id")
            self._problem = ACCOUNT_ID.problem("the id of <transactions>", self._account_id)

    def _transaction(self, name: str, attributes: Mapping[str, str]) -> Request | Refusal:
        if self._problem:
            return _refuse(attributes, _TRANSACTION_ECHO.get(name, _ALL), self._problem)
        if name == "order":
            return _order(self._account_id, attributes)
        if name == "query":
            return _by_order_id(Action.QUERY_ORDER, self._account_id, attributes)
        if name == "cancel":
            return _by_order_id(Action.CANCEL_ORDER, self._account_id, attributes)
        return _unknown(name, attributes, "<transactions> may hold <order>, <query> and <cancel>")

    def _start_creation(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "account":
            self.children.append(_account(attributes))
        elif name == "symbol":
            self._symbol = attributes
            self._is_empty = True
            self._problem = SYM.problem("sym", attributes.get("sym"))
        else:
            self.children.append(_unknown(name, attributes, "<create> may hold <account> and <symbol>"))

    def _start_in_symbol(self, name: str, attributes: Mapping[str, str]) -> None:
        self._is_empty = False
        if name == "account":
            self._granted = attributes
            self._nested = ""
            self.text.clear()
        else:
            known = self._of_symbol(attributes)
            self.children.append(_unknown(name, known, "<symbol> may hold <account>"))

    def _of_symbol(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """Return what a result within a <symbol> repeats: its sym, and the id of the child."""
        pairs = (("sym", self._symbol), ("id", attributes))
        return {name: source[name] for name, source in pairs if source is not None and name in source}

    def _new_symbol(self) -> Request | Refusal:
        known = self._of_symbol({})
        if self._problem:
            return _refuse(known, _ALL, self._problem)
        sym = known["sym"]
        return Request(Action.CREATE_SYMBOL, None, sym, None, None, None, f' sym="{sym}"')

    def _grant(self) -> Request | Refusal:
        known = self._of_symbol(self._granted or {})
        sym, account_id = known.get("sym"), known.get("id")
        shares = "".join(self.text).strip(" \t\r\n")
        problem = self._problem or ACCOUNT_ID.problem("id", account_id)
        if not problem and self._nested:
            problem = f"unknown element {_tag(self._nested)}: <account> in <symbol> holds a number of shares"
        problem = problem or SHARES.problem("the number of shares", shares)
        if problem:
            return _refuse(known, _ALL, problem)
        echo = f' sym="{sym}" id="{account_id}"'
        return Request(Action.GRANT_SHARES, account_id, sym, shares, None, None, echo)


def _account(attributes: Mapping[str, str]) -> Request | Refusal:
    account_id, balance = attributes.get("id"), attributes.get("balance")
    problem = ACCOUNT_ID.problem("id", account_id) or BALANCE.problem("balance", balance)
    if problem:
        return _refuse(attributes, ("id",), problem)
    return Request(Action.CREATE_ACCOUNT, account_id, None, balance, None, None, f' id="{account_id}"')


def _order(account_id: str | None, attributes: Mapping[str, str]) -> Request | Refusal:
    sym, amount, limit = attributes.get("sym"), attributes.get("amount"), attributes.get("limit")
    echo = f' sym="{sym}" amount="{amount}" limit="{limit}"'
    if sym is not None and ORDER_ECHO.fullmatch(echo):
        return Request(Action.PLACE_ORDER, account_id, sym, amount, limit, None, echo)
    problem = SYM.problem("sym", sym) or AMOUNT.problem("amount", amount) or LIMIT.problem("limit", limit)
    assert problem is not None  # the pattern is made of the same parts
    return _refuse(attributes, _TRANSACTION_ECHO["order"], problem)


def _by_order_id(action: str, account_id: str | None, attributes: Mapping[str, str]) -> Request | Refusal:
    written = attributes.get("id", "")
    problem = ORDER_ID.problem("id", attributes.get("id"))
    if not problem:
        digits = written.lstrip("0") or "0"
        if len(digits) < 20 and int(digits) <= _MAX_ORDER_ID:
            return Request(action, account_id, None, None, None, int(digits), f' id="{written}"')
        problem = f"no such order: {shorten(digits)}"  # what the database says of an id that it can hold
    return _refuse(attributes, ("id",), problem)


# The attributes that an <error> repeats, in the order of docs/protocol.md.
_ALL = ("sym", "amount", "limit", "id")
_TRANSACTION_ECHO = {"order": ("sym", "amount", "limit"), "query": ("id",), "cancel": ("id",)}


def _refuse(attributes: Mapping[str, str], echoed: Sequence[str], message: str) -> Refusal:
    echo = [f' {name}="{escape(attributes[name])}"' for name in echoed if name in attributes]
    return Refusal("".join(echo), message)


def _unknown(name: str, attributes: Mapping[str, str], allowed: str) -> Refusal:
    return _refuse(attributes, _ALL, f"unknown element {_tag(name)}: {allowed}")


def _tag(name: str) -> str:
    """Write an element's name for a message, with its namespace if it is in one."""
    return f"<{'{' if '}' in name else ''}{shorten(name)}>"


_HEAD = '<?xml version="1.0" encoding="UTF-8"?><results>'
_TAIL = "</results>"


def format_reply(document: Document, results: Sequence[Sequence[ResultRow]]) -> bytes:
    """Return a document's reply: XML in UTF-8 on one line, without a newline at its end.

    `results` holds, for each of `document.requests` in their order, its rows as the database ordered them.
    Raises ValueError when a request has no row, or a row is of no known outcome: that must not look like a
    success.
    """
    pieces = [_HEAD]
    rows_of = iter(results)
    for child in document.children:
        if isinstance(child, Request):
            pieces.append(_result(child, next(rows_of, ())))
        else:
            pieces.append(f"<error{child.echo}>{escape(child.message)}</error>")
    pieces.append(_TAIL)
    return "".join(pieces).encode()


def error_reply(message: str) -> bytes:
    """Return the reply to a document of which nothing was carried out, or to what is no document."""
    return format_reply(Document([Refusal("", message)], []), ())


def _result(request: Request, rows: Sequence[ResultRow]) -> str:
    if not rows:
        raise ValueError(f"the database gave no answer to {request}")
    row = rows[0]
    outcome = row.outcome
    echo = request.echo
    if outcome == "opened":
        return f'<opened{echo} id="{row.order_id}"/>'
    if outcome == "refused":
        return f"<error{echo}>{escape(row.message or row.code or outcome)}</error>"
    if outcome == "created":
        return f"<created{echo}/>"
    parts = "".join([_part(row) for row in rows])
    if request.action == Action.QUERY_ORDER:
        return f"<status{echo}>{parts}</status>"
    return f"<canceled{echo}>{parts}</canceled>"


def _part(row: ResultRow) -> str:
    if row.outcome == "executed":
        return f'<executed shares="{row.shares}" price="{row.price}" time="{row.at}"/>'
    if row.outcome == "open":
        return f'<open shares="{row.shares}"/>'
    if row.outcome == "canceled":
        return f'<canceled shares="{row.shares}" time="{row.at}"/>'
    raise ValueError(f"the database answered with an unknown outcome: {row}")
