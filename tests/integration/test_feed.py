"""The feed: what subscribers are told of books, over the wire."""

import random
from decimal import Decimal

import pytest

from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.feeding import Book, Feed

CREATE = b"""
<create>
  <account id="1" balance="100000"/><account id="2" balance="100000"/>
  <symbol sym="X"><account id="1">1000</account><account id="2">1000</account></symbol>
  <symbol sym="Y"><account id="1">1000</account><account id="2">1000</account></symbol>
</create>
"""


@pytest.fixture
def market(gateway: Gateway) -> Gateway:
    """Two accounts with money and shares of X and Y."""
    assert {child.tag for child in gateway.ask(CREATE)} == {"created"}
    return gateway


def trade(gateway: Gateway, account: int, children: str) -> list[str]:
    """Have an account do something, and return what that is answered."""
    reply = gateway.ask(f'<transactions id="{account}">{children}</transactions>'.encode())
    return [str(child.tag) for child in reply]


def test_it_begins_with_the_book_and_goes_on_with_what_happens(market: Gateway, connection: Session) -> None:
    trade(market, 1, '<order sym="X" amount="5" limit="10"/><order sym="X" amount="-3" limit="11.50"/>')
    feed = Feed(market.connect(), "X")
    assert feed.line() == (
        b'<snapshot sym="X" seq="1"><order id="1" side="buy" price="10" shares="5"/>'
        b'<order id="2" side="sell" price="11.5" shares="3"/></snapshot>\n'
    )
    trade(market, 2, '<order sym="X" amount="-7" limit="10"/>')
    line = feed.line()
    before, time, after = line.split(b'"', 6)[:5], line.split(b'"', 6)[5], line.split(b'"', 6)[6]
    assert b'"'.join(before) == b'<update sym="X" seq="2" time='
    assert float(time) > 1.7e9
    assert after == (
        b'><trade price="10" shares="5" buy="1" sell="3"/>'
        b'<add id="3" side="sell" price="10" shares="2"/></update>\n'
    )


def test_the_book_of_the_feed_is_that_of_the_tables(market: Gateway, connection: Session) -> None:
    feed = Feed(market.connect(), "X", "Y")
    assert [feed.next().get("seq"), feed.next().get("seq")] == ["0", "0"]
    for number in range(20):
        trade(
            market,
            1 + number % 2,
            f'<order sym="X" amount="{number % 7 - 3 or 5}" limit="{10 + number % 3}"/>',
        )
    feed.until_now(connection, "X")
    trade(market, 1, '<order sym="Y" amount="1" limit="1"/><order sym="X" amount="1" limit="1"/>')
    feed.until_now(connection, "X")
    assert feed.until_now(connection, "Y").seq == 1


def test_it_resumes_where_it_is_asked_to(market: Gateway, connection: Session) -> None:
    for limit in (1, 2, 3):
        trade(market, 1, f'<order sym="X" amount="1" limit="{limit}"/>')
    feed = Feed(market.connect())
    feed.subscribe("X", 2)
    assert feed.line() == b'<resumed sym="X" seq="1"/>\n'
    assert [feed.line().split(b'"')[3] for _ in range(2)] == [b"2", b"3"]
    feed.subscribe("X", 4)
    assert feed.line() == b'<resumed sym="X" seq="3"/>\n'
    trade(market, 1, '<cancel id="1"/>')
    assert feed.line().endswith(b'><remove id="1" shares="1"/></update>\n')


def test_what_else_is_asked_there_is_refused_and_not_done(market: Gateway, connection: Session) -> None:
    client = market.connect()
    client.send(
        b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>',
        b'<subscribe sym="Z" codes="true"/>',  # a feed's errors have no codes
        b'<transactions id="1" codes="true"><order sym="X" amount="2" limit="2"/></transactions>',
        b'<subscribe sym="X"/>',
        b'<create><account id="3" balance="1"/></create>',
        b"<nonsense",
    )
    feed = Feed(client)
    assert b"<results><opened " in feed.line()
    refused = b"<error>this connection is a feed: it takes &lt;subscribe&gt; and nothing else</error>\n"
    assert [feed.line() for _ in range(5)] == [
        b'<error sym="Z">no such symbol: Z</error>\n',
        refused,
        b'<snapshot sym="X" seq="1"><order id="1" side="buy" price="1" shares="1"/></snapshot>\n',
        refused,
        refused,
    ]
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (1,)
    assert connection.execute("select count(*) from exchange.accounts").fetchone() == (2,)


