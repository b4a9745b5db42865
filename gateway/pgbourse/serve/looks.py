"""What the page shows of the exchange: read where it has changed, and encoded once for all who look."""

import contextlib
import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from pgbourse.serve.conversation import EMIT
from pgbourse.serve.sessions import Session, SharedPool

__all__ = ["BARS", "Looks", "Subject", "View", "encode"]

# Seconds of a bar that may be asked for: each combination with a symbol costs a query.
BARS = (1, 10, 60, 300, 3600)

# What is shown: enough to fill a screen, few enough for a small screen and a slow line.
_LEVELS = 50  # of each side of a book
_TRADES = 40
_BARS = 120
_SYMBOLS = 200  # those that traded last

_BOOK_SECONDS = 0.25  # between two looks at books and trades
_SLOW_SECONDS = 1.0  # between two looks at the list of symbols, and at bars
_REST = 9  # times as long as a look took, the next one waits: at most a tenth of one core goes into looks
_LONGEST_REST = 5.0  # seconds
_PATIENCE_MS = 2000  # after which the server cancels a statement
_CANCEL_SECONDS = 1.0

_MARKET = """
    select sym, halted, last_price::text, reference_price::text, bid::text, ask::text, count(*) over ()
    from exchange.market()
    order by last_at desc nulls last, sym
    limit %s
"""
_LEVELS_OF = """
    select sym, seq, halted, side::text, price::text, shares::text, orders
    from exchange.look_levels(%s, %s, %s)
"""
_TAPE = """
    select execution_id, executed_at, taker_side::text, shares::text, price::text
    from exchange.tape(%s, %s)
"""
_BARS_OF = """
    select began_at, open::text, high::text, low::text, close::text, volume::text, trades
    from exchange.bars(%s, make_interval(secs => %s), %s, null)
"""
_NOW = "select now() - make_interval(secs => %s)"

# Makes the transaction one whose commit waits until it is durable, and so is all that it has read.
_DURABLY = b"select " + EMIT


class View(NamedTuple):
    """What a viewer looks at beside the list of symbols: one symbol, with bars of so many seconds."""

    sym: str
    seconds: int


class _Bars(NamedTuple):
    """The bars of a view, oldest first, as they were when the book's newest update was `seq`."""

    rows: list[tuple[Any, ...]]
    seq: int | None


# What an event is about: its name, its symbol and the seconds of a bar, where it has them.
Subject = tuple[str, str, int]
MARKET: Subject = ("market", "", 0)


