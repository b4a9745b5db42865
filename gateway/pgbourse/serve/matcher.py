"""A worker of a lane: lets what is reserved for into the market, and ends the portions that are done."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pgbourse.serve.answering import Answering
from pgbourse.serve.calls import (
    Caller,
    CallFailed,
    ConnectionGone,
    DatabaseError,
    FateUnknown,
    Matched,
    ReadOnly,
    Reserved,
)
from pgbourse.serve.carrier import FAILURES, failed
from pgbourse.serve.counts import Count
from pgbourse.serve.lanes import Lanes, Part
from pgbourse.serve.patience import Away, PatientCaller
from pgbourse.serve.portions import Portion
from pgbourse.serve.tally import Tally
from pgbourse.serve.threads import ReadingThread
from pgbourse.serve.writegate import WriteGate
from pgbourse.wire.messages import ResultRow

__all__ = ["Matcher"]

_log = logging.getLogger("pgbourse.dispatch")

# Seconds for which orders are set aside whose symbol somebody else has, or while nothing can be written.
_ASIDE = 0.02
_ASIDE_FROM_WRITES = 0.2


class Matcher:
    """One thread with one database session. Only that thread writes what is here."""

    def __init__(
        self,
        lane: int,
        lanes: Lanes,
        batch_requests: int,
        database: PatientCaller,
        gate: WriteGate[Any],
        answering: Answering,
        taken: Count,
        tally: Tally | None,
    ) -> None:
        self.database = database
        self._lane = lane
        self._lanes = lanes
        self._batch_requests = batch_requests
        self._gate = gate
        self._answering = answering
        self._taken = taken
        self._tally = tally
        self.thread = ReadingThread(f"pgbourse-lane-{lane + 1}", self._match_next, database.caller.close)

    def _match_next(self) -> bool:
        parts = self._lanes.take(self._lane, self._batch_requests)
        if parts is None:
            return False
        before = self.database.caller.seconds
        orders = sum([len(part.orders) for part in parts])
        try:
            self._match(parts)
        except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the worker
            _log.exception("closing %d clients after an unforeseen error", len(parts))
            self._give_up(parts)
        if self._tally is not None:
            self._tally.matched(orders, self.database.caller.seconds - before)
            self._tally.reconnects = self.database.reconnects
        ended = self._lanes.bring_back(self._lane, parts)
        if ended:
            self._answering.finish(ended, self._taken, self._tally, wakes=True)
        return True

    def _match(self, parts: list[Part]) -> None:
        """Give the orders their results, or mark their portions as lost, or leave them to be set aside.

        Parts that had to be cut in two are added to the list.
        """
        todo = [list(parts)]  # each to be matched in one call; the next is the last
        failures: Counter[Portion] = Counter()
        while todo:
            group = todo.pop()
            try:
                self._call(group)
            except ReadOnly as error:
                self._gate.shut(str(error))
                for part in group:
                    part.aside = _ASIDE_FROM_WRITES
            except FateUnknown as error:
                _log.warning("an answer was lost, asking for it again: %s", error)
                for part in group:
                    part.was_lost = True
                todo.append(group)
            except Away as error:
                # Nobody else ends what is reserved while the session that reserved it may live: try on.
                self._close_clients(group, error)
                for part in group:
                    part.aside = _ASIDE_FROM_WRITES
            except ConnectionGone as error:
                _log.error("closing %d clients, fate of their requests unknown: %s", len(group), error)
                _lose(group)
            except CallFailed as error:
                if error.is_no_room:
                    self._gate.note_full(str(error))
                    for part in group:
                        part.aside = _ASIDE_FROM_WRITES
                    continue
                if len(group) > 1:
                    _log.warning("a batch of %d clients failed, trying each alone: %s", len(group), error)
                    todo += [[part] for part in reversed(group)]
                    continue
                (part,) = group
                if part.was_lost:
                    _log.error("closing %d clients, fate of their requests unknown: %s", 1, error)
                    self._give_up(group)
                elif len(part.orders) > 1 and failures[part.portion] < FAILURES - 1:
                    parts.append(self._lanes.split(part))
                    todo += [[parts[-1]], [part]]
                else:
                    failures[part.portion] += 1
                    self._withdraw(part.orders)
                    rows = failed(error)
                    for place in part.places:
                        part.portion.results[place] = rows

    def _give_up(self, parts: Sequence[Part]) -> None:
        """Close these clients, for nobody knows which of their orders are matched; match no more of them."""
        _lose(parts)
        self._withdraw([order for part in parts for order in part.orders])

    def _withdraw(self, orders: Sequence[Reserved]) -> None:
        """Give back what is reserved for orders that this lane can't match: nobody else will."""
        while True:
            try:
                self.database.call(lambda caller: caller.withdraw(orders), writes=True)
                return
            except FateUnknown:
                continue  # what is given back by now isn't there any more
            except DatabaseError as error:
                _log.error(
                    "%d orders that can't be matched stay reserved for while this server runs: %s",
                    len(orders),
                    error,
                )
                return

    def _close_clients(self, parts: Sequence[Part], error: Away) -> None:
        """Close clients who have waited for too long: their orders may be matched later, or be given back."""
        portions = [part.portion for part in parts if not part.is_given_up]
        if portions:
            _log.error("closing %d clients, fate of their requests unknown: %s", len(portions), error)
        self._answering.close(portions, self._taken)
        for part in parts:
            part.is_given_up = True

    def _call(self, parts: Sequence[Part]) -> None:
        """Match the orders of these parts in one transaction. Raises what PatientCaller.call does."""
        orders = [order for part in parts for order in part.orders]
        rows: list[Matched] = []
        if orders:
            rows = self.database.call_for_locks(
                lambda caller, waits: caller.match(orders, waits), _is_locked, writes=True
            )
        else:
            self.database.call(Caller.flush, writes=True)
        connection = self.database.caller.connection
        server = "" if connection is None else connection.server
        start = 0
        for part in parts:
            end = start + len(part.orders)
            _take_results(part, rows[start:end])
            if part.portion.answered_by not in ("", server):
                part.portion.lost = True  # what it was answered for may be gone with the server
            start = end


def _is_locked(rows: Sequence[Matched]) -> bool:
    return any(row.outcome == "later" for row in rows)


def _take_results(part: Part, rows: Sequence[Matched]) -> None:
    """Give orders their results. What was given back meanwhile stays open, and is reserved for anew."""
    results = part.portion.results
    left: list[tuple[int, Reserved]] = []
    for place, order, row in zip(part.places, part.orders, rows, strict=True):
        if row.outcome == "later":
            left.append((place, order))
        elif row.outcome == "gone":
            part.portion.lost = part.portion.lost or part.was_lost
        else:
            first = ResultRow(0, row.outcome, row.order_id, code=row.code, message=row.message)
            results[place] = [first, *(row.more or ())]
    part.aside = _ASIDE if left else 0.0
    if left:
        part.places, part.orders = [place for place, _ in left], [order for _, order in left]


def _lose(parts: Sequence[Part]) -> None:
    for part in parts:
        part.portion.lost = True
        part.aside = 0.0
