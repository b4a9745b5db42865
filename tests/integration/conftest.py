"""A gateway in this process, on a free port, over the test's own database."""

import contextlib
import dataclasses
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow

from pgbourse.serve.listener import listen
from pgbourse.serve.server import Server
from pgbourse.serve.trafficstatus import TrafficStatus
from pgbourse.settings import ServeSettings
from tests.integration.client import WireClient, wait_until
from tests.integration.disks import SmallDisk, mounting
from tests.integration.service import Service
from tests.integration.tls import TlsClient

Session = psycopg.Connection[TupleRow]


@dataclasses.dataclass
class Gateway:
    """A running server, and the clients that the test has opened to it, closed in the end."""

    server: Server
    clients: contextlib.ExitStack
    tls: ssl.SSLContext | None = None  # with which its clients speak TLS

    @property
    def address(self) -> tuple[str, int]:
        return self.server.address

    def connect(self, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> WireClient:
        """Open a connection, over TLS if the gateway speaks it: with this context, or the usual one."""
        return self.clients.enter_context(self._client(receive_buffer, tls))

    def ask(self, document: bytes) -> Any:
        """Send one document on a connection of its own and return the reply's root element."""
        with self._client() as client:
            return client.ask(document)

    def _client(self, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> WireClient:
        if (context := tls or self.tls) is None:
            return WireClient(self.address, receive_buffer)
        return TlsClient(self.address, context, receive_buffer)

    @property
    def traffic(self) -> TrafficStatus:
        """How the connections stand."""
        return self.server.status().traffic

    def waiting(self) -> int:
        """How many documents wait for a worker."""
        return self.server.status().waiting_documents


StartGateway = Callable[..., Gateway]
Block = Callable[[], Session]
StartService = Callable[..., Service]


@pytest.fixture
def start_gateway(database: str) -> Iterator[StartGateway]:
    """Start gateways with the settings given; each must end having answered all that it received."""
    with contextlib.ExitStack() as stack:

        def start(conninfo: str = database, send_buffer: int | None = None, **settings: Any) -> Gateway:
            listener = listen("127.0.0.1", 0)
            if send_buffer is not None:  # clients' sockets are made with it
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            server = Server(listener, conninfo, ServeSettings(port=0, **settings))
            server.start()
            stack.callback(_stop, server)
            return Gateway(server, stack.enter_context(contextlib.ExitStack()))

        yield start


def _stop(server: Server) -> None:
    server.stop()
    assert server.join(), "not all that was received has been answered"


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    return start_gateway()


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Start `pgbourse serve` with the options given; none outlives the test."""
    services: list[Service] = []

    def run(*options: str, most_files: int = 0) -> Service:
        service = Service(*options, most_files=most_files)
        services.append(service)
        service.wait()
        return service

    yield run
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
        service.process.communicate()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount file systems of a given size."""
    with mounting(folder) as mount:
        yield mount


@pytest.fixture
def block(database: str) -> Iterator[Block]:
    """Keep every batch waiting from the call on, until the session that it returns ends its transaction."""
    with contextlib.closing(psycopg.connect(database)) as session:

        def lock() -> Session:
            session.execute("lock table exchange.accounts in access exclusive mode")
            return session

        yield lock


@pytest.fixture
def wait_for_workers(connection: Session) -> Callable[[int], None]:
    """Wait until so many workers wait for a lock in the database."""

    def wait(count: int) -> None:
        wait_until(lambda: len(waiting_workers(connection)) == count, f"{count} workers wait for a lock")

    return wait


def waiting_workers(connection: Session) -> list[int]:
    """The process numbers of the backends that carry out a worker's batch and wait for a lock."""
    rows = connection.execute(
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
        "and application_name like 'pgbourse worker%'"
    )
    return [pid for (pid,) in rows]
