"""What a connection may cost: time for a request, idleness, connections of one address, replies not taken.

The clock is the test's where time matters: no socket's peer waits for it.
"""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from pgbourse.serve.connection import ClientConnection
from pgbourse.serve.dispatch import Dispatcher
from pgbourse.serve.listener import listen
from pgbourse.serve.server import Server
from pgbourse.serve.traffic import Traffic
from pgbourse.settings import ServeSettings
from pgbourse.wire.framing import Framer
from tests.integration.client import WireClient, length_line, wait_until
from tests.integration.conftest import Gateway, StartGateway

CREATE = b'<create><account id="1" balance="1000"/></create>'


class Line:
    """A client's end of a connection, the server's end of it, and the server's clock."""

    def __init__(self, traffic: Traffic, ours: socket.socket, peer: socket.socket) -> None:
        self.traffic = traffic
        self.peer = peer
        ours.setblocking(False)
        peer.settimeout(60)
        traffic.now = 1e6  # whole, so that seconds add up to what they should
        self.connection = ClientConnection(ours, "192.0.2.1", Framer(1000), lambda _: None)
        traffic.add(self.connection)

    def send(self, data: bytes) -> None:
        self.peer.sendall(data)
        self.traffic.read(self.connection)

    def after(self, seconds: float) -> None:
        """Let time pass; the server then looks for what has taken too long."""
        self.traffic.now += seconds
        self.traffic.close_overdue()

    def answer(self) -> None:
        """Answer the next request, as a worker does."""
        assert self.connection.take() is not None
        self.connection.answer(b"<results/>\n")

    def received(self) -> bytes:
        """Everything that was sent before the server's end was shut."""
        pieces = []
        while data := self.peer.recv(65536):
            pieces.append(data)
        return b"".join(pieces)


OpenLine = Callable[..., Line]


@pytest.fixture
def open_line() -> Iterator[OpenLine]:
    with ExitStack() as stack:

        def connect(**settings: float) -> Line:
            dispatcher = Dispatcher(
                "",
                reserve_workers=1,
                lanes=0,
                batch_requests=1000,
                reply_framing="plain",
                on_room=lambda: None,
            )
            selector = stack.enter_context(selectors.DefaultSelector())
            traffic = Traffic(selector, dispatcher, ServeSettings(**settings))  # type: ignore[arg-type]
            pair = socket.socketpair()
            for end in pair:
                stack.enter_context(end)
            return Line(traffic, *pair)

        yield connect


def test_one_byte_a_second_does_not_make_the_time_longer(open_line: OpenLine) -> None:
    line = open_line(request_timeout=30.0)
    seconds = 0
    for byte in length_line(CREATE):
        line.send(bytes([byte]))
        if line.connection.ended:
            break
        line.after(1)
        seconds += 1
    assert seconds == 30
    assert b"the request was not complete within 30 seconds" in line.received()


def test_the_time_is_for_each_request(open_line: OpenLine) -> None:
    line = open_line(request_timeout=30.0)
    for byte in length_line(b"<a/>") * 20:
        line.send(bytes([byte]))
        line.after(1)
    assert not line.connection.ended


def test_what_the_end_of_input_completes_is_complete_when_the_time_is_up(open_line: OpenLine) -> None:
    """Of `0` and a newline only the end tells that no binary length begins there."""
    line = open_line(request_timeout=30.0)
    line.send(b"0\n")
    line.after(29)
    assert not line.connection.owed
    line.after(1)
    assert line.connection.owed
    line.answer()
    line.traffic.advance(line.connection)
    assert line.received() == b"<results/>\n"


@pytest.mark.parametrize("beginning", [b"0", b"12\n", b"\5\0\0", b"<a>", b"<!-"])
def test_what_is_not_complete_when_the_time_is_up_is_told(open_line: OpenLine, beginning: bytes) -> None:
    line = open_line(request_timeout=30.0)
    line.send(beginning)
    line.after(30)
    assert not line.connection.owed
    assert b"not complete within 30 seconds" in line.received()


def test_a_length_of_nothing_is_answered_through_the_wire(start_gateway: StartGateway) -> None:
    client = start_gateway(request_timeout=0.2).connect()
    client.send_raw(b"0\n")
    assert client.reply()[0].text == "the document is empty"
    assert client.is_closed()


def test_an_idle_connection_is_closed_without_a_word(open_line: OpenLine) -> None:
    line = open_line(idle_timeout=600.0)
    line.after(500)
    line.send(length_line(CREATE))
    line.answer()
    line.after(599)
    line.send(b"\r\n ")  # white space is no request
    assert not line.connection.ended
    line.after(1)
    assert line.connection.ended
    assert line.received() == b"<results/>\n"


def test_who_waits_for_a_reply_is_not_idle(open_line: OpenLine) -> None:
    line = open_line(idle_timeout=60.0, request_timeout=0.0)
    line.send(length_line(CREATE))
    for _ in range(10):
        line.after(59)
    line.answer()
    line.after(59)
    assert not line.connection.ended
    line.after(1)
    assert line.connection.ended


