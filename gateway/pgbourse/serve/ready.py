"""The queue of turns that can go on, and how many turns dispatch has in all."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from pgbourse.serve.portions import Portion
from pgbourse.serve.threads import Sleeper
from pgbourse.serve.turns import Turn

__all__ = ["Ready"]


class Ready:
    """Workers take turns from here and bring them back, until a turn is let go.

    One lock guards everything. The queue's append and popleft are atomic by themselves. Each worker sleeps by
    itself, so that nobody is woken in vain.
    """

    def __init__(self, workers: int) -> None:
        self._lock = threading.Lock()
        self._sleepers = [Sleeper(self._lock) for _ in range(workers)]
        self._asleep: list[int] = []  # workers, the one that has worked last at the end
        self._turns: deque[Turn] = deque()
        self._aside: list[tuple[float, int, Turn]] = []  # a heap: when each may go on, and in which order
        self._asides = 0  # how many there have been
        self._portions: list[deque[Portion]] = [deque() for _ in range(workers)]  # for each worker
        self._held = 0  # turns that are here, or with a worker, a lane or the reader
        self._stopping = False
        # Whether a worker has found out that the database's sessions allow for two stages.
        self.has_stages = False

    @property
    def held(self) -> int:
        """How many turns are here, or with a worker, a lane or the reader."""
        return self._held

    def submit(self, turns: Sequence[Turn]) -> None:
        """Take in turns that dispatch didn't have."""
        with self._lock:
            self._held += len(turns)
            self._turns.extend(turns)
            self._wake_one()

    def bring_back(self, turns: Sequence[Turn], let_go: int = 0, *, wakes: bool = True) -> None:
        """Take back turns that go on, and count those that don't.

        It `wakes` a worker, if any sleeps, unless the caller is one, who will look here next.
        """
        if not wakes and not let_go:
            self._turns.extend(turns)
            return
        with self._lock:
            self._turns.extend(turns)
            self._held -= let_go
            if self._stopping and not self._held:
                self._wake_all()
            elif turns and wakes:
                self._wake_one()

    def set_aside(self, turn: Turn, seconds: float) -> None:
        """Let a turn go on after so many seconds."""
        with self._lock:
            self._asides += 1
            heappush(self._aside, (time.monotonic() + seconds, self._asides, turn))
            self._wake_one()  # who sleeps may have to wake earlier

    def deal(self, portions: Sequence[Portion], worker: int) -> None:
        """Give portions to the worker who reserves for their accounts."""
        if portions:
            with self._lock:
                self._portions[worker].extend(portions)
                if worker in self._asleep:
                    self._asleep.remove(worker)
                    self._sleepers[worker].wake()

    def dealt(self, worker: int) -> list[Portion]:
        """Take the portions that were given to this worker."""
        mine = self._portions[worker]
        return [mine.popleft() for _ in range(len(mine))]

    def wake(self) -> None:
        """Wake a worker, if any sleeps, because there is more here than one takes."""
        if self._turns:
            with self._lock:
                self._wake_one()

    def wait(self, worker: int) -> bool:
        """Wait until there is something for this worker. False once stopped and nothing is left to come."""
        with self._lock:
            while not (self._turns or self._portions[worker]):
                seconds = None
                if self._aside:
                    seconds = self._aside[0][0] - time.monotonic()
                    if seconds <= 0:
                        break
                elif self._stopping and not self._held:
                    return False
                self._asleep.append(worker)
                self._sleepers[worker].sleep(seconds)
                if worker in self._asleep:  # nobody has woken it
                    self._asleep.remove(worker)
            return True

    def next(self) -> Turn | None:
        """Return a turn if one can go on."""
        if self._aside and self._aside[0][0] <= time.monotonic():
            with self._lock:
                if self._aside:  # else another worker was faster
                    self._turns.append(heappop(self._aside)[2])
        try:
            return self._turns.popleft()
        except IndexError:
            return None

    def stop(self) -> None:
        """Let workers end when the last turn has been let go."""
        with self._lock:
            self._stopping = True
            self._wake_all()

    # Called with the lock held.

    def _wake_one(self) -> None:
        if self._asleep:
            self._sleepers[self._asleep.pop()].wake()

    def _wake_all(self) -> None:
        while self._asleep:
            self._wake_one()
