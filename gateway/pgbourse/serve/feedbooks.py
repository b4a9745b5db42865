"""Whole books are read by a thread of their own: a large one takes as long as some polls of the feed.

It has a session of its own, for as long as there is something to read.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from pgbourse.serve.answers import FateUnknown
from pgbourse.serve.feedfollowers import Followed, Follower, Snapshot
from pgbourse.serve.feedsource import FeedSource
from pgbourse.serve.sessions import ConnectionGone, DatabaseError
from pgbourse.wire.feed import format_snapshot

__all__ = ["BookReader", "Wanted"]

_log = logging.getLogger("pgbourse.feed")

_RETRY = 0.25  # seconds between two attempts while the database is away
_IDLE = 10.0  # seconds until the session ends that nobody needs any more
_WORK, _REST = 0.001, 0.001  # seconds of writing a book at a time, and of rest after it: others go first


class Wanted:
    """A book that some followers of a symbol wait for, and what has come of that."""

    __slots__ = ("followers", "snapshot", "symbol")

    def __init__(self, symbol: Followed, followers: list[Follower]) -> None:
        self.symbol = symbol
        self.followers = followers
        self.snapshot: Snapshot | None = None  # None if it could not be read


class BookReader:
    """A queue of books to be read. One lock guards it."""

    def __init__(self, conninfo: str, on_read: Callable[[], None]) -> None:
        """Take the database's connection string, and what to call when a book has been read."""
        self._source = FeedSource(conninfo, "pgbourse books")
        self._on_read = on_read
        self._changed = threading.Condition()
        self._wanted: deque[Wanted] = deque()
        self._read: deque[Wanted] = deque()
        self._stopping = False
        self._rested = 0.0
        self._thread = threading.Thread(target=self._run, name="pgbourse-books", daemon=True)

    @property
    def has_read(self) -> bool:
        """Whether `take` has something to return."""
        return bool(self._read)

    def ask(self, wanted: Wanted) -> None:
        """Read a book; the first call starts the thread."""
        with self._changed:
            if self._thread.ident is None:
                self._thread.start()
            self._wanted.append(wanted)
            self._changed.notify()

    def take(self) -> list[Wanted]:
        """Return what has been read since the last call."""
        return [self._read.popleft() for _ in range(len(self._read))]

    def stop(self, timeout: float) -> None:
        """End, but don't wait longer than this for a database that doesn't answer."""
        with self._changed:
            self._stopping = True
            self._wanted.clear()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (wanted := self._next()) is not None:
            try:
                wanted.snapshot = self._book(wanted.symbol)
            except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the thread
                _log.exception("closing %d feeds after an unforeseen error", len(wanted.followers))
            self._read.append(wanted)
            del wanted
            self._on_read()
        self._source.close()

    def _next(self) -> Wanted | None:
        with self._changed:
            while not (self._wanted or self._stopping):
                if not self._changed.wait(_IDLE if self._source.is_open else None):
                    self._source.disconnect()
            return None if self._stopping else self._wanted.popleft()

    def _book(self, symbol: Followed) -> Snapshot | None:
        """Read a book and write it down, as soon as the database answers; None if stopped meanwhile."""
        while not self._stopping:
            try:
                self._source.connect()
                seq, halted, orders = self._source.snapshot(symbol.key)
            except DatabaseError as error:
                if isinstance(error, (ConnectionGone, FateUnknown)):
                    self._source.disconnect()
                with self._changed:
                    if not self._stopping:
                        self._changed.wait(_RETRY)
            else:
                self._rested = time.monotonic()
                data = format_snapshot(symbol.sym, seq, orders, halted=halted, pause=self._pause)
                return Snapshot(seq, memoryview(data))
        return None

    def _pause(self) -> None:
        if time.monotonic() - self._rested >= _WORK:
            time.sleep(_REST)
            self._rested = time.monotonic()
