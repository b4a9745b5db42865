"""Documents of one child, and what comes of them: for the tests of reading and writing XML."""

from xml.etree import ElementTree

from pgbourse.wire.messages import Answered, Document, Refusal, Request, ResultRow, format_reply, parse

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def row(
    outcome: str,
    order_id: int | None = None,
    shares: str | None = None,
    price: str | None = None,
    at: int | None = None,
    message: str | None = None,
    sym: str | None = None,
    amount: str | None = None,
) -> ResultRow:
    code = None if message is None else "a_code"
    return ResultRow(1, outcome, order_id, shares, price, at, code, message, sym, amount)


def one(document: str | bytes) -> Request | Refusal:
    """Parse a document that asks for one result."""
    parsed = parse(document.encode() if isinstance(document, str) else document)
    (child,) = parsed.children
    assert not isinstance(child, Answered)
    assert parsed.requests == ([child] if isinstance(child, Request) else [])
    return child


def transaction(child: str) -> Request | Refusal:
    return one(f'<transactions id="7">{child}</transactions>')


def creation(child: str) -> Request | Refusal:
    return one(f"<create>{child}</create>")


def refused(child: Request | Refusal) -> str:
    """The error that a client gets for this child."""
    assert isinstance(child, Refusal)
    reply = format_reply(Document([child], []), ()).decode()
    ElementTree.fromstring(reply)
    assert reply.startswith(f"{DECLARATION}<results><error")
    return reply.removeprefix(f"{DECLARATION}<results>").removesuffix("</results>")


def refusal_of_all(document: str | bytes) -> str:
    """What is wrong with a document of which nothing can be carried out."""
    child = one(document)
    assert isinstance(child, Refusal)
    assert child.echo == ""
    refused(child)
    return child.message


def reply_to(document: str, *results: list[ResultRow]) -> str:
    """The results in a reply."""
    reply = format_reply(parse(document.encode()), results).decode()
    ElementTree.fromstring(reply)
    assert reply.startswith(f"{DECLARATION}<results>")
    assert reply.endswith("</results>")
    return reply.removeprefix(f"{DECLARATION}<results>").removesuffix("</results>")
