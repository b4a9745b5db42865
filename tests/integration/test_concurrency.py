"""Several sessions trade at once: few accounts, few symbols, cancels racing fills. Nothing is lost or stuck.

PGBOURSE_FUZZ_BATCHES says how many batches each session sends (default 60), PGBOURSE_FUZZ_FIRST_SEED where to
begin (default 0).
"""

import os
import random
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import psycopg
import pytest

from tests.sql.market import Connection, Market, Request, wrap
from tests.sql.trading import KINDS, Trading, names

BATCHES = int(os.environ.get("PGBOURSE_FUZZ_BATCHES", "60"))
FIRST_SEED = int(os.environ.get("PGBOURSE_FUZZ_FIRST_SEED", "0"))
ACCOUNTS, SYMBOLS, SESSIONS = 5, 2, 6


@pytest.fixture
def open_market(connection: Connection) -> Market:
    """Few accounts and symbols, with plenty of both cash and shares."""
    market = Market(connection)
    for account in range(1, ACCOUNTS + 1):
        market.account(str(account), 200000)
        for sym in range(1, SYMBOLS + 1):
            market.grant(str(account), f"S{sym}", 2000)
    return market


def one_by_one(market: Market, request: Request) -> None:
    """Carry out a request by itself; one of the base protocol by its function, as somebody in psql would."""
    account = request.account or ""
    if request.said is not None:
        market.batch([request])
        return
    match request.action:
        case "place_order":
            market.try_place(account, request.sym, request.amount, request.limit)
        case "cancel_order":
            market.cancel(account, request.order_id or 0)
        case "query_order":
            market.query(account, request.order_id or 0)
        case "create_account":
            market.account(account, request.amount)
        case "grant_shares":
            market.grant(account, request.sym or "", request.amount)
        case _:
            market.batch([request])


def trade(database: str, seed: int, kinds: Sequence[str]) -> None:
    """Send random batches, or one call for each of their requests, in a session of its own.

    Sessions call their orders by the same refs, and switches fire at once.
    """
    chance = random.Random(seed)
    trading = Trading(chance, names(ACCOUNTS), names(SYMBOLS, "S"), kinds)
    with psycopg.connect(database, autocommit=True) as connection:
        market = Market(connection)
        for _ in range(BATCHES):
            # Cancels and queries aim at orders that others may be filling at this moment.
            resting = connection.execute("select account_id, order_id from exchange.order_book").fetchall()
            batch = trading.batch(chance.choice([1, 3, 20]), 1)
            for place, request in enumerate(batch):
                if request.action == "arm_switch":
                    batch[place] = request._replace(amount="1")
                if request.order_id is not None and resting:
                    account, order_id = chance.choice(resting)
                    batch[place] = request._replace(account=account, order_id=order_id)
            if chance.random() < 0.5:
                market.batch([request._replace(sequence=chance.randint(1, 4)) for request in batch])
            else:
                for request in batch:
                    one_by_one(market, request)


def sweep_and_check(database: str, traders: list[Future[None]]) -> list[tuple[str, str, str]]:
    """Settle idle accounts and check the integrity for as long as others trade; return what was found."""
    found: list[tuple[str, str, str]] = []
    with psycopg.connect(database, autocommit=True) as connection:
        while not all(trader.done() for trader in traders):
            connection.execute("select exchange.settle_idle_accounts()")
            connection.execute("select exchange.fire_switches(2)")
            found += Market(connection).violations()
    return found


def trade_at_once(
    database: str, connection: Connection, kinds: Sequence[str] = ()
) -> list[tuple[str, str, str]]:
    """Let all sessions trade; raise what they raised, and return what was found meanwhile and after."""
    with ThreadPoolExecutor(SESSIONS + 1, "session") as pool:
        traders = [pool.submit(trade, database, FIRST_SEED + number, kinds) for number in range(SESSIONS)]
        checker = pool.submit(sweep_and_check, database, traders)
        wait(traders)
        for trader in traders:
            trader.result()
        return checker.result() + Market(connection).violations()


@pytest.mark.parametrize("kinds", [(), KINDS], ids=["", "all kinds"])
def test_sessions_trade_at_once(database: str, open_market: Market, kinds: Sequence[str]) -> None:
    connection = open_market.connection
    assert trade_at_once(database, connection, kinds) == []
    counts = connection.execute(
        "select (select count(*) from exchange.executions), (select count(*) from exchange.cancellations)"
    ).fetchone()
    assert counts is not None
    assert min(counts) > BATCHES  # they did meet
    deadlocks = connection.execute(
        "select deadlocks from pg_stat_database where datname = current_database()"
    ).fetchone()
    assert deadlocks == (0,)
    if kinds:
        row = connection.execute(
            "select count(ref), count(passed_order_ids), count(replaced_order_id), "
            "count(*) filter (where type = 'market'), (select count(*) from exchange.reductions) "
            "from exchange.order_terms"
        ).fetchone()
        assert row is not None
        assert min(row) > 0, row


# Who pretends that all is locked.
WITHOUT_LOCKS = {
    "symbols": ("lock_symbols", "begin return array(select generate_series(0, 63)); end"),
    "accounts": (
        "lock_accounts",
        """
        begin
            balances := exchange.load_balances(array(
                select account_key from exchange.accounts where account_id = any(p_account_ids) order by 1
            ));
        end
        """,
    ),
}


@pytest.mark.parametrize("unlocked", WITHOUT_LOCKS)
def test_without_its_locks_it_would_fail(database: str, open_market: Market, unlocked: str) -> None:
    """Orders of one symbol, or of one account, no longer take turns."""
    wrap(open_market.connection, *WITHOUT_LOCKS[unlocked])
    try:
        findings = trade_at_once(database, open_market.connection)
    except (psycopg.IntegrityError, psycopg.errors.DeadlockDetected):
        return  # a constraint was in the way first, or a deadlock
    assert findings