def encode(name: str, value: object) -> bytes:
    """Write a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


class Looks:
    """The newest event of each subject that somebody looks at. One thread reads and has them."""

    def __init__(self, pool: SharedPool) -> None:
        self._pool = pool
        self.events: dict[Subject, bytes] = {}
        self._seqs: dict[str, int | None] = {}  # of the books as they are told
        self._bars: dict[View, _Bars] = {}
        # When to look at what again, in seconds of time.monotonic().
        self._due: dict[Subject, float] = {}

    @property
    def due(self) -> float:
        """When something is to be read next."""
        return min(self._due.values(), default=0.0)

    def forget(self, views: Collection[View]) -> None:
        """Drop what nobody looks at any more. What is looked at newly is due at once."""
        wanted = {subject for view in views for subject in subjects(view)}
        for subject in self.events.keys() - wanted:
            del self.events[subject]
        syms = {view.sym for view in views if view.sym}
        self._seqs = {sym: self._seqs.get(sym) for sym in syms}
        self._bars = {view: self._bars[view] for view in self._bars.keys() & set(views)}
        books: set[Subject] = {("book", "", 0)} if syms else set()
        clocks = {MARKET, *books, *(("bars", *view) for view in views if view.sym)}
        news = {subject for subject in wanted - self.events.keys() if subject[0] in ("book", "tape")}
        self._due = {clock: self._due.get(clock, 0.0) for clock in clocks}
        if news:
            self._due[("book", "", 0)] = 0.0

    def read(self) -> bool:
        """Read what is due, if anything is; all that is told afterwards is durable.

        Raises ConnectionGone or psycopg.Error, and then tells what it told before.
        """
        now = time.monotonic()
        due = [subject for subject, at in self._due.items() if at <= now]
        if not due:
            return False
        try:
            with self._pool.session() as session, _not_left_waiting(session), session.transaction():
                session.execute("select set_config('statement_timeout', %s, true)", [str(_PATIENCE_MS)])
                fresh = self._fresh(session, due)
                if any(self.events.get(subject) != event for subject, event in fresh.items()):
                    session.execute(_DURABLY)
        except BaseException:
            self._seqs = dict.fromkeys(self._seqs)  # what was read is not told
            self._rest(due, now)
            raise
        self.events.update(fresh)
        self._rest(due, now)
        return True

    def _fresh(self, session: Session, due: Iterable[Subject]) -> dict[Subject, bytes]:
        fresh: dict[Subject, bytes] = {}
        for name, sym, seconds in due:
            if name == "market":
                fresh[MARKET] = self._market(session)
            elif name == "book":
                fresh.update(self._books(session))
            else:
                fresh[name, sym, seconds] = self._read_bars(session, View(sym, seconds))
        return fresh

    def _rest(self, done: Iterable[Subject], began: float) -> None:
        """Say when these are due again."""
        now = time.monotonic()
        rest = min(_REST * (now - began), _LONGEST_REST)
        for subject in done:
            seconds = _BOOK_SECONDS if subject[0] == "book" else _SLOW_SECONDS
            self._due[subject] = max(began + seconds, now + rest)

    def _market(self, session: Session) -> bytes:
        rows = session.execute(_MARKET, [_SYMBOLS]).fetchall()
        count = rows[0][-1] if rows else 0
        return encode("market", {"count": count, "symbols": sorted(row[:-1] for row in rows)})

    def _books(self, session: Session) -> dict[Subject, bytes]:
        """Read the books and trades of those symbols whose book has changed."""
        asked = list(self._seqs)
        rows = session.execute(_LEVELS_OF, [asked, list(self._seqs.values()), _LEVELS]).fetchall()
        books: dict[str, dict[str, Any]] = {}
        for sym, seq, halted, side, *level in rows:
            if side is None:
                books[sym] = {"sym": sym, "seq": seq, "halted": halted, "buy": [], "sell": []}
            else:
                books[sym][side].append(level)
        fresh: dict[Subject, bytes] = {}
        for sym in asked:
            if sym in books:
                self._seqs[sym] = books[sym]["seq"]
                fresh["book", sym, 0] = encode("book", books[sym])
                fresh["tape", sym, 0] = encode("tape", {"sym": sym, "trades": self._tape(session, sym)})
            elif self._seqs[sym] is None:
                fresh["book", sym, 0] = encode("book", {"sym": sym, "unknown": True})
        return fresh

    def _tape(self, session: Session, sym: str) -> Sequence[Sequence[Any]]:
        rows = session.execute(_TAPE, [sym, _TRADES]).fetchall()
        return [[number, _seconds(at), taker, shares, price] for number, at, taker, shares, price in rows]

    def _read_bars(self, session: Session, view: View) -> bytes:
        """Read bars from the last known one on, for those before it are history."""
        known, seq = self._bars.get(view) or _Bars([], None)
        if known and seq == self._seqs.get(view.sym) is not None:
            return self.events["bars", *view]
        seq = self._seqs.get(view.sym)
        if known:
            since = known[-1][0]
        else:
            row = session.execute(_NOW, [_BARS * view.seconds]).fetchone()
            since = row[0] if row else None
        rows = session.execute(_BARS_OF, [view.sym, view.seconds, since]).fetchall()
        bars = [bar for bar in known if not rows or bar[0] < rows[0][0]] + rows
        self._bars[view] = _Bars(bars[-_BARS:], seq)
        told = [[_seconds(bar[0]), *bar[1:]] for bar in self._bars[view].rows]
        return encode("bars", {"sym": view.sym, "seconds": view.seconds, "bars": told})


@contextlib.contextmanager
def _not_left_waiting(session: Session) -> Iterator[None]:
    """Cancel in the server what we don't wait for any longer.

    No time-out there ends a commit that waits for a standby. One that only reads has nothing to lose.
    """
    try:
        yield
    except psycopg.OperationalError:
        with contextlib.suppress(psycopg.Error):
            session.cancel_safe(timeout=_CANCEL_SECONDS)
        raise


def subjects(view: View) -> list[Subject]:
    """Return what somebody sees who looks at this."""
    if not view.sym:
        return [MARKET]
    return [MARKET, ("book", view.sym, 0), ("tape", view.sym, 0), ("bars", *view)]


def _seconds(at: datetime) -> float:
    return round(at.timestamp(), 6)
