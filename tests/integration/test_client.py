"""The Python client: typed requests and results, refusals, pipelining, and servers that fail it."""

import socket
import threading
from collections.abc import Callable
from decimal import Decimal

import pytest

from pgbourse.client import (
    Cancel,
    Canceled,
    Client,
    ClientError,
    ConnectionLost,
    Created,
    Grant,
    NewAccount,
    NewSymbol,
    Opened,
    Order,
    Query,
    Refused,
    ReplyError,
    RequestRefused,
    Status,
    TimedOut,
    transactions_document,
)
from pgbourse.testing import Exchange
from tests.integration.client import length_line, server_that
from tests.integration.conftest import Session, StartGateway

UNKNOWN = "whether the request was carried out is unknown"


def test_an_order_from_its_placing_to_its_end(pgbourse: Exchange) -> None:
    client = pgbourse.client
    assert client.create_account("1", Decimal("1000.5")) == Created(account_id="1")
    assert client.create_account("2", 0) == Created(account_id="2")
    assert client.create_symbol("SPY") == Created(sym="SPY")
    assert client.grant_shares("SPY", "2", "7.5") == Created(account_id="2", sym="SPY")
    bought = client.place_order("1", "SPY", 10, Decimal("99.50"))
    assert bought == Opened(bought.order_id, "SPY", Decimal(10), Decimal("99.5"), ref=bought.ref)
    assert bought.ref
    client.place_order("2", "SPY", Decimal("-2.5"), 90)
    status = client.query_order("1", bought.order_id)
    assert status.open_shares == Decimal("7.5")
    assert status.cancellation is None
    assert [(part.shares, part.price) for part in status.executions] == [(Decimal("2.5"), Decimal("99.5"))]
    canceled = client.cancel_order("1", bought.order_id)
    assert canceled.cancellation.shares == Decimal("7.5")
    assert canceled.executions == status.executions
    assert client.query_order("1", bought.order_id) == Status(
        bought.order_id, Decimal(0), canceled.cancellation, canceled.executions
    )


def test_a_refusal_is_raised_with_what_the_exchange_said(pgbourse: Exchange) -> None:
    client = pgbourse.client
    client.create_account("1", 10)
    client.create_symbol("X")
    with pytest.raises(RequestRefused, match="insufficient funds") as refused:
        client.place_order("1", "X", 11, 1)
    assert refused.value.code == "insufficient_funds"
    attributes = {**refused.value.refusal.attributes}
    assert attributes.pop("ref")
    assert attributes == {"sym": "X", "amount": "11", "limit": "1"}
    assert client.place_order("1", "X", 10, 1).order_id  # the connection goes on


def test_several_at_once_have_refusals_among_their_results(pgbourse: Exchange) -> None:
    client = pgbourse.client
    created = client.create(NewAccount("1", 5), NewAccount("1", 5), NewSymbol("X"), Grant("X", "1", 3))
    assert [type(result) for result in created] == [Created, Refused, Created, Created]
    done = client.transact("1", Order("X", -1, 2), Order("X", -3, 2), Query(1), Cancel(1))
    assert [type(result) for result in done] == [Opened, Refused, Status, Canceled]
    assert client.transact("9", Query(1), Query(2)) == [
        Refused("no such order: 1", {"id": "1"}, "unknown_order"),
        Refused("no such order: 2", {"id": "2"}, "unknown_order"),
    ]


def test_any_document_can_be_asked(pgbourse: Exchange) -> None:
    assert pgbourse.client.ask('<create><symbol sym="X"/></create>') == [Created(sym="X")]
    (refused,) = pgbourse.client.ask(b"<nonsense/>")
    assert isinstance(refused, Refused)
    assert "unknown root element" in refused.message


def test_requests_under_way_are_answered_in_their_order(pgbourse: Exchange) -> None:
    client = pgbourse.client
    client.create(NewAccount("1", 1000), NewSymbol("X"))
    for shares in range(1, 51):
        client.send(transactions_document("1", Order("X", shares, "0.1")))
    amounts = [result.amount for _ in range(50) for result in client.receive() if isinstance(result, Opened)]
    assert amounts == list(range(1, 51))
    with pytest.raises(ClientError, match="nothing has been sent"):
        client.receive()


