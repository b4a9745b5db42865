"""The book as it was at any moment, told from history: orders, executions, cancellations and reductions.

What it should say is known from elsewhere: the book itself, looked at then, and what the updates make of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise, zip_longest
from typing import NamedTuple

import psycopg
import pytest

from tests.sql.market import Market, Request, Said, Session, meeting
from tests.sql.mutants import Mutant, install
from tests.sql.trading import KINDS, Trading, names

SYMS = ("S1", "S2")
MICROSECOND = timedelta(microseconds=1)
Book = list[str]  # as Market.book has it


class Moment(NamedTuple):
    """A symbol's book at a time, as it should be told."""

    sym: str
    at: datetime
    book: Book


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 4, with money and shares of S1 and S2."""
    for account in "1234":
        market.account(account, 10**6)
        for sym in SYMS:
            market.grant(account, sym, 10**4)
    return market


def book_at(market: Market, sym: str, at: datetime | None) -> Book:
    """Return what book_at tells, as Market.book tells the present."""
    rows = market.connection.execute(
        "select format('%%s %%s @ %%s (%%s)', side, shares, price, order_id) from exchange.book_at(%s, %s)",
        [sym, at],
    )
    return [row[0] for row in rows]


def now(market: Market) -> datetime:
    row = market.connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    assert isinstance(row[0], datetime)
    return row[0]


def looked(market: Market) -> list[Moment]:
    """The books as they are now."""
    return [Moment(sym, now(market), market.book(sym)) for sym in SYMS]


def updated(market: Market) -> list[Moment]:
    """The books after each update, from the updates up to there, when nothing is amid another's time."""
    query = (
        "select sym, seq, updated_at, kind, event.side, order_id, sell_order_id, price, shares "
        "from exchange.updates inner join exchange.symbols using (symbol_key) "
        "left join lateral unnest(events) with ordinality as event on true order by sym, seq, ordinality"
    )
    moments: list[Moment] = []
    book: dict[int, tuple[str, Decimal, Decimal]] = {}
    before: tuple[str, int] | None = None
    for sym, seq, at, kind, side, order_id, sell_order_id, price, shares in market.connection.execute(query):
        if before is None or before[0] != sym:
            book = {}
        if before == (sym, seq):
            moments.pop()
        before = (sym, seq)
        if kind == "add":
            book[order_id] = (side, price, shares)
        elif kind in ("trade", "remove"):
            resting = order_id if kind == "remove" or side == "buy" else sell_order_id
            left = book[resting][2] - shares
            book[resting] = (*book[resting][:2], left)
            if left == 0:
                del book[resting]
        moments.append(Moment(sym, at, shown(book)))
    # Updates of the same microsecond: the last one is what that moment is told as.
    return [
        moment
        for moment, after in zip_longest(moments, moments[1:])
        if after is None or moment[:2] != after[:2]
    ]


def shown(book: dict[int, tuple[str, Decimal, Decimal]]) -> Book:
    rows = sorted(
        (side == "sell", price if side == "sell" else -price, order_id, shares)
        for order_id, (side, price, shares) in book.items()
    )
    return [
        f"{'sell' if sells else 'buy'} {shares.normalize():f} @ {abs(rank).normalize():f} ({order_id})"
        for sells, rank, order_id, shares in rows
    ]


def trade(market: Market, seed: int, sizes: tuple[int, ...]) -> list[Moment]:
    """Trade at random with all kinds of requests; return the books after each batch."""
    trading = Trading(random.Random(seed), names(4), SYMS, set(KINDS) - {"switch", "look"})
    moments = looked(market)
    for size in sizes:
        placed = market.connection.execute(
            "select order_id, account_id from exchange.orders "
            "inner join exchange.accounts using (account_key) order by order_id"
        ).fetchall()
        trading.orders = dict(placed)
        market.batch(trading.batch(size, len(placed) + 1))
        moments += looked(market)
    return moments


def test_a_book_is_told_as_it_was(traders: Market) -> None:
    moments = looked(traders)

    def then(*answers: object) -> None:
        assert None not in answers
        moments.extend(looked(traders))

    then(traders.place("1", "S1", 10, 5), traders.place("2", "S2", 10, 5))
    then(traders.place("2", "S1", "7.50", "5.0"), traders.place("2", "S1", 5, 6))
    then(traders.place("3", "S1", -8, 5))  # takes order 4, and a part of order 1
    then(traders.batch([Request("reduce_order", "2", amount="2", order_id=3)]))
    then(traders.place("3", "S1", -20, 5))  # takes all, and rests
    then(traders.cancel("2", 2), traders.place("1", "S1", 3, 5))
    then(traders.batch([Request("replace_order", "3", amount="-4", limit="9", order_id=6)]))
    then(traders.batch([Request("place_order", "1", "S1", "9", "9", said=Said(tif="IOC"))]))
    books = {tuple(moment.book) for moment in moments if moment.sym == "S1"}
    assert {
        (),
        ("buy 10 @ 5 (1)",),
        ("buy 5 @ 6 (4)", "buy 10 @ 5 (1)", "buy 7.5 @ 5 (3)"),
        ("buy 7 @ 5 (1)", "buy 7.5 @ 5 (3)"),
        ("buy 7 @ 5 (1)", "buy 5.5 @ 5 (3)"),
        ("sell 7.5 @ 5 (6)",),
        ("sell 4.5 @ 5 (6)",),
        ("sell 4 @ 9 (8)",),
    } == books
    for moment in moments:
        assert book_at(traders, moment.sym, moment.at) == moment.book