def test_without_an_idle_timeout_connections_stay(open_line: OpenLine) -> None:
    line = open_line()
    line.after(1e9)
    assert not line.connection.ended


def test_an_idle_connection_is_closed_through_the_wire(start_gateway: StartGateway) -> None:
    client = start_gateway(idle_timeout=0.2).connect()
    assert client.ask(CREATE)[0].tag == "created"
    assert client.is_closed()


def from_address(gateway: Gateway, address: str) -> socket.socket:
    return gateway.clients.enter_context(socket.create_connection(gateway.address, 60, (address, 0)))


def test_connections_of_one_address_are_counted(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_connections_per_address=2)
    first, second = gateway.connect(), gateway.connect()
    assert first.ask(CREATE)[0].tag == "created"
    assert second.ask(CREATE)[0].text == "account 1 exists already"
    with WireClient(gateway.address) as third:
        told = third.reply()
        assert told[0].text == "too many connections from 127.0.0.1: at most 2 may be open"
        assert third.is_closed()
    elsewhere = from_address(gateway, "127.0.0.2")
    elsewhere.sendall(length_line(CREATE))
    assert b"account 1 exists already" in elsewhere.recv(65536)
    first.socket.close()
    wait_until(lambda: gateway.traffic.connections == 2, "the server has forgotten the first")
    assert gateway.connect().ask(CREATE)[0].text == "account 1 exists already"
    assert second.ask(CREATE)[0].text == "account 1 exists already"


def test_addresses_are_forgotten(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    for number in range(1, 20):
        from_address(gateway, f"127.0.0.{number}").close()
    wait_until(
        lambda: gateway.traffic.accepted == 19 and not gateway.traffic.connections, "all have come and gone"
    )
    assert gateway.traffic.addresses == 0


def test_those_who_connect_leave_the_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait to be accepted, only some are before what has arrived otherwise is looked at."""
    accepted_after: list[int] = []  # each turn of the I/O thread
    hand_over = Traffic.hand_over

    def note_and_hand_over(self: Traffic) -> None:
        accepted_after.append(self.accepted)
        hand_over(self)

    monkeypatch.setattr(Traffic, "hand_over", note_and_hand_over)
    server = Server(listen("127.0.0.1", 0), "", ServeSettings())
    with ExitStack() as stack:
        stack.callback(server.join)
        stack.callback(server.stop)
        for _ in range(100):
            stack.enter_context(socket.create_connection(server.address, 60))
        server.start()
        wait_until(lambda: server.status().traffic.accepted == 100, "all are accepted")
    assert 0 < next(filter(None, accepted_after)) < 50


def test_replies_that_nobody_takes_are_bounded_in_all(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pgbourse.serve.traffic.UNSENT_BYTES", 4_000_000)
    gateway = start_gateway(send_buffer=4096)  # else the kernel takes most of a reply
    document = b'<transactions id="1">' + b"<query/>" * 20_000 + b"</transactions>"  # a reply of 1.5 MB
    clients = [gateway.connect(receive_buffer=4096) for _ in range(8)]

    def send(client: WireClient) -> None:
        with suppress(ConnectionError):
            client.send(document)

    senders = [threading.Thread(target=send, args=(client,)) for client in clients]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    wait_until(lambda: not (gateway.waiting() or gateway.traffic.held), "all have been carried out")
    assert gateway.ask(CREATE)[0].tag == "created"
    wait_until(lambda: 2_000_000 < gateway.traffic.unsent_bytes <= 4_000_000, "there is as much as may be")
    complete = 0
    for client in clients:
        with suppress(OSError):  # those that were closed
            client.half_close()
            complete += client.rest().endswith(b"</results>\n")
    assert 0 < complete < 8
    assert complete == 8 - caplog.text.count("closing a client that takes its replies too slowly")


def test_what_waits_for_a_client_that_takes_no_replies_stops_nobody_else(start_gateway: StartGateway) -> None:
    """Its documents can't be carried out, so they must not fill the queue of those that can."""
    gateway = start_gateway(send_buffer=4096, queue_documents=50, request_timeout=0)
    slow = gateway.connect(receive_buffer=4096)
    document = b'<transactions id="1">' + b"<query/>" * 300 + b"</transactions>"
    sender = threading.Thread(target=slow.send, args=[document] * 700)
    sender.start()
    wait_until(lambda: gateway.traffic.stuck_documents > 50, "its documents wait for it")
    other = gateway.connect()
    for _ in range(100):
        assert len(other.ask(CREATE)) == 1
    assert gateway.traffic.stuck_documents > 50
    assert [len(slow.reply()) for _ in range(700)] == [300] * 700
    sender.join()
    wait_until(
        lambda: (
            not (
                gateway.traffic.stuck_documents or gateway.traffic.stuck_bytes or gateway.traffic.unsent_bytes
            )
        ),
        "nothing is left to count",
    )
