"""Mutants that mislead who follows books: each breaks one of the promises of the feed."""

import socket
from collections.abc import Callable, Sequence
from typing import Any

from pgbourse.serve import feedfollowers, feedoutput, feedsource, feedwork
from pgbourse.serve.feedoutput import FeedOutput
from pgbourse.serve.feedring import Piece, Ring
from pgbourse.serve.feedsource import FeedSource, Start
from pgbourse.wire.feed import format_updates

__all__ = ["MISLEADING"]


def tells_what_is_not_durable() -> None:
    """Read what has happened without waiting for its flush."""
    for name, query in feedsource._CALLS.items():
        feedsource._CALLS[name] = query.replace(feedsource._FLUSH, b"null")


def tells_again_what_a_snapshot_had() -> None:
    """Hand out every piece whole."""
    _replace(Piece, "since", lambda self, _: self.data)


def goes_on_with_what_comes_next() -> None:
    """Resume where everybody else is."""
    _replace(Ring, "place_of", lambda self, _: self.end)


def resumes_one_too_early() -> None:
    subscribe = FeedSource.subscribe

    def earlier(self: FeedSource, *arguments: Any) -> list[Start]:
        starts = subscribe(self, *arguments)
        return [one._replace(seq=one.seq and one.seq - 1) for one in starts]

    _replace(FeedSource, "subscribe", earlier)


def leaves_out_removals() -> None:
    """Format updates without what was cancelled of a resting order."""

    def without(sym: str, events: Sequence[Any]) -> tuple[bytes, list[int]]:
        seqs = {event.seq for event in events}
        kept = [event for event in events if event.kind != "remove"]
        if {event.seq for event in kept} != seqs:
            kept = list(events)  # an update without an event would be another fault
        return format_updates(sym, kept)

    _replace(feedfollowers, "format_updates", without)
    _replace(feedwork, "format_updates", without)


def forgets_who_is_late() -> None:
    """Let those who found no room go on with what comes when they have it."""
    hand = feedfollowers.Subscriber.hand

    def hand_or_drop(self: feedfollowers.Subscriber, piece: Any, now: float, *, must: bool = False) -> bool:
        return hand(self, piece, now, must=must) or True

    _replace(feedfollowers.Subscriber, "hand", hand_or_drop)


def queues_without_end() -> None:
    """Keep a copy of everything for everybody."""
    add = FeedOutput.add

    def add_copy(self: FeedOutput, piece: Any, now: float, *, must: bool) -> bool:
        return add(self, bytes(bytearray(piece)), now, must=must or True)

    _replace(FeedOutput, "add", add_copy)
    _replace(FeedOutput, "has_room", lambda _: True)


def has_small_sockets() -> None:
    """No fault: the kernel holds little for clients that don't read, so the gateway has to sooner."""
    listen = socket.socket.listen

    def listen_with_less(self: socket.socket, backlog: int = 4096) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        listen(self, backlog)

    _replace(socket.socket, "listen", listen_with_less)


def keeps_little_for_the_late() -> None:
    """No fault either: what is kept for those who are late ends sooner."""
    _replace(feedwork, "SYMBOL_BYTES", 64 * 1024)
    _replace(feedoutput, "FULL", 64 * 1024)
    _replace(feedoutput, "_LOW", 16 * 1024)


def _replace(owner: object, name: str, broken: Any) -> None:
    setattr(owner, name, broken)


MISLEADING: tuple[Callable[[], None], ...] = (
    tells_what_is_not_durable,
    tells_again_what_a_snapshot_had,
    goes_on_with_what_comes_next,
    resumes_one_too_early,
    leaves_out_removals,
    forgets_who_is_late,
    queues_without_end,
    has_small_sockets,
    keeps_little_for_the_late,
)
