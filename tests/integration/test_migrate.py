"""Migrations applied, applied again, drifted and refused."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

import pgbourse.database.migrate
from pgbourse.cli import main
from pgbourse.database.ledger import live_functions, load_files, sql_folder
from pgbourse.database.migrate import (
    MigrationError,
    connect,
    differences,
    migrate,
    pending,
    require_current,
    status,
)

Connection = psycopg.Connection[TupleRow]

ADVISORY_LOCK = (
    0x626F75727365  # "bourse": the same in every version, for two versions must take turns as well
)


@pytest.fixture
def sql_copy(tmp_path: Path) -> Path:
    """A copy of sql/ that a test may change."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "sql"))


def write_function(folder: Path, name: str, body: str = "select 1", rest: str = "") -> None:
    """Write a function file in plain SQL, of no argument, that returns an integer."""
    text = f"create or replace function exchange.{name}() returns integer language sql as $${body}$$;\n{rest}"
    (folder / "functions" / f"{name}.sql").write_text(text)


def states(url: str, folder: Path) -> dict[str, str]:
    return {str(file): file.state for file in status(url, folder)}


def test_everything_is_applied_once(empty_database: str) -> None:
    applied = migrate(empty_database)
    assert sorted(applied) == sorted(str(file) for file in load_files(sql_folder()))
    assert migrate(empty_database) == []
    assert differences(empty_database) == []
    require_current(empty_database)
    assert {file.state for file in status(empty_database)} == {"applied"}


def test_status_and_check_of_an_empty_database_change_nothing(empty_database: str) -> None:
    assert {file.state for file in status(empty_database)} == {"pending"}
    assert differences(empty_database)[0] == "migration 0001_roles_and_schema has not been applied"
    with pytest.raises(MigrationError, match="run `pgbourse migrate` first"):
        require_current(empty_database)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select to_regnamespace('exchange')").fetchone() == (None,)


def test_everything_belongs_to_the_owner(connection: Connection) -> None:
    strangers = connection.execute(
        "select oid::regclass::text from pg_class where relnamespace = 'exchange'::regnamespace "
        "and relowner <> 'exchange_owner'::regrole union all "
        "select oid::regprocedure::text from pg_proc where pronamespace = 'exchange'::regnamespace "
        "and proowner <> 'exchange_owner'::regrole"
    ).fetchall()
    assert strangers == []


def test_a_function_is_applied_again_whenever_its_text_changes(database: str, sql_copy: Path) -> None:
    write_function(sql_copy, "extra", "select 1")
    assert migrate(database, sql_copy) == ["function extra"]
    write_function(sql_copy, "extra", "select 2")
    assert states(database, sql_copy)["function extra"] == "changed"
    assert differences(database, sql_copy) == ["function extra differs from the text that was applied"]
    assert migrate(database, sql_copy) == ["function extra"]
    write_function(sql_copy, "extra", "select 1")  # back to what it once was
    assert migrate(database, sql_copy) == ["function extra"]
    assert differences(database, sql_copy) == []


def test_a_plain_sql_function_may_call_one_that_comes_later(database: str, sql_copy: Path) -> None:
    write_function(sql_copy, "a_caller", "select exchange.b_called()")
    write_function(sql_copy, "b_called")
    assert migrate(database, sql_copy) == ["function b_called", "function a_caller"]
    write_function(sql_copy, "c_caller", "select exchange.nowhere()")
    with pytest.raises(MigrationError, match="function c_caller, line 1"):
        migrate(database, sql_copy)


@pytest.mark.parametrize(
    "by_hand",
    [
        "create or replace function exchange.extra() returns integer language sql as 'select 2'",
        "grant execute on function exchange.extra() to public",
        "comment on function exchange.extra() is 'mine'",
        "alter function exchange.extra() owner to current_user",
        "alter function exchange.extra() security definer",
    ],
)
def test_check_finds_a_function_changed_by_hand(
    database: str, connection: Connection, sql_copy: Path, by_hand: str
) -> None:
    write_function(sql_copy, "extra")
    migrate(database, sql_copy)
    connection.execute(by_hand.encode())
    finding = "function exchange.extra() was changed by hand: it is not what extra.sql made"
    assert differences(database, sql_copy) == [finding]


def test_check_finds_functions_dropped_and_made_by_hand(
    database: str, connection: Connection, sql_copy: Path
) -> None:
    write_function(sql_copy, "extra")
    migrate(database, sql_copy)
    connection.execute("drop function exchange.extra()")
    connection.execute("create function exchange.mine(integer) returns integer language sql as 'select 1'")
    assert differences(database, sql_copy) == [
        "function exchange.extra() is missing: something other than sql/ dropped it",
        "function exchange.mine(integer) was made by no file of sql/",
    ]


