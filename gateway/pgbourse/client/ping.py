"""Ask a running server for a real answer: one that comes from its database."""

import socket
import ssl
import time

from pgbourse.errors import PgbourseError
from pgbourse.tls import describe
from pgbourse.wire.framing import Frame, Framer, Framing, wrap_reply

__all__ = ["PingError", "ping"]

# Order ids begin at 1, so this changes nothing. An error that repeats the id is the database's answer; a
# server that can't reach its database answers without the id, or not at all.
_REQUEST = b'<transactions id="0"><query id="0"/></transactions>'
_ANSWER = b'<error id="0">'
# As a server of ours begins what is no answer of its database.
_FAILURES = (_ANSWER + b"internal error", _ANSWER + b"the exchange can't reach its database")
_MAX_REPLY_BYTES = 64 * 1024


class PingError(PgbourseError):
    """There is no server, or it can't trade."""


def ping(host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None) -> float:
    """Send a query that changes nothing, over TLS if there is a context; return the seconds to its answer.

    Raises PingError if no answer from the database comes within `timeout` seconds.
    """
    where = f"{host}:{port}"
    started = time.monotonic()
    deadline = started + timeout
    framer = Framer(_MAX_REPLY_BYTES)
    try:
        with _connect(host, port, timeout, tls) as server:
            server.sendall(wrap_reply(_REQUEST, Framing.LENGTH_LINE))
            replies: list[Frame] = []
            while not replies:
                server.settimeout(max(0.001, deadline - time.monotonic()))
                data = server.recv(4096)
                replies = framer.feed(data) if data else framer.finish()
                if not replies and not data:
                    raise PingError(f"{where} closed the connection without a reply")
                if not replies and framer.error is not None:
                    raise PingError(f"what {where} answers is no reply")
    except TimeoutError as error:
        raise PingError(f"{where} gave no answer within {timeout:g} seconds") from error
    except ssl.SSLError as error:
        raise PingError(f"can't speak TLS with a server at {where}: {describe(error)}") from error
    except OSError as error:
        raise PingError(f"can't reach a server at {where}") from error
    reply = replies[0].document
    if _ANSWER not in reply or any(failure in reply for failure in _FAILURES):
        raise PingError(f"{where} can't trade: {reply[:200].decode(errors='replace')}")
    return time.monotonic() - started


def _connect(host: str, port: int, timeout: float, tls: ssl.SSLContext | None) -> socket.socket:
    connection = socket.create_connection((host, port), timeout)
    return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)
