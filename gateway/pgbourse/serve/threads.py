"""How threads sleep, and those that read what clients send: each is replaced by a fresh one now and then.

lxml keeps every name that it meets as long as its thread lives, and clients may invent names. So a thread
that has read so many bytes hands over to another one.
"""

import threading
from collections.abc import Callable

__all__ = ["ReadingThread", "Sleeper"]

# Bytes of documents that a thread reads before a fresh one takes over. That takes a tenth of a millisecond,
# or less than 0.01 microseconds for a document of one order.
BYTES_A_THREAD = 2_000_000


class Sleeper:
    """One thread's sleep until it is woken: a Condition for one, which takes a third of the time."""

    __slots__ = ("_lock", "bell", "is_asleep")

    def __init__(self, lock: threading.Lock) -> None:
        """Take the lock with which both methods are called."""
        self._lock = lock
        self.bell = threading.Lock()  # free only between a wake and the end of that sleep
        self.bell.acquire()
        self.is_asleep = False

    def sleep(self, seconds: float | None = None) -> None:
        """Let go of the lock until somebody wakes this thread, or so many seconds are over."""
        self.is_asleep = True
        self._lock.release()
        rang = self.bell.acquire(timeout=-1 if seconds is None else seconds)
        self._lock.acquire()
        if not rang and not self.is_asleep:
            self.bell.acquire()  # it rang at the last moment
        self.is_asleep = False

    def wake(self) -> None:
        """Wake the thread if it sleeps."""
        if self.is_asleep:
            self.is_asleep = False
            self.bell.release()


class ReadingThread:
    """One thread at a time, which does its work again and again until there is no more."""

    def __init__(self, name: str, work: Callable[[], bool], end: Callable[[], None] | None = None) -> None:
        """`work` does one step and returns False once there is nothing left to do ever; then comes `end`."""
        self.bytes_read = 0  # by all threads so far; whoever works adds to it
        self._name = name
        self._work = work
        self._end = end
        self._lock = threading.Lock()  # guards which thread it is, and whether another may follow
        self._closing = False
        self._thread = self._new_thread()

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the work, in which no other thread takes over. False if it goes on."""
        with self._lock:
            self._closing = True
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _new_thread(self) -> threading.Thread:
        # A daemon: a call that never ends must not keep the process alive.
        return threading.Thread(target=self._run, name=self._name, daemon=True)

    def _run(self) -> None:
        enough = self.bytes_read + BYTES_A_THREAD
        while self._work():
            if self.bytes_read >= enough and self._hand_over():
                return
        if self._end is not None:
            self._end()

    def _hand_over(self) -> bool:
        """Let a fresh thread go on. False once somebody waits for the end, or if none can be started now."""
        thread = self._new_thread()
        with self._lock:
            if self._closing:
                return False
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
            return True
