"""The feed: one thread that reads what happens to books, for all clients that have subscribed.

What is the same for all is made once: each poll makes one piece of bytes a symbol, which all who follow it
are handed by reference. Whoever needs something else (a whole book, what happened long ago) gets it between
two polls, and at its own pace.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from pgbourse.serve.answers import FateUnknown
from pgbourse.serve.feedfollowers import BOOK, GONE, LATE, PAST, Followed, Follower, Snapshot, Subscriber
from pgbourse.serve.feedring import Ring
from pgbourse.serve.feedsource import Book, FeedSource, Start
from pgbourse.serve.sessions import ConnectionGone, DatabaseError
from pgbourse.serve.turns import Turn
from pgbourse.wire.feed import (
    Event,
    Subscription,
    feed_error,
    format_resumed,
    format_snapshot,
    format_updates,
)
from pgbourse.wire.messages import Refusal

__all__ = ["Feed"]

_log = logging.getLogger("pgbourse.feed")

# Seconds between two polls: what happens is sent within a tenth of a second.
_POLL = 0.05
# Updates of one symbol that are read at once, at most; and events of all of them, more or less.
_UPDATES = 500
_EVENTS = 20_000
# Bytes of updates that are kept for those who are late: of one symbol, and of all together.
_SYMBOL_BYTES = 4 * 1024 * 1024
_ALL_BYTES = 64 * 1024 * 1024
# Seconds for which one snapshot serves all who need one.
_FRESH = 1.0
_ASKED = 1_000  # subscriptions that are looked up in one call
# Seconds until the database is asked again after an error, at first and at most.
_FIRST_RETRY, _LAST_RETRY = 0.05, 0.5
_IDLE = 10.0  # seconds until the session ends that nobody needs any more

_STOPPING = feed_error("", "the server is stopping: subscribe again, from the update after the last one")


class Feed:
    """All clients that have subscribed. `_changed` guards what other threads leave here for its own."""

    def __init__(self, conninfo: str, come_back: Callable[[Turn], None], *, certified: bool = False) -> None:
        """Take the database's connection string, and what to do with turns whose documents are answered.

        Who subscribes must have a certificate that permits it if they are `certified`.
        """
        self._source = FeedSource(conninfo)
        self._come_back = come_back
        self._certified = certified
        self.updates_sent = 0
        self.snapshots_sent = 0
        self.snapshots_to_late = 0  # in place of updates that they had missed
        self._changed = threading.Condition()
        self._asks: deque[Turn] = deque()  # turns with documents to be answered
        self._roomy: deque[Turn] = deque()  # those that have room again
        self._leavers: deque[Turn] = deque()
        self._in_hand: set[Turn] = set()  # whose documents are not all answered
        self._draining = False
        self._stopping = False
        # The rest is the thread's own.
        self._subscribers: dict[Turn, Subscriber] = {}
        self._symbols: dict[int, Followed] = {}  # by key
        self._to_ask: dict[Subscriber, Subscription] = {}
        self._books: dict[Followed, list[Follower]] = {}  # those that need one, and have room for it
        self._pasts: dict[tuple[Followed, int], list[Follower]] = {}  # likewise, the updates from this one on
        self._next_poll = 0.0
        self._most = _UPDATES
        self._checked = ""  # the server by which all places were found right
        self._away_since = 0.0
        self._retry_at = 0.0
        self._delay = _FIRST_RETRY
        self._used_at = 0.0
        self._thread = threading.Thread(target=self._run, name="pgbourse-feed", daemon=True)

    @property
    def subscribers(self) -> int:
        """How many clients are feeds. Any thread may ask."""
        return len(self._subscribers)

    def start(self) -> None:
        self._thread.start()

    def ask(self, turn: Turn) -> None:
        """Answer the documents that a turn has for the feed; then it comes back. Called by workers."""
        if not turn.is_fed:
            turn.is_fed = True
            turn.peer.begin_feed(partial(self._note, self._roomy, turn), partial(self._leave, turn))
        with self._changed:
            draining = self._draining
            if not draining:
                self._in_hand.add(turn)
                self._asks.append(turn)
                self._changed.notify()
        if draining:
            turn.peer.end_feed(_STOPPING)
            self._come_back(turn)

    def drain(self) -> None:
        """Let go of all documents that are not answered: their clients are told that the server stops."""
        with self._changed:
            self._draining = True
            turns = list(self._in_hand)
            self._in_hand.clear()
        for turn in turns:
            turn.peer.end_feed(_STOPPING)
            self._come_back(turn)

    def stop(self, timeout: float) -> None:
        """End, but don't wait longer than this for a database that doesn't answer."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _leave(self, turn: Turn) -> None:
        turn.has_left = True
        self._note(self._leavers, turn)

    def _note(self, where: deque[Turn], turn: Turn) -> None:
        with self._changed:
            where.append(turn)
            self._changed.notify()

    # Everything below runs in the feed's thread.

    def _run(self) -> None:
        while self._wait():
            try:
                self._take_in()
                self._work()
            except DatabaseError as error:
                self._note_away(error)
            except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the feed
                _log.exception("closing %d feeds after an unforeseen error", len(self._subscribers))
                self._give_up()
        self._source.close()

    def _wait(self) -> bool:
        """Wait until there is something to do. False once stopped."""
        with self._changed:
            while not self._stopping:
                if self._asks or self._roomy or self._leavers:
                    return True
                now = time.monotonic()
                due = self._due(now)
                if due is not None and due <= now:
                    return True
                self._changed.wait(None if due is None else due - now)
            return False

    def _due(self, now: float) -> float | None:
        """Return when there is something to do by itself."""
        if not (self._symbols or self._to_ask):
            return self._used_at + _IDLE if self._source.is_open else None
        if self._away_since:
            return self._retry_at
        if self._to_ask or self._books or self._pasts:
            return now
        return self._next_poll if any(symbol.ring for symbol in self._symbols.values()) else None

    def _take_in(self) -> None:
        """Take over what others have left."""
        with self._changed:
            asks, roomy, leavers = list(self._asks), list(self._roomy), list(self._leavers)
            self._asks.clear()
            self._roomy.clear()
            self._leavers.clear()
        for turn in asks:
            asked, turn.asked = turn.asked, ()
            if turn.has_left:
                self._let_go(turn)
                continue
            subscriber = self._subscribers.get(turn)
            if subscriber is None:
                subscriber = self._subscribers[turn] = Subscriber(turn)
            subscriber.asked.extend(asked)
            self._answer(subscriber)
        for turn in leavers:
            if (gone := self._subscribers.pop(turn, None)) is not None:
                self._to_ask.pop(gone, None)
                for follower in gone.followers.values():
                    self._forget(follower)
            self._let_go(turn)
        for turn in roomy:
            if (subscriber := self._subscribers.get(turn)) is not None:
                waiting, subscriber.waiting = subscriber.waiting, []
                for follower in waiting:
                    self._serve(follower)
                self._answer(subscriber)

    def _let_go(self, turn: Turn) -> None:
        """Let a turn go on whose documents are answered, unless that has been done."""
        with self._changed:
            if turn not in self._in_hand:
                return
            self._in_hand.discard(turn)
        self._come_back(turn)

    def _work(self) -> None:
        """Do what is due in the database: a poll, and one thing of each other kind. Raises DatabaseError."""
        now = time.monotonic()
        if not (self._symbols or self._to_ask):
            if self._source.is_open and now - self._used_at >= _IDLE:
                self._source.disconnect()
            return
        self._used_at = now
        if self._away_since and now < self._retry_at:
            return
        self._source.connect()
        if self._checked != self._source.server:
            self._check_places()
        if self._next_poll <= now:
            self._poll(now)
        if self._to_ask:
            self._subscribe()
        if self._books:
            self._make_book(next(iter(self._books)))
        if self._pasts:
            self._read_past(*next(iter(self._pasts)))
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

    def _give_up(self) -> None:
        """Begin anew, without those who are here."""
        for turn in list(self._subscribers):
            turn.peer.end_feed()
        self._source.disconnect()

    def _poll(self, now: float) -> None:
        """Read what has happened to all symbols, and hand it out."""
        symbols = [symbol for symbol in self._symbols.values() if symbol.ring is not None]
        rings = [symbol.ring for symbol in symbols if symbol.ring is not None]
        if not rings:
            return
        after = [ring.next - 1 for ring in rings]
        read = self._source.updates([symbol.key for symbol in symbols], after, self._most)
        has_more = False
        events_read = 0
        for key, events in read:
            symbol = self._symbols[key]
            events_read += len(events)
            has_more |= self._publish(symbol, events) >= self._most
        self._next_poll = now if has_more else now + _POLL
        if events_read > _EVENTS:
            self._most = max(1, self._most // 2)
        elif events_read < _EVENTS // 4:
            self._most = min(2 * self._most, _UPDATES)

    def _publish(self, symbol: Followed, events: Sequence[Event]) -> int:
        """Hand out a symbol's updates and return how many they are. If some are missing, begin anew."""
        ring = symbol.ring
        assert ring is not None
        if events[0].seq != ring.next:
            _log.warning("updates of %s are gone before they were read: it begins anew", symbol.sym)
            self._begin_anew(symbol)
            return 0
        live = len(symbol.live)
        most = min(_SYMBOL_BYTES, _ALL_BYTES // len(self._symbols))
        count = symbol.publish(events, most, time.monotonic())
        self.updates_sent += count * live
        return count

    def _begin_anew(self, symbol: Followed) -> None:
        """Give the whole book to all who follow a symbol."""
        symbol.ring = symbol.snapshot = None
        symbol.live.clear()
        self._books.pop(symbol, None)
        for place in [place for place in self._pasts if place[0] is symbol]:
            del self._pasts[place]
        for follower in symbol.followers:
            if follower in follower.subscriber.waiting:
                follower.subscriber.waiting.remove(follower)
            follower.state = BOOK
            self._serve(follower)

    def _check_places(self) -> None:
        """See whether another server, or this one after a restart, has all that was sent."""
        symbols = [(symbol, _place(symbol)) for symbol in self._symbols.values() if _place(symbol)]
        asked = [Subscription(symbol.sym, place, "") for symbol, place in symbols]
        starts = self._source.subscribe(asked, None) if asked else []
        for (symbol, _), start in zip(symbols, starts, strict=True):
            if start.outcome != "resumed":
                _log.warning("the database lacks updates of %s that were sent: it begins anew", symbol.sym)
                self._begin_anew(symbol)
        self._checked = self._source.server

    # Documents.

    def _answer(self, subscriber: Subscriber) -> None:
        """Answer the next documents, as far as that needs no database, and there is room."""
        while subscriber.asked and not subscriber.is_asking:
            if not subscriber.turn.peer.has_room():
                return
            asked = subscriber.asked[0].asked
            if isinstance(asked, Refusal):
                subscriber.hand(feed_error(asked.echo, asked.message), time.monotonic(), must=True)
                subscriber.asked.popleft()
            else:
                subscriber.is_asking = True
                self._to_ask[subscriber] = asked
        if not subscriber.asked:
            self._let_go(subscriber.turn)

    def _answered(self, subscriber: Subscriber) -> None:
        subscriber.asked.popleft()
        subscriber.is_asking = False
        self._answer(subscriber)

    def _subscribe(self) -> None:
        """Look up how those begin that have asked."""
        batch = list(self._to_ask.items())[:_ASKED]
        names = [subscriber.turn.peer.certificate_name for subscriber, _ in batch]
        starts = self._source.subscribe([asked for _, asked in batch], names if self._certified else None)
        for (subscriber, asked), start in zip(batch, starts, strict=True):
            del self._to_ask[subscriber]
            self._begin(subscriber, asked, start)

    def _begin(self, subscriber: Subscriber, asked: Subscription, start: Start) -> None:
        now = time.monotonic()
        key, seq = start.symbol_key, start.seq
        if key is None or seq is None:
            subscriber.hand(feed_error(asked.echo, start.message or "refused"), now, must=True)
            self._answered(subscriber)
            return
        if (before := subscriber.followers.pop(key, None)) is not None:
            self._forget(before)
        symbol = self._symbols.get(key)
        if symbol is None:
            symbol = self._symbols[key] = Followed(key, asked.sym)
        elif symbol.sym != asked.sym or _is_behind(symbol, start):
            _log.warning("the exchange has been emptied: %s begins anew", asked.sym)
            symbol.sym = asked.sym
            self._begin_anew(symbol)
        follower = subscriber.followers[key] = Follower(subscriber, symbol)
        symbol.followers.add(follower)
        if start.outcome == "resumed":
            subscriber.hand(format_resumed(asked.sym, seq), now, must=True)
            follower.next = seq + 1
            self._find_place(follower)
            self._answered(subscriber)
        else:
            self._serve(follower)

    def _forget(self, follower: Follower) -> None:
        symbol = follower.symbol
        symbol.forget(follower)
        if not symbol.followers:
            self._symbols.pop(symbol.key, None)
            self._books.pop(symbol, None)
            for place in [place for place in self._pasts if place[0] is symbol]:
                del self._pasts[place]

    # What a follower needs.

    def _find_place(self, follower: Follower) -> None:
        """Let a follower, whose next update is known, go on from there."""
        ring = follower.symbol.ring
        follower.place = -1 if ring is None else ring.place_of(follower.next)
        follower.state = PAST if follower.place < 0 else LATE
        self._serve(follower)

    def _serve(self, follower: Follower) -> None:
        """Hand a follower what it needs, or put it where that is read; it waits if it has no room."""
        symbol, subscriber = follower.symbol, follower.subscriber
        if follower.state == GONE:
            return
        if follower.state == LATE:
            ring = symbol.ring
            if ring is not None and follower.place >= ring.begin:
                if not symbol.hand_late(follower, time.monotonic()):
                    subscriber.waiting.append(follower)
                return
            follower.state = BOOK
            self.snapshots_to_late += 1
        if not subscriber.turn.peer.has_room():
            subscriber.waiting.append(follower)
        elif follower.state == BOOK:
            self._books.setdefault(symbol, []).append(follower)
        else:
            self._pasts.setdefault((symbol, follower.next), []).append(follower)

    def _make_book(self, symbol: Followed) -> None:
        """Hand the whole book to those who need it."""
        now = time.monotonic()
        snapshot, ring = symbol.snapshot, symbol.ring
        is_fresh = snapshot is not None and now - snapshot.made_at < _FRESH
        if snapshot is None or ring is None or not is_fresh or ring.place_of(snapshot.seq + 1) < 0:
            snapshot = symbol.snapshot = _snapshot(symbol, self._source.snapshot(symbol.key), now)
        if symbol.ring is None:
            symbol.ring = Ring(snapshot.seq + 1)
        for follower in self._books.pop(symbol):
            if follower.state != BOOK:
                continue
            if not follower.subscriber.hand(snapshot.data, now):
                follower.subscriber.waiting.append(follower)
                continue
            self.snapshots_sent += 1
            follower.next = snapshot.seq + 1
            self._find_place(follower)
            if follower.is_first:
                follower.is_first = False
                self._answered(follower.subscriber)

    def _read_past(self, symbol: Followed, first: int) -> None:
        """Read the updates from this one on for those who resume there, and hand them out."""
        read = self._source.updates([symbol.key], [first - 1], self._most)
        followers = [one for one in self._pasts.pop((symbol, first)) if one.state == PAST]
        events = read[0][1] if read else []
        if events and events[0].seq != first:  # it has been forgotten since
            for follower in followers:
                follower.state = BOOK
                self._serve(follower)
            return
        data, ends = format_updates(symbol.sym, events)
        if symbol.ring is None and len(ends) < self._most:
            symbol.ring = Ring(first + len(ends))
        now = time.monotonic()
        for follower in followers:
            if not data or follower.subscriber.hand(data, now):
                self.updates_sent += len(ends)
                follower.next = first + len(ends)
                self._find_place(follower)
            else:
                follower.subscriber.waiting.append(follower)


def _place(symbol: Followed) -> int:
    """Return the number of an update that must be there, or the next to come; 0 if nobody was told of any."""
    if symbol.ring is not None:
        return symbol.ring.next
    return min([follower.next for follower in symbol.followers if follower.state == PAST], default=0)


def _is_behind(symbol: Followed, start: Start) -> bool:
    """Whether the newest update that the database has of a symbol was told, and later ones as well."""
    return (
        symbol.ring is not None
        and start.outcome == "snapshot"
        and start.seq is not None
        and start.seq < symbol.ring.next - 1
    )


def _snapshot(symbol: Followed, book: Book, now: float) -> Snapshot:
    data = format_snapshot(symbol.sym, book.seq, book.orders, halted=book.halted)
    return Snapshot(book.seq, data, now)
