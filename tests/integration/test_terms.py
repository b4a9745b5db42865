"""What is beyond the base protocol, over the wire: each element, with lanes and without."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lxml import etree

from tests.integration.client import WireClient
from tests.integration.conftest import Gateway, Session, StartGateway

CREATE = (
    b'<create><account id="1" balance="1000"/><account id="2" balance="1000"/><account id="3" balance="0"/>'
    b'<symbol sym="A"><account id="1">100</account><account id="2">100</account></symbol>'
    b'<symbol sym="B"><account id="1">100</account><account id="2">100</account></symbol></create>'
)

Say = Callable[..., list[str]]


@pytest.fixture(params=[0, 2], ids=["one-stage", "lanes"])
def gateway(request: pytest.FixtureRequest, start_gateway: StartGateway) -> Gateway:
    gateway = start_gateway(lanes=request.param)
    assert {child.tag for child in gateway.ask(CREATE)} == {"created"}
    return gateway


def lines(reply: Any) -> list[str]:
    """Each child of a reply as text, with the time taken out."""
    for element in reply.iter():
        if "time" in element.attrib:
            assert element.get("time").isdigit()
            element.set("time", "T")
    return [etree.tostring(child).decode() for child in reply]


def document(account: int, *children: str, attributes: str = "") -> bytes:
    return f'<transactions id="{account}"{attributes}>{"".join(children)}</transactions>'.encode()


@pytest.fixture
def busy(gateway: Gateway) -> Iterator[WireClient]:
    """A second client, so that nobody is alone, whose orders are done in one transaction even with lanes."""
    with gateway.connect() as client:
        yield client


@pytest.fixture
def say(gateway: Gateway, busy: WireClient) -> Say:
    """Have an account say something, as one document, while another client has something to do."""
    client = gateway.connect()
    noise = document(3, *['<order sym="A" amount="1" limit="1"/>'] * 20)

    def ask(account: int, *children: str, attributes: str = "") -> list[str]:
        busy.send(noise)
        reply = lines(client.ask(document(account, *children, attributes=attributes)))
        assert {child.tag for child in busy.reply()} == {"error"}
        return reply

    return ask


def order(amount: float | str, limit: float | str | None = None, sym: str = "A", **terms: object) -> str:
    attributes = {"sym": sym, "amount": amount, "limit": limit, **terms}
    written = "".join([f' {name}="{value}"' for name, value in attributes.items() if value is not None])
    return f"<order{written}/>"


def test_a_ref_is_answered_twice_and_done_once(say: Say, connection: Session) -> None:
    first = say(1, order(10, 5, ref="a"))
    assert first == ['<opened sym="A" amount="10" limit="5" ref="a" id="1"/>']
    assert say(1, order("10.0", "5.00", ref="a"), order(10, 5, ref="a", tif="GTC")) == [
        '<opened sym="A" amount="10.0" limit="5.00" ref="a" id="1" duplicate="true"/>',
        '<opened sym="A" amount="10" limit="5" ref="a" tif="GTC" id="1" duplicate="true"/>',
    ]
    assert say(1, order(11, 5, ref="a")) == [
        '<error sym="A" amount="11" limit="5" ref="a">ref a is order 1 already</error>'
    ]
    assert say(2, order(10, 5, ref="a")) == ['<opened sym="A" amount="10" limit="5" ref="a" id="2"/>']
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (2,)


def test_two_orders_of_one_ref_in_one_document(say: Say) -> None:
    assert say(1, order(10, 5, ref="a"), order(10, 5, ref="a"), order(9, 5, ref="a")) == [
        '<opened sym="A" amount="10" limit="5" ref="a" id="1"/>',
        '<opened sym="A" amount="10" limit="5" ref="a" id="1" duplicate="true"/>',
        '<error sym="A" amount="9" limit="5" ref="a">ref a is order 1 already</error>',
    ]


def test_query_and_cancel_by_ref(say: Say) -> None:
    say(1, order(10, 5, ref="a"))
    assert say(1, '<query ref="a"/>', '<cancel ref="a"/>', '<cancel ref="a"/>', '<query ref="b"/>') == [
        '<status ref="a" id="1"><open shares="10"/></status>',
        '<canceled ref="a" id="1"><canceled shares="10" time="T"/></canceled>',
        '<error ref="a">order 1 has no open shares to cancel</error>',
        '<error ref="b">no such order: b</error>',
    ]


def test_a_ref_stays_taken_by_what_was_cancelled(say: Say) -> None:
    assert say(
        1, order(10, 5, ref="a"), '<cancel ref="a"/>', order(10, 5, ref="a"), order(10, 6, ref="a")
    ) == [
        '<opened sym="A" amount="10" limit="5" ref="a" id="1"/>',
        '<canceled ref="a" id="1"><canceled shares="10" time="T"/></canceled>',
        '<opened sym="A" amount="10" limit="5" ref="a" id="1" duplicate="true"/>',
        '<error sym="A" amount="10" limit="6" ref="a">ref a is order 1 already</error>',
    ]


def test_what_an_order_gives_back_pays_for_the_next_of_its_document(say: Say) -> None:
    """Each takes all of the account's cash, or of its shares."""
    tags = [
        child.partition(" ")[0]
        for child in say(
            1,
            order(10, 100, tif="IOC"),
            order(10, type="market", budget=1000),
            order(-100, 1, tif="IOC"),
            order(-100, type="market"),
            order(-100, 7),
            order(10, 100, stp="taker"),
            order(10, 100, stp="both"),
            order(-50, 7),
            order(200, 5),
            order(-50, 5, stp="maker"),
            order(1000, 1),
        )
    ]
    assert tags == ["<opened"] * 11


