"""`pgbourse send`: documents to a server, its replies to the terminal."""

import re
import ssl
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from lxml import etree

from pgbourse.client.client import Client
from pgbourse.errors import PgbourseError
from pgbourse.schema import NotValid, validate

__all__ = ["SendError", "send"]

_CONTROLS = re.compile("[\x7f-\x9f]")  # those that XML allows, and that a terminal may obey


class SendError(PgbourseError):
    """A document could not be read, or the reply to it is not XML."""


def send(
    files: Sequence[Path],
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    *,
    validates: bool = False,
) -> int:
    """Send the documents in these files one after the other and print each reply, indented.

    A file holds one document; `-`, or no file at all, means standard input. Each document gets its own
    connection, because some servers close theirs after a reply. If asked to, it validates all of them before
    the first is sent. Returns 1 if a reply has an <error>, else 0.

    Raises SendError, ClientError or ReplyError at the first document that can't be read or sent, or gets no
    reply. There is no time-out.
    """
    failed = False
    documents: Iterable[bytes] = map(_read, files or [Path("-")])
    if validates:
        documents = list(documents)
        _validate(files or [Path("-")], documents)
    for document in documents:
        with Client(host, port, timeout=None, tls=tls) as client:
            reply = _parse(client.ask_raw(document))
        click.echo(_shown(reply))
        failed = failed or reply.tag == "error" or reply.find(".//error") is not None
    return 1 if failed else 0


def _validate(files: Sequence[Path], documents: Sequence[bytes]) -> None:
    for file, document in zip(files, documents, strict=True):
        try:
            validate(document)
        except NotValid as error:
            raise SendError(f"{_name(file)} is not valid, and nothing was sent") from error


def _name(file: Path) -> str:
    return "standard input" if file == Path("-") else str(file)


def _read(file: Path) -> bytes:
    try:
        document = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    except OSError as error:
        raise SendError(f"can't read {file}") from error
    if not document.strip():
        raise SendError(f"{_name(file)} holds no document")
    return document


def _shown(reply: etree._Element) -> str:
    """Return a reply, indented, as XML that standard output can show: the rest as character references."""
    etree.indent(reply)
    text = _CONTROLS.sub(lambda found: f"&#{ord(found[0])};", etree.tostring(reply, encoding="unicode"))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "xmlcharrefreplace").decode(encoding)


def _parse(reply: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        return etree.fromstring(reply, parser)
    except etree.XMLSyntaxError as error:
        raise SendError("the server's reply is not XML") from error
