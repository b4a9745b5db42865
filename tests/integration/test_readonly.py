"""A database that takes no writes, as managed services make it when a disk is nearly full."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgbourse.serve import writegate
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.test_metrics import CREATE, Health, StartHealth, start_health

__all__ = ["start_health"]  # a fixture

ORDER = b'<transactions id="1"><order sym="X" amount="2" limit="3"/></transactions>'
QUERY = b'<transactions id="1"><query id="1"/><query id="999"/></transactions>'
BOTH = b'<transactions id="1"><query id="1"/><order sym="X" amount="1" limit="3"/></transactions>'

READ_ONLY = "set default_transaction_read_only = on"
WRITABLE = "reset default_transaction_read_only"


@pytest.fixture
def gateway(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(writegate, "RETRY", 0.1)
    gateway = start_gateway(http_port=0)
    gateway.ask(CREATE)
    assert gateway.ask(ORDER)[0].get("id") == "1"
    return gateway


@pytest.fixture
def health(gateway: Gateway, database: str, start_health: StartHealth) -> Health:
    return start_health(gateway, database)


@pytest.fixture
def alter(connection: Session, database: str) -> Iterator[Callable[[str], None]]:
    """Change the settings of the database and end the gateway's sessions, which have the old ones."""
    name = connection.info.dbname
    with psycopg.connect(database, autocommit=True, options="-c default_transaction_read_only=off") as other:

        def run(setting: str) -> None:
            other.execute(f'alter database "{name}" {setting}'.encode())
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = %s and application_name like 'pgbourse %%'",
                [name],
            )

        yield run
        run(WRITABLE)


def test_orders_wait_and_queries_are_answered(
    gateway: Gateway, health: Health, alter: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert health.get("/readyz") == (200, "ok\n")
    alter(READ_ONLY)
    buyer, both = gateway.connect(), gateway.connect()
    buyer.send(ORDER, QUERY)
    both.send(QUERY, BOTH, QUERY)
    assert both.reply()[0].tag == "status"  # what comes before a document that writes
    for _ in range(20):  # more than there are workers
        assert [child.tag for child in gateway.ask(QUERY)] == ["status", "error"]
        gateway.connect().send(ORDER)
    status, reason = health.get("/readyz")
    assert status == 503
    assert reason.startswith("the database takes no writes: ")
    # Of `both` one has begun, with its query.
    wait_until(lambda: gateway.waiting() == 2 + 1 + 20, "all others have been received and wait")
    alter(WRITABLE)
    assert buyer.reply()[0].tag == "opened"
    assert [child.tag for child in buyer.reply()] == ["status", "error"]
    assert [child.tag for child in both.reply()] == ["status", "opened"]
    assert [child.tag for child in both.reply()] == ["status", "error"]
    wait_until(lambda: health.get("/readyz") == (200, "ok\n"), "it is ready again")
    wait_until(lambda: gateway.waiting() == 0 and not gateway.traffic.held, "all has been carried out")
    assert caplog.text.count("the database takes no writes") == 1
    assert caplog.text.count("the database takes writes again") == 1


def test_looks_are_answered_and_a_document_that_also_writes_is_not_begun(
    gateway: Gateway, alter: Callable[[str], None]
) -> None:
    alter(READ_ONLY)
    waiting = gateway.connect()
    waiting.send(b'<transactions id="1"><account/><cancel all="true"/><account/></transactions>')
    wait_until(lambda: gateway.server.status().takes_no_writes, "it is known that nothing can be written")
    for _ in range(5):
        looks = gateway.ask(b'<transactions id="1"><account/><orders/><book sym="X"/></transactions>')
        assert [child.tag for child in looks] == ["account", "orders", "book"]
    alter(WRITABLE)
    before, canceled, after = waiting.reply()
    assert (before.get("reserved"), canceled.get("count"), after.get("reserved")) == ("6", "1", "0")


def test_a_setting_that_the_server_is_told_reaches_sessions_that_are_open(
    gateway: Gateway, health: Health, connection: Session
) -> None:
    try:
        connection.execute("alter system set default_transaction_read_only = on")
        connection.execute("select pg_reload_conf()")
        client = gateway.connect()
        wait_until(lambda: health.get("/readyz")[0] == 503, "it isn't ready")
        client.send(ORDER)
        assert gateway.ask(QUERY)[0].tag == "status"
    finally:
        connection.execute("set default_transaction_read_only = off")
        connection.execute("alter system reset default_transaction_read_only")
        connection.execute("select pg_reload_conf()")
    assert client.reply()[0].tag == "opened"
    wait_until(lambda: health.get("/readyz")[0] == 200, "it is ready")


def test_the_log_of_the_server_is_not_filled_with_errors(
    gateway: Gateway, connection: Session, alter: Callable[[str], None]
) -> None:
    """Whether it takes writes again is asked without trying to write."""
    failed = "select xact_rollback from pg_stat_database where datname = current_database()"
    alter(READ_ONLY)
    client = gateway.connect()
    client.send(ORDER)
    assert gateway.ask(QUERY)[0].tag == "status"
    (before,) = connection.execute(failed).fetchone() or (0,)
    for _ in range(5):
        assert gateway.ask(QUERY)[0].tag == "status"
    connection.execute("select pg_stat_clear_snapshot()")
    assert connection.execute(failed).fetchone() == (before,)
    alter(WRITABLE)
    assert client.reply()[0].tag == "opened"


def test_a_gateway_may_start_on_a_database_that_takes_no_writes(
    start_gateway: StartGateway, alter: Callable[[str], None]
) -> None:
    alter(READ_ONLY)
    gateway = start_gateway()
    client = gateway.connect()
    client.send(CREATE)
    assert gateway.ask(QUERY)[0].tag == "error"
    assert gateway.server.status().takes_no_writes == "default_transaction_read_only is on"
    alter(WRITABLE)
    assert client.reply()[0].tag == "created"
    wait_until(lambda: not gateway.server.status().takes_no_writes, "the gateway knows that it takes writes")
