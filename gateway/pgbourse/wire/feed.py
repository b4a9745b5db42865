"""Market data: what a <subscribe> asks for, and what a feed sends, each a document on a line.

docs/protocol.md describes both. No sockets and no SQL, and no clock: times are given.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from operator import itemgetter
from typing import NamedTuple

from pgbourse.wire.elements import Element
from pgbourse.wire.fields import MAX_ORDER_ID, SYM, Field, escape, order_number, shorten
from pgbourse.wire.requests import Document, Refusal, refuse

__all__ = [
    "Event",
    "FeedDocument",
    "Order",
    "Subscription",
    "feed_error",
    "format_heartbeat",
    "format_resumed",
    "format_snapshot",
    "format_updates",
    "read_subscribe",
    "refuse_on_feed",
    "refuse_subscribe",
]

# A feed's errors have no codes.
_FROM = Field(re.compile("0*[1-9][0-9]*"), "the number of the first update that is wanted, 1 or more", "")
_REPEATED = ("sym", "from")

_ORDERS_A_PAUSE = 256  # of a snapshot; they take 0.2 milliseconds


class Subscription(NamedTuple):
    """What a <subscribe> asks for, its values checked."""

    sym: str
    first: int | None  # the update to begin with; None to begin with a snapshot
    echo: str  # the attributes that an <error> repeats, as XML


class FeedDocument(Document):
    """A document on a feed. It has no requests: the feed answers it."""

    __slots__ = ("asked",)

    def __init__(self, asked: Subscription | Refusal) -> None:
        super().__init__([], [])
        self.asked = asked


class Event(NamedTuple):
    """Something that happened to a book: a row of exchange.read_updates. Numbers are text."""

    seq: int
    time: str  # in seconds since the epoch, with microseconds
    kind: str
    side: str | None
    order_id: int | None  # of a trade, that of the buy order
    sell_order_id: int | None
    price: str | None
    shares: str | None


class Order(NamedTuple):
    """A resting order of a snapshot."""

    order_id: int
    side: str
    price: str
    shares: str


def read_subscribe(root: Element, elements: Iterable[Element]) -> FeedDocument:
    """Read a <subscribe> with what it holds, which must be nothing. Raises DocumentRefused."""
    get = root.get
    for child in elements:
        what = f"unknown element <{shorten(child.tag)}>: <subscribe> holds nothing"
        return refuse_subscribe(root, what)
    sym, first = get("sym"), get("from")
    if sym is None or (problem := SYM.problem("sym", sym)):
        return refuse_subscribe(root, SYM.problem("sym", sym) or "")
    if first is None:
        return FeedDocument(Subscription(sym, None, f' sym="{sym}"'))
    if problem := _FROM.problem("from", first):
        return refuse_subscribe(root, problem)
    number = order_number(first)  # one that the database can't hold lies further ahead than any update
    return FeedDocument(
        Subscription(sym, MAX_ORDER_ID if number is None else number, f' sym="{sym}" from="{first}"')
    )


def refuse_subscribe(root: Element, message: str) -> FeedDocument:
    """Refuse a <subscribe>, which makes its connection a feed nevertheless."""
    return FeedDocument(refuse(root.get, _REPEATED, message, ""))


def refuse_on_feed() -> FeedDocument:
    """Return what becomes of any other document on a connection that is a feed: nothing but an error."""
    return FeedDocument(Refusal("", "this connection is a feed: it takes <subscribe> and nothing else"))


def feed_error(echo: str, message: str) -> bytes:
    """Return an <error> of a feed, which repeats these attributes."""
    return f"<error{echo}>{escape(message)}</error>\n".encode()


def format_resumed(sym: str, seq: int) -> bytes:
    """Return what is said before the update that follows seq."""
    return f'<resumed sym="{sym}" seq="{seq}"/>\n'.encode("ascii")


def format_heartbeat(seconds: float) -> bytes:
    """Return what is said when there is nothing to say."""
    return f'<heartbeat time="{seconds:.6f}"/>\n'.encode("ascii")


def format_snapshot(
    sym: str, seq: int, orders: Sequence[Order], *, halted: bool, pause: Callable[[], None] | None = None
) -> bytes:
    """Return a whole book. `pause` is called now and then, so that a large one doesn't hold up others."""
    head = f'<snapshot sym="{sym}" seq="{seq}"' + (' halted="true"' if halted else "")
    if not orders:
        return f"{head}/>\n".encode("ascii")
    parts = [f"{head}>"]
    for start in range(0, len(orders), _ORDERS_A_PAUSE):
        if pause is not None:
            pause()
        parts += [
            f'<order id="{order_id}" side="{side}" price="{price}" shares="{shares}"/>'
            for order_id, side, price, shares in orders[start : start + _ORDERS_A_PAUSE]
        ]
    parts.append("</snapshot>\n")
    return "".join(parts).encode("ascii")


def format_updates(sym: str, events: Iterable[Event]) -> tuple[bytes, list[int]]:
    """Return the updates that these events, in their order, are of; and where each of them ends.

    Raises ValueError if an event is of an unknown kind.
    """
    lines = [_update(sym, list(of_one)) for _, of_one in groupby(events, itemgetter(0))]
    return "".join(lines).encode("ascii"), list(accumulate(map(len, lines)))


def _update(sym: str, events: list[Event]) -> str:
    seq, time, *_ = events[0]
    return f'<update sym="{sym}" seq="{seq}" time="{time}">{"".join(_events(events))}</update>\n'


def _events(events: Iterable[Event]) -> Iterator[str]:
    for event in events:
        _, _, kind, side, order_id, sell_order_id, price, shares = event
        if kind == "trade":
            yield f'<trade price="{price}" shares="{shares}" buy="{order_id}" sell="{sell_order_id}"/>'
        elif kind == "add":
            yield f'<add id="{order_id}" side="{side}" price="{price}" shares="{shares}"/>'
        elif kind == "remove":
            yield f'<remove id="{order_id}" shares="{shares}"/>'
        elif kind in ("halt", "resume"):
            yield f"<{kind}/>"
        else:
            raise ValueError(f"an update has an event of an unknown kind: {event}")
