"""Disks that are really full: of the tables, and of the log, without which PostgreSQL can't even start."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from pgbourse.database.opsaddress import find_address
from pgbourse.serve import writegate
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Gateway, StartGateway, StartService
from tests.integration.disks import SmallDisk, fill_up
from tests.integration.service import Service
from tests.integration.test_metrics import Health, StartHealth, start_health

__all__ = ["start_health"]  # a fixture

CREATE = b'<create codes="true"><account id="1" balance="1000000"/><symbol sym="X"/></create>'
ORDERS = b'<transactions id="1" codes="true">%b</transactions>' % (
    b'<order sym="X" amount="1" limit="1"/>' * 200
)
QUERY = b'<transactions id="1"><query id="1"/></transactions>'


class Exchange:
    """An embedded PostgreSQL with its tables on one small disk and its log on another."""

    def __init__(self, tables: Path, log: Path) -> None:
        self.tables, self.log = tables, log
        self.postgres = EmbeddedPostgres(tables / "server")
        with self.postgres:
            migrate(self.postgres.dsn())
        wal = tables / "server" / "data" / "pg_wal"
        owner = wal.stat()
        shutil.move(wal, log / "pg_wal")
        wal.symlink_to(log / "pg_wal")
        for path in (log / "pg_wal", *(log / "pg_wal").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)


@pytest.fixture
def exchange(small_disk: SmallDisk) -> Iterator[Exchange]:
    made = Exchange(small_disk("160m"), small_disk("100m"))
    with made.postgres:
        yield made


def order_until_refused(client: WireClient) -> int:
    """Place orders until there is no room; return how many were opened.

    Each is answered, and each answer says whether it happened.
    """
    opened = 0

    def is_refused() -> bool:
        nonlocal opened
        reply = client.ask(ORDERS)
        opened += len([child for child in reply if child.tag == "opened"])
        assert {child.get("code") for child in reply if child.tag == "error"} <= {"no_room"}
        assert {child.text for child in reply if child.tag == "error"} <= {
            "the exchange has no room: this was not carried out"
        }
        return bool(reply[-1].tag == "error")

    wait_until(is_refused, "a table can't grow")
    return opened


def end_the_log(url: str) -> None:
    """Write to the log until PostgreSQL needs room for more of it, has none, and ends."""
    with psycopg.connect(url, autocommit=True) as connection, contextlib.suppress(psycopg.OperationalError):
        for _ in range(100):
            connection.execute("select pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()")
    assert connection.broken


def opened(gateway: Gateway) -> bool:
    reply = gateway.ask(CREATE)
    return reply[0].tag == "created" or bool(reply[0].get("code") == "account_exists")


@pytest.mark.parametrize("lanes", [0, 2])
def test_a_table_that_can_not_grow(
    exchange: Exchange,
    start_gateway: StartGateway,
    start_health: StartHealth,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    lanes: int,
) -> None:
    gateway = start_gateway(exchange.postgres.dsn(), lanes=lanes, http_port=0)
    health = start_health(gateway, exchange.postgres.dsn())
    client = gateway.connect()
    client.ask(CREATE)
    client.ask(ORDERS)
    filler = fill_up(exchange.tables)
    if lanes:
        client.send(*[ORDERS] * 200, QUERY)  # some are reserved for and wait for room
        wait_until(lambda: gateway.server.status().has_no_room, "a table can't grow")
    else:
        order_until_refused(client)
    assert health.get("/readyz") == (503, "the database has no room: its disk is full\n")
    assert gateway.ask(QUERY)[0].tag == "status"
    (line,) = [message for message in caplog.messages if message.startswith("the database has no room")]
    assert "No space left on device" in line
    assert "internal error" not in caplog.text
    filler.unlink()
    if lanes:
        for _ in range(200):
            assert {child.get("code", "no_room") for child in client.reply()} == {"no_room"}
        assert client.reply()[0].tag == "status"
    monkeypatch.setattr(writegate, "FULL", 0.0)
    wait_until(lambda: health.get("/readyz") == (200, "ok\n"), "it is ready again")
    assert gateway.ask(ORDERS)[-1].tag == "opened"
    with psycopg.connect(exchange.postgres.dsn()) as connection:
        assert connection.execute("select * from exchange.check_integrity()").fetchall() == []


def is_unavailable(service: Service) -> bool:
    """Place orders; return whether they are refused because PostgreSQL doesn't run."""
    with WireClient(service.address) as client:
        client.send(ORDERS)
        try:
            reply = client.reply()
        except (AssertionError, ConnectionResetError):  # closed: nobody knows
            return False
        return bool(reply[0].get("code") == "unavailable")


