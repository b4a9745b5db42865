"""Commands and fixture in an environment full of settings that are meant for somebody else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgbourse.client import Client
from pgbourse.database.conninfo import connect
from pgbourse.database.embedded import EmbeddedError, EmbeddedPostgres
from pgbourse.testing import ExchangeError, open_exchange

# Each of these sends libpq elsewhere, makes it fail, or changes what a session's statements mean.
HOSTILE = {
    "PGAPPNAME": "pgbourse worker 1",
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGCONNECT_TIMEOUT": "never",
    "PGDATABASE": "elsewhere",
    "PGDATESTYLE": "nonsense",
    "PGGEQO": "nonsense",
    "PGGSSENCMODE": "require",
    "PGHOST": "elsewhere.example",
    "PGHOSTADDR": "127.0.0.1",
    "PGKRBSRVNAME": "elsewhere",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGMINPROTOCOLVERSION": "latest",
    "PGOPTIONS": "-c search_path=nowhere -c default_transaction_read_only=on",
    "PGPASSFILE": "/nowhere",
    "PGPASSWORD": "nonsense",
    "PGPORT": "1",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "nobody",
    "PGREQUIRESSL": "1",
    "PGSERVICE": "elsewhere",
    "PGSERVICEFILE": "/nowhere",
    "PGSSLCERT": "/nowhere",
    "PGSSLCERTMODE": "require",
    "PGSSLKEY": "/nowhere",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLROOTCERT": "/nowhere",
    "PGSYSCONFDIR": "/nowhere",
    "PGTARGETSESSIONATTRS": "standby",
    "PGTZ": "nonsense",
    "PGUSER": "nobody",
}
# Who connects to a database that is named, and with which proof, may be said by these.
CREDENTIALS = {
    "PGCHANNELBINDING",
    "PGGSSENCMODE",
    "PGKRBSRVNAME",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLKEY",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGUSER",
}
# What Kubernetes sets for services that are called pgbourse, pgbourse-metrics and pgbourse-x.
SERVICE_LINKS = {
    f"PGBOURSE_{service}{name}": value
    for service in ("", "METRICS_", "X_")
    for name, value in {
        "PORT": "tcp://10.1.2.3:12345",
        "PORT_12345_TCP": "tcp://10.1.2.3:12345",
        "PORT_12345_TCP_ADDR": "10.1.2.3",
        "PORT_12345_TCP_PORT": "12345",
        "PORT_12345_TCP_PROTO": "tcp",
        "SERVICE_HOST": "10.1.2.3",
        "SERVICE_PORT": "12345",
        "SERVICE_PORT_PROTOCOL": "12345",
    }.items()
}


def surroundings(**settings: str) -> dict[str, str]:
    """Return the hostile environment, with these settings of ours that are meant."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
    return ours | HOSTILE | SERVICE_LINKS | settings


