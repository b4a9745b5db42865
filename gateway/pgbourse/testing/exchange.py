"""An exchange for tests: a real one, started within seconds, emptied within milliseconds, and able to fail.

`open_exchange` starts it: over a given database, in a container if a Docker engine has the image, or else
with the embedded PostgreSQL. pgbourse.testing.pytest_plugin turns it into fixtures.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pgbourse.client import Client, ClientError, ReplyError
from pgbourse.database.conninfo import short
from pgbourse.database.temporary import temporary_data_dir
from pgbourse.testing.databases import TestDatabase
from pgbourse.testing.emptying import ExchangeError, remote_emptier
from pgbourse.testing.network import Moment, Network
from pgbourse.testing.servers import Gateway, docker, docker_has, kill_postgres

__all__ = ["Exchange", "ExchangeError", "open_exchange"]

_IMAGE = "pgbourse:all-in-one"  # the Dockerfile says how to build it
_PROTOCOL_PORT = 12345  # inside the container


class _Servers(Protocol):
    """What stands behind an exchange."""

    kind: str
    database_url: str | None

    def address(self) -> tuple[str, int]: ...
    def empty(self) -> None: ...
    def restart(self, *, kill: bool) -> None: ...
    def kill_database(self) -> None: ...


class Exchange:
    """A running exchange. `client` is a connection to it; `connect` opens more. All end with the test.

    It can be made to fail as real ones do: `cut`, `delay`, `kill_database`, `restart`. The engine stays the
    real one: what it answers to a request that comes again is true.
    """

    def __init__(self, servers: _Servers, network: Network) -> None:
        self.kind = servers.kind  # what it runs on: "database", "container …" or "embedded"
        self.host = "127.0.0.1"
        self.port = network.port
        self.database_url = (
            servers.database_url
        )  # of a superuser or owner, to look inside; None in a container
        self._servers = servers
        self._network = network
        self._clients: list[Client] = []
        self._client: Client | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        return self.host, self.port

    @property
    def client(self) -> Client:
        """A connection, opened at first use."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self, *, timeout: float | None = 30.0) -> Client:
        """Open a connection, which is closed when the test ends."""
        client = Client(self.host, self.port, timeout=timeout)
        self._clients.append(client)
        return client

    def cut(self, at: Moment = "now") -> None:
        """Cut the network between clients and the exchange; new connections pass.

        `now` cuts all connections at once. `request` cuts, once, the connection on which the next request
        comes, before the exchange gets it; `reply` the one on which the next reply comes, in its place: the
        exchange has carried out what the client doesn't know of.
        """
        self._network.cut(at)

    def delay(self, seconds: float) -> None:
        """Let replies come so many seconds later from now on, until the test ends or it is 0 again."""
        self._network.delay(seconds)

    def kill_database(self) -> None:
        """Kill PostgreSQL as `kill -9` does. It is started again, and recovers; the gateway stays.

        Requests that come meanwhile wait for it. Of those that were under way the fate is unknown: their
        connections close.

        Raises ExchangeError unless the exchange is the embedded one.
        """
        self._servers.kill_database()

    def restart(self, *, kill: bool = False) -> None:
        """Stop the exchange and start it again, at the same address with the same data.

        It answers what it has received, and closes all connections. With `kill` it ends at once instead.

        Raises ExchangeError if it runs in a container, or doesn't start.
        """
        self._servers.restart(kill=kill)

    def reset(self) -> None:
        """Close all clients and empty the exchange; order ids begin at 1 again, and nothing is cut or late.

        It first waits for replies that the test has not waited for, so that no request of one test is carried
        out during the next.

        Raises ExchangeError if the exchange stays busy.
        """
        self.close_clients()
        self._servers.empty()

    def close_clients(self) -> None:
        """Wait for the replies that are due to the clients, and close them. The network is whole again."""
        self._network.restore()
        clients, self._clients, self._client = self._clients, [], None
        for client in clients:
            with client, contextlib.suppress(ClientError, ReplyError):
                client.drain()
        self._network.reset()


