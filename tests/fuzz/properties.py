"""What must hold of framing and of messages for any input at all: for the fuzzer, its corpus and Hypothesis.

Each function takes bytes, and raises unless all is clean: a result, or an error that says what is wrong.
"""

import itertools
import re
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch
from xml.etree import ElementTree

from pgbourse.schema import NotValid, validate
from pgbourse.serve.batch import literal_of
from pgbourse.serve.portions import Portion
from pgbourse.serve.turns import Peer, Turn
from pgbourse.wire import elements
from pgbourse.wire.framing import Frame, Framer
from pgbourse.wire.messages import Document, Refusal, Request, ResultRow, format_reply, parse, parse_all
from tests.unit.streams import cut, outcome

__all__ = ["PROPERTIES", "framing_is_clean", "messages_are_clean"]

LIMIT = 200  # bytes of a document: inputs of the fuzzer reach it
HEADER = 32  # bytes that a request's beginning may take before its document

_NUMBER = r"[+-]?[0-9]{1,18}(\.[0-9]{1,20})?"
_VALUES = {
    "account_id": re.compile("[0-9]{1,255}"),
    "sym": re.compile("[A-Za-z0-9]{1,255}"),
    "amount": re.compile(_NUMBER),
    "limit": re.compile(_NUMBER),
}
_TERMS = {
    "ref": re.compile(r"[A-Za-z0-9._:-]{1,64}"),
    "type": re.compile("limit|market"),
    "budget": re.compile(_NUMBER),
    "tif": re.compile("GTC|IOC|FOK"),
    "post": re.compile("true"),
    "stp": re.compile("taker|maker|both"),
    "of_ref": re.compile(r"[A-Za-z0-9._:-]{1,64}"),
    "if_open": re.compile(_NUMBER),
}
# Rows as the database may answer each request with, and the element that is then its result.
_OPENED = ResultRow(1, "opened", order_id=7)
_OPEN = ResultRow(1, "open", order_id=7, shares="1")
_CANCELED = ResultRow(1, "canceled", order_id=7, shares="1", at=1519348327)
_PARTS: list[ResultRow] = [
    ResultRow(1, "reduced", order_id=7, shares="0.5", at=1519348325),
    ResultRow(1, "executed", order_id=7, shares="1", price="2.5", at=1519348326),
]
_AT_ONCE: list[ResultRow] = [
    ResultRow(1, "filled", shares="2.50"),
    ResultRow(1, "canceled", shares="0"),
    ResultRow(1, "passed", order_id=5),
    ResultRow(1, "passed", order_id=6),
    ResultRow(1, "duplicate"),
]
_REDUCED: list[ResultRow] = [ResultRow(1, "reduced", order_id=7, shares="1"), _OPEN]
_LEVEL = ResultRow(1, "bid", price="2.50", shares="10", amount="3")
_ROWS: dict[str, tuple[str, list[ResultRow]]] = {
    "create_account": ("created", [ResultRow(1, "created")]),
    "create_symbol": ("created", [ResultRow(1, "created")]),
    "grant_shares": ("created", [ResultRow(1, "created")]),
    "place_order": ("opened", [_OPENED]),
    "query_order": ("status", [_OPEN, *_PARTS]),
    "cancel_order": ("canceled", [_CANCELED, *_PARTS]),
    "replace_order": (
        "opened",
        [_OPENED._replace(sym="S"), ResultRow(1, "replaced", order_id=6, shares="1.0"), *_AT_ONCE],
    ),
    "reduce_order": ("reduced", _REDUCED),
    "reduce_order_to": ("reduced", _REDUCED),
    "cancel_all": ("canceled", [ResultRow(1, "canceled_all"), _CANCELED]),
    "arm_switch": ("armed", [ResultRow(1, "armed", at=1519348328)]),
    "disarm_switch": ("disarmed", [ResultRow(1, "disarmed")]),
    "look_account": (
        "account",
        [
            ResultRow(1, "account", shares="10.00", amount="0", at=1519348328),
            ResultRow(1, "position", sym="S", shares="1", amount="0.50"),
        ],
    ),
    "list_orders": (
        "orders",
        [
            ResultRow(1, "orders"),
            ResultRow(1, "order", 7, "1", "2", 1519348328, sym="S", amount="-2", ref="r"),
            ResultRow(1, "more"),
        ],
    ),
    "look_book": (
        "book",
        [ResultRow(1, "book", order_id=0), ResultRow(1, "halted"), _LEVEL, _LEVEL._replace(outcome="ask")],
    ),
}
_REFUSED: list[ResultRow] = [ResultRow(1, "refused", code="unknown_order", message='a < b & "c"\0\r\n\ud800')]


def framing_is_clean(stream: bytes) -> None:
    """Framing never raises, holds little, and gives the same however the stream is cut."""
    whole = outcome([stream], LIMIT)
    frames, error = whole
    assert all(len(frame.document) <= LIMIT for frame in frames)
    assert error is None or error.isprintable(), error
    assert outcome(cut(stream, range(1, len(stream))), LIMIT) == whole
    for step in (2, 3, 5, 7):
        assert outcome(cut(stream, range(step, len(stream), step)), LIMIT) == whole
    _hold_little(stream, frames)


