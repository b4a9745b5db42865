"""The last moments of a connection whose server stops: what comes after its last reply is refused.

A client that sends one request after the other has the next one under way when its last reply arrives. If the
connection just ended, it couldn't know what became of that.
"""

import math
from collections import deque

from pgbourse.serve.connection import ClientConnection
from pgbourse.wire.framing import Frame, Framing, wrap_reply
from pgbourse.wire.messages import error_reply

__all__ = ["LastMoments"]

# Seconds for which a connection stays open after its last reply: longer than a reply takes to its client, and
# the next request back, on any network that trades.
SECONDS = 0.1

_READ_BYTES = 256 * 1024
_REFUSAL = error_reply("the server is stopping: this was not carried out")


class LastMoments:
    """The connections that have them. Only the I/O thread uses it."""

    def __init__(self, reply_framing: str, *, closes: bool) -> None:
        """Take two settings: how replies are framed, and whether a connection `closes` after its reply."""
        self._reply_framing = reply_framing
        self._closes = closes
        self._begun = False
        self._connections: deque[ClientConnection] = deque()  # those that are in them, in order of their ends

    def begin(self) -> None:
        """From now on each connection that has its last reply gets them."""
        self._begun = not self._closes

    def hold(self, connection: ClientConnection, now: float) -> bool:
        """Return whether a connection that has its last reply is to stay open for now, and be read from."""
        io = connection.io
        if self._begun and not io.last_moments and not io.eof and connection.feed is None:
            io.last_moments = now + SECONDS
            self._connections.append(connection)
        return now < io.last_moments < math.inf

    def refuse(self, connection: ClientConnection, now: float) -> bool:
        """Read what a client has sent after its last reply, and refuse it. True if there may be more."""
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            connection.lose()
            return False
        framer = connection.framer
        frames = framer.feed(data, now) if data else framer.finish()
        connection.say(b"".join([self._wrap(frame) for frame in frames]))
        if not data or framer.error is not None:
            connection.io.eof = not data
            connection.io.last_moments = now
        return bool(data)

    def over(self, now: float) -> list[ClientConnection]:
        """Return the connections whose last moments are over."""
        ended = []
        while self._connections and self._connections[0].io.last_moments <= now:
            ended.append(self._connections.popleft())
        return ended

    def _wrap(self, frame: Frame) -> bytes:
        framings = {"length": Framing.LENGTH_LINE, "mirror": frame.framing}
        return wrap_reply(_REFUSAL, framings.get(self._reply_framing))
