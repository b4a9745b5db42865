"""A connection to a server: documents out, replies in, and which documents have no reply yet."""

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pgbourse.client.replyerror import ReplyError
from pgbourse.errors import PgbourseError
from pgbourse.wire.framing import Framer, Framing, wrap_reply

if TYPE_CHECKING:
    import ssl

    from pgbourse.tls import TlsSocket

__all__ = ["ClientError", "Connection", "ConnectionLost", "TimedOut", "connect_socket"]

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_READ_BYTES = 64 * 1024
_MAX_REPLY_BYTES = 1 << 30  # an order can have very many fills
_UNKNOWN = "whether the request was carried out is unknown"


class ClientError(PgbourseError):
    """The server can't be reached, or there is no reply to wait for."""


class ConnectionLost(ClientError):
    """No reply came: requests without an answer may or may not have been carried out."""


class TimedOut(ConnectionLost):
    """The server took too long."""


class Connection:
    """One connection, used by one thread at a time.

    `unanswered` are the documents whose replies have not been taken, oldest first, and `replies` those
    replies to them that have arrived, so they are the replies to the first of these documents. `end` says why
    nothing more will be received, once that is so.
    """

    def __init__(self, host: str, port: int, timeout: float | None, tls: "ssl.SSLContext | None") -> None:
        """Connect. Raises ClientError if the server can't be reached."""
        self._timeout = timeout
        try:
            self._socket = connect_socket(host, port, timeout, tls)
        except OSError as error:
            raise ClientError(_unreached(f"a server at {host}:{port}", error, tls)) from error
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, _READ)
        self._framer = Framer(_MAX_REPLY_BYTES)
        self.unanswered: deque[bytes] = deque()
        self.replies: deque[bytes] = deque()
        self.end: ClientError | ReplyError | None = None

    def close(self) -> None:
        """Close the connection. What was sent may still be carried out; its replies are lost."""
        self.end = self.end or ClientError("this client is closed")
        self._selector.close()
        self._socket.close()

    def send(self, document: bytes) -> None:
        """Send a document.

        Replies that arrive meanwhile are read and kept, so that the server never waits for us.

        Raises TimedOut, or the error that has ended the connection before.
        """
        if self.end is not None:
            raise self.end
        self.unanswered.append(document)
        self._transmit(document)

    def receive(self) -> bytes:
        """Wait for the reply to the earliest document that has none yet, and return it.

        Raises ConnectionLost, TimedOut or ReplyError if none comes, ClientError if nothing has been sent.
        """
        if not self.unanswered:
            raise self.end or ClientError("there is no reply to wait for: nothing has been sent")
        self._await_replies(1)
        self.unanswered.popleft()
        return self.replies.popleft()

    def ask_between(self, document: bytes) -> bytes:
        """Send a document and return its reply, before those that have not been taken.

        Raises what `send` and `receive` raise.
        """
        place = len(self.unanswered)
        self.send(document)
        try:
            self._await_replies(place + 1)
        finally:
            del self.unanswered[place]
        reply = self.replies[place]
        del self.replies[place]
        return reply

    def send_again(self, documents: Iterable[bytes], replies: Iterable[bytes]) -> list[bytes]:
        """Take over what another connection has sent: send what has no reply, and return all replies.

        Raises what `receive` raises; all of it is then still unanswered, and what has arrived is kept.
        """
        self.unanswered.extend(documents)
        self.replies.extend(replies)
        for document in list(self.unanswered)[len(self.replies) :]:
            self._transmit(document)
        self._await_replies(len(self.unanswered))
        all_replies = list(self.replies)
        self.unanswered.clear()
        self.replies.clear()
        return all_replies

    def _await_replies(self, number: int) -> None:
        """Wait until there are so many replies."""
        while len(self.replies) < number:
            before, deadline = len(self.replies), self._deadline()
            while len(self.replies) == before:
                if self.end is not None:
                    raise self.end
                self._wait(_READ, deadline)
                self._read()

    def _transmit(self, document: bytes) -> None:
        unsent = memoryview(wrap_reply(document, Framing.LENGTH_LINE))
        deadline = self._deadline()
        while unsent and self.end is None:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                if self._wait(_READ | _WRITE, deadline) & _READ:
                    self._read()
            except OSError:
                break  # the server has closed: its last reply may say why

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _wait(self, interest: int, deadline: float | None) -> int:
        """Wait until the socket is ready for one of these events, and return which."""
        self._selector.modify(self._socket, interest)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        events = self._selector.select(left)
        if not events:
            self.end = TimedOut(f"no reply within {self._timeout:g} seconds: {_UNKNOWN}")
            self.close()
            raise self.end
        return events[0][1]

    def _read(self) -> None:
        """Read what has arrived: replies, or the end."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.end = ConnectionLost(f"the connection was lost without a reply: {_UNKNOWN}")
            self.end.__cause__ = error
            return
        frames = self._framer.feed(data) if data else self._framer.finish()
        self.replies.extend(frame.document for frame in frames)
        if self._framer.error is not None:
            self.end = ReplyError("what the server sent is not a reply")
            self.end.__cause__ = self._framer.error
        elif not data:
            self.end = ConnectionLost(f"the server closed the connection without a reply: {_UNKNOWN}")


def _unreached(server: str, error: OSError, tls: "ssl.SSLContext | None") -> str:
    if tls is not None:
        import ssl

        from pgbourse.tls import describe

        if isinstance(error, ssl.SSLError):
            return f"can't speak TLS with {server}: {describe(error)}"
    return f"can't reach {server}"


def connect_socket(
    host: str, port: int, timeout: float | None, tls: "ssl.SSLContext | None"
) -> "socket.socket | TlsSocket":
    """Connect, with TLS if there is a context, before the deadline; return the non-blocking socket.

    Raises OSError if that fails.
    """
    connection = socket.create_connection((host, port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        connection.setblocking(False)
        return connection
    from pgbourse.tls import TlsSocket  # who speaks no TLS needn't wait for its import

    secured = tls.wrap_socket(connection, server_hostname=host)
    secured.setblocking(False)
    return TlsSocket(secured, established=True)
