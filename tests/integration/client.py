"""A client for the tests: it says what it is told byte for byte, and knows what a reply is."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from lxml import etree

from pgbourse.schema import validate_element
from pgbourse.wire.framing import Framer, Framing, wrap_reply

__all__ = ["WireClient", "length_line", "server_that", "wait_until"]

_GUARD = 60.0  # seconds after which a test that gets no answer fails instead of hanging


def length_line(document: bytes) -> bytes:
    return wrap_reply(document, Framing.LENGTH_LINE)


def wait_until(condition: Callable[[], object], what: str, seconds: float | None = None) -> None:
    """Return once the condition holds; fail if it doesn't within so many seconds, or never does."""
    limit = _GUARD if seconds is None else seconds
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {limit:g} s: waited until {what}"
        time.sleep(0.005)


@contextmanager
def server_that(answers: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """Another server than ours: it takes one document, and does something with the connection."""

    def run() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            answers(client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()
        thread.join()


class WireClient:
    """One connection to a server."""

    def __init__(self, address: tuple[str, int], receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_GUARD)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._framer = Framer(1 << 30)
        self._replies: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *documents: bytes) -> None:
        """Send documents with length lines, in one piece."""
        self.send_raw(b"".join(map(length_line, documents)))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reply(self) -> etree._Element:
        """Wait for the next reply. Whatever it is, the schemas of the protocol must know it."""
        reply = etree.fromstring(self.reply_bytes())
        validate_element(reply)
        return reply

    def reply_bytes(self) -> bytes:
        """Wait for the next reply and return it as it came."""
        while not self._replies:
            data = self.socket.recv(65536)
            assert data, "the server closed the connection without a reply"
            self._replies += [frame.document for frame in self._framer.feed(data)]
        return self._replies.pop(0)

    def ask(self, document: bytes) -> etree._Element:
        self.send(document)
        return self.reply()

    def ask_bytes(self, document: bytes) -> bytes:
        self.send(document)
        return self.reply_bytes()

    def rest(self) -> bytes:
        """Return everything that comes until the server closes; what `reply` has taken is not part of it."""
        pieces = []
        while data := self.socket.recv(65536):
            pieces.append(data)
        return b"".join(pieces)

    def is_closed(self) -> bool:
        """Wait until the server closes the connection, and say whether it did so without another word."""
        try:
            return not self._replies and not self.rest()
        except ConnectionResetError:
            return True
