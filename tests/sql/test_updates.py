"""Updates of books: what a transaction did to a symbol is one row, and together they are the book."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest

from tests.sql.market import Market, Request, Said, Session, meeting, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 4, with money and shares of X and Y."""
    for account in "1234":
        market.account(account, 10**6)
        for sym in ("X", "Y"):
            market.grant(account, sym, 10**4)
    return market


def updates(market: Market, sym: str = "X") -> list[str]:
    """Return the updates of a symbol, as in `1: add buy 5: 10 @ 3`, their events parted by commas."""
    query = """
    select format('%%s: %%s', seq, (
        select string_agg(
            trim(format(
                '%%s %%s %%s: %%s @ %%s', kind, side, concat_ws(' from ', order_id, sell_order_id),
                trim_scale(shares), trim_scale(price)
            ), ' :@'),
            ', ' order by ordinality
        )
        from unnest(events) with ordinality
    ))
    from exchange.updates inner join exchange.symbols using (symbol_key) where sym = %s order by seq
    """
    return [row[0] for row in market.connection.execute(query.encode(), [sym])]


def order(account: str, amount: str, limit: str, sym: str = "X", said: Said | None = None) -> Request:
    return Request("place_order", account, sym, amount, limit, said=said)


def test_what_a_transaction_did_is_one_update(traders: Market) -> None:
    traders.place("1", "X", 10, 5)
    traders.batch([order("2", "-4", "5"), order("3", "-7", "5"), order("3", "2", "1", "Y")])
    assert updates(traders) == [
        "1: add buy 1: 10 @ 5",
        "2: trade buy 1 from 2: 4 @ 5, trade buy 1 from 3: 6 @ 5, add sell 3: 1 @ 5",
    ]
    assert updates(traders, "Y") == ["1: add buy 4: 2 @ 1"]


def test_phases_of_a_batch_are_one_update(traders: Market) -> None:
    batch = [
        order("1", "10", "5"),
        Request("reduce_order", "1", amount="4", order_id=1),
        order("1", "1", "4"),
        Request("cancel_order", "1", order_id=1),
        order("2", "-3", "4"),
    ]
    answers = traders.batch(batch)
    assert [answer[0].code for answer in answers] == [None] * 5
    assert updates(traders) == [
        "1: add buy 1: 10 @ 5, remove buy 1: 4 @ 5, add buy 2: 1 @ 4, remove buy 1: 6 @ 5, "
        "trade buy 2 from 3: 1 @ 4, add sell 3: 2 @ 4"
    ]
    assert traders.violations() == []


def test_rounds_of_a_match_are_one_update(traders: Market) -> None:
    for _ in range(9):
        traders.place("1", "X", -1, 5)
    traders.place("2", "X", 8, 5)
    assert updates(traders)[9:] == ["10: " + ", ".join(f"trade sell 10 from {n}: 1 @ 5" for n in range(1, 9))]


def test_what_self_trade_prevention_removes_stands_between_the_trades(traders: Market) -> None:
    traders.batch([order("1", "-1", "5"), order("2", "-2", "5"), order("1", "-3", "6")])
    traders.batch([order("2", "9", "6", said=Said(stp="maker"))])
    assert updates(traders)[1:] == [
        "2: trade sell 4 from 1: 1 @ 5, remove sell 2: 2 @ 5, trade sell 4 from 3: 3 @ 6, add buy 4: 5 @ 6"
    ]


def test_what_never_rested_is_in_no_update(traders: Market) -> None:
    traders.place("1", "X", -1, 5)
    traders.batch([order("2", "9", "5", said=Said(tif="IOC"))])
    assert updates(traders)[1:] == ["2: trade sell 2 from 1: 1 @ 5"]
    # Nothing at all is no update.
    traders.batch(
        [
            order("2", "9", "5", said=Said(tif="IOC")),
            order("2", "9", "5", said=Said(tif="FOK")),
            Request("query_order", "2", order_id=2),
        ]
    )
    traders.cancel("2", 2)
    assert len(updates(traders)) == 2


