"""Where workers that carry out whole batches go in one after the other."""

import threading
import time
from collections.abc import Callable

__all__ = ["Passage"]

# How long a worker goes in before the call inside should be answered, in seconds and as a part of what calls
# take: so long is its own under way, longer if it is large, and the database would have nothing to do.
_AHEAD, _AHEAD_PART = 0.0015, 0.25

# Seconds that a call is taken to last at most. It may be held up by what is no concern of the others: a lock
# that a session in psql holds, or a connection that is dead and doesn't know it yet.
_PATIENCE = 0.2


class Passage:
    """Lets workers into the database one after the other. Who only waits for its barrier has left.

    Two batches nearly always have an account or a symbol in common, so they would wait for each other in the
    database. Who waits here instead takes along what has come meanwhile, and larger batches cost less.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells the time in seconds."""
        self._clock = clock
        self._changed = threading.Condition()
        self._entered: dict[int, float] = {}  # when, by worker that is inside
        self._answered = 0.0  # when a worker was last answered
        self._takes = 0.0  # seconds of a call that waits for no other, of late

    def enter(self, worker: int) -> None:
        """Wait until nobody else is inside, or only those who should have their answer at once."""
        with self._changed:
            while self._entered:
                began = max(self._answered, *self._entered.values())
                ahead = max(_AHEAD, _AHEAD_PART * self._takes)
                wait = began + self._takes - ahead - self._clock()
                if wait <= 0:
                    break
                self._changed.wait(wait)
            self._entered[worker] = self._clock()

    def leave(self, worker: int) -> None:
        """Take note that a worker is answered, if it is inside, and let the next one in."""
        with self._changed:
            entered = self._entered.pop(worker, None)
            if entered is None:
                return
            now = self._clock()
            took = min(now - max(entered, self._answered), _PATIENCE)
            self._takes += (took - self._takes) / 8
            self._answered = now
            self._changed.notify()