def test_numbers_are_repeated_as_written_and_told_as_they_are(say: Say) -> None:
    say(2, order("-10.00", "5.0"), order("-9.8", 5))
    assert say(
        1,
        order("+10.0", "05.00", tif="IOC"),
        order("60.0", type="market", budget="44.00", ref="m"),
        order("60", type="market", budget="+44", ref="m", tif="IOC"),
        order("10.0", "4.50", tif="IOC"),
        order("1.50", "1", tif="FOK"),
    ) == [
        '<opened sym="A" amount="+10.0" limit="05.00" tif="IOC" id="3" executed="10" canceled="0"/>',
        # Steps of a tenth, as its amount is written.
        '<opened sym="A" amount="60.0" type="market" budget="44.00" ref="m" id="4" executed="8.8" '
        'canceled="51.2"/>',
        '<opened sym="A" amount="60" type="market" budget="+44" ref="m" tif="IOC" id="4" executed="8.8" '
        'canceled="51.2" duplicate="true"/>',
        '<opened sym="A" amount="10.0" limit="4.50" tif="IOC" id="5" executed="0" canceled="10"/>',
        '<error sym="A" amount="1.50" limit="1" tif="FOK">'
        "it can't be filled wholly at once: 0 of 1.5 shares could be had</error>",
    ]


def test_a_market_order_is_told_of_at_the_prices_that_it_paid(say: Say) -> None:
    say(2, order(-10, 5), order(-10, 6))
    say(1, order(15, type="market", budget=100))
    status, orders, account = say(1, '<query id="3"/>', "<orders/>", "<account/>")
    assert status == (
        '<status id="3"><executed shares="10" price="5" time="T"/>'
        '<executed shares="5" price="6" time="T"/></status>'
    )
    assert orders == '<orders count="0"/>'
    assert account.startswith(
        '<account cash="920" reserved="0"><position sym="A" shares="115" reserved="0"/>'
    )


def test_ioc_and_fok(say: Say) -> None:
    say(2, order(-10, 5))
    assert say(1, order(15, 5, tif="FOK")) == [
        '<error sym="A" amount="15" limit="5" tif="FOK">'
        "it can't be filled wholly at once: 10 of 15 shares could be had</error>"
    ]
    assert say(1, order(4, 5, tif="FOK"), order(15, 5, tif="IOC", ref="i")) == [
        '<opened sym="A" amount="4" limit="5" tif="FOK" id="2" executed="4" canceled="0"/>',
        '<opened sym="A" amount="15" limit="5" ref="i" tif="IOC" id="3" executed="6" canceled="9"/>',
    ]
    again, queried = say(1, order(15, 5, tif="IOC", ref="i"), '<query id="3"/>')
    assert again == (
        '<opened sym="A" amount="15" limit="5" ref="i" tif="IOC" id="3" executed="6" canceled="9" '
        'duplicate="true"/>'
    )
    assert queried == (
        '<status id="3"><canceled shares="9" time="T"/><executed shares="6" price="5" time="T"/></status>'
    )
    assert say(1, '<query id="2"/>') == [
        '<status id="2"><executed shares="4" price="5" time="T"/></status>'  # nothing of it was cancelled
    ]