def test_a_replace_is_one_update_and_a_refused_one_none(traders: Market) -> None:
    traders.place("1", "X", 10, 5)
    traders.batch([Request("replace_order", "1", amount="8", limit="6", order_id=1)])
    traders.batch([Request("replace_order", "1", amount="8", limit=str(10**9), order_id=2)])
    assert updates(traders) == ["1: add buy 1: 10 @ 5", "2: remove buy 1: 10 @ 5, add buy 2: 8 @ 6"]
    assert traders.violations() == []


def test_halts_are_updates(traders: Market) -> None:
    for call in ("halt", "halt", "resume", "resume"):
        traders.connection.execute(f"select exchange.{call}_symbol('X')".encode())
    traders.place("1", "X", 10, 5)
    assert updates(traders) == ["1: halt", "2: resume", "3: add buy 1: 10 @ 5"]
    assert traders.violations() == []


def test_the_newest_update_is_what_a_book_tells(traders: Market) -> None:
    def seq() -> int | None:
        return traders.batch([Request("look_book", "1", "X")])[0][0].order_id

    assert seq() == 0
    traders.place("1", "X", 10, 5)
    assert seq() == 1
    # In a batch that changes the symbol, that of its latest change.
    answers = traders.batch([order("1", "3", "4"), Request("look_book", "1", "X"), order("1", "3", "4")])
    assert answers[1][0].order_id == 2
    assert seq() == 2
    # What does nothing to the book is no change of it.
    ioc = order("1", "3", "4")._replace(said=Said(tif="IOC"))
    answers = traders.batch([ioc, Request("look_book", "1", "X"), Request("cancel_order", "1", order_id=99)])
    assert answers[1][0].order_id == 2
    assert seq() == 2


def test_time_never_goes_back(traders: Market) -> None:
    traders.place("1", "X", 10, 5)
    traders.connection.execute("update exchange.updates set updated_at = now() + interval '1 hour'")
    traders.place("1", "X", 10, 5)
    times = traders.connection.execute("select updated_at from exchange.updates order by seq").fetchall()
    assert times[1] == times[0]


def test_an_update_of_another_servers_transaction_is_not_added_to(traders: Market) -> None:
    """In a copy that was restored elsewhere, a transaction may get the id that one had there."""
    traders.place("1", "X", 10, 5)
    with traders.connection.transaction():
        traders.connection.execute("update exchange.updates set transaction_id = pg_current_xact_id()")
        traders.place("1", "X", 11, 5)
        traders.place("1", "X", 12, 5)
    assert updates(traders) == ["1: add buy 1: 10 @ 5", "2: add buy 2: 11 @ 5, add buy 3: 12 @ 5"]


def test_updates_are_in_the_order_of_commits(traders: Market, sessions: list[Session]) -> None:
    first, second = sessions
    first.begin()
    first.market.place("1", "X", 10, 5)
    call = second.start(second.market.place, "2", "X", 10, 6)
    until_blocked(traders.connection, second, first, call)
    first.market.place("1", "X", 1, 4)
    first.commit()
    call.result()
    assert updates(traders) == ["1: add buy 1: 10 @ 5, add buy 2: 1 @ 4", "2: add buy 3: 10 @ 6"]


@pytest.fixture
def sessions(traders: Market, database: str) -> Iterator[list[Session]]:
    with meeting(database, 2) as sessions:
        yield sessions


def replayed(market: Market, sym: str) -> list[str]:
    """Apply all updates to an empty book; return it as Market.book does."""
    query = (
        "select kind, event.side, order_id, sell_order_id, price, shares "
        "from exchange.updates inner join exchange.symbols using (symbol_key) "
        "cross join lateral unnest(events) with ordinality as event where sym = %s order by seq, ordinality"
    )
    book: dict[int, tuple[str, Decimal, Decimal]] = {}
    for kind, side, order_id, sell_order_id, price, shares in market.connection.execute(query, [sym]):
        if kind == "add":
            assert order_id not in book
            book[order_id] = (side, price, shares)
            continue
        resting = order_id if kind == "remove" or side == "buy" else sell_order_id
        assert book[resting][:2] == (side, price)
        left = book[resting][2] - shares
        book[resting] = (side, price, left)
        if left == 0:
            del book[resting]
    rows = sorted(
        (side == "sell", price if side == "sell" else -price, order_id, shares)
        for order_id, (side, price, shares) in book.items()
    )
    return [
        f"{'sell' if sells else 'buy'} {shares.normalize():f} @ {abs(rank).normalize():f} ({order_id})"
        for sells, rank, order_id, shares in rows
    ]


