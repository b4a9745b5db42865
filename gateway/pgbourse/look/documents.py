"""XML that is typed into the shell: where a document ends, and what goes to the server. Pure."""

import re
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from pgbourse.errors import PgbourseError
from pgbourse.wire.framing import Framer

__all__ = ["DocumentError", "account_of", "cut", "outgoing"]

_MAX_BYTES = 64 * 1024 * 1024  # more than any server takes
_ROOT = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->)*<([A-Za-z][\w.-]*)", re.DOTALL)
_REQUESTS = ("order", "replace", "reduce", "query", "cancel", "orders", "book")
_CREATIONS = ("account", "symbol", "server")


class DocumentError(PgbourseError):
    """What is typed has no end in sight, or is nothing for the shell."""


def cut(text: str) -> list[str] | None:
    """Return the documents in a text that begins with <; None while the root of the last one is open.

    Raises DocumentError if that can't come to an end.
    """
    framer = Framer(_MAX_BYTES)
    frames = framer.feed(text.encode())
    if framer.error is not None:
        raise DocumentError(str(framer.error))
    return None if framer.mid_frame else [frame.document.decode() for frame in frames]


def outgoing(document: str, account_id: str) -> bytes:
    """Return what to send: the document as it is, or a request alone within a document of this account.

    Raises DocumentError for a <subscribe>, which would turn the connection into a feed.
    """
    found = _ROOT.match(document)
    name = found[1] if found else ""
    if name == "subscribe":
        raise DocumentError("a feed needs a connection of its own: tape SYM has the last trades")
    if not document.startswith(f"<{name}"):
        return document.encode()  # with a declaration, it is meant to be whole
    if name in _REQUESTS or re.fullmatch(r"<account\s*/>", document):
        return f'<transactions id={quoteattr(account_id)} codes="true">{document}</transactions>'.encode()
    if name in _CREATIONS:
        return f'<create codes="true">{document}</create>'.encode()
    return document.encode()


def account_of(document: bytes) -> str | None:
    """Return the account whose transactions a document has, if it says one."""
    try:
        return ElementTree.fromstring(document).get("id")
    except ElementTree.ParseError:
        return None