@contextlib.contextmanager
def open_exchange(database_url: str | None = None, *, worker: str | None = None) -> Iterator[Exchange]:
    """Run an exchange on a free port of 127.0.0.1.

    With a database URL it uses that database, whose name must contain the word "test": it is migrated, and
    emptied at each reset. Nobody else may use it so meanwhile. A `worker`, one of several that are given the
    same URL, gets a database of its own, which has its name at the end: app_test_gw0. Otherwise
    PGBOURSE_TEST_EXCHANGE decides: the name of an image of pgbourse, or `embedded`. Without it, the image
    pgbourse:all-in-one is used if Docker has it.

    Raises ExchangeError if it can't be started.
    """
    wanted = os.environ.get("PGBOURSE_TEST_EXCHANGE")
    with contextlib.ExitStack() as stack:
        servers: _Servers
        if database_url is not None:
            servers = stack.enter_context(_over_database(database_url, worker))
        elif wanted != "embedded" and (wanted or docker_has(_IMAGE)):
            servers = stack.enter_context(_in_container(wanted or _IMAGE))
        else:
            servers = stack.enter_context(_embedded())
        exchange = Exchange(servers, stack.enter_context(Network(servers.address)))
        stack.callback(exchange.close_clients)
        yield exchange


class _Local:
    """A gateway of ours, over a database that we reach."""

    def __init__(
        self, kind: str, gateway: Gateway, database: TestDatabase, data_dir: Path | None = None
    ) -> None:
        self.kind = kind
        # Short, for the test's own client may be older than the libpq whose keywords we name.
        self.database_url: str | None = database.url if data_dir is None else short(database.url)
        self._gateway = gateway
        self._database = database
        self._data_dir = data_dir

    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._gateway.port

    def empty(self) -> None:
        self._database.empty()

    def restart(self, *, kill: bool) -> None:
        if kill:
            self._gateway.kill()
        else:
            self._gateway.stop()
        self._gateway.start()

    def kill_database(self) -> None:
        if self._data_dir is None:
            raise ExchangeError("the database is not ours to kill: only that of an embedded exchange is")
        kill_postgres(self._data_dir)


class _Contained:
    """An exchange in a container."""

    database_url: str | None = None

    def __init__(self, image: str, port: int, empty: Callable[[], None]) -> None:
        self.kind = f"container {image}"
        self._port = port
        self._empty = empty

    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def empty(self) -> None:
        self._empty()

    def restart(self, *, kill: bool) -> None:  # noqa: ARG002 - neither way
        raise ExchangeError(f"can't be done with a {self.kind}: PGBOURSE_TEST_EXCHANGE=embedded can do it")

    def kill_database(self) -> None:
        self.restart(kill=True)


@contextlib.contextmanager
def _over_database(database_url: str, worker: str | None) -> Iterator[_Local]:
    with (
        TestDatabase.of(database_url, worker) as database,
        Gateway(PGBOURSE_DATABASE_URL=database.url).running() as gateway,
    ):
        yield _Local("database", gateway, database)


@contextlib.contextmanager
def _in_container(image: str) -> Iterator[_Contained]:
    name = f"pgbourse-test-{uuid.uuid4().hex[:12]}"
    run: tuple[str, ...] = (
        "docker",
        "run",
        "--rm",
        "--name",
        name,
        "--publish",
        f"127.0.0.1::{_PROTOCOL_PORT}",
    )
    run += ("--entrypoint", "pgbourse", image, "serve")  # whose standard output is the banner alone
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(Gateway(run).running())
        except (ExchangeError, FileNotFoundError) as error:
            cause = error if isinstance(error, ExchangeError) else "there is no program docker"
            advice = "PGBOURSE_TEST_EXCHANGE names an image, or is `embedded`"
            raise ExchangeError(f"no container of {image}: {cause}; {advice}") from error
        empty = stack.enter_context(remote_emptier(name))
        port = int(docker("port", name, f"{_PROTOCOL_PORT}/tcp").split()[0].rpartition(":")[2])
        yield _Contained(image, port, empty)


@contextlib.contextmanager
def _embedded() -> Iterator[_Local]:
    from pgbourse.database.embedded import EmbeddedPostgres  # which Windows can't import

    with (
        temporary_data_dir() as data_dir,
        Gateway(PGBOURSE_DATA_DIR=str(data_dir)).running() as gateway,
        TestDatabase(EmbeddedPostgres(data_dir).running_dsn()) as database,
    ):
        database.forget_durability()
        yield _Local("embedded", gateway, database, data_dir)
