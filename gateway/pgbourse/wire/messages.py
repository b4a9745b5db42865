"""XML documents -> typed requests, and results -> XML replies, as docs/protocol.md describes them.

No sockets and no SQL. Nothing is shared between documents, so any number of threads may read and write them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pgbourse.wire.elements import (
    DocumentRefused,
    Element,
    read_together,
    read_tree,
    too_many_children,
)
from pgbourse.wire.fields import ACCOUNT_ID, escape, shorten
from pgbourse.wire.requests import (
    CREATION,
    GRANTS,
    SYMBOL,
    THE_SHARES,
    TRANSACTION,
    Action,
    Get,
    Refusal,
    Request,
    refuse,
)

__all__ = [
    "MAX_CHILDREN",
    "Action",
    "Document",
    "Refusal",
    "Reply",
    "Request",
    "ResultRow",
    "error_reply",
    "format_reply",
    "parse",
    "parse_all",
]

# A child of four bytes may need 500 of memory, result included. More orders than this need 16 MB of XML.
MAX_CHILDREN = 250_000

_CHILDREN_A_PAUSE = 64  # they take 0.2 milliseconds


class ResultRow(NamedTuple):
    """A row of exchange.process_batch's result: one part of the answer to one request.

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
class Document:
    """What a document asks for: one entry for each result in its reply, in order."""

    children: list[Request | Refusal]
    requests: list[Request]  # the children that the database has to answer


def parse(document: bytes, pause: Callable[[], None] | None = None) -> Document:
    """Read a document. Never raises because of a client's input, which becomes one refusal or several.

    `pause` is called now and then, so that reading a large document need not hold up other threads.
    """
    try:
        root, elements = read_tree(document, MAX_CHILDREN)
        return _understand(root, elements if pause is None else _paced(elements, pause))
    except DocumentRefused as refused:
        return _refused(refused)


def _paced(elements: Iterator[Element], pause: Callable[[], None]) -> Iterator[Element]:
    for place, element in enumerate(elements):
        if not place % _CHILDREN_A_PAUSE:
            pause()
        yield element


def parse_all(documents: Sequence[bytes]) -> list[Document]:
    """Read documents as `parse` does each of them, many at a time where that gives the same."""
    return [
        parse(document) if root is None else _parse_read(root)
        for document, root in zip(documents, read_together(documents), strict=True)
    ]


def _parse_read(root: Element) -> Document:
    try:
        return _understand(root, iter(root))
    except DocumentRefused as refused:
        return _refused(refused)


def _refused(refused: DocumentRefused) -> Document:
    return Document([Refusal("", str(refused))], [])


def _understand(root: Element, elements: Iterator[Element]) -> Document:
    name = root.tag
    if name == "transactions":
        children = _transactions(root.get("id"), elements)
    elif name == "create":
        children = _creations(elements)
    else:
        raise DocumentRefused(
            f"unknown root element <{shorten(name)}>: it must be <create> or <transactions>"
        )
    if len(children) > MAX_CHILDREN:
        raise too_many_children(MAX_CHILDREN)
    return Document(children, [child for child in children if type(child) is Request])


def _transactions(account_id: str | None, elements: Iterator[Element]) -> list[Request | Refusal]:
    problem = ACCOUNT_ID.problem("the id of <transactions>", account_id)
    children: list[Request | Refusal] = []
    for child in elements:
        name = child.tag
        kind = TRANSACTION.get(name)
        if problem:
            children.append(refuse(child.get, kind.repeated if kind else _KNOWN, problem))
        elif kind is None:
            children.append(_unknown(name, child.get, _IN_TRANSACTIONS))
        else:
            children.append(kind.read(child.get, account_id))
    if problem and not children:
        raise DocumentRefused(problem)
    return children


def _creations(elements: Iterator[Element]) -> list[Request | Refusal]:
    children: list[Request | Refusal] = []
    for child in elements:
        name = child.tag
        kind = CREATION.get(name)
        if kind is not None:
            children.append(kind.read(child.get))
        elif name != "symbol":
            children.append(_unknown(name, child.get, _IN_CREATE))
        elif len(child):
            children.extend(_grants(child))
        else:
            children.append(SYMBOL.read(child.get))
    return children


