"""TLS: contexts for both sides, a socket that behaves like a plain one, and the name in a certificate.

No threads and no selectors: pgbourse.serve.handshakes has those.
"""

import contextlib
import re
import selectors
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgbourse.errors import PgbourseError

__all__ = [
    "TlsError",
    "TlsSocket",
    "client_context",
    "common_name",
    "describe",
    "server_context",
    "validity",
]

# What fits into one record. When the kernel refuses a write, OpenSSL must be called again with the same
# bytes, so it never gets more than one record at a time.
_RECORD_BYTES = 16 * 1024
# As in the constraints of the tables that hold the names.
_NAME = re.compile(r"[ -~]{1,255}")
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME, for which Python has no name


class TlsError(PgbourseError):
    """A certificate, a key or a file of authorities can't be used."""


def server_context(
    certificate: Path | None, key: Path | None, client_authorities: Path | None
) -> ssl.SSLContext | None:
    """Return the context of a TLS server; None without a certificate, for plain TCP.

    The key is in its own file, or in the certificate's. With client authorities, a client must present a
    certificate that one of them has signed.

    Raises TlsError, with the file's name, if a file can't be used.
    """
    if certificate is None:
        for option, given in (("--tls-key", key), ("--tls-client-ca", client_authorities)):
            if given is not None:
                raise TlsError(f"{option} goes with --tls-cert: without it no TLS is spoken")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Every connection presents its certificate, so there is nothing to resume. Without tickets the server
    # also sends nothing unasked after a handshake.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    # A client that ends TCP without a close_notify still gets its replies, as over plain TCP. The framing
    # notices a request that was cut short.
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
    """Return the context of a TLS client; None, for plain TCP, without authorities or a pinned certificate.

    The server's certificate must be signed by one of the authorities for the host that we connect to, or be
    the pinned one, whatever its host. The client presents `certificate` if there is one.

    Raises TlsError, with the file's name, if a file can't be used.
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


def validity(certificate: Path, key: Path | None) -> tuple[datetime, datetime] | None:
    """Return since when and until when a server's certificate is valid; None if it can't be told.

    Python tells that of a peer's certificate alone, so we shake hands with ourselves. Raises TlsError.
    """
    server, client = server_context(certificate, key, None), client_context(pinned=certificate)
    assert server is not None
    assert client is not None
    client.verify_flags |= _NO_CHECK_TIME
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (asks, answers) * 3:
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        except ssl.SSLError:
            return None  # it isn't fit for a server, as clients will say
    said = asks.getpeercert() or {}
    since, until = (ssl.cert_time_to_seconds(str(said[name])) for name in ("notBefore", "notAfter"))
    return datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)


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
    """A non-blocking TLS connection with those methods of a plain socket that a gateway uses.

    One thread may `recv` while another sends: a lock guards OpenSSL's state of the connection, which two
    threads must not use at once.
    """

    def __init__(self, secured: ssl.SSLSocket, *, established: bool = False) -> None:
        """Take over a non-blocking socket. Nothing can be sent before its handshake is done."""
        self._socket = secured
        self._established = established
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def shake_hands(self) -> int:
        """Continue the handshake; return what it waits for (EVENT_READ, EVENT_WRITE), 0 once it is done.

        Raises OSError (ssl.SSLError is one) if it fails.
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
        """Return the certificate that the peer presented, in the form of ssl.SSLSocket.getpeercert."""
        return self._socket.getpeercert()

    def recv(self, size: int) -> bytes:
        """Return what one record holds. `size` must be at least a record's, so that nothing stays behind.

        A selector knows nothing about bytes that OpenSSL has already taken from the kernel.
        """
        if not self._established:
            raise BlockingIOError
        try:
            with self._lock:
                return self._socket.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes, and return how much. The next call must start with the rest."""
        if not self._established:
            raise ConnectionError("the handshake is not done")
        sent = 0
        while sent < len(data):
            # The slice is a copy: a view could outlive this call in an exception's traceback, and keep the
            # caller from changing its buffer.
            record = data[sent : sent + _RECORD_BYTES]
            try:
                with self._lock:
                    sent += self._socket.send(record)
            except ssl.SSLWantWriteError:
                # SSLWantReadError can't happen: only a renegotiation would raise it, and that is off.
                if not sent:
                    raise BlockingIOError from None
                break
        return sent

    def shutdown(self, how: int) -> None:
        """Send a close_notify, then shut down TCP. What is received after that is not decrypted.

        Raises BlockingIOError if the kernel has no room for the close_notify; call again once it has.
        """
        with self._lock:
            if self._established:
                try:
                    self._socket.unwrap()
                except ssl.SSLWantWriteError:
                    raise BlockingIOError from None
                except (ssl.SSLError, ValueError):
                    pass  # ours is sent; whatever the peer sends or has sent doesn't matter
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
    """Return the first certificate in a file: its owner's, without the chain that follows."""
    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", _read(file), re.DOTALL)
    if found is None:
        raise TlsError(f"there is no certificate in {file}, in PEM")
    try:
        return ssl.PEM_cert_to_DER_cert(found[0].decode("ascii", "replace"))
    except ValueError as error:
        raise TlsError(f"there is no certificate in {file}, in PEM") from error


def _read(file: Path) -> bytes:
    """Return a file's content, or say which file can't be read: OpenSSL doesn't."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise TlsError(f"can't read {file}") from error


def describe(error: OSError) -> str:
    """Return in a few words why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    said = str(reason).lower().replace("_", " ")
    return f"{said}, as of one that speaks no TLS" if reason == "WRONG_VERSION_NUMBER" else said