@pytest.mark.parametrize("seed", range(3))
def test_after_random_trading_every_moment_is_told(traders: Market, seed: int) -> None:
    moments = trade(traders, seed, (1, 40, 7, 7, 1, 40, 7, 7, 7, 1, 40, 7, 7))
    assert len({tuple(moment.book) for moment in moments}) > 12
    for moment in moments:
        assert book_at(traders, moment.sym, moment.at) == moment.book
    for moment in updated(traders):
        assert book_at(traders, moment.sym, moment.at) == moment.book
    for sym in SYMS:
        assert book_at(traders, sym, now(traders)) == traders.book(sym) != []


def test_between_two_transactions_it_is_as_the_first_left_it(traders: Market) -> None:
    """To the microsecond."""
    trade(traders, 7, (1,) * 40)
    told = 0
    for before, after in pairwise(updated(traders)):
        if before.sym == after.sym:
            first = traders.connection.execute(
                "select min(done_at) from ("
                "select placed_at as done_at from exchange.orders union all "
                "select canceled_at from exchange.cancellations union all "
                "select reduced_at from exchange.reductions) as done where done_at > %s",
                [before.at],
            ).fetchone()
            assert first is not None
            assert first[0] <= after.at
            assert book_at(traders, before.sym, first[0] - MICROSECOND) == before.book
            told += before.book != after.book
    assert told > 10


def test_what_updates_have_forgotten_is_told(traders: Market) -> None:
    moments = trade(traders, 5, (30, 1, 1, 30))
    traders.connection.execute("delete from exchange.updates")
    for moment in moments:
        assert book_at(traders, moment.sym, moment.at) == moment.book


def test_what_never_rested_is_never_told(traders: Market) -> None:
    traders.place("1", "S1", -10, 5)
    for said in (Said(tif="IOC"), Said(tif="FOK"), Said(type="market", budget="50"), Said(stp="taker")):
        limit = None if said.type else "5"
        account = "1" if said.stp else "2"
        traders.batch([Request("place_order", account, "S1", "2", limit, said=said)])
    placed = traders.connection.execute(
        "select order_id, placed_at from exchange.orders order by 1"
    ).fetchall()
    assert len(placed) == 5
    assert [book_at(traders, "S1", at) for _, at in placed] == [
        ["sell 10 @ 5 (1)"],
        ["sell 8 @ 5 (1)"],
        ["sell 6 @ 5 (1)"],
        ["sell 4 @ 5 (1)"],
        ["sell 4 @ 5 (1)"],
    ]


def test_no_moment_and_no_symbol_are_no_book(traders: Market) -> None:
    traders.place("1", "S1", 10, 5)
    assert book_at(traders, "S1", None) == []
    assert book_at(traders, "S9", now(traders)) == []
    assert book_at(traders, "S1", now(traders) + timedelta(days=1000)) == ["buy 10 @ 5 (1)"]
    assert book_at(traders, "S1", now(traders) - timedelta(days=1000)) == []


@pytest.fixture
def sessions(traders: Market, database: str) -> Iterator[list[Session]]:
    with meeting(database, 3) as sessions:
        yield sessions


def test_sessions_side_by_side_leave_a_history_that_tells_every_book(
    traders: Market, sessions: list[Session]
) -> None:
    def go_on(session: Session, seed: int) -> None:
        trade(session.market, seed, (1, 5, 1, 10) * 8)

    calls = [session.start(go_on, session, seed) for seed, session in enumerate(sessions)]
    for call in calls:
        call.result()
    moments = updated(traders)
    assert len(moments) > 50
    for moment in moments:
        assert book_at(traders, moment.sym, moment.at) == moment.book


def first(change: str) -> Mutant:
    """Make a mutant that reads another history."""
    return Mutant("book_at", f"begin {change}; return query select * from {{call}}; end")


def instead(query: str) -> Mutant:
    """Make a mutant that tells something else of what is told."""
    return Mutant("book_at", f"begin return query select told.* from {{call}} as told {query}; end")


MUTANTS = {
    "cancellations are forgotten": first("delete from exchange.cancellations"),
    "reductions are forgotten": first("delete from exchange.reductions"),
    "executions are forgotten": first("delete from exchange.executions"),
    "what was bought is forgotten": first("update exchange.executions set buy_order_id = 0"),
    "what was sold is forgotten": first(
        "alter table exchange.executions drop constraint executions_price_is_limit_of_earlier_order; "
        "update exchange.executions set sell_order_id = 0"
    ),
    "what rests now is forgotten": first("delete from exchange.resting_orders"),
    "orders are there before they are placed": first("update exchange.orders set placed_at = '-infinity'"),
    "what other symbols' orders lost is told": first(
        "update exchange.orders set symbol_key = (select symbol_key from exchange.symbols where sym = p_sym)"
    ),
    "the moment itself is too late": first("p_at := p_at - interval '1 microsecond'"),
    "the next moment counts": first("p_at := p_at + interval '1 second'"),
    "the worst comes first": instead("order by side, price desc, order_id"),
    "the latest comes first": instead(
        "order by side, abs(price * (side = 'sell')::integer - price), order_id desc"
    ),
    "what is filled is told": instead("union all select order_id, side, limit_price, 0 from exchange.orders"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(traders: Market, mutant: str) -> None:
    install(traders.connection, MUTANTS[mutant])
    with pytest.raises((AssertionError, psycopg.Error)):
        test_after_random_trading_every_moment_is_told(traders, 1)
