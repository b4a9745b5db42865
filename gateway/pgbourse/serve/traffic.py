"""What the I/O thread does with connections: read and frame, write, enforce bounds, close cleanly."""

import logging
import math
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable

from pgbourse.serve.connection import ClientConnection
from pgbourse.serve.dispatch import Dispatcher
from pgbourse.serve.feedoutput import FeedOutput
from pgbourse.serve.stopping import LastMoments
from pgbourse.serve.trafficstatus import TrafficStatus
from pgbourse.settings import ServeSettings
from pgbourse.wire.feed import feed_error, format_heartbeat
from pgbourse.wire.framing import Frame, FrameError, Framer, Framing, wrap_reply
from pgbourse.wire.messages import error_reply

__all__ = ["Traffic", "refusal"]

_log = logging.getLogger("pgbourse.server")

_READ_BYTES = 64 * 1024
_HAND_OVER = 64  # ready connections at most before dispatch gets them, so that workers don't idle
_HEARTBEAT = 10.0  # seconds without anything to send, after which a feed says so
_BEATS = 1_000  # heartbeats sent in a row: they take some milliseconds, and other clients wait for that
_LINGER = 2.0  # seconds to wait for a client to close, once everything has been sent

# Total bounds on memory: documents that wait for a worker, half-received documents, and unread replies. At
# the first bound we stop reading, so clients slow down. At the other two we close the clients that go beyond:
# with half of a large document, or with large unread replies (and the documents behind them).
_QUEUE_BYTES = 64 * 1024 * 1024
UNFINISHED_BYTES = 256 * 1024 * 1024
UNSENT_BYTES = 256 * 1024 * 1024
_FRAME_BYTES = 200  # overhead of a waiting document
_FREE_BYTES = 16 * 1024  # what every connection may hold of either, whatever the others do

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


def refusal(address: str, settings: ServeSettings) -> bytes:
    """Return what a client is told that is refused because its address has too many connections."""
    most = settings.max_connections_per_address
    return _error(f"too many connections from {address}: at most {most} may be open", settings)


def _error(message: str, settings: ServeSettings) -> bytes:
    framing = Framing.LENGTH_LINE if settings.reply_framing == "length" else None
    return wrap_reply(error_reply(message), framing)


