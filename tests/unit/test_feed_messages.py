"""What a <subscribe> asks for, and what a feed sends."""

import pytest

from pgbourse.wire.feed import (
    Event,
    FeedDocument,
    Order,
    Subscription,
    feed_error,
    format_heartbeat,
    format_resumed,
    format_snapshot,
    format_updates,
)
from pgbourse.wire.messages import Document, Refusal, parse, parse_all

_NUMBER = "it must be the number of the first update that is wanted, 1 or more"


def asked(document: bytes) -> Subscription | Refusal:
    """Read a document on its own, and together with others, and return what the feed is to answer."""
    parsed = parse(document)
    assert isinstance(parsed, FeedDocument)
    assert not parsed.requests
    order = b'<transactions id="1"><query id="1"/></transactions>'
    before, together, after = parse_all([order, document, order])
    assert isinstance(together, FeedDocument)
    assert type(before) is type(after) is Document
    assert together.asked == parsed.asked
    return parsed.asked


@pytest.mark.parametrize(
    ("document", "sym", "first"),
    [
        (b'<subscribe sym="SPY"/>', "SPY", None),
        (b'<?xml version="1.0"?><subscribe sym="a1"></subscribe>', "a1", None),
        (b'<subscribe from="813" sym="SPY">\n <!-- nothing --> </subscribe>', "SPY", 813),
        (b'<subscribe sym="SPY" from="007"/>', "SPY", 7),
        (b'<subscribe sym="SPY" from="9223372036854775808"/>', "SPY", 2**63 - 1),
        (b'<subscribe sym="SPY" codes="maybe" FROM="x"/>', "SPY", None),  # attributes that nobody knows
    ],
)
def test_a_subscription(document: bytes, sym: str, first: int | None) -> None:
    wanted = asked(document)
    assert isinstance(wanted, Subscription)
    assert (wanted.sym, wanted.first) == (sym, first)


def test_an_error_would_repeat_what_the_client_wrote() -> None:
    wanted = asked(b'<subscribe from="007" sym="SPY" ref="x"/>')
    assert isinstance(wanted, Subscription)
    assert wanted.echo == ' sym="SPY" from="007"'


@pytest.mark.parametrize(
    ("document", "echo", "message"),
    [
        (b"<subscribe/>", "", "sym is missing: it must be 1 to 255 ASCII letters and digits"),
        (
            b'<subscribe from="5"/>',
            ' from="5"',
            "sym is missing: it must be 1 to 255 ASCII letters and digits",
        ),
        (
            b'<subscribe sym="S-Y" from="5"/>',
            ' sym="S-Y" from="5"',
            "sym 'S-Y' is not allowed: it must be 1 to 255 ASCII letters and digits",
        ),
        *[
            (
                f'<subscribe sym="SPY" from="{value}"/>'.encode(),
                f' sym="SPY" from="{value}"',
                f"from '{value}' is not allowed: {_NUMBER}",
            )
            for value in ("0", "00", "-1", "+1", "1.0", "", " 1", "x")
        ],
        (
            b'<subscribe sym="SPY"><order/></subscribe>',
            ' sym="SPY"',
            "unknown element <order>: <subscribe> holds nothing",
        ),
    ],
)
def test_a_refused_subscription(document: bytes, echo: str, message: str) -> None:
    refusal = asked(document)
    assert isinstance(refusal, Refusal)
    assert (refusal.echo, refusal.message) == (echo, message)


def test_what_begins_with_a_subscribe_and_is_not_xml_is_one() -> None:
    refusal = asked(b'<subscribe sym="SPY"><order></subscribe>')
    assert isinstance(refusal, Refusal)
    assert refusal.echo == ' sym="SPY"'
    assert refusal.message.startswith("not readable as XML: ")


def test_a_subscribe_elsewhere_is_an_unknown_element() -> None:
    parsed = parse(b'<transactions id="1"><subscribe sym="SPY"/></transactions>')
    assert type(parsed) is Document
    assert isinstance(parsed.children[0], Refusal)
    assert "unknown element <subscribe>" in parsed.children[0].message


def test_updates() -> None:
    at = "1795395163.123456"
    data, ends = format_updates(
        "SPY",
        [
            Event(813, at, "trade", "buy", 5, 8, "145.5", "50"),
            Event(813, at, "add", "sell", 9, None, "146", "80"),
            Event(813, at, "remove", "buy", 5, None, "145.5", "10"),
            Event(814, "1795395164.000000", "halt", None, None, None, None, None),
            Event(815, "1795395165.000001", "resume", None, None, None, None, None),
        ],
    )
    lines = [
        b'<update sym="SPY" seq="813" time="1795395163.123456">'
        b'<trade price="145.5" shares="50" buy="5" sell="8"/>'
        b'<add id="9" side="sell" price="146" shares="80"/><remove id="5" shares="10"/></update>\n',
        b'<update sym="SPY" seq="814" time="1795395164.000000"><halt/></update>\n',
        b'<update sym="SPY" seq="815" time="1795395165.000001"><resume/></update>\n',
    ]
    assert data == b"".join(lines)
    assert [data[start:end] for start, end in zip([0, *ends], ends, strict=False)] == lines


def test_no_updates() -> None:
    assert format_updates("SPY", []) == (b"", [])


def test_an_event_of_an_unknown_kind_does_not_pass_for_one() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        format_updates("SPY", [Event(1, "0", "refuse", None, None, None, None, None)])


def test_a_snapshot() -> None:
    orders = [Order(5, "buy", "145.5", "50"), Order(7, "sell", "146", "0.5")]
    assert format_snapshot("SPY", 812, orders, halted=False) == (
        b'<snapshot sym="SPY" seq="812"><order id="5" side="buy" price="145.5" shares="50"/>'
        b'<order id="7" side="sell" price="146" shares="0.5"/></snapshot>\n'
    )
    assert format_snapshot("SPY", 0, [], halted=True) == b'<snapshot sym="SPY" seq="0" halted="true"/>\n'


def test_a_large_snapshot_pauses() -> None:
    pauses: list[None] = []
    orders = [Order(number, "buy", "1", "1") for number in range(2_000)]
    snapshot = format_snapshot("X", 1, orders, halted=False, pause=lambda: pauses.append(None))
    assert snapshot.count(b"<order ") == 2_000
    assert len(pauses) > 2


def test_the_others() -> None:
    assert format_resumed("SPY", 812) == b'<resumed sym="SPY" seq="812"/>\n'
    assert format_heartbeat(1795395163.5) == b'<heartbeat time="1795395163.500000"/>\n'
    assert feed_error(' sym="X"', "a < b\n") == b'<error sym="X">a &lt; b&#10;</error>\n'
