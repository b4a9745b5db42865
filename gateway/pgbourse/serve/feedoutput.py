"""What a client that has subscribed is yet to be sent: pieces that it shares with others, in their order."""

import math
from collections import deque
from collections.abc import Callable

__all__ = ["FeedOutput"]

# Bytes of pieces that wait for one client: at this many the feed holds back what follows, and goes on once
# most are gone. The kernel has as many again, or more.
FULL = 64 * 1024
_LOW = 16 * 1024
# Of them so many count in the total of what clients have not taken: others hold the same pieces.
_COUNTED = 16 * 1024
_SLICE = 256 * 1024  # bytes sent at once, of the rest of a piece


class FeedOutput:
    """The pieces of one connection, each one or more whole documents. The connection's lock guards it all.

    A piece is held by reference: thousands of clients that wait for the same one take no more memory.
    """

    __slots__ = ("_on_leave", "_on_room", "_pieces", "_sent", "_spoke_at", "_wanted", "has_ended", "left")

    def __init__(self, on_room: Callable[[], None], on_leave: Callable[[], None], now: float) -> None:
        """`on_room` is called once there is room again for what found none, `on_leave` at the end."""
        self._on_room = on_room
        self._on_leave = on_leave
        self._pieces: deque[bytes | memoryview] = deque()  # a view of what may be large
        self._sent = 0  # bytes of the first piece that the client has been sent
        self._wanted = False  # something found no room
        self._spoke_at = now  # when a piece last came
        self.left = 0  # bytes that the client has not been sent
        self.has_ended = False  # nothing is added any more

    def has_room(self) -> bool:
        """Return whether a piece would be taken; if not, `on_room` will be called."""
        if self.left < FULL or self.has_ended:
            return True
        self._wanted = True
        return False

    def add(self, piece: bytes | memoryview, now: float, *, must: bool) -> bool:
        """Take a piece of any size if there is room, which there is for one that `must` go out."""
        if not (must or self.has_room()):
            return False
        if not self.has_ended:
            self._pieces.append(piece)
            self.left += len(piece)
            self._spoke_at = now
        return True

    def silent_since(self) -> float:
        """Return since when nothing has come; infinity if the client hasn't taken everything yet."""
        return math.inf if self.left or self.has_ended else self._spoke_at

    def flush(self, send: Callable[[bytes], int]) -> int:
        """Send what the client takes, and return how many bytes are left, as far as they count."""
        pieces = self._pieces
        while pieces:
            piece = pieces[0]
            if self._sent or not isinstance(piece, bytes):
                sent = send(bytes(piece[self._sent : self._sent + _SLICE]))
            else:
                sent = send(piece)
            if not pieces or not sent:  # the client is gone, or takes nothing now
                break
            self._sent += sent
            self.left -= sent
            if self._sent == len(piece):
                pieces.popleft()
                self._sent = 0
        if self._wanted and self.left < _LOW:
            self._wanted = False
            self._on_room()
        return min(self.left, _COUNTED)

    def holds(self, piece: memoryview) -> bool:
        """Return whether this very piece is among those that are left."""
        return any(one is piece for one in self._pieces)

    def end(self, farewell: bytes = b"") -> None:
        """Take nothing more; leave out what has not begun to be sent, for a farewell."""
        if self.has_ended:
            return
        self.has_ended = True
        while len(self._pieces) > 1:  # of the first the client may have a part, or OpenSSL
            self.left -= len(self._pieces.pop())
        if farewell:
            self._pieces.append(farewell)
            self.left += len(farewell)
        self._on_leave()

    def drop(self) -> None:
        """Forget everything: the client is gone."""
        self._pieces.clear()
        self.left = 0
        if not self.has_ended:
            self.has_ended = True
            self._on_leave()
