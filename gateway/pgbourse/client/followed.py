"""Which symbols a feed follows, and how far each has come. No sockets here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from pgbourse.client.feedvalues import FeedError, FeedValue, Resumed, Snapshot, Update
from pgbourse.client.replies import ReplyError

__all__ = ["Followed"]


@dataclass(slots=True)
class _Symbol:
    """A symbol that was subscribed to.

    `seq` is the last update that is known, None before the first answer. `start` is the update that the first
    answer was to begin with, None for a snapshot. `places` are those after which a <resumed> may go on.
    `answered` says whether this connection has brought anything of it.
    """

    start: int | None
    seq: int | None = None
    places: set[int] = field(default_factory=set)
    answered: bool = False

    @property
    def next(self) -> int | None:
        return self.start if self.seq is None else self.seq + 1


class Followed:
    """The symbols of a feed. Every value that is received passes through it, in its order."""

    def __init__(self) -> None:
        self._symbols: dict[str, _Symbol] = {}

    def subscribe(self, sym: str, start: int | None) -> bytes:
        """Note a subscription, and return the document that asks for it."""
        symbol = self._symbols.setdefault(sym, _Symbol(start))
        if start is not None:
            symbol.places.add(start - 1)
        return _document(sym, start)

    def on_new_connection(self) -> Iterator[bytes]:
        """Yield the documents that ask for all symbols, each at the update after the last that is known."""
        for sym, symbol in self._symbols.items():
            symbol.answered = False
            symbol.places = set() if symbol.next is None else {symbol.next - 1}
            yield _document(sym, symbol.next)

    def take(self, value: FeedValue) -> None:
        """Note what was received.

        Raises ReplyError where an update is missing or comes again, or where nobody asked for it.
        """
        match value:
            case Snapshot():
                self._of(value).seq = value.seq
            case Resumed():
                symbol = self._of(value)
                if value.seq not in symbol.places:
                    raise ReplyError(f"the server's feed of {value.sym} goes on after update {value.seq}")
                symbol.seq = value.seq
            case Update():
                symbol = self._of(value)
                if symbol.seq is None or value.seq != symbol.seq + 1:
                    last = "before any answer" if symbol.seq is None else f"after {symbol.seq}"
                    raise ReplyError(f"the server's feed of {value.sym} has update {value.seq} {last}")
                symbol.seq = value.seq
            case FeedError():
                symbol_or_none = self._symbols.get(value.sym or "")
                if symbol_or_none is not None and not symbol_or_none.answered:
                    del self._symbols[value.sym or ""]

    def _of(self, value: Snapshot | Resumed | Update) -> _Symbol:
        symbol = self._symbols.get(value.sym)
        if symbol is None:
            raise ReplyError(f"the server's feed has {value.sym}, which was not subscribed to")
        symbol.answered = True
        return symbol


def _document(sym: str, start: int | None) -> bytes:
    resumes = "" if start is None else f' from="{start}"'
    return f"<subscribe sym={quoteattr(sym)}{resumes}/>".encode()
