"""`pgbourse check`: one line when sound, a line for each violation, one clear line when it can't tell."""

import re

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.cli import cli
from pgbourse.database.integrity import CheckError, check_integrity
from pgbourse.database.migrate import MigrationError


def run_check(database: str) -> Result:
    return CliRunner().invoke(cli, ["check", "--database-url", database], standalone_mode=False)


def test_a_sound_exchange_is_one_line_beside_the_output(
    database: str, connection: psycopg.Connection[TupleRow]
) -> None:
    connection.execute("select exchange.create_account('1', 5), exchange.create_account('2', 0)")
    connection.execute("select exchange.grant_shares('X', '2', 10)")
    connection.execute("select exchange.place_order('1', 'X', 3, 1), exchange.place_order('2', 'X', -2, 1)")
    result = run_check(database)
    assert (result.return_value, result.stdout) == (0, "")
    place = rf"database {connection.info.dbname} (at {connection.info.host}(:[0-9]+)?|on this machine.*)"
    assert re.fullmatch(rf"{place}: 2 orders, 1 fill: sound, [0-9]+\.[0-9] s\n", result.stderr)


def test_each_violation_is_a_line(database: str, connection: psycopg.Connection[TupleRow]) -> None:
    connection.execute("select exchange.create_account('1', 5)")
    connection.execute("update exchange.balances set cash = 6")
    result = run_check(database)
    assert result.return_value == 1
    assert ": 0 orders, 0 fills: NOT SOUND, 2 violations, " in result.stderr
    assert result.stdout.splitlines() == [
        "account_cash_adds_up: account 1: "
        "has 6, what is reserved for its orders included, but deposits and trades make 5",
        "cash_is_conserved: all accounts: 5 deposited, but accounts have, and have reserved for orders, 6",
    ]


def test_a_database_without_an_exchange_is_no_sound_one(empty_database: str) -> None:
    with pytest.raises(CheckError, match="run `pgbourse migrate` first"):
        check_integrity(empty_database)


def test_who_may_not_read_is_told_what_is_missing(
    database: str, connection: psycopg.Connection[TupleRow]
) -> None:
    # A gateway may not read the tables.
    options = "-c role=exchange_gateway"
    with pytest.raises(CheckError, match="grant exchange_reader to"):
        check_integrity(make_conninfo(database, options=options))
    assert check_integrity(make_conninfo(database, options="-c role=exchange_reader")) == []


def test_a_database_out_of_reach_is_an_error(tmp_path: str) -> None:
    with pytest.raises(MigrationError, match="can't reach the database"):
        check_integrity(f"host={tmp_path} dbname=x")
    with pytest.raises(MigrationError, match="can't reach the database"):
        check_integrity("nonsense")
