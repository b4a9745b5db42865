"""The feed: one thread that reads what happens to books, for all clients that have subscribed.

What is the same for all is made once: each poll makes one piece of bytes a symbol, which all who follow it
are handed by reference. Whoever needs something else (a whole book, what happened long ago) gets it between
two polls, and at its own pace.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from pgbourse.serve.feeddesk import FeedDesk
from pgbourse.serve.feedwork import FeedStatus, FeedWork
from pgbourse.serve.turns import Turn
from pgbourse.wire.feed import feed_error

__all__ = ["Feed", "FeedStatus"]

_log = logging.getLogger("pgbourse.feed")

_STOPPING = feed_error("", "the server is stopping: subscribe again, from the update after the last one")


class Feed:
    """All clients that have subscribed. `_changed` guards what other threads leave here for the feed's."""

    def __init__(self, conninfo: str, come_back: Callable[[Turn], None], *, certified: bool = False) -> None:
        """Take the database's connection string, and what to do with turns whose documents are answered.

        Who subscribes must have a certificate that permits it if they are `certified`.
        """
        self._come_back = come_back
        self._changed = threading.Condition()
        self._asks: deque[Turn] = deque()  # turns with documents to be answered
        self._roomy: deque[Turn] = deque()  # those that have room again
        self._leavers: deque[Turn] = deque()
        self._in_hand: set[Turn] = set()  # whose documents are not all answered
        self._draining = False
        self._stopping = False
        # The thread's own.
        self._desk = FeedDesk(self._let_go)
        self._work = FeedWork(conninfo, self._desk, self._wake, certified=certified)
        self._thread = threading.Thread(target=self._run, name="pgbourse-feed", daemon=True)

    def status(self) -> FeedStatus:
        """Return how many there are, and what they have been sent. Any thread may ask."""
        return self._work.status()

    def start(self) -> None:
        self._thread.start()

    def ask(self, turn: Turn) -> None:
        """Answer the documents that a turn has for the feed; then it comes back. Called by workers."""
        if not turn.is_fed:
            turn.is_fed = True
            turn.peer.begin_feed(partial(self._note, self._roomy, turn), partial(self._leave, turn))
        with self._changed:
            draining = self._draining
            if not draining:
                self._in_hand.add(turn)
                self._asks.append(turn)
                self._changed.notify()
        if draining:
            turn.peer.end_feed(_STOPPING)
            self._come_back(turn)

    def drain(self) -> None:
        """Let go of all documents that are not answered: their clients are told that the server stops."""
        with self._changed:
            self._draining = True
        self._end_all(_STOPPING)

    def stop(self, timeout: float) -> None:
        """End, but don't wait longer than this for a database that doesn't answer."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    # Called with the lock of the turn's client held.

    def _leave(self, turn: Turn) -> None:
        turn.has_left = True
        self._note(self._leavers, turn)

    def _note(self, where: deque[Turn], turn: Turn) -> None:
        with self._changed:
            where.append(turn)
            self._changed.notify()

    # The feed's thread.

    def _run(self) -> None:
        while self._wait():
            try:
                self._take_in()
                self._work.do()
            except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the feed
                self._end_all()  # those first: who is told comes again, and is not one of them
                _log.exception("closing %d feeds after an unforeseen error", self._work.give_up())
        self._work.close()

    def _wait(self) -> bool:
        """Wait until there is something to do. False once stopped."""
        with self._changed:
            while not self._stopping:
                if self._asks or self._roomy or self._leavers or self._work.has_news:
                    return True
                now = time.monotonic()
                due = self._work.due(now)
                if due is not None and due <= now:
                    return True
                self._changed.wait(None if due is None else due - now)
            return False

    def _take_in(self) -> None:
        """Take over what others have left."""
        with self._changed:
            asks, roomy, leavers = list(self._asks), list(self._roomy), list(self._leavers)
            self._asks.clear()
            self._roomy.clear()
            self._leavers.clear()
        for turn in asks:
            asked, turn.asked = turn.asked, ()
            if turn.has_left:
                self._let_go(turn)
            else:
                self._desk.answer(turn, asked)
        for turn in leavers:
            self._desk.leave(turn)
            self._let_go(turn)
        for turn in roomy:
            self._desk.go_on(turn)

    def _end_all(self, farewell: bytes = b"") -> None:
        """End the feeds with documents that are not answered, and let these go."""
        with self._changed:
            turns = list(self._in_hand)
            self._in_hand.clear()
        for turn in turns:
            turn.peer.end_feed(farewell)
            self._come_back(turn)

    def _let_go(self, turn: Turn) -> None:
        """Let a turn go on whose documents are answered, unless that has been done."""
        with self._changed:
            if turn not in self._in_hand:
                return
            self._in_hand.discard(turn)
        self._come_back(turn)
