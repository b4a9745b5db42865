"""The last trades of a symbol, and those to come, as the market's feed tells them.

Of the past a feed tells what is kept, from any update on: so we go back until there are enough trades.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pgbourse.client import ClientError, Feed, FeedError, NotSupported, Resumed, Snapshot, Trade, Update
from pgbourse.look.asking import AskError, ServerAddress

__all__ = ["TapeTrade", "follow_trades", "last_trades", "take_snapshot"]

_FIRST_DISTANCE = 100  # updates to go back at first, for each trade that is wanted not less than four
_MOST_DISTANCE = 200_000
_QUIET_SECONDS = 30.0  # after which a feed is lost: it says every ten that it lives
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 4.0  # seconds between attempts to connect again


@dataclass(frozen=True, slots=True)
class TapeTrade:
    """A trade: in which update of its symbol, when, and between which orders; `taker` came to the other."""

    sym: str
    seq: int
    at: datetime
    price: Decimal
    shares: Decimal
    buy_id: int
    sell_id: int
    taker: str


def last_trades(server: ServerAddress, sym: str, number: int) -> tuple[list[TapeTrade], int]:
    """Return the last trades of a symbol that are kept, oldest first, and the update up to which that is so.

    Raises AskError if there is no such symbol, ClientError or ReplyError if the server can't tell.
    """
    newest = take_snapshot(server, sym).seq
    trades: list[TapeTrade] = []
    kept, forgotten = 0, None  # distances from the newest update that are, and aren't, kept
    distance = min(newest, max(_FIRST_DISTANCE, 4 * number))
    while kept < distance:
        found = _trades_since(server, sym, newest + 1 - distance, newest)
        if found is None:
            forgotten = distance
        else:
            trades, kept = found, distance
        if len(trades) >= number or kept >= _MOST_DISTANCE:
            break
        distance = min(newest, 8 * distance) if forgotten is None else (kept + forgotten) // 2
    return trades[max(0, len(trades) - number) :], newest


def follow_trades(
    server: ServerAddress, sym: str, after: int, say: Callable[[str], None]
) -> Iterator[TapeTrade]:
    """Yield the trades after an update as they come, for ever; what else happens is said in words.

    A lost connection is opened again, as often as it takes, and goes on where it was lost.

    Raises ClientError if the server can't be reached at the start, or has no feed.
    """
    pause, lost = _FIRST_PAUSE, False
    began = False
    while True:
        try:
            with _feed(server, _QUIET_SECONDS) as feed:
                began = True
                feed.subscribe(sym, from_=after + 1)
                for value in feed:
                    if lost:
                        say("connected again")
                    pause, lost = _FIRST_PAUSE, False
                    if isinstance(value, Snapshot) and value.seq > after:
                        say(f"the server has left out {value.seq - after} updates")
                    if isinstance(value, FeedError):
                        raise AskError(value.message)
                    if isinstance(value, Update):
                        yield from _trades(value)
                    if isinstance(value, Snapshot | Update):
                        after = value.seq
        except NotSupported:
            raise
        except ClientError as error:
            if not began:
                raise
            if not lost:
                say(f"{error}: connecting again")
            lost = True
            time.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)


def take_snapshot(server: ServerAddress, sym: str) -> Snapshot:
    """Return the whole book of a symbol, from its feed.

    Raises AskError if there is no such symbol, ClientError or ReplyError if the server can't tell.
    """
    with _feed(server, 0) as feed:
        feed.subscribe(sym)
        for value in feed:
            if isinstance(value, FeedError):
                raise AskError(value.message)
            if isinstance(value, Snapshot):
                return value
    raise AskError("the server's feed has ended")


def _feed(server: ServerAddress, timeout: float) -> Feed:
    return Feed(server.host, server.port, timeout=max(timeout, server.timeout), tls=server.tls)


def _trades_since(server: ServerAddress, sym: str, start: int, until: int) -> list[TapeTrade] | None:
    """Return the trades from one update to another; None if the first isn't kept any more."""
    trades: list[TapeTrade] = []
    with _feed(server, 0) as feed:
        feed.subscribe(sym, from_=start)
        for value in feed:
            match value:
                case Snapshot():
                    return None
                case FeedError():
                    raise AskError(value.message)
                case Update():
                    trades += _trades(value)
            if isinstance(value, Update | Resumed) and value.seq >= until:
                break
    return trades


def _trades(update: Update) -> Iterator[TapeTrade]:
    for event in update.events:
        if isinstance(event, Trade):
            # Ids ascend in the order in which orders come to a book.
            taker = "buy" if event.buy_id > event.sell_id else "sell"
            ids = event.buy_id, event.sell_id
            yield TapeTrade(update.sym, update.seq, update.at, event.price, event.shares, *ids, taker)
