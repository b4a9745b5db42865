"""`pgbourse ping`: it succeeds when the database has answered, and only then."""

import contextlib
import socket

import pytest
from click.testing import CliRunner

from pgbourse.cli import cli
from pgbourse.client.ping import PingError, ping
from tests.integration.client import server_that
from tests.integration.conftest import Gateway, Session, StartGateway


@pytest.mark.parametrize("reply_framing", ["plain", "length", "mirror"])
def test_a_server_that_can_trade_answers(
    start_gateway: StartGateway, connection: Session, reply_framing: str
) -> None:
    gateway = start_gateway(reply_framing=reply_framing)
    assert 0 < ping(*gateway.address, timeout=30) < 30
    for table in ("accounts", "orders", "symbols"):
        assert connection.execute(f"select from exchange.{table}").fetchone() is None


def test_the_command_tells_how_long_it_took(gateway: Gateway) -> None:
    host, port = gateway.address
    result = CliRunner().invoke(cli, ["ping", "--host", host, "--port", str(port)], standalone_mode=False)
    assert result.output.startswith(f"{host}:{port} answered in ")
    assert result.output.endswith(" ms\n")


def test_a_server_whose_database_does_not_answer_fails(gateway: Gateway, connection: Session) -> None:
    with connection.transaction():
        connection.execute("lock table exchange.orders in access exclusive mode")
        with pytest.raises(PingError, match=r"gave no answer within 0\.2 seconds"):
            ping(*gateway.address, timeout=0.2)


def test_a_server_with_an_internal_error_fails(gateway: Gateway, connection: Session) -> None:
    connection.execute("drop function exchange.query_orders")
    with pytest.raises(PingError, match=r"can't trade: .*internal error"):
        ping(*gateway.address, timeout=30)


def test_no_server_is_an_error() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(PingError, match=f"can't reach a server at 127.0.0.1:{port}"):
        ping("127.0.0.1", port, timeout=30)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closed the connection"),
        (b"<results>", "closed the connection"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "answers is no reply"),
        (b"<results><error>down</error></results>\n", "can't trade: <results><error>down"),
        (b'<results><created id="0"/></results>\n', "can't trade"),
    ],
)
def test_something_else_that_listens_is_no_server(answer: bytes, message: str) -> None:
    with (
        server_that(lambda client: client.sendall(answer)) as address,
        pytest.raises(PingError, match=message),
    ):
        ping(*address, timeout=30)
