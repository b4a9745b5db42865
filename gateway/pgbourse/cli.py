"""The command line: its commands, and how it tells errors.

The commands themselves import the modules that are slow to import.
"""

import contextlib
import logging
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pgbourse import __version__
from pgbourse.bench.commands import bench
from pgbourse.client.commands import ping, send
from pgbourse.configfile import use_config
from pgbourse.database.commands import check, migrate
from pgbourse.errors import PgbourseError, one_line
from pgbourse.loadtest.commands import generate, load
from pgbourse.logs import printable, start_logging
from pgbourse.look.commands import account, book, psql, shell, tape
from pgbourse.options import EnvironmentOption, setting_options
from pgbourse.replay.commands import export, replay
from pgbourse.settings import ServeSettings
from pgbourse.streams import is_full, mend_streams
from pgbourse.testing.commands import reset
from pgbourse.top.commands import top

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="pgbourse %(version)s")
@click.option(
    "--config",
    cls=EnvironmentOption,
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="PGBOURSE_CONFIG",
    show_envvar=True,
    is_eager=True,
    expose_value=False,
    callback=use_config,
    help="A TOML file of settings. Options and variables win over it.",
)
def cli() -> None:
    """A stock exchange that is a PostgreSQL database, and its XML gateway."""


@cli.command()
@click.option(
    "--temporary",
    is_flag=True,
    help="Serve an exchange in a temporary folder, which is gone when the server ends.",
)
@setting_options()
@click.pass_context
def serve(context: click.Context, /, temporary: bool, **options: Any) -> int:
    """Serve the exchange over TCP until SIGTERM or Ctrl-C.

    The server answers what it has received before it exits; a second signal ends it at once.
    """
    from pgbourse.database.looking import rely_on
    from pgbourse.serve.service import serve

    with contextlib.ExitStack() as stack:
        if temporary:
            options["data_dir"] = stack.enter_context(_temporary_folder(context, options))
        settings = ServeSettings(**options)
        start_logging(settings.log_level, settings.log_format)
        rely_on(settings.database_url)
        return serve(settings)


@contextlib.contextmanager
def _temporary_folder(context: click.Context, options: dict[str, Any]) -> Iterator[Path]:
    """Give a folder that is gone when the block ends. Raises click.UsageError if other data are named."""
    for name in ("database_url", "data_dir"):
        source = context.get_parameter_source(name)
        if source is not click.core.ParameterSource.DEFAULT and options[name] is not None:
            raise click.UsageError(
                f"--temporary serves an exchange of its own: leave out --{name.replace('_', '-')} "
                f"(or PGBOURSE_{name.upper()})"
            )
    with tempfile.TemporaryDirectory(prefix="pgbourse-") as folder:
        Path(folder).chmod(0o755)  # if we are root, PostgreSQL runs as another user
        yield Path(folder) / "data"


for command in (
    account, bench, book, check, export, generate, load, migrate, ping, psql, replay, reset, send, shell,
    tape, top,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status; a PgbourseError has one, and is told in one line."""
    mend_streams()
    try:
        status = cli.main(arguments, prog_name="pgbourse", standalone_mode=False)
    except PgbourseError as error:
        if logging.getLogger("pgbourse").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        click.echo(f"pgbourse: {printable(_describe(error))}", err=True)
        status = error.exit_status
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


if __name__ == "__main__":
    main()
