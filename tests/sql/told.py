"""What the reference exchange says to a request, as rows of an answer; whether an answer says the same."""

import re
import time
from collections.abc import Iterator
from decimal import Decimal

from pgbourse.loadtest.reference import Order, ReferenceExchange, Terms
from tests.sql.market import Answer, Request, Said

__all__ = ["assert_answered", "assert_same", "carry_out", "terms_of"]

# What a row must say, by the names of Answer's fields; what isn't named may be anything.
Row = dict[str, object]

_NUMBERS = ("shares", "price", "amount")
_PLAIN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")

# Words in which the numbers of a refusal are told.
_WORDS = {
    "unfilled": r"\b{} of [0-9.]+ shares",
    "ref_taken": r"is order {} already$",
    "open_differs": r" {} (open shares|shares are open)\b",
}


def assert_answered(model: ReferenceExchange, request: Request, answers: list[Answer]) -> None:
    """Carry out a request in the model, and fail unless the answer says what that says."""
    assert_same(carry_out(model, request, answers), answers)


def assert_same(rows: list[Row], answers: list[Answer]) -> None:
    """Fail unless each answer says what its row does."""
    said = [_read(answer) for answer in answers]
    seen = [
        {name: there[name] for name in row if name != "message"}
        for row, there in zip(rows, said, strict=False)
    ]
    assert len(rows) == len(said) and [_without_text(row) for row in rows] == seen, (rows, answers)  # noqa: PT018
    for row, answer in zip(rows, answers, strict=True):
        if "message" in row:
            assert re.search(str(row["message"]), answer.message or ""), (row, answer)


def carry_out(model: ReferenceExchange, request: Request, answers: list[Answer]) -> list[Row]:
    """Carry out a request in the model; new orders and switches get the id and the time of the answer."""
    result = _result(model, request, answers)
    if isinstance(result, str):
        code, _, number = result.partition(" ")
        if code in ("created", "disarmed", "not_due"):
            return [{"outcome": code}]
        return [_refusal(code, number)]
    return list(result)


def _result(model: ReferenceExchange, request: Request, answers: list[Answer]) -> str | list[Row]:
    account, sym, said = request.account or "", request.sym, request.said or Said()
    amount, limit = Decimal(request.amount or 0), None if request.limit is None else Decimal(request.limit)
    named = request.order_id if request.order_id is not None else said.ref or ""
    match request.action:
        case "create_account":
            return model.create_account(account, amount)
        case "create_symbol":
            model.symbols.add(sym or "")
            return "created"
        case "grant_shares":
            return model.grant_shares(sym or "", account, amount)
        case "place_order":
            return _opened(
                model, model.place_order(account, sym or "", amount, limit, terms_of(said)), answers
            )
        case "replace_order":
            old = request.order_id if request.order_id is not None else said.of_ref or ""
            if_open = None if said.if_open is None else Decimal(said.if_open)
            placed = model.replace_order(account, old, amount, limit or Decimal(0), terms_of(said), if_open)
            return _opened(model, placed, answers)
        case "query_order":
            return _parts(model.query_order(account, named))
        case "cancel_order":
            return _parts(model.cancel_order(account, named))
        case "reduce_order":
            return _reduced(model, model.reduce_order(account, named, shares=amount), account, named)
        case "reduce_order_to":
            return _reduced(model, model.reduce_order(account, named, to=amount), account, named)
        case "cancel_all":
            return _all_canceled("canceled_all", model.cancel_all(account, sym))
        case "arm_switch":
            return _armed(model, account, int(amount), answers)
        case "disarm_switch":
            return model.disarm_switch(account)
        case "fire_switch":
            return _all_canceled("fired", model.fire_switch(account, Decimal(time.time())))
        case "look_account":
            return _account(model, account)
        case "list_orders":
            return _listed(model, request)
        case "look_book":
            return _book(model, account, sym or "", int(amount))
    raise AssertionError(request.action)


def terms_of(said: Said | None) -> Terms:
    """Read what a request says, for the model."""
    said = said or Said()
    budget = None if said.budget is None else Decimal(said.budget)
    return Terms(said.ref, said.type, budget, said.tif, bool(said.post), said.stp)


def _opened(model: ReferenceExchange, placed: str | Order, answers: list[Answer]) -> str | list[Row]:
    if isinstance(placed, str):
        return placed
    is_again = placed.order_id != 0
    if not is_again:
        assert answers[0].order_id is not None, (answers, placed)
        model.number(placed, answers[0].order_id)
    told = dict(placed.told())
    rows: list[Row] = [{"outcome": "opened", "order_id": placed.order_id}]
    if "replaced" in told:
        rows[0]["sym"] = placed.sym  # its client didn't say it
        rows.append({"outcome": "replaced", "order_id": told["replaced"], "shares": told["released"]})
    if "executed" in told:
        rows.append({"outcome": "filled", "shares": told["executed"]})
        rows.append({"outcome": "canceled", "shares": told["canceled"]})
    rows += [{"outcome": "passed", "order_id": order_id} for order_id in placed.passed]
    return rows + ([{"outcome": "duplicate"}] if is_again else [])


