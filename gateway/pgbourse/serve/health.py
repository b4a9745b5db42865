"""/metrics, /healthz and /readyz over HTTP, beside the exchange's own port and out of its way."""

import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.ledger import load_files, sql_folder
from pgbourse.database.migrate import require_current
from pgbourse.errors import PgbourseError
from pgbourse.serve.metrics import make_registry
from pgbourse.serve.server import Server

__all__ = ["HealthServer"]

_log = logging.getLogger("pgbourse.health")

_STUCK = 10.0  # seconds: the I/O thread turns twice a second at least
_FRESH = 1.0  # seconds for which an answer of the database serves all who ask
_PATIENCE = 2  # seconds to wait for the database, less than those who ask wait for us
_REQUESTS = 16  # answered at the same time; more are turned away
_CLIENT_SECONDS = 5.0


class HealthServer:
    """Threads that answer on a listening socket what there is to know of a running server."""

    def __init__(self, listener: socket.socket, server: Server, conninfo: str, postgresql: str) -> None:
        """Take over the listening socket. `conninfo` is the database's, `postgresql` its version."""
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._probe = _Probe(server, conninfo)
        registry = make_registry(server, self._probe.count_open, postgresql)
        listener.setblocking(True)
        self._http = _Http(listener, registry, self._probe)
        self._thread = threading.Thread(target=self._http.serve_forever, name="pgbourse-health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._probe.close()


class _Probe:
    """What is asked: is the server alive, is it ready, how much is open."""

    def __init__(self, server: Server, conninfo: str) -> None:
        given = conninfo_to_dict(conninfo)
        defaults: dict[str, str | int] = {
            "connect_timeout": _PATIENCE,
            "application_name": "pgbourse metrics",
        }
        self._conninfo = make_conninfo(conninfo, **{k: v for k, v in defaults.items() if k not in given})
        self._server = server
        # Those of this process: an upgrade in place puts others into their folder while it runs.
        self._files = load_files(sql_folder())
        # Guards everything below: one conversation with the database at a time, its result good for all.
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._counts: tuple[int, int] | None = None
        self._counted_at = -_FRESH
        self._unready = ""
        self._checked_at = -_FRESH

    def dead(self) -> str:
        """Say why the server is to be started anew; nothing if it is alive."""
        silent = time.monotonic() - self._server.status().turned_at
        return f"the I/O thread has been stuck for {silent:.0f} seconds" if silent > _STUCK else ""

    def unready(self) -> str:
        """Say why the server should get no new clients; nothing if it is ready for them."""
        if self._server.status().draining:
            return "the server is stopping"
        if not self._lock.acquire(timeout=_PATIENCE):
            return "the database does not answer"
        try:
            if time.monotonic() - self._checked_at >= _FRESH:
                self._unready = self._check()
                self._checked_at = time.monotonic()
            return self._unready
        finally:
            self._lock.release()

    def count_open(self) -> tuple[int, int] | None:
        """Return the numbers of open orders and unsettled credits, None if the database does not answer."""
        if not self._lock.acquire(timeout=_PATIENCE):
            return None
        try:
            if time.monotonic() - self._counted_at >= _FRESH:
                self._counts = self._count()
                self._counted_at = time.monotonic()
            return self._counts
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    # Called with the lock held.

    def _check(self) -> str:
        try:
            require_current(self._conninfo, self._files)
        except PgbourseError as error:
            return str(error)
        return ""

    def _count(self) -> tuple[int, int] | None:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
                self._connection.execute("set role exchange_gateway")
                self._connection.execute(
                    "select set_config('statement_timeout', %s, false)", [f"{_PATIENCE}s"]
                )
            query = "select open_orders, unsettled_credits from exchange.count_open()"
            row = self._connection.execute(query).fetchone()
            return None if row is None else (row[0], row[1])
        except psycopg.Error as error:
            _log.debug("can't count what is open: %s", error)
            self._disconnect()
            return None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_Request = socket.socket | tuple[bytes, socket.socket]


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, registry: CollectorRegistry, probe: _Probe) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.registry = registry
        self.probe = probe
        self._slots = threading.BoundedSemaphore(_REQUESTS)

    def process_request(self, request: _Request, address: object) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: _Request, address: object) -> None:
        try:
            super().process_request_thread(request, address)
        finally:
            self._slots.release()

    def handle_error(self, *_: object) -> None:
        _log.debug("a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = _CLIENT_SECONDS
    server_version = "pgbourse"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.split("?", 1)[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._reply(200, encode(self.server.registry), content_type)
        elif path == "/healthz":
            self._verdict(self.server.probe.dead())
        elif path == "/readyz":
            self._verdict(self.server.probe.unready())
        else:
            self._reply(404, b"there are /metrics, /healthz and /readyz\n")

    do_HEAD = do_GET

    def _verdict(self, problem: str) -> None:
        self._reply(503 if problem else 200, f"{problem or 'ok'}\n".encode())

    def _reply(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing: there is no log line for a request."""
