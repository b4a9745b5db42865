"""The listening socket."""

import errno
import math
import socket
import time

from pgbourse.errors import PgbourseError

__all__ = ["BACKLOG", "ListenError", "Seldom", "is_shortage", "listen"]

BACKLOG = 4096  # thousands of clients may connect at once; the kernel lowers it to its own limit

_SELDOM = 60.0  # seconds


class ListenError(PgbourseError):
    """We can't listen on the address."""


class Seldom:
    """Say whether a warning is due, which is so once a minute at most: who finds no room knocks all the time.

    Only one thread may ask.
    """

    def __init__(self) -> None:
        self._warned_at = -math.inf

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self._warned_at < _SELDOM:
            return False
        self._warned_at = now
        return True


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a non-blocking listening socket; port 0 takes a free one.

    Raises ListenError, which names the option, if the port is taken; or if the address is not this machine's.
    """
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        if listener is not None:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            variable = f"PGBOURSE_{option[2:].replace('-', '_').upper()}"
            raise ListenError(
                f"port {port} on {host} is in use: {option} ({variable}) names another"
            ) from None
        raise ListenError(f"can't listen on port {port} of {host}") from error
    return listener


def is_shortage(error: OSError) -> bool:
    """Return whether accept() failed for lack of descriptors or memory, which may pass."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
