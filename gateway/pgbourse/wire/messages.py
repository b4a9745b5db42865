"""XML documents -> typed requests, as docs/protocol.md describes them; pgbourse.wire.replies is the way back.

No sockets and no SQL. Nothing is shared between documents, so any number of threads may read and write them.
"""

from collections.abc import Callable, Iterator, Sequence

from pgbourse.wire.elements import (
    DocumentRefused,
    Element,
    read_together,
    read_tree,
    too_many_children,
)
from pgbourse.wire.feed import FeedDocument, Subscription, read_subscribe, refuse_on_feed, refuse_subscribe
from pgbourse.wire.fields import ACCOUNT_ID, FLAG, shorten
from pgbourse.wire.replies import Reply, ResultRow, error_reply, format_reply
from pgbourse.wire.requests import (
    ANY,
    CREATION,
    GRANTS,
    IN_CREATE,
    IN_SYMBOL,
    IN_TRANSACTIONS,
    SYMBOL,
    THE_SHARES,
    Action,
    Answered,
    BeyondRequest,
    Child,
    Document,
    Refusal,
    Request,
    Terms,
    refuse,
    unknown,
)
from pgbourse.wire.terms import CHILDREN, SERVER

__all__ = [
    "MAX_CHILDREN",
    "Action",
    "Answered",
    "Document",
    "FeedDocument",
    "Refusal",
    "Reply",
    "Request",
    "ResultRow",
    "Subscription",
    "Terms",
    "error_reply",
    "format_reply",
    "parse",
    "parse_all",
    "refuse_on_feed",
]

# A child of four bytes may need 500 of memory, result included. More orders than this need 16 MB of XML.
MAX_CHILDREN = 250_000

_CHILDREN_A_PAUSE = 64  # they take 0.2 milliseconds

_is_account_id = ACCOUNT_ID.allowed.fullmatch


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
    if len(documents) == 1:
        return [parse(documents[0])]
    return [
        parse(document) if root is None else _parse_read(root)
        for document, root in zip(documents, read_together(documents), strict=True)
    ]


def _parse_read(root: Element) -> Document:
    try:
        return _understand(root, iter(root))
    except DocumentRefused as refused:
        return _refused(refused)


def _refused(refused: DocumentRefused, *, codes: bool = False) -> Document:
    """Return what comes of a document of which nothing can be carried out."""
    root = refused.root
    if root is not None and root.tag == "subscribe":
        return refuse_subscribe(root, str(refused))
    if root is not None and root.tag in ("transactions", "create"):
        codes = root.get("codes") == "true"
    return Document([Refusal("", str(refused), refused.code)], [], codes)


def _understand(root: Element, elements: Iterator[Element]) -> Document:
    name = root.tag
    if name not in ("transactions", "create"):
        if name == "subscribe":
            return read_subscribe(root, elements)
        raise DocumentRefused(
            f"unknown root element <{shorten(name)}>: it must be <create> or <transactions>"
        )
    codes = root.get("codes")
    if codes is not None and (problem := FLAG.problem("codes", codes)):
        raise DocumentRefused(problem, FLAG.code)
    try:
        children = _transactions(root.get("id"), elements) if name == "transactions" else _creations(elements)
        if len(children) > MAX_CHILDREN:
            raise too_many_children(MAX_CHILDREN)
    except DocumentRefused as refused:
        return _refused(refused, codes=codes == "true")
    requests = [child for child in children if type(child) is Request]
    is_plain = True
    if len(requests) < len(children):
        requests = [child for child in children if isinstance(child, Request)]
        is_plain = BeyondRequest not in map(type, requests)
    return Document(children, requests, codes == "true", is_plain)


def _transactions(account_id: str | None, elements: Iterator[Element]) -> list[Child]:
    if account_id is None or not _is_account_id(account_id):
        problem = ACCOUNT_ID.problem("the id of <transactions>", account_id)
        return _refused_transactions(problem or "", elements)
    children: list[Child] = []
    for child in elements:
        name = child.tag
        kind = CHILDREN.get(name)
        if kind is None:
            children.append(unknown(name, child.get, IN_TRANSACTIONS))
        else:
            children.append(kind.read(child, account_id))
    return children


def _refused_transactions(problem: str, elements: Iterator[Element]) -> list[Child]:
    children: list[Child] = []
    for child in elements:
        kind = CHILDREN.get(child.tag)
        if kind is None:
            children.append(refuse(child.get, ANY, problem, ACCOUNT_ID.code))
        else:
            children.append(kind.refuse(child, problem, ACCOUNT_ID.code))
    if not children:
        raise DocumentRefused(problem, ACCOUNT_ID.code)
    return children


def _creations(elements: Iterator[Element]) -> list[Child]:
    children: list[Child] = []
    for child in elements:
        name = child.tag
        kind = CREATION.get(name)
        if kind is not None:
            children.append(kind.read(child.get))
        elif name == "server":
            children.append(SERVER.read())
        elif name != "symbol":
            children.append(unknown(name, child.get, IN_CREATE))
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
            yield unknown(child.tag, known.get, IN_SYMBOL)
        elif len(child):
            what = (
                f"unknown element <{shorten(child[0].tag)}>: <account> in <symbol> holds a number of shares"
            )
            yield kind.refuse(known.get, what, "unknown_element")
        else:
            known[THE_SHARES] = (child.text or "").strip(" \t\r\n")
            yield kind.read(known.get)