def test_every_kind_of_order_shows(market: Gateway, connection: Session) -> None:
    feed = Feed(market.connect(), "X")
    feed.next()
    for number in range(4):
        trade(market, 1, f'<order sym="X" amount="-10" limit="{20 + number}"/>')
        trade(market, 2, f'<order sym="X" amount="10" limit="{10 - number}" ref="r{number}"/>')
    book = feed.until_now(connection, "X")
    done = {
        '<order sym="X" amount="15" limit="21" tif="IOC"/>': "trade trade",
        '<order sym="X" amount="100" limit="23" tif="FOK"/>': "",
        '<order sym="X" amount="5" limit="22" tif="FOK"/>': "trade",
        '<order sym="X" amount="5" limit="22" post="true"/>': "",
        '<order sym="X" type="market" amount="3" budget="1000"/>': "trade",
        '<order sym="X" type="market" amount="-3"/>': "trade",
        '<order sym="X" amount="-30" limit="9" stp="taker"/>': "",
        '<order sym="X" amount="-12" limit="9" stp="maker"/>': "remove remove add",
        '<order sym="X" amount="-1" limit="8" stp="both"/>': "remove",
        '<reduce ref="r3" to="4"/>': "remove",
        '<replace of="r3" amount="2" limit="6" ref="r4"/>': "remove add",
        '<cancel ref="r4"/>': "remove",
        '<query ref="r4"/><account/><book sym="X"/>': "",
        '<order sym="X" amount="1" limit="1"/><cancel all="true"/>': "add remove remove",
    }
    for document, events in done.items():
        before = book.seq
        trade(market, 2, document)
        if not events:
            continue
        update = feed.next()
        assert [str(event.tag) for event in update] == events.split(), document
        assert book.seq == before + 1
    assert feed.until_now(connection, "X") is book
    assert trade(market, 2, '<order sym="Y" amount="1" limit="1"/>') == ["opened"]  # and nothing more of X
    feed.subscribe("Y")
    assert feed.next().get("sym") == "Y"


def test_what_others_do_to_the_database_shows_within_a_tenth_of_a_second(
    market: Gateway, start_gateway: StartGateway, connection: Session
) -> None:
    other = start_gateway()
    feed = Feed(market.connect(), "X")
    feed.next()
    trade(other, 1, '<order sym="X" amount="2" limit="3"/>')
    assert [event.tag for event in feed.next()] == ["add"]
    connection.execute("select * from exchange.place_order('2', 'X', -1, 3)")
    assert [event.tag for event in feed.next()] == ["trade"]
    connection.execute("select exchange.halt_symbol('X')")
    assert [event.tag for event in feed.next()] == ["halt"]
    late = Feed(market.connect(), "X")
    assert late.next().get("halted") == "true"
    connection.execute("select exchange.resume_symbol('X')")
    assert [event.tag for event in feed.next()] == ["resume"]
    late.until_now(connection, "X")
    # A transaction that isn't over is nobody's business, and what it did is one update.
    with connection.transaction():
        connection.execute("select * from exchange.place_order('2', 'X', -5, 9)")
        connection.execute("select exchange.freeze_account('1'), exchange.cancel_open_orders('1')")
    assert [event.tag for event in feed.next()] == ["add", "remove"]
    feed.until_now(connection, "X")


def test_a_switch_that_fires_shows(market: Gateway, connection: Session) -> None:
    feed = Feed(market.connect(), "X")
    trade(market, 1, '<order sym="X" amount="2" limit="3"/><order sym="X" amount="2" limit="3"/>')
    feed.until_now(connection, "X")
    connection.execute("select * from exchange.arm_switch('1', 1)")
    wait_until(
        lambda: connection.execute("select account_id from exchange.fire_switches()").fetchall(), "it is due"
    )
    assert [event.tag for event in feed.next()] == ["remove", "remove"]


