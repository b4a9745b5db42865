"""The exchange of our pytest plugin fails as it is told, and its engine stays the real one."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgbourse.client import Client, ClientError, ConnectionLost, Created, Opened, Order, transactions_document
from pgbourse.testing import Exchange, ExchangeError, open_exchange
from tests.integration.client import wait_until

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.xdist_group("pytest plugin that fails")

ORDER = transactions_document("1", Order("X", 1, 2))


@pytest.fixture(scope="module")
def embedded() -> Iterator[Exchange]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGBOURSE_TEST_EXCHANGE", "embedded")
        with open_exchange() as exchange:
            yield exchange


@pytest.fixture
def exchange(embedded: Exchange) -> Exchange:
    """An exchange with an account that can buy."""
    embedded.reset()
    embedded.client.create_account("1", 1000)
    embedded.client.create_symbol("X")
    assert "ref" in embedded.client.server().features  # asked for once, so that no later reply is that one
    return embedded


def orders_of(exchange: Exchange) -> int:
    assert exchange.database_url is not None
    with psycopg.connect(exchange.database_url) as connection:
        row = connection.execute("select count(*) from exchange.orders").fetchone()
    assert row is not None
    return int(row[0])


def lose(client: Client) -> None:
    with pytest.raises(ConnectionLost):
        client.place_order("1", "X", 1, 2)


def test_a_cut_in_place_of_the_reply_leaves_an_order_unknown_to_the_client(exchange: Exchange) -> None:
    exchange.cut("reply")
    lose(exchange.client)
    assert orders_of(exchange) == 1
    again = exchange.connect()
    assert again.place_order("1", "X", 1, 2).order_id == 2, "only the next reply was lost"


def test_a_cut_before_the_request_leaves_nothing(exchange: Exchange) -> None:
    exchange.cut("request")
    lose(exchange.client)
    assert orders_of(exchange) == 0
    assert exchange.connect().place_order("1", "X", 1, 2).order_id == 1


def test_a_cut_now_ends_every_connection(exchange: Exchange) -> None:
    others = [exchange.connect() for _ in range(3)]
    for client in others:
        client.look_account("1")  # the connection has come about
    exchange.cut()
    for client in (exchange.client, *others):
        lose(client)
    assert exchange.connect().place_order("1", "X", 1, 2).order_id >= 1


def test_a_ref_makes_an_order_in_doubt_safe_to_send_again(exchange: Exchange) -> None:
    exchange.cut("reply")
    client = exchange.client
    with pytest.raises(ConnectionLost):
        client.transact("1", Order("X", 3, 2, ref="mine"))
    (result,) = exchange.connect().transact("1", Order("X", 3, 2, ref="mine"))
    assert isinstance(result, Opened)
    assert result.order_id == 1
    assert orders_of(exchange) == 1


def test_replies_are_late_and_in_order(exchange: Exchange) -> None:
    client = exchange.client
    exchange.delay(0.3)
    began = time.monotonic()
    for _ in range(5):
        client.send(ORDER)
    first = client.receive_raw()
    assert time.monotonic() - began >= 0.3
    assert b'id="1"' in first
    for number in range(2, 6):
        assert f'id="{number}"'.encode() in client.receive_raw()
    exchange.delay(0)
    client.place_order("1", "X", 1, 2)


def test_a_late_reply_runs_into_a_time_limit(exchange: Exchange) -> None:
    exchange.delay(30)
    client = exchange.connect(timeout=0.2)
    with pytest.raises(ClientError, match=r"no reply within 0\.2 seconds"):
        client.place_order("1", "X", 1, 2)
    exchange.reset()
    assert exchange.client.create_account("1", 1) == Created(account_id="1"), "a new test has no delay"


def test_a_killed_database_comes_back_with_what_was_acknowledged(exchange: Exchange) -> None:
    client = exchange.client
    placed = [client.place_order("1", "X", 1, 2).order_id for _ in range(20)]
    exchange.kill_database()

    def is_back() -> bool:
        # A call that the gateway had sent before it noticed has no certain fate: that client is cut off.
        with contextlib.suppress(ConnectionLost):
            return exchange.connect().query_order("1", placed[-1]).open_shares == Decimal(1)
        return False

    wait_until(is_back, "the last order is told by the database that has recovered")
    assert orders_of(exchange) == 20


@pytest.mark.parametrize("kill", [False, True])
def test_after_a_restart_it_has_the_same_address_and_data(exchange: Exchange, kill: bool) -> None:
    address = exchange.address
    order_id = exchange.client.place_order("1", "X", 1, 2).order_id
    exchange.restart(kill=kill)
    assert exchange.address == address
    lose(exchange.client)
    assert exchange.connect().query_order("1", order_id).open_shares == Decimal(1)
    exchange.reset()
    assert orders_of(exchange) == 0


def test_the_example_in_the_document_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    (test,) = re.findall(r"^```python\n# test_lost_replies\.py\n(.*?)^```$", text, re.M | re.S)
    pytester.makepyfile(test_lost_replies=test)
    monkeypatch.setenv("PGBOURSE_TEST_EXCHANGE", "embedded")
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


def test_a_database_of_others_is_not_killed(pgbourse: Exchange) -> None:
    with pytest.raises(ExchangeError, match="only that of an embedded exchange"):
        pgbourse.kill_database()


def test_two_sessions_of_tests_do_not_share_a_database(database: str) -> None:
    with open_exchange(database):
        message = r"other tests use the database pgbourse_test_\w+ at this moment"
        with pytest.raises(ExchangeError, match=message), open_exchange(database):
            pass
    with open_exchange(database) as exchange:
        exchange.reset()


def test_each_worker_has_a_database_of_its_own(database: str) -> None:
    with psycopg.connect(database) as connection:
        name = connection.info.dbname
    with open_exchange(database, worker="gw7") as one, open_exchange(database, worker="gw8") as other:
        one.client.create_account("1", 1)
        other.reset()
        for exchange, suffix in ((one, "gw7"), (other, "gw8")):
            assert exchange.database_url is not None
            with psycopg.connect(exchange.database_url) as connection:
                assert connection.info.dbname == f"{name}_{suffix}"
        assert one.client.look_account("1").cash == Decimal(1), "the other's reset is not its own"
    with psycopg.connect(database, autocommit=True) as connection:
        for suffix in ("gw7", "gw8"):
            connection.execute(f"drop database {name}_{suffix} with (force)")


def test_a_role_that_may_not_create_the_workers_database_is_told_so(database: str, server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("create role tester login password 'x'")
    try:
        with psycopg.connect(database) as connection:
            url = make_conninfo(database, user="tester", password="x")
            expected = f"each worker of pytest-xdist needs a database: create {connection.info.dbname}_gw1"
        with pytest.raises(ExchangeError, match=expected), open_exchange(url, worker="gw1"):
            pass
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("drop role tester")


def test_much_is_truncated_and_little_is_deleted(exchange: Exchange) -> None:
    """A reset leaves neither rows nor a table that grows with each test."""
    assert exchange.database_url is not None
    with psycopg.connect(exchange.database_url, autocommit=True) as connection:
        client = exchange.client
        client.transact("1", *[Order("X", 1, Decimal("0.01")) for _ in range(5000)])
        before = size_of(connection, "orders_1")
        exchange.reset()
        assert size_of(connection, "orders_1") == 0 < before
        for _ in range(40):
            exchange.client.create_account("1", 1)
            exchange.reset()
        assert size_of(connection, "accounts") < 256 * 1024 + 8192


def size_of(connection: "psycopg.Connection[tuple[object, ...]]", table: str) -> int:
    row = connection.execute(f"select pg_relation_size('exchange.{table}')").fetchone()
    assert row is not None
    return int(str(row[0]))


WITHOUT_UNIX = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "pwd", "grp", "resource", "termios"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
for name in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules.pop(name, None)
import pgbourse.client
import pgbourse.client.send
import pgbourse.testing
pgbourse.testing.open_exchange
import pgbourse.cli
"""


def test_where_there_is_no_unix_the_client_and_the_fixture_can_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_UNIX], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
