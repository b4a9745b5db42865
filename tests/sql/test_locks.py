"""Sessions meet at a lock: who waits, for what, in which order, and who does not.

A wait is seen in pg_stat_activity; no test sleeps or guesses how long something takes.
"""

from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from tests.sql.market import Connection, Market, Request, Session, meeting, until_blocked
from tests.sql.mutants import ACCOUNTS_AS_NAMED, SYMBOLS_AS_NAMED, Mutant, install

# A call that runs into a lock fails at once: to show that it doesn't.
NEVER_WAIT = "set lock_timeout = '1ms'"


SLOT = "(select exchange.symbol_slot(symbol_key) from exchange.symbols where sym = %s)"
LOCK_SYMBOL = f"select pg_advisory_xact_lock(5000, {SLOT})"
LOCK_ACCOUNT = (
    "select from exchange.balances where account_key = "
    "(select account_key from exchange.accounts where account_id = %s) "
    "order by generation desc limit 1 for no key update"
)


def slot(connection: Connection, sym: str) -> int:
    row = connection.execute(f"select {SLOT}".encode(), [sym]).fetchone()
    assert row is not None
    return int(row[0])


def symbols_by_slot(connection: Connection, count: int) -> list[str]:
    """Return symbols of different slots, lowest slot first; they are created."""
    for number in range(count):
        connection.execute("select exchange.create_symbol(%s)", [f"S{number}"])
    by_slot = {slot(connection, f"S{number}"): f"S{number}" for number in range(count)}
    assert len(by_slot) == count
    return [by_slot[number] for number in sorted(by_slot)]


def blockers(observer: Connection, session: Session, call: Future[Any], besides: set[int]) -> set[int]:
    """Return whom a session waits for, once there are others than those named; none when it is done."""
    while not call.done():
        row = observer.execute("select pg_blocking_pids(%s)", [session.pid]).fetchone()
        assert row is not None
        if pids := set(row[0]) - besides:
            return pids
    return set()


@pytest.fixture
def open_market(market: Market) -> Market:
    """Accounts 1 to 3 with cash 1000 and 100 shares each of X, Y and Z."""
    for account in ("1", "2", "3"):
        market.account(account, 1000)
        for sym in ("X", "Y", "Z"):
            market.grant(account, sym, 100)
    return market


def test_orders_of_one_symbol_take_turns(database: str, open_market: Market) -> None:
    with meeting(database, 2) as (first, second):
        first.begin()
        sell = first.market.place("1", "X", -10, 5)
        call = second.start(second.market.place, "2", "X", 10, 5)
        assert until_blocked(open_market.connection, second, first, call) == "advisory"
        first.commit()
        # The second sees what the first has committed, though it began before.
        assert open_market.query("2", call.result()) == ["executed 10 @ 5"]
        assert open_market.query("1", sell) == ["executed 10 @ 5"]


def test_a_cancel_waits_for_a_fill_of_the_same_symbol(database: str, open_market: Market) -> None:
    sell = open_market.place("1", "X", -10, 5)
    with meeting(database, 2) as (first, second):
        first.begin()
        first.market.place("2", "X", 4, 5)
        call = second.start(second.market.cancel, "1", sell)
        assert until_blocked(open_market.connection, second, first, call) == "advisory"
        first.commit()
        assert call.result() == ["canceled 6", "executed 4 @ 5"]
    assert open_market.shares("1", "X") == "96"


def test_orders_of_one_account_take_turns_and_cant_spend_twice(database: str, open_market: Market) -> None:
    with meeting(database, 2) as (first, second):
        first.begin()
        first.market.place("1", "X", 10, 60)
        call = second.start(second.market.try_place, "1", "Y", 10, 60)
        assert until_blocked(open_market.connection, second, first, call) in ("transactionid", "tuple")
        first.commit()
        assert call.result() == (None, "insufficient_funds")
    assert open_market.cash("1") == "400"


def test_those_who_create_take_turns(database: str, market: Market) -> None:
    with meeting(database, 2) as (first, second):
        first.begin()
        assert first.market.account("1", 5) == "created"
        call = second.start(second.market.account, "1", 6)
        assert until_blocked(market.connection, second, first, call) == "advisory"
        first.commit()
        assert call.result() == "account_exists"


def test_a_trade_doesnt_lock_the_other_party(database: str, open_market: Market) -> None:
    open_market.place("1", "X", -10, 5)
    with meeting(database, 2) as (first, second):
        first.begin()
        first.market.place("2", "X", 10, 5)
        second.connection.execute(NEVER_WAIT)
        second.market.place("1", "Y", 10, 5)
        second.market.grant("1", "Y", 1)
        assert second.connection.execute("select from exchange.settle_account('1')").rowcount == 1
        first.commit()
    assert open_market.cash("1") == "1000"


