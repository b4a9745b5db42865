"""A database that stays away: requests wait, but not for ever, and nobody is told what isn't certain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgbourse.client.ping import PingError, ping
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from tests.integration.client import wait_until
from tests.integration.conftest import StartGateway

CREATE = b'<create codes="true"><account id="2" balance="9"/><symbol sym="Y"/></create>'
QUERY = b'<transactions id="1" codes="true"><query id="1"/></transactions>'
ORDER = b'<transactions id="1" codes="true"><order sym="X" amount="1" limit="3"/></transactions>'
ORDERS = b'<transactions id="1" codes="true">%b</transactions>' % (
    b'<order sym="X" amount="1" limit="3"/>' * 20
)
NOT_DONE = "the exchange can't reach its database: this was not carried out"


@pytest.fixture
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own, with an account and a symbol, which the test may stop and start."""
    server = EmbeddedPostgres(folder / "server")
    with server:
        migrate(server.dsn())
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("select exchange.create_account('1', 100), exchange.create_symbol('X')")
        yield server


def codes(reply: Any) -> list[str]:
    for error in reply:
        assert error.text == NOT_DONE
    return [error.get("code") for error in reply]


@pytest.mark.parametrize("lanes", [0, 2])
def test_what_waits_for_too_long_is_answered_and_was_not_carried_out(
    start_gateway: StartGateway, postgres: EmbeddedPostgres, lanes: int, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = start_gateway(postgres.dsn(), lanes=lanes, away_timeout=0.5)
    client = gateway.connect()
    assert client.ask(ORDER)[0].get("id") == "1"
    postgres.stop()
    client.send(CREATE, ORDERS, QUERY)
    assert codes(client.reply()) == ["unavailable", "unavailable"]
    assert codes(client.reply()) == ["unavailable"] * 20
    assert codes(client.reply()) == ["unavailable"]
    with pytest.raises(PingError, match=r"can't trade: .*can't reach its database"):
        ping(*gateway.address, timeout=30)
    refused = [text for text in caplog.messages if text.startswith("the database has been away for 0.5 s")]
    assert refused
    postgres.start()
    wait_until(lambda: client.ask(ORDER)[0].get("id") == "2", "the database is back for all workers")
    assert [child.tag for child in client.ask(CREATE)] == ["created", "created"]
    assert "fate of their requests unknown" not in caplog.text
    with psycopg.connect(postgres.dsn()) as connection:
        assert connection.execute("select count(*) from exchange.orders").fetchone() == (2,)
        assert connection.execute("select * from exchange.check_integrity()").fetchall() == []


def test_an_order_between_the_stages_gets_no_answer(
    start_gateway: StartGateway, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """It may still be matched, for all that its lane knows: nobody may say that it was not carried out."""
    gateway = start_gateway(postgres.dsn(), lanes=2, away_timeout=0.5)
    reserved = "select count(*) from exchange.incoming_orders"
    client = gateway.connect()
    with psycopg.connect(postgres.dsn(), autocommit=True) as holder:
        holder.execute("begin")
        slots = "array(select exchange.symbol_slot(symbol_key) from exchange.symbols)"
        holder.execute(f"select exchange.lock_symbols({slots})".encode())
        client.send(ORDERS, QUERY)
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            wait_until(lambda: connection.execute(reserved).fetchone() == (20,), "all are reserved for")
        holder.close()
        postgres.stop()
    assert client.is_closed()
    assert "closing 1 clients, fate of their requests unknown" in caplog.text
    postgres.start()
    assert gateway.ask(ORDER)[0].tag in ("opened", "error")  # for a moment it may be refused
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        wait_until(lambda: connection.execute(reserved).fetchone() == (0,), "what was reserved is given back")
        assert connection.execute("select * from exchange.check_integrity()").fetchall() == []


def test_a_failover_that_is_shorter_costs_nobody_an_answer(
    start_gateway: StartGateway, postgres: EmbeddedPostgres
) -> None:
    gateway = start_gateway(postgres.dsn(), lanes=0, away_timeout=60.0)
    client = gateway.connect()
    assert client.ask(ORDER)[0].get("id") == "1"
    postgres.stop()
    client.send(ORDER)
    wait_until(lambda: gateway.server.status().oldest_call_seconds > 0.1, "the worker waits")
    postgres.start()
    assert client.reply()[0].get("id") == "2"
