"""A real PostgreSQL for every test that asks, and a database of its own for each.

With pytest-xdist (`make test`) each worker has a server of its own, for roles and settings are a server's.
The server is the one that PGBOURSE_TEST_DSN names (a superuser's connection string); else a container, where
a Docker engine has the image postgres:15 (or PGBOURSE_TEST_IMAGE) or can pull it; else an embedded one in a
temporary folder.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate

_numbers = itertools.count(1)
_servers_in_use = pytest.StashKey[set[str]]()

_ENOUGH_MEMORY = 6 << 30  # bytes; all servers together need less than half of it

# The folders with the longest tests go first, so that no worker begins one when the others have ended.
_FIRST = ("containers", "bench", "faults", "dba", "integration")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The connection string of a superuser of the server under test."""
    with _open_server() as (kind, dsn):
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


@pytest.fixture(scope="session")
def pgbourse_database_url(server: str, template: str) -> Iterator[str]:
    """The database of the exchange that the fixture `pgbourse` of our own pytest plugin gives."""
    with _new_database(server, template) as name:
        yield make_conninfo(server, dbname=name)


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
    with _temporary_folder() as folder:
        yield folder


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_servers_in_use] = set()
    _keep_temporary_files_in_memory()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run twice as many workers as there are processors: much of the time a test waits."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the long tests when workers share them out."""
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


def _keep_temporary_files_in_memory() -> None:
    """Let everything temporary be in memory, where there is plenty of it and nobody has set TMPDIR.

    A database of 8 MB for each test is written to no disk then: a test of the SQL takes a third of the
    processor time and less still of the clock. Nothing here needs a disk: no test cuts a machine's power.
    """
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or not memory.is_dir() or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return
    if min(shutil.disk_usage(memory).free, psutil.virtual_memory().available) >= _ENOUGH_MEMORY:
        os.environ["TMPDIR"] = str(memory)  # for processes that tests start, and pytest-xdist's workers
        tempfile.tempdir = None


@contextmanager
def _open_server() -> Iterator[tuple[str, str]]:
    if dsn := os.environ.get("PGBOURSE_TEST_DSN"):
        yield "PGBOURSE_TEST_DSN", dsn
    elif _docker_has(image := os.environ.get("PGBOURSE_TEST_IMAGE", "postgres:15")):
        # The container is removed below; a second one to watch over that would need another image.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.community.postgres import PostgresContainer

        # The data are thrown away, as with the embedded server below.
        postgres_container = PostgresContainer(image, driver=None).with_command("postgres -c fsync=off")
        postgres_container.with_env("PGDATA", "/memory/data").with_tmpfs_mount("/memory")
        with postgres_container as container:
            yield f"container {image}", container.get_connection_url()
    else:
        with _temporary_folder() as folder, EmbeddedPostgres(folder / "server") as postgres:
            with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
                # The data are thrown away: the tests of durability run servers of their own.
                connection.execute("alter system set fsync = off")
                connection.execute("select pg_reload_conf()")
            yield "embedded", postgres.dsn("postgres")


@contextmanager
def _new_database(server: str, template: str) -> Iterator[str]:
    # The process number keeps two runs on one server apart.
    name = f"pgbourse_test_{os.getpid()}_{next(_numbers)}"
    create = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
    drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield name
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(drop)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pgbourse-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _docker_has(image: str) -> bool:
    if shutil.which("docker") is None:
        return False

    def docker(*arguments: str) -> bool:
        return subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode == 0

    return docker("info") and (docker("image", "inspect", image) or docker("pull", image))
