"""An exchange for tests: a real one, started within seconds and emptied within milliseconds.

`open_exchange` starts it: over a given database, in a container if a Docker engine has the image, or else
with the embedded PostgreSQL. pgbourse.testing.pytest_plugin turns it into fixtures.

As a program (`python -m pgbourse.testing`) it runs inside the container, because only there the database can
be reached: it empties the exchange once for each line that it reads.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from pgbourse.client import Client, ClientError, ReplyError
from pgbourse.database.conninfo import connect, short
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.ledger import fetch_value
from pgbourse.database.session import pin_settings
from pgbourse.errors import PgbourseError
from pgbourse.settings import default_data_dir

__all__ = ["Emptier", "Exchange", "ExchangeError", "open_exchange"]

_Connection = psycopg.Connection[TupleRow]

_RESET_SECONDS = 30.0  # to wait for requests that a test has left behind; longer than any batch takes
_STOP_SECONDS = 60.0  # more than the drain and PostgreSQL's shutdown take
_SERVE = [sys.executable, "-m", "pgbourse.cli", "serve", "--port", "0", "--processes", "1"]
_DONE = "done"
_IMAGE = "pgbourse:all-in-one"  # the Dockerfile says how to build it
_PROTOCOL_PORT = 12345  # inside the container


class ExchangeError(PgbourseError):
    """The exchange for the tests can't be started, or can't be emptied."""


class Exchange:
    """A running exchange. `client` is a connection to it; `connect` opens more. All end with the test."""

    def __init__(
        self, kind: str, host: str, port: int, empty: Callable[[], None], database_url: str | None = None
    ) -> None:
        self.kind = kind  # what it runs on: "database", "container …" or "embedded"
        self.host = host
        self.port = port
        self.database_url = database_url  # of a superuser or owner, to look inside; None in a container
        self._empty = empty
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

    def reset(self) -> None:
        """Close all clients and empty the exchange; order ids begin at 1 again.

        It first waits for replies that the test has not waited for, so that no request of one test is carried
        out during the next.

        Raises ExchangeError if the exchange stays busy.
        """
        self.close_clients()
        self._empty()

    def close_clients(self) -> None:
        """Wait for the replies that are due to the clients, and close them."""
        clients, self._clients, self._client = self._clients, [], None
        for client in clients:
            with client, contextlib.suppress(ClientError, ReplyError):
                client.drain()


@contextlib.contextmanager
def open_exchange(database_url: str | None = None) -> Iterator[Exchange]:
    """Run an exchange on a free port of 127.0.0.1.

    With a database URL it uses that database, whose name must contain the word "test": it is migrated, and
    emptied at each reset. Otherwise PGBOURSE_TEST_EXCHANGE decides: the name of an image of pgbourse, or
    `embedded`. Without it, the image pgbourse:all-in-one is used if Docker has it.

    Raises ExchangeError if it can't be started.
    """
    wanted = os.environ.get("PGBOURSE_TEST_EXCHANGE")
    if database_url is not None:
        running = _over_database(database_url)
    elif wanted != "embedded" and (wanted or _docker_has(_IMAGE)):
        running = _in_container(wanted or _IMAGE)
    else:
        running = _embedded()
    with running as exchange:
        try:
            yield exchange
        finally:
            exchange.close_clients()


@contextlib.contextmanager
def _over_database(database_url: str) -> Iterator[Exchange]:
    with _connect(database_url) as db:
        # Its own word, and not the string's: a pooler may call it by another name.
        if "test" not in (name := str(fetch_value(db, "select current_database()"))):
            raise ExchangeError(f"won't empty the database {name}: its name must hold the word test")
        with _serving(_SERVE, PGBOURSE_DATABASE_URL=database_url) as port:
            yield Exchange("database", "127.0.0.1", port, Emptier(db), database_url)


@contextlib.contextmanager
def _embedded() -> Iterator[Exchange]:
    folder = Path(tempfile.mkdtemp(prefix="pgbourse-"))
    folder.chmod(0o755)  # if we are root, PostgreSQL runs as another user
    try:
        data_dir = folder / "data"
        with _serving(_SERVE, PGBOURSE_DATA_DIR=str(data_dir)) as port:
            database_url = EmbeddedPostgres(data_dir).running_dsn()
            with _connect(database_url) as db:
                _forget_durability(db)
                # Short, for the test's own client may be older than the libpq whose keywords we name.
                yield Exchange("embedded", "127.0.0.1", port, Emptier(db), short(database_url))
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _in_container(image: str) -> Iterator[Exchange]:
    name = f"pgbourse-test-{uuid.uuid4().hex[:12]}"
    run = ["docker", "run", "--rm", "--name", name, "--publish", f"127.0.0.1::{_PROTOCOL_PORT}"]
    run += ["--entrypoint", "pgbourse", image, "serve"]  # whose standard output is the banner alone
    with _serving(run):
        port = int(_docker("port", name, f"{_PROTOCOL_PORT}/tcp").split()[0].rpartition(":")[2])
        with _remote_emptier(name) as empty:
            yield Exchange(f"container {image}", "127.0.0.1", port, empty)


@contextlib.contextmanager
def _serving(command: list[str], **settings: str) -> Iterator[int]:
    """Run a server until the block ends, and give the port that it listens on.

    It gets these settings and none of the environment's, which are meant for another server.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
    with tempfile.TemporaryFile() as log:
        # It gets a session of its own, so that Ctrl-C ends the tests first and the server after them.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment | settings,
            start_new_session=True,
        )
        with process:
            try:
                assert process.stdout is not None
                banner = process.stdout.readline()
                if not banner.startswith("pgbourse: listening on "):
                    process.wait(_STOP_SECONDS)
                    log.seek(0)
                    last = (log.read().decode(errors="replace").splitlines() or [banner.strip()])[-1]
                    raise ExchangeError(f"the exchange does not start: {last}")
                yield int(banner.split()[3].rpartition(":")[2])
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


