"""A client's socket as a connection needs it, and the I/O thread's notes on that connection."""

from typing import Protocol

__all__ = ["IoState", "Wire"]


class Wire(Protocol):
    """What a connection needs from a socket. Nothing blocks; with TLS that includes `shutdown`."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | bytearray, /) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class IoState:
    """The I/O thread's notes on a connection. No other thread writes them."""

    __slots__ = (
        "begun",
        "buffered",
        "eof",
        "idle_since",
        "interest",
        "last_moments",
        "linger_until",
        "stalled",
        "stuck",
        "unsent",
    )

    def __init__(self) -> None:
        self.interest = 0  # what the selector watches: EVENT_READ, EVENT_WRITE
        self.eof = False  # the client has shut down its sending side
        # As they are counted in the totals of all connections.
        self.buffered = 0  # bytes of an unfinished request
        self.unsent = 0  # bytes of replies that the client has not taken
        self.stuck = (0, 0)  # documents that no worker may have because of these replies, and their bytes
        # Times by time.monotonic(); 0 if there is none.
        self.begun = 0.0  # when the unfinished request began
        self.idle_since = 0.0  # when the last request came, or last waited for its reply
        self.stalled = 0.0  # since when the client has not taken any output
        self.last_moments = 0.0  # while the server stops: until when what comes is refused; inf: not at all
        self.linger_until = 0.0  # when to close, once everything has been sent
