"""Carry events out again, through the exchange's own functions, in their order.

Events go in batches, each one call of process_batch and one transaction. All are of one sequence, whose
order it keeps. What an order is, costs, and trades with is the exchange's business alone.
"""

import json
from collections.abc import Iterable
from typing import Any

from pgbourse.database.ledger import Connection
from pgbourse.replay.ids import Ids
from pgbourse.replay.lines import Line, LinesError, Numbered, kind_of

__all__ = ["Carrier"]

_BATCH = 200  # events in one transaction; more gains little
_SETTLE_EVERY = 50  # batches between two foldings of what accounts are owed, as a gateway's sweep does them

_CREATIONS = {"account", "symbol", "grant"}

_CALL = """
    select
        answer.request,
        max(answer.order_id) filter (where answer.outcome = 'opened'),
        max(answer.code),
        max(answer.message),
        bool_or(answer.outcome = 'duplicate')
    from exchange.process_batch(
        array(
            select asked
            from jsonb_populate_recordset(null::exchange.request, %s) as asked
        )
    ) as answer
    group by answer.request
    order by answer.request
"""


class Carrier:
    """Carries out events in an empty exchange.

    `ids` says which order is which, `refusals` what was refused, in words, and `refused` in which lines.
    """

    def __init__(self, connection: Connection, most_refusals: int) -> None:
        """Carry out over this connection, until so many events were refused."""
        self.ids = Ids()
        self.refusals: list[str] = []
        self.refused: set[int] = set()
        self._connection = connection
        self._most_refusals = most_refusals
        self._batch: list[tuple[Numbered, dict[str, Any]]] = []
        self._batches = 0
        self._pending: set[int] = set()  # orders of the batch, which have no id here yet
        self._newest = 0  # order of the file

    def carry_out(self, events: Iterable[Numbered]) -> bool:
        """Carry out what are events among these lines; return whether that came to its end.

        Raises LinesError for an event that no exchange can have had.
        """
        for numbered in events:
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
        """Take an event into the batch, after carrying out what must be done before it."""
        line, kind = numbered.line, kind_of(numbered.line)
        named = {"cancel": "id", "reduce": "id", "replace": "replaced"}.get(kind)
        if self._batch and (
            len(self._batch) >= _BATCH
            or (named is not None and line[named] in self._pending)
            or (kind in _CREATIONS) != (kind_of(self._batch[-1][0].line) in _CREATIONS)
            or (kind == "cancel" and self._goes_back(line))
        ):
            self._flush()
        if kind in ("order", "replace"):
            if line["id"] <= self._newest:
                raise LinesError(
                    f"line {numbered.number}: order {line['id']} comes after {self._newest}: ids must ascend"
                )
            self._newest = line["id"]
            self._pending.add(line["id"])
        request = {"sequence": 1, **_request(line, kind)}
        if named is not None:
            order_id = self.ids.get(line[named])
            if order_id is None:
                self._refuse(numbered, f"there is no order {line[named]} here")
                return
            request["order_id"] = order_id
        self._batch.append((numbered, request))

    def _goes_back(self, cancel: Line) -> bool:
        """Tell whether a run of cancels, which are done in the order of ids, would do this one too early."""
        last = self._batch[-1][0].line
        return kind_of(last) == "cancel" and bool(cancel["id"] <= last["id"])

    def _flush(self) -> None:
        """Carry out the batch."""
        if not self._batch:
            return
        asked = json.dumps([request for _, request in self._batch])
        rows = self._connection.execute(_CALL.encode(), [asked]).fetchall()
        for (numbered, _), (_, order_id, code, message, is_duplicate) in zip(self._batch, rows, strict=True):
            line = numbered.line
            if code is not None:
                self._refuse(numbered, message or code)
            elif is_duplicate:
                self._refuse(numbered, f"ref {line['ref']} is order {order_id} already")
            elif order_id is not None:
                self.ids.add(line["id"], order_id)
        self._batch.clear()
        self._pending.clear()
        self._batches += 1
        if self._batches % _SETTLE_EVERY == 0:
            self._settle()

    def _settle(self) -> None:
        while self._connection.execute("select exchange.settle_idle_accounts() > 0").fetchone() == (True,):
            pass

    def _take_out_of_trading(self, line: Line) -> None:
        if line["state"] == "halted":
            self._connection.execute("select exchange.halt_symbol(%s)", [line["sym"]])
        else:
            self._connection.execute("select exchange.freeze_account(%s)", [line["account"]])

    def _refuse(self, numbered: Numbered, why: str) -> None:
        line, kind = numbered.line, kind_of(numbered.line)
        what = next((f"{kind} {line[name]}" for name in ("id", "account", "sym") if name in line), kind)
        if kind in ("cancel", "reduce"):
            what = f"{kind} of order {line['id']}"
        self.refused.add(numbered.number)
        self.refusals.append(f"line {numbered.number}: {what} is refused here: {why}")


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
