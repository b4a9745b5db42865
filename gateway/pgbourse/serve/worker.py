"""A worker in front: gathers a batch, reserves for its orders, carries out the rest, and begins again."""

import logging
from collections.abc import Callable, Sequence

from pgbourse.serve.answering import Answering
from pgbourse.serve.carrier import Carrier, tells_nothing
from pgbourse.serve.counts import Count
from pgbourse.serve.gathering import Gatherer
from pgbourse.serve.lanes import Lanes
from pgbourse.serve.passage import Passage
from pgbourse.serve.patience import PatientCaller
from pgbourse.serve.portions import Portion
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
        number: int,
        ready: Ready,
        gatherer: Gatherer,
        carrier: Carrier,
        lanes: Lanes | None,
        passage: Passage | None,
        answering: Answering,
        database: PatientCaller,
        taken: Count,
        tally: Tally | None,
    ) -> None:
        """`number` says which accounts this worker reserves for, if there are lanes.

        Without them it goes through the `passage`, which it has left when only the barrier isn't answered.
        """
        self.database = database
        self._number = number
        self._ready = ready
        self._gatherer = gatherer
        self._carrier = carrier
        self._lanes = lanes
        self._passage = passage
        self._answering = answering
        self._taken = taken
        self._tally = tally
        self.thread = ReadingThread(f"pgbourse-worker-{number + 1}", self._serve_next, database.caller.close)

    def _serve_next(self) -> bool:
        if not self._ready.wait(self._number):
            return False
        whole = self._gather()
        if self._passage is not None and whole:
            self._passage.enter(self._number)
            whole += self._gather(sum([len(portion.requests) for portion in whole]))
        if self._lanes is not None:
            whole, mine = self._deal(whole)
            # Orders first: lanes go on with them meanwhile.
            if mine:
                self._reserve(mine, self._lanes)
        if whole:
            self._try(self._carrier.carry_out, whole)
            if self._passage is not None:
                self._passage.leave(self._number)
            self._answering.finish(whole, self._taken, self._tally, wakes=False)
        return True

    def _deal(self, portions: list[Portion]) -> tuple[list[Portion], list[Portion]]:
        """Return what goes in one stage, and the orders that are this worker's to reserve for."""
        for_whom: dict[int, list[Portion]] = {}
        for portion in portions:
            for_whom.setdefault(portion.front, []).append(portion)
        whole, mine = for_whom.pop(-1, []), for_whom.pop(self._number, [])
        for worker, theirs in for_whom.items():
            self._ready.deal(theirs, worker)
        return whole, mine + self._ready.dealt(self._number)

    def _gather(self, requests: int = 0) -> list[Portion]:
        """Take what is ready, for a batch that has so many requests."""
        turns: list[Turn] = []
        before = self._taken.size
        try:
            portions = self._gatherer.gather(turns, requests)
        except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the worker
            _log.exception("closing %d clients after an unforeseen error", len(turns))
            self._answering.abandon(turns, self._taken)
            portions = []
        self.thread.bytes_read += self._taken.size - before
        if self._tally is not None and portions:
            self._tally.gathered(portions)
        return portions

    def _reserve(self, portions: list[Portion], lanes: Lanes) -> None:
        """Reserve for orders and let lanes have them, and refusals, which must become durable, too."""
        self._try(self._carrier.reserve, portions)
        going: list[Portion] = []
        staying: list[Portion] = []
        for portion in portions:
            goes = not portion.lost and (portion.reserved or not tells_nothing(portion))
            (going if goes else staying).append(portion)
        lanes.put(going)
        if staying:
            self._answering.finish(staying, self._taken, self._tally, wakes=False)

    def _try(self, call: Callable[[Sequence[Portion]], None], portions: Sequence[Portion]) -> None:
        """Have portions carried out, and count that."""
        caller = self.database.caller
        before = caller.seconds
        try:
            call(portions)
        except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the worker
            _log.exception("closing %d clients after an unforeseen error", len(portions))
            for portion in portions:
                portion.lost = True
            caller.disconnect()  # so that what is reserved for them is given back
        if self.database.has_stages:
            self._ready.has_stages = True
        if self._tally is not None:
            requests = sum([len(portion.requests) for portion in portions])
            self._tally.called(requests, caller.seconds - before)
            self._tally.reconnects = self.database.reconnects
