"""Commands that look: they find a running server by its data folder, make nothing, and say what they saw."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgbourse.database import looking
from pgbourse.database.datafolder import DataFolder
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from tests.integration.client import WireClient
from tests.integration.conftest import StartService
from tests.servers import temporary_folder

Result = subprocess.CompletedProcess[str]

LOOKS = [
    ["check"],
    ["migrate", "--status"],
    ["migrate", "--check"],
    ["migrate", "--dry-run"],
    ["top", "--once", "--seconds", "0.1"],
]
QUIET = ["--log-level", "warning"]


def look(arguments: list[str], data_dir: Path, *, stdout: int = subprocess.PIPE) -> Result:
    command = [sys.executable, "-m", "pgbourse.cli", *arguments, "--data-dir", str(data_dir)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Path]:
    """A data folder with an exchange, whose PostgreSQL doesn't run."""
    with temporary_folder() as folder:
        with EmbeddedPostgres(folder / "exchange") as postgres:
            migrate(postgres.dsn())
            with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
                connection.execute("select exchange.create_account('1', 5)")
        yield folder / "exchange"


def runs(data_dir: Path) -> bool:
    return (data_dir / "data" / "postmaster.pid").exists()


@pytest.mark.parametrize("arguments", [*LOOKS, ["psql"], ["export"], ["reset", "--yes"]], ids=" ".join)
def test_a_mistyped_folder_is_named_and_stays_empty(folder: Path, arguments: list[str]) -> None:
    for place in (folder / "mistyped", folder):
        result = look(arguments, place)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"pgbourse: there is no exchange in {place}: name another with ")
        assert result.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_without_a_folder_the_default_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "default_data_dir", lambda: folder)
    told = f"there is no exchange in {folder}, the default data folder of this user: name another with"
    with pytest.raises(looking.LookError, match=re.escape(told)), looking.looking(None, None, folder):
        pass


def test_a_running_server_is_found_by_its_folder_and_goes_on(
    exchange: Path, start_service: StartService
) -> None:
    service = start_service("--data-dir", str(exchange))
    told: dict[str, str] = {}
    for arguments in LOOKS:
        result = look(arguments, exchange)
        assert result.returncode == 0, result.stderr
        told[" ".join(arguments)] = result.stderr
    place = re.escape(f"the exchange in {exchange}: ")
    for command, found in {
        "check": "0 orders, 0 fills: sound",
        "migrate --status": "([0-9]+) files: \\1 applied",
        "migrate --check": "it is as the files of this version made it",
        "migrate --dry-run": "0 files to apply",
    }.items():
        assert re.fullmatch(rf"{place}{found}, [0-9]+\.[0-9] s\n", told[command]), told[command]
    assert service.process.poll() is None
    with WireClient(service.address) as client:
        assert client.ask(b'<create><account id="2" balance="1"/></create>')[0].tag == "created"
    service.process.terminate()  # its PostgreSQL as well, for the tests after this one
    service.process.wait()


def test_migrate_finds_a_running_server_too_and_it_goes_on(
    exchange: Path, start_service: StartService
) -> None:
    service = start_service("--data-dir", str(exchange))
    with (
        WireClient(service.address) as client,
        psycopg.connect(EmbeddedPostgres(exchange).running_dsn(), autocommit=True) as connection,
    ):
        connection.execute("drop function exchange.tape")
        connection.execute("delete from exchange.applied_files where name = 'tape'")
        result = look(["migrate", *QUIET], exchange)
        assert (result.returncode, result.stdout, result.stderr) == (0, "applied function tape\n", "")
        result = look(["migrate", *QUIET], exchange)
        assert (result.returncode, result.stdout, result.stderr) == (0, "nothing to apply\n", "")
        assert look(["migrate", "--check"], exchange).returncode == 0
        assert client.ask(b'<create><account id="3" balance="1"/></create>')[0].tag == "created"
    service.process.terminate()
    service.process.wait()
    assert look(["migrate", *QUIET], exchange).stdout == "nothing to apply\n"  # and without one that runs
    assert not runs(exchange)


