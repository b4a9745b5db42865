"""The sweep that folds credits into the rows of idle accounts, every few seconds."""

import logging
import threading

import psycopg

from pgbourse.errors import one_line
from pgbourse.serve.sessions import DatabaseError, SharedPool

__all__ = ["Sweeper"]

_log = logging.getLogger("pgbourse.housekeeping")

_ACCOUNTS = 200  # in one transaction, which locks their rows for a few milliseconds

# No row if the database takes no writes: others report that, and it is not an error of the sweep.
_SWEEP = "select exchange.settle_idle_accounts(%s) where current_setting('transaction_read_only') = 'off'"


class Sweeper:
    """A thread that calls exchange.settle_idle_accounts regularly."""

    def __init__(self, pool: SharedPool, seconds: float) -> None:
        """Sweep at this interval; 0 means never."""
        self._pool = pool
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pgbourse-sweep", daemon=True)

    def start(self) -> None:
        """Start sweeping; the first sweep comes after the interval."""
        if self._seconds > 0:
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the transaction in progress; wait at most `timeout` seconds for it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        failing = False
        while not self._stopping.wait(self._seconds):
            try:
                self._sweep()
                failing = False
            except (DatabaseError, psycopg.Error) as error:
                # Accounts fold their credits in when they next act, so a missed sweep delays nothing.
                if not failing:
                    _log.warning(
                        "the sweep of idle accounts fails, and will be tried again: %s", one_line(error)
                    )
                failing = True

    def _sweep(self) -> None:
        with self._pool.session(patient=True) as session:
            while session.execute(_SWEEP, [_ACCOUNTS]).fetchone() == (_ACCOUNTS,):
                if self._stopping.is_set():
                    return
