"""Results -> XML replies, as docs/protocol.md describes them.

Nothing is shared between documents, so any number of threads may write them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, NoReturn

from pgbourse.wire.fields import escape
from pgbourse.wire.requests import Action, Answered, Child, Document, Refusal, Request

__all__ = ["Reply", "ResultRow", "error_reply", "format_reply"]


class ResultRow(NamedTuple):
    """A row of exchange.process_batch's result: one part of the answer to one request.

    Numbers are exact decimals, as text.
    """

    request: int  # its place in the batch, from 1
    outcome: str
    order_id: int | None = None
    shares: str | None = None
    price: str | None = None
    at: int | None = None  # whole seconds since the epoch
    code: str | None = None  # of a refusal
    message: str | None = None
    sym: str | None = None
    amount: str | None = None
    ref: str | None = None


_HEAD = '<?xml version="1.0" encoding="UTF-8"?><results>'
_TAIL = "</results>"


class Reply:
    """A document's reply, written as its requests are answered: XML in UTF-8 on one line, without a newline.

    Both methods raise ValueError if a request has no row, or a row has an unknown outcome: that must not look
    like success.
    """

    __slots__ = ("_children", "_codes", "_pieces", "_result")

    def __init__(self, document: Document) -> None:
        self._children = iter(document.children)
        self._pieces = [_HEAD]
        self._codes = document.codes
        self._result = _result_with_code if document.codes else _result

    def add(self, results: Sequence[Sequence[ResultRow]]) -> None:
        """Write the results of the next requests: for each of them its rows, in the database's order."""
        pieces: list[str] = []
        for rows in results:
            for child in self._children:
                if isinstance(child, Request):
                    pieces.append(self._result(child, rows))
                    break
                pieces.append(_without_database(child, self._codes))
        self._pieces.append("".join(pieces))

    def end(self) -> bytes:
        """Write what is left, which the database had no part in, and return the whole reply."""
        for child in self._children:
            self._pieces.append(_without_database(child, self._codes))
        self._pieces.append(_TAIL)
        return "".join(self._pieces).encode()


def format_reply(document: Document, results: Sequence[Sequence[ResultRow]]) -> bytes:
    """Return a document's whole reply, given the results of all its requests as `Reply` takes them."""
    pieces = [_HEAD]
    rows_of = iter(results)
    codes = document.codes
    result = _result_with_code if codes else _result
    for child in document.children:
        if type(child) is Request or isinstance(child, Request):  # the first is quicker, and nearly all
            pieces.append(result(child, next(rows_of, ())))
        else:
            pieces.append(_without_database(child, codes))
    pieces.append(_TAIL)
    return "".join(pieces).encode()


def error_reply(message: str) -> bytes:
    """Return the reply to a document of which nothing was carried out, or to input that is not a document."""
    return format_reply(Document([Refusal("", message)], []), ())


def _without_database(child: Child, codes: bool) -> str:
    """Write the result of a child that is no request."""
    if isinstance(child, Request):
        raise ValueError(f"the database gave no answer to {child}")
    if isinstance(child, Answered):
        return child.result
    return _error(child.echo, child.message, child.code if codes else "")


def _error(echo: str, message: str, code: str) -> str:
    """Write an <error>, with the code unless it is empty."""
    attribute = f' code="{code}"' if code else ""
    return f"<error{echo}{attribute}>{escape(message)}</error>"


def _result(request: Request, rows: Sequence[ResultRow]) -> str:
    if not rows:
        raise ValueError(f"the database gave no answer to {request}")
    row = rows[0]
    outcome = row.outcome
    if outcome == "opened":
        if len(rows) == 1:
            return f'<opened{request.echo} id="{row.order_id}"/>'
        return _opened(request, rows)
    if outcome in _REFUSED:
        return _error(request.error_echo or request.echo, row.message or row.code or outcome, "")
    if outcome == "created":
        return f"<created{request.echo}/>"
    return _WRITERS.get(request.action, _unforeseen)(request, rows)


def _result_with_code(request: Request, rows: Sequence[ResultRow]) -> str:
    """Write a result of a document that asks for codes."""
    if rows and rows[0].outcome in _REFUSED:
        row = rows[0]
        code = row.code or "internal"
        return _error(request.error_echo or request.echo, row.message or code, code)
    return _result(request, rows)


_REFUSED = ("refused", "failed")


def _number(text: str | None) -> str:
    """Write a number as the server does: without zeros that say nothing."""
    if text is None:
        return ""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _unforeseen(request: Request, rows: Sequence[ResultRow]) -> NoReturn:
    raise ValueError(f"the database answered {request.action} with an unknown outcome: {list(rows)}")


def _opened(request: Request, rows: Sequence[ResultRow]) -> str:
    """Write what became of an order at once. One that replaces another shows whose symbol it has."""
    opened = rows[0]
    sym = f' sym="{opened.sym}"' if request.action == Action.REPLACE_ORDER else ""
    added = [f' id="{opened.order_id}"']
    passed: list[str] = []
    duplicate = ""
    for row in rows[1:]:
        outcome = row.outcome
        if outcome == "replaced":
            added.append(f' replaced="{row.order_id}" released="{_number(row.shares)}"')
        elif outcome == "filled":
            added.append(f' executed="{_number(row.shares)}"')
        elif outcome == "canceled":
            added.append(f' canceled="{_number(row.shares)}"')
        elif outcome == "passed":
            passed.append(str(row.order_id))
        elif outcome == "duplicate":
            duplicate = ' duplicate="true"'
        else:
            _unforeseen(request, rows)
    if passed:
        added.append(f' passed="{" ".join(passed)}"')
    return f"<opened{sym}{request.echo}{''.join(added)}{duplicate}/>"