def _grants(symbol: Element) -> Iterator[Request | Refusal]:
    """Read the children of a <symbol>: each one's result repeats the sym, and its own id."""
    for child in symbol:
        known = {"sym": symbol.get("sym"), "id": child.get("id")}
        kind = GRANTS.get(child.tag)
        if kind is None:
            yield _unknown(child.tag, known.get, _IN_SYMBOL)
        elif len(child):
            what = (
                f"unknown element <{shorten(child[0].tag)}>: <account> in <symbol> holds a number of shares"
            )
            yield kind.refuse(known.get, what)
        else:
            known[THE_SHARES] = (child.text or "").strip(" \t\r\n")
            yield kind.read(known.get)


def _may_hold(name: str, allowed: Iterable[str]) -> str:
    *most, last = [f"<{child}>" for child in allowed]
    return f"<{name}> may hold {', '.join(most) + ' and ' if most else ''}{last}"


_IN_TRANSACTIONS = _may_hold("transactions", TRANSACTION)
_IN_CREATE = _may_hold("create", (*CREATION, "symbol"))
_IN_SYMBOL = _may_hold("symbol", GRANTS)

_KNOWN = ("sym", "amount", "limit", "id")  # what the <error> of an unknown element repeats


def _unknown(name: str, get: Get, allowed: str) -> Refusal:
    return refuse(get, _KNOWN, f"unknown element <{shorten(name)}>: {allowed}")


_HEAD = '<?xml version="1.0" encoding="UTF-8"?><results>'
_TAIL = "</results>"


class Reply:
    """A document's reply, written as its requests are answered: XML in UTF-8 on one line, without a newline.

    Both methods raise ValueError if a request has no row, or a row has an unknown outcome: that must not look
    like success.
    """

    __slots__ = ("_children", "_pieces")

    def __init__(self, document: Document) -> None:
        self._children = iter(document.children)
        self._pieces = [_HEAD]

    def add(self, results: Sequence[Sequence[ResultRow]]) -> None:
        """Write the results of the next requests: for each of them its rows, in the database's order."""
        pieces: list[str] = []
        for rows in results:
            for child in self._children:
                if type(child) is Request:
                    pieces.append(_result(child, rows))
                    break
                pieces.append(_refused_child(child))
        self._pieces.append("".join(pieces))

    def end(self) -> bytes:
        """Write what is left, which the database had no part in, and return the whole reply."""
        for child in self._children:
            self._pieces.append(_refused_child(child))
        self._pieces.append(_TAIL)
        return "".join(self._pieces).encode()


def format_reply(document: Document, results: Sequence[Sequence[ResultRow]]) -> bytes:
    """Return a document's whole reply, given the results of all its requests as `Reply` takes them."""
    pieces = [_HEAD]
    rows_of = iter(results)
    for child in document.children:
        if type(child) is Request:
            pieces.append(_result(child, next(rows_of, ())))
        else:
            pieces.append(_refused_child(child))
    pieces.append(_TAIL)
    return "".join(pieces).encode()


def error_reply(message: str) -> bytes:
    """Return the reply to a document of which nothing was carried out, or to input that is not a document."""
    return format_reply(Document([Refusal("", message)], []), ())


def _refused_child(child: Request | Refusal) -> str:
    if isinstance(child, Request):
        raise ValueError(f"the database gave no answer to {child}")
    return f"<error{child.echo}>{escape(child.message)}</error>"


def _result(request: Request, rows: Sequence[ResultRow]) -> str:
    if not rows:
        raise ValueError(f"the database gave no answer to {request}")
    row = rows[0]
    outcome = row.outcome
    echo = request.echo
    if outcome == "opened":
        return f'<opened{echo} id="{row.order_id}"/>'
    if outcome in ("refused", "failed"):
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
