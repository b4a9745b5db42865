"""Connections that are open and idle while others are busy."""

import contextlib
import selectors
import socket
from collections.abc import Iterator
from typing import Final

from pgbourse.loadtest.connections import LoadError, Target, allow_open_files
from pgbourse.loadtest.replies import is_complete
from pgbourse.loadtest.workload import Feeder
from pgbourse.wire.framing import wrap_reply

__all__ = ["idle_connections"]

_SECONDS: Final = 30.0  # to connect, or to get a document answered
_AT_ONCE: Final = 100  # documents sent before the first reply is read


@contextlib.contextmanager
def idle_connections(target: Target, feeder: Feeder, number: int) -> Iterator[None]:
    """Keep so many connections open. Each has had one document answered, so the server knows them all.

    Raises LoadError if they can't be opened, or if the server has not kept them to the end.
    """
    allow_open_files()
    with contextlib.ExitStack() as stack:
        try:
            opened = [
                stack.enter_context(socket.create_connection((target.host, target.port), _SECONDS))
                for _ in range(number)
            ]
            for start in range(0, number, _AT_ONCE):
                some = opened[start : start + _AT_ONCE]
                for connection, (document, _) in zip(some, feeder, strict=False):
                    connection.sendall(wrap_reply(document, target.framing))
                for connection in some:
                    _read_reply(connection)
        except OSError as error:
            raise LoadError(f"can't keep {number} idle connections to {target.host}:{target.port}") from error
        yield
        with selectors.DefaultSelector() as selector:
            for connection in opened:
                selector.register(connection, selectors.EVENT_READ)
            lost = len(selector.select(0))
    if lost:
        raise LoadError(f"the server closed {lost} of {number} idle connections, or wrote to them")


def _read_reply(connection: socket.socket) -> None:
    received = b""
    while not is_complete(received):
        if not (data := connection.recv(65536)):
            raise LoadError("the server closed an idle connection")
        received += data
