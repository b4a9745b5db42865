"""The I/O thread: one loop that owns every socket and never waits for the database."""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pgbourse.serve.certificates import warn_of_expiry
from pgbourse.serve.connection import ClientConnection
from pgbourse.serve.dealt import Dealt
from pgbourse.serve.dispatch import Dispatcher
from pgbourse.serve.feed import FeedStatus
from pgbourse.serve.handshakes import Handshakes
from pgbourse.serve.listener import BACKLOG, Seldom, is_shortage
from pgbourse.serve.plain import Buffer, PlainWire
from pgbourse.serve.signals import join_with_signals
from pgbourse.serve.tally import Tally
from pgbourse.serve.traffic import Traffic
from pgbourse.serve.trafficstatus import TrafficStatus, add_up_traffic
from pgbourse.settings import ServeSettings
from pgbourse.tls import TlsError, server_context
from pgbourse.wire.framing import Framer

__all__ = ["Observed", "Server", "Status", "add_up"]

_log = logging.getLogger("pgbourse.server")

ACCEPTS = 32  # connections accepted in a row: it takes a millisecond, and other clients wait for that
# Replies go out at once. Clients that vanish silently while no reply is due are noticed within three minutes,
# however long idle connections may last.
_CLIENT_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    # Seconds until the first probe, which has another name on macOS.
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0)), 120),
]
_TICK = 0.5  # seconds between two checks for what has taken too long
_STOPPING_TICK = 0.02  # likewise, while the server stops


@dataclass(frozen=True, slots=True)
class Status:
    """A server's state at one moment."""

    traffic: TrafficStatus
    waiting_documents: int  # for a worker
    waiting_bytes: int
    lane_orders: int  # reserved for, that wait for their lane or are in it
    oldest_call_seconds: float  # how long the oldest batch has been in the database, or has waited for it
    takes_no_writes: str  # why requests that write wait; empty if they don't
    draining: bool
    turned_at: float  # when the I/O thread last began a turn, in seconds of time.monotonic()
    processes: int = 1  # that serve clients
    restarts: int = 0  # of processes that had died
    has_no_room: bool = False  # a call has failed lately because the database's disk is full
    feed: FeedStatus = field(default_factory=FeedStatus)


def add_up(parts: Sequence[Status], turned_at: float) -> Status:
    """Return the state of several servers as that of one; `turned_at` is that of whoever leads them."""
    return Status(
        traffic=add_up_traffic([part.traffic for part in parts]),
        waiting_documents=sum([part.waiting_documents for part in parts]),
        waiting_bytes=sum([part.waiting_bytes for part in parts]),
        lane_orders=sum([part.lane_orders for part in parts]),
        oldest_call_seconds=max([part.oldest_call_seconds for part in parts], default=0.0),
        takes_no_writes=next((part.takes_no_writes for part in parts if part.takes_no_writes), ""),
        draining=any(part.draining for part in parts),
        turned_at=min([turned_at, *(part.turned_at for part in parts)]),
        processes=sum([part.processes for part in parts]),
        restarts=sum([part.restarts for part in parts]),
        has_no_room=any(part.has_no_room for part in parts),
        feed=sum([part.feed for part in parts], FeedStatus()),
    )


class Observed(Protocol):
    """A server, in one process or several, as health checks and metrics see it."""

    @property
    def tallies(self) -> Sequence[Tally]: ...
    def status(self) -> Status: ...


