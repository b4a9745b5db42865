"""The page, /metrics, /healthz and /readyz over HTTP, on a port of its own and out of the exchange's way."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pgbourse.database.holders import holders_line
from pgbourse.database.ledger import load_files, sql_folder
from pgbourse.database.migrate import require_current_in
from pgbourse.errors import PgbourseError, one_line
from pgbourse.serve.looks import Looks, View
from pgbourse.serve.metrics import make_registry
from pgbourse.serve.page import Page, read_view, refuse_foreign
from pgbourse.serve.pulse import Pulse
from pgbourse.serve.server import Observed
from pgbourse.serve.sessions import ConnectionGone, Session, SharedPool
from pgbourse.serve.viewers import Viewers

__all__ = ["HealthServer"]

_log = logging.getLogger("pgbourse.health")

STUCK = 10.0  # seconds: the I/O thread turns twice a second at least, and a batch takes a tenth of one
FRESH = 1.0  # seconds for which one answer from the database serves everybody
PATIENCE = 2.0  # seconds to wait for the database, less than probes wait for us
_REQUESTS = 16  # at the same time; more are turned away
_CLIENT_SECONDS = 5.0


class HealthServer:
    """Threads that answer questions about a running server on a listening socket."""

    def __init__(
        self,
        listener: socket.socket,
        server: Observed,
        pool: SharedPool,
        postgresql: str,
        pids: Callable[[], Mapping[str, int]] | None = None,
        fired: Callable[[], int] = int,
        most_viewers: int = 0,
        failure: Callable[[], str] = str,
    ) -> None:
        """Take over the listening socket. `pool` leads to the database, `postgresql` is its version.

        `pids` tells a server's processes by name, if it has several; `fired`, how many dead man's switches it
        has fired; `failure`, why an embedded PostgreSQL has ended lately, if it has. `most_viewers` may look
        at the page: without any there is none.
        """
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._probe = _Probe(server, pool, failure)
        listener.setblocking(True)
        self.viewers = viewers = Viewers(Looks(pool), Pulse(server), most_viewers) if most_viewers else None
        registry = make_registry(
            server, self._probe.count_open, postgresql, pids, fired, lambda: viewers.count if viewers else 0
        )
        self._http = _Http(listener, registry, self._probe, self.viewers)
        self._thread = threading.Thread(target=self._http.serve_forever, name="pgbourse-health", daemon=True)

    def start(self) -> None:
        if self.viewers is not None:
            self.viewers.start()
        self._thread.start()

    def stop(self) -> None:
        if self.viewers is not None:
            self.viewers.stop()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Probe:
    """The questions: is the server alive, is it ready, how much is open."""

    def __init__(self, server: Observed, pool: SharedPool, failure: Callable[[], str]) -> None:
        self._pool = pool
        self._failure = failure
        self._server = server
        # Loaded now: an upgrade in place may replace the files while this process runs.
        self._files = load_files(sql_folder())
        # Guards everything below: one query of the database at a time, whose result serves everybody.
        self._lock = threading.Lock()
        self._counts: tuple[int, int, int] | None = None
        self._counted_at = -FRESH
        self._unready = ""
        self._held = ""
        self._checked_at = -FRESH

    def dead(self) -> str:
        """Return why the server must be restarted, or an empty string if it is alive."""
        silent = time.monotonic() - self._server.status().turned_at
        return f"the I/O thread has been stuck for {silent:.0f} seconds" if silent > STUCK else ""

    def unready(self) -> str:
        """Return why the server should get no new clients, or an empty string if it is ready."""
        status = self._server.status()
        if status.draining:
            return "the server is stopping"
        if not status.processes:
            return "none of the server's processes is there: they are being restarted"
        if status.takes_no_writes:
            return f"the database takes no writes: {status.takes_no_writes}"
        if status.has_no_room:
            return "the database has no room: its disk is full"
        if status.oldest_call_seconds > STUCK:
            return f"the database has not answered a call for {status.oldest_call_seconds:.0f} seconds"
        if not self._lock.acquire(timeout=PATIENCE):
            return "the database does not answer"
        try:
            if time.monotonic() - self._checked_at >= FRESH:
                self._unready = self._check()
                self._checked_at = time.monotonic()
            return self._unready
        finally:
            self._lock.release()

    def held(self) -> str:
        """Return who held symbols or accounts for long when `unready` last looked, if anybody."""
        return self._held

    def count_open(self) -> tuple[int, int, int] | None:
        """Return the numbers of open orders, unsettled credits and incoming orders.

        None if the database does not answer.
        """
        if not self._lock.acquire(timeout=PATIENCE):
            return None
        try:
            if time.monotonic() - self._counted_at >= FRESH:
                self._counts = self._count()
                self._counted_at = time.monotonic()
            return self._counts
        finally:
            self._lock.release()

    # Called with the lock held.

    def _check(self) -> str:
        try:
            with self._session() as session:
                require_current_in(session, self._files)
                session.identify()
                self._held = holders_line(session)
        except (ConnectionGone, psycopg.Error) as error:
            return f"can't reach the database: {self._failure() or one_line(error)}"
        except PgbourseError as error:
            return str(error)
        if session.is_standby or session.is_read_only:
            what = "it is a standby" if session.is_standby else "transactions are read-only"
            return f"the database takes no writes: {what}"
        return ""

    def _count(self) -> tuple[int, int, int] | None:
        query = "select open_orders, unsettled_credits, incoming_orders from exchange.count_open()"
        try:
            with self._session() as session:
                row = session.execute(query).fetchone()
                return None if row is None else (row[0], row[1], row[2])
        except (ConnectionGone, psycopg.Error) as error:
            _log.debug("can't count what is open: %s", error)
            return None

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Give a session whose statements the server cancels in time, so that none are left waiting."""
        with self._pool.session() as session, session.transaction():
            session.execute("select set_config('statement_timeout', %s, true)", [f"{PATIENCE * 1000:.0f}"])
            yield session


