"""The Python client and a gateway's feed: every kind of value, and a book that is the exchange's own."""

from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from pgbourse.client import (
    Add,
    BookOrder,
    Feed,
    FeedError,
    Grant,
    Halt,
    LocalBook,
    NewAccount,
    NewSymbol,
    Remove,
    Resume,
    Resumed,
    Snapshot,
    Trade,
    Update,
)
from pgbourse.testing import Exchange
from tests.integration.conftest import Session, StartGateway
from tests.integration.tls import Authority

D = Decimal


@pytest.fixture
def market(pgbourse: Exchange) -> Exchange:
    """Account 1 with money and account 2 with shares of SPY."""
    pgbourse.client.create(
        NewAccount("1", 10**6), NewAccount("2", 10**6), NewSymbol("QQQ"), Grant("SPY", "2", 1000)
    )
    return pgbourse


def connect(exchange: Exchange, *syms: str, start: int | None = None) -> Feed:
    feed = Feed(*exchange.address, timeout=60)
    feed.subscribe(*syms, from_=start)
    return feed


def next_update(feed: Feed) -> Update:
    value = next(feed)
    assert isinstance(value, Update), value
    return value


def test_what_happens_to_a_book_is_told_in_its_order(market: Exchange) -> None:
    client = market.client
    resting = client.place_order("1", "SPY", 10, D("99.50"))
    with connect(market, "SPY") as feed:
        assert next(feed) == Snapshot("SPY", 1, (BookOrder(resting.order_id, "buy", D("99.5"), D(10)),))
        seller = client.place_order("2", "SPY", "-12.5", 90)
        update = next_update(feed)
        assert update.events == (
            Trade(D("99.5"), D(10), resting.order_id, seller.order_id),
            Add(seller.order_id, "sell", D(90), D("2.5")),
        )
        assert (update.sym, update.seq) == ("SPY", 2)
        client.reduce_order("2", seller.order_id, to=2)
        assert next_update(feed).events == (Remove(seller.order_id, D("0.5")),)
        client.place_order("1", "SPY", 5, 91, tif="IOC")  # what never rests is told as a trade alone
        assert [type(event) for event in next_update(feed).events] == [Trade]
        order = client.place_order("1", "SPY", 1, 1)
        client.cancel_order("1", order.order_id)
        first, second = next_update(feed), next_update(feed)
        assert update.at <= first.at <= second.at


def test_a_local_book_is_that_of_the_exchange(market: Exchange) -> None:
    client = market.client
    books = {sym: LocalBook(sym) for sym in ("SPY", "QQQ")}
    with connect(market, *books) as feed:
        values = [next(feed), next(feed)]
        for book in books.values():
            for value in values:
                book.apply(value)
        for number in range(30):
            client.place_order("1", "SPY", 1 + number % 3, 95 + number % 7)
            client.place_order("2", "SPY", -1 - number % 4, 98 + number % 5, stp="maker")
            if number % 5 == 0:
                client.cancel_all("1")
                client.place_order("1", "QQQ", number + 1, D("0.1") * (number + 1))
            for sym, book in books.items():
                shown = client.look_book("1", sym, 1000)
                while book.seq != shown.seq:
                    value = next(feed)
                    for each in books.values():
                        each.apply(value)
                assert book.book() == shown


def test_halts_are_told(market: Exchange) -> None:
    assert market.database_url is not None
    with psycopg.connect(market.database_url, autocommit=True) as connection, connect(market, "SPY") as feed:
        assert next(feed) == Snapshot("SPY", 0, ())
        connection.execute("select exchange.halt_symbol('SPY')")
        assert next_update(feed).events == (Halt(),)
        with connect(
            market, "SPY"
        ) as late:  # its snapshot may be of a moment ago, and the halt come after it
            book = LocalBook("SPY")
            while book.seq != 1:
                book.apply(next(late))
            assert book.halted
        connection.execute("select exchange.resume_symbol('SPY')")
        assert next_update(feed).events == (Resume(),)


def test_an_unknown_symbol_is_an_error_and_the_feed_goes_on(market: Exchange) -> None:
    with connect(market, "NONE", "SPY") as feed:
        error = next(feed)
        assert error == FeedError("no such symbol: NONE", "NONE")
        assert next(feed) == Snapshot("SPY", 0, ())


def test_a_feed_begins_at_an_update(market: Exchange) -> None:
    for limit in range(1, 6):
        market.client.place_order("1", "SPY", 1, limit)
    with connect(market, "SPY", start=4) as feed:
        assert next(feed) == Resumed("SPY", 3)
        assert [next_update(feed).seq for _ in range(2)] == [4, 5]
    with connect(market, "SPY", start=6) as feed:
        assert next(feed) == Resumed("SPY", 5)
    with connect(market, "SPY", start=7) as feed:  # further ahead than anything
        value = next(feed)
        assert isinstance(value, Snapshot)
        assert value.seq == 5


@pytest.mark.parametrize("fault", ["cut", "restart", "kill"])
def test_a_feed_resumes_whatever_becomes_of_its_connection(market: Exchange, fault: str) -> None:
    with Feed(*market.address, timeout=60, resume=True) as feed:
        feed.subscribe("SPY", "QQQ")
        values = [next(feed), next(feed)]
        for limit in range(1, 5):
            with market.connect() as client:
                client.place_order("1", "SPY", limit, limit)
                client.place_order("1", "QQQ", limit, limit)
            if fault == "cut":
                market.cut()
            else:
                market.restart(kill=fault == "kill")
        while sum(isinstance(value, Update) for value in values) < 8:
            values.append(next(feed))
        for sym in ("SPY", "QQQ"):
            book = LocalBook(sym)
            of_one = [value for value in values if getattr(value, "sym", None) == sym]
            assert [type(value) for value in of_one].count(Snapshot) == 1
            for value in of_one:
                book.apply(value)
            with market.connect() as client:
                assert book.book() == client.look_book("1", sym, 1000)
        assert any(isinstance(value, Resumed) for value in values)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def test_a_feed_speaks_tls_and_shows_a_certificate(
    start_gateway: StartGateway, authority: Authority, connection: Session
) -> None:
    connection.execute(
        "insert into exchange.certificate_accounts (certificate_name, account_id) values ('ann', '1')"
    )
    connection.execute("select exchange.create_symbol('SPY')")
    gateway = start_gateway(
        tls_cert=authority.issue("the exchange", server_only=True), tls_client_ca=authority.file
    )
    with Feed(*gateway.address, timeout=60, tls=authority.trust(authority.issue("ann"))) as feed:
        feed.subscribe("SPY")
        assert next(feed) == Snapshot("SPY", 0, ())
    with Feed(*gateway.address, timeout=60, tls=authority.trust(authority.issue("eve"))) as feed:
        feed.subscribe("SPY")
        refused = next(feed)
        assert isinstance(refused, FeedError)
        assert refused.sym == "SPY"
