"""A child's end of the channel through which its parent deals connections to it, and what goes through it.

Down come records, each with the socket of one client: the client's address. Up goes READY, and then the
address of each client that has left, so that the parent can count who is there. All records have one length,
so that the kernel of every system keeps each together with its socket.
"""

import contextlib
import errno
import socket
import threading

__all__ = ["READY", "RECORD_BYTES", "Dealt", "pad", "unpad"]

RECORD_BYTES = 64  # an IPv6 address with the name of an interface has up to 61
READY = "ready"  # this child takes clients from now on; it is no address


def pad(text: str) -> bytes:
    return text.encode().ljust(RECORD_BYTES)


def unpad(record: bytes | bytearray) -> str:
    return record.decode().rstrip()


class Dealt:
    """What a server has in place of a listening socket: `accept` takes a connection that was dealt to us."""

    def __init__(self, channel: socket.socket, family: int, address: tuple[str, int]) -> None:
        """Take over our end of the channel; the family and address are those of the parent's own listener."""
        self._channel = channel
        self._channel.setblocking(False)
        self._family = family
        self._address = address
        # Guards the two below: what is still to be told, and sending it.
        self._lock = threading.Lock()
        self._untold = bytearray()

    def fileno(self) -> int:
        return self._channel.fileno()

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Return a client's socket and address.

        Raises BlockingIOError if none was dealt, and OSError if there is no descriptor for it.
        """
        record, descriptors, _, _ = socket.recv_fds(self._channel, RECORD_BYTES, 1)
        if not record:  # the parent is gone: somebody else notices that, and ends us
            raise BlockingIOError
        address = unpad(record)
        if not descriptors:
            self.note_leaver(address)
            raise OSError(errno.EMFILE, "too many open files")
        client = socket.socket(self._family, socket.SOCK_STREAM, fileno=descriptors[0])
        return client, (address, 0)

    def note_leaver(self, address: str) -> None:
        """Note that a client has left, for the next report."""
        with self._lock:
            self._untold += pad(address)

    def report(self) -> None:
        """Tell the parent who has left, as far as the channel has room; the next report tells the rest."""
        if not self._untold:
            return
        with self._lock:
            try:
                del self._untold[: self._channel.send(self._untold)]
            except BlockingIOError:
                pass
            except OSError:  # closed: nobody counts any more
                self._untold.clear()

    def report_ready(self) -> None:
        """Tell the parent that clients may come."""
        with contextlib.suppress(OSError):
            self._channel.sendall(pad(READY))

    def close(self) -> None:
        self._channel.close()
