"""A client's plain socket, whose calls keep the interpreter's lock.

Python gives its lock away for each call of a socket, and has to get it back from whichever thread took it
meanwhile. With several busy threads that costs more than the call itself, which never blocks here: sending a
reply takes ten microseconds, a change of threads up to a hundred.
"""

import ctypes
import errno
import os
import socket
from typing import NamedTuple

__all__ = ["Buffer", "PlainWire", "new_buffer"]

_libc = ctypes.PyDLL(None, use_errno=True)  # a PyDLL keeps the lock, a CDLL gives it away
# Without argtypes, which take longer to look at than the arguments to pass: all sizes here fit an int.
_recv, _send = _libc.recv, _libc.send
_recv.restype = _send.restype = ctypes.c_ssize_t

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_BUFFER_BYTES = 64 * 1024
_SEND_BYTES = 256 * 1024  # at once, so that nobody waits long for the lock


class Buffer(NamedTuple):
    """What is received into, as C and as Python see it."""

    array: ctypes.Array[ctypes.c_char]
    view: memoryview


def new_buffer() -> Buffer:
    """Return what one thread receives into. Between the call and the copy another thread may run."""
    data = bytearray(_BUFFER_BYTES)
    return Buffer((ctypes.c_char * _BUFFER_BYTES).from_buffer(data), memoryview(data))


class PlainWire:
    """A non-blocking socket."""

    __slots__ = ("_array", "_number", "_socket", "_view")

    def __init__(self, client: socket.socket, buffer: Buffer) -> None:
        """Take over a socket, and share a buffer with others on which the same thread receives."""
        self._socket = client
        self._number = client.fileno()
        self._array, self._view = buffer

    def fileno(self) -> int:
        return self._number

    def recv(self, size: int) -> bytes:
        size = size if size < _BUFFER_BYTES else _BUFFER_BYTES  # min() takes longer
        while (count := _recv(self._number, self._array, size, 0)) < 0:
            _check()
        return bytes(self._view[:count])

    def send(self, data: bytes | bytearray) -> int:
        if isinstance(data, bytearray):
            data = bytes(memoryview(data)[:_BUFFER_BYTES])
        size = len(data) if len(data) < _SEND_BYTES else _SEND_BYTES
        while (count := _send(self._number, data, size, _NO_SIGNAL)) < 0:
            _check()
        return count  # type: ignore[no-any-return]

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._number = -1
        self._socket.close()


def _check() -> None:
    """Raise the error of the last call, as Python would, unless that was interrupted by a signal."""
    number = ctypes.get_errno()
    if number != errno.EINTR:
        raise OSError(number, os.strerror(number))
