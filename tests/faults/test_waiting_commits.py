"""A commit that waits for its standby: nobody is told of it before it has come to its end.

The server waits for a standby that does not exist, so that the wait lasts as long as the test wants.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess
from tests.integration.client import WireClient, wait_until

CREATE = b'<create><account id="1" balance="1000000"/><symbol sym="X"/></create>'
ORDER = b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>'
# Too many to be carried out in one transaction where there are lanes.
MANY = b'<transactions id="1">' + b'<order sym="X" amount="1" limit="1"/>' * 20 + b"</transactions>"

TIME_OUTS = ("statement_timeout", "lock_timeout", "idle_session_timeout", "transaction_timeout")


@pytest.fixture
def session(cluster: Cluster, exchange: str) -> Iterator[Session]:
    with cluster.connect(exchange) as session:
        yield session


@contextmanager
def waiting_commit(
    session: Session, gateway: GatewayProcess, order: bytes = ORDER
) -> Iterator[tuple[WireClient, int]]:
    """Give a client whose order's commit waits for a standby, and the backend's pid; then end the wait."""
    with WireClient(gateway.address) as client:
        assert client.ask(CREATE)[0].tag == "created"
        try:
            session.execute("alter system set synchronous_standby_names = 'nobody'")
            session.execute("select pg_reload_conf()")
            client.send(order)
            # The server begins to wait for standbys a little after it was told to.
            wait_until(lambda: is_waiting(session, client, order), "a commit waits")
            yield client, waits(session)[0]
        finally:
            release(session)


def is_waiting(session: Session, client: WireClient, order: bytes) -> bool:
    """Say whether the client's order waits; if it was answered, send another."""
    if has_more(client):
        assert client.reply()[0].tag == "opened"
        client.send(order)
    return bool(waits(session))


def waits(session: Session, seconds: float = 0) -> list[int]:
    """Return the backends of workers and lanes that wait for a standby, for so many seconds at least."""
    query = (
        "select pid from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database() "
        "and application_name ~ '^pgbourse (worker|lane) ' "
        "and clock_timestamp() - query_start > %s * interval '1 second'"
    )
    return [pid for (pid,) in session.execute(query, [seconds])]


def release(session: Session) -> None:
    session.execute("alter system reset synchronous_standby_names")
    session.execute("select pg_reload_conf()")
    wait_until(lambda: not waits(session), "nobody waits for a standby any more")


def has_more(client: WireClient) -> bool:
    """Say whether the client has been told something, or that the connection has ended."""
    client.socket.settimeout(0)
    try:
        return client.socket.recv(1, 2) is not None  # MSG_PEEK
    except BlockingIOError:
        return False
    finally:
        client.socket.settimeout(60)


def set_time_outs(session: Session) -> None:
    for name in TIME_OUTS:
        if session.execute("select from pg_settings where name = %s", [name]).fetchone() is not None:
            database = sql.Identifier(session.info.dbname)
            session.execute(
                sql.SQL("alter database {} set {} = '200ms'").format(database, sql.Identifier(name))
            )


def no_time_out_ends_the_wait(session: Session, gateway: GatewayProcess) -> None:
    with waiting_commit(session, gateway) as (client, _):
        wait_until(lambda: waits(session, 1.0) or has_more(client), "five times the time-out have passed")
        assert not has_more(client), "the client was told something of a commit that still waited"
        release(session)
        assert client.reply()[0].tag == "opened"


def test_no_time_out_ends_the_wait(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    set_time_outs(session)
    no_time_out_ends_the_wait(session, start_gateway("--database-url", cluster.dsn(exchange)))


def holds_no_lock(session: Session, gateway: GatewayProcess, order: bytes) -> None:
    """Fail if an order of the same account and symbol, placed in psql, waits for a lock."""
    with waiting_commit(session, gateway, order):
        session.execute("set synchronous_commit = local")
        session.execute("set lock_timeout = '10s'")
        row = session.execute("select order_id from exchange.place_order('1', 'X', 1, 1)").fetchone()
        assert row is not None
        assert row[0] is not None


@pytest.mark.parametrize("order", [ORDER, MANY], ids=["one transaction", "two stages"])
def test_who_waits_for_a_standby_holds_no_lock(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway, order: bytes
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), "--lanes", "2")
    holds_no_lock(session, gateway, order)


@pytest.mark.parametrize("order", [ORDER, MANY], ids=["one transaction", "two stages"])
def test_locks_that_are_held_meanwhile_are_found_out(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway, order: bytes
) -> None:
    database = ("--database-url", cluster.dsn(exchange))
    mutant = start_gateway(*database, "--lanes", "2", mutant="commits_synchronously")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        holds_no_lock(session, mutant, order)


def test_a_client_side_time_out_is_found_out(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    mutant = start_gateway("--database-url", cluster.dsn(exchange), mutant="cancels_what_takes_long")
    with pytest.raises(AssertionError, match="was told something"):
        no_time_out_ends_the_wait(session, mutant)


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_wait_that_somebody_ends_is_no_success(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway, function: str
) -> None:
    """PostgreSQL reports a success with a warning: it stands on the primary, and a failover may lose it."""
    gateway = start_gateway("--database-url", cluster.dsn(exchange))
    with waiting_commit(session, gateway) as (client, pid):
        session.execute(sql.SQL("select {}(%s)").format(sql.Identifier(function)), [pid])
        assert client.is_closed()
    assert "fate of their requests unknown" in gateway.log.read_text()
    with WireClient(gateway.address) as client:
        assert client.ask(ORDER)[0].tag == "opened"


def test_deafness_to_the_warning_is_found_out(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant="is_deaf_to_warnings")
    with waiting_commit(session, gateway) as (client, pid):
        session.execute("select pg_cancel_backend(%s)", [pid])
        assert client.reply()[0].tag == "opened"  # a false success


def test_warnings_cannot_be_switched_off(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    database = sql.Identifier(exchange)
    session.execute(sql.SQL("alter database {} set client_min_messages = error").format(database))
    gateway = start_gateway("--database-url", cluster.dsn(exchange))
    with waiting_commit(session, gateway) as (client, pid):
        session.execute("select pg_cancel_backend(%s)", [pid])
        assert client.is_closed()


def test_a_gateway_that_is_stopped_does_not_end_the_wait(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), "--drain-timeout", "0.2")
    with waiting_commit(session, gateway) as (client, pid):
        assert gateway.end(signal.SIGTERM) == 1
        assert client.is_closed()
        assert waits(session) == [pid]