def test_post_and_self_trade_prevention(say: Say) -> None:
    say(1, order(-10, 5), order(-10, 5))
    say(2, order(-10, 6))
    would_trade = (
        '<error sym="{}" amount="1" limit="5" post="true">it would trade at once: an order rests at 5</error>'
    )
    assert say(2, order(1, 5, post="true"), order(1, "4.9", post="true")) == [
        would_trade.format("A"),
        '<opened sym="A" amount="1" limit="4.9" post="true" id="4"/>',
    ]
    # As its turn comes: the order before it in the document is there.
    assert say(2, order(-1, 5, sym="B"), order(1, 5, sym="B", post="true")) == [
        '<opened sym="B" amount="-1" limit="5" id="5"/>',
        would_trade.format("B"),
    ]
    assert say(1, order(15, 6, stp="maker")) == [
        '<opened sym="A" amount="15" limit="6" stp="maker" id="6" executed="10" canceled="0" passed="1 2"/>'
    ]
    assert say(1, order(-5, 6, stp="taker")) == [
        '<opened sym="A" amount="-5" limit="6" stp="taker" id="7" executed="0" canceled="5"/>'
    ]


def test_market_orders(say: Say) -> None:
    say(2, order(-10, 5), order(-10, 6))
    assert say(1, order(15, type="market", budget=100)) == [
        '<opened sym="A" amount="15" type="market" budget="100" id="3" executed="15" canceled="0"/>'
    ]
    assert say(1, order(15, type="market", budget=13)) == [
        '<opened sym="A" amount="15" type="market" budget="13" id="4" executed="2" canceled="13"/>'
    ]
    assert say(1, order(-15, type="market")) == [
        '<opened sym="A" amount="-15" type="market" id="5" executed="0" canceled="15"/>'
    ]


def test_reduce(say: Say) -> None:
    say(1, order(10, 5, ref="a"))
    assert say(1, '<reduce id="1" shares="3"/>', '<reduce ref="a" to="5"/>', '<reduce id="1" to="5"/>') == [
        '<reduced id="1" shares="3" open="7"/>',
        '<reduced ref="a" id="1" shares="2" open="5"/>',
        '<reduced id="1" shares="0" open="5"/>',
    ]
    assert say(1, '<query id="1"/>', '<reduce id="1" to="0"/>', '<reduce id="1" to="0"/>') == [
        '<status id="1"><open shares="5"/><reduced shares="3" time="T"/>'
        '<reduced shares="2" time="T"/></status>',
        '<reduced id="1" shares="5" open="0"/>',
        '<error id="1" to="0">order 1 has no open shares to cancel</error>',
    ]
    say(1, order(10, 5, ref="b"))
    assert say(1, '<reduce ref="b" shares="99"/>', '<query ref="b"/>') == [
        '<reduced ref="b" id="2" shares="10" open="0"/>',
        '<status ref="b" id="2"><canceled shares="10" time="T"/></status>',
    ]


def test_replace(say: Say) -> None:
    say(1, order(10, 5, ref="a"))
    replace = '<replace of="a" amount="8" limit="6" ref="b" open="10"/>'
    (replaced,) = say(1, replace)
    assert replaced == '<opened sym="A" amount="8" limit="6" ref="b" id="2" replaced="1" released="10"/>'
    assert say(1, replace) == [replaced.replace("/>", ' duplicate="true"/>')]
    assert say(1, '<query id="1"/>', '<replace id="2" amount="-8" limit="6"/>', '<query ref="b"/>') == [
        '<status id="1"><canceled shares="10" time="T"/></status>',
        '<error id="2" amount="-8" limit="6">order 2 is to buy, and so must be what replaces it</error>',
        '<status ref="b" id="2"><open shares="8"/></status>',
    ]


