"""Carries out batches, each in one transaction, and finds the one at fault when such a transaction fails."""

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pgbourse.serve.batch import hand_out, literal_of
from pgbourse.serve.calls import Caller, CallFailed, ConnectionGone, FateUnknown, ReadOnly, Reserved
from pgbourse.serve.patience import Away, PatientCaller
from pgbourse.serve.portions import Portion, writes
from pgbourse.serve.writegate import WriteGate
from pgbourse.wire.messages import ResultRow

__all__ = ["Carrier", "failed", "tells_nothing"]

_log = logging.getLogger("pgbourse.dispatch")

# Requests at fault that are looked for in one portion; then all that is left of it shares the fault of the
# last one. When everything fails, it should fail soon.
FAILURES = 8


class Carrier:
    """One worker's way to carry out portions, from end to end or as far as reserving for orders.

    What is asked for gets its result, or stays open, to be asked for again, or the portion is marked as lost.
    """

    def __init__(self, database: PatientCaller, gate: WriteGate[Any], *, certified: bool) -> None:
        """`certified` clients may do what the database says of the certificates that they have shown."""
        self._database = database
        self._gate = gate
        self._certified = certified

    def carry_out(self, portions: Sequence[Portion]) -> None:
        """Carry out these portions from end to end."""
        self._ask(portions, self._process)

    def reserve(self, portions: Sequence[Portion]) -> None:
        """Reserve for the orders of these portions, and note in each which ones are to be matched."""
        self._ask(portions, self._reserve)

    def _ask(self, portions: Sequence[Portion], call: Callable[[Sequence[Portion]], None]) -> None:
        """Make one call for all, or several if it fails."""
        if self._gate.reason:
            for portion in portions:
                portion.leave_writes()
        asked = [portion for portion in portions if portion.places]
        if not asked:
            return
        try:
            call(asked)
        except ReadOnly as error:
            self._gate.shut(str(error))
            self._ask(portions, call)
        except CallFailed as error:
            if error.is_no_room:
                asked = self._refuse_writes(asked, error)
            else:
                _log.warning("a batch of %d clients failed, trying each alone: %s", len(asked), error)
            for portion in asked:
                self._ask_in_parts(portion, call)
        except Away:
            for portion in asked:
                _refuse(portion, portion.places, _UNAVAILABLE)
        except (FateUnknown, ConnectionGone) as error:
            _log.error("closing %d clients, fate of their requests unknown: %s", len(asked), error)
            for portion in asked:
                portion.lost = True

    def _refuse_writes(self, portions: Sequence[Portion], error: CallFailed) -> list[Portion]:
        """Refuse what writes, for which there is no room, and return the portions with something else."""
        self._gate.note_full(str(error))
        for portion in portions:
            writing = {place for place in portion.places if writes(portion.requests[place])}
            portion.places = [place for place in portion.places if place not in writing]
            _refuse(portion, writing, _NO_ROOM)
        return [portion for portion in portions if portion.places]

    def _ask_in_parts(self, portion: Portion, call: Callable[[Sequence[Portion]], None]) -> None:
        """Ask for a portion of a failed batch by itself, and in halves if it fails again."""
        failures = 0
        parts = [portion.places]  # the next one is the last
        while parts and not portion.is_locked:
            places = portion.places = parts.pop()
            try:
                call([portion])
            except CallFailed as error:
                half = len(places) // 2
                if error.is_no_room and _writes(portion):
                    parts += [rest.places for rest in self._refuse_writes([portion], error)]
                elif half and failures < FAILURES - 1:
                    parts += [places[half:], places[:half]]
                else:
                    failures += 1
                    rows = failed(error)
                    for place in places:
                        portion.results[place] = rows
            except ReadOnly as error:
                self._gate.shut(str(error))
                portion.leave_writes()
                return
            except Away:
                for left in (places, *parts):
                    _refuse(portion, left, _UNAVAILABLE)
                return
            except (FateUnknown, ConnectionGone) as error:
                _log.error("closing a client, fate of its request unknown: %s", error)
                portion.lost = True
                return

    def _process(self, portions: Sequence[Portion]) -> None:
        """Carry out all in one transaction. Raises what PatientCaller.call does."""
        requests = literal_of(portions)

        def call(caller: Caller, waits: bool) -> bool:
            return hand_out(portions, caller.process_batch(requests, self._certified, waits))

        self._database.call_for_locks(call, bool, writes=any(map(_writes, portions)))

    def _reserve(self, portions: Sequence[Portion]) -> None:
        """Reserve for all in one transaction. Raises what PatientCaller.call does."""
        requests = literal_of(portions)

        def call(caller: Caller, _: bool) -> list[Reserved]:
            return caller.reserve(requests, self._certified)  # which never waits for an account

        rows = self._database.call_for_locks(call, _is_locked, writes=True)
        if _is_locked(rows):
            self._database.note_locks(in_the_way=True)
        start = 0
        for portion in portions:
            _take_reserved(portion, rows[start : start + len(portion.places)])
            start += len(portion.places)


_NO_ROOM = [
    ResultRow(0, "failed", code="no_room", message="the exchange has no room: this was not carried out")
]
_UNAVAILABLE = [
    ResultRow(
        0,
        "failed",
        code="unavailable",
        message="the exchange can't reach its database: this was not carried out",
    )
]


def _refuse(portion: Portion, places: Iterable[int], rows: list[ResultRow]) -> None:
    for place in places:
        portion.results[place] = rows


def tells_nothing(portion: Portion) -> bool:
    """Return whether no result of a portion tells anything of the database, which could be made durable."""
    return all(rows is None or rows is _UNAVAILABLE for rows in portion.results)


def _is_locked(rows: Sequence[Reserved]) -> bool:
    return any(row.code == "locked" for row in rows)


def _writes(portion: Portion) -> bool:
    return any(map(writes, portion.asked()))


def _take_reserved(portion: Portion, rows: Sequence[Reserved]) -> None:
    """Note which orders of a portion are reserved for, and which are answered; the others stay open."""
    for place, row in zip(portion.places, rows, strict=True):
        if row.incoming_id is not None:
            portion.reserved.append((place, row))
        elif row.code == "locked":
            portion.is_locked = True
        elif row.code != "later":
            refused = ResultRow(0, "refused", code=row.code, message=row.message)
            portion.results[place] = row.known or [refused]
            portion.answered_by = row.server


def failed(error: CallFailed) -> list[ResultRow]:
    """Log what failed, and return the result for the request at fault."""
    reference = secrets.token_hex(4)
    _log.error("internal error %s (SQLSTATE %s): %s", reference, error.sqlstate, error)
    _log.debug("internal error %s: %s", reference, error.detail)
    return [ResultRow(0, "failed", message=f"internal error {reference}: this was not carried out")]
