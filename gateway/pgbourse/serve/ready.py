"""The queue of turns that can go on, and how many turns dispatch has in all."""

import threading
from collections import deque
from collections.abc import Sequence

from pgbourse.serve.turns import Turn

__all__ = ["Ready"]


class Ready:
    """Workers take turns from here and bring them back, until a turn is let go.

    One condition guards the counts and all waiting. The deque's append and popleft are atomic by themselves,
    so who brings a turn back that a worker awake will see needs no lock.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turns: deque[Turn] = deque()
        self._held = 0  # turns that are here, with a worker or with the reader
        self._stopping = False

    @property
    def held(self) -> int:
        """How many turns are here, with a worker or with the reader."""
        return self._held

    def __len__(self) -> int:
        return len(self._turns)

    def submit(self, turns: Sequence[Turn]) -> None:
        """Take in turns that dispatch didn't have."""
        with self._changed:
            self._held += len(turns)
            self._turns.extend(turns)
            self._changed.notify()

    def bring_back(self, turns: Sequence[Turn], let_go: int = 0) -> None:
        """Take back turns that go on, and count those that don't."""
        with self._changed:
            self._turns.extend(turns)
            self._held -= let_go
            if self._stopping and not self._held:
                self._changed.notify_all()
            elif turns:
                self._changed.notify()

    def wake(self) -> None:
        """Wake a worker, if any sleeps, because there is more here than one takes."""
        if self._turns:
            with self._changed:
                self._changed.notify()

    def next(self) -> Turn | None:
        """Wait for a turn; None once stopped and none is left to come."""
        with self._changed:
            while not self._turns:
                if self._stopping and not self._held:
                    return None
                self._changed.wait()
            return self._turns.popleft()

    def another(self) -> Turn | None:
        """Return a turn if one is here."""
        try:
            return self._turns.popleft()
        except IndexError:
            return None

    def stop(self) -> None:
        """Let workers end when the last turn has been let go."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
