"""What is done every few seconds or so: folding credits, giving back, firing switches, forgetting updates."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from pgbourse.serve.calls import Caller
from pgbourse.serve.housekeeping import Sweeper
from pgbourse.serve.sessions import SharedPool
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session

TRADE = [
    b'<create><account id="1" balance="100"/><account id="2" balance="0"/>'
    b'<symbol sym="X"><account id="2">10</account></symbol></create>',
    b'<transactions id="2"><order sym="X" amount="-10" limit="1"/></transactions>',
    b'<transactions id="1"><order sym="X" amount="10" limit="1"/></transactions>',
]


@pytest.fixture
def pool(database: str) -> Iterator[SharedPool]:
    with SharedPool(database, 1) as pool:
        yield pool


def test_credits_of_accounts_that_stay_away_are_folded(
    gateway: Gateway, pool: SharedPool, connection: Session
) -> None:
    for document in TRADE:
        gateway.ask(document)
    owed = "select account_id, unsettled_cash from exchange.account_balances where unsettled_cash > 0"
    assert connection.execute(owed).fetchall() == [("2", 10)]
    sweeper = Sweeper(pool, 0.01)
    sweeper.start()
    wait_until(lambda: connection.execute(owed).fetchall() == [], "the credits have been folded")
    sweeper.stop()
    row = connection.execute("select settled_cash from exchange.account_balances where account_id = '2'")
    assert row.fetchone() == (10,)


def test_it_goes_on_after_a_failure(
    gateway: Gateway, pool: SharedPool, connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    for document in TRADE:
        gateway.ask(document)
    connection.execute("revoke execute on function exchange.settle_idle_accounts from exchange_gateway")
    sweeper = Sweeper(pool, 0.01)
    sweeper.start()
    wait_until(lambda: "sweep of idle accounts fails" in caplog.text, "it has failed")
    connection.execute("grant execute on function exchange.settle_idle_accounts to exchange_gateway")
    wait_until(
        lambda: connection.execute("select count(*) from exchange.credits").fetchone() == (0,),
        "it has worked",
    )
    sweeper.stop()


@pytest.fixture
def reservation(database: str, connection: Session) -> Iterator[Caller]:
    """A session that has reserved for an order and lives."""
    with closing(Caller(database, "pgbourse test")) as caller:
        caller.connect()
        caller.process_batch(b'{"(1,create_account,1,,10,,,,)","(1,create_symbol,,X,,,,,)"}')
        assert caller.reserve(b'{"(1,place_order,1,X,1,10,,,)"}')[0].code is None
        yield caller


def incoming(connection: Session) -> int:
    row = connection.execute("select count(*) from exchange.incoming_orders").fetchone()
    assert row is not None
    return int(row[0])


def test_what_a_dead_gateway_had_reserved_is_given_back_also_by_who_never_sweeps(
    reservation: Caller, pool: SharedPool, connection: Session
) -> None:
    sweeper = Sweeper(pool, 0, orphans=0.01)
    sweeper.start()
    wait_until(lambda: pool.get_stats().get("requests_num", 0) > 3, "orphans have been looked for")
    assert incoming(connection) == 1  # its session lives
    reservation.close()
    wait_until(lambda: incoming(connection) == 0, "the reservation has been given back")
    sweeper.stop()


def test_what_a_dead_gateway_had_reserved_is_given_back_at_a_start(
    reservation: Caller, pool: SharedPool, connection: Session
) -> None:
    reservation.close()
    ended = "select not exists (select from pg_stat_activity where application_name = 'pgbourse test')"
    wait_until(lambda: connection.execute(ended).fetchone() == (True,), "the session has ended")
    sweeper = Sweeper(pool, 0, orphans=3600)
    sweeper.start()
    wait_until(lambda: incoming(connection) == 0, "the reservation has been given back")
    sweeper.stop()


ORDER = b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>'
AGE = "update exchange.updates set updated_at = updated_at - interval '1 minute'"


def test_old_updates_are_forgotten_by_two_sweepers_at_once(
    gateway: Gateway, pool: SharedPool, connection: Session
) -> None:
    def kept() -> list[int]:
        return [seq for (seq,) in connection.execute("select seq from exchange.updates order by seq")]

    gateway.ask(TRADE[0])
    for _ in range(3):
        gateway.ask(ORDER)
    sweepers = [Sweeper(pool, 0, keep_updates=keep) for keep in (45, 50)]
    for sweeper in sweepers:
        sweeper.start()
    tried = pool.get_stats().get("requests_num", 0) + 10
    wait_until(lambda: pool.get_stats().get("requests_num", 0) > tried, "it has been looked for old ones")
    assert kept() == [1, 2, 3]
    connection.execute(AGE)
    gateway.ask(ORDER)
    wait_until(lambda: kept() == [4], "old ones have been forgotten")
    for sweeper in sweepers:
        sweeper.stop()


def test_updates_are_kept_for_ever_if_told_so(
    gateway: Gateway, pool: SharedPool, connection: Session
) -> None:
    gateway.ask(TRADE[0])
    for _ in range(3):
        gateway.ask(ORDER)
    connection.execute(AGE)
    sweeper = Sweeper(pool, 0, orphans=0.01, keep_updates=0)
    sweeper.start()
    wait_until(lambda: pool.get_stats().get("requests_num", 0) > 5, "everything has had its turn")
    sweeper.stop()
    assert connection.execute("select count(*) from exchange.updates").fetchone() == (3,)
