"""A client's turn: its documents in dispatch's hands, and how far each of them is carried out.

A turn belongs to one thread at a time, so nothing here is locked. It is carried out in portions: the next
requests of its documents, in order, never more than one portion at a time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pgbourse.serve.portions import Item, Portion, affordable, weight_of, writes
from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import (
    Action,
    Document,
    FeedDocument,
    Request,
    ResultRow,
    refuse_on_feed,
)

__all__ = ["Peer", "Turn", "begin_turn"]


# Requests in a portion after one of which some were left for later, and where there is no such limit.
_FEW = 8
_MANY = 1 << 30


class Peer(Protocol):
    """A client as dispatch sees it: documents come in order, and replies go in the same order."""

    certificate_name: str | None  # of the certificate that the client presented
    turn: "Turn | None"  # its turn, once it has had one

    def take(self) -> Frame | None:
        """Return the next document, or None."""

    def put_back(self, frames: Sequence[Frame]) -> None:
        """Put taken documents, and all that were taken after them, back in their place."""

    def answer(self, replies: bytes, *, unfinished: bool = False) -> bool:
        """Deliver replies. True if the client stays with dispatch: documents are unfinished, or more wait."""

    def abandon(self) -> list[Frame]:
        """Close without a reply to what was taken, whose fate is unknown; return what is dropped with it."""

    def begin_feed(self, on_room: Callable[[], None], on_leave: Callable[[], None]) -> None:
        """Become a feed. `on_room` is called once there is room again, `on_leave` at the end."""

    def has_room(self) -> bool:
        """Return whether the feed may hand over more; if not, `on_room` will be called."""

    def hand(self, piece: bytes | memoryview, now: float, *, must: bool = False) -> bool:
        """Deliver a piece of the feed. False if there is no room; there is for one that `must` go out."""

    def end_feed(self, farewell: bytes = b"") -> None:
        """Deliver nothing more of the feed but a farewell."""

    def drop_holder(self, piece: memoryview) -> None:
        """Close at once if it has not delivered this piece yet."""


class Turn:
    """One client's documents, from the first that is not answered, and a cursor within their requests.

    It lasts as long as the client, and is empty whenever dispatch doesn't have the client.
    """

    __slots__ = (
        "_begun",
        "_goes_beyond",
        "_holder",
        "_items",
        "_portion",
        "_requests",
        "_wholes",
        "account",
        "asked",
        "has_left",
        "is_fed",
        "is_feed",
        "large",
        "most",
        "peer",
        "pending",
        "tries",
        "weight",
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.large: Frame | None = None  # taken after all others, to be read by itself
        self.pending: Portion | None = None  # has requests without a result
        self.tries = 0  # in a row that brought no result
        self.most = _MANY  # requests in the next portion
        self.weight = 1  # orders as which one of its requests counts, as far as the last portion tells
        self.is_feed = False  # a <subscribe> has been read: whatever else follows is refused
        self.asked: Sequence[FeedDocument] = ()  # that the feed is to answer next
        self.is_fed = False  # the feed knows the client
        self.has_left = False  # the client has left the feed; any thread may set this
        self.account: str | None = None  # that a document here has to itself
        self._holder: Item | None = None  # that document
        self._items: deque[Item] = deque()  # neither of them answered
        self._requests: list[Request] = []  # of these documents
        self._begun = 0  # how many of them have been in a portion
        self._wholes = 0  # how many of the documents must not be interrupted
        self._goes_beyond = False  # some document so far had more than the base protocol
        self._portion = Portion(self)

    @property
    def left(self) -> int:
        """How many requests the next portion can have."""
        if self.pending is not None:
            return len(self.pending.places)
        return len(self._requests) - self._begun

    @property
    def unfinished(self) -> bool:
        """Whether documents are here."""
        return bool(self._items) or self.large is not None

    @property
    def wants_reader(self) -> bool:
        """Whether a large document is all that is here."""
        return self.large is not None and not self._items

    def add(self, frame: Frame, document: Document) -> None:
        """Take in a document that has been read."""
        if self.is_feed or type(document) is FeedDocument:
            document = self._on_feed(document)
        item = Item(frame, document)
        self._items.append(item)
        self._wholes += item.is_whole
        if not document.is_plain:
            self._goes_beyond = True
        self._requests += document.requests

    def _on_feed(self, document: Document) -> FeedDocument:
        """Return what becomes of a document that is a <subscribe>, or comes after one."""
        self.is_feed = True
        return document if isinstance(document, FeedDocument) else refuse_on_feed()

    def portion(self, most: int, documents: int, fronts: int = 0, share: int = 0) -> Portion:
        """Cut off the next requests, or return the portion in hand, if it has requests without a result.

        If orders are carried out in stages, then by one of so many workers in front: a portion holds only
        orders that one of them reserves, or no orders. A document that must not be interrupted is a portion
        of its own, which may be as large as a client's `share`. What takes long counts as several.
        """
        portion = self._portion
        if self.pending is not None:
            self.pending = None
            portion.is_locked = False
            return portion
        given = most
        if most > self.most:
            most = self.most
        is_whole = False
        if self._wholes:
            before, size = self._first_whole()
            is_whole = not before
            most = size if is_whole and size <= share else min(most, before or size)
        requests = self._requests[self._begun : self._begun + most]
        if self._goes_beyond:
            del requests[affordable(requests, max(given, share)) :]
            self.weight = weight_of(requests)
        front = -1
        if fronts and requests:
            front = _front(requests[0], fronts)
            end = next((i for i, request in enumerate(requests) if _front(request, fronts) != front), most)
            if is_whole and (end < len(requests) or _has_several_symbols(requests)):
                # Orders and others, or what lanes would do side by side: in one transaction.
                front = -1
            else:
                del requests[end:]
        self._begun += len(requests)
        portion.begin(requests, documents or 1, front, is_whole=is_whole)
        return portion

    def _first_whole(self) -> tuple[int, int]:
        """Count the requests before the first document that must not be interrupted, and its own."""
        before = 0
        for item in self._items:
            if item.is_whole:
                return before, item.missing
            before += item.missing
        return before, 0

    def have(self, account_id: str) -> None:
        """Take note that the document whose turn it is has this account to itself."""
        self.account = account_id
        self._holder = next(item for item in self._items if item.missing)

    @property
    def needs_account(self) -> bool:
        """Whether that document is still here."""
        return self._holder in self._items

    def needs_calm(self, portion: Portion) -> bool:
        """Whether what the database locks doesn't keep others from coming in between.

        So it is if that document takes several calls, the next one for this portion, or only looks.
        """
        item = self._holder
        return (
            portion.front >= 0
            or (item is not None and (item.begun or item.missing > len(portion.requests)))
            or not any(map(writes, portion.requests))
        )

    def wait_for(self, account_id: str, portion: Portion) -> Portion:
        """Take back a portion, with which nothing has been done, to wait for this account.

        Returns an empty one that says so.
        """
        if any(portion.results):
            self.pending = portion
        else:
            self.give_back(len(portion.requests))
        empty = Portion(self)
        empty.waits_for = account_id
        return empty

    def take_back(self, portion: Portion) -> None:
        """Take back the portion in hand, which has requests without a result, to go on with them.

        Orders that earlier ones may pay for are asked for again and again: so few of them at a time.
        """
        if any(portion.results) or portion.is_whole:
            portion.ask_again()
            self.pending = portion
            return
        self.give_back(len(portion.requests))
        if not portion.is_locked:
            self.most = _FEW

    def give_back(self, count: int) -> None:
        """Take the last requests of the portion in hand as if no portion had had them."""
        self._begun -= count

    def take_results(self, results: Sequence[Sequence[ResultRow]]) -> list[Item]:
        """Take the results of the first requests of the last portion, which may be none.

        Let go and return the documents, from the first, of which every request has a result then.
        """
        self.tries = 0 if results else self.tries + 1
        if self.most < _MANY:
            self.most *= 2  # take_back limits it again if some have no result
        items = self._items
        finished: list[Item] = []
        start = 0
        while items:
            item = items[0]
            if item.missing:
                part = results[start : start + item.missing]
                if part:
                    start += len(part)
                    item.take_results(part)
                if item.missing:
                    return finished
            finished.append(items.popleft())
            self._wholes -= item.is_whole
        self._forget()
        return finished

    def drop(self) -> list[Item]:
        """Let go and return all documents, finished or not, except the large one."""
        items = list(self._items)
        self._items.clear()
        self._forget()
        return items

    def put_back(self) -> list[Frame]:
        """Give the documents that haven't begun back to the client, and return them."""
        kept = [item for item in self._items if item.begun]
        frames = [item.frame for item in self._items if not item.begun]
        if frames:
            count = sum([item.missing for item in self._items if not item.begun])
            del self._requests[len(self._requests) - count :]
            self._items = deque(kept)
            self._wholes = sum([item.is_whole for item in kept])
            self.peer.put_back(frames if self.large is None else [*frames, self.large])
            self.large = None
            self.is_feed = False  # a <subscribe> may be among them, and none was answered
        return frames

    def _forget(self) -> None:
        """Forget what concerned documents that have all gone."""
        self._requests.clear()
        self._begun = 0
        self._wholes = 0
        self.pending = None
        self.tries = 0
        self.most = _MANY


def begin_turn(peer: Peer) -> Turn:
    """Make the turn of a client that has none, and keep it there."""
    turn = peer.turn = Turn(peer)
    return turn


def _front(request: Request, fronts: int) -> int:
    """Return who of so many workers in front reserves for an order; -1 for any other request."""
    if request.action != Action.PLACE_ORDER:
        return -1
    return hash(request.account_id) % fronts if fronts > 1 else 0


def _has_several_symbols(requests: Sequence[Request]) -> bool:
    sym = requests[0].sym
    return any(request.sym != sym for request in requests)
