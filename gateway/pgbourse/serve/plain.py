"""A client's plain socket, whose calls keep the interpreter's lock.

Python gives its lock away for each call of a socket, and has to get it back from whichever thread took it
meanwhile. With several busy threads that costs more than the call itself, which never blocks here: sending a
reply takes ten microseconds, a change of threads up to a hundred.
"""

import ctypes
import errno
import os
import socket

__all__ = ["Buffer", "PlainWire"]

_libc = ctypes.PyDLL(None, use_errno=True)  # a PyDLL keeps the lock, a CDLL gives it away
# Their arguments are given as what C expects: to declare `argtypes`, by which ctypes would convert and check
# each of them, takes as long as the rest of the call.
_recv, _send = _libc.recv, _libc.send
_recv.restype = _send.restype = ctypes.c_ssize_t

_NO_FLAGS = ctypes.c_int(0)
_NO_SIGNAL = ctypes.c_int(getattr(socket, "MSG_NOSIGNAL", 0))
_BUFFER_BYTES = 64 * 1024
_WHOLE_BUFFER = ctypes.c_size_t(_BUFFER_BYTES)
_SEND_BYTES = 256 * 1024  # at once, so that nobody waits long for the lock


class Buffer:
    """What one thread receives into. Between the call and the copy another thread may run."""

    __slots__ = ("memory", "view")

    def __init__(self) -> None:
        self.memory = ctypes.create_string_buffer(_BUFFER_BYTES)
        self.view = memoryview(self.memory).cast("B")


class PlainWire:
    """A non-blocking socket."""

    __slots__ = ("_buffer", "_descriptor", "_socket")

    def __init__(self, client: socket.socket, buffer: Buffer) -> None:
        """Take over a socket, and share a buffer with others on which the same thread receives."""
        self._socket = client
        self._descriptor = ctypes.c_int(client.fileno())
        self._buffer = buffer

    def fileno(self) -> int:
        return self._descriptor.value

    def recv(self, size: int) -> bytes:
        buffer = self._buffer
        most = _WHOLE_BUFFER if size >= _BUFFER_BYTES else ctypes.c_size_t(size)
        while (count := _recv(self._descriptor, buffer.memory, most, _NO_FLAGS)) < 0:
            _check()
        return bytes(buffer.view[:count])

    def send(self, data: bytes | bytearray) -> int:
        if isinstance(data, bytearray):
            data = bytes(memoryview(data)[:_BUFFER_BYTES])
        size = len(data)
        most = ctypes.c_size_t(size if size < _SEND_BYTES else _SEND_BYTES)
        while (count := _send(self._descriptor, data, most, _NO_SIGNAL)) < 0:
            _check()
        return int(count)

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._descriptor = ctypes.c_int(-1)
        self._socket.close()


def _check() -> None:
    """Raise the error of the last call, as Python would, unless that was interrupted by a signal."""
    number = ctypes.get_errno()
    if number != errno.EINTR:
        raise OSError(number, os.strerror(number))