_Request = socket.socket | tuple[bytes, socket.socket]


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, listener: socket.socket, registry: CollectorRegistry, probe: _Probe, viewers: Viewers | None
    ) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.registry = registry
        self.host: str = listener.getsockname()[0]
        self.probe = probe
        self.viewers = viewers
        self.page = None if viewers is None else Page()
        self.views: dict[socket.socket, View] = {}  # of connections that become viewers' after their request
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

    def shutdown_request(self, request: Any) -> None:
        """Hand the connection of a viewer on, which costs no slot then; end any other one."""
        view = self.views.pop(request, None)
        if view is None or self.viewers is None:
            super().shutdown_request(request)
        else:
            self.viewers.add(request, view)

    def handle_error(self, *_: object) -> None:
        _log.debug("a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = _CLIENT_SECONDS
    server_version = "pgbourse"
    sys_version = ""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._reply(200, encode(self.server.registry), content_type)
        elif path == "/healthz":
            self._verdict(self.server.probe.dead())
        elif path == "/readyz":
            self._verdict(self.server.probe.unready(), self.server.probe.held())
        elif path in ("/", "/events") and self.server.page is not None:
            problem = refuse_foreign(self.headers, self.server.host)
            if problem:
                self._reply(421, f"{problem}\n".encode())
            elif path == "/":
                self._reply(200, self.server.page.body, "text/html; charset=utf-8", self.server.page.headers)
            else:
                self._stream(query)
        else:
            self._reply(404, b"there are /, /metrics, /healthz and /readyz\n")

    do_HEAD = do_GET

    def _stream(self, query: str) -> None:
        """Begin to answer a viewer; its connection is handed on when this request is over."""
        view, viewers = read_view(query), self.server.viewers
        if view is None:
            self._reply(400, b"there is no such symbol, or no bars of so many seconds\n")
        elif self.command == "HEAD":
            self._reply(200, b"", "text/event-stream")
        elif viewers is None or not viewers.reserve():
            self._reply(
                503, b"too many are looking, or the server is stopping\n", headers={"Retry-After": "5"}
            )
        else:
            try:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Accel-Buffering", "no")
                self.end_headers()
            except OSError:
                viewers.give_back()
                raise
            self.server.views[self.connection] = view

    def _verdict(self, problem: str, note: str = "") -> None:
        lines = [problem or "ok", *([note] if note else [])]
        self._reply(503 if problem else 200, "".join(f"{line}\n" for line in lines).encode())

    def _reply(
        self,
        status: int,
        body: bytes,
        content_type: str = "text/plain; charset=utf-8",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing for a request."""
