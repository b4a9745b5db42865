"""TLS for tests: authorities that sign whatever a test asks for, and a client's end that can half-close."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.integration.client import WireClient

__all__ = ["Authority", "TlsClient"]

_NONE = serialization.NoEncryption()


class Authority:
    """Signs certificates; `file` holds its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._count = 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(self._name, self._key.public_key(), authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, *names: str, expired: bool = False, server_only: bool = False, passphrase: bytes = b""
    ) -> Path:
        """Return a file with a certificate for these common names, on this machine, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        certificate = self._sign(subject, key.public_key(), expired=expired, server_only=server_only)
        self._count += 1
        file = self._folder / f"{self.file.stem}-{self._count}.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(passphrase) if passphrase else _NONE,
            )
        )
        return file

    def trust(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority's servers, and shows a certificate."""
        context = ssl.create_default_context(cafile=self.file)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        authority: bool = False,
        expired: bool = False,
        server_only: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        if not server_only:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * day)
            .not_valid_after(now - day if expired else now + day)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class TlsClient(WireClient):
    """A connection over TLS, which one thread may read while another writes."""

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext, receive_buffer: int | None = None
    ) -> None:
        super().__init__(address, receive_buffer)
        try:
            self.wire = _Wire(self.socket, context, address[0])
        except BaseException:
            self.socket.close()
            raise
        self.socket = cast(socket.socket, self.wire)


class _Wire:
    """A client's end, with the methods of a socket that tests use. TLS works on memory, under a lock."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.below = connection
        self.said_goodbye = False  # the server has ended TLS before TCP
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=host)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            except ssl.SSLError:
                self._flush()  # the alert
                raise
        self._flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)

    def sendall(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            with self._lock:
                self._tls.write(data[start : start + (1 << 16)])
            self._flush()

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    self.said_goodbye = True
                    return b""
                except ssl.SSLEOFError:
                    return b""
            self._receive()

    def shutdown(self, _how: int) -> None:
        """Say in TLS, and not in TCP, that nothing more comes."""
        with self._lock, contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        with self._sending:
            with self._lock:
                data = self._to_send.read()
            if data:
                self.below.sendall(data)

    def _receive(self) -> None:
        data = self.below.recv(65536)
        with self._lock:
            if data:
                self._received.write(data)
            else:
                self._received.write_eof()
