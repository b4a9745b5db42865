"""One client's connection: documents that wait for a worker, and replies that wait for the client.

A connection may be in several of these states at once. The I/O thread sets all of them but the two noted.

held       Dispatch has it, in the queue of ready connections or in one worker's hands, never twice. That
           keeps its replies in order. It ends when everything is answered, or too much output waits.
pressed    Too many of its documents or replies wait: we don't read from it until half of them are gone.
parked     Too much waits for workers in total: we don't read from it until half is gone. Traffic keeps these.
stuck      It has documents that no worker may take before the client takes replies.
stalled    Replies wait and the client takes none. After --request-timeout it is closed.
begun      Part of a request has arrived. After --request-timeout the client gets an error and is closed.
ended      No more documents will come; a farewell, if any, follows the last reply. This state is final.
abandoned  A document's fate is unknown: later ones are dropped, and nothing more is sent. A worker sets this.
lost       The peer is gone: nothing can be sent, but what it sent is carried out. Either thread sets this.
lingering  Everything is sent: input is discarded until the client closes, or two seconds have passed.
a feed     It has subscribed: there is no last reply, so it lasts until the peer is lost or the feed is ended.
           This state is final, too. The worker that holds the connection sets it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from pgbourse.serve.feedoutput import FeedOutput
from pgbourse.serve.iostate import IoState, Wire
from pgbourse.serve.turns import Turn
from pgbourse.wire.framing import Frame, Framer

__all__ = ["ClientConnection", "Wire"]

# We don't read from a client with this many waiting documents, bytes of them, or unread reply bytes; with
# that many reply bytes we carry out nothing either, until it has taken half. This bounds what one client can
# pile up, and keeps a document at hand for the next free worker.
WAITING_DOCUMENTS = 1_000
WAITING_BYTES = 256 * 1024
OUTPUT_BYTES = 256 * 1024


class ClientConnection:
    """A client's socket, with what waits in both directions.

    Only the I/O thread reads from the socket, registers it, closes it and uses `io`. `_lock` guards
    everything private, and sending, so that nobody writes to the descriptor of a closed socket, which may be
    another client's by then. Sending never blocks.
    """

    __slots__ = (
        "_abandoned",
        "_ended",
        "_farewell",
        "_held",
        "_lock",
        "_lost",
        "_output",
        "_pressed",
        "_received",
        "_taken",
        "_waiting",
        "address",
        "attend",
        "certificate_name",
        "feed",
        "framer",
        "io",
        "socket",
        "turn",
    )

    def __init__(
        self, client: Wire, address: str, framer: Framer, attend: Callable[["ClientConnection"], None]
    ) -> None:
        """Take over a non-blocking socket and the peer's IP address.

        `attend` asks the I/O thread to `flush` the connection and look at it again.
        """
        self.socket = client
        self.address = address
        self.certificate_name: str | None = None  # of the certificate that the client presented
        self.feed: FeedOutput | None = None  # once it is one
        self.turn: Turn | None = None  # dispatch keeps it here while it doesn't hold the client
        self.framer = framer
        self.attend = attend
        self.io = IoState()
        self._lock = threading.Lock()
        self._waiting: deque[Frame] = deque()
        # Bytes of all documents so far. Only the holding worker adds to _taken, or whoever abandons all.
        self._received = 0
        self._taken = 0
        self._held = False
        self._output = bytearray()
        self._pressed = False
        self._ended = False
        self._farewell = (b"", b"")  # what to send after all replies, and after what a feed sends
        self._abandoned = False
        self._lost = False

    # For dispatch: called by the worker that holds the connection.

    def take(self) -> Frame | None:
        """Take the next document, or None. Only the worker that holds the connection may."""
        if not self._waiting:
            return None
        frame = self._waiting.popleft()
        self._taken += len(frame.document)
        return frame

    def put_back(self, frames: Sequence[Frame]) -> None:
        """Put taken documents, and all that were taken after them, back in their place."""
        with self._lock:
            self._waiting.extendleft(reversed(frames))
            self._taken -= sum([len(frame.document) for frame in frames])

    def answer(self, replies: bytes, *, unfinished: bool = False) -> bool:
        """Send replies, or keep what the client doesn't take. True if it stays held because more wait.

        It stays held, too, as long as the worker has `unfinished` documents of it.
        """
        with self._lock:
            self._say(replies)
            output = self._output
            held = self._held = unfinished or (bool(self._waiting) and len(output) < OUTPUT_BYTES)
            attention = output or self._lost or self._ended or self._pressed
        if attention:
            self.attend(self)
        return held

    def abandon(self) -> list[Frame]:
        """Close without a reply to what was taken; return what waits, which nobody will carry out."""
        with self._lock:
            dropped = list(self._waiting)
            self._waiting.clear()
            self._taken = self._received
            self._abandoned = True
            self._ended = True
            self._farewell = (b"", b"")
            self._held = False
            if self.feed is not None:
                self.feed.end()
        self.attend(self)
        return dropped

    # For the feed: called by the worker that holds the connection, then by the feed's thread.

    def begin_feed(self, on_room: Callable[[], None], on_leave: Callable[[], None]) -> None:
        """Become a feed; `on_room` and `on_leave` are called with the lock held (see FeedOutput)."""
        with self._lock:
            self.feed = FeedOutput(on_room, on_leave, time.monotonic())
            if self._lost or self._abandoned:
                self.feed.drop()

    def has_room(self) -> bool:
        """Return whether the feed may hand over more, as FeedOutput does."""
        with self._lock:
            return self.feed is None or self.feed.has_room()

    def hand(self, piece: bytes | memoryview, now: float, *, must: bool = False) -> bool:
        """Send a piece of the feed, or keep it until the client takes it. False if there is no room.

        There is room for one that `must` go out.
        """
        with self._lock:
            feed = self.feed
            if feed is None:
                return True
            waited = feed.left
            if not feed.add(piece, now, must=must):
                return False
            if not (waited or self._output):
                feed.flush(self._transmit)
            attention = self._lost or (feed.left and not waited)
        if attention:
            self.attend(self)
        return True

    def drop_holder(self, piece: memoryview) -> None:
        """Close at once if the client has not been sent this piece yet, so that its memory is free."""
        with self._lock:
            if self.feed is None or not self.feed.holds(piece):
                return
            self._ended = True
            self._lose()
        self.attend(self)

    def end_feed(self, farewell: bytes = b"") -> None:
        """Send nothing more of the feed but what is under way, and a farewell, if it is one; then close."""
        with self._lock:
            if self.feed is not None:
                self._ended = True
                self.feed.end(farewell)
        self.attend(self)

    # For the server: called by the I/O thread.

    def receive(self, frames: list[Frame], size: int) -> bool | None:
        """Queue documents, of `size` bytes in all. True if dispatch must now be given the connection.

        None if the connection has been abandoned, and the documents with it.
        """
        with self._lock:
            if self._abandoned:
                return None
            self._waiting.extend(frames)
            self._received += size
            self._pressed = self._has_many(1)
            return self._claim()

    def claim(self) -> bool:
        """Return whether the connection must be handed to dispatch, which then holds it."""
        with self._lock:
            return self._claim()

    def may_read(self) -> bool:
        """Return whether there is room for more documents of this client."""
        with self._lock:
            part = 2 if self._pressed else 1  # once full, it waits until half is free
            self._pressed = self._has_many(part) or len(self._output) >= OUTPUT_BYTES // part
            return not (self._ended or self._pressed)

    def count_stuck(self) -> tuple[int, int]:
        """Return how many documents wait until the client takes replies, and their bytes."""
        with self._lock:
            if self._held or not self._waiting:
                return 0, 0
            return len(self._waiting), self._received - self._taken

    def end(self, farewell: bytes = b"", feed_farewell: bytes = b"") -> None:
        """Expect no more documents; send `farewell` after all replies. The first call counts.

        If it is a feed by then, that is ended by its own farewell; without one it goes on.
        """
        with self._lock:
            if not self._ended:
                self._ended = True
                self._farewell = farewell, feed_farewell

    def say(self, replies: bytes) -> None:
        """Send something after the last reply."""
        with self._lock:
            self._say(replies)

    def lose(self) -> None:
        """Send nothing more to the peer. Its documents are still carried out, as it may have meant them."""
        with self._lock:
            self._ended = True
            self._lose()

    def flush(self) -> int:
        """Send what the client takes, and return how many bytes are left."""
        with self._lock:
            feed = self.feed
            if self._output:
                del self._output[: self._transmit(self._output)]
            if self._farewell[0] and self._ended and not (self._output or self._held or self._waiting):
                (farewell, feed_farewell), self._farewell = self._farewell, (b"", b"")
                if feed is None:
                    self._say(farewell)
                else:
                    feed.end(feed_farewell)
            if feed is not None and not self._output:
                return feed.flush(self._transmit)
            return len(self._output)

    @property
    def held(self) -> bool:
        return self._held

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def pressed(self) -> bool:
        return self._pressed

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def owed(self) -> bool:
        """Whether the client waits for a reply."""
        return self._held or bool(self._waiting or self._output)

    def finished(self) -> bool:
        """Return whether the kernel has everything that the client will get."""
        with self._lock:
            goes_on = self.feed is not None and (self.feed.left > 0 or not self.feed.has_ended)
            return self._ended and not (
                self._held or self._waiting or self._output or self._farewell[0] or goes_on
            )

    def close(self) -> None:
        with self._lock:
            self._ended = True
            self._lose()
            self.socket.close()
            self.turn = None

    # Called with the lock held.

    def _has_many(self, part: int) -> bool:
        return (
            len(self._waiting) >= WAITING_DOCUMENTS // part
            or self._received - self._taken >= WAITING_BYTES // part
        )

    def _claim(self) -> bool:
        if self._held or not self._waiting or len(self._output) >= OUTPUT_BYTES:
            return False
        self._held = True
        return True

    def _say(self, data: bytes) -> None:
        if self._lost:
            return
        sent = 0 if self._output else self._transmit(data)
        if sent < len(data):
            self._output += memoryview(data)[sent:]

    def _transmit(self, data: bytes | bytearray) -> int:
        """Return how many bytes the kernel took; if the peer is gone, all of them, in effect."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return len(data)

    def _lose(self) -> None:
        self._lost = True
        self._output.clear()
        self._farewell = (b"", b"")
        if self.feed is not None:
            self.feed.drop()