def test_random_trading(market: Gateway, connection: Session) -> None:
    """At every seq the book of the feed is that of the tables, and that which a client sees."""
    chance = random.Random(17)
    resuming = Feed(market.connect(), "X")
    feed = Feed(market.connect(), "X", "Y")
    for number in range(120):
        account, sym = chance.choice((1, 2)), chance.choice("XY")
        trade(market, account, "".join(some_orders(chance, sym, number) for _ in range(chance.randint(1, 5))))
        for one in "XY":
            book = feed.until_now(connection, one)
            assert levels(book) == levels_shown(market, one, book.seq)
        if number % 20 == 9:  # a client that goes away, and comes back later
            resuming.until_now(connection, "X")
            resuming.client.socket.close()
        if number % 20 == 19:
            books = resuming.books
            resuming = Feed(market.connect())
            resuming.books = books
            resuming.subscribe("X", books["X"].seq + 1)
            assert resuming.next().tag == "resumed"
    assert resuming.until_now(connection, "X").snapshots == 1


def some_orders(chance: random.Random, sym: str, number: int) -> str:
    """Write one child that does something to the book, most likely."""
    order = f'sym="{sym}" amount="{chance.choice((1, 3.5, 20, -1, -3.5, -20))}"'
    limit = f'limit="{chance.randint(8, 12)}"'
    old = chance.randint(1, 3 * number + 1)
    return chance.choice(
        [
            *[f"<order {order} {limit}/>"] * 4,
            f'<order {order} {limit} tif="{chance.choice(("IOC", "FOK"))}"/>',
            f'<order {order} {limit} stp="{chance.choice(("taker", "maker", "both"))}"/>',
            f'<order {order} {limit} post="true"/>',
            f'<reduce id="{old}" shares="1.5"/>',
            f'<replace id="{old}" amount="{chance.choice((5, -5))}" {limit}/>',
            f'<cancel id="{old}"/>',
            f'<cancel all="true" sym="{sym}"/>',
        ]
    )


def levels(book: Book) -> list[tuple[str, Decimal, Decimal, int]]:
    """Add up a book's orders by price: bids and asks, best first."""
    found: dict[tuple[str, Decimal], list[Decimal]] = {}
    for side, price, shares in book.orders.values():
        found.setdefault(("bid" if side == "buy" else "ask", price), []).append(shares)
    added = [(side, price, sum(shares, Decimal(0)), len(shares)) for (side, price), shares in found.items()]
    return sorted(added, key=lambda level: (level[0] == "ask", -level[1] if level[0] == "bid" else level[1]))


def levels_shown(gateway: Gateway, sym: str, seq: int) -> list[tuple[str, Decimal, Decimal, int]]:
    """Ask for a book as a client does; it must be that after this update."""
    (book,) = gateway.ask(f'<transactions id="1"><book sym="{sym}" depth="1000"/></transactions>'.encode())
    assert book.get("seq") == str(seq)
    return [
        (str(level.tag), Decimal(level.get("price")), Decimal(level.get("shares")), int(level.get("orders")))
        for level in book
    ]


def test_what_is_no_longer_kept_or_lies_ahead_is_a_snapshot(market: Gateway, connection: Session) -> None:
    for limit in (1, 2, 3):
        trade(market, 1, f'<order sym="X" amount="1" limit="{limit}"/>')
    connection.execute("delete from exchange.updates where seq = 1")
    feed = Feed(market.connect())
    for first, answer in {1: "snapshot", 2: "resumed", 3: "resumed", 4: "resumed", 5: "snapshot"}.items():
        feed.books.clear()
        feed.subscribe("X", first)
        document = feed.next()
        assert (document.tag, document.get("seq")) == (answer, str(first - 1) if answer == "resumed" else "3")
        feed.until_now(connection, "X")
    feed.books.clear()
    feed.subscribe("X", 10**40)
    assert feed.next().tag == "snapshot"


