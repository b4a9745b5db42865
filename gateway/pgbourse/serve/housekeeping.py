"""The sweep that folds what idle accounts are owed into their rows, every few seconds, beside the workers."""

import logging
import threading

from pgbourse.serve.calls import Caller, DatabaseError

__all__ = ["Sweeper"]

_log = logging.getLogger("pgbourse.housekeeping")

_ACCOUNTS = 200  # folded in one transaction: their rows are locked for a few milliseconds


class Sweeper:
    """A thread with a database connection of its own that calls exchange.settle_idle_accounts regularly."""

    def __init__(self, conninfo: str, seconds: float) -> None:
        """Sweep every so many seconds; 0 is never."""
        self._caller = Caller(conninfo, "pgbourse sweep")
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pgbourse-sweep", daemon=True)

    def start(self) -> None:
        """Begin to sweep, for the first time after the interval."""
        if self._seconds > 0:
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the transaction in progress, waiting for it for `timeout` seconds at most."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        failing = False
        while not self._stopping.wait(self._seconds):
            try:
                self._sweep()
                failing = False
            except DatabaseError as error:
                # Accounts fold what they are owed when they next act: a sweep that is missed delays nothing.
                if not failing:
                    _log.warning("the sweep of idle accounts fails, and will be tried again: %s", error)
                failing = True
        self._caller.close()

    def _sweep(self) -> None:
        self._caller.connect()
        while self._caller.settle_idle_accounts(_ACCOUNTS) == _ACCOUNTS:
            if self._stopping.is_set():
                return
