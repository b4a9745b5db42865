"""What has to be done regularly: folding credits, firing switches, forgetting what is old, giving back."""

import logging
import threading
import time
from collections.abc import Callable

import psycopg

from pgbourse.errors import one_line
from pgbourse.serve.sessions import DatabaseError, SharedPool

__all__ = ["Sweeper"]

_log = logging.getLogger("pgbourse.housekeeping")

# Accounts in one transaction, which locks their rows: fewer where it takes more than so many seconds, for an
# account may be owed much. Not fewer than some, for each transaction has to find out who is owed anything.
# Of switches that are due one, and then more each time, as long as there are more and it is quick.
_FEWEST, _MOST = 20, 100
_TRANSACTION = 0.05

# Seconds. Money and shares that a gateway had reserved when it died are back after this time.
_ORPHANS = 5.0

# Seconds. A dead man's switch fires within two seconds of its time, whichever gateway lives.
_SWITCHES = 0.5

# Updates of books in one transaction, which takes some 20 ms. And every how many seconds it is looked for old
# ones; oftener where they aren't kept for long.
_UPDATES = 5000
_FORGET_EVERY = 60.0

# No row if the database takes no writes: others report that, and it is not an error of the sweep.
_SWEEP = "select exchange.settle_idle_accounts(%s) where current_setting('transaction_read_only') = 'off'"
_FIRE = (
    "select account_id, canceled from exchange.fire_switches(%s) "
    "where current_setting('transaction_read_only') = 'off'"
)
_GIVE_BACK = "select exchange.give_back_orphans() where current_setting('transaction_read_only') = 'off'"
_FORGET = (
    "select exchange.forget_updates(make_interval(secs => %s), %s) "
    "where current_setting('transaction_read_only') = 'off'"
)


class Sweeper:
    """A thread that calls the exchange's functions of this kind, each at its interval."""

    def __init__(
        self, pool: SharedPool, seconds: float, orphans: float = _ORPHANS, keep_updates: float = 0
    ) -> None:
        """Sweep accounts at an interval of so many seconds (0: never), and `orphans` at theirs.

        Updates of books are forgotten once they are `keep_updates` seconds old (0: never).
        """
        self._pool = pool
        self._keep_updates = keep_updates
        self._accounts = _FEWEST  # in the next transaction
        self._switches = 1  # likewise
        self.fired = 0  # switches; any thread may read it
        self._tasks = [
            _Task("firing the dead man's switches that are due", self._fire, _SWITCHES),
            _Task("giving back what dead gateways had reserved", self._give_back, orphans),
        ]
        if seconds > 0:
            self._tasks.append(_Task("the sweep of idle accounts", self._sweep, seconds, seconds))
        if keep_updates > 0:
            every = min(_FORGET_EVERY, max(1.0, keep_updates / 10))
            self._tasks.append(_Task("forgetting old updates", self._forget, every))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pgbourse-sweep", daemon=True)

    def start(self) -> None:
        """Start: orphans are given back at once, and accounts swept after the first interval."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the transaction in progress; wait at most `timeout` seconds for it."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(min(task.due for task in self._tasks) - time.monotonic()):
            for task in self._tasks:
                if task.due <= time.monotonic():
                    task.run()

    def _sweep(self) -> bool:
        with self._pool.session(patient=True) as session:
            began = time.monotonic()
            row = session.execute(_SWEEP, [asked := self._accounts]).fetchone()
            quick = time.monotonic() - began < _TRANSACTION
        self._accounts = min(asked * 2, _MOST) if quick else max(asked // 2, _FEWEST)
        return row is not None and row[0] == asked

    def _fire(self) -> bool:
        with self._pool.session(patient=True) as session:
            began, asked, self._switches = time.monotonic(), self._switches, 1  # also after a failure
            fired = session.execute(_FIRE, [asked]).fetchall()
        if len(fired) == asked and time.monotonic() - began < _TRANSACTION:
            self._switches = min(asked * 2, _MOST)
        for account_id, canceled in fired:
            _log.info("the switch of account %s has fired and cancelled %d orders", account_id, canceled)
        self.fired += len(fired)
        return bool(fired)

    def _forget(self) -> bool:
        with self._pool.session(patient=True) as session:
            row = session.execute(_FORGET, [self._keep_updates, _UPDATES]).fetchone()
        return row is not None and row[0] == _UPDATES

    def _give_back(self) -> bool:
        with self._pool.session(patient=True) as session:
            row = session.execute(_GIVE_BACK).fetchone()
        if row is not None and row[0] > 0:
            _log.warning("gave back %d reservations of sessions that are gone", row[0])
        return False


class _Task:
    """Something to be done at an interval, whose failures are told once until it succeeds.

    Its action does a transaction's worth, and returns whether there is more to be done at once.
    """

    def __init__(self, name: str, action: Callable[[], bool], seconds: float, delay: float = 0.0) -> None:
        self._name = name
        self._action = action
        self._seconds = seconds
        self.due = time.monotonic() + delay
        self._failing = False

    def run(self) -> None:
        """Do it. A run that is missed delays things and nothing more."""
        there_is_more = False
        try:
            there_is_more = self._action()
            self._failing = False
        except (DatabaseError, psycopg.Error) as error:
            if not self._failing:
                _log.warning("%s fails, and will be tried again: %s", self._name, one_line(error))
            self._failing = True
        self.due = time.monotonic() + (0.0 if there_is_more else self._seconds)
