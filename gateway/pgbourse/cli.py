"""The command line. Its options come from the settings, so that nothing is written twice.

Every option can also be set in the environment, under one name for all commands: --port is PGBOURSE_PORT.
The commands themselves import the modules that are slow to import.
"""

import dataclasses
import logging
import os
import signal
import ssl
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pgbourse import __version__
from pgbourse.bench.commands import bench
from pgbourse.client.tlsoptions import tls_options
from pgbourse.errors import PgbourseError, one_line
from pgbourse.loadtest.commands import generate, load
from pgbourse.logs import printable, start_logging
from pgbourse.options import EnvironmentOption
from pgbourse.settings import LogFormat, ServeSettings
from pgbourse.streams import is_full, mend_streams

__all__ = ["cli", "main"]

_Command = Callable[..., Any]

_log = logging.getLogger("pgbourse.database")


def _options(*names: str) -> Callable[[_Command], _Command]:
    """Give a command these settings as options, in this order; without names, all of them."""
    fields = {field.name: field for field in dataclasses.fields(ServeSettings)}
    types = typing.get_type_hints(ServeSettings)

    def decorate(command: _Command) -> _Command:
        for name in reversed(names or tuple(fields)):
            command = _option(fields[name], types[name])(command)
        return command

    return decorate


def _option(field: "dataclasses.Field[Any]", type_: Any) -> Callable[[_Command], _Command]:
    names = [name for name in (field.name, field.metadata.get("old_name")) if name]
    flag, *old_flags = ["--" + name.replace("_", "-") for name in names]
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return click.option(
        f"{flag}/--no-{flag[2:]}" if type_ is bool else flag,
        *old_flags,
        field.name,
        cls=EnvironmentOption,
        type=_click_type(field, type_),
        default=default,
        show_default=default is not None,
        envvar=[f"PGBOURSE_{name.upper()}" for name in names],
        show_envvar=True,
        help=field.metadata["help"],
        callback=_refuse_empty(field) if field.metadata.get("without") else None,
    )


def _refuse_empty(field: "dataclasses.Field[Any]") -> Callable[..., Any]:
    """Make a check that refuses an empty value; from a variable, click would take that for no value."""
    variable = f"PGBOURSE_{field.name.upper()}"

    def check(_: click.Context, option: click.Parameter, value: Any) -> Any:
        given = os.environ.get(variable) if value is None else value
        if given is not None and not str(given).strip():
            where = f"{variable} (or {option.opts[0]})"
            raise click.UsageError(f"{where} is empty: leave it out, and {field.metadata['without']}")
        return value

    return check


def _click_type(field: "dataclasses.Field[Any]", type_: Any) -> Any:
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    given = [part for part in typing.get_args(type_) if part is not type(None)]
    if len(given) == 1:  # an optional setting
        type_ = given[0]
    if typing.get_origin(type_) is typing.Literal:
        return click.Choice(typing.get_args(type_))
    if type_ is int:
        return click.IntRange(minimum, maximum)
    if type_ is float:
        return click.FloatRange(minimum, maximum)
    if type_ is Path:
        is_folder = field.name.endswith("_dir")
        return click.Path(file_okay=not is_folder, dir_okay=is_folder, path_type=Path)
    return bool if type_ is bool else str


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="pgbourse %(version)s")
def cli() -> None:
    """A stock exchange that is a PostgreSQL database, and its XML gateway."""


@cli.command()
@_options()
def serve(**options: Any) -> int:
    """Serve the exchange over TCP until SIGTERM or Ctrl-C.

    The server answers what it has received before it exits; a second signal ends it at once.
    """
    from pgbourse.serve.service import serve

    settings = ServeSettings(**options)
    start_logging(settings.log_level, settings.log_format)
    _rely_on(settings.database_url)
    return serve(settings)


@cli.command()
@_options("database_url", "database_password_file", "data_dir", "log_level", "log_format")
@click.option(
    "--status",
    "action",
    flag_value="status",
    help="List the files and whether each is applied; change nothing.",
)
@click.option(
    "--check",
    "action",
    flag_value="check",
    help="Exit with 1 if the database differs from the files; change nothing.",
)
@click.option(
    "--dry-run", "action", flag_value="dry-run", help="Print the SQL that would be applied; change nothing."
)
def migrate(
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    log_level: str,
    log_format: LogFormat,
    action: str | None,
) -> int:
    """Apply the migrations and functions that the database lacks."""
    from pgbourse.database import migrate

    start_logging(log_level, log_format)
    with _database(database_url, database_password_file, data_dir) as url:
        if action == "status":
            for file in migrate.status(url):
                applied = f"  {file.applied_at.astimezone():%Y-%m-%d %H:%M:%S %z}" if file.applied_at else ""
                click.echo(f"{file.state:8} {file.kind:9} {file.name}{applied}")
        elif action == "check":
            findings = migrate.differences(url)
            for finding in findings:
                click.echo(finding)
            return 1 if findings else 0
        elif action == "dry-run":
            files = migrate.pending(url)
            texts = [
                f"-- {file}: one transaction, with its row in the ledger\n\n{file.text}" for file in files
            ]
            click.echo("\n".join(texts) or "-- nothing to apply")
        else:
            applied_now = migrate.migrate(url)
            click.echo("\n".join(f"applied {file}" for file in applied_now) or "nothing to apply")
    return 0


