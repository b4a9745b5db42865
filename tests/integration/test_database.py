"""The connection to the database: its session, and what is certain when a statement fails."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgbourse.serve.calls import Caller, CallFailed, ConnectionGone, FateUnknown, ReadOnly
from tests.integration.conftest import Session

EMPTY = b"{}"
CREATION = b'{"(1,create_account,1,,5,,,,)"}'
QUERY = b'{"(1,query_order,1,,,,7,,)"}'


@pytest.fixture
def worker(database: str) -> Iterator[Caller]:
    with closing(Caller(database, "pgbourse test")) as worker:
        yield worker


def set_for_database(connection: Session, setting: str) -> None:
    connection.execute(f"alter database {connection.info.dbname} {setting}".encode())


def ask(worker: Caller, query: str) -> object:
    assert worker.connection is not None
    row = worker.connection.execute(query.encode()).fetchone()
    return row and row[0]


def test_the_session_has_the_gateways_rights_and_no_more(worker: Caller) -> None:
    worker.connect()
    assert ask(worker, "select current_user") == "exchange_gateway"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(worker, "select count(*) from exchange.accounts")


def test_no_time_out_and_no_weaker_commit_can_be_set_for_a_database(
    worker: Caller, connection: Session
) -> None:
    for setting in ("statement_timeout = 1000", "lock_timeout = 1000", "synchronous_commit = off"):
        set_for_database(connection, f"set {setting}")
    worker.connect()
    assert [ask(worker, f"show {name}") for name in ("statement_timeout", "lock_timeout")] == ["0", "0"]
    assert ask(worker, "execute barrier") == "on"


def test_a_stronger_commit_stays(worker: Caller, connection: Session) -> None:
    connection.execute(
        f"alter database {connection.info.dbname} set synchronous_commit = remote_apply".encode()
    )
    worker.connect()
    assert ask(worker, "execute barrier") == "remote_apply"


def test_a_call_commits_without_waiting_and_its_barrier_waits(worker: Caller) -> None:
    worker.connect()
    assert ask(worker, "show synchronous_commit") == "off"
    worker.process_batch(CREATION)
    assert ask(worker, "select pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()") is True


def test_a_barrier_that_fails_leaves_the_fate_of_its_call_unknown(worker: Caller) -> None:
    worker.connect()
    assert worker.connection is not None
    worker.connection.execute("deallocate barrier")
    with pytest.raises(FateUnknown, match="the barrier failed"):
        worker.process_batch(CREATION)
    worker.connect()
    assert worker.process_batch(CREATION)[0].code == "account_exists"


def test_batches_read_committed_whatever_is_set(worker: Caller, connection: Session) -> None:
    set_for_database(connection, "set default_transaction_isolation = serializable")
    worker.connect()
    assert worker.process_batch(EMPTY) == []


def test_numbers_come_as_text(worker: Caller) -> None:
    worker.connect()
    orders = b'"(1,place_order,1,X,1,1,,,)","(1,place_order,1,X,1,1,,,)"'
    rows = worker.process_batch(b'{"(1,create_account,1,,0.1,,,,)",%b}' % orders)
    assert [row[:3] for row in rows] == [(1, "created", None), (2, "refused", None), (3, "refused", None)]
    assert ask(worker, "select 0.10::numeric") == "0.10"


def test_a_failed_statement_leaves_the_connection_usable(worker: Caller) -> None:
    worker.connect()
    with pytest.raises(CallFailed) as failure:
        worker.process_batch(b'{"(1,create_account,1,,not a number,,,,)"}')
    assert failure.value.sqlstate == "22P02"
    assert worker.process_batch(EMPTY) == []


def test_a_session_that_takes_no_writes_says_so_and_goes_on_reading(
    worker: Caller, connection: Session
) -> None:
    set_for_database(connection, "set default_transaction_read_only = on")
    worker.connect()
    assert worker.is_read_only
    with pytest.raises(ReadOnly, match="read-only transaction"):
        worker.process_batch(CREATION)
    assert worker.process_batch(QUERY)[0].code == "unknown_order"
    set_for_database(connection, "reset default_transaction_read_only")
    worker.disconnect()
    worker.connect()
    assert not worker.is_read_only
    assert worker.process_batch(CREATION)[0].outcome == "created"


def test_what_is_not_connected_says_so(worker: Caller) -> None:
    with pytest.raises(ConnectionGone, match="not connected"):
        worker.process_batch(EMPTY)


def test_a_failure_to_connect_names_no_password(database: str) -> None:
    with pytest.raises(ConnectionGone) as failure:
        Caller(
            make_conninfo(database, dbname="no_such_database", password="secret"), "pgbourse test"
        ).connect()
    assert str(failure.value).startswith("connection failed")
    assert "secret" not in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_role_without_rights_cannot_connect(database: str, connection: Session) -> None:
    role = sql.Identifier("pgbourse_test_stranger")
    connection.execute(sql.SQL("drop role if exists {}").format(role))
    connection.execute(sql.SQL("create role {} login password 'stranger'").format(role))
    try:
        conninfo = make_conninfo(database, user="pgbourse_test_stranger", password="stranger")
        with pytest.raises(ConnectionGone, match="permission denied to set role"):
            Caller(conninfo, "pgbourse test").connect()
    finally:
        connection.execute(sql.SQL("drop role {}").format(role))
