"""The commands `send` and `ping`: their options only."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgbourse.client.tlsoptions import tls_options
from pgbourse.logs import start_logging
from pgbourse.options import server_options, setting_options, timeout_option

if TYPE_CHECKING:
    import ssl

__all__ = ["ping", "send"]


@click.command()
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@server_options
@setting_options("log_level")
@click.option(
    "--validate",
    is_flag=True,
    help="Check all documents against the protocol's schema first, and send none unless all are valid.",
)
@click.option(
    "--expect",
    "expected",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Print only where a reply differs, but for times and the numbers of a book's updates, from the file "
    "of its document's name in this folder, and exit with 1 if any does: `pgbourse generate` writes such "
    "folders.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=150.0,
    show_default=True,
    help="Seconds to wait for each reply: more than a server waits for its database. 0 sets no limit.",
)
@tls_options
def send(
    files: tuple[Path, ...],
    host: str,
    port: int,
    log_level: str,
    validate: bool,
    expected: Path | None,
    timeout: float,
    tls: "ssl.SSLContext | None",
) -> int:
    """Send XML documents to a server and print its replies.

    FILES hold one document each and are sent in order; - or no file means standard input. Exits with 1 if a
    reply holds an <error>.
    """
    from pgbourse.client.send import send

    start_logging(log_level)
    if expected is not None and (not files or Path("-") in files):
        raise click.UsageError("--expect needs files: what comes on standard input has no name")
    return send(files, host, port, tls, timeout=timeout or None, validates=validate, expected=expected)


@click.command()
@server_options
@timeout_option
@tls_options
def ping(host: str, port: int, timeout: float, tls: "ssl.SSLContext | None") -> None:
    """Get an answer from a server's database. Exits with 1 if none comes: for health checks."""
    from pgbourse.client.ping import ping

    click.echo(f"{host}:{port} answered in {ping(host, port, timeout, tls) * 1000:.1f} ms")
