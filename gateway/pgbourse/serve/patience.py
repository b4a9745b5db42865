"""A worker's calls of the database, which wait for it while it is away, and for locks not for long."""

import logging
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import psycopg

from pgbourse.database.holders import holders_line
from pgbourse.errors import one_line
from pgbourse.serve.calls import Caller, CallFailed, ConnectionGone, DatabaseError, Locked, ReadOnly
from pgbourse.serve.outage import Outage
from pgbourse.serve.sessions import find_writer
from pgbourse.serve.writegate import WriteGate

__all__ = ["Away", "PatientCaller"]

_log = logging.getLogger("pgbourse.dispatch")

# Seconds between two attempts to reach a database that is down, at first and at most: clients are served
# again within a second of its return.
_FIRST_RETRY = 0.05
_LAST_RETRY = 0.25

# Milliseconds that a call waits for a lock. Whoever holds it for longer holds up nothing but what needs it:
# the call is made again without waiting.
_LOCK_TIMEOUT = 200
# Seconds for which locks must be in the way before we ask who has them, between two times that we ask, and
# between two lines of the log.
_LONG = 1.0
_LOOK = 5.0
_TELL = 60.0

_Answer = TypeVar("_Answer")


class Away(DatabaseError):
    """The database has been away for too long to wait on. The call certainly left nothing behind."""


class PatientCaller:
    """One worker's session. Only that worker calls; anybody may read how that goes."""

    def __init__(
        self,
        conninfo: str,
        name: str,
        gate: WriteGate[Any],
        stopping: threading.Event,
        outage: Outage,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        """Take the database, the name to show there, and an event that ends all waiting for it.

        `on_answer` is called when a call is answered and its barrier isn't yet.
        """
        self.caller = Caller(conninfo, name, _LOCK_TIMEOUT, on_answer)
        self.has_stages = False  # it is known that calls may share a session, as behind a pooler they don't
        self._waits = True  # for locks
        self._held_since = 0.0  # since when locks have been in the way; 0 if they aren't
        self._asked_at = -math.inf  # when we asked who has them
        self._told_at = -math.inf  # when the log said it
        self._is_gone = False  # the last attempt to reach the database has failed
        self._session_began = -math.inf
        self._outage = outage
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
        """Make one call; while the database is away, wait for it, within our patience.

        Raises CallFailed, FateUnknown, ReadOnly if it `writes`, Away, and ConnectionGone only if stopped
        meanwhile.
        """
        self.caller.busy_since = time.monotonic()
        try:
            return self._try_until_there(call, writes=writes)
        finally:
            self.caller.busy_since = 0.0

    def call_for_locks(
        self, call: Callable[[Caller, bool], _Answer], is_held: Callable[[_Answer], bool], *, writes: bool
    ) -> _Answer:
        """Make a call that may wait for locks: that does so for a while, and then leaves out what needs them.

        As long as `is_held` says of the answer that something was left out, the next calls don't wait at all.
        Raises what `call` does.
        """
        while True:
            waits = self._waits
            try:
                answer = self.call(partial(_with, call, waits), writes=writes)
            except Locked:
                if not waits:  # a whole table, most likely
                    self.note_locks(in_the_way=True)
                self._waits = False
                continue
            if not waits:
                self.note_locks(in_the_way=is_held(answer))
            return answer

    def note_locks(self, *, in_the_way: bool) -> None:
        """Take note whether locks are in the way, and tell who has them once that takes long."""
        now = time.monotonic()
        if not in_the_way:
            self._waits = True
            self._held_since = 0.0
            return
        self._held_since = self._held_since or now
        connection = self.caller.connection
        if connection is None or now - self._held_since < _LONG or now - self._asked_at < _LOOK:
            return
        self._asked_at = now
        try:
            holders = holders_line(connection)
        except psycopg.Error as error:
            holders = one_line(error)
        if holders and not now - self._told_at < _TELL:
            self._told_at = now
            _log.warning("some requests wait for locks, and others go on: %s", holders)

    def _try_until_there(self, call: Callable[[Caller], _Answer], *, writes: bool) -> _Answer:
        caller = self.caller
        delay = 0.0
        renewed = False
        while True:
            attempt = time.monotonic()
            was_connected = caller.connection is not None
            try:
                self._connect()
                if not was_connected:
                    self._session_began = attempt
                if writes and caller.is_read_only:
                    raise ReadOnly("default_transaction_read_only is on")
                answer = call(caller)
                if self._is_gone:
                    self._is_gone = False
                    self._outage.note_back()
                return answer
            except ReadOnly as error:
                if not writes:
                    raise CallFailed(str(error), "25006", str(error)) from error
                if renewed or not find_writer(self._conninfo):
                    raise
                renewed = True  # this session began during the outage
                caller.disconnect()
            except ConnectionGone as error:
                self._is_gone = True
                self._outage.note_gone(str(error), self._session_began if was_connected else attempt)
                if delay and self._stopping.wait(delay):
                    raise
                # A session that was lost while nobody used it says nothing of the database as it is now.
                if not was_connected and self._outage.is_too_long(str(error)):
                    raise Away(str(error)) from error
                delay = min(2 * delay, _LAST_RETRY) if delay else _FIRST_RETRY

    def _connect(self) -> None:
        """Make sure that there is a session, one that takes writes if possible."""
        caller = self.caller
        if caller.is_read_only and not self._gate.reason:
            caller.disconnect()  # the gate has opened since the session began
        caller.connect()
        self.has_stages = caller.connection is not None and not caller.connection.is_pooled
        if caller.is_read_only:
            self._gate.shut("default_transaction_read_only is on")


def _with(call: Callable[[Caller, bool], _Answer], waits: bool, caller: Caller) -> _Answer:
    return call(caller, waits)
