"""The clients of a load run that have lost their connection, and when the next of them may connect again."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from pgbourse.loadtest.connections import LoadClient

__all__ = ["LostClients"]

_FIRST_PAUSE: Final = 0.05  # seconds
_LONGEST_PAUSE: Final = 1.0  # a server that is back is noticed within this time


class LostClients:
    """Clients without a connection, in the order in which they lost it, and one back-off for all of them.

    They have one server in common: where one client is turned away, the others would be. Times are those of
    time.perf_counter.
    """

    def __init__(self, clients: Iterable[LoadClient] = (), now: float = 0.0) -> None:
        """Take clients that may all connect at once."""
        self._clients = deque((client, now) for client in clients)  # and when each was lost
        self._next_try = 0.0
        self._pause = _FIRST_PAUSE

    def __len__(self) -> int:
        return len(self._clients)

    def add(self, client: LoadClient, now: float) -> None:
        """Take a client that has lost its connection: after many replies, or before the first one."""
        self._clients.append((client, now))
        if client.answered:
            self._pause = _FIRST_PAUSE
            self._next_try = max(self._next_try, now + self._pause)
        else:
            self.back_off(now)

    def back_off(self, now: float) -> None:
        """Note that the server has turned a client away: the next one waits twice as long as this one did."""
        self._next_try = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def due(self, now: float) -> LoadClient | None:
        """Return the client that may connect now, if any may. It stays lost until `found` is called."""
        return self._clients[0][0] if self._clients and now >= self._next_try else None

    def found(self) -> None:
        """Note that the client that was due has a connection again."""
        self._clients.popleft()

    def seconds_until_due(self, now: float) -> float:
        """Return how long it is until a client may connect."""
        return max(0.0, self._next_try - now)

    def seconds_without(self, now: float) -> float:
        """Return for how long a client has been without a connection, at most; 0 if all have one."""
        return now - self._clients[0][1] if self._clients else 0.0
