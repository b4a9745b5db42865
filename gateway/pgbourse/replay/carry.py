"""Carry events out again, through the exchange's own functions, in their order.

Events go in batches, each one call of process_batch and one transaction. All are of one sequence, whose
order it keeps. What an order is, costs, and trades with is the exchange's business alone.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from pgbourse.database.ledger import Connection
from pgbourse.replay.ids import Ids
from pgbourse.replay.lines import Line, LinesError, Numbered, kind_of

__all__ = ["BATCH", "Carrier"]

BATCH = 200  # events in one transaction; more gains little (docs/decisions.md)
_SETTLE_EVERY = 50  # batches between two foldings of what accounts are owed, as a gateway's sweep does them

_CREATIONS = {"account", "symbol"}

_CALL = """
    select
        max(answer.order_id) filter (where answer.outcome = 'opened'),
        coalesce(
            max(answer.message),
            max(answer.code),
            case when bool_or(answer.outcome = 'duplicate') then 'an order with its ref is there already' end
        )
    from exchange.process_batch(
        array(
            select asked
            from jsonb_populate_recordset(null::exchange.request, %s) as asked
        )
    ) as answer
    group by answer.request
    order by answer.request
"""


class _Asked(NamedTuple):
    """An event, with the number of its line and the request that asks for it."""

    number: int
    line: Line
    request: dict[str, Any]

    def places(self) -> bool:
        """Tell whether it places an order."""
        return kind_of(self.line) in ("order", "replace")

    def named(self) -> int | None:
        """Return the order of the file that must be there already, if the event is about one."""
        name = {"cancel": "id", "reduce": "id", "replace": "replaced"}.get(kind_of(self.line))
        return None if name is None else int(self.line[name])


class _Answer(NamedTuple):
    """The id of a new order, or why something was refused."""

    order_id: int | None
    refusal: str | None


class _UnexpectedError(Exception):
    """An event of a batch was refused, or an order got another id than expected: the batch is undone."""


class Carrier:
    """Carries out events in an empty exchange.

    `ids` says which order is which, `refusals` what was refused, in words, and `refused` in which lines.

    An event may name an order of its own batch. That has no id yet, but as nobody else draws ids here, it is
    known which one it will get. A batch of which that doesn't come true, or in which anything is refused, is
    undone, and its events are carried out one by one.
    """

    def __init__(self, connection: Connection, most_refusals: int, batch: int = BATCH) -> None:
        """Carry out over this connection, so many in a transaction, until so many events were refused."""
        self.ids = Ids()
        self.refusals: list[str] = []
        self.refused: set[int] = set()
        self._connection = connection
        self._most_refusals = most_refusals
        self._most = batch
        self._batch: list[_Asked] = []
        self._batches = 0
        self._newest = 0  # order of the file
        self._last_id = self._ask_last_id()  # that was drawn here

    def carry_out(self, lines: Iterable[Numbered]) -> bool:
        """Carry out what are events among these lines; return whether that came to its end.

        Raises LinesError for an event that no exchange can have had.
        """
        for numbered in lines:
            if "event" in numbered.line:
                self._add(numbered)
            elif numbered.line.get("state") in ("halted", "frozen"):
                self._flush()
                self._take_out_of_trading(numbered.line)
            if len(self.refusals) >= self._most_refusals:
                return False
        self._flush()
        self._settle()
        return len(self.refusals) < self._most_refusals

    def _add(self, numbered: Numbered) -> None:
        """Take an event into the batch, after carrying that out if the event doesn't go with it."""
        line, kind = numbered.line, kind_of(numbered.line)
        if self._batch:
            before = kind_of(self._batch[-1].line)
            if len(self._batch) >= self._most or (kind in _CREATIONS) != (before in _CREATIONS):
                self._flush()
        if kind in ("order", "replace"):
            if line["id"] <= self._newest:
                raise LinesError(
                    f"line {numbered.number}: order {line['id']} comes after {self._newest}: ids must ascend"
                )
            self._newest = line["id"]
        request = _request(line, kind)
        if kind == "cancel" and self._batch and self._goes_back(line):
            # What leaves nothing open is a cancel, and is done by itself.
            request = {**request, "action": "reduce_order_to", "amount": "0"}
        self._batch.append(_Asked(numbered.number, line, request))

    def _goes_back(self, cancel: Line) -> bool:
        """Tell whether a run of cancels, which are done in the order of ids, would do this one too early."""
        last = self._batch[-1].line
        return kind_of(last) == "cancel" and bool(cancel["id"] <= last["id"])

    def _flush(self) -> None:
        """Carry out the batch."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        orders = [asked.line["id"] for asked in batch if asked.places()]
        expected = {order: self._last_id + place for place, order in enumerate(orders, 1)}
        try:
            with self._connection.transaction():
                self._carry_out_together(batch, expected)
        except _UnexpectedError:
            for asked in batch:
                if len(self.refusals) < self._most_refusals:
                    self._carry_out_alone(asked)
            self._last_id = self._ask_last_id()
        else:
            for original, copy in expected.items():
                self.ids.add(original, copy)
            self._last_id += len(expected)
        self._batches += 1
        if self._batches % _SETTLE_EVERY == 0:
            self._settle()

    def _carry_out_together(self, batch: list[_Asked], expected: dict[int, int]) -> None:
        """Carry out a batch. Raises _UnexpectedError unless its orders get these ids, and all is done."""
        requests = []
        for asked in batch:
            named = asked.named()
            order_id = None if named is None else expected.get(named) or self.ids.get(named)
            if named is not None and order_id is None:
                raise _UnexpectedError
            requests.append({**asked.request, "order_id": order_id})
        for asked, answer in zip(batch, self._call(requests), strict=True):
            wanted = expected[asked.line["id"]] if asked.places() else None
            if answer != _Answer(wanted, None):
                raise _UnexpectedError

    def _carry_out_alone(self, asked: _Asked) -> None:
        """Carry out one event, or note why it was refused."""
        named = asked.named()
        order_id = None if named is None else self.ids.get(named)
        if named is not None and order_id is None:
            self._refuse(asked, f"there is no order {named} here")
            return
        answer = self._call([{**asked.request, "order_id": order_id}])[0]
        if answer.refusal is not None:
            self._refuse(asked, answer.refusal)
        elif answer.order_id is not None:
            self.ids.add(asked.line["id"], answer.order_id)

    def _call(self, requests: list[dict[str, Any]]) -> list[_Answer]:
        """Ask for these things, in one transaction and in this order; return an answer to each."""
        asked = json.dumps([{"sequence": 1, **request} for request in requests])
        return [_Answer(*row) for row in self._connection.execute(_CALL.encode(), [asked]).fetchall()]

    def _ask_last_id(self) -> int:
        row = self._connection.execute(
            "select coalesce(pg_sequence_last_value('exchange.order_ids'), 0)"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _settle(self) -> None:
        while self._connection.execute("select exchange.settle_idle_accounts() > 0").fetchone() == (True,):
            pass

    def _take_out_of_trading(self, line: Line) -> None:
        if line["state"] == "halted":
            self._connection.execute("select exchange.halt_symbol(%s)", [line["sym"]])
        else:
            self._connection.execute("select exchange.freeze_account(%s)", [line["account"]])

    def _refuse(self, asked: _Asked, why: str) -> None:
        line, kind = asked.line, kind_of(asked.line)
        what = next((f"{kind} {line[name]}" for name in ("id", "account", "sym") if name in line), kind)
        if kind in ("cancel", "reduce"):
            what = f"{kind} of order {line['id']}"
        self.refused.add(asked.number)
        self.refusals.append(f"line {asked.number}: {what} is refused here: {why}")


def _request(line: Line, kind: str) -> dict[str, Any]:
    """Return an event as the request that asks for it."""
    if kind == "account":
        return {"action": "create_account", "account_id": line["account"], "amount": line["balance"]}
    if kind == "symbol":
        return {"action": "create_symbol", "sym": line["sym"]}
    if kind == "grant":
        return {
            "action": "grant_shares",
            "account_id": line["account"],
            "sym": line["sym"],
            "amount": line["shares"],
        }
    if kind == "cancel":
        return {"action": "cancel_order", "account_id": line["account"]}
    if kind == "reduce":
        return {"action": "reduce_order", "account_id": line["account"], "amount": line["shares"]}
    amount = line["shares"] if line["side"] == "buy" else f"-{line['shares']}"
    request = {"account_id": line["account"], "amount": amount, "limit_price": line.get("limit")}
    terms = {name: line[name] for name in ("ref", "type", "budget", "tif", "post", "stp") if name in line}
    if kind == "replace":
        return {"action": "replace_order", **request, "terms": terms}
    return {"action": "place_order", "sym": line["sym"], **request, **({"terms": terms} if terms else {})}
