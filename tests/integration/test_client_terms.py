"""The Python client and orders beyond the base protocol, against our server: each request, each result."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from lxml import etree

from pgbourse.client import (
    Account,
    Book,
    Canceled,
    CanceledAll,
    Client,
    ConnectionLost,
    Disarmed,
    Grant,
    Level,
    ListOrders,
    LookAccount,
    NewAccount,
    Opened,
    Order,
    Position,
    Reduced,
    Refused,
    Replace,
    RequestRefused,
    Status,
)
from pgbourse.testing import Exchange
from pgbourse.wire.framing import Framer
from tests.integration.client import WireClient


@contextlib.contextmanager
def lossy(address: tuple[str, int], replies: int) -> Iterator[tuple[str, int]]:
    """A way to a server on which so many replies arrive, then one gets lost, and the connection with it.

    The next connection is a sound one.
    """

    def lead(connection: socket.socket, most: int | None) -> None:
        framer = Framer(1 << 20)
        with connection, WireClient(address) as server:
            while data := connection.recv(65536):
                for frame in framer.feed(data):
                    reply = etree.tostring(server.ask(frame.document))
                    if most is not None and most == 0:
                        return
                    most = None if most is None else most - 1
                    connection.sendall(reply + b"\n")

    def run() -> None:
        for most in (replies, None):
            connection, _ = listener.accept()
            lead(connection, most)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()
        thread.join()


@pytest.fixture
def client(pgbourse: Exchange) -> Client:
    """Accounts 1 and 2 with cash and shares of X."""
    client = pgbourse.client
    client.create(*(NewAccount(account, 10_000) for account in "12"))
    client.create(*(Grant("X", account, 100) for account in "12"))
    return client


def test_orders_say_what_they_did_at_once(client: Client) -> None:
    client.place_order("2", "X", -30, 5)
    taken = client.place_order("1", "X", 50, 6, tif="IOC", ref="mine")
    assert taken == Opened(
        taken.order_id,
        "X",
        Decimal(50),
        Decimal(6),
        ref="mine",
        tif="IOC",
        executed=Decimal(30),
        canceled=Decimal(20),
    )
    assert client.place_order("1", "X", 50, 6, tif="IOC", ref="mine").duplicate
    with pytest.raises(RequestRefused, match="0 of 1 shares could be had") as refused:
        client.place_order("1", "X", 1, 6, tif="FOK")
    assert refused.value.code == "unfilled"
    client.place_order("2", "X", -10, 5)
    with pytest.raises(RequestRefused, match="an order rests at 5") as refused:
        client.place_order("1", "X", 1, 5, post=True)
    assert refused.value.code == "would_trade"
    bought = client.place_order("1", "X", 60, type="market", budget=20)
    assert (bought.limit, bought.budget) == (None, Decimal(20))
    assert (bought.executed, bought.canceled) == (Decimal(4), Decimal(56))
    own = client.place_order("2", "X", 8, 5, stp="maker")
    assert own.passed == (client.query_order("2", own.passed[0]).order_id,)


def test_an_order_is_changed_and_looked_at(client: Client) -> None:
    first = client.place_order("1", "X", 50, 10, ref="a1")
    reduced = client.reduce_order("1", first.order_id, shares=20)
    assert reduced == Reduced(first.order_id, Decimal(20), Decimal(30))
    assert client.reduce_order("1", ref="a1", to=25) == Reduced(first.order_id, Decimal(5), Decimal(25), "a1")
    second = client.replace_order("1", of="a1", amount=8, limit=11, open=25)
    assert (second.replaced, second.released, second.sym) == (first.order_id, Decimal(25), "X")
    assert second.ref
    status = client.query_order("1", ref="a1")
    assert type(status) is Status
    assert [part.shares for part in status.reductions] == [20, 5]
    assert status.cancellation
    assert status.cancellation.shares == 25
    canceled = client.cancel_order("1", ref=second.ref)
    assert type(canceled) is Canceled
    assert canceled.ref == second.ref


def test_what_an_account_has_and_the_book_are_told(client: Client) -> None:
    buy = client.place_order("1", "X", 50, 10)
    sell = client.place_order("1", "X", -20, 11)
    positions = (Position("X", Decimal(80), Decimal(20)),)
    assert client.look_account("1") == Account(Decimal(9500), Decimal(500), positions)
    listed = client.list_orders("1")
    assert [(order.order_id, order.amount, order.open_shares) for order in listed.orders] == [
        (buy.order_id, Decimal(50), Decimal(50)),
        (sell.order_id, Decimal(-20), Decimal(20)),
    ]
    assert [order.ref for order in listed.orders] == [buy.ref, sell.ref]
    assert client.list_orders("1", max=1).more
    assert client.list_orders("1", after=buy.order_id).orders == listed.orders[1:]
    assert client.list_orders("1", "X").orders == listed.orders
    book = client.look_book("2", "X", depth=1)
    bids, asks = (Level(Decimal(10), Decimal(50), 1),), (Level(Decimal(11), Decimal(20), 1),)
    assert book == Book("X", book.seq, bids, asks)
    assert client.cancel_all("1", "X") == CanceledAll({buy.order_id: Decimal(50), sell.order_id: Decimal(20)})
    assert client.cancel_all("1") == CanceledAll({})


def test_the_switch_is_armed_and_disarmed(client: Client) -> None:
    armed = client.arm_switch("1", 60)
    now = datetime.now(UTC)
    assert now + timedelta(seconds=30) < armed.at < now + timedelta(seconds=90)
    assert client.look_account("1").armed == armed.at
    assert client.disarm_switch("1") == Disarmed()
    assert client.look_account("1").armed is None


def test_all_kinds_go_into_one_document(client: Client) -> None:
    results = client.transact(
        "1",
        Order("X", 5, 3, ref="a"),
        Replace(of="a", amount=6, limit=3, ref="b"),
        LookAccount(),
        ListOrders(),
        Replace(of="a", amount=6, limit=3),
    )
    assert [type(result).__name__ for result in results] == [
        "Opened", "Opened", "Account", "Orders", "Refused"
    ]  # fmt: skip
    assert isinstance(results[-1], Refused)
    assert results[-1].code == "nothing_open"


def test_whatever_reply_gets_lost_each_order_is_placed_once(pgbourse: Exchange, client: Client) -> None:
    """Of three documents the first without a reply had been carried out, and those behind it not."""
    for received in (0, 1, 2):
        account = f"7{received}"
        client.create(NewAccount(account, 1000))
        with lossy(pgbourse.address, received + 1) as address, Client(*address) as trader:
            for shares in (1, 2, 3):
                trader.send_transactions(account, Order("X", shares, 1))
            first = [trader.receive() for _ in range(received)]
            with pytest.raises(ConnectionLost):
                trader.receive()
            rest = trader.resend_all()
        ids = [result.order_id for (result,) in first + rest if isinstance(result, Opened)]
        placed = client.list_orders(account).orders
        assert ids == [order.order_id for order in placed]
        assert [order.amount for order in placed] == [1, 2, 3]
        assert [isinstance(result, Opened) and result.duplicate for (result,) in rest] == (
            [True] + [False] * (2 - received)
        )
