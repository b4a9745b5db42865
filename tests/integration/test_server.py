"""The wire: framings, order, half-close, limits and the end of a connection."""

import contextlib
import re
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from lxml import etree

from pgbourse.serve import stopping
from pgbourse.serve.connection import OUTPUT_BYTES, WAITING_BYTES, WAITING_DOCUMENTS
from pgbourse.serve.listener import listen
from pgbourse.serve.server import Server
from pgbourse.serve.service import allow_open_files
from pgbourse.settings import ServeSettings
from pgbourse.wire.framing import Framing, wrap_reply
from tests.integration.client import WireClient, length_line, wait_until
from tests.integration.conftest import Block, Gateway, Session, StartGateway, waiting_workers
from tests.integration.service import refuses

CREATE = (
    b'<create><account id="1" balance="1000"/><symbol sym="X"><account id="1">500</account></symbol></create>'
)
CREATED = (
    b'<?xml version="1.0" encoding="UTF-8"?><results><created id="1"/><created sym="X" id="1"/></results>'
)


def buy(shares: int, limit: int = 1, account: int = 1) -> bytes:
    order = f'<order sym="X" amount="{shares}" limit="{limit}"/>'
    return f'<transactions id="{account}">{order}</transactions>'.encode()


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize(
    ("reply_framing", "expected"),
    [
        ("plain", lambda _: None),
        ("length", lambda _: Framing.LENGTH_LINE),
        ("mirror", lambda framing: framing),
    ],
)
def test_each_request_framing_gets_the_reply_framing_that_was_set(
    start_gateway: StartGateway,
    framing: Framing,
    reply_framing: str,
    expected: Callable[[Framing], Framing | None],
) -> None:
    client = start_gateway(reply_framing=reply_framing).connect()
    client.send_raw(wrap_reply(CREATE, framing))
    client.half_close()
    assert client.rest() == wrap_reply(CREATED, expected(framing))


def test_a_plain_reply_is_the_document_and_a_newline(gateway: Gateway) -> None:
    client = gateway.connect()
    client.send(CREATE)
    client.half_close()
    assert client.rest() == CREATED + b"\n"


def test_a_connection_serves_many_requests_in_different_framings(gateway: Gateway) -> None:
    client = gateway.connect()
    assert [child.tag for child in client.ask(CREATE)] == ["created", "created"]
    for framing in (*Framing, *Framing):
        client.send_raw(b"\r\n " + wrap_reply(buy(1), framing) + b"\n")
        assert client.reply()[0].tag == "opened"


def test_close_after_reply_carries_out_one_request_and_closes(
    start_gateway: StartGateway, connection: Session
) -> None:
    client = start_gateway(close_after_reply=True).connect()
    client.send(CREATE, b'<create><account id="2" balance="1"/></create>', b"<unread>" * 100_000)
    assert client.rest() == CREATED + b"\n"
    assert connection.execute("select account_id from exchange.accounts").fetchall() == [("1",)]


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    """More than one connection may have waiting, of both kinds, each depending on those before it."""
    client = gateway.connect()
    pieces, answers = [length_line(CREATE)], 1
    for number in range(2, 1500):
        creation = f'<create><account id="{number}" balance="{number}"/></create>'.encode()
        pieces += [length_line(creation), length_line(buy(1, number, account=number))]
        answers += 2
    sender = threading.Thread(target=client.send_raw, args=(b"".join(pieces),))
    sender.start()
    replies = [client.reply() for _ in range(answers)]
    sender.join()
    assert [reply[0].get("id") for reply in replies[1::2]] == [str(number) for number in range(2, 1500)]
    orders = [reply[0] for reply in replies[2::2]]
    assert [order.get("limit") for order in orders] == [str(number) for number in range(2, 1500)]
    assert {order.tag for order in orders} == {"opened"}
    ids = [int(order.get("id", "")) for order in orders]
    assert ids == sorted(ids)