def _life(name: str, request: Request, rows: Sequence[ResultRow]) -> str:
    """Write the parts of an order's life; one that is asked for by its ref shows its id, too."""
    return _whole(name, _named(request, rows[0]), [_part(request, row) for row in rows])


def _named(request: Request, row: ResultRow) -> str:
    return request.echo if request.order_id is not None else f'{request.echo} id="{row.order_id}"'


def _whole(name: str, attributes: str, parts: Sequence[str]) -> str:
    return f"<{name}{attributes}>{''.join(parts)}</{name}>" if parts else f"<{name}{attributes}/>"


def _part(request: Request, row: ResultRow) -> str:
    if row.outcome == "executed":
        return f'<executed shares="{row.shares}" price="{row.price}" time="{row.at}"/>'
    if row.outcome == "open":
        return f'<open shares="{row.shares}"/>'
    if row.outcome in ("canceled", "reduced"):
        return f'<{row.outcome} shares="{row.shares}" time="{row.at}"/>'
    return _unforeseen(request, [row])


def _reduced(request: Request, rows: Sequence[ResultRow]) -> str:
    if [row.outcome for row in rows] != ["reduced", "open"]:
        _unforeseen(request, rows)
    reduced, left = rows
    shares = f'shares="{_number(reduced.shares)}" open="{_number(left.shares)}"'
    return f"<reduced{_named(request, reduced)} {shares}/>"


def _canceled_all(request: Request, rows: Sequence[ResultRow]) -> str:
    _require(request, rows, "canceled_all", "canceled")
    orders = [f'<order id="{row.order_id}" shares="{_number(row.shares)}"/>' for row in rows[1:]]
    return _whole("canceled", f'{request.echo} count="{len(orders)}"', orders)


def _armed(request: Request, rows: Sequence[ResultRow]) -> str:
    _require(request, rows, "armed")
    return f'<armed{request.echo} time="{rows[0].at}"/>'


def _disarmed(request: Request, rows: Sequence[ResultRow]) -> str:
    _require(request, rows, "disarmed")
    return "<disarmed/>"


def _account(request: Request, rows: Sequence[ResultRow]) -> str:
    _require(request, rows, "account", "position")
    row = rows[0]
    armed = "" if row.at is None else f' armed="{row.at}"'
    positions = [
        f'<position sym="{row.sym}" shares="{_number(row.shares)}" reserved="{_number(row.amount)}"/>'
        for row in rows[1:]
    ]
    return _whole(
        "account", f' cash="{_number(row.shares)}" reserved="{_number(row.amount)}"{armed}', positions
    )


def _orders(request: Request, rows: Sequence[ResultRow]) -> str:
    has_more = rows[-1].outcome == "more"
    rows = rows[:-1] if has_more else rows
    _require(request, rows, "orders", "order")
    more = ' more="true"' if has_more else ""
    return _whole("orders", f' count="{len(rows) - 1}"{more}', [_order(row) for row in rows[1:]])


def _order(row: ResultRow) -> str:
    ref = "" if row.ref is None else f' ref="{row.ref}"'
    return (
        f'<order id="{row.order_id}" sym="{row.sym}" amount="{_number(row.amount)}"'
        f' limit="{_number(row.price)}" open="{_number(row.shares)}"{ref} time="{row.at}"/>'
    )


def _book(request: Request, rows: Sequence[ResultRow]) -> str:
    is_halted = len(rows) > 1 and rows[1].outcome == "halted"
    levels = rows[2 if is_halted else 1 :]
    _require(request, [rows[0], *levels], "book", "bid", "ask")
    halted = ' halted="true"' if is_halted else ""
    return _whole(
        "book",
        f' sym="{request.sym}" seq="{rows[0].order_id}"{halted}',
        [
            f'<{row.outcome} price="{_number(row.price)}" shares="{_number(row.shares)}"'
            f' orders="{_number(row.amount)}"/>'
            for row in levels
        ],
    )


def _require(request: Request, rows: Sequence[ResultRow], first: str, *others: str) -> None:
    """Raise ValueError unless the rows have these outcomes, the first one its own."""
    if rows[0].outcome != first or any(row.outcome not in others for row in rows[1:]):
        _unforeseen(request, rows)


_WRITERS: dict[str, Callable[[Request, Sequence[ResultRow]], str]] = {
    Action.QUERY_ORDER: partial(_life, "status"),
    Action.CANCEL_ORDER: partial(_life, "canceled"),
    Action.REDUCE_ORDER: _reduced,
    Action.REDUCE_ORDER_TO: _reduced,
    Action.CANCEL_ALL: _canceled_all,
    Action.ARM_SWITCH: _armed,
    Action.DISARM_SWITCH: _disarmed,
    Action.LOOK_ACCOUNT: _account,
    Action.LIST_ORDERS: _orders,
    Action.LOOK_BOOK: _book,
}