def test_findings_are_1_and_what_can_not_be_told_is_2(exchange: Path) -> None:
    with EmbeddedPostgres(exchange) as postgres:
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute("update exchange.balances set cash = cash + 1 where account_key = 1")
        found = look(["check"], exchange)
        assert found.returncode == 1
        assert [line.split(":")[0] for line in found.stdout.splitlines()] == [
            "account_cash_adds_up",
            "cash_is_conserved",
        ]
        assert found.stderr.startswith(f"the exchange in {exchange}: 0 orders, 0 fills: NOT SOUND, 2 viol")
        if Path("/dev/full").exists():
            full = os.open("/dev/full", os.O_WRONLY)
            unwritten = look(["check"], exchange, stdout=full)
            os.close(full)
            assert unwritten.returncode == 2
            assert unwritten.stderr == "pgbourse: can't write: No space left on device\n"
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute("update exchange.balances set cash = cash - 1 where account_key = 1")
            connection.execute("alter function exchange.check_integrity() rename to check_it")
        untold, different = look(["check"], exchange), look(["migrate", "--check"], exchange)
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute("alter function exchange.check_it() rename to check_integrity")
        assert (untold.returncode, different.returncode) == (2, 1)
        told = f"pgbourse: the exchange in {exchange}: the database has no exchange yet: run `pgbourse mig"
        assert untold.stderr.startswith(told)
        assert different.stderr.startswith(f"the exchange in {exchange}: 2 differences from the files of ")


def test_one_that_does_not_run_runs_for_so_long(exchange: Path) -> None:
    result = look(["check", *QUIET], exchange)
    assert result.returncode == 0
    assert result.stderr.startswith(
        f"the exchange in {exchange}, whose PostgreSQL ran for this alone: 0 orders, 0 fills: sound, "
    )
    assert not runs(exchange)


def test_top_starts_none(exchange: Path) -> None:
    result = look(["top", "--once"], exchange)
    assert (result.returncode, result.stdout) == (2, "")
    told = f"pgbourse: no PostgreSQL runs on the data folder {exchange}: start `pgbourse serve`, or name "
    assert result.stderr.startswith(told)
    assert not runs(exchange)


def test_one_that_refuses_us_is_left_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server") as postgres:
        (folder / "server" / "data" / "pg_hba.conf").write_text("local all all reject\n")
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
            connection.execute(
                "create database pgbourse_unused"
            )  # a round trip after the reload was asked for
        before = (folder / "server" / "data" / "postmaster.pid").read_text()
        result = look(["check"], folder / "server")
        assert result.returncode == 2
        assert "can't reach the PostgreSQL of" in result.stderr
        assert "pg_hba.conf rejects connection" in result.stderr
        assert (folder / "server" / "data" / "postmaster.pid").read_text() == before


def test_who_is_asked_for_a_password_is_told_how_to_give_one(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server") as postgres:
        (folder / "server" / "data" / "pg_hba.conf").write_text(
            "local all postgres trust\nlocal all all scram-sha-256\n"
        )
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute("create role asked login password 'secret'")
            connection.execute("select pg_reload_conf()")
            connection.execute("create database pgbourse_unused")  # a round trip after the reload
        place = conninfo_to_dict(postgres.dsn())
        where = {name: place[name] for name in ("host", "port", "dbname")}
        url = make_conninfo("", **where, user="asked", passfile="/nowhere")
        result = look(["check", "--database-url", url], folder)
        assert result.returncode == 2
        assert "which asks for a password (--database-password-file, or ~/.pgpass)" in result.stderr
        result = look(["check", "--database-url", make_conninfo(url, password="wrong")], folder)
        assert result.returncode == 2
        assert "password authentication failed" in result.stderr
        assert "--database-password-file" not in result.stderr


def test_a_folder_in_use_whose_server_is_away_is_refused(exchange: Path) -> None:
    """As while `serve` starts its PostgreSQL anew."""
    holder = DataFolder(exchange)
    holder.open()
    try:
        result = look(["check", *QUIET], exchange)
    finally:
        holder.close()
    assert result.returncode == 2
    assert result.stderr == (
        f"pgbourse: data folder {exchange} is in use by another pgbourse (pid {os.getpid()})\n"
    )
