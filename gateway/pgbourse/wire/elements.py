"""Read a document into a tree of elements, in any encoding and without anything dangerous.

The parser is lxml's. It never sees what could harm it: it gets UTF-8 without a DOCTYPE, and no more tags than
a tree may have. It keeps every name that it meets as long as its thread lives, so whoever reads what clients
send must change threads now and then (see pgbourse.serve.dispatch).
"""

import contextlib
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from encodings import aliases, normalize_encoding
from typing import Any, Protocol

from lxml import etree

from pgbourse.errors import PgbourseError, one_line
from pgbourse.wire.fields import shorten

__all__ = [
    "DocumentRefused",
    "Element",
    "read_together",
    "read_tree",
    "refuse_doctype",
    "too_many_children",
]


class DocumentRefused(PgbourseError):
    """Nothing of the document can be carried out; the text says why, and the code says it to programs."""

    def __init__(self, message: str, code: str = "malformed", root: "Element | None" = None) -> None:
        """`root` is the root element, without its children, where it could be read nevertheless."""
        super().__init__(message)
        self.code = code
        self.root = root


class Element(Protocol):
    """What we use of an element.

    lxml offers more. Listing the values takes time in proportion to the square of their number: look at the
    names first.
    """

    @property
    def tag(self) -> str:
        """The name: `{namespace}name` in a namespace."""

    @property
    def text(self) -> str | None:
        """The text before the first child."""

    def get(self, name: str) -> str | None: ...
    def keys(self) -> list[str]: ...
    def values(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator["Element"]: ...
    def __getitem__(self, place: int) -> "Element": ...


# It expands nothing, fetches nothing, and drops everything but elements and text.
_OPTIONS: dict[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
    "collect_ids": False,
}


class _Parser(threading.local):
    """The parser of this thread."""

    def __init__(self) -> None:
        self.parser = etree.XMLParser(**_OPTIONS)


_here = _Parser()

# Larger documents, in bytes, are read in pieces. That takes a tenth more time, but a whole tree takes 27
# times the bytes of its document.
LARGE = 500_000
PIECE = 32_768

# Documents up to this many bytes are read together: lxml releases Python's global lock at each call, and
# getting it back from another thread costs more than reading a small document.
SMALL = 4_096
# Text that stands behind each of the documents that are read together. No document can hold it, for nobody is
# told what it is.
_MARK = secrets.token_hex(16)
_BETWEEN = _MARK.encode()

# Markup that holds no tags, although it may look like it.
_NO_TAGS = re.compile(rb"(?s:<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z))")
# What may precede a DOCTYPE. Possessive, so that no byte is looked at twice.
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?+(?:[ \t\r\n]++|<\?(?s:.*?)\?>|<!--(?s:.*?)-->)*+")
# A DOCTYPE, of which nothing is read: it only has to be stepped over. Also possessive.
_DOCTYPE = re.compile(
    rb"""<!DOCTYPE(?:[^\["'>]|"[^"]*+"|'[^']*+')*+"""
    rb"""(?:\[(?:[^]"'<]|<(?!!--|\?)|<!--(?s:.*?)-->|<\?(?s:.*?)\?>|"[^"]*+"|'[^']*+')*+\][ \t\r\n]*+)?+>"""
)
# What looks like the start tag of a root element, also possessive: what it is, the parser tells.
_START_TAG = re.compile(rb"(?P<start><[A-Za-z_](?:[^<>\"']|\"[^\"]*+\"|'[^']*+')*+)>")
# How nearly all documents in UTF-8 begin.
_UTF_8 = re.compile(rb"<(?:[A-Za-z]|\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:UTF-8)[\"'])?\?>)")
_USUAL_DECLARATION = re.compile(
    rb"<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:UTF-8)[\"'])?\?>[ \t\r\n]*+"
)
_DECLARED_ENCODING = re.compile(
    rb"(?:\xef\xbb\xbf)?+<\?xml[ \t\r\n][^>]*?[ \t\r\n]encoding[ \t\r\n]*+=[ \t\r\n]*+[\"']([^\"'>]*+)[\"']"
)
# How UTF-16 begins, with a byte order mark and without.
_UTF_16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}

