"""`pgbourse reset`, in a process of its own, while a gateway serves."""

import os
import pty
import subprocess
import sys

from psycopg.conninfo import make_conninfo

from pgbourse.client import Client
from tests.integration.conftest import Gateway, Session, StartGateway


def reset(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgbourse.cli", "reset", "--database-url", url, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def trade(gateway: Gateway) -> None:
    with Client(*gateway.address) as client:
        client.create_account("1", 100)
        client.create_symbol("X")
        assert client.place_order("1", "X", 1, 2).order_id == 1


def test_an_exchange_is_emptied_while_it_serves(start_gateway: StartGateway, database: str) -> None:
    gateway = start_gateway()
    trade(gateway)
    done = reset(database, "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert ": emptied; it had 1 account and 1 order, " in done.stderr
    trade(gateway)


def test_nothing_is_deleted_unasked(start_gateway: StartGateway, database: str, connection: Session) -> None:
    trade(start_gateway())
    done = reset(database)
    assert done.returncode == 2
    assert "has 1 account and 1 order: --yes deletes them without asking" in done.stderr
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (1,)


def test_who_says_no_is_told_that_nothing_was_deleted(
    start_gateway: StartGateway, database: str, connection: Session
) -> None:
    trade(start_gateway())
    terminal, inside = pty.openpty()
    os.write(terminal, b"n\n")
    command = [sys.executable, "-m", "pgbourse.cli", "reset", "--database-url", database]
    done = subprocess.run(command, stdin=inside, capture_output=True, text=True, check=False)
    os.close(inside)
    os.close(terminal)
    assert done.returncode == 2
    assert ": delete 1 account and 1 order, and all else in it? [y/N]: " in done.stderr
    assert done.stderr.splitlines()[-1].endswith(": nothing was deleted")
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (1,)


def test_a_role_that_may_not_is_told_so(database: str, connection: Session) -> None:
    connection.execute("create role looker login password 'x' in role exchange_reader")
    try:
        done = reset(make_conninfo(database, user="looker", password="x"), "--yes")
    finally:
        connection.execute("drop role looker")
    assert done.returncode == 2
    assert "this role may not empty it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_database_without_an_exchange_is_told(empty_database: str) -> None:
    done = reset(empty_database, "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no exchange in it" in done.stderr
