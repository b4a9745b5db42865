"""The functions that a feed reads: a book from a snapshot and the updates after it is the book."""

from __future__ import annotations

import random

import psycopg
import pytest

from tests.sql.feeding import Begin, LocalBook, key_of, levels_of, lines_of, subscribe
from tests.sql.market import Connection, Market, Request, meeting
from tests.sql.mutants import Mutant, install
from tests.sql.trading import KINDS, Trading, names


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with money and shares of X."""
    for account in "12":
        market.account(account, 10**6)
        market.grant(account, "X", 10**4)
    return market


# --- how a feed begins --------------------------------------------------------------------------------------


def test_a_feed_begins_with_a_snapshot_or_where_it_says(traders: Market) -> None:
    for price in (5, 6, 7):
        traders.place("1", "X", 1, price)
    asked = [("X", begin) for begin in (None, 1, 2, 3, 4, 5, 2**63 - 1)]
    assert subscribe(traders.connection, *asked) == [
        Begin("snapshot", 3, False),
        Begin("resumed", 0, False),
        Begin("resumed", 1, False),
        Begin("resumed", 2, False),
        Begin("resumed", 3, False),
        Begin("snapshot", 3, False),
        Begin("snapshot", 3, False),
    ]


def test_a_symbol_without_an_update_begins_at_0(traders: Market) -> None:
    asked = [("X", begin) for begin in (None, 1, 2)]
    assert subscribe(traders.connection, *asked) == [
        Begin("snapshot", 0, False),
        Begin("resumed", 0, False),
        Begin("snapshot", 0, False),
    ]
    book = LocalBook(traders.connection, key_of(traders.connection, "X"))
    assert (book.seq, book.halted, book.orders) == (0, False, {})
    assert book.read(traders.connection) == 0


def test_what_is_forgotten_is_not_resumed(traders: Market) -> None:
    for price in (5, 6, 7, 8):
        traders.place("1", "X", 1, price)
    traders.connection.execute("delete from exchange.updates where seq < 3")
    asked = [("X", begin) for begin in (1, 2, 3, 4, 5)]
    assert [begin.outcome for begin in subscribe(traders.connection, *asked)] == [
        "snapshot",
        "snapshot",
        "resumed",
        "resumed",
        "resumed",
    ]


def test_unknown_symbols_are_refused_and_others_are_not(traders: Market) -> None:
    refused = Begin("refused", code="unknown_symbol", message="no such symbol: x")
    assert subscribe(traders.connection, ("x", None), ("X", None), ("x", 1)) == [
        refused,
        Begin("snapshot", 0, False),
        refused,
    ]
    assert traders.connection.execute("select * from exchange.subscribe('{}', '{}')").fetchall() == []
    assert traders.connection.execute("select * from exchange.snapshot_book(99)").fetchall() == []


def test_a_halt_is_told(traders: Market) -> None:
    key = key_of(traders.connection, "X")
    before = LocalBook(traders.connection, key)
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert subscribe(traders.connection, ("X", None), ("X", 1)) == [
        Begin("snapshot", 1, True),
        Begin("resumed", 0, True),
    ]
    assert LocalBook(traders.connection, key).halted
    before.read(traders.connection)
    assert before.halted
    traders.connection.execute("select exchange.resume_symbol('X')")
    assert not LocalBook(traders.connection, key).halted
    before.read(traders.connection)
    assert not before.halted


def test_a_certificate_that_is_bound_to_an_account_may_subscribe(traders: Market) -> None:
    traders.connection.execute(
        "insert into exchange.certificate_accounts (certificate_name, account_id) values ('ann', '77')"
    )
    traders.connection.execute(
        "insert into exchange.certificate_operators (certificate_name) values ('root')"
    )
    people = ["ann", "root", "Ann", "eve", None]
    feeds = subscribe(traders.connection, *[("X", None)] * 5, names=people)
    assert [feed.outcome for feed in feeds] == ["snapshot", "snapshot", "refused", "refused", "refused"]
    assert feeds[2:] == [
        Begin(
            "refused",
            code="not_permitted",
            message=f"the certificate of {name or 'nobody'} may not subscribe: it is bound to no account",
        )
        for name in people[2:]
    ]
    # Who isn't permitted doesn't learn which symbols there are.
    assert [
        feed.code for feed in subscribe(traders.connection, *[("Z", None)] * 2, names=["ann", "eve"])
    ] == [
        "unknown_symbol",
        "not_permitted",
    ]
    # A name that is missing is nobody's.
    assert [feed.code for feed in subscribe(traders.connection, *[("X", None)] * 2, names=["ann"])] == [
        None,
        "not_permitted",
    ]


# --- what it says -------------------------------------------------------------------------------------------


def test_updates_are_read_by_symbol_up_to_so_many(traders: Market) -> None:
    traders.grant("1", "Y", 10)
    for sym in ("X", "Y", "X", "X", "Y", "X"):
        traders.place("1", sym, "1.50", "7.10")
    traders.batch([Request("cancel_all", "1")])
    x, y = (key_of(traders.connection, sym) for sym in ("X", "Y"))

    def read(most: int, *after: tuple[int, int]) -> list[tuple[object, ...]]:
        query = (
            "select symbol_key, seq, kind::text, side::text, order_id, sell_order_id, price::text, "
            "shares::text from exchange.read_updates(%s, %s, %s)"
        )
        asked = [[key for key, _ in after], [seq for _, seq in after], most]
        return traders.connection.execute(query.encode(), asked).fetchall()

    def event(key: int, seq: int, kind: str, order_id: int) -> tuple[object, ...]:
        return (key, seq, kind, "buy", order_id, None, "7.1", "1.5")

    assert read(2, (y, 1), (x, 0)) == [
        event(x, 1, "add", 1),
        event(x, 2, "add", 3),
        event(y, 2, "add", 5),
        *[event(y, 3, "remove", order_id) for order_id in (2, 5)],
    ]
    assert read(1, (x, 4)) == [event(x, 5, "remove", order_id) for order_id in (1, 3, 4, 6)]
    assert read(5, (x, 5), (y, 3), (99, 0)) == []


def test_a_snapshot_lists_buys_first_each_side_in_priority_order(traders: Market) -> None:
    for amount, limit in ((1, 5), (-2, 9), (3, 6), (4, 5), (-5, 8), ("-6.50", 9)):
        traders.place("1", "X", amount, limit)
    rows = traders.connection.execute(
        "select seq, halted, order_id, side::text, price::text, shares::text from exchange.snapshot_book(%s)",
        [key_of(traders.connection, "X")],
    ).fetchall()
    assert rows == [
        (6, False, None, None, None, None),
        (None, None, 3, "buy", "6", "3"),
        (None, None, 1, "buy", "5", "1"),
        (None, None, 4, "buy", "5", "4"),
        (None, None, 5, "sell", "8", "5"),
        (None, None, 2, "sell", "9", "2"),
        (None, None, 6, "sell", "9", "6.5"),
    ]


def test_a_trade_names_both_orders(traders: Market) -> None:
    traders.place("1", "X", 4, 5)
    traders.place("2", "X", -3, 5)
    traders.place("2", "X", -3, 5)
    rows = traders.connection.execute(
        "select seq, kind::text, side::text, order_id, sell_order_id, price, shares "
        "from exchange.read_updates(%s, '{1}', 9)",
        [[key_of(traders.connection, "X")]],
    ).fetchall()
    assert rows == [
        (2, "trade", "buy", 1, 2, 5, 3),
        (3, "trade", "buy", 1, 3, 5, 1),
        (3, "add", "sell", 3, None, 5, 2),
    ]


def test_a_reader_sees_the_feed_of_a_symbol(traders: Market) -> None:
    for price in (5, 6, 7):
        traders.place("1", "X", 1, price)
    traders.place("2", "X", "-1.50", 6)

    def feed(*arguments: object) -> list[tuple[object, ...]]:
        places = ", ".join(["%s"] * len(arguments))
        query = f"select seq, kind::text, order_id, sell_order_id, shares::text from exchange.feed({places})"
        return traders.connection.execute(query.encode(), arguments).fetchall()

    fills = [(4, "trade", 3, 4, "1"), (4, "trade", 2, 4, "0.5")]
    added = [(seq, "add", seq, None, "1") for seq in (1, 2, 3)]
    traders.connection.execute("set role exchange_reader")
    assert feed("X") == added + fills
    assert feed("X", None, 2) == added[2:] + fills
    assert feed("X", 2, 1) == added[1:2]
    assert feed("X", 4) == fills
    assert feed("X", 5) == feed("Y") == []


@pytest.mark.parametrize("seed", range(6))
def test_a_local_book_is_the_book_after_every_update(market: Market, seed: int) -> None:
    follow(market, random.Random(seed))


def follow_one(market: Market) -> None:
    follow(market, random.Random(1))


def follow(market: Market, chance: random.Random) -> None:
    """Trade at random, and keep books from snapshots that are taken now and then, each from there on."""
    connection = market.connection
    accounts, syms = names(4), names(2, "S")
    trading = Trading(chance, accounts, syms, KINDS)
    market.batch(trading.beginning())
    books = {sym: [LocalBook(connection, key_of(connection, sym))] for sym in syms}
    size = chance.choice([5, 20, 80])
    for _ in range(25):
        newest = connection.execute("select coalesce(max(order_id), 1) from exchange.orders").fetchone()
        open_orders = connection.execute("select order_id, account_id from exchange.open_orders").fetchall()
        assert newest is not None
        trading.orders = dict(open_orders)
        market.batch(trading.batch(chance.randint(1, size), newest[0]))
        if chance.random() < 0.3:
            sym = chance.choice(syms)
            call = "resume" if books[sym][0].halted else "halt"
            connection.execute(f"select exchange.{call}_symbol(%s)".encode(), [sym])
        for sym, those in books.items():
            if chance.random() < 0.3:
                those.append(LocalBook(connection, those[0].symbol_key))
            seqs = set()
            for book in those:
                if book is those[0] or chance.random() < 0.3:
                    while book.read(connection, most=chance.choice([1, 5])):
                        pass
                    seqs.add(book.seq)
                    assert book.lines() == lines_of(connection, book.symbol_key)
                    assert book.levels() == levels_of(connection, "1", sym)
            assert len(seqs) == 1
    assert sum(those[0].seq for those in books.values()) > 10
    assert market.violations() == []


def test_a_snapshot_taken_while_others_trade_is_of_one_update(market: Market, database: str) -> None:
    """Several sessions trade at once; a book that follows the updates is each snapshot at its number."""
    chance = random.Random(7)
    accounts, syms = names(6), names(1, "S")
    market.batch(Trading(chance, accounts, syms).beginning())
    book = LocalBook(market.connection, key_of(market.connection, "S1"))

    def trade(session: Market, seed: int) -> None:
        trading = Trading(random.Random(seed), accounts, syms)
        for number in range(1, 60):
            session.batch(trading.batch(3, 4 * number))

    with meeting(database, 3) as sessions:
        calls = [session.start(trade, session.market, seed) for seed, session in enumerate(sessions)]
        seen = set()
        while not all(call.done() for call in calls):
            there = LocalBook(market.connection, book.symbol_key)
            book.read(market.connection, until=there.seq)
            assert (book.seq, book.lines()) == (there.seq, there.lines())
            seen.add(there.seq)
        for call in calls:
            call.result()
    assert len(seen) > 10
    book.read(market.connection)
    assert book.lines() == lines_of(market.connection, book.symbol_key)


# --- when ---------------------------------------------------------------------------------------------------


def at(connection: Connection, key: int, seconds: float) -> int | None:
    """Return seq_at so many seconds after the epoch."""
    row = connection.execute("select exchange.seq_at(%s, to_timestamp(%s))", [key, seconds]).fetchone()
    assert row is not None
    return None if row[0] is None else int(row[0])


@pytest.mark.parametrize("seed", range(5))
def test_an_update_is_found_by_its_time(traders: Market, seed: int) -> None:
    chance = random.Random(seed)
    key, connection = key_of(traders.connection, "X"), traders.connection
    assert at(connection, key, 10**9) is None
    count = chance.choice([1, 2, 20, 33])
    for _ in range(count):
        traders.place("1", "X", 1, 1)
    times = sorted(chance.randint(0, 20) for _ in range(count))
    connection.execute("update exchange.updates set updated_at = to_timestamp((%s::integer[])[seq])", [times])
    forgotten = chance.randint(0, count - 1)
    for first in (0, forgotten):
        connection.execute("delete from exchange.updates where seq <= %s", [first])
        for second in range(-1, 22):
            happened = [seq for seq, time in enumerate(times, 1) if time <= second and seq > first]
            assert at(connection, key, second) == max(happened, default=None)
    assert at(connection, 99, 10**9) is None


# --- forgetting ---------------------------------------------------------------------------------------------


def forget(connection: Connection, seconds: float, most: int = 1000) -> int:
    """Forget updates that are older than so many seconds; return how many."""
    row = connection.execute(
        "select exchange.forget_updates(make_interval(secs => %s), %s)", [seconds, most]
    ).fetchone()
    assert row is not None
    return int(row[0])


def kept(connection: Connection, sym: str) -> list[int]:
    """Return the numbers of the updates of a symbol that are kept."""
    rows = connection.execute(
        "select seq from exchange.updates inner join exchange.symbols using (symbol_key) where sym = %s "
        "order by seq",
        [sym],
    ).fetchall()
    return [seq for (seq,) in rows]


@pytest.fixture
def aged(traders: Market) -> Market:
    """Updates 1 to 8 of X and 1 to 3 of Y, each an hour older than the next; Z has none."""
    traders.grant("1", "Y", 10)
    traders.grant("1", "Z", 10)
    for sym, count in (("X", 8), ("Y", 3)):
        for _ in range(count):
            traders.place("1", sym, 1, 1)
        traders.connection.execute(
            "update exchange.updates set updated_at = now() - make_interval(hours => (%s - seq)::integer) "
            "where symbol_key = %s",
            [count, key_of(traders.connection, sym)],
        )
    return traders


def test_what_is_old_is_forgotten_but_for_the_newest(aged: Market) -> None:
    connection = aged.connection
    assert forget(connection, 86400) == 0
    assert forget(connection, 4.5 * 3600) == 3
    assert kept(connection, "X") == [4, 5, 6, 7, 8]
    assert kept(connection, "Y") == [1, 2, 3]
    connection.execute("update exchange.updates set updated_at = updated_at - interval '1 month'")
    assert forget(connection, 3600) == 6
    assert (kept(connection, "X"), kept(connection, "Y"), kept(connection, "Z")) == ([8], [3], [])
    assert forget(connection, 0) == 0
    assert aged.violations() == []
    # And it goes on.
    book = LocalBook(connection, key_of(connection, "X"))
    aged.place("1", "X", 1, 2)
    assert book.read(connection) == 1
    assert kept(connection, "X") == [8, 9]
    assert aged.violations() == []


def test_no_more_is_forgotten_at_a_time_than_asked_for(aged: Market) -> None:
    connection = aged.connection
    assert [forget(connection, 0, 4) for _ in range(4)] == [4, 4, 1, 0]
    assert (kept(connection, "X"), kept(connection, "Y")) == ([8], [3])
    assert forget(connection, 0, 0) == 0


def test_what_is_left_while_it_forgets_has_no_gap(aged: Market) -> None:
    """The oldest go first, also where index entries of those before them are still there."""
    connection = aged.connection
    for left in range(7, 0, -1):
        while len(kept(connection, "X")) > left:
            assert forget(connection, 0, 1) == 1
        assert kept(connection, "X") == list(range(9 - left, 9))
        assert oldest(connection, "X") == 9 - left
    assert oldest(connection, "Z") is None


def oldest(connection: Connection, sym: str) -> int | None:
    row = connection.execute("select exchange.oldest_update(%s)", [key_of(connection, sym)]).fetchone()
    assert row is not None
    return None if row[0] is None else int(row[0])


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_the_oldest_update_is_found(traders: Market, count: int) -> None:
    for _ in range(count):
        traders.place("1", "X", 1, 1)
    for first in range(1, count + 1):
        traders.connection.execute("delete from exchange.updates where seq < %s", [first])
        assert oldest(traders.connection, "X") == first


def test_a_feed_that_would_resume_from_what_is_forgotten_gets_a_snapshot(aged: Market) -> None:
    forget(aged.connection, 4.5 * 3600)
    feeds = subscribe(aged.connection, *[("X", begin) for begin in (3, 4, 5)])
    assert [(feed.outcome, feed.seq) for feed in feeds] == [("snapshot", 8), ("resumed", 3), ("resumed", 4)]


def test_forgetting_neither_waits_nor_is_waited_for(aged: Market, database: str) -> None:
    """Not for a match, nor for another gateway's; each ends while the other's transaction is open."""
    with meeting(database, 2) as (trader, other):
        for session in (aged, trader.market, other.market):
            session.connection.execute("set lock_timeout = '1ms'")
        trader.begin()
        trader.market.place("1", "X", 1, 5)
        trader.market.place("1", "Y", 1, 5)
        other.begin()
        assert forget(other.connection, 0, 5) == 5
        assert forget(aged.connection, 0) == 0  # the other one is at it
        trader.market.place("1", "X", 1, 6)
        trader.commit()
        aged.place("1", "X", 1, 7)
        other.commit()
        assert forget(aged.connection, 0) == 7  # also what was the newest before
    assert (kept(aged.connection, "X"), kept(aged.connection, "Y")) == ([10], [4])
    assert aged.violations() == []


# --- faults that these would find ---------------------------------------------------------------------------

READ = "return query select symbol_key, seq, updated_at, kind, side, order_id, sell_order_id, price, shares"
SNAPSHOT = "return query select seq, halted, order_id, side, price, shares"
SUBSCRIBE = "return query select place, outcome, symbol_key, seq, halted, code, message"
MUTANTS = {
    "a snapshot is one update late": (
        Mutant("snapshot_book", f"begin {SNAPSHOT.replace('seq', 'seq + 1')} from {{call}}; end"),
        follow_one,
    ),
    "a snapshot lacks the best order": (
        Mutant(
            "snapshot_book",
            f"begin {SNAPSHOT} from {{call}} with ordinality as event where ordinality <> 2; end",
        ),
        follow_one,
    ),
    "sells come first": (
        Mutant("snapshot_book", f"begin {SNAPSHOT} from {{call}} order by side desc nulls first; end"),
        test_a_snapshot_lists_buys_first_each_side_in_priority_order,
    ),
    "the last event of an update is lost": (
        Mutant(
            "read_updates",
            f"begin {READ} from (select *, lead(seq) over () as after, lag(seq) over () as before "
            "from {call}) as event where after = seq or before is distinct from seq; end",
        ),
        follow_one,
    ),
    "more than one time's worth": (
        Mutant("read_updates", f"begin p_most := p_most + 1; {READ} from {{call}}; end"),
        follow_one,
    ),
    "an update is told again": (
        Mutant(
            "read_updates",
            f"begin p_after := array(select unnest(p_after) - 1); {READ} from {{call}}; end",
        ),
        follow_one,
    ),
    "what is one ahead begins with a snapshot": (
        Mutant(
            "subscribe",
            f"begin {SUBSCRIBE.replace(' outcome', ' case when seq = 3 then $$snapshot$$ else outcome end')} "
            "from {call}; end",
        ),
        test_a_feed_begins_with_a_snapshot_or_where_it_says,
    ),
    "the newest is forgotten as well": (
        Mutant(
            "forget_updates",
            "begin delete from exchange.updates where updated_at < clock_timestamp() - p_older_than; "
            "return 1; end",
        ),
        test_what_is_old_is_forgotten_but_for_the_newest,
    ),
    "any of them are forgotten first": (
        Mutant(
            "oldest_update",
            "begin return greatest((select max(seq) - 3 from exchange.updates "
            "where symbol_key = p_symbol_key), {call}); end",
        ),
        test_what_is_left_while_it_forgets_has_no_gap,
    ),
    "anybody's certificate will do": (
        Mutant("subscribe", f"begin p_certificate_names := null; {SUBSCRIBE} from {{call}}; end"),
        test_a_certificate_that_is_bound_to_an_account_may_subscribe,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(traders: Market, mutant: str, request: pytest.FixtureRequest) -> None:
    fault, test = MUTANTS[mutant]
    if "forgotten" in mutant:
        traders = request.getfixturevalue("aged")
    install(traders.connection, fault)
    with pytest.raises((AssertionError, psycopg.Error, KeyError)):
        test(traders)