def _parts(order: str | Order) -> str | list[Row]:
    if isinstance(order, str):
        return order
    state = [("open", order.open)] if order.open else [("canceled", order.canceled)] if order.canceled else []
    parts: list[tuple[str, Decimal, Decimal | None]] = [(word, shares, None) for word, shares in state]
    parts += [("reduced", shares, None) for shares in order.reductions]
    parts += [("executed", shares, price) for shares, price in order.fills]
    return [
        {"outcome": word, "order_id": order.order_id, "shares": shares, "price": price}
        for word, shares, price in parts
    ]


def _reduced(
    model: ReferenceExchange, reduced: str | tuple[Decimal, Decimal], account: str, named: int | str
) -> str | list[Row]:
    if isinstance(reduced, str):
        return reduced
    order = model.query_order(account, named)
    assert isinstance(order, Order)
    return [
        {"outcome": word, "order_id": order.order_id, "shares": shares}
        for word, shares in zip(("reduced", "open"), reduced, strict=True)
    ]


def _all_canceled(outcome: str, canceled: str | list[tuple[int, Decimal]]) -> str | list[Row]:
    if isinstance(canceled, str):
        return canceled
    return [
        {"outcome": outcome},
        *({"outcome": "canceled", "order_id": order_id, "shares": shares} for order_id, shares in canceled),
    ]


def _armed(model: ReferenceExchange, account: str, seconds: int, answers: list[Answer]) -> str | list[Row]:
    fires_at = answers[0].at or 0
    armed = model.arm_switch(account, seconds, Decimal(fires_at - seconds))
    if isinstance(armed, str):
        return armed
    assert -1 < fires_at - seconds - time.time() + 30 < 32, "it fires at another time than it was armed for"
    return [{"outcome": "armed", "at": armed}]


def _account(model: ReferenceExchange, account: str) -> str | list[Row]:
    seen = model.look_account(account)
    if isinstance(seen, str):
        return seen
    cash, reserved, fires_at, positions = seen
    return [
        {"outcome": "account", "shares": cash, "amount": reserved, "at": fires_at},
        *(
            {"outcome": "position", "sym": sym, "shares": free, "amount": bound}
            for sym, free, bound in positions
        ),
    ]


def _listed(model: ReferenceExchange, request: Request) -> str | list[Row]:
    most = 1000 if request.amount is None else int(request.amount)
    listed = model.list_orders(request.account or "", request.sym, request.order_id or 0, most)
    if isinstance(listed, str):
        return listed
    orders, is_more = listed
    rows: list[Row] = [{"outcome": "orders"}]
    rows += [
        {
            "outcome": "order",
            "order_id": order.order_id,
            "sym": order.sym,
            "amount": order.shares if order.buying else -order.shares,
            "price": order.limit,
            "shares": order.open,
            "ref": order.terms.ref,
        }
        for order in orders
    ]
    return rows + ([{"outcome": "more"}] if is_more else [])


def _book(model: ReferenceExchange, account: str, sym: str, depth: int) -> str | list[Row]:
    book = model.look_book(account, sym, depth)
    if isinstance(book, str):
        return book
    is_halted, bids, asks = book
    rows: list[Row] = [{"outcome": "book"}]
    rows += [{"outcome": "halted"}] if is_halted else []
    return [*rows, *_levels("bid", bids), *_levels("ask", asks)]


def _levels(side: str, levels: list[tuple[Decimal, Decimal, int]]) -> Iterator[Row]:
    for price, shares, number in levels:
        yield {"outcome": side, "price": price, "shares": shares, "amount": Decimal(number)}


def _refusal(code: str, number: str) -> Row:
    row: Row = {"outcome": "refused", "code": _same_code(code)}
    return row | {"message": _WORDS[code].format(re.escape(number))} if number else row


def _same_code(code: str | None) -> str | None:
    """What several things are wrong with may be refused for any of them."""
    return "invalid" if code is not None and code.startswith("invalid_") else code


def _without_text(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "message"}


def _read(answer: Answer) -> Row:
    """Read an answer's numbers, which must be written as a client gets them."""
    row: Row = answer._asdict() | {"code": _same_code(answer.code)}
    for name in _NUMBERS:
        text = row[name]
        if text is not None:
            assert _PLAIN.fullmatch(str(text)), (name, answer)
            row[name] = Decimal(str(text))
    return row
