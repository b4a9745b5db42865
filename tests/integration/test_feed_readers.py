"""Subscribers that read slowly, not at all, or are gone: nobody waits for them, and memory has bounds."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from pgbourse.serve import feedoutput, feedwork, traffic
from pgbourse.serve.feedwork import FeedStatus
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Gateway, Session, StartGateway, StartService
from tests.integration.feeding import Feed
from tests.integration.service import Service
from tests.integration.test_feed import CREATE, trade
from tests.integration.tls import Authority

ORDERS = '<order sym="X" amount="1" limit="1"/>' * 100  # some 5 KB of events


@pytest.fixture
def start_small(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Gateway]:
    """Start a gateway with small buffers, which keeps little."""
    monkeypatch.setattr(feedoutput, "FULL", 8 * 1024)
    monkeypatch.setattr(feedoutput, "_LOW", 2 * 1024)
    monkeypatch.setattr(feedwork, "SYMBOL_BYTES", 32 * 1024)

    def start() -> Gateway:
        gateway = start_gateway(send_buffer=4096)
        gateway.ask(CREATE)
        return gateway

    return start


@pytest.fixture
def small(start_small: Callable[[], Gateway]) -> Gateway:
    return start_small()


def status(gateway: Gateway) -> FeedStatus:
    return gateway.server.status().feed


def test_a_slow_reader_gets_the_book_in_place_of_what_it_missed(small: Gateway, connection: Session) -> None:
    slow, quick = Feed(small.connect(receive_buffer=4096), "X"), Feed(small.connect(), "X")
    assert [slow.next().tag, quick.next().tag] == ["snapshot", "snapshot"]
    for _ in range(40):
        trade(small, 1, ORDERS)
        quick.until_now(connection, "X")
    assert quick.books["X"].snapshots == 1
    book = slow.until_now(connection, "X")
    assert book.snapshots == 2
    assert book.updates < quick.books["X"].updates
    assert status(small).late == 1
    # From now on it is as quick as the others.
    trade(small, 1, '<cancel id="1"/>')
    assert slow.until_now(connection, "X").snapshots == 2


def test_a_reader_that_is_a_little_late_misses_nothing(small: Gateway, connection: Session) -> None:
    late = Feed(small.connect(receive_buffer=4096), "X")
    late.next()
    for _ in range(6):
        trade(small, 1, ORDERS)
    wait_until(lambda: small.traffic.unsent_bytes, "something has found no room")
    book = late.until_now(connection, "X")
    assert (book.snapshots, book.updates) == (1, 6)


def test_what_is_kept_for_slow_readers_has_a_bound(small: Gateway, connection: Session) -> None:
    slow = [Feed(small.connect(receive_buffer=4096), "X") for _ in range(20)]
    for one in slow:
        one.next()
    quick = Feed(small.connect(), "X")
    for _ in range(40):
        trade(small, 1, ORDERS)
        quick.until_now(connection, "X")
    assert status(small).kept_bytes <= feedwork.SYMBOL_BYTES
    assert small.traffic.unsent_bytes <= len(slow) * feedoutput.FULL
    for one in slow:
        assert one.until_now(connection, "X").snapshots == 2


def test_who_resumes_far_back_holds_up_nobody(
    start_small: Callable[[], Gateway], connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedwork, "_UPDATES", 3)
    small = start_small()
    for _ in range(30):
        trade(small, 1, ORDERS[: len(ORDERS) // 5])
    back = Feed(small.connect(receive_buffer=4096))
    back.subscribe("X", 1)
    assert back.next().tag == "resumed"
    quick = Feed(small.connect(), "X")
    quick.until_now(connection, "X")
    trade(small, 1, '<order sym="X" amount="1" limit="1"/>')
    quick.until_now(connection, "X")
    book = back.until_now(connection, "X")
    assert (book.snapshots, book.updates) == (0, 31)


def test_updates_that_are_forgotten_while_they_are_read_make_a_snapshot(
    start_small: Callable[[], Gateway], connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedwork, "_UPDATES", 2)
    small = start_small()
    for _ in range(30):
        trade(small, 1, ORDERS[: len(ORDERS) // 5])
    back = Feed(small.connect(receive_buffer=4096))
    back.subscribe("X", 1)
    assert back.next().tag == "resumed"
    wait_until(lambda: small.traffic.unsent_bytes, "it can be sent no more")
    connection.execute("delete from exchange.updates where seq < 29")
    assert back.until_now(connection, "X").snapshots == 1


def test_a_reader_that_takes_nothing_is_closed(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway = start_gateway(send_buffer=4096, request_timeout=1)
    gateway.ask(CREATE)
    mute = gateway.connect(receive_buffer=4096)
    mute.send(b'<subscribe sym="X"/>')
    assert mute.socket.recv(65536)
    quick = Feed(gateway.connect(), "X")
    quick.next()
    for _ in range(20):
        trade(gateway, 1, ORDERS)
    quick.until("X", 20)
    wait_until(lambda: "closing a client that takes no replies" in caplog.text, "it is closed")
    wait_until(lambda: status(gateway).subscribers == 1, "the feed knows")


def test_there_is_a_heartbeat_when_there_is_nothing_else(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "_HEARTBEAT", 0.1)
    gateway = start_gateway(idle_timeout=1)
    gateway.ask(CREATE)
    idle, feed = gateway.connect(), Feed(gateway.connect(), "X")
    assert feed.next().tag == "snapshot"
    assert [next(feed.documents()).tag for _ in range(4)] == ["heartbeat"] * 4
    assert idle.is_closed()  # and the feed isn't
    trade(gateway, 1, '<order sym="X" amount="1" limit="1"/>')
    assert feed.next().tag == "update"


def test_a_client_that_is_gone_is_forgotten(small: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_HEARTBEAT", 0.1)
    feeds = [Feed(small.connect(), "X", "Y") for _ in range(3)]
    for one in feeds:
        one.next()
        one.next()
    assert status(small).subscribers == 3
    for one in feeds:
        one.client.socket.close()
    wait_until(lambda: status(small).subscribers == 0, "they are noticed")
    assert status(small).kept_bytes == 0
    assert small.traffic.connections == 0


def test_a_client_that_floods_a_feed_is_not_read_for_ever(small: Gateway) -> None:
    client = small.connect(receive_buffer=4096)
    client.send(b'<subscribe sym="X"/>')
    client.socket.settimeout(0.1)
    flood = b"<nonsense/>" * 100_000
    with pytest.raises(TimeoutError):
        client.send_raw(flood * 10)
    wait_until(lambda: small.traffic.unread == 1, "it is read no more")


def test_snapshots_that_nobody_takes_have_a_bound(
    small: Gateway, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slow client holds a different one: the oldest are closed."""
    monkeypatch.setattr(feedwork, "_SNAPSHOT_BYTES", 200 * 1024)
    slow = []
    for _ in range(12):
        trade(small, 1, ORDERS * 5)
        slow.append(Feed(small.connect(receive_buffer=4096), "X"))
        wait_until(lambda: status(small).snapshots == len(slow), "it is made")
    wait_until(lambda: small.traffic.connections < len(slow), "some are closed")
    assert status(small).kept_bytes <= 400 * 1024
    assert slow[-1].until_now(connection, "X").snapshots == 1


def test_with_tls(start_gateway: StartGateway, connection: Session, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    gateway = start_gateway(tls_cert=authority.issue("the exchange", server_only=True), send_buffer=4096)
    gateway.tls = authority.trust()
    gateway.ask(CREATE)
    feed = Feed(gateway.connect(receive_buffer=4096), "X")
    for _ in range(30):
        trade(gateway, 1, ORDERS)
    feed.until_now(connection, "X")
    late = Feed(gateway.connect(receive_buffer=4096), "X")
    assert late.until_now(connection, "X").snapshots == 1


def test_each_of_several_processes_has_a_feed(
    database: str, connection: Session, start_service: StartService
) -> None:
    service: Service = start_service("--database-url", database, "--processes", "2")
    clients = [WireClient(service.address) for _ in range(4)]
    clients[0].ask(CREATE)
    subscribed = [Feed(client, "X") for client in clients[1:]]
    for one in subscribed:
        one.next()
    clients[0].ask(b'<transactions id="1">' + ORDERS.encode() + b"</transactions>")
    for one in subscribed:
        one.until_now(connection, "X")
    service.process.terminate()
    for client in clients:
        client.socket.close()
    assert service.end()[0] == 0