@cli.command()
@_options("database_url", "database_password_file", "data_dir", "log_level", "log_format")
def check(
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    log_level: str,
    log_format: LogFormat,
) -> int:
    """Check that the exchange is sound; if not, print a line for each violation and exit with 1.

    It reads every table and changes nothing. You can run it while the exchange is in use.
    """
    from pgbourse.database.integrity import check_integrity

    start_logging(log_level, log_format)
    with _database(database_url, database_password_file, data_dir) as url:
        findings = check_integrity(url)
    for finding in findings:
        click.echo(finding)
    return 1 if findings else 0


@cli.command()
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@_options("host", "port", "log_level")
@click.option(
    "--validate",
    is_flag=True,
    help="Check all documents against the protocol's schema first, and send none unless all are valid.",
)
@tls_options
def send(
    files: tuple[Path, ...],
    host: str,
    port: int,
    log_level: str,
    validate: bool,
    tls: ssl.SSLContext | None,
) -> int:
    """Send XML documents to a server and print its replies.

    FILES hold one document each and are sent in order; - or no file means standard input. Exits with 1 if a
    reply holds an <error>.
    """
    from pgbourse.client.send import send

    start_logging(log_level)
    return send(files, host, port, tls, validates=validate)


for command in (bench, generate, load):
    cli.add_command(command)


@cli.command()
@_options("host", "port")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait for an answer.",
)
@tls_options
def ping(host: str, port: int, timeout: float, tls: ssl.SSLContext | None) -> None:
    """Get an answer from a server's database, or exit with 1: for health checks."""
    from pgbourse.client.ping import ping

    click.echo(f"{host}:{port} answered in {ping(host, port, timeout, tls) * 1000:.1f} ms")


@cli.command()
@_options("database_url", "database_password_file", "data_dir")
@click.option(
    "--metrics-url",
    envvar="PGBOURSE_METRICS_URL",
    show_envvar=True,
    help="A gateway's metrics, such as http://127.0.0.1:9100/metrics, for what the database doesn't know.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two updates.",
)
@click.option("--once", is_flag=True, help="Print one screen and exit.")
def top(
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    metrics_url: str | None,
    seconds: float,
    once: bool,
) -> None:
    """Watch an exchange: its rates, its busiest symbols, its locks. q or Ctrl-C ends it.

    Without a database URL it watches the embedded PostgreSQL of a running `pgbourse serve`.
    """
    from pgbourse.database.embedded import EmbeddedPostgres
    from pgbourse.database.passwords import with_password
    from pgbourse.top.live import top

    _rely_on(database_url)
    if database_url is None:
        url = EmbeddedPostgres(data_dir).running_dsn()
    else:
        url = with_password(database_url, database_password_file)
    top(url, metrics_url, seconds, once=once)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status: 1, after one line about it, for a PgbourseError."""
    mend_streams()
    try:
        status = cli.main(arguments, prog_name="pgbourse", standalone_mode=False)
    except PgbourseError as error:
        if logging.getLogger("pgbourse").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        click.echo(f"pgbourse: {printable(_describe(error))}", err=True)
        status = 1
    except OSError as error:
        if not is_full(error):
            raise
        click.echo(f"pgbourse: can't write: {error.strerror}", err=True)
        status = 1
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("pgbourse: interrupted", err=True)
        status = 130
    sys.exit(status)


def _describe(error: BaseException) -> str:
    """Return an error and its causes as one line, without repetitions."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)  # of a server's error
        text = one_line(primary or getattr(cause, "strerror", None) or cause)
        if text and not any(text in part for part in parts):
            parts.append(text)
        cause = cause.__cause__
    return ": ".join(parts)


@contextmanager
def _database(database_url: str | None, password_file: Path | None, data_dir: Path) -> Iterator[str]:
    """Give the connection string of the given database, or of our own, which runs until the block ends."""
    _rely_on(database_url)
    if database_url is not None:
        from pgbourse.database.passwords import with_password

        yield with_password(database_url, password_file)
        return
    from pgbourse.database.embedded import EmbeddedPostgres

    # Neither SIGTERM nor a closed terminal may leave a PostgreSQL behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    with EmbeddedPostgres(data_dir) as postgres:
        yield postgres.dsn()


def _rely_on(database_url: str | None) -> None:
    """Let only the database URL say which database to use, and log the variables that are ignored."""
    from pgbourse.database.conninfo import forget_environment

    if (ignored := forget_environment()) and database_url is not None:
        _log.info("%s: not used, for the database URL alone says what is meant", ", ".join(ignored))


if __name__ == "__main__":
    main()
