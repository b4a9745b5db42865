"""plpgsql_check (Debian: postgresql-15-plpgsql-check) finds nothing, where the server has it."""

import psycopg
import pytest

from tests.sql.market import Connection

# It doesn't see that a query locks rows.
MISTAKEN = [
    "exchange.lock_accounts(text[],boolean) line , performance: "
    "routine is marked as VOLATILE, should be STABLE "
]


@pytest.fixture
def checked(connection: Connection) -> Connection:
    try:
        connection.execute("create extension plpgsql_check")
    except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported):
        pytest.skip("the server under test has no plpgsql_check")
    return connection


def test_plpgsql_check_finds_nothing(checked: Connection) -> None:
    findings = checked.execute(
        "select format('%s line %s, %s: %s %s', pg_proc.oid::regprocedure, lineno, level, message, detail) "
        "from pg_proc join pg_language on pg_language.oid = prolang "
        "cross join lateral plpgsql_check_function_tb("
        "    pg_proc.oid, other_warnings => true, extra_warnings => true, performance_warnings => true, "
        "    security_warnings => true, compatibility_warnings => true, fatal_errors => false) "
        "where pronamespace = 'exchange'::regnamespace and lanname = 'plpgsql'"
    ).fetchall()
    assert [finding for (finding,) in findings if finding not in MISTAKEN] == []


def test_plpgsql_check_is_awake(checked: Connection) -> None:
    checked.execute(
        "create function exchange.broken() returns void language plpgsql as "
        "$$ begin perform exchange.nowhere(); end $$"
    )
    count = checked.execute("select count(*) from plpgsql_check_function_tb('exchange.broken()')").fetchone()
    assert count == (1,)
