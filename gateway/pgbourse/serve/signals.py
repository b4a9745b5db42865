"""Signals to a running service: SIGTERM, SIGINT, SIGHUP, and a terminal that is closed."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

from pgbourse.errors import PgbourseError

__all__ = ["Interrupted", "Signals", "join_with_signals"]


class Interrupted(PgbourseError):
    """A signal ends us at once."""


class Signals:
    """Handles the process's signals for the length of a with block, in the main thread.

    SIGTERM and SIGINT end the process at once; but while `drain` is set, the first one calls it instead.

    If we had a terminal and it is gone, SIGHUP means that it was closed. Then the service drains, and another
    SIGHUP does no harm: the kernel, the shell and the login manager may each send one. Otherwise somebody
    sent it to a service, and it calls `reload`. If it was ignored when we began (nohup), it stays ignored.
    """

    def __init__(self) -> None:
        self.drain: Callable[[], None] | None = None
        self.reload: Callable[[], None] | None = None
        self._draining = False

    def __enter__(self) -> Self:
        self._had_terminal = _has_terminal()
        handlers = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._hang_up}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            del handlers[signal.SIGHUP]
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, _: FrameType | None) -> None:
        if self.drain is None or self._draining:
            raise Interrupted(f"ended at once by {signal.Signals(number).name}")
        self._draining = True
        self.drain()

    def _hang_up(self, _number: int, _: FrameType | None) -> None:
        if self._had_terminal and not _has_terminal():
            if self.drain is None:
                raise Interrupted("ended at once, for its terminal was closed")
            self.drain()  # SIGTERM may follow, and is not yet the second signal
        elif self.reload is not None:
            self.reload()


def join_with_signals(thread: threading.Thread) -> None:
    """Wait in the main thread for the end of another one, and handle signals meanwhile.

    The kernel may give a signal to any thread, in particular after the process was stopped, and then it does
    not wake this one.
    """
    while thread.is_alive():
        thread.join(1.0)


def _has_terminal() -> bool:
    """Return whether we have a terminal that still exists."""
    if any(map(os.isatty, range(3))):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