def random_request(chance: random.Random, last: int) -> Request:
    kind = chance.random()
    account = chance.choice("1234")
    if kind < 0.1:
        return Request("cancel_order", account, order_id=chance.randint(1, last))
    if kind < 0.2:
        return Request(
            "reduce_order", account, amount=str(chance.randint(1, 5)), order_id=chance.randint(1, last)
        )
    if kind < 0.25:
        return Request("cancel_all", account)
    amount, limit = str(chance.choice([1, -1]) * chance.randint(1, 30)), str(chance.randint(4, 6))
    if kind < 0.35:
        return Request("replace_order", account, amount=amount, limit=limit, order_id=chance.randint(1, last))
    said = Said(
        tif=chance.choice([None, "GTC", "IOC", "FOK"]), stp=chance.choice([None, "taker", "maker", "both"])
    )
    return Request("place_order", account, chance.choice("XY"), amount, limit, said=said)


@pytest.mark.parametrize("seed", range(3))
def test_all_updates_together_are_the_book(traders: Market, seed: int) -> None:
    chance = random.Random(seed)
    for count in (1, 40, 1, 7, 7, 40, 1, 1, 7, 40):
        placed = traders.connection.execute(
            "select coalesce(max(order_id), 1) from exchange.orders"
        ).fetchone()
        assert placed is not None
        traders.batch([random_request(chance, placed[0]) for _ in range(count)])
        for sym in ("X", "Y"):
            assert replayed(traders, sym) == traders.book(sym)
    assert traders.violations() == []


MUTANTS = {
    "an update for each phase": (
        Mutant(
            "write_updates",
            "begin update exchange.updates set transaction_id = '1'; perform {call}; end",
        ),
        test_phases_of_a_batch_are_one_update,
    ),
    "an update for each round": (
        Mutant(
            "write_updates",
            "begin update exchange.updates set transaction_id = '1'; perform {call}; end",
        ),
        test_rounds_of_a_match_are_one_update,
    ),
    "only the last phase is told": (
        Mutant(
            "write_updates",
            "begin update exchange.updates set events = '{}' where transaction_id = pg_current_xact_id(); "
            "perform {call}; end",
        ),
        test_phases_of_a_batch_are_one_update,
    ),
    "what never rested is told": (
        Mutant(
            "write_updates",
            "begin for n in 1 .. cardinality(p_events) loop if p_events[n].kind in ('cancel', 'refuse') then "
            "p_events[n].kind := 'remove'; end if; end loop; perform {call}; end",
        ),
        test_what_never_rested_is_in_no_update,
    ),
    "halts aren't told": (Mutant("note_trading", "begin end"), test_halts_are_updates),
    "a halt is told again": (
        Mutant(
            "halt_symbol",
            "begin update exchange.symbols set halted_at = null; "
            "select * into outcome, code, message from {call}; end",
        ),
        test_halts_are_updates,
    ),
    "reductions aren't told": (
        Mutant("removal_of", "begin return null; end"),
        test_phases_of_a_batch_are_one_update,
    ),
    "a book tells the update before": (
        Mutant(
            "look_books",
            "begin return query select request, outcome, greatest(order_id - 1, 0), shares, price, at, code, "
            "message, sym, amount, ref from {call}; end",
        ),
        test_the_newest_update_is_what_a_book_tells,
    ),
    "a book tells of changes that nobody has made": (
        Mutant(
            "look_books",
            "begin return query select request, outcome, order_id + cardinality(p_places), shares, price, "
            "at, code, message, sym, amount, ref from {call}; end",
        ),
        test_the_newest_update_is_what_a_book_tells,
    ),
    "time is the clock's": (
        Mutant(
            "write_updates",
            "begin perform {call}; update exchange.updates set updated_at = p_now "
            "where transaction_id = pg_current_xact_id(); end",
        ),
        test_time_never_goes_back,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(traders: Market, mutant: str) -> None:
    fault, test = MUTANTS[mutant]
    install(traders.connection, fault)
    with pytest.raises((AssertionError, psycopg.Error)):
        test(traders)
