"""What a client writes is what the gateway reads, and every reply of the gateway has its result."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbourse.client import (
    Account,
    Armed,
    ArmSwitch,
    Book,
    Cancel,
    CancelAll,
    Canceled,
    CanceledAll,
    Cancellation,
    Created,
    Disarmed,
    DisarmSwitch,
    Execution,
    Grant,
    Level,
    ListOrders,
    LookAccount,
    LookBook,
    NewAccount,
    NewSymbol,
    Opened,
    OpenOrder,
    Order,
    Orders,
    Position,
    Query,
    Reduce,
    Reduced,
    Refused,
    Replace,
    ReplyError,
    Server,
    Status,
    Transaction,
    create_document,
    read_reply,
    transactions_document,
)
from pgbourse.wire.messages import ResultRow, format_reply, parse

AT = 1519348326
TIME = datetime(2018, 2, 23, 1, 12, 6, tzinfo=UTC)


def test_a_create_document_asks_for_its_parts_in_order() -> None:
    document = parse(
        create_document(NewAccount("007", 10), NewSymbol("X"), Grant("Y", "007", Decimal("0.5")))
    )
    asked = [(r.action, r.account_id, r.sym, r.amount) for r in document.requests]
    assert asked == [
        ("create_account", "007", None, "10"),
        ("create_symbol", None, "X", None),
        ("grant_shares", "007", "Y", "0.5"),
    ]


def test_a_transactions_document_asks_for_its_parts_in_order() -> None:
    document = parse(transactions_document("1", Order("X", -3, "2.50"), Query(4), Cancel(2**63 - 1)))
    asked = [(r.action, r.account_id, r.sym, r.amount, r.limit, r.order_id) for r in document.requests]
    assert asked == [
        ("place_order", "1", "X", "-3", "2.50", None),
        ("query_order", "1", None, None, None, 4),
        ("cancel_order", "1", None, None, None, 2**63 - 1),
    ]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**17), max_value=10**17))
def test_a_decimal_arrives_as_it_is(number: Decimal) -> None:
    (child,) = parse(transactions_document("1", Order("X", number, 1))).children
    assert number == 0 or Decimal(child.amount) == number  # type: ignore[union-attr,arg-type]


def test_a_decimal_is_written_without_an_exponent() -> None:
    (request,) = parse(transactions_document("1", Order("X", Decimal("1E+3"), Decimal("1E-7")))).requests
    assert (request.amount, request.limit) == ("1000", "0.0000001")


BEYOND: list[tuple[Transaction, str]] = [
    (
        Order("X", 60, tif="FOK", type="market", budget=Decimal("1E+3"), ref="a7", stp="both"),
        '<order sym="X" amount="60" type="market" budget="1000" ref="a7" tif="FOK" stp="both"/>',
    ),
    (Order("X", -1, 2, post=True), '<order sym="X" amount="-1" limit="2" post="true"/>'),
    (
        Replace(5, amount=80, limit=146, open=Decimal("0.50"), ref="b1", tif="GTC", post=True, stp="maker"),
        '<replace id="5" open="0.50" amount="80" limit="146" ref="b1" tif="GTC" post="true" stp="maker"/>',
    ),
    (Replace(of="a7", amount=-8, limit="1.5"), '<replace of="a7" amount="-8" limit="1.5"/>'),
    (Reduce(5, to=0), '<reduce id="5" to="0"/>'),
    (Reduce(ref="a7", shares="20"), '<reduce ref="a7" shares="20"/>'),
    (Query(ref="a7"), '<query ref="a7"/>'),
    (Cancel(ref="a7"), '<cancel ref="a7"/>'),
    (CancelAll(), '<cancel all="true"/>'),
    (CancelAll("X"), '<cancel all="true" sym="X"/>'),
    (ArmSwitch(60), '<cancel all="true" after="60"/>'),
    (DisarmSwitch(), '<cancel all="true" after="0"/>'),
    (LookAccount(), "<account/>"),
    (ListOrders(), "<orders/>"),
    (ListOrders("X", after=17, max=100), '<orders sym="X" after="17" max="100"/>'),
    (LookBook("X", 5), '<book sym="X" depth="5"/>'),
]


@pytest.mark.parametrize(("item", "element"), BEYOND, ids=[element for _, element in BEYOND])
def test_what_goes_beyond_the_base_protocol_is_written_as_it_is_spelt(
    item: Transaction, element: str
) -> None:
    document = transactions_document("1", item, codes=False)
    assert document == f'<transactions id="1">{element}</transactions>'.encode()


def test_codes_are_asked_for_unless_they_are_not_wanted() -> None:
    assert transactions_document("1", Query(4)).startswith(b'<transactions id="1" codes="true">')
    assert create_document(NewSymbol("X")).startswith(b'<create codes="true">')
    assert create_document(NewSymbol("X"), codes=False).startswith(b"<create><symbol")


def test_a_float_is_not_money() -> None:
    wrong: Any = 0.1
    with pytest.raises(TypeError, match=r"0\.1 is a float: a number must be an int, a Decimal or text"):
        transactions_document("1", Order("X", 1, wrong))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")))
def test_whatever_text_is_given_stays_in_its_attribute(text: str) -> None:
    for document, count in (
        (create_document(NewAccount(text, text), NewSymbol(text)), 2),
        (transactions_document(text, Order(text, text, text), Query(1)), 2),
    ):
        assert len(parse(document).children) == count
        assert b"not readable as XML" not in format_reply(parse(create_document(NewSymbol(text))), [[_row()]])


def _row(outcome: str = "created", **values: Any) -> ResultRow:
    return ResultRow(1, outcome, **values)


@pytest.mark.parametrize(
    ("request_", "rows", "result"),
    [
        (create_document(NewAccount("1", 2)), [_row()], Created(account_id="1")),
        (create_document(NewSymbol("X")), [_row()], Created(sym="X")),
        (create_document(Grant("X", "1", 2)), [_row()], Created(account_id="1", sym="X")),
        (
            transactions_document("1", Order("X", Decimal("-0.10"), 2)),
            [_row("opened", order_id=7)],
            Opened(7, "X", Decimal("-0.1"), Decimal(2)),
        ),
        (
            transactions_document("1", Query(7)),
            [_row("open", shares="3"), _row("executed", shares="0.5", price="1.25", at=AT)],
            Status(7, Decimal(3), None, (Execution(Decimal("0.5"), Decimal("1.25"), TIME),)),
        ),
        (
            transactions_document("1", Query(7)),
            [_row("canceled", shares="3", at=AT)],
            Status(7, Decimal(0), Cancellation(Decimal(3), TIME), ()),
        ),
        (
            transactions_document("1", Cancel(7)),
            [_row("canceled", shares="3", at=AT), _row("executed", shares="1", price="2", at=AT)],
            Canceled(7, Cancellation(Decimal(3), TIME), (Execution(Decimal(1), Decimal(2), TIME),)),
        ),
        (
            transactions_document("1", Query(7)),
            [_row("refused", message="no such order: 7 <&>", code="unknown_order")],
            Refused("no such order: 7 <&>", {"id": "7"}, code="unknown_order"),
        ),
    ],
)
def test_each_answer_of_the_gateway_has_its_result(
    request_: bytes, rows: list[ResultRow], result: object
) -> None:
    assert read_reply(format_reply(parse(request_), [rows])) == [result]


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (
            '<opened sym="X" amount="60" type="market" budget="900.0" ref="a7" tif="IOC" stp="both" id="9" '
            'executed="50" canceled="10" passed="5 7" duplicate="true"/>',
            Opened(
                9,
                "X",
                Decimal(60),
                None,
                type="market",
                budget=Decimal(900),
                ref="a7",
                tif="IOC",
                stp="both",
                executed=Decimal(50),
                canceled=Decimal(10),
                passed=(5, 7),
                duplicate=True,
            ),
        ),
        (
            '<opened sym="SPY" amount="80" limit="146" ref="b1" post="true" '
            'id="9" replaced="5" released="30"/>',
            Opened(
                9,
                "SPY",
                Decimal(80),
                Decimal(146),
                ref="b1",
                post=True,
                replaced=5,
                released=Decimal(30),
            ),
        ),
        (
            f'<status ref="a7" id="5"><open shares="3"/><reduced shares="20" time="{AT}"/>'
            f'<reduced shares="1" time="{AT}"/><executed shares="2" price="1" time="{AT}"/></status>',
            Status(
                5,
                Decimal(3),
                None,
                (Execution(Decimal(2), Decimal(1), TIME),),
                (Cancellation(Decimal(20), TIME), Cancellation(Decimal(1), TIME)),
                "a7",
            ),
        ),
        (
            f'<canceled ref="a7" id="5"><canceled shares="3" time="{AT}"/>'
            f'<reduced shares="20" time="{AT}"/></canceled>',
            Canceled(5, Cancellation(Decimal(3), TIME), (), (Cancellation(Decimal(20), TIME),), "a7"),
        ),
        ('<reduced id="5" shares="20" open="30"/>', Reduced(5, Decimal(20), Decimal(30))),
        ('<reduced ref="a7" id="5" shares="0" open="0"/>', Reduced(5, Decimal(0), Decimal(0), "a7")),
        (
            '<canceled all="true" count="2"><order id="5" shares="10"/>'
            '<order id="9" shares="80"/></canceled>',
            CanceledAll({5: Decimal(10), 9: Decimal(80)}),
        ),
        ('<canceled all="true" sym="X" count="0"/>', CanceledAll({})),
        (f'<armed after="60" time="{AT}"/>', Armed(60, TIME)),
        ("<disarmed/>", Disarmed()),
        (
            '<account cash="854.33" reserved="145.67">'
            '<position sym="SPY" shares="80" reserved="20"/></account>',
            Account(Decimal("854.33"), Decimal("145.67"), (Position("SPY", Decimal(80), Decimal(20)),)),
        ),
        (
            f'<account cash="1" reserved="0" armed="{AT}"/>',
            Account(Decimal(1), Decimal(0), (), TIME),
        ),
        (
            '<orders count="2" more="true"><order id="18" sym="SPY" amount="-50" limit="145.5" open="20" '
            f'ref="a7" time="{AT}"/>'
            f'<order id="19" sym="SPY" amount="5" limit="1" open="5" time="{AT}"/></orders>',
            Orders(
                (
                    OpenOrder(18, "SPY", Decimal(-50), Decimal("145.5"), Decimal(20), "a7", TIME),
                    OpenOrder(19, "SPY", Decimal(5), Decimal(1), Decimal(5), None, TIME),
                ),
                more=True,
            ),
        ),
        ('<orders count="0"/>', Orders(())),
        (
            '<book sym="SPY" seq="812" halted="true"><bid price="145.5" shares="300" orders="4"/>'
            '<bid price="145" shares="1" orders="1"/><ask price="146" shares="0.5" orders="2"/></book>',
            Book(
                "SPY",
                812,
                (Level(Decimal("145.5"), Decimal(300), 4), Level(Decimal(145), Decimal(1), 1)),
                (Level(Decimal(146), Decimal("0.5"), 2),),
                halted=True,
            ),
        ),
        ('<book sym="SPY" seq="0"/>', Book("SPY", 0, (), ())),
        ('<server version="0.1.0" features="codes ref"/>', Server("0.1.0", frozenset({"codes", "ref"}))),
        (
            '<error id="7" code="unknown_order">no such order: 7</error>',
            Refused("no such order: 7", {"id": "7"}, "unknown_order"),
        ),
    ],
)
def test_each_answer_beyond_the_base_protocol_has_its_result(reply: str, result: object) -> None:
    assert read_reply(f"<results>{reply}</results>".encode()) == [result]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"<results>", "is not XML"),
        (b"<html/>", "is <html>: it must be <results>"),
        (b"<results><surprise/></results>", "surprise"),
        (b'<results><opened sym="X" amount="1" limit="1"/></results>', "'id'"),
        (b'<results><status id="1"><open shares="many"/></status></results>', "does not understand"),
        (b'<results><canceled id="1"/></results>', "does not say what it has ended"),
        (b'<results><book sym="X"/></results>', "'seq'"),
        (b'<results><orders><order id="1"/></orders></results>', "'sym'"),
    ],
)
def test_what_is_no_reply_is_told(reply: bytes, message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        read_reply(reply)