def test_trades_in_opposite_directions_pass_each_other(database: str, open_market: Market) -> None:
    open_market.place("1", "X", -10, 5)
    open_market.place("2", "Y", -10, 7)
    with meeting(database, 2) as (first, second):
        for session in (first, second):
            session.connection.execute(NEVER_WAIT)
            session.begin()
        first.market.place("1", "Y", 10, 7)
        second.market.place("2", "X", 10, 5)
        first.commit()
        second.commit()
    assert [open_market.cash("1"), open_market.cash("2")] == ["980", "1020"]
    assert [open_market.shares("1", "X"), open_market.shares("1", "Y")] == ["90", "110"]


def test_queries_and_the_sweep_wait_for_nobody(database: str, open_market: Market) -> None:
    sell = open_market.place("1", "X", -10, 5)
    with meeting(database, 2) as (first, second):
        first.begin()
        first.market.place("1", "X", -5, 5)
        first.market.place("2", "X", 10, 5)
        second.connection.execute(NEVER_WAIT)
        assert second.market.query("1", sell) == ["open 10"]
        # Accounts 1 and 2 are busy; account 3 has its grants to fold.
        row = second.connection.execute("select exchange.settle_idle_accounts()").fetchone()
        assert row == (1,)
        first.commit()
    assert open_market.connection.execute("select exchange.settle_idle_accounts()").fetchone() == (2,)
    owed = "select distinct account_id from exchange.account_positions where unsettled_shares > 0"
    assert open_market.connection.execute(owed).fetchall() == []


def test_a_batch_takes_its_locks_in_the_documented_order(database: str, open_market: Market) -> None:
    low, middle, high = symbols_by_slot(open_market.connection, 3)
    for sym in (low, middle, high):
        open_market.grant("3", sym, 10)
    cancelable = open_market.place("3", middle, -1, 9)
    # Everything is named in the opposite order.
    batch = [
        Request("place_order", "2", high, "1", "5", sequence=1),
        Request("cancel_order", "3", order_id=cancelable, sequence=2),
        Request("place_order", "1", low, "1", "5", sequence=3),
        Request("create_account", "4", amount="0", sequence=4),
    ]
    advisory = "select pg_advisory_xact_lock(%s, %s)"
    steps: list[tuple[str, str, list[Any]]] = [
        ("creation", advisory, [5001, 0]),
        ("lowest slot", advisory, [5000, slot(open_market.connection, low)]),
        ("middle slot", advisory, [5000, slot(open_market.connection, middle)]),
        ("highest slot", advisory, [5000, slot(open_market.connection, high)]),
        ("account 1", LOCK_ACCOUNT, ["1"]),
        ("account 2", LOCK_ACCOUNT, ["2"]),
    ]
    with meeting(database, len(steps) + 1) as (session, *rivals):
        names = {}
        for rival, (name, statement, arguments) in zip(rivals, steps, strict=True):
            rival.begin()
            rival.connection.execute(statement.encode(), arguments)
            names[rival.pid] = name
        call = session.start(session.market.batch, batch)
        met: list[str] = []
        released: set[int] = set()
        while pids := blockers(open_market.connection, session, call, released):
            assert len(pids) == 1
            met.append(names[min(pids)])
            released |= pids
            next(rival for rival in rivals if rival.pid in pids).commit()
        assert met == [name for name, _, _ in steps]
        assert [answers[0].outcome for answers in call.result()] == [
            "opened",
            "canceled",
            "opened",
            "created",
        ]


def meet_in_opposite_order(database: str, observer: Connection, kind: str) -> list[Any]:
    """Let two batches name the same two locks in opposite orders; return what came of each.

    Rivals hold both locks until both batches wait, so that each has taken what it can take before the other.
    """
    low, high = symbols_by_slot(observer, 2)
    if kind == "symbols":
        statement, names = LOCK_SYMBOL, (low, high)
        batches = [[("1", low), ("1", high)], [("2", high), ("2", low)]]
    else:
        statement, names = LOCK_ACCOUNT, ("1", "2")
        batches = [[("1", "X"), ("2", "X")], [("2", "Y"), ("1", "Y")]]
    with meeting(database, 4) as (first, second, low_rival, high_rival):
        for rival, name in ((low_rival, names[0]), (high_rival, names[1])):
            rival.begin()
            rival.connection.execute(statement.encode(), [name])
        calls = []
        for session, orders in zip((first, second), batches, strict=True):
            session.connection.execute("set deadlock_timeout = '10ms'")
            requests = [Request("place_order", account, sym, "1", "1") for account, sym in orders]
            calls.append(session.start(session.market.batch, requests))
            assert blockers(observer, session, calls[-1], set())
        low_rival.commit()
        # The first has one lock now, and waits for the other.
        assert blockers(observer, first, calls[0], {low_rival.pid})
        high_rival.commit()
        return [call.exception() or call.result() for call in calls]


