"""Whether the database is away, as the workers of one process find it: the log says it once for all."""

import logging
import math
import threading
import time

__all__ = ["Outage"]

_log = logging.getLogger("pgbourse.dispatch")

# How many reasons are told at once, the loss and what is found instead, and seconds between two later ones.
_AT_ONCE = 2
_BETWEEN = 5.0


class Outage:
    """From the first worker that can't reach the database to the first one that can again.

    One lock guards everything.
    """

    def __init__(self, patience: float) -> None:
        """`patience` is for how many seconds calls wait for a database that is away; 0 is for ever."""
        self.patience = patience or math.inf
        self._lock = threading.Lock()
        self._since = 0.0  # 0 while it is there
        self._ended = -math.inf  # when the one before this was over
        self._told: set[str] = set()  # why it is away, as far as the log has said it
        self._told_at = -math.inf
        self._told_refusing = False

    def note_gone(self, reason: str, began: float) -> None:
        """Take note that a session, or an attempt to have one, which began then, has failed."""
        with self._lock:
            if began < self._ended:
                return  # another worker has found the database back meanwhile
            now = time.monotonic()
            self._since = self._since or now
            if reason in self._told or (len(self._told) >= _AT_ONCE and now - self._told_at < _BETWEEN):
                return
            self._told.add(reason)
            self._told_at = now
        _log.warning("the database is away, requests wait: %s", reason)

    def is_too_long(self, reason: str) -> bool:
        """Return whether it is away for too long to wait on, which the log says with this reason."""
        with self._lock:
            if not self._since or time.monotonic() - self._since < self.patience:
                return False
            if self._told_refusing:
                return True
            self._told_refusing = True
        _log.error("the database has been away for %g s, requests are refused: %s", self.patience, reason)
        return True

    def note_back(self) -> None:
        """Take note that a worker who couldn't reach the database has reached it."""
        with self._lock:
            if not self._since:
                return  # another worker was faster
            self._ended = time.monotonic()
            seconds, self._since = self._ended - self._since, 0.0
            self._told.clear()
            self._told_refusing = False
        _log.warning("the database is back after %.1f s", seconds)
