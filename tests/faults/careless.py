"""Mutants that are careless with clients: each breaks one of the promises of "Hostile and broken clients"."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from lxml import etree

from pgbourse.serve import traffic
from pgbourse.serve.connection import ClientConnection, Wire
from pgbourse.serve.traffic import Traffic
from pgbourse.wire import elements, fields, messages
from pgbourse.wire.elements import DocumentRefused, read_elements
from pgbourse.wire.framing import Framer

__all__ = ["CARELESS"]

_kept: list[Wire] = []


def needs_more_for_each_connection() -> None:
    """Give every connection a buffer of 16 KiB."""
    begin, buffers = ClientConnection.__init__, {}

    def begin_with_buffer(self: ClientConnection, *arguments: Any) -> None:
        begin(self, *arguments)
        buffers[self] = bytearray(b"\1") * 16_384

    _replace(ClientConnection, "__init__", begin_with_buffer)


def holds_any_number_of_halves() -> None:
    traffic.UNFINISHED_BYTES = 1 << 60


def keeps_what_was_reset() -> None:
    """Forget to close a connection whose peer has reset it."""
    close = Traffic.close

    def close_others(self: Traffic, connection: ClientConnection) -> None:
        if connection.lost:
            _kept.append(connection.socket)
            self._watch(connection, 0)
        else:
            close(self, connection)

    _replace(Traffic, "close", close_others)


def reads_what_a_doctype_says() -> None:
    elements._on_doctype = lambda *_: None


def takes_documents_of_any_length() -> None:
    begin = Framer.__init__

    def begin_without_limit(self: Framer, _: int) -> None:
        begin(self, 1 << 60)

    _replace(Framer, "__init__", begin_without_limit)


def takes_any_number_of_children() -> None:
    messages._MAX_CHILDREN = 1 << 60


def repeats_names_in_full() -> None:
    for module in (messages, fields):
        _replace(module, "shorten", lambda value: value)


def walks_a_tree() -> None:
    """Read a document into a tree, and go down it by a function that calls itself."""

    def read(document: bytes, start: Any, end: Any, text: Any) -> None:
        def visit(element: ElementTree.Element) -> None:
            start(element.tag, element.attrib)
            text(element.text or "")
            for child in element:
                visit(child)
            end(element.tag)

        try:
            root = ElementTree.fromstring(document)
        except ElementTree.ParseError as error:
            raise DocumentRefused(str(error)) from None
        visit(root)

    _replace(messages, "read_elements", read)


def reads_with_lxml() -> None:
    """Use the parser that keeps all names for as long as its thread lives."""

    def read(document: bytes, start: Any, end: Any, text: Any) -> None:
        try:
            root = etree.fromstring(document, etree.XMLParser(huge_tree=True, resolve_entities=False))
        except etree.XMLSyntaxError as error:
            raise DocumentRefused(str(error)) from None
        for event, element in etree.iterwalk(root, events=("start", "end")):
            if event == "start":
                attributes = {str(name): str(value) for name, value in element.attrib.items()}
                start(str(element.tag), attributes)
                text(element.text or "")
            else:
                end(str(element.tag))

    _replace(messages, "read_elements", read)


def compares_each_attribute_with_all() -> None:
    """Look for attributes that are there twice, as one does who doesn't know that the parser did."""

    def read(document: bytes, start: Any, end: Any, text: Any) -> None:
        def begin(name: str, attributes: dict[str, str]) -> None:
            names = list(attributes)
            if any(names.count(attribute) > 1 for attribute in names):
                raise DocumentRefused("an attribute is there twice")
            start(name, attributes)

        read_elements(document, begin, end, text)

    _replace(messages, "read_elements", read)


def _replace(owner: object, name: str, broken: Any) -> None:
    setattr(owner, name, broken)


CARELESS: tuple[Callable[[], None], ...] = (
    needs_more_for_each_connection,
    holds_any_number_of_halves,
    keeps_what_was_reset,
    reads_what_a_doctype_says,
    takes_documents_of_any_length,
    takes_any_number_of_children,
    repeats_names_in_full,
    walks_a_tree,
    reads_with_lxml,
    compares_each_attribute_with_all,
)
