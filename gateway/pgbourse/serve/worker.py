"""A worker: gathers a batch, has it carried out, answers, and begins again."""

import logging

from pgbourse.serve.answering import Answering
from pgbourse.serve.carrier import Carrier
from pgbourse.serve.counts import Count
from pgbourse.serve.gathering import Gatherer
from pgbourse.serve.patience import PatientCaller
from pgbourse.serve.ready import Ready
from pgbourse.serve.tally import Tally
from pgbourse.serve.threads import ReadingThread
from pgbourse.serve.turns import Turn

__all__ = ["Worker"]

_log = logging.getLogger("pgbourse.dispatch")


class Worker:
    """One thread with one database session. Only that thread writes what is here."""

    def __init__(
        self,
        name: str,
        ready: Ready,
        gatherer: Gatherer,
        carrier: Carrier,
        answering: Answering,
        database: PatientCaller,
        taken: Count,
        tally: Tally | None,
    ) -> None:
        self.database = database
        self._ready = ready
        self._gatherer = gatherer
        self._carrier = carrier
        self._answering = answering
        self._taken = taken
        self._tally = tally
        self.thread = ReadingThread(name, self._serve_next, database.caller.close)

    def _serve_next(self) -> bool:
        first = self._ready.next()
        if first is None:
            return False
        before = self._taken.size
        self._serve(first)
        self.thread.bytes_read += max(0, self._taken.size - before)
        return True

    def _serve(self, first: Turn) -> None:
        turns: list[Turn] = []
        caller, tally = self.database.caller, self._tally
        try:
            portions = self._gatherer.gather(first, turns)
            before = caller.seconds
            self._carrier.carry_out(portions)
            if tally is not None:
                tally.carried_out(portions, caller.seconds - before)
                tally.reconnects = self.database.reconnects
        except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the worker
            _log.exception("closing %d clients after an unforeseen error", len(turns))
            self._answering.abandon(turns, self._taken)
        else:
            self._answering.finish(portions, self._taken, tally)
