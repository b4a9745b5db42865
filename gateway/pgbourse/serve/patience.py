"""A worker's calls of the database, which wait for it while it is away or takes no writes."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pgbourse.serve.calls import Caller, CallFailed, ConnectionGone, ReadOnly
from pgbourse.serve.sessions import find_writer
from pgbourse.serve.writegate import WriteGate

__all__ = ["PatientCaller"]

_log = logging.getLogger("pgbourse.dispatch")

# Seconds between two attempts to reach a database that is down, at first and at most: clients are served
# again within a second of its return.
_FIRST_RETRY = 0.05
_LAST_RETRY = 0.25

_Answer = TypeVar("_Answer")


class PatientCaller:
    """One worker's session. Only that worker calls; anybody may read how that goes."""

    def __init__(self, conninfo: str, name: str, gate: WriteGate[Any], stopping: threading.Event) -> None:
        """Take the database, the name to show there, and an event that ends all waiting for it."""
        self.caller = Caller(conninfo, name)
        self._conninfo = conninfo
        self._gate = gate
        self._stopping = stopping

    @property
    def reconnects(self) -> int:
        return max(0, self.caller.connects - 1)

    def busy(self, now: float) -> float:
        """Return for how many seconds the present call has waited for the database; 0 if there is none."""
        return now - (self.caller.busy_since or now)

    def call(self, call: Callable[[Caller], _Answer], *, writes: bool) -> _Answer:
        """Make one call; while the database is away, wait for it.

        Raises CallFailed, FateUnknown, ReadOnly if it `writes`, and ConnectionGone only if stopped meanwhile.
        """
        self.caller.busy_since = time.monotonic()
        try:
            return self._try_until_there(call, writes=writes)
        finally:
            self.caller.busy_since = 0.0

    def _try_until_there(self, call: Callable[[Caller], _Answer], *, writes: bool) -> _Answer:
        caller = self.caller
        delay = _FIRST_RETRY
        gone_since = 0.0
        renewed = False
        while True:
            try:
                self._connect()
                if writes and caller.is_read_only:
                    raise ReadOnly("default_transaction_read_only is on")
                answer = call(caller)
                break
            except ReadOnly as error:
                if not writes:
                    raise CallFailed(str(error), "25006", str(error)) from error
                if renewed or not find_writer(self._conninfo):
                    raise
                renewed = True  # this session began during the outage
                caller.disconnect()
            except ConnectionGone as error:
                if not gone_since:
                    gone_since = time.monotonic()
                    _log.warning("the database is away, requests wait: %s", error)
                elif self._stopping.wait(delay):
                    raise
                else:
                    delay = min(2 * delay, _LAST_RETRY)
        if gone_since:
            _log.warning("the database is back after %.1f s", time.monotonic() - gone_since)
        return answer

    def _connect(self) -> None:
        """Make sure that there is a session, one that takes writes if possible."""
        caller = self.caller
        if caller.is_read_only and not self._gate.reason:
            caller.disconnect()  # the gate has opened since the session began
        caller.connect()
        if caller.is_read_only:
            self._gate.shut("default_transaction_read_only is on")