def test_a_half_closed_connection_gets_every_reply(gateway: Gateway) -> None:
    client = gateway.connect()
    client.send(CREATE, *[buy(1)] * 200)
    client.half_close()
    assert client.rest().count(b"<opened") == 200


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (b"abc\n" + b"x" * 1_000_000, "a request can't begin with 'abc"),
        (b"99999\n" + b"x" * 1_000_000, "a document of 99999 bytes is over the limit of 50000 bytes"),
        (b"-5\n<create/>", "a request can't begin with '-5"),
    ],
)
def test_a_bad_frame_is_told_after_the_replies_before_it_and_closes(
    start_gateway: StartGateway, bad: bytes, complaint: str
) -> None:
    client = start_gateway(max_document_bytes=50_000).connect()
    client.send_raw(length_line(CREATE) + length_line(buy(1)) + bad)
    assert [child.tag for child in client.reply()] == ["created", "created"]
    assert client.reply()[0].tag == "opened"
    error = client.reply()
    assert [child.tag for child in error] == ["error"]
    assert complaint in (error[0].text or "")
    assert client.is_closed()


def test_clients_are_watched_by_keepalive(gateway: Gateway) -> None:
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("no kernel that tells of its timers in /proc")
    client = gateway.connect()
    assert client.ask(CREATE)[0].tag == "created"
    (ours, peer) = (f"{port:04X}" for port in (gateway.address[1], client.socket.getsockname()[1]))
    # Timer 2 is that of keepalive; when it is due, in hundredths of a second.
    pattern = rf"\d+: \w+:{ours} \w+:{peer} 01 \w+:\w+ 02:(\w+) "
    wait_until(lambda: re.search(pattern, table.read_text()), "nothing is on its way but a keepalive")
    due = re.search(pattern, table.read_text())
    assert due
    assert 100_00 < int(due[1], 16) <= 120_00


def test_an_unfinished_request_at_the_end_of_input_is_told(gateway: Gateway) -> None:
    client = gateway.connect()
    client.send_raw(length_line(CREATE) + b"100\n<create>")
    client.half_close()
    assert client.reply()[0].tag == "created"
    assert "the input ended within a request" in (client.reply()[0].text or "")
    assert client.is_closed()


def test_a_request_must_be_finished_in_time_but_an_idle_connection_stays(start_gateway: StartGateway) -> None:
    gateway = start_gateway(request_timeout=0.2)
    idle, slow = gateway.connect(), gateway.connect()
    slow.send_raw(b"100\n<create>")
    assert (
        slow.reply()[0].text == "the request was not complete within 0.2 seconds: 8 of 100 bytes of it came"
    )
    assert slow.is_closed()
    assert idle.ask(CREATE)[0].tag == "created"


def test_a_client_that_does_not_read_is_not_read_from_and_loses_nothing(gateway: Gateway) -> None:
    other, slow = gateway.connect(), gateway.connect(receive_buffer=4096)
    other.ask(CREATE)
    # Every child is an error, so that the reply is many times as large.
    document = b'<transactions id="1">' + b"<query/>" * 1000 + b"</transactions>"
    sender = threading.Thread(target=slow.send, args=[document] * 400)
    sender.start()
    wait_until(
        lambda: gateway.traffic.unsent_bytes >= OUTPUT_BYTES and gateway.traffic.unread == 1,
        "the server has stopped reading from the slow client",
    )
    assert other.ask(buy(1))[0].tag == "opened"
    traffic = gateway.traffic
    assert OUTPUT_BYTES <= traffic.unsent_bytes < OUTPUT_BYTES + 1000 * 100  # and the replies of one batch
    assert traffic.unread == 1
    assert 0 < traffic.stuck_documents < WAITING_DOCUMENTS
    assert traffic.stuck_bytes < WAITING_BYTES + 65536  # and those of one read
    assert [len(slow.reply()) for _ in range(400)] == [1000] * 400
    sender.join()


def test_a_client_that_never_reads_is_closed(start_gateway: StartGateway) -> None:
    gateway = start_gateway(request_timeout=0.3)
    client = gateway.connect(receive_buffer=4096)
    document = b'<transactions id="1">' + b"<query/>" * 1000 + b"</transactions>"

    def send() -> None:
        with contextlib.suppress(ConnectionError):
            client.send(*[document] * 400)

    sender = threading.Thread(target=send)
    sender.start()
    sender.join()  # only a server that closes the connection ends this
    wait_until(lambda: not gateway.traffic.connections, "the server has forgotten the client")