@pytest.mark.parametrize("kind", ["symbols", "accounts"])
def test_opposite_orders_of_naming_dont_deadlock(database: str, open_market: Market, kind: str) -> None:
    for result in meet_in_opposite_order(database, open_market.connection, kind):
        assert isinstance(result, list), result


@pytest.mark.parametrize(("kind", "mutant"), [("symbols", SYMBOLS_AS_NAMED), ("accounts", ACCOUNTS_AS_NAMED)])
def test_locks_taken_as_named_would_deadlock(
    database: str, open_market: Market, kind: str, mutant: Mutant
) -> None:
    install(open_market.connection, mutant)
    results = meet_in_opposite_order(database, open_market.connection, kind)
    assert [type(result) for result in results].count(psycopg.errors.DeadlockDetected) == 1


def test_an_account_created_after_the_locks_is_unknown(database: str, open_market: Market) -> None:
    """Its row isn't locked, so two batches could spend the same cash."""
    with meeting(database, 3) as (late, rival, creator):
        rival.begin()
        rival.market.place("1", "Z", 1, 1)
        call = late.start(
            late.market.batch, [Request("place_order", name, "X", "1", "100") for name in ("1", "9")]
        )
        assert until_blocked(open_market.connection, late, rival, call)
        creator.market.account("9", 1000)
        creator.begin()
        creator.market.place("9", "Y", 1, 200)
        rival.commit()
        while not call.done():
            row = open_market.connection.execute("select pg_blocking_pids(%s)", [late.pid]).fetchone()
            assert row is not None
            assert creator.pid not in row[0], "the batch waits after it took its locks"
        assert [answers[0].code for answers in call.result()] == [None, "unknown_account"]
        creator.commit()
    assert open_market.cash("9") == "800"


def test_an_order_placed_after_the_locks_is_unknown_to_a_cancel(database: str, open_market: Market) -> None:
    """Its symbol isn't locked, so that it could be filled and cancelled at once."""
    with meeting(database, 3) as (late, rival, filler):
        rival.begin()
        rival.market.place("3", "Y", 1, 1)
        order_id = open_market.place("1", "Z", -10, 5)
        batch = [
            Request("cancel_order", "1", order_id=order_id + 1, sequence=1),
            Request("place_order", "3", "Y", "1", "1", sequence=2),
        ]
        call = late.start(late.market.batch, batch)
        assert until_blocked(open_market.connection, late, rival, call) == "advisory"
        placed = open_market.place("1", "X", -10, 5)
        assert placed == order_id + 1
        filler.begin()
        filler.market.place("2", "X", 10, 5)
        rival.commit()
        while not call.done():
            row = open_market.connection.execute("select pg_blocking_pids(%s)", [late.pid]).fetchone()
            assert row is not None
            assert filler.pid not in row[0], "the batch waits after it took its locks"
        filler.commit()
        assert call.result()[0][0].code == "unknown_order"
    assert open_market.query("1", placed) == ["executed 10 @ 5"]


def test_a_credit_that_commits_late_can_be_spent(database: str, market: Market) -> None:
    """The account has settled what it is owed by later transactions; it must still find this one's."""
    for account in ("1", "2", "3"):
        market.account(account, 10)
        for sym in ("X", "Y"):
            market.grant(account, sym, 10)
    market.place("1", "X", -1, 1)
    market.place("1", "Y", -1, 1)
    with meeting(database, 1) as (slow,):
        slow.begin()
        slow.market.place("2", "X", 1, 1)
        market.place("3", "Y", 1, 1)
        market.place("1", "Y", 11, 1)  # spends all: settled, and what account 3 paid
        assert market.cash("1") == "0"
        slow.commit()
    assert market.cash("1") == "1"
    market.place("1", "Y", 1, 1)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_old_snapshot_is_refused(open_market: Market, level: str) -> None:
    """It wouldn't see what others committed before it got the lock, and leave a crossed book."""
    open_market.connection.execute(f"set default_transaction_isolation = '{level}'".encode())
    with pytest.raises(psycopg.Error, match="read committed") as refused:
        open_market.place("1", "X", 1, 1)
    assert refused.value.sqlstate == "EX003"