def test_a_function_that_a_migration_dropped_with_its_file_is_no_difference(
    database: str, sql_copy: Path
) -> None:
    write_function(sql_copy, "extra")
    migrate(database, sql_copy)
    (sql_copy / "functions" / "extra.sql").unlink()
    assert differences(database, sql_copy) == [
        "function extra was applied, but this version of pgbourse has no such file"
    ]
    (sql_copy / "migrations" / "9999_drop.sql").write_text("drop function exchange.extra();")
    assert migrate(database, sql_copy) == ["migration 9999_drop"]
    assert differences(database, sql_copy) == []


def test_a_migration_may_change_what_a_file_made(database: str, sql_copy: Path) -> None:
    write_function(sql_copy, "extra")
    migrate(database, sql_copy)
    change = "alter function exchange.extra() stable;"
    (sql_copy / "migrations" / "9999_change.sql").write_text(change)
    migrate(database, sql_copy)
    assert differences(database, sql_copy) == []


def test_a_migration_that_was_edited_is_refused(database: str, sql_copy: Path) -> None:
    path = next((sql_copy / "migrations").glob("0001_*.sql"))
    path.write_text(path.read_text() + "\n-- an afterthought\n")
    with pytest.raises(MigrationError, match="0001_roles_and_schema was edited after it was applied"):
        migrate(database, sql_copy)
    assert differences(database, sql_copy) == [
        "migration 0001_roles_and_schema differs from the text that was applied"
    ]


def test_a_database_newer_than_the_files_is_refused(database: str, sql_copy: Path) -> None:
    (sql_copy / "migrations" / "9999_future.sql").write_text("create table exchange.future ();")
    migrate(database, sql_copy)
    for refused in (migrate, require_current):
        with pytest.raises(MigrationError, match=r"newer than this pgbourse .* it has migration 9999_future"):
            refused(database)
    assert differences(database) == [
        "migration 9999_future was applied, but this version of pgbourse has no such file"
    ]


def test_a_database_that_lacks_a_file_is_not_served(database: str, sql_copy: Path) -> None:
    write_function(sql_copy, "extra")
    with pytest.raises(MigrationError, match="lacks function extra as it is here"):
        require_current(database, load_files(sql_copy))


def md5_ledger(connection: Connection) -> None:
    """Make the fingerprints in the ledger those of versions before, which had PostgreSQL take MD5s."""
    live = live_functions(connection)
    rows = connection.execute("select applied_file_id, functions from exchange.applied_files").fetchall()
    for row_id, functions in rows:
        old = {signature: hashlib.md5(live[signature].encode()).hexdigest() for signature in functions}
        connection.execute(
            "update exchange.applied_files set functions = %s::jsonb where applied_file_id = %s",
            [json.dumps(old), row_id],
        )


def forbid_md5(connection: Connection) -> None:
    """Make md5() fail, as it does where OpenSSL allows approved algorithms only (FIPS)."""
    for argument in ("text", "bytea"):
        connection.execute(f"alter function pg_catalog.md5({argument}) rename to md5_gone".encode())


def fingerprint_lengths(connection: Connection) -> set[int]:
    query = "select distinct length(value) from exchange.applied_files cross join jsonb_each_text(functions)"
    return {length for (length,) in connection.execute(query).fetchall()}