class Traffic:
    """All connections. Only the I/O thread uses it. `now` is the time of the loop's current turn."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        dispatcher: Dispatcher,
        settings: ServeSettings,
        on_leave: Callable[[str], None] | None = None,
    ) -> None:
        """Call `on_leave` with the address of each connection that is closed."""
        self._on_leave = on_leave
        self.connections: set[ClientConnection] = set()
        self.accepted = 0  # since the start
        self._from_address: Counter[str] = Counter()  # open connections by address
        self.now = time.monotonic()
        self._selector = selector
        self._dispatcher = dispatcher
        self._settings = settings
        self._closes = settings.close_after_reply
        self._patience = settings.request_timeout or math.inf
        self._idle_patience = settings.idle_timeout or math.inf
        self._per_address = settings.max_connections_per_address or math.inf
        self.last_moments = LastMoments(settings.reply_framing, closes=self._closes)
        self._ready: list[ClientConnection] = []  # to be handed to dispatch
        self._full = False  # too much waits for workers: we read nothing
        self._parked: set[ClientConnection] = set()  # those we don't read from because of that
        self._unfinished = 0  # bytes of unfinished requests, of all connections
        self._unsent = 0  # bytes of replies that clients have not taken, of all connections
        self._stuck = [0, 0]  # documents that wait for that, and their bytes

    def status(self) -> TrafficStatus:
        """Return the state of the connections. May be called from any thread."""
        connections = list(self.connections)
        return TrafficStatus(
            connections=len(connections),
            accepted=self.accepted,
            addresses=len(self._from_address),
            held=sum([one.held for one in connections]),
            begun=sum([one.io.begun > 0 for one in connections]),
            unread=sum([not one.io.interest & _READ for one in connections]),
            unsent_bytes=self._unsent,
            stuck_documents=self._stuck[0],
            stuck_bytes=self._stuck[1],
            is_full=self._full,
        )

    def add(self, connection: ClientConnection) -> None:
        """Start reading from a new connection, unless too many are open from its address."""
        if self.admit(connection):
            self._watch(connection, _READ)

    def admit(self, connection: ClientConnection) -> bool:
        """Count a new connection. If too many are open from its address, close it and return False."""
        address = connection.address
        if self._from_address[address] >= self._per_address:
            # The error goes out without lingering: a refused client must not take up another's place.
            connection.end(refusal(address, self._settings))
            connection.flush()
            connection.close()
            return False
        self._from_address[address] += 1
        self.connections.add(connection)
        self.accepted += 1
        connection.io.idle_since = self.now
        return True

    def happen(self, connection: ClientConnection, mask: int) -> None:
        """Handle an event of the selector."""
        if mask & _WRITE:
            connection.io.stalled = self.now  # it has just taken some output
            self.advance(connection)
        if mask & _READ:
            self.read(connection)
        if len(self._ready) >= _HAND_OVER:
            self.hand_over()

    def hand_over(self) -> None:
        """Hand connections with new documents to dispatch; stop reading if too much waits there."""
        if self._ready:
            self._dispatcher.submit(self._ready)
            self._ready.clear()
            self.throttle()

    def throttle(self) -> None:
        """Stop reading if too much waits for workers, until half of it is gone."""
        documents, size = self._dispatcher.waiting()
        # Documents that no worker may take yet must not keep other clients' documents out.
        documents -= self._stuck[0]
        size -= self._stuck[1]
        part = 2 if self._full else 1
        full = documents * part > self._settings.queue_documents or size * part > _QUEUE_BYTES
        if full == self._full:
            return
        self._full = full
        self._dispatcher.wants_room = full
        if full:
            self.throttle()  # again: a worker may have taken the last document before it saw wants_room
        else:
            parked, self._parked = self._parked, set()
            for connection in parked:
                self.advance(connection)

    def read(self, connection: ClientConnection) -> bool:
        """Read what a client has sent, up to a limit. True if there may be more at once."""
        if connection.io.linger_until:
            return self._discard(connection)
        if 0.0 < connection.io.last_moments < math.inf:
            more = self.last_moments.refuse(connection, self.now)
            self.advance(connection)
            return more
        if self._full:
            self._parked.add(connection)
            self._watch(connection, connection.io.interest & ~_READ)
            return False
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            connection.lose()
            self.advance(connection)
            return False
        framer = connection.framer
        frames = framer.feed(data, self.now) if data else framer.finish()
        self._receive(connection, frames)
        if framer.error is not None or not data or (frames and self._closes):
            connection.io.eof = not data
            self.end(connection, framer.error)
            return False
        if connection.io.begun or framer.mid_frame:
            self._note_unfinished(connection, framer, begins=bool(frames) or not connection.io.begun)
        if connection.pressed:
            self.advance(connection)
        return True

    def _receive(self, connection: ClientConnection, frames: list[Frame]) -> None:
        """Queue a connection's documents for a worker."""
        if not frames:
            return
        if self._closes:
            del frames[1:]
        connection.io.idle_since = self.now
        size = 0
        for frame in frames:
            size += len(frame.document)
        claimed = connection.receive(frames, size)
        if claimed is not None:
            self._dispatcher.count(len(frames), size)
        if claimed:
            self._ready.append(connection)

    def end(self, connection: ClientConnection, error: FrameError | str | None = None) -> None:
        """Read no more from a client. After all replies send it the error, if any, and close."""
        self._count_unfinished(connection, 0)
        connection.io.begun = 0.0
        if error is None:
            connection.end()
        else:
            connection.io.last_moments = math.inf
            connection.end(self._error_reply(str(error)), feed_error("", str(error)))
        self.advance(connection)

    def advance(self, connection: ClientConnection) -> None:
        """Send what can be sent, and do what the connection's state requires."""
        if connection not in self.connections or connection.io.linger_until:
            return
        left = connection.flush()
        if connection.claim():
            self._ready.append(connection)
        self._count_unsent(connection, left, connection.count_stuck())
        untaken = self._unsent + self._stuck[0] * _FRAME_BYTES + self._stuck[1]
        if left > _FREE_BYTES and untaken > UNSENT_BYTES:
            _log.warning("closing a client that takes its replies too slowly: too much is unsent in all")
            self.close(connection)
            return
        if connection.lost:
            self.close(connection)
            return
        if connection.finished():
            if self.last_moments.hold(connection, self.now):
                self._watch(connection, _READ)
            else:
                self._linger(connection)
            return
        if not left:
            connection.io.stalled = 0.0
        elif not connection.io.stalled:
            connection.io.stalled = self.now
        reads = _READ if connection.may_read() and connection not in self._parked else 0
        if reads and not connection.io.interest & _READ and connection.io.begun:
            connection.io.begun = self.now  # time in which we didn't read does not count
        self._watch(connection, reads | (_WRITE if left else 0))

    def close(self, connection: ClientConnection) -> None:
        """Close a connection, whatever still waits."""
        self._watch(connection, 0)
        self._count_unfinished(connection, 0)
        self._count_unsent(connection, 0, (0, 0))
        connection.close()
        if connection.claim():  # its documents are still carried out
            self._ready.append(connection)
        if connection in self.connections:
            self.connections.remove(connection)
            self._from_address[connection.address] -= 1
            if not self._from_address[connection.address]:
                del self._from_address[connection.address]
            if self._on_leave is not None:
                self._on_leave(connection.address)
        self._parked.discard(connection)

    def close_overdue(self) -> None:
        """Close what has taken too long. Checking each connection now and then is cheaper than timers."""
        beats = 0
        for connection in list(self.connections):
            if connection.io.linger_until:
                if self.now >= connection.io.linger_until:
                    self.close(connection)
            elif connection.io.stalled and self.now - connection.io.stalled >= self._patience:
                _log.info("closing a client that takes no replies")
                self.close(connection)
            elif (
                connection.io.begun
                and connection.io.interest & _READ
                and self.now - connection.io.begun >= self._patience
            ):
                self._give_up_on(connection)
            elif connection.feed is not None:
                beats += self._beat(connection, connection.feed, beats)
            elif connection.io.begun or connection.owed:
                connection.io.idle_since = self.now
            elif self.now - connection.io.idle_since >= self._idle_patience:
                self.end(connection)

    def _beat(self, connection: ClientConnection, feed: FeedOutput, beats: int) -> int:
        """Send a feed a heartbeat if it has been silent for long, and return how many that are."""
        if self.now - feed.silent_since() < _HEARTBEAT or beats >= _BEATS:
            return 0
        connection.hand(format_heartbeat(time.time()), self.now)
        return 1

    def end_feeds(self) -> None:
        """End all feeds at once; what is under way comes to its end."""
        for connection in list(self.connections):
            if connection.feed is not None:
                connection.end_feed()

    def end_last_moments(self) -> None:
        """Let go of the connections whose last moments are over."""
        for connection in self.last_moments.over(self.now):
            self.advance(connection)

    def _give_up_on(self, connection: ClientConnection) -> None:
        """Stop waiting for the rest of a request: end the input here, which may still complete it."""
        # It does for a length of 0: only the end of the input shows that it is not a binary length.
        received = connection.framer.progress
        frames = connection.framer.finish()
        self._receive(connection, frames)
        late = f"the request was not complete within {self._patience:g} seconds: {received} of it came"
        self.end(connection, late if connection.framer.error else None)

    def _watch(self, connection: ClientConnection, interest: int) -> None:
        """Make the selector watch a connection for these events."""
        if interest == connection.io.interest:
            return
        if not connection.io.interest:
            self._selector.register(connection.socket, interest, connection)
        elif interest:
            self._selector.modify(connection.socket, interest, connection)
        else:
            self._selector.unregister(connection.socket)
        connection.io.interest = interest

    def _note_unfinished(self, connection: ClientConnection, framer: Framer, *, begins: bool) -> None:
        """Count the bytes of an unfinished request, or that there are none any more."""
        self._count_unfinished(connection, framer.buffered)
        if not framer.mid_frame:
            connection.io.begun = 0.0
        elif begins:
            connection.io.begun = self.now
        if self._unfinished > UNFINISHED_BYTES and connection.io.buffered > _FREE_BYTES:
            self.end(connection, "too many large requests are being received at once: try again later")

    def _count_unfinished(self, connection: ClientConnection, size: int) -> None:
        self._unfinished += size - connection.io.buffered
        connection.io.buffered = size

    def _count_unsent(self, connection: ClientConnection, size: int, stuck: tuple[int, int]) -> None:
        self._unsent += size - connection.io.unsent
        connection.io.unsent = size
        for i in (0, 1):
            self._stuck[i] += stuck[i] - connection.io.stuck[i]
        connection.io.stuck = stuck

    def _error_reply(self, message: str) -> bytes:
        return _error(message, self._settings)

    def _linger(self, connection: ClientConnection) -> None:
        """Shut down our side, and wait a little for the client to close.

        Closing with unread input would reset the connection, and the reset could overtake the last reply.
        """
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:  # there is no room yet for the close_notify of TLS
            connection.io.stalled = connection.io.stalled or self.now
            self._watch(connection, _WRITE)
            return
        except OSError:
            connection.io.eof = True
        if connection.io.eof:
            self.close(connection)
            return
        connection.io.linger_until = self.now + _LINGER
        self._watch(connection, _READ)

    def _discard(self, connection: ClientConnection) -> bool:
        """Discard input that nobody needs any more. True if there may be more at once."""
        try:
            if connection.socket.recv(_READ_BYTES):
                return True
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.close(connection)
        return False
