"""Who follows what, and what is to be done for each: the feed's books are kept here, without a database."""

import logging
import time
from collections.abc import Callable, Sequence

from pgbourse.serve.feedbooks import Wanted
from pgbourse.serve.feedfollowers import BOOK, GONE, LATE, PAST, Followed, Follower, Snapshot, Subscriber
from pgbourse.serve.feedsource import Start
from pgbourse.serve.turns import Turn
from pgbourse.wire.feed import FeedDocument, Subscription, feed_error, format_resumed
from pgbourse.wire.messages import Refusal

__all__ = ["FeedDesk"]

_log = logging.getLogger("pgbourse.feed")


class FeedDesk:
    """All subscribers, and what each waits for. Only the feed's thread uses it, but for counts."""

    def __init__(self, let_go: Callable[[Turn], None]) -> None:
        """Take what to do with a turn whose documents are all answered."""
        self._let_go = let_go
        self.subscribers: dict[Turn, Subscriber] = {}
        self.symbols: dict[int, Followed] = {}  # by key
        self.to_ask: dict[Subscriber, Subscription] = {}
        self.books: dict[Followed, list[Follower]] = {}  # those that need one, and have room for it
        self.reading: dict[Followed, Wanted] = {}  # books that are being read for some
        self.pasts: dict[tuple[Followed, int], list[Follower]] = {}  # to be read: updates from this one on
        self.updates_sent = 0
        self.snapshots_sent = 0
        self.late = 0  # of these, in the place of updates that a slow client had missed

    def answer(self, turn: Turn, asked: Sequence[FeedDocument]) -> None:
        """Answer a client's next documents, in their order."""
        subscriber = self.subscribers.get(turn)
        if subscriber is None:
            subscriber = self.subscribers[turn] = Subscriber(turn)
        subscriber.asked.extend(asked)
        self._answer(subscriber)

    def leave(self, turn: Turn) -> None:
        """Forget a client that is gone, or was told to go."""
        if (gone := self.subscribers.pop(turn, None)) is not None:
            self.to_ask.pop(gone, None)
            for follower in gone.followers.values():
                self._forget(follower)
            gone.followers.clear()

    def go_on(self, turn: Turn) -> None:
        """Go on with a client that has room again."""
        if (subscriber := self.subscribers.get(turn)) is not None:
            waiting, subscriber.waiting = subscriber.waiting, []
            for follower in waiting:
                self.serve(follower)
            self._answer(subscriber)

    def begin(self, subscriber: Subscriber, asked: Subscription, start: Start) -> None:
        now = time.monotonic()
        key, seq = start.symbol_key, start.seq
        if key is None or seq is None:
            subscriber.hand(feed_error(asked.echo, start.message or "refused"), now, must=True)
            self.answered(subscriber)
            return
        if (before := subscriber.followers.pop(key, None)) is not None:
            self._forget(before)
        symbol = self.symbols.get(key)
        if symbol is None:
            symbol = self.symbols[key] = Followed(key, asked.sym)
        elif symbol.sym != asked.sym or _is_behind(symbol, start):
            _log.warning("the exchange has been emptied: %s begins anew", asked.sym)
            symbol.sym = asked.sym
            self.begin_anew(symbol)
        follower = subscriber.followers[key] = Follower(subscriber, symbol)
        symbol.followers.add(follower)
        follower.next = seq + 1
        if start.outcome == "resumed":
            subscriber.hand(format_resumed(asked.sym, seq), now, must=True)
            self.find_place(follower)
            self.answered(subscriber)
        else:
            self.serve(follower)

    def answered(self, subscriber: Subscriber) -> None:
        subscriber.asked.popleft()
        subscriber.is_asking = False
        self._answer(subscriber)

    def find_place(self, follower: Follower) -> None:
        """Let a follower, whose next update is known, go on from there."""
        ring = follower.symbol.ring
        follower.place = -1 if ring is None else ring.place_of(follower.next)
        follower.state = PAST if follower.place < 0 else LATE
        self.serve(follower)

    def serve(self, follower: Follower) -> None:
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
            self.late += 1
        if not subscriber.turn.peer.has_room():
            subscriber.waiting.append(follower)
        elif follower.state == BOOK:
            self.books.setdefault(symbol, []).append(follower)
        else:
            self.pasts.setdefault((symbol, follower.next), []).append(follower)

    def hand_book(self, followers: Sequence[Follower], snapshot: Snapshot) -> None:
        now = time.monotonic()
        for follower in followers:
            if follower.state != BOOK:
                continue
            if not follower.subscriber.hand(snapshot.data, now):
                follower.subscriber.waiting.append(follower)
                continue
            self.snapshots_sent += 1
            follower.next = snapshot.seq + 1
            self.find_place(follower)
            if follower.is_first:
                follower.is_first = False
                self.answered(follower.subscriber)

    def begin_anew(self, symbol: Followed) -> None:
        """Give the whole book to all who follow a symbol."""
        symbol.ring = symbol.snapshot = None
        symbol.live.clear()
        self._stop_reading(symbol)
        for follower in symbol.followers:
            if follower in follower.subscriber.waiting:
                follower.subscriber.waiting.remove(follower)
            follower.state = BOOK
            self.serve(follower)

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
                self.to_ask[subscriber] = asked
        if not subscriber.asked:
            self._let_go(subscriber.turn)

    def _forget(self, follower: Follower) -> None:
        symbol = follower.symbol
        symbol.forget(follower)
        if not symbol.followers:
            symbol.ring = symbol.snapshot = None  # they are large, and the rest may be in a cycle
            self.symbols.pop(symbol.key, None)
            self._stop_reading(symbol)

    def _stop_reading(self, symbol: Followed) -> None:
        """Forget what is to be read of a symbol."""
        self.books.pop(symbol, None)
        self.reading.pop(symbol, None)
        for place in [place for place in self.pasts if place[0] is symbol]:
            del self.pasts[place]


def _is_behind(symbol: Followed, start: Start) -> bool:
    """Whether the newest update that the database has of a symbol was told, and later ones as well."""
    return (
        symbol.ring is not None
        and start.outcome == "snapshot"
        and start.seq is not None
        and start.seq < symbol.ring.next - 1
    )
