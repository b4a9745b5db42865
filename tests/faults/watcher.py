"""A thread that looks at books all the time: in the tables, and as clients do with <book>."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psycopg

from pgbourse.client import Client, ClientError
from tests.faults.background import Background
from tests.faults.follower import Session, Sighting, sight

__all__ = ["WATCHES", "Watcher"]

# The account that looks, which must exist. While its clients are looking it has nothing else under way: what
# an account looks at can be amid a transaction in which it trades.
WATCHES = "1"


class Watcher(Background):
    """Looks at one symbol after the other, through a superuser's session and through a gateway."""

    def __init__(self, observe: Callable[[], Session], address: tuple[str, int]) -> None:
        super().__init__("watcher")
        self.sightings: dict[str, list[Sighting]] = defaultdict(list)
        self._observe = observe
        self._address = address
        self._watched: str | None = None

    def watch(self, sym: str) -> None:
        """Look at this symbol from now on, and at no other."""
        self._watched = sym

    def _run(self) -> None:
        while not self._stopping.wait(0.01):
            with suppress(psycopg.OperationalError, ClientError), ExitStack() as stack:
                session = stack.enter_context(self._observe())
                client = stack.enter_context(Client(*self._address, timeout=10))
                while not self._stopping.wait(0.005):
                    if self._watched is not None:
                        self._look(session, client, self._watched)

    def _look(self, session: Session, client: Client, sym: str) -> None:
        seen = sight(session, sym)
        self.sightings[sym].append(seen)
        book = client.look_book(WATCHES, sym, 1000)
        self.sightings[sym].append(Sighting(book.seq, None, book))
