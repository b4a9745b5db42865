"""Dead man's switches fire once, in time and never earlier, whatever becomes of gateways and PostgreSQL."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from pgbourse.serve.health import HealthServer
from pgbourse.serve.housekeeping import Sweeper
from pgbourse.serve.listener import listen
from pgbourse.serve.sessions import SharedPool
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Gateway, Session, StartGateway, StartService
from tests.integration.test_metrics import Health
from tests.sql.mutants import Mutant, install

ACCOUNTS = range(1, 11)
CREATE = "".join([f'<account id="{account}" balance="100"/>' for account in ACCOUNTS])
ORDERS = '<order sym="X" amount="1" limit="1"/><order sym="Y" amount="1" limit="1" ref="a"/>'

# In which second each order was cancelled.
CANCELED = "select order_id, extract(epoch from canceled_at)::float from exchange.cancellations"

StartSweeper = Callable[[str], Sweeper]


@pytest.fixture
def start_sweeper() -> Iterator[StartSweeper]:
    """Start what fires switches in a gateway."""
    with ExitStack() as stack:

        def start(conninfo: str) -> Sweeper:
            sweeper = Sweeper(stack.enter_context(SharedPool(conninfo, 1)), 0)
            sweeper.start()
            stack.callback(sweeper.stop)
            return sweeper

        yield start


def create(gateway: Gateway) -> None:
    reply = gateway.ask(f'<create>{CREATE}<symbol sym="X"/><symbol sym="Y"/></create>'.encode())
    assert {child.tag for child in reply} == {"created"}


def arm(client: Gateway | WireClient, account: int, seconds: int = 1) -> int:
    """Have an account place two orders and arm its switch; return when it is to fire."""
    switch = f'<cancel all="true" after="{seconds}"/>'
    *opened, armed = client.ask(f'<transactions id="{account}">{ORDERS}{switch}</transactions>'.encode())
    assert [child.tag for child in opened] == ["opened", "opened"]
    return int(armed.get("time") or 0)


def wait_until_canceled(connection: Session, orders: int, times: list[int]) -> None:
    """Wait until so many orders are cancelled, and see that each was in time: two by each switch."""
    wait_until(lambda: connection.execute(CANCELED).rowcount >= orders, "the switches have fired")
    canceled = connection.execute(f"{CANCELED} order by canceled_at").fetchall()
    assert len(canceled) == orders
    for (_, at), time in zip(canceled, [time for time in sorted(times) for _ in range(2)], strict=True):
        assert time <= at < time + 2


def test_with_two_gateways_each_fires_once(
    gateway: Gateway,
    database: str,
    connection: Session,
    start_sweeper: StartSweeper,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sweepers = [start_sweeper(database) for _ in range(2)]
    create(gateway)
    times = [arm(gateway, account) for account in ACCOUNTS]
    wait_until_canceled(connection, 2 * len(ACCOUNTS), times)
    wait_until(lambda: sum(sweeper.fired for sweeper in sweepers) == len(ACCOUNTS), "all are counted")
    fired = [record.getMessage() for record in caplog.records if "has fired" in record.getMessage()]
    assert sorted(fired) == sorted(
        f"the switch of account {account} has fired and cancelled 2 orders" for account in ACCOUNTS
    )
    assert connection.execute("select count(*) from exchange.switches").fetchone() == (0,)
    assert [
        child.tag for child in gateway.ask(b'<transactions id="1"><query ref="a"/></transactions>')[0]
    ] == ["canceled"]


@pytest.mark.parametrize(("quick", "asked"), [(float("inf"), [1, 2, 4, 8]), (0.0, [1] * len(ACCOUNTS))])
def test_those_that_are_due_together_share_transactions_as_long_as_these_are_quick(
    gateway: Gateway,
    database: str,
    connection: Session,
    start_sweeper: StartSweeper,
    monkeypatch: pytest.MonkeyPatch,
    quick: float,
    asked: list[int],
) -> None:
    """So thousands are fired in time, and nobody waits for long."""
    monkeypatch.setattr("pgbourse.serve.housekeeping._TRANSACTION", quick)
    connection.execute("create table exchange.calls (place serial, accounts integer)")
    connection.execute("alter table exchange.calls owner to exchange_owner")
    noting = "insert into exchange.calls (accounts) values (p_limit)"
    install(connection, Mutant("fire_switches", f"begin {noting}; return query select * from {{call}}; end"))
    create(gateway)
    for account in ACCOUNTS:
        arm(gateway, account, seconds=60)
    connection.execute("update exchange.switches set fires_at = clock_timestamp()")
    sweeper = start_sweeper(database)
    wait_until(lambda: sweeper.fired == len(ACCOUNTS), "all have fired")
    calls = connection.execute("select accounts from exchange.calls order by place").fetchall()
    assert [accounts for (accounts,) in calls][: len(asked)] == asked


def test_one_that_fails_holds_up_no_other(
    gateway: Gateway, database: str, connection: Session, start_sweeper: StartSweeper
) -> None:
    failing = "if p_request.account_id = '1' then raise exception 'out of order'; end if;"
    body = f"begin {failing} return query select * from {{call}}; end"
    install(connection, Mutant("cancel_all_of_one", body))
    create(gateway)
    for account in (1, 2, 3):
        arm(gateway, account, seconds=60)
    connection.execute("update exchange.switches set fires_at = clock_timestamp()")
    sweeper = start_sweeper(database)
    wait_until(lambda: sweeper.fired == 2, "the others have fired")
    assert connection.execute("select account_key from exchange.switches").fetchall() == [(1,)]


def test_it_counts_in_a_metric(
    start_gateway: StartGateway, database: str, start_sweeper: StartSweeper
) -> None:
    gateway, sweeper = start_gateway(http_port=0), start_sweeper(database)
    with SharedPool(database, 1) as pool:
        server = HealthServer(
            listen("127.0.0.1", 0), gateway.server, pool, "15.1", None, lambda: sweeper.fired
        )
        server.start()
        health = Health(server.address)
        create(gateway)
        arm(gateway, 1)
        wait_until(lambda: health.metrics()["switches_fired_total"] == 1, "it is counted")
        server.stop()


def test_what_is_disarmed_or_armed_anew_does_not_fire(
    gateway: Gateway, database: str, connection: Session, start_sweeper: StartSweeper
) -> None:
    start_sweeper(database)
    create(gateway)
    arm(gateway, 1)
    arm(gateway, 2)
    gateway.ask(b'<transactions id="1"><cancel all="true" after="0"/></transactions>')
    gateway.ask(b'<transactions id="2"><cancel all="true" after="60"/></transactions>')
    wait_until_canceled(connection, 2, [arm(gateway, 3)])
    assert [order_id for order_id, _ in connection.execute(CANCELED)] == [5, 6]


def test_it_fires_for_a_frozen_account_and_a_halted_symbol(
    gateway: Gateway, database: str, connection: Session, start_sweeper: StartSweeper
) -> None:
    create(gateway)
    time = arm(gateway, 1)
    connection.execute("select exchange.freeze_account('1'), exchange.halt_symbol('Y')")
    start_sweeper(database)
    wait_until_canceled(connection, 2, [time])


def test_the_gateway_that_armed_it_is_killed(
    start_service: StartService, database: str, connection: Session
) -> None:
    one, other = [start_service("--database-url", database, "--sweep-seconds", "0") for _ in range(2)]
    with WireClient(one.address) as client:
        client.ask(f'<create>{CREATE}<symbol sym="X"/><symbol sym="Y"/></create>'.encode())
        time = arm(client, 1)
        one.process.kill()
        wait_until_canceled(connection, 2, [time])
    other.process.terminate()
    status, log = other.end()
    assert status == 0
    assert "the switch of account 1 has fired and cancelled 2 orders" in log


def test_it_outlives_a_restart_of_postgresql(
    start_gateway: StartGateway, start_sweeper: StartSweeper, folder: Path
) -> None:
    with EmbeddedPostgres(folder / "server") as postgres:
        conninfo = postgres.dsn()
        migrate(conninfo)
        sweeper = start_sweeper(conninfo)
        gateway = start_gateway(conninfo)
        create(gateway)
        time = arm(gateway, 1, seconds=2)
    with EmbeddedPostgres(folder / "server"), psycopg.connect(conninfo, autocommit=True) as connection:
        wait_until(lambda: sweeper.fired == 1, "it has fired")
        canceled = connection.execute(CANCELED).fetchall()
        assert len(canceled) == 2
        assert min(at for _, at in canceled) >= time


# What the sweep does instead.
FAULTS = {
    "a second early": (
        "update exchange.switches set fires_at = fires_at - interval '1 s' "
        "where fires_at <= clock_timestamp() + interval '1 s'; return query select * from {call};"
    ),
    "two seconds late": (
        "if not exists (select from exchange.switches "
        "where fires_at between clock_timestamp() - interval '2 s' and clock_timestamp()) "
        "then return query select * from {call}; end if;"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_switch_that_fires_at_another_time_is_found(
    gateway: Gateway, database: str, connection: Session, start_sweeper: StartSweeper, fault: str
) -> None:
    install(connection, Mutant("fire_switches", f"begin {FAULTS[fault]} end"))
    start_sweeper(database)
    create(gateway)
    time = arm(gateway, 1)
    with pytest.raises(AssertionError):
        wait_until_canceled(connection, 2, [time])


def test_a_switch_that_dies_with_the_gateway_that_armed_it_is_found(
    start_service: StartService, database: str, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("create table exchange.armed_by (pid integer)")
    connection.execute("alter table exchange.armed_by owner to exchange_owner")
    install(
        connection,
        Mutant(
            "set_switch",
            "begin insert into exchange.armed_by values (pg_backend_pid()); return {call}; end",
        ),
    )
    install(
        connection,
        Mutant(
            "fire_switches",
            "begin if exists (select from exchange.armed_by "
            "where pid not in (select pid from pg_stat_activity)) "
            "then delete from exchange.switches; end if; return query select * from {call}; end",
        ),
    )
    monkeypatch.setattr("tests.integration.client._GUARD", 5.0)
    with pytest.raises(AssertionError, match="timed out"):
        test_the_gateway_that_armed_it_is_killed(start_service, database, connection)