def _hold_little(stream: bytes, expected: list[Frame]) -> None:
    framer = Framer(LIMIT)
    frames: list[Frame] = []
    for byte in stream:
        frames += framer.feed(bytes([byte]))
        assert framer.buffered <= LIMIT + HEADER
        assert not (framer.mid_frame and framer.error)
    unfinished = framer.mid_frame
    late = framer.finish()
    assert frames + late == expected
    assert not framer.mid_frame
    # Only the end of the input may complete what fewer than eight bytes left undecided.
    assert framer.error is None or unfinished or not late
    before = framer.error
    assert framer.feed(b"<a/>") == framer.finish() == []
    assert framer.error is before


def messages_are_clean(data: bytes) -> None:
    """Any document gets a well-formed reply with one result for each child, whatever the database answers."""
    document = parse(data)
    with patch.object(elements, "LARGE", -1), patch.object(elements, "PIECE", 16):
        _assert_same(parse(data), document)
    # What is read together is understood as each alone, also where one seems to go on in the next.
    half = len(data) // 2
    parts = [data, data[:half], data[half:], b"<create/>", data]
    assert parse_all(parts) == [parse(part) for part in parts]
    expected = _results_due(data)
    if expected is not None and not _is_unread(document, data):
        assert len(document.children) == expected
    for request in document.requests:
        _assert_fit_for_sql(request)
    portion = Portion(Turn(cast("Peer", SimpleNamespace(certificate_name=None))))
    portion.begin(document.requests, 1)
    literal_of([portion]).decode("ascii")
    _assert_reply(document, dict.fromkeys(_ROWS, ("error", _REFUSED)))
    _assert_reply(document, _ROWS)
    if _is_valid(data) and not _is_unread(document, data):
        assert not any(isinstance(child, Refusal) for child in document.children)


def _assert_same(in_pieces: Document, document: Document) -> None:
    """A large document is read piece by piece. What is wrong with it may then be said in other words."""
    if in_pieces != document:
        assert in_pieces.requests == document.requests == []
        for refused in (in_pieces, document):
            (child,) = refused.children
            assert isinstance(child, Refusal)
            assert child.message.startswith(("not readable as XML", "unknown root element", "codes '"))


def _assert_fit_for_sql(request: Request) -> None:
    for name, pattern in _VALUES.items():
        value = getattr(request, name)
        assert value is None or pattern.fullmatch(value), (name, value)
    assert request.order_id is None or 0 <= request.order_id < 2**63
    if request.terms is not None:
        for name, pattern in _TERMS.items():
            value = getattr(request.terms, name)
            assert value is None or pattern.fullmatch(value), (name, value)


def _assert_reply(document: Document, rows: dict[str, tuple[str, list[ResultRow]]]) -> None:
    """A reply has the right result in each place, and is one that the schemas know."""
    reply = format_reply(document, [rows[request.action][1] for request in document.requests])
    assert b"\n" not in reply
    assert b"\r" not in reply
    validate(reply)
    root = ElementTree.fromstring(reply)
    assert root.tag == "results"
    assert len(root) == len(document.children)
    for child, result in itertools.zip_longest(document.children, root):
        if isinstance(child, Request):
            assert result.tag == rows[child.action][0]
        else:
            assert result.tag == ("error" if isinstance(child, Refusal) else "server")
        assert result.tag != "error" or result.text
        assert result.tag != "error" or ("code" in result.attrib) == document.codes


def _is_valid(data: bytes) -> bool:
    try:
        validate(data)
    except NotValid:
        return False
    return True


def _is_unread(document: Document, data: bytes) -> bool:
    """Say whether a document was refused for what the standard parser takes in another way.

    That is its encoding, or the name of a namespace.
    """
    if len(document.children) != 1 or not isinstance(refusal := document.children[0], Refusal):
        return False
    if "is not a valid URI" in refusal.message:
        return True
    return b"encoding" in data and refusal.message.startswith(("not readable as XML", "the encoding '"))


class _Counter:
    """Counts the results that a document is due: a target of ElementTree's parser."""

    def __init__(self) -> None:
        self.results = 0
        self.root: str | None = None
        self._path: list[str] = []
        self._in_symbol = 0
        self.has_doctype = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        match self._path:
            case [root]:
                self.root = root
                if root in ("create", "transactions") and attributes.get("codes", "true") not in (
                    "true",
                    "false",
                ):
                    self.root = "of no use"
                    return
                if root == "transactions" and not _VALUES["account_id"].fullmatch(attributes.get("id", "")):
                    self.root = "transactions, refused"
            case ["create", "symbol"]:
                self._in_symbol = 0
            case ["create", "symbol", _]:
                self._in_symbol += 1
            case [_, _]:
                self.results += 1

    def end(self, _name: str) -> None:
        if self._path == ["create", "symbol"]:
            self.results += self._in_symbol or 1
        self._path.pop()

    def doctype(self, *_: object) -> None:
        self.has_doctype = True

    def close(self) -> int:
        if self.has_doctype or self.root not in ("create", "transactions", "transactions, refused"):
            return 1
        return self.results or (1 if self.root == "transactions, refused" else 0)


def _results_due(data: bytes) -> int | None:
    """Count the results that a document is due, by another reader of XML; None where that can't read it."""
    parser = ElementTree.XMLParser(target=_Counter())
    try:
        parser.feed(data)
        results = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError, UnicodeError):
        return None
    assert isinstance(results, int)
    return results


PROPERTIES = {"framing": framing_is_clean, "messages": messages_are_clean}
