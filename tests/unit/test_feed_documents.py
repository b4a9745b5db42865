"""What a feed says, document by document: read as it is meant, and refused where it makes no sense."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbourse.client import (
    Add,
    BookOrder,
    FeedError,
    FeedValue,
    Halt,
    Heartbeat,
    Remove,
    ReplyError,
    Resume,
    Resumed,
    Snapshot,
    Trade,
    Update,
)
from pgbourse.client.feedreader import FeedLines, NotOfAFeed, read_feed
from pgbourse.client.followed import Followed
from pgbourse.schema import NotValid, validate

AT = datetime(2026, 11, 23, 3, 26, 3, 123456, UTC)
TIME = "1795404363.123456"

DOCUMENTS: list[tuple[str, FeedValue]] = [
    (
        '<snapshot sym="SPY" seq="812"><order id="5" side="buy" price="145.5" shares="50"/>'
        '<order id="7" side="sell" price="146" shares="0.25"/></snapshot>',
        Snapshot(
            "SPY",
            812,
            (
                BookOrder(5, "buy", Decimal("145.5"), Decimal(50)),
                BookOrder(7, "sell", Decimal(146), Decimal("0.25")),
            ),
        ),
    ),
    ('<snapshot sym="SPY" seq="0"/>', Snapshot("SPY", 0, ())),
    ('<snapshot sym="SPY" seq="2" halted="true"></snapshot>', Snapshot("SPY", 2, (), halted=True)),
    (
        f'<update sym="SPY" seq="813" time="{TIME}"><trade price="145.5" shares="50" buy="5" sell="8"/>'
        '<add id="9" side="sell" price="146" shares="80"/><remove id="5" shares="10"/></update>',
        Update(
            "SPY",
            813,
            AT,
            (
                Trade(Decimal("145.5"), Decimal(50), 5, 8),
                Add(9, "sell", Decimal(146), Decimal(80)),
                Remove(5, Decimal(10)),
            ),
        ),
    ),
    (
        f'<update sym="S" seq="1" time="{TIME}"><halt/><resume/></update>',
        Update("S", 1, AT, (Halt(), Resume())),
    ),
    ('<resumed sym="SPY" seq="812"/>', Resumed("SPY", 812)),
    (f'<heartbeat time="{TIME}"/>', Heartbeat(AT)),
    ('<error sym="X">no such symbol: X</error>', FeedError("no such symbol: X", "X")),
    ('<error sym="X" from="a">from \'a\' is not allowed</error>', FeedError("from 'a' is not allowed", "X")),
    (
        "<error>a feed takes nothing but &lt;subscribe&gt;</error>",
        FeedError("a feed takes nothing but <subscribe>"),
    ),
]


@pytest.mark.parametrize(("document", "value"), DOCUMENTS)
def test_each_document_is_read_and_valid(document: str, value: FeedValue) -> None:
    assert read_feed(document.encode()) == value
    assert read_feed(b'<?xml version="1.0" encoding="UTF-8"?>' + document.encode()) == value
    validate(document.encode())


@pytest.mark.parametrize(
    ("time", "microseconds"), [("1795404363", 0), ("1795404363.5", 500_000), ("1795404363.000001", 1)]
)
def test_a_time_is_read_exactly(time: str, microseconds: int) -> None:
    assert read_feed(f'<heartbeat time="{time}"/>'.encode()) == Heartbeat(
        AT.replace(microsecond=microseconds)
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("<snapshot", "not XML"),
        ("", "not XML"),
        ('<snapshot sym="A"/>', "does not understand"),
        ('<snapshot seq="1"/>', "does not understand"),
        ('<snapshot sym="A" seq="1"><trade/></snapshot>', "does not understand"),
        ('<snapshot sym="A" seq="1"><order id="1" side="b" price="1" shares="1"/></snapshot>', "side 'b'"),
        (f'<update sym="A" seq="1" time="{TIME}"><cancel id="1"/></update>', "does not understand"),
        (
            f'<update sym="A" seq="1" time="{TIME}"><remove id="1" shares="x"/></update>',
            "does not understand",
        ),
        ('<update sym="A" seq="1"/>', "does not understand"),
        ('<heartbeat time="now"/>', "does not understand"),
        ("<tick/>", "has <tick>, which this client does not know"),
        ("<results><error>too many</error></results>", "does not feed: too many"),
    ],
)
def test_what_makes_no_sense_is_told(document: str, problem: str) -> None:
    with pytest.raises(ReplyError, match=problem):
        read_feed(document.encode())


def test_the_reply_to_a_request_is_told_from_what_nobody_knows() -> None:
    with pytest.raises(NotOfAFeed, match="answered with results"):
        read_feed(b"<results/>")


@given(st.lists(st.sampled_from([b"<a/>", b"<bb/>", b"", b" ", b"<c/>\r"])), st.data())
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    received = b"".join(line + b"\n" for line in lines)
    cutter, found = FeedLines(100), []
    while received:
        size = data.draw(st.integers(1, len(received)))
        cutter.feed(received[:size])
        received = received[size:]
        while (line := cutter.next()) is not None:
            found.append(line)
    assert found == [line.strip() for line in lines if line.strip()]


def test_a_line_has_a_bound() -> None:
    lines = FeedLines(5)
    lines.feed(b"<abc/>\n<ab/>")
    assert lines.next() == b"<abc/>"  # it is whole, so it needs no more room
    assert lines.next() is None
    lines.feed(b" ")
    with pytest.raises(ReplyError, match="a line of more than 5 bytes"):
        lines.next()


def followed(*values: FeedValue, start: int | None = None) -> Followed:
    """What is followed after a subscription to A, and these values."""
    symbols = Followed()
    symbols.subscribe("A", start)
    for value in values:
        symbols.take(value)
    return symbols


def update(seq: int, sym: str = "A") -> Update:
    return Update(sym, seq, AT, ())


def test_a_subscription_is_a_document() -> None:
    assert Followed().subscribe("SPY", None) == b'<subscribe sym="SPY"/>'
    assert Followed().subscribe('"<&', 813) == b'<subscribe sym=\'"&lt;&amp;\' from="813"/>'


@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ([], b'<subscribe sym="A"/>'),
        ([Snapshot("A", 0, ())], b'<subscribe sym="A" from="1"/>'),
        ([Snapshot("A", 4, ()), update(5), update(6)], b'<subscribe sym="A" from="7"/>'),
        ([Snapshot("A", 4, ()), update(5), Snapshot("A", 90, ())], b'<subscribe sym="A" from="91"/>'),
        ([Snapshot("A", 4, ()), Snapshot("A", 2, ()), update(3)], b'<subscribe sym="A" from="4"/>'),
        ([Snapshot("A", 4, ()), FeedError("from 'x' is not allowed", "A")], b'<subscribe sym="A" from="5"/>'),
    ],
)
def test_a_new_connection_goes_on_after_the_last_update(values: list[FeedValue], asks: bytes) -> None:
    symbols = followed(*values)
    assert list(symbols.on_new_connection()) == [asks]
    assert list(symbols.on_new_connection()) == [asks]


def test_a_subscription_from_an_update_begins_there_on_any_connection() -> None:
    symbols = followed(start=9)
    assert list(symbols.on_new_connection()) == [b'<subscribe sym="A" from="9"/>']
    symbols.take(Resumed("A", 8))
    symbols.take(update(9))
    assert list(symbols.on_new_connection()) == [b'<subscribe sym="A" from="10"/>']
    symbols.take(Resumed("A", 9))
    symbols.take(update(10))


def test_a_symbol_that_was_refused_is_not_asked_for_again() -> None:
    symbols = followed(FeedError("no such symbol: A", "A"), FeedError("whatever"))
    symbols.subscribe("B", None)
    assert list(symbols.on_new_connection()) == [b'<subscribe sym="B"/>']


def test_a_second_subscription_begins_anew() -> None:
    symbols = followed(Snapshot("A", 4, ()), update(5))
    symbols.subscribe("A", 3)
    symbols.take(update(6))  # which was under way
    symbols.take(Resumed("A", 2))
    symbols.take(update(3))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([update(1)], "has update 1 before any answer"),
        ([Snapshot("A", 4, ()), update(4)], "has update 4 after 4"),
        ([Snapshot("A", 4, ()), update(6)], "has update 6 after 4"),
        ([Snapshot("A", 4, ()), update(5), update(5)], "has update 5 after 5"),
        ([Snapshot("A", 4, ()), Resumed("A", 4)], "goes on after update 4"),
        ([Snapshot("B", 4, ())], "has B, which was not subscribed to"),
        ([update(1, "B")], "has B, which was not subscribed to"),
    ],
)
def test_what_is_missing_or_comes_twice_is_told(values: list[FeedValue], problem: str) -> None:
    with pytest.raises(ReplyError, match=problem):
        followed(*values)


def test_a_symbol_is_resumed_where_it_was_left_and_nowhere_else() -> None:
    symbols = followed(Snapshot("A", 4, ()), update(5))
    list(symbols.on_new_connection())
    for seq in (4, 6):
        with pytest.raises(ReplyError, match=f"goes on after update {seq}"):
            symbols.take(Resumed("A", seq))
    symbols.take(Resumed("A", 5))


@pytest.mark.parametrize(
    "document",
    [
        '<subscribe sym="SPY"/>',
        '<subscribe sym="SPY" from="1"/>',
        '<subscribe sym="SPY" from="0813"/>',
    ],
)
def test_subscriptions_that_are_valid(document: str) -> None:
    validate(document.encode())


@pytest.mark.parametrize(
    "document",
    [
        "<subscribe/>",
        '<subscribe sym="S P"/>',
        '<subscribe sym="SPY" from="0"/>',
        '<subscribe sym="SPY" from="-1"/>',
        '<subscribe sym="SPY" from="1.5"/>',
        '<subscribe sym="SPY" from=""/>',
        '<subscribe sym="SPY" depth="5"/>',
        '<subscribe sym="SPY"><order/></subscribe>',
        '<snapshot sym="SPY"/>',
        '<snapshot sym="SPY" seq="1" halted="false"/>',
        '<snapshot sym="SPY" seq="1"><order id="1" side="buy" price="1.0" shares="1"/></snapshot>',
        '<snapshot sym="SPY" seq="1"><order id="1" side="both" price="1" shares="1"/></snapshot>',
        '<snapshot sym="SPY" seq="1"><order id="1" side="buy" price="1" shares="1" account="1"/></snapshot>',
        '<update sym="SPY" seq="0" time="1.000000"><halt/></update>',
        '<update sym="SPY" seq="1" time="1.000000"/>',
        '<update sym="SPY" seq="1"><halt/></update>',
        '<update sym="SPY" seq="1" time="1.000000"><trade price="1" shares="1" buy="1"/></update>',
        '<update sym="SPY" seq="1" time="1.000000"><add id="1" price="1" shares="1"/></update>',
        '<update sym="SPY" seq="1" time="1.000000"><remove id="1"/></update>',
        '<update sym="SPY" seq="1" time="1.000000"><remove id="1" shares="0"/></update>',
        '<resumed sym="SPY"/>',
        "<heartbeat/>",
        "<error/>",
        '<error sym="X" code="unknown_symbol">no such symbol: X</error>',
    ],
)
def test_documents_that_are_not_valid(document: str) -> None:
    with pytest.raises(NotValid):
        validate(document.encode())
