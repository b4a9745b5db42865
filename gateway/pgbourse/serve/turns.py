"""A client's turn: its documents in dispatch's hands, and how far each of them is carried out.

A turn belongs to one thread at a time, so nothing here is locked. It is carried out in portions: the next
requests of its documents, in order, never more than one portion at a time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from pgbourse.serve.calls import Reserved
from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import (
    Action,
    Document,
    FeedDocument,
    Reply,
    Request,
    ResultRow,
    format_reply,
    refuse_on_feed,
)

__all__ = ["Item", "Peer", "Portion", "Turn", "begin_turn", "writes"]


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


class Item:
    """One document in dispatch's hands."""

    __slots__ = ("_reply", "_results", "document", "frame", "is_whole", "missing")

    def __init__(self, frame: Frame, document: Document) -> None:
        self.frame = frame
        self.document = document
        self.missing = len(document.requests)  # requests without a result
        # Whether other documents of its account must not come in between its requests. That is promised where
        # a document uses more than the base protocol.
        self.is_whole = not document.is_plain and self.missing > 1
        self._results: Sequence[Sequence[ResultRow]] = ()  # if they came all at once, as nearly always
        self._reply: Reply | None = None  # else

    @property
    def begun(self) -> bool:
        """Whether requests have results."""
        return self.missing < len(self.document.requests)

    def take_results(self, results: Sequence[Sequence[ResultRow]]) -> None:
        """Take the results of the next requests."""
        if len(results) == len(self.document.requests):
            self._results = results
        else:
            if self._reply is None:
                self._reply = Reply(self.document)
            self._reply.add(results)
        self.missing -= len(results)

    def reply(self) -> bytes:
        """Return the whole reply, once no result is missing."""
        return format_reply(self.document, self._results) if self._reply is None else self._reply.end()


class Portion:
    """What is carried out of one turn at once, and what becomes of it. A turn uses the same one again.

    It may take several calls: what has no result yet is asked for again.
    """

    __slots__ = (
        "_accounts",
        "answered_by",
        "away",
        "certificate_name",
        "documents",
        "front",
        "is_locked",
        "is_whole",
        "lost",
        "places",
        "requests",
        "reserved",
        "results",
        "turn",
        "waits",
        "waits_for",
    )

    def __init__(self, turn: "Turn") -> None:
        self.turn = turn
        self.certificate_name = turn.peer.certificate_name
        self.reserved: list[tuple[int, Reserved]] = []  # orders that are to be matched, with their places
        self.away = 0  # how many parts of it lanes have; their lock guards it
        self.lost = False  # may or may not have committed; that ends the turn
        self.begin([], 0)

    def begin(
        self, requests: list[Request], documents: int, front: int = -1, *, is_whole: bool = False
    ) -> None:
        """Begin anew, with these requests."""
        self.requests = requests
        self._accounts: frozenset[str] | None = None  # of these requests, once somebody has asked
        self.results: list[Sequence[ResultRow] | None] = [None] * len(requests)  # for each request its rows
        self.places: Sequence[int] = range(len(requests))  # of what the next call asks for
        self.documents = documents  # that it has requests of, for the metrics
        self.front = front  # the worker who reserves for these orders, to be matched then; -1: in one stage
        self.is_whole = is_whole  # of a document into which no other one of its account may come
        self.answered_by = ""  # the server that answered some of them when it was to reserve
        self.is_locked = False  # what has no result needs a lock that somebody else has
        self.waits = False  # what is left of the turn waits until the database takes writes
        self.waits_for = ""  # the account that another document has to itself, for which the turn waits

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts of its requests; a symbol that is created is nobody's. Any thread may ask."""
        accounts = self._accounts
        if accounts is None:
            accounts = frozenset(filter(None, [request.account_id for request in self.requests]))
            self._accounts = accounts
        return accounts

    def asked(self) -> Sequence[Request]:
        """Return the requests in these places."""
        requests = self.requests
        if len(self.places) == len(requests):
            return requests
        return [requests[place] for place in self.places]

    def ask_again(self) -> None:
        """Let the next call ask for the requests that have no result."""
        self.places = [place for place, rows in enumerate(self.results) if rows is None]

    def take_results(self) -> tuple[list[Request], list[Sequence[ResultRow]]]:
        """Let go and return the requests, from the first, that have results, and these."""
        requests, results = self.requests, self.results
        if None in results:
            count = results.index(None)
            self.requests, self.results = requests[count:], results[count:]
            requests, results = requests[:count], results[:count]
        else:
            self.requests, self.results = [], []
        return requests, cast("list[Sequence[ResultRow]]", results)

    def leave_writes(self) -> None:
        """Give the first open request that writes, and all behind it, back to the turn if none is done.

        What must not be interrupted is not begun.
        """
        self.ask_again()
        place = next((i for i in self.places if writes(self.requests[i])), None)
        if place is not None and self.is_whole:
            place = self.places[0]
        if place is not None and not any(self.results[place:]):
            self.turn.give_back(len(self.requests) - place)
            del self.requests[place:]
            del self.results[place:]
            self.ask_again()
            self.waits = True


_LOOKS = frozenset((Action.QUERY_ORDER, Action.LOOK_ACCOUNT, Action.LIST_ORDERS, Action.LOOK_BOOK))


def writes(request: Request) -> bool:
    """Whether a request needs a database that takes writes."""
    return request.action not in _LOOKS


class Turn:
    """One client's documents, from the first that is not answered, and a cursor within their requests.

    It lasts as long as the client, and is empty whenever dispatch doesn't have the client.
    """

    __slots__ = (
        "_begun",
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
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.large: Frame | None = None  # taken after all others, to be read by itself
        self.pending: Portion | None = None  # has requests without a result
        self.tries = 0  # in a row that brought no result
        self.most = _MANY  # requests in the next portion
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
        self._requests += document.requests

    def _on_feed(self, document: Document) -> FeedDocument:
        """Return what becomes of a document that is a <subscribe>, or comes after one."""
        self.is_feed = True
        return document if isinstance(document, FeedDocument) else refuse_on_feed()

    def portion(self, most: int, documents: int, fronts: int = 0, share: int = 0) -> Portion:
        """Cut off the next requests, or return the portion in hand, if it has requests without a result.

        If orders are carried out in stages, then by one of so many workers in front: a portion holds only
        orders that one of them reserves, or no orders. A document that must not be interrupted is a portion
        of its own, which may be as large as a client's `share`.
        """
        portion = self._portion
        if self.pending is not None:
            self.pending = None
            portion.is_locked = False
            return portion
        most = min(most, self.most)
        is_whole = False
        if self._wholes:
            before, size = self._first_whole()
            is_whole = not before
            most = size if is_whole and size <= share else min(most, before or size)
        requests = self._requests[self._begun : self._begun + most]
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
        portion.begin(requests, max(1, documents), front, is_whole=is_whole)
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
        """Take the results of the first requests of the last portion.

        Let go and return the documents, from the first, of which every request has a result then.
        """
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
