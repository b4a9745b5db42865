"""What goes on beside a test, in a thread of its own."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Background"]


class Background:
    """A thread that does `_run`, which ends soon once `_stopping` is set."""

    def __init__(self, name: str) -> None:
        self._stopping = threading.Event()
        self._executor = ThreadPoolExecutor(1, name)
        self._running: Future[None] | None = None

    def start(self) -> None:
        self._running = self._executor.submit(self._run)

    def stop(self) -> None:
        """Wait for the end of what is under way; raises what went wrong in the thread."""
        self._stopping.set()
        self._executor.shutdown()
        assert self._running is not None
        self._running.result()

    def _run(self) -> None:
        raise NotImplementedError
