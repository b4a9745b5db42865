"""The commands `export` and `replay`: their options, and how they tell what came of it."""

import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

from pgbourse.errors import PgbourseError, counted
from pgbourse.logs import start_logging
from pgbourse.options import database_options, setting_options
from pgbourse.settings import LogFormat

__all__ = ["export", "replay"]

_COULD_NOT = 2  # exit status: it isn't known whether the same comes of it


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@database_options
@setting_options("log_level", "log_format")
def export(
    file: Path | None,
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    log_level: str,
    log_format: LogFormat,
) -> int:
    """Write an exchange's history, one event a line, as JSON. To FILE, or to standard output.

    The exchange may be in use: what is written is of one moment. FILE is there when all of it is. `pgbourse
    replay` carries it out again.
    """
    from pgbourse.database.looking import looking
    from pgbourse.replay.export import export

    start_logging(log_level, log_format)
    with _interrupted_by_sigterm(), looking(database_url, database_password_file, data_dir) as looked:
        told = export(looked.url, None if file == Path("-") else file)
        looked.tell(f"{counted(told['orders'], 'order')}, {counted(told['fills'], 'fill')}: exported")
    return 0


@click.command()
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
@click.option("--from-database", metavar="URL", help="Take the history from this database, not from a file.")
@click.option(
    "--from-data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Take it from the exchange in this data folder, which may be in use.",
)
@database_options
@setting_options("log_level", "log_format")
@click.pass_context
def replay(
    context: click.Context,
    file: Path | None,
    from_database: str | None,
    from_data_dir: Path | None,
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    log_level: str,
    log_format: LogFormat,
) -> int:
    """Carry out an exported history again, and compare the results. In an EMPTY exchange, row by row.

    FILE is what `pgbourse export` wrote; - is standard input. Orders, fills, cancels, open orders in their
    priority, balances and positions must come out the same, ids and times aside. Exits with 0 if they do, 1
    if not, and 2 if that can't be told.

    The empty exchange is the one of --database-url, which nobody else may use meanwhile, or is made in
    --data-dir. Without either of them it is a temporary one, which is gone at the end.
    """
    from pgbourse.replay.replay import replay, require_export

    start_logging(log_level, log_format)
    if sum(given is not None for given in (file, from_database, from_data_dir)) != 1:
        raise click.UsageError("give FILE, --from-database or --from-data-dir: one of them")
    is_temporary = (
        database_url is None and context.get_parameter_source("data_dir") is ParameterSource.DEFAULT
    )
    try:
        with _interrupted_by_sigterm(), _history(file, from_database, from_data_dir) as history:
            require_export(history)
            folder = None if is_temporary else data_dir
            with _target(database_url, database_password_file, folder) as url:
                told = replay(history, url)
    except PgbourseError as error:
        error.exit_status = _COULD_NOT
        raise
    for difference in told.first:
        click.echo(difference)
    verdict = "the same" if told.differences == 0 else counted(told.differences, "difference")
    if not told.is_whole:
        verdict = f"given up after {verdict}"
    click.echo(f"{counted(told.orders, 'order')}, {counted(told.fills, 'fill')}: {verdict}")
    return 0 if told.differences == 0 else 1


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """End at SIGTERM as at Ctrl-C until the block ends, so that no temporary file or folder stays."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _history(file: Path | None, from_database: str | None, from_data_dir: Path | None) -> Iterator[Path]:
    """Give the file, or one that has what standard input or the exchange has, until the block ends."""
    from pgbourse.database.looking import looking
    from pgbourse.replay.export import export
    from pgbourse.settings import default_data_dir

    if file is not None and file != Path("-"):
        yield file
        return
    # It is read twice. And a snapshot must not grow old in an exchange that is in use.
    with tempfile.TemporaryDirectory(prefix="pgbourse-") as folder:
        path = Path(folder) / "history.jsonl"
        if file is not None:
            with path.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with looking(from_database, None, from_data_dir or default_data_dir()) as looked:
                export(looked.url, path)
        yield path


@contextmanager
def _target(database_url: str | None, password_file: Path | None, data_dir: Path | None) -> Iterator[str]:
    """Give the connection string of the exchange to carry out in, made if it is in a folder."""
    from pgbourse.database.looking import using
    from pgbourse.database.migrate import connect, migrate
    from pgbourse.database.temporary import forget_durability, temporary_data_dir

    if database_url is not None:
        with using(database_url, password_file, Path()) as url:
            yield url
        return
    if data_dir is not None:
        with using(None, None, data_dir) as url:
            migrate(url)
            yield url
        return
    for name in ("embedded", "migrate"):  # nobody needs to know where it is
        logging.getLogger(f"pgbourse.{name}").setLevel(logging.WARNING)
    with temporary_data_dir() as folder, using(None, None, folder) as url:
        with connect(url) as connection:
            forget_durability(connection)
        migrate(url)
        yield url
