"""`pgbourse send`: documents to a server, its replies to the terminal."""

import contextlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from lxml import etree

from gateway.errors import PgbourseError
from gateway.framing import Framer, Framing, wrap_reply

__all__ = ["SendError", "ask", "send"]

_CONNECT_SECONDS = 10.0
_READ_BYTES = 64 * 1024
_MAX_REPLY_BYTES = 1 << 30  # an order can have very many fills
_UNKNOWN = "whether the request was carried out is unknown"


class SendError(PgbourseError):
    """A document could not be read or sent, or no reply to it came."""


def send(files: Sequence[Path], host: str, port: int) -> int:
    """Send the documents in these files one after the other and print each reply, indented.

    A file holds one document; `-`, or no file at all, is standard input. Returns 1 if a reply holds an
    <error>, else 0.

    Raises SendError at the first document that can't be read or sent, or gets no reply.
    """
    failed = False
    for file in files or [Path("-")]:
        reply = _parse(ask(_read(file), host, port))
        etree.indent(reply)
        click.echo(etree.tostring(reply, encoding="unicode"))
        failed = failed or reply.tag == "error" or reply.find(".//error") is not None
    return 1 if failed else 0


def ask(document: bytes, host: str, port: int) -> bytes:
    """Send one document, with a length line, on a connection of its own and return the reply, however framed.

    Raises SendError when the server can't be reached, closes without a reply, or answers what is no reply.
    """
    try:
        server = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
    except OSError as error:
        raise SendError(f"can't reach a server at {host}:{port}") from error
    framer = Framer(_MAX_REPLY_BYTES)
    with server:
        server.settimeout(None)  # a reply takes as long as it takes
        with contextlib.suppress(OSError):  # a server that refuses the document says why before it closes
            server.sendall(wrap_reply(document, Framing.LENGTH_LINE))
        while True:
            try:
                data = server.recv(_READ_BYTES)
            except OSError as error:
                raise SendError(f"the connection was lost without a reply: {_UNKNOWN}") from error
            replies = framer.feed(data) if data else framer.finish()
            if replies:
                return replies[0].document
            if framer.error is not None:
                raise SendError(f"what the server at {host}:{port} answers is no reply") from framer.error
            if not data:
                raise SendError(f"the server closed the connection without a reply: {_UNKNOWN}")


def _read(file: Path) -> bytes:
    try:
        document = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    except OSError as error:
        raise SendError(f"can't read {file}") from error
    if not document.strip():
        raise SendError(f"{'standard input' if file == Path('-') else file} holds no document")
    return document


def _parse(reply: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        return etree.fromstring(reply, parser)
    except etree.XMLSyntaxError as error:
        raise SendError("the server's reply is not XML") from error