def run(*arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pgbourse.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def serving(*arguments: str, environment: dict[str, str]) -> Iterator[int]:
    """Run a server until the end of the block and give its port; it must end well."""
    command = [sys.executable, "-m", "pgbourse.cli", "serve", "--port", "0", "--processes", "1", *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        line = server.stdout.readline()
        try:
            if not line.startswith("pgbourse: listening on "):
                pytest.fail(f"it does not serve: {server.stderr.read()}")
            yield int(line.split()[3].rpartition(":")[2])
        finally:
            server.terminate()
            errors = server.stderr.read()
        assert server.wait() == 0, errors


def test_an_exchange_of_our_own_minds_no_variable(folder: Path) -> None:
    environment = surroundings(PGBOURSE_DATA_DIR=str(folder / "server"))
    with serving(environment=environment) as port:
        with Client("127.0.0.1", port) as client:
            client.create_account("1", 5)
        seen = run("top", "--once", "--seconds", "0.1", environment=environment)
        assert (seen.returncode, seen.stderr) == (0, "")
        pinged = run("ping", "--port", str(port), environment=environment)
        assert (pinged.returncode, pinged.stderr) == (0, "")
    for arguments in (["migrate"], ["migrate", "--check"], ["migrate", "--status"], ["check"]):
        result = run(*arguments, "--log-level", "warning", environment=environment)
        looked = "" if arguments == ["migrate"] else f"the exchange in {folder}/server, whose PostgreSQL ran"
        assert result.returncode == 0, arguments
        assert result.stderr.startswith(looked), arguments
        assert result.stderr.count("\n") == bool(looked), arguments


def test_a_database_that_is_named_is_the_one_that_is_used(server: str, empty_database: str) -> None:
    hostile = {name: value for name, value in HOSTILE.items() if name not in CREDENTIALS}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
    environment |= hostile | SERVICE_LINKS | {"PGBOURSE_DATABASE_URL": empty_database}
    migrated = run("migrate", environment=environment)
    assert migrated.returncode == 0, migrated.stderr
    assert "applied migration 0001_roles_and_schema" in migrated.stdout
    # The variables that have no say are named.
    assert {"PGHOSTADDR", "PGOPTIONS", "PGDATESTYLE"} <= set(migrated.stderr.replace(":", ",").split(", "))
    with serving(environment=environment) as port, Client("127.0.0.1", port) as client:
        client.create_account("1", 5)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("select account_id from exchange.accounts").fetchall() == [("1",)]
    for arguments in (["migrate", "--check"], ["check"], ["top", "--once", "--seconds", "0.1"]):
        result = run(*arguments, environment=environment)
        assert result.returncode == 0, result.stderr


def test_every_variable_of_libpq_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    with EmbeddedPostgres(folder / "server"):
        for name in sorted(variables | HOSTILE.keys()):
            for value in ("odd", HOSTILE.get(name, "127.0.0.1")):
                with monkeypatch.context() as patch:
                    patch.setenv(name, value)
                    with connect(EmbeddedPostgres(folder / "server").running_dsn()) as connection:
                        found = connection.execute("select current_user, current_database()").fetchone()
                        assert found == ("postgres", "pgbourse"), name


TEST_OF_A_USER = """
import psycopg

def test_it_is_emptied(pgbourse):
    pgbourse.client.create_account("1", 5)
    pgbourse.reset()
    pgbourse.client.create_account("1", 5)
"""


def test_the_fixture_minds_no_variable(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(TEST_OF_A_USER)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=surroundings(PGBOURSE_TEST_EXCHANGE="embedded"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_another_server_in_place_of_ours_is_found_out(folder: Path) -> None:
    """Its socket lies where ours would, as after a copy of the whole folder."""
    with EmbeddedPostgres(folder / "other") as other:
        with EmbeddedPostgres(folder / "ours"):
            pass
        ours = folder / "ours" / "data" / "postmaster.pid"
        lines = (folder / "other" / "data" / "postmaster.pid").read_text()
        ours.write_text(lines)
        with pytest.raises(
            EmbeddedError, match=r"answers is not that of .*/ours/data, but that of .*/other/data"
        ):
            EmbeddedPostgres(folder / "ours").running_dsn()
        with connect(other.dsn()) as connection:
            assert connection.execute("select to_regnamespace('exchange')").fetchone() == (None,)


def test_where_no_server_runs_that_is_said(folder: Path) -> None:
    result = run("top", "--once", "--data-dir", str(folder / "none"), environment=dict(os.environ))
    assert result.returncode == 2
    told = f"pgbourse: there is no exchange in {folder}/none: name another with --data-dir "
    assert result.stderr.startswith(told)


def test_a_pooler_or_service_cannot_call_another_database_a_test(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name that counts is the database's own, and not the one in the connection string."""
    given = {**conninfo_to_dict(server), "dbname": "postgres"}
    lines = [f"{name}={value}" for name, value in given.items() if value and name != "service"]
    (tmp_path / "services").write_text("[test]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    url = make_conninfo(service="test")
    with pytest.raises(ExchangeError, match="won't empty the database postgres"), open_exchange(url):
        pass