def test_tables_log_and_data_folder_on_one_disk(small_disk: SmallDisk, start_service: StartService) -> None:
    """The server with its own PostgreSQL: nothing that was answered is lost, and it goes on by itself."""
    disk = small_disk("160m")
    folder = disk / "server"
    service = start_service("--data-dir", str(folder), "--http-port", "0", "--away-timeout", "1")
    url = urlsplit(find_address(folder) or "")
    health = Health((str(url.hostname), url.port or 0))
    told = re.compile("can't reach the database: PostgreSQL ended with .*: No space left on device\n")
    try:
        with WireClient(service.address) as client:
            client.ask(CREATE)
            assert len(client.ask(ORDERS)) == 200
            filler = fill_up(disk)
            answered = 200 + order_until_refused(client)
            assert client.ask(QUERY)[0].tag == "status"
        assert health.get("/readyz") == (503, "the database has no room: its disk is full\n")
        end_the_log(EmbeddedPostgres(folder).running_dsn())
        wait_until(lambda: is_unavailable(service), "PostgreSQL can't start any more")
        wait_until(lambda: told.fullmatch(health.get("/readyz")[1]), "it says why it isn't ready")
        filler.unlink()
        wait_until(lambda: health.get("/readyz") == (200, "ok\n"), "it is ready again")
        with WireClient(service.address) as client:
            answered += len(client.ask(ORDERS))
        with psycopg.connect(EmbeddedPostgres(folder).running_dsn()) as connection:
            (count,) = connection.execute("select count(*) from exchange.orders").fetchall()[0]
            assert count >= answered
            assert connection.execute("select * from exchange.check_integrity()").fetchall() == []
    finally:
        service.process.terminate()  # and its PostgreSQL, without which the disk can't go
        status, log = service.end()
    assert status == 0
    lines = log.splitlines()
    assert len([line for line in lines if "the database is away" in line]) <= 6  # not one for each worker
    assert len([line for line in lines if "the database has been away for 1 s" in line]) == 1
    assert len([line for line in lines if "the database is back" in line]) == 1
    ends = [line for line in lines if line.endswith("No space left on device; starting it again")]
    # One for each reason: the same is told once, though it is tried again within seconds.
    assert 0 < len(ends) == len({re.sub("[0-9]+", "", line.partition("PostgreSQL ")[2]) for line in ends})
    no_room = [line for line in lines if "the database has no room" in line]
    assert all(line.endswith("No space left on device") for line in no_room)  # nothing of the statement
    assert "internal error" not in log
    assert "Traceback" not in log


def test_no_room_for_the_log(
    exchange: Exchange, start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL panics, and can't start: what was under way has no answer, what comes then is refused."""
    caplog.set_level(logging.INFO)
    gateway = start_gateway(exchange.postgres.dsn(), lanes=2, away_timeout=1.0)
    client = gateway.connect()
    client.ask(CREATE)
    answered = len(client.ask(ORDERS))
    filler = fill_up(exchange.log)
    log = exchange.tables / "server" / "postgresql.log"

    def panics() -> bool:
        nonlocal answered
        with gateway.connect() as trader:
            trader.send(ORDERS)
            try:
                reply = trader.reply()
            except (AssertionError, ConnectionResetError):  # closed: nobody knows
                return "PANIC" in log.read_text()
            answered += len([child for child in reply if child.tag == "opened"])
            return reply[0].get("code") == "unavailable"

    wait_until(panics, "PostgreSQL has panicked")
    refused = gateway.ask(b'<create codes="true"><account id="2" balance="1"/></create>')
    assert refused[0].get("code") == "unavailable"
    assert refused[0].text == "the exchange can't reach its database: this was not carried out"
    assert "PANIC" in log.read_text()
    told = [text for text in caplog.messages if text.endswith("No space left on device; starting it again")]
    assert told
    filler.unlink()
    wait_until(lambda: opened(gateway), "PostgreSQL has started again")
    with psycopg.connect(exchange.postgres.dsn()) as connection:
        (count,) = connection.execute("select count(*) from exchange.orders").fetchall()[0]
        assert count >= answered
        assert connection.execute("select count(*) from exchange.accounts").fetchone() == (1,)
        assert connection.execute("select * from exchange.check_integrity()").fetchall() == []
    assert "internal error" not in caplog.text