def test_everything_can_be_applied_without_md5(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        forbid_md5(connection)
        migrate(empty_database)
        assert differences(empty_database) == []
        assert fingerprint_lengths(connection) == {64}


def test_a_ledger_with_md5s_is_carried_over(database: str, connection: Connection) -> None:
    md5_ledger(connection)
    assert fingerprint_lengths(connection) == {32}
    forbid_md5(connection)
    assert differences(database) == []
    assert migrate(database) == []
    assert fingerprint_lengths(connection) == {64}
    assert differences(database) == []


def test_a_change_by_hand_is_found_also_in_a_ledger_with_md5s(database: str, connection: Connection) -> None:
    md5_ledger(connection)
    connection.execute("alter function exchange.list_applied_files() immutable")
    (finding,) = differences(database)
    assert finding.startswith("function exchange.list_applied_files() was changed by hand")
    migrate(database)
    assert differences(database) == [finding]


def test_a_file_that_fails_leaves_nothing_of_itself(
    database: str, connection: Connection, sql_copy: Path
) -> None:
    (sql_copy / "migrations" / "9998_good.sql").write_text("create table exchange.good ();")
    (sql_copy / "migrations" / "9999_bad.sql").write_text("create table exchange.bad ();\n\nselect nonsense;")
    with pytest.raises(
        MigrationError, match="migration 9999_bad, line 3: nothing of it was applied"
    ) as caught:
        migrate(database, sql_copy)
    assert 'column "nonsense" does not exist' in str(caught.value.__cause__)
    found = connection.execute(
        "select to_regclass('exchange.good') is null, to_regclass('exchange.bad') is null"
    )
    assert found.fetchone() == (False, True)
    assert states(database, sql_copy)["migration 9999_bad"] == "pending"


@pytest.mark.parametrize(
    ("name", "message"),
    [("extra.sql", "begins with four digits"), ("0001_again.sql", "have the same number")],
)
def test_names_of_migrations_are_checked(database: str, sql_copy: Path, name: str, message: str) -> None:
    (sql_copy / "migrations" / name).write_text("select 1;")
    with pytest.raises(MigrationError, match=message):
        migrate(database, sql_copy)


def test_two_runners_take_turns(empty_database: str) -> None:
    """Both wait for a lock that we hold, so that they meet; each file is applied by one of them."""
    applied: list[list[str]] = []
    runners = [threading.Thread(target=lambda: applied.append(migrate(empty_database))) for _ in range(2)]
    with connect(empty_database) as holder:
        holder.execute("select pg_advisory_lock(%s)", [ADVISORY_LOCK])
        for runner in runners:
            runner.start()
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = "
        waiting += "(select oid from pg_database where datname = current_database())"
        while holder.execute(waiting.encode()).fetchone() != (2,):
            pass
    for runner in runners:
        runner.join()
    assert sorted(len(files) for files in applied) == [0, len(load_files(sql_folder()))]
    assert differences(empty_database) == []


def test_the_ledger_keeps_runners_apart_even_without_the_lock(connection: Connection) -> None:
    row = (
        "insert into exchange.applied_files (kind, name, checksum, pgbourse_version) values (%s, %s, '', '')"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(row, ["migration", "0001_roles_and_schema"])


def test_a_gateways_role_may_ask_what_was_applied_and_no_more(
    database: str, connection: Connection, login_role: str
) -> None:
    url = make_conninfo(database, user=login_role, password=login_role)
    connection.execute(sql.SQL("grant exchange_gateway to {}").format(sql.Identifier(login_role)))
    require_current(url)
    for refused in (migrate, differences, status):
        with pytest.raises(MigrationError, match=f"role {login_role} lacks a right that reading the ledger"):
            refused(url)


def test_a_role_without_rights_is_told_so(database: str, empty_database: str, login_role: str) -> None:
    with pytest.raises(
        MigrationError, match=f"role {login_role} lacks a right that migration 0001_roles_and_schema needs"
    ):
        migrate(make_conninfo(empty_database, user=login_role, password=login_role))
    with pytest.raises(MigrationError, match=f"role {login_role} lacks the rights of exchange_gateway"):
        require_current(make_conninfo(database, user=login_role, password=login_role))


@pytest.fixture
def login_role(server: str) -> Iterator[str]:
    """A role that can log in, with its own name as its password, and has no rights."""
    name = "pgbourse_test_login"
    with psycopg.connect(server, autocommit=True) as connection:
        create = sql.SQL("create role {} login password {}")
        connection.execute(create.format(sql.Identifier(name), sql.Literal(name)))
        yield name
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_server_that_is_too_old_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgbourse.database.migrate, "OLDEST_SERVER", 990000)
    with pytest.raises(MigrationError, match=r"the database is PostgreSQL \d+.*: pgbourse needs 15 to 18"):
        migrate(server)


def test_a_database_out_of_reach_is_named(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="can't reach the database"):
        migrate(make_conninfo(host=str(tmp_path), dbname="x"))


def test_pending_is_what_migrate_would_apply(database: str, sql_copy: Path) -> None:
    write_function(sql_copy, "extra")
    (sql_copy / "migrations" / "9999_more.sql").write_text("create table exchange.more ();")
    wanted = ["migration 9999_more", "function extra"]
    assert [str(file) for file in pending(database, sql_copy)] == wanted
    assert migrate(database, sql_copy) == wanted
    assert pending(database, sql_copy) == []


def test_a_dry_run_prints_the_sql_and_changes_nothing(
    empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["migrate", "--dry-run", "--database-url", empty_database])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for file in load_files(sql_folder()):
        assert file.text in printed
    assert {file.state for file in status(empty_database)} == {"pending"}


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_in_another_encoding_is_refused(server: str, encoding: str) -> None:
    name = "pgbourse_test_encoding"
    create = sql.SQL("create database {} template template0 encoding {} locale 'C'")
    drop = sql.SQL("drop database if exists {}").format(sql.Identifier(name))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(create.format(sql.Identifier(name), encoding))
        try:
            for refused in (migrate, require_current):
                with pytest.raises(MigrationError, match=f"encoding of the database is {encoding}: .*UTF8"):
                    refused(make_conninfo(server, dbname=name))
        finally:
            connection.execute(drop)