def test_replies_are_taken_while_it_sends() -> None:
    """A server may stop reading from a client that takes no replies; then neither side would go on."""
    size = 50_000_000  # more than the sockets hold

    def answer_before_reading_on(server: socket.socket) -> None:
        server.sendall(length_line(b"<results>" + b" " * size + b"</results>"))
        left = size + len(f"{size}\n")
        while left:
            left -= len(server.recv(min(left, 1 << 20)))
        server.sendall(b"<results/>\n")

    with server_that(answer_before_reading_on) as address, Client(*address) as client:
        client.send(b"<create/>")
        client.send(b" " * size)
        assert client.receive() == []
        assert client.receive() == []


def test_an_answer_is_not_taken_for_that_of_an_earlier_request(pgbourse: Exchange) -> None:
    client = pgbourse.client
    client.send('<create><symbol sym="X"/></create>')
    with pytest.raises(ClientError, match="receive the replies to 1 earlier documents first"):
        client.create_symbol("Y")
    assert client.receive() == [Created(sym="X")]
    assert client.create_symbol("Y") == Created(sym="Y")


def test_a_time_out_ends_the_connection(start_gateway: StartGateway, block: Callable[[], Session]) -> None:
    gateway = start_gateway()
    with Client(*gateway.address, timeout=0.05) as client:
        blocker = block()
        with pytest.raises(TimedOut, match=rf"no reply within 0\.05 seconds: {UNKNOWN}"):
            client.create_account("1", 5)
        blocker.rollback()
        with pytest.raises(TimedOut):  # the late reply must not answer this one
            client.create_account("2", 5)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ClientError, match=f"can't reach a server at 127.0.0.1:{port}"):
        Client("127.0.0.1", port)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b"", ConnectionLost, f"the server closed the connection without a reply: {UNKNOWN}"),
        (b"<results><created", ReplyError, "is not a reply"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ReplyError, "is not a reply"),
        (b"<results><a></b></results>\n", ReplyError, "is not XML"),
        (b"<results/>\n", ReplyError, "has 0 results: 1 were asked for"),
        (b'<results><created id="1"/></results>\n', ReplyError, "does not answer the request"),
    ],
)
def test_what_is_no_reply_is_told(answer: bytes, error: type[Exception], message: str) -> None:
    with (
        server_that(lambda server: server.sendall(answer)) as address,
        Client(*address) as client,
        pytest.raises(error, match=message),
    ):
        client.query_order("1", 1)


def test_a_reset_connection_is_lost() -> None:
    def reset(server: socket.socket) -> None:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with (
        server_that(reset) as address,
        Client(*address) as client,
        pytest.raises(ConnectionLost, match=f"the connection was lost without a reply: {UNKNOWN}"),
    ):
        client.create_symbol("X")


def test_what_a_server_says_before_it_closes_is_received(start_gateway: StartGateway) -> None:
    """A document beyond the limit is refused before all of it was sent."""
    gateway = start_gateway(max_document_bytes=1000)
    with Client(*gateway.address) as client:
        with pytest.raises(RequestRefused, match="1000"):
            client.transact("1", *[Query(1)] * 1_000_000)
        with pytest.raises(ClientError):
            client.create_symbol("X")


def test_a_closed_client_says_so(pgbourse: Exchange) -> None:
    with pgbourse.connect() as client:
        client.create_symbol("X")
    with pytest.raises(ClientError, match="this client is closed"):
        client.create_symbol("Y")


def test_a_server_that_closes_while_it_waits_is_told_from_one_that_is_slow() -> None:
    """The time-out is for a server that says nothing: one that goes away is noticed at once."""
    entered = threading.Event()

    def close_later(_: socket.socket) -> None:
        entered.wait()

    with server_that(close_later) as address, Client(*address, timeout=None) as client:
        client.send(b"<create/>")
        entered.set()
        with pytest.raises(ConnectionLost):
            client.receive()
