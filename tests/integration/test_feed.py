"""The feed: what subscribers are told of books, over the wire."""

import pytest

from tests.integration.conftest import Gateway, Session
from tests.integration.feeding import Feed

_CREATE = b"""
<create>
  <account id="1" balance="100000"/><account id="2" balance="100000"/>
  <symbol sym="X"><account id="1">1000</account><account id="2">1000</account></symbol>
  <symbol sym="Y"><account id="1">1000</account><account id="2">1000</account></symbol>
</create>
"""


@pytest.fixture
def market(gateway: Gateway) -> Gateway:
    """Two accounts with money and shares of X and Y."""
    assert {child.tag for child in gateway.ask(_CREATE)} == {"created"}
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
        b'<subscribe sym="Z"/>',
        b'<transactions id="1"><order sym="X" amount="2" limit="2"/></transactions>',
        b'<subscribe sym="X"/>',
        b'<create><account id="3" balance="1"/></create>',
        b"<nonsense",
    )
    assert client.reply()[0].tag == "opened"
    feed = Feed(client)
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
