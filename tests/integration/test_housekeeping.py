"""The sweep of idle accounts."""

from collections.abc import Iterator

import pytest

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


def test_zero_is_never(pool: SharedPool) -> None:
    sweeper = Sweeper(pool, 0)
    sweeper.start()
    sweeper.stop()
    assert pool.get_stats().get("requests_num", 0) == 0
