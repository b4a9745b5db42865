"""A client of the exchange for Python programs: typed requests in, typed results out.

    with Client("127.0.0.1", 12345) as client:
        client.create_account("1", 1000)
        order = client.place_order("1", "SPY", 10, Decimal("99.5"))
        print(client.query_order("1", order.order_id).open_shares)

One thread at a time may use a connection. After a ConnectionLost it stays closed: make a new one, and query
before you repeat what may have been carried out.
"""

import selectors
import socket
import ssl
import time
from collections import deque
from typing import Self, TypeVar

from pgbourse.client.messages import (
    Cancel,
    Canceled,
    Created,
    Creation,
    Grant,
    NewAccount,
    NewSymbol,
    Number,
    Opened,
    Order,
    Query,
    Refused,
    ReplyError,
    Result,
    Status,
    Transaction,
    create_document,
    read_reply,
    transactions_document,
)
from pgbourse.errors import PgbourseError
from pgbourse.tls import TlsSocket
from pgbourse.wire.framing import Framer, Framing, wrap_reply

__all__ = ["Client", "ClientError", "ConnectionLost", "ReplyError", "RequestRefused", "TimedOut"]

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE
_READ_BYTES = 64 * 1024
_MAX_REPLY_BYTES = 1 << 30  # an order can have very many fills
_UNKNOWN = "whether the request was carried out is unknown"

_ResultT = TypeVar("_ResultT", Created, Opened, Status, Canceled)


class ClientError(PgbourseError):
    """The server can't be reached, or there is no reply to wait for."""


class ConnectionLost(ClientError):
    """No reply came: requests without an answer may or may not have been carried out."""


class TimedOut(ConnectionLost):
    """The server took too long."""


