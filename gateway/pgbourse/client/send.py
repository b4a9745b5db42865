"""`pgbourse send`: documents to a server, its replies to the terminal, or compared with those expected."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from lxml import etree

from pgbourse.client.connection import Connection
from pgbourse.errors import PgbourseError
from pgbourse.schema import NotValid, validate
from pgbourse.wire.framing import Framer, Framing

if TYPE_CHECKING:
    import ssl

__all__ = ["SendError", "send"]

_CONTROLS = re.compile("[\x7f-\x9f]")  # those that XML allows, and that a terminal may obey
_STDIN = Path("-")
_VARYING = {"time", "armed", "seq"}  # what may differ from a reply that was to be expected


class SendError(PgbourseError):
    """A document could not be read, or the reply to it is not XML."""


def send(
    files: Sequence[Path],
    host: str,
    port: int,
    tls: "ssl.SSLContext | None" = None,
    *,
    timeout: float | None = None,
    validates: bool = False,
    expected: Path | None = None,
) -> int:
    """Send the documents in these files one after the other and print each reply, indented.

    A file holds one document; `-`, or no file at all, means standard input. Each document gets its own
    connection, because some servers close theirs after a reply, and each reply is waited for `timeout`
    seconds. If asked to, it validates all of them before the first is sent. Returns 1 if a reply has an
    <error>, else 0.

    With a folder of `expected` replies, which have the names of the documents, it prints where a reply
    differs from them, but for times and the numbers of a book's updates, and returns 1 if any does.

    Raises SendError, ClientError or ReplyError at the first document that can't be read or sent, or gets no
    reply.
    """
    failed = 0
    files = files or [_STDIN]
    documents: Iterable[bytes] = map(_read, files)
    if validates:
        documents = list(documents)
        _validate(files, documents)
    for file, document in zip(files, documents, strict=True):
        reply = _parse(_ask(document, host, port, timeout, tls))
        if expected is None:
            click.echo(_shown(reply))
            failed += reply.tag == "error" or reply.find(".//error") is not None
        else:
            failed += _differs(reply, expected / file.name)
    if expected is not None:
        click.echo(f"{len(files) - failed} of {len(files)} replies are as expected", err=True)
    return 1 if failed else 0


def _ask(document: bytes, host: str, port: int, timeout: float | None, tls: "ssl.SSLContext | None") -> bytes:
    connection = Connection(host, port, timeout, tls)
    try:
        connection.send(document)
        return connection.receive()
    finally:
        connection.close()


def _validate(files: Sequence[Path], documents: Sequence[bytes]) -> None:
    for file, document in zip(files, documents, strict=True):
        try:
            validate(document)
        except NotValid as error:
            raise SendError(f"{_name(file)} is not valid, and nothing was sent") from error


def _differs(reply: etree._Element, file: Path) -> bool:
    """Print where a reply is not what the file has, apart from _VARYING, and return whether that is so."""
    try:
        wanted = _parse(file.read_bytes())
    except OSError as error:
        raise SendError(f"can't read the expected reply {file}") from error
    for element in (*reply.iter(), *wanted.iter()):
        for name in _VARYING.intersection(element.attrib):
            element.set(name, "0")
    before, after = _shown(wanted).splitlines(), _shown(reply).splitlines()
    if before == after:
        return False
    from difflib import unified_diff

    for line in unified_diff(before, after, str(file), "the reply", lineterm=""):
        click.echo(line)
    return True


def _name(file: Path) -> str:
    return "standard input" if file == _STDIN else str(file)


def _read(file: Path) -> bytes:
    try:
        document = sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()
    except OSError as error:
        raise SendError(f"can't read {file}") from error
    if not document.strip():
        raise SendError(f"{_name(file)} holds no document")
    framer = Framer(len(document))
    frames = [frame for frame in framer.feed(document) if frame.framing is Framing.BARE]
    if len(frames) > 1:
        raise SendError(
            f"{_name(file)} holds more than one document, and nothing of it was sent: one document a file"
        )
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
