"""A client of the exchange for Python programs: typed requests in, typed results out.

    with Client("127.0.0.1", 12345) as client:
        client.create_account("1", 1000)
        order = client.place_order("1", "SPY", 10, Decimal("99.5"))
        print(client.query_order("1", order.order_id).open_shares)

One thread at a time may use a client. After a ConnectionLost, `resend_all` connects again and finds out what
became of the requests without an answer: orders have refs, so none is placed twice.
"""

import itertools
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import replace
from typing import Self, TypeVar

from pgbourse.client.again import places_orders, problem_of_repeating
from pgbourse.client.connection import ClientError, Connection, ConnectionLost, TimedOut
from pgbourse.client.features import NotSupported, ask_server, expect_features, needed_features
from pgbourse.client.replies import ReplyError, read_reply
from pgbourse.client.requests import (
    ArmSwitch,
    Cancel,
    CancelAll,
    Creation,
    DisarmSwitch,
    Grant,
    ListOrders,
    LookAccount,
    LookBook,
    NewAccount,
    NewSymbol,
    Number,
    Order,
    OrderType,
    Query,
    Reduce,
    Replace,
    SelfTrade,
    TimeInForce,
    Transaction,
    create_document,
    transactions_document,
)
from pgbourse.client.results import (
    Account,
    Armed,
    Book,
    Canceled,
    CanceledAll,
    Created,
    Disarmed,
    Opened,
    Orders,
    Reduced,
    Refused,
    Result,
    Server,
    Status,
)

__all__ = [
    "Client",
    "ClientError",
    "ConnectionLost",
    "NotSupported",
    "ReplyError",
    "RequestRefused",
    "TimedOut",
]

_ResultT = TypeVar(
    "_ResultT",
    Created,
    Opened,
    Status,
    Canceled,
    Reduced,
    CanceledAll,
    Armed,
    Disarmed,
    Account,
    Orders,
    Book,
)


class RequestRefused(ClientError):
    """The exchange refused the request and carried out nothing of it; `refusal` holds its answer."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal

    @property
    def code(self) -> str | None:
        """The reason in one word, for programs; None if the server doesn't tell it."""
        return self.refusal.code