def test_a_full_queue_stops_reading_until_there_is_room(
    start_gateway: StartGateway,
    connection: Session,
    wait_for_workers: Callable[[int], None],
    block: Block,
) -> None:
    gateway = start_gateway(reserve_workers=1, lanes=0, batch_requests=10, queue_documents=50)
    gateway.ask(CREATE)
    blocker = block()
    clients = [gateway.connect() for _ in range(40)]
    for client in clients[:20]:
        client.send(*[buy(1)] * 10)
    wait_for_workers(1)
    wait_until(lambda: gateway.traffic.is_full, "the queue is full")
    before = gateway.waiting()
    for client in clients[20:]:
        client.send(*[buy(1)] * 10)
    wait_until(lambda: gateway.traffic.unread >= 20, "the server refuses to read")
    assert gateway.waiting() == before <= 200
    blocker.commit()
    for client in clients:
        assert [client.reply()[0].tag for _ in range(10)] == ["opened"] * 10
    assert connection.execute("select count(*) from exchange.orders").fetchall() == [(400,)]


def test_connections_beyond_the_limit_wait_their_turn(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_connections=2)
    first, second, third = gateway.connect(), gateway.connect(), gateway.connect()
    assert first.ask(CREATE)[0].tag == "created"
    assert second.ask(buy(1))[0].tag == "opened"
    third.send(buy(2))
    assert gateway.traffic.connections == 2
    first.socket.close()
    assert third.reply()[0].get("amount") == "2"


def test_a_reset_connection_harms_no_other(gateway: Gateway) -> None:
    gateway.ask(CREATE)
    for _ in range(20):
        client = gateway.connect()
        client.send(*[buy(1)] * 5)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
    assert gateway.ask(buy(7))[0].tag == "opened"
    wait_until(lambda: gateway.waiting() == 0, "everything has been carried out")


def test_two_thousand_connections_are_all_answered(gateway: Gateway) -> None:
    allow_open_files(5000)
    accounts = b"".join(b'<account id="%d" balance="1000"/>' % number for number in range(2000))
    shares = b"".join(b'<account id="%d">100</account>' % number for number in range(2000))
    gateway.ask(b"<create>" + accounts + b'<symbol sym="X">' + shares + b"</symbol></create>")
    with selectors.DefaultSelector() as selector:
        for number in range(2000):
            client = gateway.connect()
            client.send(buy(1 if number % 2 else -1, 10, account=number))
            selector.register(client.socket, selectors.EVENT_READ, client)
        answered = 0
        while selector.get_map():
            for key, _ in selector.select(60):
                answered += key.data.reply()[0].tag == "opened"
                selector.unregister(key.fileobj)
    assert answered == 2000


