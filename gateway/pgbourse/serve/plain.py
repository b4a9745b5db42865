"""A client's plain socket, whose calls keep the interpreter's lock.

Python gives its lock away for each call of a socket, and has to get it back from whichever thread took it
meanwhile. With several busy threads that costs more than the call itself, which never blocks here: sending a
reply takes ten microseconds, a change of threads up to a hundred.
"""

import ctypes
import errno
import os
import socket
from typing import Any

__all__ = ["PlainWire", "new_buffer"]

_libc = ctypes.PyDLL(None, use_errno=True)  # a PyDLL keeps the lock, a CDLL gives it away
_arguments: list[Any] = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_recv, _send = _libc.recv, _libc.send
_recv.argtypes = _send.argtypes = _arguments
_recv.restype = _send.restype = ctypes.c_ssize_t

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_BUFFER_BYTES = 64 * 1024
_Buffer = ctypes.Array[ctypes.c_char]
_SEND_BYTES = 256 * 1024  # at once, so that nobody waits long for the lock


def new_buffer() -> _Buffer:
    """Return what one thread receives into. Between the call and the copy another thread may run."""
    return ctypes.create_string_buffer(_BUFFER_BYTES)


class PlainWire:
    """A non-blocking socket."""

    __slots__ = ("_buffer", "_number", "_socket")

    def __init__(self, client: socket.socket, buffer: _Buffer) -> None:
        """Take over a socket, and share a buffer with others on which the same thread receives."""
        self._socket = client
        self._number = client.fileno()
        self._buffer = buffer

    def fileno(self) -> int:
        return self._number

    def recv(self, size: int) -> bytes:
        while (count := _recv(self._number, self._buffer, min(size, _BUFFER_BYTES), 0)) < 0:
            _check()
        return ctypes.string_at(self._buffer, count)

    def send(self, data: bytes | bytearray) -> int:
        if isinstance(data, bytearray):
            data = bytes(memoryview(data)[:_BUFFER_BYTES])
        while (count := _send(self._number, data, min(len(data), _SEND_BYTES), _NO_SIGNAL)) < 0:
            _check()
        return int(count)

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
