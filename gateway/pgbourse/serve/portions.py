"""What is carried out of a client's documents at once, and what has come of each document so far.

They belong to a turn (pgbourse.serve.turns), and like it to one thread at a time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgbourse.serve.calls import Reserved
from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import Action, Document, Reply, Request, ResultRow, format_reply

if TYPE_CHECKING:
    from pgbourse.serve.turns import Turn

__all__ = ["Item", "Portion", "affordable", "weight_of", "writes"]


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
        requests = self.requests
        results: list[Any] = self.results
        if None in results:
            count = results.index(None)
            self.requests, self.results = requests[count:], results[count:]
            requests, results = requests[:count], results[:count]
        else:
            self.requests, self.results = [], []
        return requests, results

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


# What takes the database as long as so many orders of a batch, or longer where an account has much; all else
# takes about as long as one.
_COSTS = {
    Action.REPLACE_ORDER: 20,
    Action.LIST_ORDERS: 20,
    Action.CANCEL_ALL: 20,
    Action.LOOK_ACCOUNT: 10,
    Action.LOOK_BOOK: 5,
    Action.REDUCE_ORDER: 3,
    Action.REDUCE_ORDER_TO: 3,
}
_LEAST = 400  # as long as so many orders a portion may always take, so that small documents stay whole


def affordable(requests: Sequence[Request], orders: int) -> int:
    """Return how many of these requests, at least one, take no longer than so many orders, or _LEAST."""
    orders = max(orders, _LEAST)
    for count, request in enumerate(requests):
        orders -= _COSTS.get(request.action, 1)
        if orders < 0:
            return max(1, count)
    return len(requests)


def weight_of(requests: Sequence[Request]) -> int:
    """Return as how many orders one of these requests counts, on average; at least 1."""
    return max(1, sum([_COSTS.get(request.action, 1) for request in requests]) // max(1, len(requests)))