def test_cancel_all_and_looks(say: Say) -> None:
    say(1, order(10, 5, ref="a"))
    say(1, order(-20, 9, sym="B"))
    say(1, order(-5, 9))
    *looks, book = say(1, "<account/>", "<orders/>", '<orders sym="A" max="1"/>', '<book sym="B"/>')
    assert re.sub("seq=.[0-9]+", "seq=", book) == (
        '<book sym="B" seq="><ask price="9" shares="20" orders="1"/></book>'
    )
    assert looks == [
        '<account cash="950" reserved="50"><position sym="A" shares="95" reserved="5"/>'
        '<position sym="B" shares="80" reserved="20"/></account>',
        '<orders count="3"><order id="1" sym="A" amount="10" limit="5" open="10" ref="a" time="T"/>'
        '<order id="2" sym="B" amount="-20" limit="9" open="20" time="T"/>'
        '<order id="3" sym="A" amount="-5" limit="9" open="5" time="T"/></orders>',
        '<orders count="1" more="true">'
        '<order id="1" sym="A" amount="10" limit="5" open="10" ref="a" time="T"/></orders>',
    ]
    cancel = '<cancel all="true"/>'
    assert say(1, '<cancel all="true" sym="B"/>', cancel, cancel, "<account/>") == [
        '<canceled all="true" sym="B" count="1"><order id="2" shares="20"/></canceled>',
        '<canceled all="true" count="2"><order id="1" shares="10"/><order id="3" shares="5"/></canceled>',
        '<canceled all="true" count="0"/>',
        '<account cash="1000" reserved="0"><position sym="A" shares="100" reserved="0"/>'
        '<position sym="B" shares="100" reserved="0"/></account>',
    ]


def test_the_switch(say: Say) -> None:
    armed, account, disarmed, after = say(
        1, '<cancel all="true" after="60"/>', "<account/>", '<cancel all="true" after="0"/>', "<account/>"
    )
    assert armed == '<armed after="60" time="T"/>'
    assert ' armed="' in account
    assert disarmed == "<disarmed/>"
    assert "armed" not in after


def test_codes(say: Say) -> None:
    with_codes = say(1, order(1000, 5), order(1, 5, tif="ioc"), "<server/>", attributes=' codes="true"')
    without = say(1, order(1000, 5), order(1, 5, tif="ioc"), "<server/>")
    assert [re.findall('code="([^"]*)">', child) for child in with_codes] == [
        ["insufficient_funds"],
        ["invalid_tif"],
        [],
    ]
    assert [re.sub(' code="[^"]*">', ">", child) for child in with_codes] == without


def test_while_a_symbol_is_halted_and_an_account_frozen(say: Say, connection: Session) -> None:
    say(1, order(10, 5, ref="a"), order(-20, 9, sym="B"), order(1, 1, ref="c", tif="GTC"))
    connection.execute("select exchange.halt_symbol('A'), exchange.freeze_account('1')")
    replies = say(
        1,
        order(1, 1),
        '<replace of="a" amount="1" limit="1"/>',
        order(1, 1, ref="c"),
        '<reduce ref="a" shares="1.50"/>',
        '<cancel all="true" after="60"/>',
        '<cancel ref="c"/>',
        '<cancel all="true"/>',
        "<account/>",
        attributes=' codes="true"',
    )
    assert [re.findall('^<error.* code="([a-z_]+)">', child) for child in replies[:2]] == [
        ["account_frozen"],
        ["account_frozen"],
    ]
    *changed, account = replies[2:]
    assert changed == [
        '<opened sym="A" amount="1" limit="1" ref="c" id="3" executed="0" canceled="0" duplicate="true"/>',
        '<reduced ref="a" id="1" shares="1.5" open="8.5"/>',
        '<armed after="60" time="T"/>',
        '<canceled ref="c" id="3"><canceled shares="1" time="T"/></canceled>',
        '<canceled all="true" count="2"><order id="1" shares="8.5"/><order id="2" shares="20"/></canceled>',
    ]
    assert re.match('<account cash="1000" reserved="0" armed="[0-9]+"><position sym="A" ', account)
    (book,) = say(2, '<book sym="A"/>')
    assert re.fullmatch('<book sym="A" seq="[0-9]+" halted="true"/>', book)
    assert re.search(' code="symbol_halted">', say(2, order(1, 1), attributes=' codes="true"')[0])


def test_a_book_tells_the_latest_change_of_its_own_document(say: Say, connection: Session) -> None:
    def newest() -> int:
        query = "select max(seq) from exchange.updates inner join exchange.symbols using (symbol_key) "
        (row,) = connection.execute(f"{query} where sym = 'B'".encode()).fetchall()
        return int(row[0])

    say(1, order(-1, 9, sym="B"))
    before = newest()
    _, changed, _, again = say(
        1, order(-1, 9, sym="B"), '<book sym="B"/>', '<cancel all="true"/>', '<book sym="B"/>'
    )
    assert newest() > before
    assert f' seq="{newest()}"' in again
    assert '<ask price="9" shares="2" orders="2"/>' in changed
    ioc, same = say(1, order(1, 9, sym="B", tif="IOC"), '<book sym="B"/>')
    assert ' executed="0" canceled="1"' in ioc
    assert same == again
