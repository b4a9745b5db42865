"""The connections of a load run: opened, reopened for each document if asked, closed."""

import errno
import math
import resource
import selectors
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgbourse.errors import PgbourseError
from pgbourse.loadtest.workload import Template
from pgbourse.tls import TlsSocket
from pgbourse.wire.framing import Framing

__all__ = ["Connections", "LoadClient", "LoadError", "Target", "allow_open_files"]

_CONNECT_SECONDS: Final = 10.0


class LoadError(PgbourseError):
    """The server can't be load-tested: it can't be reached, or its answers are useless."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how to talk to it."""

    host: str
    port: int
    framing: Framing = Framing.LENGTH_LINE
    new_connection_each: bool = False  # a connection for each document
    stall_seconds: float = 10.0  # a server without a reply for so long has stalled
    tls: ssl.SSLContext | None = None
    reconnect: bool = False  # carry on when the server closes a connection, or can't be reached for a while


def allow_open_files() -> float:
    """Let this process open as many files as it may; return how many."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    return math.inf if allowed == resource.RLIM_INFINITY else allowed


class LoadClient:
    """One connection, and the document that it waits for, if any."""

    __slots__ = ("answered", "document", "received", "sent", "socket", "started", "template", "unsent")

    def __init__(self) -> None:
        self.socket: socket.socket | TlsSocket | None = None
        self.template: Template | None = None  # None while idle
        self.document = b""
        self.unsent = memoryview(b"")
        self.received = bytearray()  # of a reply that came in several pieces
        self.started = 0.0  # when the document was due
        self.sent = 0.0  # when it was sent
        self.answered = 0  # documents on this connection


class Connections:
    """Connect clients to a server, and watch them with one selector."""

    def __init__(self, target: Target) -> None:
        self.selector = selectors.DefaultSelector()
        self._target = target
        self._family = 0
        self._address: Any = None

    def open(self, clients: Sequence[LoadClient]) -> None:
        """Connect clients. If each document gets its own connection, only try whether the server is there.

        Raises LoadError if the server can't be reached.
        """
        try:
            self.find()
            for client in clients[: 1 if self._target.new_connection_each else None]:
                self.connect(client)
            if self._target.new_connection_each:
                self.close(clients[0])
        except OSError as error:
            made = sum(client.socket is not None for client in clients)
            which = f"client {made} of {len(clients)} " if made > 1 else ""
            raise LoadError(f"can't connect {which}to {self._target.host}:{self._target.port}") from error

    def find(self) -> None:
        """Find the server's address, which connections need. Raises OSError if the host has none."""
        allow_open_files()
        found = socket.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)[0]
        self._family, self._address = found[0], found[4]

    def connect(self, client: LoadClient) -> None:
        """Connect a client and wait until that is done. Raises OSError if it fails."""
        client.answered = 0
        client.socket = connection = socket.socket(self._family, socket.SOCK_STREAM)
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(self._address)
        if self._target.tls is not None:
            client.socket = None  # the TLS socket takes it over
            secured = self._target.tls.wrap_socket(connection, server_hostname=self._target.host)
            client.socket = TlsSocket(secured, established=True)
            connection = secured
        self._prepare(connection, client, selectors.EVENT_READ)

    def begin(self, client: LoadClient, data: bytes) -> str | None:
        """Start a connection that sends these data once it is open; return what is wrong, if anything."""
        client.socket = connection = socket.socket(self._family, socket.SOCK_STREAM)
        client.answered = 0
        client.unsent = memoryview(data)
        self._prepare(connection, client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        status = connection.connect_ex(self._address)
        if status in (0, errno.EINPROGRESS):
            return None
        return f"can't connect again: {errno.errorcode.get(status, status)}"

    def close(self, client: LoadClient) -> None:
        """Close a client's connection, if it has one, and forget what was under way on it."""
        client.unsent = memoryview(b"")
        client.received.clear()
        if client.socket is not None:
            if client.socket in self.selector.get_map():
                self.selector.unregister(client.socket)
            client.socket.close()
            client.socket = None

    def close_all(self, clients: Sequence[LoadClient]) -> None:
        """Close every connection, and the selector."""
        for client in clients:
            self.close(client)
        self.selector.close()

    def _prepare(self, connection: socket.socket, client: LoadClient, events: int) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(connection, events, client)
