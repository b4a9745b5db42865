"""A network between the gateway and the database, or a client and the gateway, that can be cut."""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Proxy"]


class Proxy:
    """A TCP port that leads to a server's socket, until it is told to cut or to stall."""

    def __init__(self, target: Path | tuple[str, int], receive_buffer: int | None = None) -> None:
        """Lead to a socket in the file system, or to a port. While it stalls, a buffer is taken in."""
        self._receive_buffer = receive_buffer
        self._target = target if isinstance(target, tuple) else str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        # Guards the pairs, and the two fields for the state of the network.
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._down = False
        self._bytes_left: int | None = None  # of answers, before the network goes down
        self._flows = threading.Event()
        self._flows.set()
        self._threads = [threading.Thread(target=self._accept, name="proxy-accept")]
        self._threads[0].start()

    def cut(self) -> None:
        """Cut every connection, and every new one, until `restore`."""
        with self._lock:
            self._down = True
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _cut(*pair)
        self._flows.set()

    def cut_after(self, count: int) -> None:
        """Cut once this many more bytes of answers have passed, most likely in the middle of one."""
        with self._lock:
            self._bytes_left = count

    @property
    def is_cut(self) -> bool:
        return self._down

    def stall(self) -> None:
        """Silently hold everything back until `cut` or `restore`."""
        self._flows.clear()

    def restore(self) -> None:
        """Let everything pass again."""
        with self._lock:
            self._down = False
            self._bytes_left = None
        self._flows.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            is_port = isinstance(self._target, tuple)
            server = socket.socket(socket.AF_INET if is_port else socket.AF_UNIX)
            if self._receive_buffer is not None:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                server.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
                down = self._down
            if down:
                _cut(client, server)
            self._threads.append(threading.Thread(target=self._lead, args=(client, server), name="proxy"))
            self._threads[-1].start()

    def _lead(self, client: socket.socket, server: socket.socket) -> None:
        """Pass data on in both directions, and close both ends only when neither passes any more.

        The number of a closed socket could become another connection's while a thread still reads from it.
        """
        answers = threading.Thread(target=self._pump, args=(server, client, True), name="proxy-answers")
        answers.start()
        self._pump(client, server, False)
        answers.join()
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if answers and (count := self._allowed(len(data))) < len(data):
                    sink.sendall(data[:count])
                    self.cut()
                    return
                sink.sendall(data)
        _cut(source, sink)

    def _allowed(self, count: int) -> int:
        """Return how many of so many bytes of an answer pass before the network goes down."""
        with self._lock:
            if self._bytes_left is None:
                return count
            allowed = min(count, self._bytes_left)
            self._bytes_left -= allowed
            return allowed


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
