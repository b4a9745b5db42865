"""A connection for those who only look: what goes wrong is told in words that fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgbourse.client import Client, ConnectionLost, TimedOut
from pgbourse.errors import PgbourseError

if TYPE_CHECKING:
    import ssl

__all__ = ["AskError", "ServerAddress", "asking"]


class AskError(PgbourseError):
    """The server gave no answer, or doesn't know what is asked about."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server, the seconds to wait for each of its answers, and how to speak TLS with it, if so."""

    host: str
    port: int
    timeout: float = 5.0
    tls: "ssl.SSLContext | None" = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@contextmanager
def asking(server: ServerAddress) -> Iterator[Client]:
    """Connect until the block ends.

    Raises AskError in the place of a lost or late answer, ClientError if the server can't be reached.
    """
    try:
        with Client(server.host, server.port, timeout=server.timeout, tls=server.tls, refs=False) as client:
            yield client
    except TimedOut:
        raise AskError(f"{server} gave no answer within {server.timeout:g} seconds") from None
    except ConnectionLost:
        raise AskError(f"{server} closed the connection without an answer") from None
