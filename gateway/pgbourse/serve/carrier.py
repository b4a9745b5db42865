"""Carries out batches, each in one transaction, and finds the one at fault when such a transaction fails."""

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from pgbourse.serve.batch import hand_out, literal_of
from pgbourse.serve.calls import Caller, CallFailed, ConnectionGone, FateUnknown, ReadOnly
from pgbourse.serve.patience import PatientCaller
from pgbourse.serve.turns import Portion
from pgbourse.serve.writegate import WriteGate
from pgbourse.wire.messages import ResultRow

__all__ = ["Carrier"]

_log = logging.getLogger("pgbourse.dispatch")

# Requests at fault that are looked for in one portion; then all that is left of it shares the fault of the
# last one. When everything fails, it should fail soon.
_FAILURES = 8


class Carrier:
    """One worker's way to carry out portions."""

    def __init__(self, database: PatientCaller, gate: WriteGate[Any], *, certified: bool) -> None:
        """`certified` clients may do what the database says of the certificates that they have shown."""
        self._database = database
        self._gate = gate
        self._certified = certified

    def carry_out(self, portions: Sequence[Portion]) -> None:
        """Give every portion its results, mark it as lost, or leave what can't be carried out to its turn."""
        if self._gate.reason:
            for portion in portions:
                portion.leave_writes()
        asking = [portion for portion in portions if portion.requests]
        if not asking:
            return
        try:
            self._call(asking)
        except ReadOnly as error:
            self._gate.shut(str(error))
            self.carry_out(portions)
        except CallFailed as error:
            _log.warning("a batch of %d clients failed, trying each alone: %s", len(asking), error)
            for portion in asking:
                self._carry_out_in_parts(portion)
        except (FateUnknown, ConnectionGone) as error:
            _log.error("closing %d clients, fate of their requests unknown: %s", len(asking), error)
            for portion in asking:
                portion.lost = True

    def _carry_out_in_parts(self, portion: Portion) -> None:
        """Carry out a portion of a failed batch by itself, and in halves if it fails again."""
        results: list[Sequence[ResultRow]] = []
        failures = 0
        parts = [portion.requests]  # the next one is the last
        while parts:
            requests = parts.pop()
            part = Portion(portion.turn, requests, 1)
            try:
                self._call([part])
                results += part.results
            except CallFailed as error:
                half = len(requests) // 2
                if half and failures < _FAILURES - 1:
                    parts += [requests[half:], requests[:half]]
                else:
                    failures += 1
                    results += [_failed(error)] * len(requests)
            except ReadOnly as error:
                self._gate.shut(str(error))
                portion.waits = True
                portion.turn.give_back(len(portion.requests) - len(results))
                del portion.requests[len(results) :]
                break
            except (FateUnknown, ConnectionGone) as error:
                _log.error("closing a client, fate of its request unknown: %s", error)
                portion.lost = True
                break
        portion.results = results

    def _call(self, portions: Sequence[Portion]) -> None:
        """Carry out these portions in one transaction.

        Raises what PatientCaller.call does.
        """
        for sequence, portion in enumerate(portions, 1):
            portion.sequence = sequence
        requests = literal_of(portions)

        def call(caller: Caller) -> list[ResultRow]:
            return caller.process_batch(requests, self._certified)

        writes = any(portion.writes for portion in portions)
        hand_out(portions, self._database.call(call, writes=writes))


def _failed(error: CallFailed) -> list[ResultRow]:
    """Log what failed, and return the result for the request at fault."""
    reference = secrets.token_hex(4)
    _log.error("internal error %s (SQLSTATE %s): %s", reference, error.sqlstate, error)
    _log.debug("internal error %s: %s", reference, error.detail)
    return [ResultRow(0, "failed", message=f"internal error {reference}: this was not carried out")]
