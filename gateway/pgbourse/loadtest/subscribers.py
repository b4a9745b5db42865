"""Subscribers beside a load: connections that follow its symbols and read what they are sent, in one thread.

They count. One of them may keep the books as well, so that these can be compared with what the server shows.
"""

import selectors
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pgbourse.client import BookError, Client, LocalBook, ReplyError
from pgbourse.client.feedreader import FeedLines, read_feed
from pgbourse.loadtest.connections import Connections, LoadClient, LoadError, Target

__all__ = ["Subscribers"]

_READ_BYTES = 256 * 1024
_TICK = 0.1
_MAX_LINE = 256 * 1024 * 1024
_DEPTH = 1000  # of the books that are compared: the most that a server shows
_UPDATE, _SNAPSHOT = b"<update ", b"<snapshot "
_TAIL = len(_SNAPSHOT) - 1  # bytes of a beginning that may come in two pieces


@dataclass(slots=True)
class _Subscriber:
    """One connection, and what it has been sent."""

    client: LoadClient
    tail: bytes = b""
    updates: int = 0
    snapshots: int = 0
    size: int = 0

    def take(self, data: bytes) -> None:
        """Count what is in the next bytes."""
        self.size += len(data)
        text = self.tail + data
        # What is whole in the tail was counted before.
        self.updates += text.count(_UPDATE) - self.tail.count(_UPDATE)
        self.snapshots += text.count(_SNAPSHOT) - self.tail.count(_SNAPSHOT)
        self.tail = text[-_TAIL:]


class Subscribers:
    """So many connections that follow these symbols. One thread reads them all, until `close`."""

    def __init__(self, target: Target, syms: Sequence[str], number: int, *, keeps_books: bool) -> None:
        """Connect and subscribe; return once each has all books. Raises LoadError if that can't be done."""
        self._target = replace(target, new_connection_each=False)
        self._syms = syms
        self._books = {sym: LocalBook(sym) for sym in syms} if keeps_books else {}
        self._lines = FeedLines(_MAX_LINE)
        self._connections = Connections(self._target)
        self._all = [_Subscriber(LoadClient()) for _ in range(number)]
        self._began = 0.0
        self._counted: list[tuple[int, int]] = []  # updates and bytes of each at `begin`
        self._figures: list[tuple[float, float]] = []  # updates and bytes a second of each
        self._stopping = False
        self.problem = ""  # why no more is read
        self._thread = threading.Thread(target=self._run, name="pgbourse-subscribers", daemon=True)
        self._subscribe()
        self._thread.start()
        self._wait_for_books()

    def begin(self) -> None:
        """Count from now on."""
        self._began = time.perf_counter()
        self._counted = [(one.updates, one.size) for one in self._all]

    def end(self) -> None:
        """Count until now."""
        seconds = time.perf_counter() - self._began
        self._figures = [
            ((one.updates - updates) / seconds, (one.size - size) / seconds)
            for one, (updates, size) in zip(self._all, self._counted, strict=True)
        ]

    def as_dict(self) -> dict[str, object]:
        """Return the figures of each, as JSON has them."""
        return {
            "updates_per_second": [round(updates, 1) for updates, _ in self._figures],
            "bytes_per_second": [round(size) for _, size in self._figures],
            "snapshots_instead": self._late(),
            "problem": self.problem or None,
        }

    def lines(self) -> list[str]:
        """Return what they got, for a terminal."""
        updates, sizes = zip(*self._figures, strict=True)
        number = len(self._all)
        lines = [
            f"{number} subscribers: each got {sum(updates) / number:.0f} updates/s and "
            f"{sum(sizes) / number / 1e3:.1f} kB/s (lowest {min(updates):.0f} and {min(sizes) / 1e3:.1f}, "
            f"highest {max(updates):.0f} and {max(sizes) / 1e3:.1f})"
        ]
        if late := self._late():
            lines.append(f"{late} snapshots in the place of updates that a subscriber was too slow for")
        if self.problem:
            lines.append(f"subscribers: {self.problem}")
        return lines

    def compare(self, account_id: str) -> list[str]:
        """Wait until the books that were kept are those that the server shows; return how they differ.

        Nobody may trade meanwhile. Raises ClientError if the server can't be asked.
        """
        target, found = self._target, []
        with Client(target.host, target.port, timeout=target.stall_seconds, tls=target.tls) as client:
            for sym, book in self._books.items():
                shown = client.look_book(account_id, sym, _DEPTH)
                deadline = time.monotonic() + target.stall_seconds
                while (book.seq or 0) < shown.seq and not self.problem and time.monotonic() < deadline:
                    time.sleep(_TICK)
                if book.seq != shown.seq:
                    found.append(f"the feed of {sym} is at {book.seq}, and its book at {shown.seq}")
                elif book.book(_DEPTH) != shown:
                    found.append(f"the book of {sym} that the feed tells is not the one that is shown")
        return found

    def close(self) -> None:
        """Close all connections."""
        self._stopping = True
        self._thread.join()
        self._connections.close_all([one.client for one in self._all])

    def _late(self) -> int:
        return sum(one.snapshots - len(self._syms) for one in self._all)

    def _subscribe(self) -> None:
        asked = "".join(f'<subscribe sym="{sym}"/>' for sym in self._syms).encode()
        self._connections.open([one.client for one in self._all])
        for one in self._all:
            assert one.client.socket is not None
            self._connections.selector.modify(one.client.socket, selectors.EVENT_READ, one)
            if one.client.socket.send(asked) != len(asked):
                raise LoadError("the server does not take what is subscribed to")

    def _wait_for_books(self) -> None:
        deadline = time.monotonic() + self._target.stall_seconds
        while not self.problem and any(one.snapshots < len(self._syms) for one in self._all):
            if time.monotonic() > deadline:
                self.problem = f"no book came for {self._target.stall_seconds:g} s"
            time.sleep(_TICK / 10)
        if self.problem:
            self.close()
            raise LoadError(f"subscribers: {self.problem}")

    # The thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                for key, _ in self._connections.selector.select(_TICK):
                    self._read(key.data)
        except (LoadError, ReplyError, BookError) as error:
            self.problem = str(error)

    def _read(self, one: _Subscriber) -> None:
        assert one.client.socket is not None
        try:
            data = one.client.socket.recv(_READ_BYTES)
        except BlockingIOError:  # a part of a TLS record
            return
        except OSError:
            data = b""
        if not data:
            raise LoadError("the server has closed a feed")
        one.take(data)
        if one is self._all[0] and self._books:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._lines.feed(data)
        while (line := self._lines.next()) is not None:
            value = read_feed(line)
            if (book := self._books.get(getattr(value, "sym", None) or "")) is not None:
                book.apply(value)
