"""Mutants that are careless with clients: each breaks one of the promises of "Hostile and broken clients"."""

from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

from pgbourse.serve import threads, traffic
from pgbourse.serve.connection import ClientConnection, Wire
from pgbourse.serve.traffic import Traffic
from pgbourse.wire import elements, fields, messages, requests
from pgbourse.wire.elements import DocumentRefused, Element, read_tree
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
    _replace(elements, "refuse_doctype", lambda _: None)


def takes_documents_of_any_length() -> None:
    begin = Framer.__init__

    def begin_without_limit(self: Framer, _: int) -> None:
        begin(self, 1 << 60)

    _replace(Framer, "__init__", begin_without_limit)


def takes_any_number_of_children() -> None:
    _replace(messages, "MAX_CHILDREN", 1 << 60)


def repeats_names_in_full() -> None:
    for module in (messages, requests, fields, elements):
        _replace(module, "shorten", lambda value: value)


def walks_a_tree() -> None:
    """Go down the tree by a function that calls itself."""

    def read(document: bytes, max_children: int) -> tuple[Element, Iterator[Element]]:
        def visit(element: ElementTree.Element) -> None:
            for child in element:
                visit(child)

        try:
            root = ElementTree.fromstring(document)
        except ElementTree.ParseError as error:
            raise DocumentRefused(str(error)) from None
        visit(root)
        return read_tree(document, max_children)

    _replace(messages, "read_tree", read)


def never_changes_threads() -> None:
    """Let each worker be one thread, in which the parser keeps all names."""
    _replace(threads, "BYTES_A_THREAD", 1 << 60)


def reads_all_attributes() -> None:
    """Take all attributes of each element at once."""

    def read(document: bytes, max_children: int) -> tuple[Element, Iterator[Element]]:
        root, children = read_tree(document, max_children)
        return root, (child for child in children if child.items() or True)  # type: ignore[attr-defined]

    _replace(messages, "read_tree", read)


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
    never_changes_threads,
    reads_all_attributes,
)
