"""TLS handshakes in progress: the I/O thread advances each as its client does, and waits for none.

A client that doesn't finish its handshake is closed after the same time as one with an unfinished request. It
counts towards all connection limits meanwhile.
"""

import logging
import selectors
import socket
import ssl
from collections.abc import Callable

from pgbourse.serve.connection import ClientConnection
from pgbourse.serve.traffic import Traffic
from pgbourse.tls import TlsError, TlsSocket, common_name, describe
from pgbourse.wire.framing import Framer

__all__ = ["Handshakes"]

_log = logging.getLogger("pgbourse.server")


class Handshakes:
    """Turns accepted sockets into TLS connections. Only the I/O thread uses it."""

    def __init__(self, context: ssl.SSLContext, selector: selectors.BaseSelector, traffic: Traffic) -> None:
        self.context = context  # for handshakes that begin from now on
        self._selector = selector
        self._traffic = traffic

    def begin(
        self, client: socket.socket, address: str, framer: Framer, attend: Callable[[ClientConnection], None]
    ) -> None:
        """Take over a newly accepted socket; the other arguments are those of ClientConnection.

        Raises OSError if the client is already gone.
        """
        secured = self.context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        wire = TlsSocket(secured)
        connection = ClientConnection(wire, address, framer, attend)
        if self._traffic.admit(connection):
            connection.io.begun = self._traffic.now
            connection.io.interest = selectors.EVENT_READ
            self._selector.register(wire, connection.io.interest, lambda: self._go_on(connection, wire))

    def _go_on(self, connection: ClientConnection, wire: TlsSocket) -> None:
        traffic = self._traffic
        if connection.ended:  # it took too long
            traffic.read(connection)
            return
        try:
            wanted = wire.shake_hands()
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            traffic.close(connection)  # a client that leaves is not worth a log line
            return
        except OSError as error:
            _log.info(
                "closing a client from %s, its TLS handshake failed: %s", connection.address, describe(error)
            )
            self._hand_over(connection, wire)
            traffic.end(connection)
            return
        if wanted:
            self._wait_for(connection, wire, wanted)
            return
        self._hand_over(connection, wire)
        if self.context.verify_mode == ssl.CERT_REQUIRED:
            try:
                connection.certificate_name = common_name(wire.certificate())
            except TlsError as error:
                _log.info("closing a client from %s, its certificate won't do: %s", connection.address, error)
                traffic.end(connection, str(error))
                return
        traffic.read(connection)

    def _wait_for(self, connection: ClientConnection, wire: TlsSocket, wanted: int) -> None:
        if wanted != connection.io.interest:
            self._selector.modify(wire, wanted, self._selector.get_key(wire).data)
            connection.io.interest = wanted
            connection.io.stalled = self._traffic.now if wanted == selectors.EVENT_WRITE else 0.0

    def _hand_over(self, connection: ClientConnection, wire: TlsSocket) -> None:
        """Hand the connection over to traffic."""
        connection.io.begun = connection.io.stalled = 0.0
        connection.io.idle_since = self._traffic.now
        connection.io.interest = selectors.EVENT_READ
        self._selector.modify(wire, connection.io.interest, connection)
