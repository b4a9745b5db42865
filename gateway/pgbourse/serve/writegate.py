"""While the database takes no writes: clients whose requests write wait, all others are served."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pgbourse.serve.sessions import find_writer

__all__ = ["WriteGate"]

_log = logging.getLogger("pgbourse.dispatch")

RETRY = 1.0  # seconds between two looks, by a new connection: an ALTER DATABASE shows in new sessions only

_Waiting = TypeVar("_Waiting")


class WriteGate(Generic[_Waiting]):
    """Shut by a worker that finds the database read-only; opens by itself once it takes writes again."""

    def __init__(
        self, conninfo: str, go_on: Callable[[Sequence[_Waiting]], None], stopping: threading.Event
    ) -> None:
        """Take what is to be done with those who waited, and what ends all waiting."""
        self.reason = ""  # why the gate is shut; nothing while it is open. Any thread may look
        self._conninfo = conninfo
        self._go_on = go_on
        self._stopping = stopping
        self._lock = threading.Lock()  # guards the list, and the gate's opening and shutting
        self._waiting: list[_Waiting] = []

    def shut(self, reason: str) -> None:
        """Shut the gate, unless it is shut, and begin to look whether the database takes writes again."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
        _log.warning("the database takes no writes: orders wait, queries are answered: %s", reason)
        threading.Thread(target=self._watch, name="pgbourse-writes", daemon=True).start()

    def wait(self, waiting: _Waiting) -> None:
        """Let somebody wait for the gate to open, or go on if it has opened already."""
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
