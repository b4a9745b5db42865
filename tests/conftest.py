"""A real PostgreSQL for every test that asks (see tests/servers.py), and a database of its own for each.

With pytest-xdist (`make test`) each worker has a server of its own, for roles and settings are a server's.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.migrate import migrate
from tests.servers import keep_temporary_files_in_memory, open_server, temporary_folder

_numbers = itertools.count(1)
_servers_in_use = pytest.StashKey[set[str]]()

# The folders with the longest tests go first, so that no worker begins one when the others have ended.
_FIRST = ("containers", "bench", "browser", "faults", "dba", "integration")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The connection string of a superuser of the server under test."""
    with open_server() as (dsn, kind):
        with psycopg.connect(dsn) as connection:
            version = connection.info.parameter_status("server_version")
        in_use = f"PostgreSQL {version}, {kind}"
        if hasattr(request.config, "workeroutput"):
            request.config.workeroutput["server"] = in_use
        else:
            request.config.stash[_servers_in_use].add(in_use)
        yield dsn


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a migrated database that the others are copied from."""
    with _new_database(server, "template0") as name:
        migrate(make_conninfo(server, dbname=name))
        yield name


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """The connection string of a migrated database that only this test knows."""
    with _new_database(server, template) as name:
        yield make_conninfo(server, dbname=name)


@pytest.fixture
def second_database(server: str, template: str) -> Iterator[str]:
    """The connection string of another migrated database that only this test knows."""
    with _new_database(server, template) as name:
        yield make_conninfo(server, dbname=name)


@pytest.fixture(scope="session")
def pgbourse_database_url(server: str, template: str) -> Iterator[str]:
    """The database of the exchange that the fixture `pgbourse` of our own pytest plugin gives."""
    with _new_database(server, template) as name:
        yield make_conninfo(server, dbname=name)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # for which the plugin has made one
        with psycopg.connect(server, autocommit=True) as connection:
            drop = sql.SQL("drop database if exists {} with (force)")
            connection.execute(drop.format(sql.Identifier(f"{name}_{worker}")))


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """The connection string of a database with nothing in it."""
    with _new_database(server, "template0") as name:
        yield make_conninfo(server, dbname=name)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """A superuser's connection to the test's database, in autocommit mode."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder for an embedded server: as root, it must let the user of PostgreSQL in."""
    with temporary_folder() as folder:
        yield folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="leave out the tests that are marked as long")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_servers_in_use] = set()
    config.addinivalue_line("markers", "long(why): left out by --short, which `make test` gives")
    keep_temporary_files_in_memory()
    # How long an example takes says something of the machine's other work, and nothing of the code.
    hypothesis.settings.register_profile("pgbourse", deadline=None)
    hypothesis.settings.load_profile("pgbourse")
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if runs_tests and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # Under nohup, processes that the tests start would ignore it as well. They inherit no handler.
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run twice as many workers as there are processors, for much of the time a test waits; 16 at most."""
    return min(16, 2 * (os.cpu_count() or 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long if asked to, and begin with the longest when workers share out the tests."""
    if config.getoption("--short"):
        for item in items:
            if marker := item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason=f"make test LONG=1 runs it: {marker.args[0]}"))
    if hasattr(config, "workerinput"):
        places = {name: place for place, name in enumerate(_FIRST)}
        items.sort(key=lambda item: places.get(item.path.parent.name, len(_FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take from a worker which server it has used."""
    if used := getattr(node, "workeroutput", {}).get("server"):
        servers: set[str] = node.config.stash[_servers_in_use]
        servers.add(used)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which server the tests ran against."""
    servers = config.stash[_servers_in_use]
    for used in sorted(servers):
        terminalreporter.write_line(f"tested against {used}")


@contextmanager
def _new_database(server: str, template: str) -> Iterator[str]:
    # The process number keeps two runs on one server apart.
    name = f"pgbourse_test_{os.getpid()}_{next(_numbers)}"
    create = sql.SQL("create database {} template {} strategy file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield name
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(drop)
