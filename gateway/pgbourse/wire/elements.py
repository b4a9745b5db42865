"""Read a document's elements as they begin and end, in any encoding and without anything dangerous.

The parser is Expat, from the standard library. lxml is about as fast, but keeps the name of every element and
attribute that it ever read for as long as the thread lives: a client that invents names fills the memory.
"""

import contextlib
from collections.abc import Callable
from encodings import aliases, normalize_encoding
from xml.parsers import expat

from pgbourse.errors import PgbourseError
from pgbourse.wire.fields import shorten

__all__ = ["DocumentRefused", "read_elements"]

_OnStart = Callable[[str, dict[str, str]], None]
_OnEnd = Callable[[str], None]
_OnText = Callable[[str], object]


class DocumentRefused(PgbourseError):
    """Nothing of a document can be carried out; the text says why."""


class _OtherEncoding(Exception):
    """The document declares this encoding, which Expat does not know by itself."""


_EXPAT_ENCODINGS = frozenset(("utf-8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1", "us-ascii"))

# The other encodings that a declaration may name. None but these is looked up: Python remembers every name
# that it didn't find.
_OTHER_ENCODINGS = frozenset((*aliases.aliases, *aliases.aliases.values(), "koi8_u"))


def read_elements(document: bytes, start: _OnStart, end: _OnEnd, text: _OnText) -> None:
    """Call `start(name, attributes)`, `end(name)` and `text(piece)` in the document's order.

    Comments and processing instructions are skipped, CDATA is text; a name in a namespace is
    `namespace}name`. What these functions raise ends the reading.

    Raises DocumentRefused when the document is empty, not well-formed, in an unknown encoding or has a
    DOCTYPE, which can be after some of it was read.
    """
    try:
        try:
            _read(document, None, start, end, text)
        except _OtherEncoding as other:  # nothing has been read yet but the XML declaration
            _read(_as_utf8(document, str(other)), "utf-8", start, end, text)
    except expat.ExpatError as error:
        if not document.strip():
            raise DocumentRefused("the document is empty") from None
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise DocumentRefused(f"not readable as XML: {expat.ErrorString(error.code)}, {place}") from None
    except UnicodeError as error:
        raise DocumentRefused(f"not readable as XML: {error}") from None


def _read(document: bytes, encoding: str | None, start: _OnStart, end: _OnEnd, text: _OnText) -> None:
    """Read a document in the encoding given or, with None, in the one that it declares itself."""
    parser = expat.ParserCreate(encoding, "}")
    parser.buffer_text = True
    if encoding is None:
        parser.XmlDeclHandler = _on_declaration
    parser.StartDoctypeDeclHandler = _on_doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.Parse(document, True)


def _on_doctype(*_: object) -> None:
    # Called before any declaration in it is read: no entity exists, none is expanded, nothing is fetched.
    raise DocumentRefused("a DOCTYPE is not allowed: leave it out")


def _on_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _EXPAT_ENCODINGS:
        raise _OtherEncoding(encoding)


def _as_utf8(document: bytes, encoding: str) -> bytes:
    name = normalize_encoding(encoding).lower()
    if name in _OTHER_ENCODINGS:
        with contextlib.suppress(LookupError):  # a codec that isn't one of text, like hex
            return document.decode(name).encode()
    raise DocumentRefused(f"the encoding '{shorten(encoding)}' is unknown: UTF-8 always works")
