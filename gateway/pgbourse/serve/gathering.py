"""Gathers a batch: each client's share of it, until it is full or nobody is ready."""

from collections.abc import Callable

from pgbourse.serve.accounts import Accounts
from pgbourse.serve.counts import Count
from pgbourse.serve.portions import Portion
from pgbourse.serve.reader import LARGE
from pgbourse.serve.ready import Ready
from pgbourse.serve.turns import Turn
from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import parse_all

__all__ = ["Gatherer"]

# Requests that a client may have in a batch, however many others there are: a call has its price, too.
LEAST_SHARE = 40

# A batch of so many requests is carried out in one transaction while nobody else has any: that is quicker.
FEW = 16


class Gatherer:
    """One worker's way to take documents from clients whose turn it is."""

    def __init__(
        self,
        ready: Ready,
        accounts: Accounts,
        taken: Count,
        batch_requests: int,
        on_taken: Callable[[], None],
        fronts: int,
    ) -> None:
        """`taken` counts what is taken; then `on_taken` is called.

        Orders are carried out in two stages, the first by so many workers; in one if there are none.
        """
        self._fronts = fronts
        self._ready = ready
        self._accounts = accounts
        self._taken = taken
        self._batch_requests = batch_requests
        self._on_taken = on_taken

    def gather(self, turns: list[Turn], size: int = 0) -> list[Portion]:
        """Return portions of turns that can go on, and list these turns as they are taken.

        They are for a batch that has `size` requests.

        A portion may be empty: of documents of which nothing can be carried out.
        """
        share = min(self._batch_requests, max(LEAST_SHARE, self._batch_requests // max(1, self._ready.held)))
        turn = self._ready.next() if size < self._batch_requests else None
        shares: list[int] = []
        whose: list[Turn] = []  # turn by document
        frames: list[Frame] = []
        documents: list[int] = []
        taken_bytes = 0
        while turn is not None:
            turns.append(turn)
            room = self._batch_requests - size
            if room > share:
                room = share
            before = len(frames)
            # Results in the replies, at most: what is refused at once also costs time and memory.
            expected = turn.left
            is_open = turn.pending is None and turn.large is None
            while is_open and expected < room and (frame := turn.peer.take()) is not None:
                document = frame.document
                length = len(document)
                if length > LARGE:
                    turn.large = frame
                    is_open = False
                else:
                    whose.append(turn)
                    frames.append(frame)
                    taken_bytes += length
                    expected += max(1, document.count(b"<") - 2)  # the root has two, a child one or two
            shares.append(room)
            documents.append(len(frames) - before)
            if turn.weight > 1:
                expected *= turn.weight
            size += expected if expected < room else room
            turn = self._ready.next() if size < self._batch_requests else None
        self._ready.wake()  # another worker, if more waits than this batch takes
        self._taken.add(len(frames), taken_bytes)
        self._on_taken()
        read = parse_all([frame.document for frame in frames])
        for turn, frame, parsed in zip(whose, frames, read, strict=True):
            turn.add(frame, parsed)
        fronts = self._fronts if self._ready.has_stages else 0
        if size <= FEW and self._ready.held <= len(turns):
            fronts = 0
        return self._accounts.admit(
            [
                turn.portion(room, count, fronts, share)
                for turn, room, count in zip(turns, shares, documents, strict=True)
            ]
        )
