"""A feed's bytes -> values, and which values must come next. No sockets here."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeAlias, cast
from xml.etree import ElementTree

from pgbourse.client.feedvalues import (
    Add,
    BookOrder,
    Event,
    FeedError,
    FeedValue,
    Halt,
    Heartbeat,
    Remove,
    Resume,
    Resumed,
    Side,
    Snapshot,
    Trade,
    Update,
)
from pgbourse.client.replies import ReplyError

__all__ = ["FeedLines", "NotOfAFeed", "read_feed"]

_Element: TypeAlias = ElementTree.Element
_EPOCH = datetime.fromtimestamp(0, UTC)


class NotOfAFeed(ReplyError):
    """The server answered as it answers requests: it has no feed, or no room for one."""


class FeedLines:
    """Cuts what is received into documents: each is a line.

    What it holds is what was received and not taken, which is its caller's to bound, and at most `max_bytes`
    of a line that isn't complete.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._received = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        self._received += data

    def next(self) -> bytes | None:
        """Return the next whole line without its end, or None. Blank lines are skipped.

        Raises ReplyError when a line is too long.
        """
        while (end := self._received.find(b"\n", self._searched)) >= 0:
            line = bytes(self._received[:end]).strip()
            del self._received[: end + 1]
            self._searched = 0
            if line:
                return line
        self._searched = len(self._received)
        if self._searched > self._max_bytes:
            raise ReplyError(f"the server sent a line of more than {self._max_bytes} bytes")
        return None


def read_feed(document: bytes) -> FeedValue:
    """Read a document of a feed.

    Raises NotOfAFeed for the reply to a request, ReplyError for what is not of this protocol.
    """
    try:
        root = ElementTree.fromstring(document)
        if reader := _READERS.get(root.tag):
            return reader(root)
    except ElementTree.ParseError as error:
        raise ReplyError(f"the server's feed is not XML: {error}") from error
    except (KeyError, ValueError, ArithmeticError) as error:
        raise ReplyError(f"this client does not understand the server's feed: {error}") from error
    if root.tag == "results":
        raise NotOfAFeed(f"the server does not feed: {root.findtext('error', 'it answered with results')}")
    raise ReplyError(f"the server's feed has <{root.tag}>, which this client does not know")


def _read_snapshot(element: _Element) -> Snapshot:
    orders = tuple(BookOrder(*_resting(one)) for one in _children(element, "order"))
    return Snapshot(element.attrib["sym"], _seq(element), orders, element.get("halted") == "true")


def _read_update(element: _Element) -> Update:
    events = tuple(_EVENTS[child.tag](child.attrib) for child in element)
    return Update(element.attrib["sym"], _seq(element), _time(element), events)


def _read_resumed(element: _Element) -> Resumed:
    return Resumed(element.attrib["sym"], _seq(element))


def _read_heartbeat(element: _Element) -> Heartbeat:
    return Heartbeat(_time(element))


def _read_error(element: _Element) -> FeedError:
    return FeedError(element.text or "", element.get("sym"))


_READERS: dict[str, Callable[[_Element], FeedValue]] = {
    "snapshot": _read_snapshot,
    "update": _read_update,
    "resumed": _read_resumed,
    "heartbeat": _read_heartbeat,
    "error": _read_error,
}


def _trade(of: dict[str, str]) -> Trade:
    return Trade(Decimal(of["price"]), Decimal(of["shares"]), int(of["buy"]), int(of["sell"]))


def _add(of: dict[str, str]) -> Add:
    return Add(int(of["id"]), _side(of["side"]), Decimal(of["price"]), Decimal(of["shares"]))


def _remove(of: dict[str, str]) -> Remove:
    return Remove(int(of["id"]), Decimal(of["shares"]))


_EVENTS: dict[str, Callable[[dict[str, str]], Event]] = {
    "trade": _trade,
    "add": _add,
    "remove": _remove,
    "halt": lambda _: Halt(),
    "resume": lambda _: Resume(),
}


def _resting(element: _Element) -> tuple[int, Side, Decimal, Decimal]:
    of = element.attrib
    return int(of["id"]), _side(of["side"]), Decimal(of["price"]), Decimal(of["shares"])


def _children(element: _Element, tag: str) -> Iterator[_Element]:
    for child in element:
        if child.tag != tag:
            raise ValueError(f"<{element.tag}> has <{child.tag}>")
        yield child


def _side(text: str) -> Side:
    if text not in ("buy", "sell"):
        raise ValueError(f"side {text!r}")
    return cast("Side", text)


def _seq(element: _Element) -> int:
    return int(element.attrib["seq"])


def _time(element: _Element) -> datetime:
    """Return a time in seconds with at most six decimals, exactly."""
    seconds, _, fraction = element.attrib["time"].partition(".")
    return _EPOCH + timedelta(seconds=int(seconds), microseconds=int(fraction.ljust(6, "0")))