class Server:
    """A running gateway: the I/O thread, and through dispatch the workers.

    `start` it; `stop` it from any thread or a signal handler; `join` returns when everything has ended.
    """

    def __init__(self, listener: socket.socket | Dealt, conninfo: str, settings: ServeSettings) -> None:
        """Take over a listening socket or, in a child, the channel by which its parent deals connections.

        `conninfo` is the libpq connection string of the database.

        Raises TlsError if the files for TLS can't be used.
        """
        tls = server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._listener = listener
        self._dealt = listener if isinstance(listener, Dealt) else None
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._dispatcher = Dispatcher(
            conninfo,
            reserve_workers=settings.reserve_workers,
            lanes=settings.lanes,
            batch_requests=settings.batch_requests,
            reply_framing=settings.reply_framing,
            away_timeout=settings.away_timeout,
            on_room=self._wake,
            with_tallies=settings.http_port is not None,
            certified=settings.tls_client_ca is not None,
        )
        self.tallies = self._dispatcher.tallies  # one for each worker, if there are metrics
        on_leave = None if self._dealt is None else self._dealt.note_leaver
        self._traffic = Traffic(self._selector, self._dispatcher, settings, on_leave)
        self._handshakes = None if tls is None else Handshakes(tls, self._selector, self._traffic)
        self._buffer = Buffer()  # of the I/O thread
        self._accepting = False
        self._shortage, self._crowd = Seldom(), Seldom()
        self._next_tick = 0.0
        # Workers ask for attention here. Appending is atomic; a byte in the socket pair wakes the I/O thread.
        self._attention: deque[ClientConnection] = deque()
        self._woken = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stop_asked = False
        self._deadline = 0.0  # of the drain, once that has begun
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="pgbourse-io", daemon=True)

    def start(self) -> None:
        """Start to accept connections."""
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._on_wake)
        self._resume_accepting()
        self._dispatcher.start()
        self._thread.start()

    def stop(self) -> None:
        """Start to drain: accept and read no more, answer what was received, then end."""
        self._stop_asked = True
        self._wake()

    def reload_certificates(self) -> None:
        """Read the certificate files again, for connections that come from now on.

        If they can't be used, log that and keep the certificates in use. May be called from any thread.
        """
        if self._handshakes is None:
            _log.info("there are no certificates to read again")
            return
        settings = self._settings
        try:
            tls = server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
            warn_of_expiry(settings)
        except TlsError as error:
            reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
            _log.error("the certificates are not read again, those of before stay: %s", reason)
            return
        assert tls is not None
        self._handshakes.context = tls
        _log.info("the certificates have been read again")

    def status(self) -> Status:
        """Return the server's state. May be called from any thread."""
        documents, size = self._dispatcher.waiting()
        return Status(
            traffic=self._traffic.status(),
            waiting_documents=documents,
            waiting_bytes=size,
            lane_orders=self._dispatcher.lane_orders(),
            oldest_call_seconds=self._dispatcher.oldest_call(),
            takes_no_writes=self._dispatcher.takes_no_writes(),
            draining=self._stop_asked,
            turned_at=self._traffic.now,
            has_no_room=self._dispatcher.has_no_room(),
            feed=self._dispatcher.feed.status(),
        )

    def join(self) -> bool:
        """Wait for the end. True if everything that was received has been answered."""
        join_with_signals(self._thread)
        # The workers have nothing left to do, unless time ran out; then they get one more second.
        ended = self._dispatcher.stop(max(1.0, self._deadline - time.monotonic()))
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
        return ended and not self._failed

    # Everything below runs in the I/O thread, except _wake and _attend.

    def _run(self) -> None:
        connections = self._traffic.connections
        try:
            while not self._deadline or (connections and self._traffic.now < self._deadline):
                self._turn()
            if connections:
                _log.warning("closing %d connections that were not done in time", len(connections))
                self._failed = True
        except Exception:  # noqa: BLE001 - a bug of ours: log it, and end the process
            _log.exception("the server ends because of an unforeseen error")
            self._failed = True
        finally:
            self._listener.close()
            for connection in list(connections):
                self._traffic.close(connection)
            self._traffic.hand_over()

    def _turn(self) -> None:
        """Wait for events and handle them."""
        traffic = self._traffic
        events = self._selector.select(_STOPPING_TICK if self._deadline else _TICK)
        traffic.now = time.monotonic()
        for key, mask in events:
            if isinstance(key.data, ClientConnection):
                traffic.happen(key.data, mask)
            else:
                key.data()
        traffic.hand_over()
        if traffic.now >= self._next_tick:
            self._next_tick = traffic.now + _TICK
            traffic.close_overdue()
            traffic.throttle()
            self._resume_accepting()
        if self._dealt is not None:
            self._dealt.report()
        if self._deadline:
            traffic.end_last_moments()
        elif self._stop_asked:
            self._drain()

    def _wake(self) -> None:
        """Wake the I/O thread. Called from any thread."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
                self._wake_writer.send(b"\0")

    def _attend(self, connection: ClientConnection) -> None:
        """Ask the I/O thread to look at a connection. Called by workers."""
        self._attention.append(connection)
        self._wake()

    def _on_wake(self) -> None:
        self._wake_reader.recv(4096)
        self._woken = False  # before the loop: an append from now on wakes us again
        while self._attention:
            self._traffic.advance(self._attention.popleft())
        self._traffic.throttle()

    def _accept(self) -> bool:
        """Accept some connections. True if more may wait."""
        limit = self._settings.max_connections
        for _ in range(ACCEPTS):
            if len(self._traffic.connections) >= limit:
                if self._crowd.is_due():
                    _log.warning("all %d connections are taken: more must wait", limit)
                self._pause_accepting()
                return False
            try:
                client, (address, *_) = self._listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if is_shortage(error):
                    if self._shortage.is_due():
                        _log.warning("no connections are accepted for a moment: %s", error.strerror)
                    self._pause_accepting()
                    return False
                continue  # this client left before it was accepted
            try:
                self._admit(client, address)
            except OSError:  # it left since
                if self._dealt is not None:
                    self._dealt.note_leaver(address)
        return True

    def _admit(self, client: socket.socket, address: str) -> None:
        """Take over a connection. Raises OSError if its client is already gone."""
        client.setblocking(False)
        for level, option, value in _CLIENT_OPTIONS:
            client.setsockopt(level, option, value)
        framer = Framer(self._settings.max_document_bytes)
        if self._handshakes is not None:
            self._handshakes.begin(client, address, framer, self._attend)
        else:
            self._traffic.add(
                ClientConnection(PlainWire(client, self._buffer), address, framer, self._attend)
            )

    def _pause_accepting(self) -> None:
        """Leave new connections in the kernel's queue at least until the next tick."""
        if self._accepting:
            self._selector.unregister(self._listener)
            self._accepting = False

    def _resume_accepting(self) -> None:
        room = len(self._traffic.connections) < self._settings.max_connections
        if room and not self._accepting and not self._deadline:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            self._accepting = True

    def _drain(self) -> None:
        """Stop: carry out and answer what was received, take nothing else."""
        traffic = self._traffic
        self._deadline = traffic.now + self._settings.drain_timeout
        _log.info("stopping: %d connections get their last replies", len(traffic.connections))
        # 1. Take the connections that the kernel has accepted; no more come after them.
        for _ in range(BACKLOG // ACCEPTS):
            if not self._accept():
                break
        self._pause_accepting()
        self._listener.close()
        # 2. Read what has arrived, as far as there is room for it.
        for connection in list(traffic.connections):
            while connection.io.interest & selectors.EVENT_READ and traffic.read(connection):
                pass
        # 3. Feeds have no last reply: they end now.
        self._dispatcher.feed.drain()
        traffic.end_feeds()
        # 4. Only answer from now on: each connection ends with its last reply; what comes then is refused.
        traffic.last_moments.begin()
        for connection in list(traffic.connections):
            unfinished = "the server is stopping: this request was not complete and was not carried out"
            traffic.end(connection, unfinished if connection.io.begun else None)
        traffic.hand_over()
        # 5. _run ends when all connections have ended, or at the deadline. 6. join() ends the workers.
