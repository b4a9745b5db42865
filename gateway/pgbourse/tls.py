"""TLS: the contexts of both sides, a socket that behaves as a plain one does, and the name in a certificate.

No threads and no selectors: pgbourse.serve.handshakes has those.
"""

import re
import selectors
import ssl
import threading
from pathlib import Path
from typing import Any

from pgbourse.errors import PgbourseError

__all__ = ["TlsError", "TlsSocket", "client_context", "common_name", "describe", "server_context"]

# What fits into one record. OpenSSL wants a write that the kernel didn't take again with the same beginning,
# so it is given no more at a time than it has to be given again.
_RECORD_BYTES = 16 * 1024
# As in the constraints of the tables that DBAs write names into.
_NAME = re.compile(r"[ -~]{1,255}")


class TlsError(PgbourseError):
    """A certificate, a key or a file of authorities can't be used."""


def server_context(
    certificate: Path | None, key: Path | None, client_authorities: Path | None
) -> ssl.SSLContext | None:
    """Return how a server speaks TLS, or None where it shall not: without a certificate.

    The key is in a file of its own, or in the certificate's. With client authorities, a client must show a
    certificate that one of them has signed.

    Raises TlsError, with the file's name, when one can't be used.
    """
    if certificate is None:
        for option, given in (("--tls-key", key), ("--tls-client-ca", client_authorities)):
            if given is not None:
                raise TlsError(f"{option} goes with --tls-cert: without it no TLS is spoken")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Every connection shows its certificate: there is nothing to resume. Without tickets the server also says
    # nothing of its own accord after a handshake.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    # A client that closes without a word of TLS is still owed its replies, as over plain TCP. What was cut
    # short, the framing tells.
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    _load_certificate(context, certificate, key)
    if client_authorities is not None:
        _load_authorities(context, client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    authorities: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    pinned: Path | None = None,
) -> ssl.SSLContext | None:
    """Return how a client speaks TLS, or None without authorities and without a pinned certificate.

    The server's certificate must be signed by one of the authorities, for the host that is asked for; or it
    must be the pinned one, whatever host that is for. The client shows `certificate` if there is one.

    Raises TlsError, with the file's name, when one can't be used.
    """
    if authorities is None and pinned is None:
        if certificate is not None:
            raise TlsError("--client-cert goes with --tls-ca: without it no TLS is spoken")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities is not None:
        _load_authorities(context, authorities)
    elif pinned is not None:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=_first_certificate(pinned))
    if certificate is not None:
        _load_certificate(context, certificate, key)
    return context


def common_name(certificate: Any) -> str:
    """Return the common name of a certificate's subject, as getpeercert() gives it.

    Raises TlsError unless there is exactly one, of printable ASCII.
    """
    names = [
        value
        for attributes in (certificate or {}).get("subject", ())
        for kind, value in attributes
        if kind == "commonName"
    ]
    if len(names) != 1:
        raise TlsError(
            f"the subject of a client's certificate must have one common name (CN), not {len(names)}"
        )
    if not _NAME.fullmatch(names[0]):
        raise TlsError(
            "the common name (CN) of a client's certificate must be 1 to 255 characters of printable ASCII"
        )
    return str(names[0])


class TlsSocket:
    """A non-blocking TLS connection with the methods of a plain socket that a gateway uses, and no others.

    `recv` is for one thread and `send` for another. A lock guards OpenSSL's state of the connection, which is
    not for two at once.
    """

    def __init__(self, secured: ssl.SSLSocket, *, established: bool = False) -> None:
        """Take over a non-blocking socket; nothing can be said before its handshake is done."""
        self._socket = secured
        self._established = established
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def shake_hands(self) -> int:
        """Go on with the handshake; return what it waits for (EVENT_READ, EVENT_WRITE), 0 once it is done.

        Raises OSError, which ssl.SSLError is, when it fails.
        """
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        self._established = True
        return 0

    def certificate(self) -> Any:
        """Return the certificate that the peer has shown, as ssl.SSLSocket.getpeercert does."""
        return self._socket.getpeercert()

    def recv(self, size: int) -> bytes:
        """Return what one record holds; `size` must be as large as one, so that nothing is left behind.

        A selector knows nothing of what OpenSSL has already taken from the kernel.
        """
        if not self._established:
            raise BlockingIOError
        try:
            with self._lock:
                return self._socket.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes. What it did not take must come again, be it with more behind it."""
        if not self._established:
            raise ConnectionError("the handshake is not done")
        sent = 0
        while sent < len(data):
            # A copy, unless it is short: a view could outlive this call in an exception's traceback, and keep
            # the caller from changing its buffer.
            record = data[sent : sent + _RECORD_BYTES]
            try:
                with self._lock:
                    sent += self._socket.send(record)
            except ssl.SSLWantWriteError:
                # Not for want of reading: that would be a renegotiation, which is off, and so an error.
                if not sent:
                    raise BlockingIOError from None
                break
        return sent

    def shutdown(self, how: int) -> None:
        """Say that nothing more comes, in TLS and then in TCP. What is received after that is not decrypted.

        Raises BlockingIOError when the kernel has no room for that: to be tried again once it has.
        """
        with self._lock:
            if self._established:
                try:
                    self._socket.unwrap()
                except ssl.SSLWantWriteError:
                    raise BlockingIOError from None
                except (ssl.SSLError, ValueError):
                    pass  # it is said; what the peer says, or has said, doesn't matter
            self._established = True
            self._socket.shutdown(how)

    def close(self) -> None:
        with self._lock:
            self._socket.close()


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    _read(certificate)
    where = f"the key in {key or certificate}"
    if b"PRIVATE KEY-----" not in _read(key or certificate):
        hint = "" if key else ": name its file with --tls-key"
        raise TlsError(f"there is no private key in {key or certificate}{hint}")

    def refuse_passphrase() -> str:
        raise TlsError(f"{where} has a passphrase, which nobody is here to type: store it without one")

    try:
        context.load_cert_chain(certificate, key, refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{where} is not that of the certificate in {certificate}") from error
        pair = f"{certificate} and {key}" if key else str(certificate)
        raise TlsError(f"{pair} can't be read as a certificate and its key, in PEM") from error


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    _read(file)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise TlsError(f"there are no certificates of authorities in {file}, in PEM") from error


def _first_certificate(file: Path) -> bytes:
    """Return the certificate that a file begins with, which its owner shows, without those that signed it."""
    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", _read(file), re.DOTALL)
    if found is None:
        raise TlsError(f"there is no certificate in {file}, in PEM")
    try:
        return ssl.PEM_cert_to_DER_cert(found[0].decode("ascii", "replace"))
    except ValueError as error:
        raise TlsError(f"there is no certificate in {file}, in PEM") from error


def _read(file: Path) -> bytes:
    """Return what a file holds: OpenSSL doesn't say which of its files it can't read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise TlsError(f"can't read {file}") from error


def describe(error: OSError) -> str:
    """Say in a few words why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).lower().replace("_", " ")