def test_a_second_subscription_to_a_symbol_is_answered_anew_and_doubles_nothing(
    market: Gateway, connection: Session
) -> None:
    feed = Feed(market.connect(), "X", "X", "Y", "X")
    assert [feed.next().get("sym") for _ in range(4)] == ["X", "X", "Y", "X"]
    for limit in (1, 2, 3):
        trade(market, 1, f'<order sym="X" amount="1" limit="{limit}"/>')
        feed.until_now(connection, "X")
    assert (feed.books["X"].snapshots, feed.books["X"].updates) == (3, 3)
    feed.books.pop("X")
    feed.subscribe("X", 2)
    assert feed.next().tag == "resumed"
    feed.until(sym="X", seq=3)
    trade(market, 1, '<order sym="X" amount="1" limit="4"/>')
    assert feed.until_now(connection, "X").updates == 3


@pytest.mark.parametrize("reply_framing", ["plain", "length", "mirror"])
def test_it_is_lines_whatever_the_framing(start_gateway: StartGateway, reply_framing: str) -> None:
    gateway = start_gateway(reply_framing=reply_framing)
    gateway.ask(b'<create><account id="1" balance="9"/><symbol sym="X"/></create>')
    document = b'<subscribe sym="X"/>'
    binary = len(document).to_bytes(4, "little")
    for data in (
        document,
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<subscribe sym='X'></subscribe>\0",
        b"%d\n%b" % (len(document), document),
        b"%d\r\n%b" % (len(document), document),
        binary + b"\n" + document,
        binary + document,
    ):
        client = gateway.connect()
        client.send_raw(data + data)
        assert [Feed(client).line() for _ in range(1)] == [b'<snapshot sym="X" seq="0"/>\n']


def test_what_comes_before_is_answered_before(market: Gateway, connection: Session) -> None:
    """However documents arrive: each is done if it stands before the first <subscribe>."""
    order = b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>'
    large = b'<transactions id="1">' + b'<order sym="X" amount="1" limit="1"/>' * 1_000 + b"</transactions>"
    subscribe = b'<subscribe sym="X"/>'
    documents = [order, large, order, subscribe, order, large, b"<nonsense>", subscribe, order]
    for pieces in ([documents], [[document] for document in documents]):
        before = count(connection, "orders")
        client = market.connect()
        for piece in pieces:
            client.send(*piece)
        feed = Feed(client)
        assert [feed.line().count(b"<opened ") for _ in range(3)] == [1, 1_000, 1]
        answers = [str(feed.next().tag) for _ in range(6)]
        assert answers == ["snapshot", "error", "error", "error", "snapshot", "error"]
        assert count(connection, "orders") == before + 1_002


def count(connection: Session, table: str) -> int:
    row = connection.execute(f"select count(*) from exchange.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_a_frame_that_is_none_ends_the_feed_with_an_error(market: Gateway) -> None:
    client = market.connect()
    client.send_raw(b'<subscribe sym="X"/>nonsense')
    feed = Feed(client)
    assert feed.line() == b'<snapshot sym="X" seq="0"/>\n'
    assert feed.line().startswith(b"<error>a request can't begin with 'nons'")
    assert feed.line() == b""


def test_it_goes_on_for_who_sends_nothing_more(market: Gateway, connection: Session) -> None:
    client = market.connect()
    client.send(b'<subscribe sym="X"/>')
    client.half_close()
    feed = Feed(client)
    feed.next()
    trade(market, 1, '<order sym="X" amount="1" limit="1"/>')
    feed.until_now(connection, "X")


def test_it_goes_on_where_replies_end_connections(start_gateway: StartGateway, connection: Session) -> None:
    gateway = start_gateway(close_after_reply=True)
    gateway.ask(CREATE)
    feed = Feed(gateway.connect(), "X")
    feed.next()
    trade(gateway, 1, '<order sym="X" amount="1" limit="1"/>')
    feed.until_now(connection, "X")


def test_a_stop_ends_it_at_once_and_properly(start_gateway: StartGateway) -> None:
    gateway = start_gateway(drain_timeout=60)
    gateway.ask(CREATE)
    feed, mute = Feed(gateway.connect(), "X", "Y"), gateway.connect()
    assert [feed.next().tag, feed.next().tag] == ["snapshot", "snapshot"]
    gateway.server.stop()
    assert feed.line() == b""
    assert mute.is_closed()