class RequestRefused(ClientError):
    """The exchange refused the request and carried out nothing of it; `refusal` holds its answer."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Client:
    """One connection to an exchange.

    The methods named after a request send it, wait, and return its result, or raise RequestRefused. `create`
    and `transact` send several in one document and return refusals among the results. `send` and `receive`
    are the two halves of `ask`, which takes any document: send as many as you like before you receive.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 12345,
        *,
        timeout: float | None = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connect. No call waits longer than `timeout` seconds; with None, each waits as long as it takes.

        With a context, such as ssl.create_default_context(cafile=…), the connection uses TLS.

        Raises ClientError if the server can't be reached.
        """
        self._timeout = timeout
        try:
            self._socket = _connect(host, port, timeout, tls)
        except OSError as error:
            raise ClientError(f"can't reach a server at {host}:{port}") from error
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, _READ)
        self._framer = Framer(_MAX_REPLY_BYTES)
        self._replies: deque[bytes] = deque()  # received, but not yet asked for
        self._unanswered = 0  # documents sent whose replies have not been asked for
        self._end: ClientError | ReplyError | None = None  # why nothing more will be received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. What was sent may still be carried out; its replies are lost."""
        self._end = self._end or ClientError("this client is closed")
        self._selector.close()
        self._socket.close()

    def create_account(self, account_id: str, balance: Number) -> Created:
        """Create an account with this much cash."""
        return self._one(create_document(NewAccount(account_id, balance)), Created)

    def create_symbol(self, sym: str) -> Created:
        """Create a symbol."""
        return self._one(create_document(NewSymbol(sym)), Created)

    def grant_shares(self, sym: str, account_id: str, shares: Number) -> Created:
        """Give an account shares of a symbol, which is created if it does not exist."""
        return self._one(create_document(Grant(sym, account_id, shares)), Created)

    def place_order(self, account_id: str, sym: str, amount: Number, limit: Number) -> Opened:
        """Buy `amount` shares, or sell them if it is negative, at `limit` or a better price."""
        return self._one(transactions_document(account_id, Order(sym, amount, limit)), Opened)

    def query_order(self, account_id: str, order_id: int) -> Status:
        """Query an order of this account."""
        return self._one(transactions_document(account_id, Query(order_id)), Status)

    def cancel_order(self, account_id: str, order_id: int) -> Canceled:
        """End the open part of an order of this account; refused if nothing is open."""
        return self._one(transactions_document(account_id, Cancel(order_id)), Canceled)

    def create(self, *items: Creation) -> list[Result]:
        """Create accounts and symbols and grant shares, in this order; one result for each."""
        return self._several(create_document(*items), len(items))

    def transact(self, account_id: str, *items: Transaction) -> list[Result]:
        """Place, query and cancel orders of an account, in this order; one result for each."""
        return self._several(transactions_document(account_id, *items), len(items))

    def ask(self, document: bytes | str) -> list[Result]:
        """Send an XML document and return the results that its reply holds.

        Raises ClientError if replies to earlier documents have not been received.
        """
        return read_reply(self.ask_raw(document))

    def ask_raw(self, document: bytes | str) -> bytes:
        """Send an XML document and return its reply, as XML."""
        if self._unanswered and self._end is None:
            raise ClientError(f"receive the replies to {self._unanswered} earlier documents first")
        self.send(document)
        return self.receive_raw()

    def send(self, document: bytes | str) -> None:
        """Send an XML document without waiting for its reply, which `receive` will return in turn.

        Replies that arrive meanwhile are read and kept, so that the server never waits for us.

        Raises TimedOut, or the error that has ended the connection before.
        """
        if self._end is not None:
            raise self._end
        unsent = memoryview(
            wrap_reply(document.encode() if isinstance(document, str) else document, Framing.LENGTH_LINE)
        )
        deadline = self._deadline()
        self._unanswered += 1
        while unsent and self._end is None:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                if self._wait(_READ | _WRITE, deadline) & _READ:
                    self._read()
            except OSError:
                break  # the server has closed: its last reply may say why

    def receive(self) -> list[Result]:
        """Wait for the reply to the earliest document that has none yet; return its results.

        Raises ConnectionLost or TimedOut if no reply comes, ReplyError if it is not one of this protocol,
        ClientError if nothing has been sent.
        """
        return read_reply(self.receive_raw())

    def receive_raw(self) -> bytes:
        """Like `receive`, but return the reply as XML."""
        if not self._unanswered:
            raise self._end or ClientError("there is no reply to wait for: nothing has been sent")
        deadline = self._deadline()
        while not self._replies:
            if self._end is not None:
                raise self._end
            self._wait(_READ, deadline)
            self._read()
        self._unanswered -= 1
        return self._replies.popleft()

    def drain(self) -> None:
        """Wait for all replies that are due, and drop them: then everything has been carried out.

        Raises what `receive` raises.
        """
        while self._unanswered:
            self.receive_raw()

    def _one(self, document: bytes, kind: type[_ResultT]) -> _ResultT:
        (result,) = self._several(document, 1)
        if isinstance(result, Refused):
            raise RequestRefused(result)
        if not isinstance(result, kind):
            raise ReplyError(f"the server's reply does not answer the request: {result}")
        return result

    def _several(self, document: bytes, count: int) -> list[Result]:
        results = self.ask(document)
        if len(results) == count:
            return results
        if len(results) == 1 and isinstance(results[0], Refused):
            raise RequestRefused(results[0])  # the document as a whole
        raise ReplyError(f"the server's reply has {len(results)} results: {count} were asked for")

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _wait(self, interest: int, deadline: float | None) -> int:
        """Wait until the socket is ready for one of these events, and return which."""
        self._selector.modify(self._socket, interest)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        events = self._selector.select(left)
        if not events:
            self._end = TimedOut(f"no reply within {self._timeout:g} seconds: {_UNKNOWN}")
            self.close()
            raise self._end
        return events[0][1]

    def _read(self) -> None:
        """Read what has arrived: replies, or the end."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._end = ConnectionLost(f"the connection was lost without a reply: {_UNKNOWN}")
            self._end.__cause__ = error
            return
        frames = self._framer.feed(data) if data else self._framer.finish()
        self._replies.extend(frame.document for frame in frames)
        if self._framer.error is not None:
            self._end = ReplyError("what the server sent is not a reply")
            self._end.__cause__ = self._framer.error
        elif not data:
            self._end = ConnectionLost(f"the server closed the connection without a reply: {_UNKNOWN}")


def _connect(
    host: str, port: int, timeout: float | None, tls: ssl.SSLContext | None
) -> socket.socket | TlsSocket:
    """Connect, with TLS if there is a context, before the deadline; return the non-blocking socket.

    Raises OSError if that fails.
    """
    connection = socket.create_connection((host, port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        connection = tls.wrap_socket(connection, server_hostname=host)
    connection.setblocking(False)
    return TlsSocket(connection, established=True) if isinstance(connection, ssl.SSLSocket) else connection
