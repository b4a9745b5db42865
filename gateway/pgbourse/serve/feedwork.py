"""What the feed's thread does in the database: it polls, looks up who subscribes, and reads for the late."""

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from pgbourse.serve.answers import FateUnknown
from pgbourse.serve.feedbooks import BookReader, Wanted
from pgbourse.serve.feeddesk import FeedDesk
from pgbourse.serve.feedfollowers import BOOK, PAST, Followed
from pgbourse.serve.feedring import Ring
from pgbourse.serve.feedsource import FeedSource
from pgbourse.serve.sessions import ConnectionGone, DatabaseError
from pgbourse.wire.feed import (
    Event,
    Subscription,
    format_updates,
)

__all__ = ["FeedStatus", "FeedWork"]

_log = logging.getLogger("pgbourse.feed")

# Seconds between two polls: what happens is sent within a tenth of a second.
_POLL = 0.05
# Updates of one symbol that are read at once, at first and at most; and events of all, more or less.
_FIRST_UPDATES, _UPDATES = 32, 500
_EVENTS = 20_000
# Bytes of updates that are kept for those who are late: of one symbol, and of all together.
SYMBOL_BYTES = 4 * 1024 * 1024
_ALL_BYTES = 64 * 1024 * 1024
_SNAPSHOT_BYTES = 256 * 1024 * 1024  # of different ones that clients have not taken
_ASKED = 1_000  # subscriptions that are looked up in one call
# Seconds until the database is asked again after an error, at first and at most.
_FIRST_RETRY, _LAST_RETRY = 0.05, 0.5
_IDLE = 10.0  # seconds until the session ends that nobody needs any more


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How many clients are feeds, and what all of them together have been sent."""

    subscribers: int = 0
    updates: int = 0
    snapshots: int = 0
    late: int = 0  # snapshots in the place of updates that a slow client had missed
    kept_bytes: int = 0  # of updates, and of snapshots that somebody has not been sent yet

    def __add__(self, other: "FeedStatus") -> "FeedStatus":
        return FeedStatus(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class FeedWork:
    """Reads for all who are at the desk. Only the feed's thread uses it, but for `status`."""

    def __init__(
        self, conninfo: str, desk: FeedDesk, on_news: Callable[[], None], *, certified: bool
    ) -> None:
        """Take whom to serve; the rest is as in Feed.

        Another thread calls `on_news` when there is something to `do`.
        """
        self._source = FeedSource(conninfo, "pgbourse feed")
        self._reader = BookReader(conninfo, on_news)
        self._desk = desk
        self._certified = certified
        self._snapshots: list[weakref.ref[memoryview]] = []  # oldest first, some of which are there no more
        self._next_poll = 0.0
        self._most = min(_FIRST_UPDATES, _UPDATES)
        self._checked = ""  # the server by which all places were found right
        self._away_since = 0.0  # 0 while the database answers
        self._retry_at = 0.0
        self._delay = _FIRST_RETRY
        self._used_at = 0.0

    def status(self) -> FeedStatus:
        rings = [symbol.ring for symbol in list(self._desk.symbols.values())]
        snapshots = [reference() for reference in self._snapshots]
        kept = sum([ring.size for ring in rings if ring is not None])
        kept += sum([len(snapshot) for snapshot in snapshots if snapshot is not None])
        return FeedStatus(
            len(self._desk.subscribers),
            self._desk.updates_sent,
            self._desk.snapshots_sent,
            self._desk.late,
            kept,
        )

    @property
    def has_news(self) -> bool:
        """Whether there is something to do at once that another thread has done its part of."""
        return self._reader.has_read

    def due(self, now: float) -> float | None:
        """Return when there is something to do by itself; None if nothing is."""
        if not (self._desk.symbols or self._desk.to_ask):
            return self._used_at + _IDLE if self._source.is_open else None
        if self._away_since:
            return self._retry_at
        if self._desk.to_ask or self._desk.pasts or self._desk.books.keys() - self._desk.reading.keys():
            return now
        return self._next_poll if any(symbol.ring for symbol in self._desk.symbols.values()) else None

    def do(self) -> None:
        """Do what is due in the database: a poll, and one thing of each other kind."""
        for wanted in self._reader.take():
            self._note_book(wanted)
        now = time.monotonic()
        if not (self._desk.symbols or self._desk.to_ask):
            if self._source.is_open and now - self._used_at >= _IDLE:
                self._source.disconnect()
            return
        self._used_at = now
        if self._away_since and now < self._retry_at:
            return
        try:
            self._do(now)
        except DatabaseError as error:
            self._note_away(error)

    def give_up(self) -> int:
        """Begin anew, without those who are here. Returns how many they are."""
        for turn in self._desk.subscribers:
            turn.peer.end_feed()
        self._source.disconnect()
        return len(self._desk.subscribers)

    def close(self) -> None:
        """End the sessions."""
        self._source.close()
        self._reader.stop(1.0)

    # The database.

    def _do(self, now: float) -> None:
        self._source.connect()
        if self._checked != self._source.server:
            self._check_places()
        if self._next_poll <= now:
            self._poll(now)
        if self._desk.to_ask:
            self._subscribe()
        self._want_books()
        if self._desk.pasts:
            self._read_past(*next(iter(self._desk.pasts)))
        if self._away_since:
            _log.warning("the feed goes on after %.1f s", now - self._away_since)
            self._away_since, self._delay = 0.0, _FIRST_RETRY

    def _note_away(self, error: DatabaseError) -> None:
        now = time.monotonic()
        if not self._away_since:
            self._away_since = now
            _log.warning("the feed waits for the database: %s", error)
        if isinstance(error, (ConnectionGone, FateUnknown)):
            self._source.disconnect()
        self._retry_at = now + self._delay
        self._delay = min(2 * self._delay, _LAST_RETRY)

    def _poll(self, now: float) -> None:
        """Read what has happened to all symbols, and hand it out."""
        symbols = [symbol for symbol in self._desk.symbols.values() if symbol.ring is not None]
        rings = [symbol.ring for symbol in symbols if symbol.ring is not None]
        if not rings:
            return
        after = [ring.next - 1 for ring in rings]
        read = self._source.updates([symbol.key for symbol in symbols], after, self._most)
        has_more = False
        events_read = 0
        for key, events in read:
            symbol = self._desk.symbols[key]
            events_read += len(events)
            has_more |= self._publish(symbol, events) >= self._most
        self._next_poll = now if has_more else now + _POLL
        self._measure(events_read)

    def _measure(self, events: int) -> None:
        """Read fewer updates at once if these were of many events, or more if they were of few."""
        if events > _EVENTS:
            self._most = max(1, self._most // 2)
        elif events < _EVENTS // 4:
            self._most = min(2 * self._most, _UPDATES)

    def _publish(self, symbol: Followed, events: Sequence[Event]) -> int:
        """Hand out a symbol's updates and return how many they are. If some are missing, begin anew."""
        ring = symbol.ring
        assert ring is not None
        if events[0].seq != ring.next:
            _log.warning("updates of %s are gone before they were read: it begins anew", symbol.sym)
            self._desk.begin_anew(symbol)
            return 0
        live = len(symbol.live)
        most = min(SYMBOL_BYTES, _ALL_BYTES // len(self._desk.symbols))
        count = symbol.publish(events, most, time.monotonic())
        self._desk.updates_sent += count * live
        return count

    def _check_places(self) -> None:
        """See whether another server, or this one after a restart, has all that was sent."""
        symbols = [(symbol, _place(symbol)) for symbol in self._desk.symbols.values() if _place(symbol)]
        asked = [Subscription(symbol.sym, place, "") for symbol, place in symbols]
        starts = self._source.subscribe(asked, None) if asked else []
        for (symbol, _), start in zip(symbols, starts, strict=True):
            if start.outcome != "resumed":
                _log.warning("the database lacks updates of %s that were sent: it begins anew", symbol.sym)
                self._desk.begin_anew(symbol)
        self._checked = self._source.server

    def _subscribe(self) -> None:
        """Look up how those begin that have asked."""
        batch = list(self._desk.to_ask.items())[:_ASKED]
        names = [subscriber.turn.peer.certificate_name for subscriber, _ in batch]
        starts = self._source.subscribe([asked for _, asked in batch], names if self._certified else None)
        for (subscriber, asked), start in zip(batch, starts, strict=True):
            del self._desk.to_ask[subscriber]
            self._desk.begin(subscriber, asked, start)

    def _want_books(self) -> None:
        """Have the books read that somebody needs, or hand out the last one if nothing has happened since."""
        for symbol in [one for one in self._desk.books if one not in self._desk.reading]:
            wanted = Wanted(symbol, self._desk.books.pop(symbol))
            newest = max([follower.next for follower in wanted.followers]) - 1  # that somebody knows of
            if symbol.snapshot is not None and symbol.snapshot.seq >= newest:
                self._desk.hand_book(wanted.followers, symbol.snapshot)
            else:
                self._desk.reading[symbol] = wanted
                self._reader.ask(wanted)

    def _note_book(self, wanted: Wanted) -> None:
        """Hand out a book that has been read, unless nobody wants it any more.

        Who holds the oldest one is closed if all together are too many bytes.
        """
        symbol, snapshot = wanted.symbol, wanted.snapshot
        if self._desk.reading.get(symbol) is not wanted:
            return
        del self._desk.reading[symbol]
        if snapshot is None:
            for follower in wanted.followers:
                follower.subscriber.turn.peer.end_feed()
            return
        self._snapshots.append(weakref.ref(snapshot.data))
        self._bound_snapshots()
        if symbol.ring is None:
            symbol.ring = Ring(snapshot.seq + 1)
        if symbol.ring.next <= snapshot.seq + 1:
            symbol.snapshot = snapshot
        self._desk.hand_book(wanted.followers, snapshot)

    def _bound_snapshots(self) -> None:
        living = [data for reference in self._snapshots if (data := reference()) is not None]
        while sum(map(len, living)) > _SNAPSHOT_BYTES and len(living) > 1:
            oldest = living.pop(0)
            _log.warning("closing clients that take a snapshot too slowly: too much is unsent in all")
            for turn in self._desk.subscribers:
                turn.peer.drop_holder(oldest)
            for symbol in self._desk.symbols.values():
                if symbol.snapshot is not None and symbol.snapshot.data is oldest:
                    symbol.snapshot = None
        self._snapshots = list(map(weakref.ref, living))

    def _read_past(self, symbol: Followed, first: int) -> None:
        """Read the updates from this one on for those who resume there, and hand them out."""
        read = self._source.updates([symbol.key], [first - 1], self._most)
        followers = [one for one in self._desk.pasts.pop((symbol, first)) if one.state == PAST]
        events = read[0][1] if read else []
        is_all = not events or events[-1].seq - first + 1 < self._most
        self._measure(len(events))
        if events and events[0].seq != first:  # it has been forgotten since
            for follower in followers:
                follower.state = BOOK
                self._desk.serve(follower)
            return
        data, ends = format_updates(symbol.sym, events)
        if symbol.ring is None and is_all:
            symbol.ring = Ring(first + len(ends))
        now = time.monotonic()
        for follower in followers:
            if not data or follower.subscriber.hand(data, now):
                self._desk.updates_sent += len(ends)
                follower.next = first + len(ends)
                self._desk.find_place(follower)
            else:
                follower.subscriber.waiting.append(follower)


def _place(symbol: Followed) -> int:
    """Return the number of an update that must be there, or the next to come; 0 if nobody was told of any."""
    if symbol.ring is not None:
        return symbol.ring.next
    return min([follower.next for follower in symbol.followers if follower.state == PAST], default=0)
