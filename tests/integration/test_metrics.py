"""Metrics, /healthz and /readyz of a gateway that works, is overloaded, lost its database or is stopping."""

import contextlib
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from psycopg.conninfo import make_conninfo

import pgbourse.database.migrate
import pgbourse.serve.health
from pgbourse.database.ledger import sql_folder
from pgbourse.serve.health import HealthServer
from pgbourse.serve.listener import listen
from pgbourse.serve.sessions import SharedPool
from tests.integration.client import wait_until
from tests.integration.conftest import Block, Gateway, Session, StartGateway

CREATE = (
    b'<create><account id="1" balance="100"/><account id="1" balance="1"/><account id="2" balance="5"/>'
    b'<symbol sym="X"><account id="2">10</account></symbol></create>'
)


class Health:
    """What a gateway says of itself over HTTP."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._url = "http://{}:{}".format(*address)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self._url + path) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self) -> dict[str, float]:
        """All samples, as `name{label="value",…}` without the prefix pgbourse_."""
        status, text = self.get("/metrics")
        assert status == 200
        samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                name = sample.name.removeprefix("pgbourse_")
                samples[f"{name}{{{labels}}}" if labels else name] = sample.value
        return samples

    def metrics_after(self, documents: int) -> dict[str, float]:
        """The same once so many documents are counted: a worker counts them after it has answered."""
        wait_until(
            lambda: self.metrics()["document_latency_seconds_count"] >= documents,
            f"{documents} documents are counted",
        )
        return self.metrics()


StartHealth = Callable[[Gateway, str], Health]


@pytest.fixture
def start_health(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartHealth]:
    monkeypatch.setattr(pgbourse.serve.health, "FRESH", 0.0)  # each question is asked anew
    with contextlib.ExitStack() as stack:

        def start(gateway: Gateway, conninfo: str) -> Health:
            health = HealthServer(
                listen("127.0.0.1", 0), gateway.server, stack.enter_context(SharedPool(conninfo, 1)), "15.1"
            )
            health.start()
            stack.callback(health.stop)
            return Health(health.address)

        yield start


@pytest.fixture
def measured(start_gateway: StartGateway) -> Gateway:
    return start_gateway(http_port=0)


@pytest.fixture
def health(measured: Gateway, database: str, start_health: StartHealth) -> Health:
    return start_health(measured, database)


def requests(metrics: dict[str, float]) -> dict[tuple[str, str], float]:
    """How many requests there were, by kind and outcome."""
    pattern = re.compile(r'requests_total\{kind="(\w+)",outcome="(\w+)"\}')
    return {(match[1], match[2]): value for name, value in metrics.items() if (match := pattern.match(name))}


def test_requests_are_counted_by_kind_and_outcome(
    measured: Gateway, health: Health, connection: Session
) -> None:
    measured.ask(CREATE)
    measured.ask(
        b'<transactions id="1"><order sym="X" amount="2" limit="3"/><order sym="X" amount="99" limit="99"/>'
        b'<query id="1"/><query id="7"/><cancel id="7"/><order sym="X" amount="0" limit="1"/><what/>'
        b"</transactions>"
    )
    measured.ask(b"<nonsense/>")
    connection.execute("drop function exchange.cancel_orders")
    assert "internal error" in (measured.ask(b'<transactions id="1"><cancel id="1"/></transactions>')[0].text)
    metrics = health.metrics_after(4)
    assert requests(metrics) == {
        ("create_account", "accepted"): 2,
        ("create_account", "refused"): 1,
        ("grant_shares", "accepted"): 1,
        ("place_order", "accepted"): 1,
        ("place_order", "refused"): 1,
        ("query_order", "accepted"): 1,
        ("query_order", "refused"): 1,
        ("cancel_order", "refused"): 1,
        ("cancel_order", "failed"): 1,
        ("malformed", "refused"): 3,
    }
    assert metrics["document_latency_seconds_count"] == 4
    assert metrics["batch_documents_sum"] == 4
    assert metrics["batch_requests_sum"] == 4 + 5 + 1
    assert metrics["batch_requests_count"] == metrics["database_seconds_count"] == 3
    assert metrics["open_orders"] == 1


def test_of_an_unknown_fate_no_latency_is_told(
    measured: Gateway,
    health: Health,
    connection: Session,
    block: Block,
    wait_for_workers: Callable[[int], None],
) -> None:
    measured.ask(CREATE)
    blocker = block()
    client = measured.connect()
    client.send(b'<transactions id="1"><order sym="X" amount="2" limit="3"/></transactions>')
    wait_for_workers(1)
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
        "and application_name like 'pgbourse worker%' and wait_event_type = 'Lock'"
    )
    blocker.rollback()
    # PostgreSQL says when it ended a statement before its commit: that is tried again, and succeeds.
    assert client.reply()[0].tag == "opened"
    metrics = health.metrics_after(2)
    assert metrics["database_reconnects_total"] == 1
    assert requests(metrics)["place_order", "accepted"] == 1
    assert metrics["document_latency_seconds_count"] == 2


def test_histograms_are_cumulative_and_in_seconds(measured: Gateway, health: Health) -> None:
    for _ in range(20):
        measured.ask(CREATE)
    metrics = health.metrics_after(20)
    for name in ("document_latency_seconds", "database_seconds", "batch_documents", "batch_requests"):
        buckets = [value for key, value in metrics.items() if key.startswith(f"{name}_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == metrics[f"{name}_count"] == 20
    assert 0 < metrics["database_seconds_sum"] <= metrics["document_latency_seconds_sum"] < 60
    assert metrics["batch_requests_sum"] == 80
    assert metrics['batch_requests_bucket{le="2.0"}'] == 0
    assert metrics['batch_requests_bucket{le="5.0"}'] == 20


def test_what_waits_and_who_is_connected(
    measured: Gateway, health: Health, block: Block, wait_for_workers: Callable[[int], None]
) -> None:
    measured.ask(CREATE)
    blocker = block()
    clients = [measured.connect() for _ in range(3)]
    for busy, client in enumerate(clients[:2], 1):  # as many as there are workers
        client.send(CREATE)
        wait_for_workers(busy)
    clients[2].send(CREATE, CREATE)
    wait_until(lambda: health.metrics()["queue_documents"] == 2, "two documents wait")
    metrics = health.metrics()
    assert metrics["queue_bytes"] == 2 * len(CREATE)
    assert metrics["connections"] == 3
    assert metrics["connections_accepted_total"] == 4
    assert metrics["draining"] == 0
    assert metrics["process_cpu_seconds_total"] > 0
    assert any(name.startswith('build_info{postgresql="15.1",python="3.') for name in metrics)
    blocker.rollback()
    for client in (*clients, clients[2]):
        client.reply()
    assert health.metrics()["queue_documents"] == 0


def test_a_sale_leaves_a_credit_until_it_is_settled(
    measured: Gateway, health: Health, connection: Session
) -> None:
    measured.ask(CREATE)
    measured.ask(b'<transactions id="2"><order sym="X" amount="-2" limit="3"/></transactions>')
    measured.ask(b'<transactions id="1"><order sym="X" amount="2" limit="4"/></transactions>')
    metrics = health.metrics()
    (owed,) = connection.execute("select count(*) from exchange.credits").fetchone() or ()
    assert metrics["unsettled_credits"] == owed > 0
    assert metrics["open_orders"] == 0
    connection.execute("select exchange.settle_idle_accounts()")
    assert health.metrics()["unsettled_credits"] == 0


def test_a_healthy_gateway_is_alive_and_ready(health: Health) -> None:
    assert health.get("/healthz") == (200, "ok\n")
    assert health.get("/readyz") == (200, "ok\n")
    assert health.get("/readyz?verbose") == (200, "ok\n")
    assert health.get("/")[0] == 404


def test_who_holds_a_symbol_for_long_is_named(health: Health, connection: Session, database: str) -> None:
    """The gateway is ready all the same: other symbols are traded."""
    connection.execute("select exchange.create_symbol('X')")
    with psycopg.connect(database, application_name="a psql") as holder:
        holder.execute("select exchange.halt_symbol('X')")
        wait_until(lambda: health.get("/readyz") != (200, "ok\n"), "the holder is old enough")
        status, text = health.get("/readyz")
        name = f"pid {holder.info.backend_pid} (a psql, {holder.info.user})"
    assert status == 200
    assert text.startswith(f"ok\n{name} has held symbol X for ")
    assert text.endswith(" s, idle in transaction\n")


def test_a_gateway_without_its_database_is_alive_and_not_ready(
    health: Health, database: str, connection: Session
) -> None:
    assert health.metrics()["database_up"] == 1
    name = connection.info.dbname
    with psycopg.connect(database, dbname="postgres", autocommit=True) as other:
        other.execute(f'alter database "{name}" with allow_connections false')
        other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        metrics = health.metrics()
        assert metrics["database_up"] == 0
        assert "open_orders" not in metrics
        status, text = health.get("/readyz")
        assert (status, text.count("\n")) == (503, 1)
        assert "can't reach the database" in text
        assert health.get("/healthz") == (200, "ok\n")
        other.execute(f'alter database "{name}" with allow_connections true')
    assert health.get("/readyz") == (200, "ok\n")
    assert health.metrics()["database_up"] == 1


def test_no_more_connections_are_taken_than_the_manual_counts(
    start_gateway: StartGateway,
    start_health: StartHealth,
    database: str,
    connection: Session,
    block: Block,
    wait_for_workers: Callable[[int], None],
) -> None:
    """Workers + 1, and 1 more for metrics: the role may have so many, and all of them are in use."""
    role = sql.Identifier("pgbourse_test_limited")
    connection.execute(sql.SQL("drop role if exists {}").format(role))
    query = "create role {} login password 'x' in role exchange_gateway connection limit 4"
    connection.execute(sql.SQL(query).format(role))
    conninfo = make_conninfo(database, user="pgbourse_test_limited", password="x")
    try:
        gateway = start_gateway(conninfo=conninfo, http_port=0, reserve_workers=2, lanes=0)
        health = start_health(gateway, conninfo)
        blocker = block()
        clients = [gateway.connect() for _ in range(2)]
        for count, client in enumerate(clients, 1):
            client.send(CREATE)
            wait_for_workers(count)
        with psycopg.connect(conninfo):  # the sweep's
            for _ in range(5):
                # On a slow machine it names the blocker as well.
                assert health.get("/readyz")[0] == 200
                assert health.metrics()["database_up"] == 1
            with pytest.raises(psycopg.OperationalError, match="too many connections"):
                psycopg.connect(conninfo)
        blocker.rollback()
        # Whichever first found the way free.
        assert sorted(client.reply()[0].tag for client in clients) == ["created", "error"]
    finally:
        connection.execute(sql.SQL("drop role {}").format(role))


def test_a_gateway_that_does_not_fit_the_schema_is_not_ready(health: Health, connection: Session) -> None:
    connection.execute("delete from exchange.applied_files where name = 'place_order'")
    assert health.get("/readyz") == (
        503,
        "the database lacks function place_order as it is here: run `pgbourse migrate` first\n",
    )


def test_files_that_an_upgrade_puts_beside_a_running_gateway_are_not_its_own(
    health: Health, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Path(shutil.copytree(sql_folder(), tmp_path / "sql"))
    (newer / "migrations" / "9999_future.sql").write_text("create table exchange.future ();")
    monkeypatch.setattr(pgbourse.database.migrate, "sql_folder", lambda: newer)
    assert health.get("/readyz") == (200, "ok\n")
    pgbourse.database.migrate.migrate(database)
    status, text = health.get("/readyz")
    assert status == 503
    assert "it has migration 9999_future" in text


def test_a_gateway_that_stops_takes_no_new_clients(
    measured: Gateway, health: Health, block: Block, wait_for_workers: Callable[[int], None]
) -> None:
    blocker = block()
    client = measured.connect()
    client.send(CREATE)
    wait_for_workers(1)
    measured.server.stop()
    assert health.get("/readyz") == (503, "the server is stopping\n")
    assert health.metrics()["draining"] == 1
    assert health.get("/healthz") == (200, "ok\n")
    blocker.rollback()
    assert client.reply()[0].tag == "created"


def test_a_gateway_whose_thread_is_stuck_is_not_alive(
    measured: Gateway, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured.server.stop()
    assert measured.server.join()
    monkeypatch.setattr(pgbourse.serve.health, "STUCK", 0.0)
    assert health.get("/healthz") == (503, "the I/O thread has been stuck for 0 seconds\n")


def test_a_database_that_does_not_answer_holds_nobody_up(
    health: Health, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgbourse.serve.health, "PATIENCE", 0.1)
    with connection.transaction():
        connection.execute("lock table exchange.resting_orders in access exclusive mode")
        assert health.metrics()["database_up"] == 0
    assert health.metrics()["database_up"] == 1


def test_nothing_is_counted_where_nobody_asks(gateway: Gateway) -> None:
    gateway.ask(CREATE)
    assert gateway.server.tallies == []
