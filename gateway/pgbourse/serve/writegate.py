"""While the database takes no writes, clients whose requests write wait, and all others are served."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pgbourse.serve.sessions import find_writer

__all__ = ["WriteGate"]

_log = logging.getLogger("pgbourse.dispatch")

# Seconds between two checks, each on a new connection: only new sessions see ALTER DATABASE … SET.
RETRY = 1.0

# Seconds for which a disk counts as full after a call has failed because of that.
FULL = 10.0

_Waiting = TypeVar("_Waiting")


class WriteGate(Generic[_Waiting]):
    """A worker that finds the database read-only shuts it; it opens once the database takes writes again.

    While the disk is merely full it stays open: what writes fails at once, and says so.
    """

    def __init__(
        self, conninfo: str, go_on: Callable[[Sequence[_Waiting]], None], stopping: threading.Event
    ) -> None:
        """Take a function to call for each one that waited, and an event that ends all waiting."""
        self.reason = ""  # why the gate is shut, empty while it is open; any thread may read it
        self._conninfo = conninfo
        self._go_on = go_on
        self._stopping = stopping
        self._full_at = -math.inf  # when a call has last failed because the disk was full
        self._lock = threading.Lock()  # guards the list, and opening and shutting the gate
        self._waiting: list[_Waiting] = []

    def shut(self, reason: str) -> None:
        """Shut the gate, unless it is shut, and start checking whether the database takes writes again."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
        _log.warning("the database takes no writes: orders wait, queries are answered: %s", reason)
        threading.Thread(target=self._watch, name="pgbourse-writes", daemon=True).start()

    def note_full(self, reason: str) -> None:
        """Take note that a call has failed because the disk is full, and log it unless that is known."""
        if not self.is_full:
            _log.error("the database has no room, what writes fails: %s", reason)
        self._full_at = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether a call has failed lately because the disk is full."""
        return time.monotonic() - self._full_at < FULL

    def wait(self, waiting: _Waiting) -> None:
        """Make a client wait for the gate to open, or let it go on if it is open."""
        with self._lock:
            if self.reason:
                self._waiting.append(waiting)
                return
        self._go_on([waiting])

    def _watch(self) -> None:
        since = time.monotonic()
        while not self._stopping.wait(RETRY):
            if find_writer(self._conninfo):
                break
        else:
            return
        with self._lock:
            self.reason = ""
            waiting, self._waiting = self._waiting, []
        _log.warning("the database takes writes again after %.0f s", time.monotonic() - since)
        self._go_on(waiting)
