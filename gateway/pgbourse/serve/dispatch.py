"""Waiting documents -> batches -> one database call each -> replies.

Workers take what has gathered while the last batches were in the database. So batches grow with the load,
without a timer, and all requests of a batch share one commit. Each client has its share of a batch: who sends
large documents gets them carried out in many portions, in turn with the others'.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from pgbourse.serve.accounts import Accounts
from pgbourse.serve.answering import Answering
from pgbourse.serve.carrier import Carrier
from pgbourse.serve.counts import Count
from pgbourse.serve.feed import Feed
from pgbourse.serve.gathering import Gatherer
from pgbourse.serve.lanes import Lanes
from pgbourse.serve.matcher import Matcher
from pgbourse.serve.outage import Outage
from pgbourse.serve.passage import Passage
from pgbourse.serve.patience import PatientCaller
from pgbourse.serve.reader import Reader
from pgbourse.serve.ready import Ready
from pgbourse.serve.tally import Tally
from pgbourse.serve.turns import Peer, Turn, begin_turn
from pgbourse.serve.worker import Worker
from pgbourse.serve.writegate import WriteGate
from pgbourse.wire.framing import Frame

__all__ = ["Dispatcher"]


class Dispatcher:
    """The clients whose documents wait, and the threads that carry them out."""

    def __init__(
        self,
        conninfo: str,
        *,
        reserve_workers: int,
        lanes: int,
        batch_requests: int,
        reply_framing: str,
        away_timeout: float = 0.0,
        on_room: Callable[[], None],
        with_tallies: bool = False,
        certified: bool = False,
    ) -> None:
        """Take the database's connection string, and the settings of the same names.

        `with_tallies` counts what the workers do in `tallies`, one for each of them.
        `certified` clients may do what the database says of the certificates that they have shown.
        `on_room` is called by a worker that has taken documents while `wants_room` is set.
        """
        self._conninfo = conninfo
        self._batch_requests = batch_requests
        self._outage = Outage(away_timeout)
        self._certified = certified
        self._on_room = on_room
        self.wants_room = False
        self._stopping = threading.Event()
        self._ready = Ready(reserve_workers)
        self._gate: WriteGate[Turn] = WriteGate(conninfo, self._ready.submit, self._stopping)
        self._reader = Reader(self._go_on, self._give_up, self._is_alone)
        self._accounts = Accounts(self._ready.bring_back, self._ready.set_aside)
        self._answering = Answering(
            self._ready,
            self._accounts,
            self._gate,
            self._reader,
            reply_framing,
            partial(Feed, conninfo, certified=certified),
        )
        self.feed = self._answering.feed
        self._lanes = Lanes(lanes) if lanes else None
        self._passage = None if lanes else Passage()
        # What waits is what has been submitted, by the I/O thread, and not taken, by a worker or the reader.
        self._submitted = Count()
        self.count = self._submitted.add  # so many documents, and their bytes; only one thread may call it
        self._taken_by_reader = Count()
        self._taken = [self._taken_by_reader]
        self._with_tallies = with_tallies
        self.tallies: list[Tally] = []
        self._workers = [self._new_worker(i, reserve_workers) for i in range(reserve_workers)]
        self._matchers = [self._new_matcher(self._lanes, i) for i in range(lanes) if self._lanes is not None]

    @property
    def _all(self) -> list[Worker | Matcher]:
        return [*self._workers, *self._matchers]

    def _new_worker(self, number: int, workers: int) -> Worker:
        leave = None if self._passage is None else partial(self._passage.leave, number)
        database = self._new_session(f"pgbourse worker {number + 1}", leave)
        taken, tally = self._new_counts()
        fronts = 0 if self._lanes is None else workers
        return Worker(
            number,
            self._ready,
            Gatherer(self._ready, self._accounts, taken, self._batch_requests, self._make_room, fronts),
            Carrier(database, self._gate, certified=self._certified),
            self._lanes,
            self._passage,
            self._answering,
            database,
            taken,
            tally,
        )

    def _new_matcher(self, lanes: Lanes, lane: int) -> Matcher:
        database = self._new_session(f"pgbourse lane {lane + 1}")
        taken, tally = self._new_counts()
        return Matcher(lane, lanes, self._batch_requests, database, self._gate, self._answering, taken, tally)

    def _new_session(self, name: str, on_answer: Callable[[], None] | None = None) -> PatientCaller:
        return PatientCaller(self._conninfo, name, self._gate, self._stopping, self._outage, on_answer)

    def _new_counts(self) -> tuple[Count, Tally | None]:
        """Return what one worker counts."""
        taken = Count()
        self._taken.append(taken)
        tally = Tally() if self._with_tallies else None
        if tally is not None:
            self.tallies.append(tally)
        return taken, tally

    def start(self) -> None:
        self._reader.start()
        self.feed.start()
        for worker in self._all:
            worker.thread.start()

    def submit(self, peers: Sequence[Peer]) -> None:
        """Hand over clients whose documents wait. A client is not handed over again before it was let go."""
        self._ready.submit([peer.turn or begin_turn(peer) for peer in peers])

    def waiting(self) -> tuple[int, int]:
        """Return how many documents and bytes wait for a worker."""
        documents, size = self._submitted.documents, self._submitted.size
        for taken in self._taken:
            documents -= taken.documents
            size -= taken.size
        return documents, size

    def lane_orders(self) -> int:
        """Return how many orders are reserved for and not yet matched."""
        return 0 if self._lanes is None else self._lanes.orders

    def oldest_call(self) -> float:
        """Return for how many seconds the oldest batch has waited for the database; 0 if none does."""
        now = time.monotonic()
        return max(worker.database.busy(now) for worker in self._all)

    def takes_no_writes(self) -> str:
        """Return why requests that write wait, or an empty string."""
        return self._gate.reason

    def has_no_room(self) -> bool:
        """Return whether a call has failed lately because the database's disk is full."""
        return self._gate.is_full

    def stop(self, timeout: float) -> bool:
        """Let workers finish what is here, or give up waiting for the database. False if one goes on."""
        deadline = time.monotonic() + timeout
        # 1. Nobody waits for the database any more.
        self._stopping.set()
        self.feed.drain()
        # 2. Workers end with the last turn.
        self._ready.stop()
        ended = [worker.thread.join(max(0.0, deadline - time.monotonic())) for worker in self._workers]
        # 3. Then lanes and the reader have nothing to do.
        if self._lanes is not None:
            self._lanes.stop()
        ended += [matcher.thread.join(max(0.0, deadline - time.monotonic())) for matcher in self._matchers]
        ended.append(self._reader.stop(max(0.0, deadline - time.monotonic())))
        # 4. The feed has nobody left. A database that doesn't answer it keeps nobody waiting.
        self.feed.stop(1.0)
        return all(ended)

    def _is_alone(self) -> bool:
        return self._ready.held <= 1

    # What the reader does with a turn.

    def _go_on(self, turn: Turn, frame: Frame) -> None:
        self._taken_by_reader.add(1, len(frame.document))
        self._ready.bring_back([turn])
        self._make_room()

    def _give_up(self, turn: Turn, frame: Frame) -> None:
        self._taken_by_reader.add(1, len(frame.document))
        self._answering.abandon([turn], self._taken_by_reader)

    def _make_room(self) -> None:
        """Tell the I/O thread, if it waits for that, that documents have been taken."""
        if self.wants_room:
            self._on_room()
