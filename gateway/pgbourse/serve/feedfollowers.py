"""Who follows which symbol, and how far each of them is. The feed's thread alone uses it.

A client that follows a symbol is in one of these states there:

LIVE   It has been handed everything that has come. What comes next it is handed as it comes.
LATE   It found no room for something, and is handed it out of the symbol's ring when it has room.
PAST   It resumes, at an update that isn't in the ring: that is read for it, part by part, when it has room.
BOOK   It needs the whole book, at first, or because the ring has not kept what it missed.
GONE   It follows no more.
"""

from collections import deque
from collections.abc import Sequence

from pgbourse.serve.feedring import Piece, Ring
from pgbourse.serve.turns import Turn
from pgbourse.wire.feed import Event, FeedDocument, format_updates

__all__ = ["BOOK", "GONE", "LATE", "LIVE", "PAST", "Followed", "Follower", "Snapshot", "Subscriber"]

LIVE, LATE, PAST, BOOK, GONE = "live", "late", "past", "book", "gone"


class Subscriber:
    """A client that is a feed: a follower of each symbol that it has subscribed to."""

    __slots__ = ("asked", "followers", "is_asking", "turn", "waiting")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.asked: deque[FeedDocument] = deque()  # documents that are not answered yet
        self.is_asking = False  # the first of them is being answered
        self.followers: dict[int, Follower] = {}  # by the symbol's key
        self.waiting: list[Follower] = []  # for room

    def hand(self, piece: bytes | memoryview, now: float, *, must: bool = False) -> bool:
        """Hand the client a piece. False if there is no room, and it isn't one that `must` go out."""
        return self.turn.peer.hand(piece, now, must=must)


class Follower:
    """One client's place in one symbol."""

    __slots__ = ("is_first", "next", "place", "state", "subscriber", "symbol")

    def __init__(self, subscriber: Subscriber, symbol: "Followed") -> None:
        self.subscriber = subscriber
        self.symbol = symbol
        self.state = BOOK
        self.is_first = True  # its <subscribe> is not answered yet
        # The number of the update that it is to be handed next; until it has a BOOK, of one that may be.
        self.next = 0
        self.place = 0  # of the piece with that one in the ring, if it is LATE


class Snapshot:
    """A symbol's whole book as it is sent, after the update with this number."""

    __slots__ = ("data", "seq")

    def __init__(self, seq: int, data: memoryview) -> None:
        self.seq = seq
        self.data = data


class Followed:
    """A symbol that somebody follows."""

    __slots__ = ("followers", "key", "live", "ring", "snapshot", "sym")

    def __init__(self, key: int, sym: str) -> None:
        self.key = key
        self.sym = sym
        self.ring: Ring | None = None  # None until somebody has been told how the symbol stands
        self.followers: set[Follower] = set()
        self.live: set[Follower] = set()  # those of them that are LIVE
        self.snapshot: Snapshot | None = None  # the last one, until something has happened

    def publish(self, events: Sequence[Event], most: int, now: float) -> int:
        """Hand the next updates to all that are LIVE, and keep them; so many bytes of them at most.

        Returns how many updates they are. They must be the next ones.
        """
        assert self.ring is not None
        data, ends = format_updates(self.sym, events)
        piece = Piece(events[0].seq, data, ends)
        place, first, after = self.ring.end, piece.first, piece.last + 1
        self.ring.add(piece, most)
        self.snapshot = None
        late: list[Follower] = []
        for follower in self.live:
            if follower.next >= after:  # it was told of later ones already
                continue
            part = data if follower.next <= first else piece.since(follower.next)
            if follower.subscriber.hand(part, now):
                follower.next = after
            else:
                late.append(follower)
        for follower in late:
            self.live.discard(follower)
            follower.state = LATE
            follower.place = place
            follower.subscriber.waiting.append(follower)
        return len(ends)

    def hand_late(self, follower: Follower, now: float) -> bool:
        """Hand a follower what the ring has for it. False if there is no room for all of it."""
        ring = self.ring
        assert ring is not None
        while follower.place < ring.end:
            piece = ring.piece(follower.place)
            part = piece.since(follower.next)
            if part and not follower.subscriber.hand(part, now):
                return False
            follower.next = max(follower.next, piece.last + 1)
            follower.place += 1
        follower.state = LIVE
        self.live.add(follower)
        return True

    def forget(self, follower: Follower) -> None:
        """Let a follower go."""
        follower.state = GONE
        self.followers.discard(follower)
        self.live.discard(follower)
