"""`pgbourse check`: silent when sound, a line for each violation, one clear line when it can't tell."""

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


def test_a_sound_exchange_is_silent(database: str, connection: psycopg.Connection[TupleRow]) -> None:
    connection.execute("select exchange.create_account('1', 5)")
    result = run_check(database)
    assert (result.return_value, result.output) == (0, "")


def test_each_violation_is_a_line(database: str, connection: psycopg.Connection[TupleRow]) -> None:
    connection.execute("select exchange.create_account('1', 5)")
    connection.execute("update exchange.balances set cash = 6")
    result = run_check(database)
    assert result.return_value == 1
    assert result.output.splitlines() == [
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