# The encodings that a declaration may name. No others are looked up, because Python remembers every name that
# it did not find.
_ENCODINGS = frozenset((*aliases.aliases, *aliases.aliases.values(), "koi8_u"))


def read_tree(document: bytes, max_children: int) -> tuple[Element, Iterator[Element]]:
    """Return a document's root element and its children, without comments and processing instructions.

    A child lasts until the next one is taken: a large document is never in memory as a whole.

    Raises DocumentRefused, possibly while the children are read, if the document is empty, not well-formed,
    nested too deeply, in an unknown encoding, has a DOCTYPE, or has more tags than that many children can
    have.
    """
    text = _as_utf8(document)
    if b"\0" in text[-3:]:  # a length may count the NUL that ends a string in C, and a newline behind it
        text = text.rstrip(b"\0 \t\r\n")
    if not text.strip():
        raise DocumentRefused("the document is empty")
    try:
        if b"<!DOCTYPE" in text:
            refuse_doctype(text)
        if len(text) > LARGE:
            _refuse_large_elements(text, max_children)
    except DocumentRefused as refused:
        refused.root = _read_root(text)
        raise
    if len(text) > LARGE:
        elements = _read_pieces(text)
        return next(elements), elements
    try:
        root = etree.fromstring(text, _here.parser)
    except etree.XMLSyntaxError as error:
        raise _not_readable(error, text) from None
    return root, iter(root)


def read_together(documents: Sequence[bytes]) -> list[Element | None]:
    """Read small plain documents in one call and return their root elements, None for each to be read alone.

    They are read as the children of one root, with a mark behind each. If that root has as many children, and
    behind each of them comes nothing but a mark, then each child is one document: none reaches into another.
    A document that is not well-formed makes all be read alone, which tells which one it is.
    """
    found: list[Element | None] = [None] * len(documents)
    texts: list[bytes] = []
    places: list[int] = []
    size = 0
    for place, document in enumerate(documents):
        text = _plain(document) if len(document) <= SMALL and size < LARGE else None
        if text is not None:
            texts.append(text)
            places.append(place)
            size += len(text)
    if len(texts) < 2:
        return found
    try:
        joined = b"".join((b"<r>", _BETWEEN.join(texts), _BETWEEN, b"</r>"))
        root = etree.fromstring(joined, _here.parser)
    except etree.XMLSyntaxError:
        return found
    roots = list(root)
    if [element.tail for element in roots] != [_MARK] * len(texts):
        return found
    for place, element in zip(places, roots, strict=True):
        found[place] = element
    return found


def _plain(document: bytes) -> bytes | None:
    """Return a document without its declaration; None unless it is UTF-8 from its first tag to its last."""
    if declaration := _USUAL_DECLARATION.match(document):
        document = document[declaration.end() :]
    document = document.rstrip(b" \t\r\n")
    if not (document.startswith(b"<") and document.endswith(b">")) or b"<!" in document or b"<?" in document:
        return None
    return document


def _read_pieces(text: bytes) -> Iterator[Any]:
    """Read a document and give its root, then each child of the root when it has ended.

    After each piece everything that has ended is taken off the tree, except the last element at each level:
    it may be unfinished, and the parser still adds to the text behind it. A <symbol> of <create> may be as
    large as the document, so it is given in parts, each like a <symbol> of its own.
    """
    parser = etree.XMLPullParser(("end",), **_OPTIONS)
    root: Any = None
    child: Any = None  # the last one that was given
    try:
        for start in range(0, len(text) + PIECE, PIECE):
            if start < len(text):
                parser.feed(text[start : start + PIECE])
            else:
                parser.close()
            for _, element in parser.read_events():
                if root is None:
                    root = element.getroottree().getroot()
                    yield root
                if element.getparent() is root:
                    child = element
                    yield child
            if root is not None and len(root):
                del root[:-1]
                if root[-1] is not child:
                    yield from _take_off_what_ended(root[-1])
    except etree.XMLSyntaxError as error:
        raise _not_readable(error, text) from None