@contextlib.contextmanager
def _connect(database_url: str) -> Iterator[_Connection]:
    try:
        connection = connect(database_url, application_name="pgbourse testing")
    except psycopg.Error as error:
        raise ExchangeError(f"can't reach the database of the exchange: {error}") from error
    with connection:
        pin_settings(connection)
        yield connection


def _forget_durability(connection: _Connection) -> None:
    """Switch fsync off: these data are thrown away."""
    connection.execute("alter system set fsync = off")
    connection.execute("select pg_reload_conf()")


class Emptier:
    """Empties the exchange over a connection that may truncate its tables."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        found = connection.execute(
            "select relname from pg_class where relnamespace = 'exchange'::regnamespace "
            "and relkind in ('r', 'p') and not relispartition and relname <> 'applied_files' order by oid"
        ).fetchall()
        tables = sql.SQL(", ").join(sql.Identifier("exchange", name) for (name,) in found)
        self._truncate = sql.SQL("truncate {} restart identity").format(tables)
        # It never waits long while it holds locks, so it can't deadlock with the gateway's sweep.
        connection.execute("set lock_timeout = '50ms'")

    def __call__(self) -> None:
        deadline = time.monotonic() + _RESET_SECONDS
        while True:
            try:
                with self._connection.transaction():
                    self._connection.execute(self._truncate)
                    self._connection.execute("alter sequence exchange.order_ids restart")
                return
            except psycopg.errors.LockNotAvailable as error:
                if time.monotonic() > deadline:
                    raise ExchangeError(
                        "the exchange can't be emptied: some session has been using it for "
                        f"{_RESET_SECONDS:g} seconds"
                    ) from error


@contextlib.contextmanager
def _remote_emptier(container: str) -> Iterator[Callable[[], None]]:
    """Run this module inside a container, and give a function that empties the exchange there."""
    command = ["docker", "exec", "--interactive", container, "python", "-m", "pgbourse.testing"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def empty() -> None:
            requests.write("\n")
            requests.flush()
            answer = answers.readline().strip()
            if answer != _DONE:
                raise ExchangeError(answer or f"the exchange in container {container} can't be emptied")

        yield empty


def empty_as_told() -> None:
    """Run inside the container: empty the exchange once for each line on standard input."""
    data_dir = Path(os.environ.get("PGBOURSE_DATA_DIR") or default_data_dir())
    with _connect(EmbeddedPostgres(data_dir).running_dsn()) as connection:
        _forget_durability(connection)
        empty = Emptier(connection)
        for _ in sys.stdin:
            try:
                empty()
                answer = _DONE
            except ExchangeError as error:
                answer = str(error)
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


def _docker(*arguments: str) -> str:
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ExchangeError(f"docker {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout


def _docker_has(image: str) -> bool:
    """Return whether there is a Docker engine with this image. Never pulls it."""
    with contextlib.suppress(ExchangeError, FileNotFoundError):
        return bool(_docker("image", "inspect", "--format", "{{.Id}}", image))
    return False
