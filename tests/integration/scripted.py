"""Servers that feed what a test tells them to, on one connection after the other."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pgbourse.wire.framing import Frame, Framer

__all__ = ["Peer", "Script", "scripted_server"]

_GUARD = 60.0
_FEATURES = b'<results><server version="1" features="book subscribe"/></results>\n'


class Peer:
    """The server's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._framer = Framer(1 << 20)
        self._heard: list[Frame] = []

    def hear(self) -> str:
        """Wait for the next document; nothing if the client closes."""
        while not self._heard:
            data = self.socket.recv(65536)
            if not data:
                return ""
            self._heard += self._framer.feed(data)
        return self._heard.pop(0).document.decode()

    def say(self, *documents: str) -> None:
        """Send documents, each on a line."""
        self.socket.sendall("".join(document + "\n" for document in documents).encode())


Script = Callable[[Peer], object]


def _tell_features(peer: Peer) -> None:
    if peer.hear():
        peer.socket.sendall(_FEATURES)


@contextmanager
def scripted_server(*scripts: Script, features: Script = _tell_features) -> Iterator[tuple[str, int]]:
    """Serve as many connections as there are scripts, after the one that asks for features.

    A connection is closed when its script has ended; then the next one is taken. A script that fails fails
    the test.
    """
    failures: list[BaseException] = []

    def run() -> None:
        for script in (features, *scripts):
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(_GUARD)
                    script(Peer(connection))
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                listener.close()  # so that the client notices
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_GUARD)
        thread = threading.Thread(target=run, name="scripted-server")
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            thread.join()
    if failures:
        raise failures[0]
