"""A server of the crash tests' own: they kill it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg import sql

from pgbourse.database.migrate import migrate
from tests.faults.cluster import Cluster
from tests.faults.scene import GatewayProcess, rounds
from tests.servers import temporary_folder

StartGateway = Callable[..., GatewayProcess]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster_folder() -> Iterator[Path]:
    """A temporary folder that the user of PostgreSQL may enter."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def shared_cluster(cluster_folder: Path) -> Iterator[Cluster]:
    with Cluster(cluster_folder / "shared") as cluster:
        cluster.start()
        cluster.wait_until_ready()
        with cluster.connect() as session:
            session.execute("create database template_exchange")
        migrate(cluster.dsn("template_exchange"))
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """A server that runs when the test begins. What the test sets with ALTER SYSTEM is reset at its end."""
    yield shared_cluster
    with shared_cluster.connect() as session:
        session.execute("alter system reset all")
        session.execute("select pg_reload_conf()")


@pytest.fixture
def exchange(cluster: Cluster) -> Iterator[str]:
    """The name of a migrated database that only this test knows."""
    name = f"exchange_{next(_numbers)}"
    with cluster.connect() as session:
        session.execute(sql.SQL("create database {} template template_exchange").format(sql.Identifier(name)))
    yield name
    with cluster.connect() as session:
        session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways as processes of their own; those that still run at the end are killed."""
    with ExitStack() as stack:

        def start(*options: str, mutant: str | None = None) -> GatewayProcess:
            return stack.enter_context(GatewayProcess(tmp_path / "gateway.log", *options, mutant=mutant))

        yield start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let many rounds take long; the guard against a hang is in each wait."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(300 + 20 * len(rounds(100))))