def test_two_clients_trade_at_once_and_nothing_is_lost(gateway: Gateway, connection: Session) -> None:
    gateway.ask(
        b'<create><account id="1" balance="100000"/><account id="2" balance="100000"/><symbol sym="X">'
        b'<account id="1">1000</account><account id="2">1000</account></symbol></create>'
    )
    errors: list[str] = []

    def trade(account: int) -> None:
        with WireClient(gateway.address) as client:
            for number in range(200):
                shares = (1 + number % 7) * (1 if (number + account) % 2 else -1)
                reply = client.ask(buy(shares, 8 + number % 5, account=account))
                errors.extend(child.text or "" for child in reply if child.tag != "opened")

    threads = [threading.Thread(target=trade, args=(account,)) for account in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert connection.execute("select count(*) > 100 from exchange.executions").fetchone() == (True,)
    cash, shares = connection.execute(
        """
        select
            (select sum(cash) from exchange.account_balances)
            + (
                select coalesce(sum(open_shares * limit_price), 0)
                from exchange.order_book
                where side = 'buy'
            ),
            (select sum(shares) from exchange.account_positions)
            + (select coalesce(sum(open_shares), 0) from exchange.order_book where side = 'sell')
        """
    ).fetchone() or (None, None)
    assert (cash, shares) == (200_000, 2_000)


def test_many_clients_never_deadlock(
    gateway: Gateway, connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    symbols = "".join(
        f'<symbol sym="S{s}">' + "".join(f'<account id="{a}">10000</account>' for a in range(8)) + "</symbol>"
        for s in range(8)
    )
    accounts = "".join(f'<account id="{a}" balance="1000000"/>' for a in range(8))
    gateway.ask(f"<create>{accounts}{symbols}</create>".encode())
    failures: list[etree._Element] = []

    def trade(seed: int) -> None:
        with WireClient(gateway.address) as client:
            for number in range(seed, seed + 40):
                orders = "".join(
                    f'<order sym="S{(number * 5 + k * seed) % 8}" amount="{(-1) ** (number + k)}" limit="5"/>'
                    for k in range(3)
                )
                reply = client.ask(f'<transactions id="{number % 8}">{orders}</transactions>'.encode())
                failures.extend(child for child in reply if child.tag != "opened")

    threads = [threading.Thread(target=trade, args=(seed,)) for seed in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    connection.execute("select pg_stat_clear_snapshot()")
    row = connection.execute("select deadlocks from pg_stat_database where datname = current_database()")
    assert row.fetchone() == (0,)


def test_a_stop_answers_what_was_received_and_nothing_else(
    start_gateway: StartGateway, wait_for_workers: Callable[[int], None], block: Block
) -> None:
    gateway = start_gateway(reserve_workers=1, lanes=0)
    gateway.ask(CREATE)
    blocker = block()
    busy, waiting, unfinished, idle = (gateway.connect() for _ in range(4))
    busy.send(buy(1))
    wait_for_workers(1)
    waiting.send(*[buy(2)] * 3)
    unfinished.send_raw(b"100\n<transactions")
    wait_until(lambda: gateway.traffic.begun, "the half has arrived")
    gateway.server.stop()
    assert idle.is_closed()
    assert "the server is stopping" in (unfinished.reply()[0].text or "")
    with pytest.raises(ConnectionRefusedError):
        WireClient(gateway.address)
    blocker.commit()
    assert busy.reply()[0].get("amount") == "1"
    assert [waiting.reply()[0].get("amount") for _ in range(3)] == ["2"] * 3
    assert busy.is_closed()
    assert waiting.is_closed()
    assert gateway.server.join()


REFUSED = "the server is stopping: this was not carried out"


@pytest.mark.parametrize("reply_framing", ["plain", "length", "mirror"])
def test_what_comes_after_the_last_reply_is_refused(
    start_gateway: StartGateway,
    connection: Session,
    wait_for_workers: Callable[[int], None],
    block: Block,
    reply_framing: str,
) -> None:
    gateway = start_gateway(reserve_workers=1, lanes=0, reply_framing=reply_framing)
    gateway.ask(CREATE)
    client, half = gateway.connect(), gateway.connect()
    blocker = block()
    client.send(buy(1))
    wait_for_workers(1)
    half.send_raw(b"100\n<transactions")
    wait_until(lambda: gateway.traffic.begun, "the half has arrived")
    gateway.server.stop()
    wait_until(lambda: refuses(gateway.address), "it drains")
    client.send(buy(2), buy(3))  # they lie in the kernel's buffer
    half.send_raw(b" id='1'/>" + b" " * 100)
    blocker.commit()
    assert client.reply()[0].get("amount") == "1"
    assert [client.reply()[0].text for _ in range(2)] == [REFUSED] * 2
    assert client.is_closed()
    assert "was not complete" in (half.reply()[0].text or "")  # and it is not refused once more
    assert half.is_closed()
    assert gateway.server.join()
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (1,)


def test_a_stop_under_load_leaves_nobody_in_doubt(
    start_gateway: StartGateway, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each client sends one request after the other, until it is told that the server stops."""
    monkeypatch.setattr(stopping, "SECONDS", 60.0)  # however busy this machine is
    gateway = start_gateway()
    gateway.ask(b'<create><account id="1" balance="1000000000"/><symbol sym="X"/></create>')
    opened: list[int] = []
    in_doubt: list[int] = []
    under_way = threading.Barrier(17)

    def trade(number: int) -> None:
        count = 0
        with gateway.connect() as client:
            while True:
                try:
                    (child,) = client.ask(buy(1))
                except AssertionError:  # closed without a reply
                    in_doubt.append(number)
                    break
                if child.text == REFUSED:
                    break
                count += 1
                if count == 3:
                    under_way.wait()
        opened.append(count)

    clients = [threading.Thread(target=trade, args=[number]) for number in range(16)]
    for client in clients:
        client.start()
    under_way.wait()
    gateway.server.stop()
    for client in clients:
        client.join()
    assert in_doubt == []
    assert gateway.server.join()
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (sum(opened),)


def test_a_stop_takes_no_longer_than_it_may(database: str, block: Block) -> None:
    server = Server(listen("127.0.0.1", 0), database, ServeSettings(port=0, drain_timeout=0.1))
    server.start()
    blocker = block()
    with WireClient(server.address) as client:
        client.send(CREATE)
        with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
            wait_until(lambda: waiting_workers(connection), "the request is in the database")
        server.stop()
        assert client.is_closed()
        assert not server.join()
    blocker.rollback()