class Client:
    """A client of an exchange, with one connection.

    The methods named after a request send it, wait, and return its result, or raise RequestRefused. `create`
    and `transact` send several in one document and return refusals among the results. `send` and `receive`
    are the two halves of `ask`, which takes any document: send as many as you like before you receive.

    Orders and replaces that have no ref get one, if the server knows refs. Its features are asked for once
    for each connection, when first needed.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 12345,
        *,
        timeout: float | None = 30.0,
        tls: ssl.SSLContext | None = None,
        refs: bool = True,
    ) -> None:
        """Connect. No reply is waited for longer than `timeout` seconds; with None, each as long as it takes.

        With a context, such as ssl.create_default_context(cafile=…), the connection uses TLS. With `refs`
        False, only those orders have a ref that are given one.

        Raises ClientError if the server can't be reached.
        """
        self._where = (host, port, timeout, tls)
        self._connection = Connection(*self._where)
        self._server: Server | None = None
        self._makes_refs = refs
        self._ref_prefix = secrets.token_hex(8)
        self._ref_numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. What was sent may still be carried out; its replies are lost."""
        self._connection.close()

    def server(self) -> Server:
        """Return what the server says of itself. It is asked once for each connection."""
        if self._server is None:
            self._server = ask_server(self._connection)
        return self._server

    def create_account(self, account_id: str, balance: Number) -> Created:
        """Create an account with this much cash."""
        return self._created(NewAccount(account_id, balance))

    def create_symbol(self, sym: str) -> Created:
        """Create a symbol."""
        return self._created(NewSymbol(sym))

    def grant_shares(self, sym: str, account_id: str, shares: Number) -> Created:
        """Give an account shares of a symbol, which is created if it does not exist."""
        return self._created(Grant(sym, account_id, shares))

    def place_order(
        self,
        account_id: str,
        sym: str,
        amount: Number,
        limit: Number | None = None,
        *,
        type: OrderType | None = None,
        budget: Number | None = None,
        ref: str | None = None,
        tif: TimeInForce | None = None,
        post: bool = False,
        stp: SelfTrade | None = None,
    ) -> Opened:
        """Buy `amount` shares, or sell them if it is negative, at `limit` or a better price: see `Order`."""
        order = Order(sym, amount, limit, type=type, budget=budget, ref=ref, tif=tif, post=post, stp=stp)
        return self._one(account_id, order, Opened)

    def replace_order(
        self,
        account_id: str,
        order_id: int | None = None,
        *,
        of: str | None = None,
        amount: Number,
        limit: Number,
        open: Number | None = None,
        ref: str | None = None,
        tif: TimeInForce | None = None,
        post: bool = False,
        stp: SelfTrade | None = None,
    ) -> Opened:
        """Cancel the open part of an order and place another in its stead, in one step: see `Replace`."""
        item = Replace(
            order_id, of=of, amount=amount, limit=limit, open=open, ref=ref, tif=tif, post=post, stp=stp
        )
        return self._one(account_id, item, Opened)

    def reduce_order(
        self,
        account_id: str,
        order_id: int | None = None,
        *,
        ref: str | None = None,
        shares: Number | None = None,
        to: Number | None = None,
    ) -> Reduced:
        """Cancel so many shares of an order's open part, or all but `to`; it keeps its place in the queue."""
        return self._one(account_id, Reduce(order_id, ref=ref, shares=shares, to=to), Reduced)

    def query_order(self, account_id: str, order_id: int | None = None, *, ref: str | None = None) -> Status:
        """Query an order of this account, by its id or its ref."""
        return self._one(account_id, Query(order_id, ref=ref), Status)

    def cancel_order(
        self, account_id: str, order_id: int | None = None, *, ref: str | None = None
    ) -> Canceled:
        """End the open part of an order of this account; refused if nothing is open."""
        return self._one(account_id, Cancel(order_id, ref=ref), Canceled)

    def cancel_all(self, account_id: str, sym: str | None = None) -> CanceledAll:
        """Cancel all open orders of the account, or those in one symbol."""
        return self._one(account_id, CancelAll(sym), CanceledAll)

    def arm_switch(self, account_id: str, seconds: int) -> Armed:
        """Have all open orders cancelled after so many seconds, unless this is called again before."""
        return self._one(account_id, ArmSwitch(seconds), Armed)

    def disarm_switch(self, account_id: str) -> Disarmed:
        """Take back what the last `arm_switch` said."""
        return self._one(account_id, DisarmSwitch(), Disarmed)

    def look_account(self, account_id: str) -> Account:
        """Look at the account's cash and positions, and at what its open orders have reserved of them."""
        return self._one(account_id, LookAccount(), Account)

    def list_orders(
        self, account_id: str, sym: str | None = None, *, after: int | None = None, max: int | None = None
    ) -> Orders:
        """List the account's open orders by id: see `ListOrders`."""
        return self._one(account_id, ListOrders(sym, after, max), Orders)

    def look_book(self, account_id: str, sym: str, depth: int | None = None) -> Book:
        """Look at a symbol's book, at most `depth` prices of each side."""
        return self._one(account_id, LookBook(sym, depth), Book)

    def create(self, *items: Creation) -> list[Result]:
        """Create accounts and symbols and grant shares, in this order; one result for each."""
        return self._several(create_document(*items), len(items))

    def transact(self, account_id: str, *items: Transaction) -> list[Result]:
        """Carry out requests of an account, in this order; one result for each.

        Raises NotSupported, having sent nothing, if the server doesn't know what one of them asks for.
        """
        self._expect_no_replies()
        return self._several(self._document(account_id, items), len(items))

    def ask(self, document: bytes | str) -> list[Result]:
        """Send an XML document and return the results that its reply holds.

        Raises ClientError if replies to earlier documents have not been received.
        """
        return read_reply(self.ask_raw(document))

    def ask_raw(self, document: bytes | str) -> bytes:
        """Send an XML document and return its reply, as XML."""
        self._expect_no_replies()
        self.send(document)
        return self.receive_raw()

    def send(self, document: bytes | str) -> None:
        """Send an XML document, as it is, without waiting for its reply, which `receive` will return in turn.

        Replies that arrive meanwhile are read and kept, so that the server never waits for us.

        Raises TimedOut, or the error that has ended the connection before.
        """
        self._connection.send(document.encode() if isinstance(document, str) else document)

    def send_transactions(self, account_id: str, *items: Transaction) -> None:
        """Send what `transact` would, without waiting for its reply."""
        self._connection.send(self._document(account_id, items))

    def receive(self) -> list[Result]:
        """Wait for the reply to the earliest document that has none yet; return its results.

        Raises ConnectionLost or TimedOut if no reply comes, ReplyError if it is not one of this protocol,
        ClientError if nothing has been sent.
        """
        return read_reply(self.receive_raw())

    def receive_raw(self) -> bytes:
        """Like `receive`, but return the reply as XML."""
        return self._connection.receive()

    def drain(self) -> None:
        """Wait for all replies that are due, and drop them: then everything has been carried out.

        Raises what `receive` raises.
        """
        while self._connection.unanswered:
            self._connection.receive()

    @property
    def unanswered(self) -> tuple[bytes, ...]:
        """The documents whose replies have not been received, oldest first."""
        return tuple(self._connection.unanswered)

    def resend_all(self) -> list[list[Result]]:
        """Connect again, send again what has no reply, and return the results of each of those documents.

        Nothing happens twice. An order that had been placed before is answered as it was then, and is a
        `duplicate`; a cancel that had been done is refused with the code `nothing_open`, and an account that
        had been created with `account_exists`. Replies that had arrived and were not received come first.

        Raises ClientError if something would happen twice, NotSupported if the server has no refs, what
        `receive` raises if this connection is lost as well: nothing is forgotten, and it may be called again.
        """
        lost = self._connection
        if not lost.unanswered and lost.end is None:
            return []
        missing = list(lost.unanswered)[len(lost.replies) :]
        if problem := problem_of_repeating(missing):
            raise ClientError(f"what has no answer can't be sent again: {problem}")
        lost.close()
        connection = Connection(*self._where)
        try:
            server = ask_server(connection)
            if places_orders(missing):
                expect_features(server, {"ref"})
        except BaseException:
            connection.close()
            raise
        self._connection, self._server = connection, server
        return [read_reply(reply) for reply in connection.send_again(lost.unanswered, lost.replies)]

    def _document(self, account_id: str, items: Sequence[Transaction]) -> bytes:
        """Write a document of requests that the server understands, with refs."""
        if needed := needed_features(items):
            expect_features(self.server(), needed)
        if self._makes_refs and any(_lacks_ref(item) for item in items) and "ref" in self.server().features:
            items = [self._with_ref(item) for item in items]
        return transactions_document(account_id, *items)

    def _with_ref(self, item: Transaction) -> Transaction:
        if isinstance(item, Order | Replace) and item.ref is None:
            return replace(item, ref=f"{self._ref_prefix}-{next(self._ref_numbers)}")
        return item

    def _expect_no_replies(self) -> None:
        waiting = len(self._connection.unanswered)
        if waiting and self._connection.end is None:
            raise ClientError(f"receive the replies to {waiting} earlier documents first")

    def _created(self, item: Creation) -> Created:
        return _only(self.create(item), Created)

    def _one(self, account_id: str, item: Transaction, kind: type[_ResultT]) -> _ResultT:
        return _only(self.transact(account_id, item), kind)

    def _several(self, document: bytes, count: int) -> list[Result]:
        results = self.ask(document)
        if len(results) == count:
            return results
        if len(results) == 1 and isinstance(results[0], Refused):
            raise RequestRefused(results[0])  # the document as a whole
        raise ReplyError(f"the server's reply has {len(results)} results: {count} were asked for")


def _only(results: list[Result], kind: type[_ResultT]) -> _ResultT:
    (result,) = results
    if isinstance(result, Refused):
        raise RequestRefused(result)
    if not isinstance(result, kind):
        raise ReplyError(f"the server's reply does not answer the request: {result}")
    return result


def _lacks_ref(item: Transaction) -> bool:
    return isinstance(item, Order | Replace) and item.ref is None
