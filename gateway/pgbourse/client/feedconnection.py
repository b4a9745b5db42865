"""A connection that a server feeds: subscriptions out, documents in, and whether the server still lives."""

import selectors
import ssl
import time
from collections.abc import Iterable

from pgbourse.client.connection import ClientError, ConnectionLost, TimedOut, connect_socket
from pgbourse.client.feedreader import FeedLines
from pgbourse.wire.framing import Framing, wrap_reply

__all__ = ["FeedConnection"]

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_READ_BYTES = 64 * 1024
_MAX_LINE_BYTES = 1 << 30  # a snapshot has a whole book


class FeedConnection:
    """One connection, used by one thread at a time. It reads when it is asked to, and never ahead."""

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        tls: ssl.SSLContext | None,
        subscriptions: Iterable[bytes] = (),
    ) -> None:
        """Connect and send subscriptions. Raises ClientError if that fails."""
        self._timeout = timeout
        try:
            self._socket = connect_socket(host, port, timeout, tls)
        except OSError as error:
            raise ClientError(f"can't reach a server at {host}:{port}") from error
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, _READ)
        self._lines = FeedLines(_MAX_LINE_BYTES)
        self._heard_at = time.monotonic()
        try:
            for document in subscriptions:
                self.send(document)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._selector.close()
        self._socket.close()

    def send(self, document: bytes) -> None:
        """Send a subscription. What arrives meanwhile is read and kept: the server never waits for us.

        Raises ConnectionLost, TimedOut or ReplyError.
        """
        unsent = memoryview(wrap_reply(document, Framing.LENGTH_LINE))
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                if self._wait(_READ | _WRITE, None) & _READ:
                    self._read()
            except OSError as error:
                raise ConnectionLost("the connection to the server was lost") from error

    def next(self) -> bytes | None:
        """Return the next document that has arrived whole, or None. Raises ReplyError if it is too long."""
        return self._lines.next()

    def read(self, deadline: float | None) -> bool:
        """Wait for something to arrive, until the deadline by time.monotonic; return whether it did.

        Raises ConnectionLost where the connection has ended, TimedOut where the server says nothing.
        """
        if not self._wait(_READ, deadline):
            return False
        self._read()
        return True

    def _wait(self, interest: int, deadline: float | None) -> int:
        """Wait until the socket is ready for one of these events, and return which; 0 at the deadline."""
        self._selector.modify(self._socket, interest)
        silent_at = self._heard_at + self._timeout
        until = silent_at if deadline is None else min(deadline, silent_at)
        if events := self._selector.select(max(0.0, until - time.monotonic())):
            return events[0][1]
        if until == silent_at:
            raise TimedOut(f"the server said nothing for {self._timeout:g} seconds")
        return 0

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise ConnectionLost("the connection to the server was lost") from error
        if not data:
            raise ConnectionLost("the server closed the connection")
        self._heard_at = time.monotonic()
        self._lines.feed(data)
