"""Where workers that carry out whole batches go in one by one."""

import threading

__all__ = ["Passage"]

# Seconds. Whoever is inside may be held up by what is no concern of the others: a lock that a session in psql
# holds, or a connection that is dead and doesn't know it yet.
_PATIENCE = 0.2


class Passage:
    """Lets one worker at a time hold the exchange's locks; the next goes in while the log is flushed.

    Two batches nearly always have an account or a symbol in common, so they would wait for each other in the
    database. Who waits here instead takes along what has come meanwhile, and larger batches cost less.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: int | None = None

    def enter(self, worker: int) -> None:
        """Wait until nobody else is inside, but not for long."""
        if self._lock.acquire(timeout=_PATIENCE):
            self._inside = worker

    def leave(self, worker: int) -> None:
        """Let the next one in, if this worker is inside."""
        if self._inside == worker:
            self._inside = None
            self._lock.release()
