"""Large documents are read by a thread of their own, which lets the others go first.

One interpreter runs one thread at a time. Reading 50,000 orders takes 150 ms of it; whoever else wants to do
something meanwhile would wait for some milliseconds each time.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from pgbourse.serve.threads import ReadingThread
from pgbourse.serve.turns import Turn
from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import parse

__all__ = ["LARGE", "Reader"]

_log = logging.getLogger("pgbourse.dispatch")

# Larger documents, in bytes, are read here: up to this many take a worker 2 ms.
LARGE = 32 * 1024

# Bytes of large documents that are read and not yet answered, at most: what is made of one takes several
# times its bytes. One document of any size is always let in.
READ_BYTES = 16 * 1024 * 1024

# Seconds of work at a time, and of rest after it, while others are here.
_WORK = 0.001
_REST = 0.001


class Reader:
    """The queue of turns whose next document is large. One lock guards it, and what has been let in."""

    def __init__(
        self,
        go_on: Callable[[Turn, Frame], None],
        give_up: Callable[[Turn, Frame], None],
        is_alone: Callable[[], bool],
    ) -> None:
        """Take what to do with a turn whose document has been read, and with one that a bug of ours broke.

        `is_alone` tells whether nobody else has anything to do.
        """
        self._go_on = go_on
        self._give_up = give_up
        self._is_alone = is_alone
        self._changed = threading.Condition()
        self._waiting: deque[Turn] = deque()
        self._let_in = 0  # bytes of documents that are read, or being read, and not answered
        self._stopping = False
        self._rested = 0.0
        self._thread = ReadingThread("pgbourse-reader", self._read_next)

    def start(self) -> None:
        self._thread.start()

    def add(self, turn: Turn) -> None:
        """Read this turn's large document when there is room for it."""
        with self._changed:
            self._waiting.append(turn)
            self._changed.notify()

    def let_go(self, frames: Iterable[Frame]) -> None:
        """Take note that these documents, large or not, are not in hand any more."""
        size = sum([len(frame.document) for frame in frames if len(frame.document) > LARGE])
        if size:
            with self._changed:
                self._let_in -= size
                self._changed.notify()

    def stop(self, timeout: float) -> bool:
        """End once nobody adds any more. False if it goes on."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        return self._thread.join(timeout)

    def _read_next(self) -> bool:
        with self._changed:
            while (turn := self._next()) is None:
                if self._stopping:
                    return False
                self._changed.wait()
        frame, turn.large = turn.large, None
        assert frame is not None
        size = len(frame.document)
        self._thread.bytes_read += size
        try:
            self._rested = time.monotonic()
            turn.add(frame, parse(frame.document, self._pause))
        except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the reader
            _log.exception("closing %d clients after an unforeseen error", 1)
            with self._changed:
                self._let_in -= size
            self._give_up(turn, frame)
        else:
            self._go_on(turn, frame)
        return True

    def _next(self) -> Turn | None:
        """Let in the first turn that waits, if there is room for its document."""
        if not self._waiting:
            return None
        frame = self._waiting[0].large
        assert frame is not None
        if self._let_in and self._let_in + len(frame.document) > READ_BYTES:
            return None
        self._let_in += len(frame.document)
        return self._waiting.popleft()

    def _pause(self) -> None:
        if time.monotonic() - self._rested >= _WORK and not self._is_alone():
            time.sleep(_REST)
            self._rested = time.monotonic()
