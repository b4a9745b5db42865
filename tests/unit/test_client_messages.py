"""What a client writes is what the gateway reads, and every reply of the gateway has its result."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbourse.client.messages import (
    Cancel,
    Canceled,
    Cancellation,
    Created,
    Execution,
    Grant,
    NewAccount,
    NewSymbol,
    Opened,
    Order,
    Query,
    Refused,
    ReplyError,
    Status,
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
            [_row("refused", message="no such order: 7 <&>")],
            Refused("no such order: 7 <&>", {"id": "7"}),
        ),
    ],
)
def test_each_answer_of_the_gateway_has_its_result(
    request_: bytes, rows: list[ResultRow], result: object
) -> None:
    assert read_reply(format_reply(parse(request_), [rows])) == [result]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"<results>", "is not XML"),
        (b"<html/>", "is <html>: it must be <results>"),
        (b"<results><surprise/></results>", "surprise"),
        (b'<results><opened sym="X" amount="1" limit="1"/></results>', "'id'"),
        (b'<results><status id="1"><open shares="many"/></status></results>', "does not understand"),
        (b'<results><canceled id="1"/></results>', "does not say what it has ended"),
    ],
)
def test_what_is_no_reply_is_told(reply: bytes, message: str) -> None:
    with pytest.raises(ReplyError, match=message):
        read_reply(reply)