def _take_off_what_ended(unfinished: Any) -> Iterator[Any]:
    """Take what has ended off an unfinished child of the root, and give what is still wanted of it."""
    if unfinished.tag == "symbol" and unfinished.getparent().tag == "create" and len(unfinished) > 1:
        sym = unfinished.get("sym")
        part = etree.Element("symbol", {} if sym is None else {"sym": sym})
        part.extend(unfinished[:-1])
        yield part
    while len(unfinished):
        del unfinished[1:-1]  # the first one may be named in an error
        unfinished = unfinished[-1]


def too_many_children(most: int) -> DocumentRefused:
    """Return the error for a document with too many children."""
    return DocumentRefused(f"the document has more than {most} children: split it", "too_large")


def _refuse_large_elements(text: bytes, max_children: int) -> None:
    """Raise DocumentRefused if a child of the root can take far more memory than all orders of a document.

    An element takes 130 bytes of it, as many for the text behind it, and 300 for each attribute.
    """
    text = _NO_TAGS.sub(b"", text)
    tags = text.count(b"<")
    if tags > 2 * max_children + 1_000:  # a child has two; the rest is for the root, symbols, comments
        raise too_many_children(max_children)
    if text.count(b"=") > 8 * tags + 10_000:
        raise DocumentRefused(
            "the document has more than 8 attributes for each tag: leave out the unknown ones", "too_large"
        )


def refuse_doctype(text: bytes) -> None:
    """Raise DocumentRefused if the document, in UTF-8, has a DOCTYPE, without reading what it declares."""
    prolog = _PROLOG.match(text)
    if prolog is not None and text.startswith(b"<!DOCTYPE", prolog.end()):
        raise DocumentRefused("a DOCTYPE is not allowed: leave it out")


def _as_utf8(document: bytes) -> bytes:
    """Convert a document from the encoding that its beginning or its declaration names."""
    if _UTF_8.match(document):
        return document
    encoding = _UTF_16.get(document[:2])
    if encoding is None:
        declared = _DECLARED_ENCODING.match(document)
        if declared is None:
            return document
        encoding = declared.group(1).decode("ascii", "replace")
        if encoding.lower() == "utf-8":
            return document
    name = normalize_encoding(encoding).lower()
    try:
        if name in _ENCODINGS:
            with contextlib.suppress(LookupError):  # a codec that isn't one of text, like hex
                return document.decode(name).encode()
    except UnicodeError as error:
        raise DocumentRefused(f"not readable as XML: {error}") from None
    raise DocumentRefused(f"the encoding '{shorten(encoding)}' is unknown: UTF-8 always works")


def _not_readable(error: etree.XMLSyntaxError, text: bytes) -> DocumentRefused:
    """Return what is wrong in a document and where, in one short line."""
    line, column = error.position
    what = one_line(error.msg)
    for end in (f", line {line}, column {column}", ", use XML_PARSE_HUGE option"):
        what = what.removesuffix(end).rstrip()
    what = re.sub(r"\S{41,}", lambda long: shorten(long.group()), what)  # names invented by clients
    message = f"not readable as XML: {what}, line {line}, column {column}"
    return DocumentRefused(message, root=_read_root(text))


def _read_root(text: bytes) -> Any:
    """Return the root element of a document that can't be read, without its children; None if that's it."""
    start = 0
    for before in (_PROLOG, _DOCTYPE, _PROLOG):
        if found := before.match(text, start):
            start = found.end()
    tag = _START_TAG.match(text, start)
    if tag is None:
        return None
    try:
        return etree.fromstring(tag.group("start").removesuffix(b"/") + b"/>", _here.parser)
    except etree.XMLSyntaxError:
        return None
