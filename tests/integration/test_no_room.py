"""A database whose disk is full: what writes is refused, with a code, and what reads is answered."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from pgbourse.serve import writegate
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.test_metrics import CREATE, StartHealth, start_health

__all__ = ["start_health"]  # a fixture

ORDER = b'<transactions id="1" codes="true"><order sym="X" amount="1" limit="3"/></transactions>'
QUERY = b'<transactions id="1"><query id="1"/></transactions>'
FULL = "raise exception 'could not extend file: no space left on device' using errcode = 'disk_full';"


@pytest.fixture
def fill(connection: Session) -> Callable[[str], None]:
    """Let whatever writes to a table find the disk full."""
    create = "create function full_disk() returns trigger language plpgsql as"
    connection.execute(f"{create} $$ begin {FULL} end $$".encode())

    def run(table: str) -> None:
        when = f"before insert on exchange.{table}"
        connection.execute(f"create trigger full_disk {when} execute function full_disk()".encode())

    return run


def empty(connection: Session) -> None:
    connection.execute("drop function full_disk() cascade")


def is_refused(reply: Any) -> bool:
    (error,) = reply
    assert error.text == "the exchange has no room: this was not carried out"
    return bool(error.get("code") == "no_room")


@pytest.mark.parametrize("lanes", [0, 2])
def test_what_writes_is_refused_and_what_reads_is_answered(
    start_gateway: StartGateway,
    start_health: StartHealth,
    database: str,
    connection: Session,
    fill: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    lanes: int,
) -> None:
    gateway = start_gateway(lanes=lanes, http_port=0)
    health = start_health(gateway, database)
    gateway.ask(CREATE)
    assert gateway.ask(ORDER)[0].get("id") == "1"
    fill("orders")
    fill("incoming_orders")
    clients = [gateway.connect() for _ in range(30)]
    for client in clients:
        client.send(ORDER, QUERY)
    for client in clients:
        assert is_refused(client.reply())
        assert client.reply()[0].tag == "status"
    assert health.get("/readyz") == (503, "the database has no room: its disk is full\n")
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("the database has no room, what writes fails: could not extend file")
    empty(connection)
    assert gateway.ask(ORDER)[0].tag == "opened"
    monkeypatch.setattr(writegate, "FULL", 0.0)
    wait_until(lambda: health.get("/readyz") == (200, "ok\n"), "it is ready again")


def test_an_order_that_is_reserved_for_waits_for_room(
    start_gateway: StartGateway, connection: Session, fill: Callable[[str], None]
) -> None:
    gateway = start_gateway(lanes=2)
    gateway.ask(CREATE)
    fill("orders")
    client = gateway.connect()
    orders = b'<order sym="X" amount="1" limit="1"/>' * 20
    client.send(b'<transactions id="1">%b</transactions>' % orders)
    wait_until(lambda: gateway.server.status().has_no_room, "the lane has found out")
    incoming = "select count(*) from exchange.incoming_orders"
    assert connection.execute(incoming).fetchone() == (20,)
    empty(connection)
    assert [child.tag for child in client.reply()] == ["opened"] * 20
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (20,)


def each_child_has_its_result(gateway: Gateway, fill: Callable[[str], None]) -> None:
    gateway.ask(CREATE)
    fill("orders")
    fill("incoming_orders")
    order = '<order sym="X" amount="{}" limit="3"/>'
    children = [order.format(1), order.format("x"), "<account/>", '<order sym="?"/>', *[order.format(2)] * 2]
    written = f'<transactions id="1" codes="true">{"".join(children)}</transactions>'
    assert [child.get("code", child.tag) for child in gateway.ask(written.encode())] == [
        "no_room",
        "invalid_amount",
        "account",
        "invalid_symbol",
        "no_room",
        "no_room",
    ]


@pytest.mark.parametrize("lanes", [0, 2])
def test_each_child_has_its_result(
    start_gateway: StartGateway, fill: Callable[[str], None], lanes: int
) -> None:
    each_child_has_its_result(start_gateway(lanes=lanes), fill)
