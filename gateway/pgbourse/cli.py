"""The command line: its commands, and how it tells errors.

What is slow to import is imported by the command that needs it, when it runs.
"""

import importlib
import logging
import re
import sys
import traceback
from collections import UserDict
from pathlib import Path
from typing import Any

import click

from pgbourse import __version__
from pgbourse.configfile import use_config
from pgbourse.errors import PgbourseError, one_line
from pgbourse.logs import printable
from pgbourse.options import EnvironmentOption
from pgbourse.streams import drop_output, is_full, mend_streams

__all__ = ["cli", "main"]


class _Commands(UserDict[str, Any]):
    """The commands by name. One is imported when it is asked for, from the module that is named here."""

    def __getitem__(self, name: str) -> click.Command:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = getattr(importlib.import_module(found), name)
            # All of the first sentence, for the list of commands and manual pages. Click would cut it off.
            found.short_help = re.split(r"(?<=\.)\s", found.help, maxsplit=1)[0]
        command: click.Command = found
        return command


_COMMANDS = _Commands(
    {
        "account": "pgbourse.look.commands",
        "bench": "pgbourse.bench.commands",
        "book": "pgbourse.look.commands",
        "check": "pgbourse.database.commands",
        "export": "pgbourse.replay.commands",
        "generate": "pgbourse.loadtest.commands",
        "load": "pgbourse.loadtest.commands",
        "migrate": "pgbourse.database.commands",
        "ping": "pgbourse.client.commands",
        "psql": "pgbourse.look.commands",
        "replay": "pgbourse.replay.commands",
        "reset": "pgbourse.testing.commands",
        "send": "pgbourse.client.commands",
        "serve": "pgbourse.serve.commands",
        "shell": "pgbourse.look.commands",
        "tape": "pgbourse.look.commands",
        "top": "pgbourse.top.commands",
    }
)


@click.group(
    commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
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


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    mend_streams()
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except OSError as error:
        if is_full(error):
            click.echo(f"pgbourse: can't write: {error.strerror}", err=True)
        elif not isinstance(error, BrokenPipeError):
            raise
        drop_output()
        status = 1
    sys.exit(status)


def _run(arguments: list[str] | None) -> Any:
    """Run a command and return its status; a PgbourseError has one, and is told in one line."""
    try:
        return cli.main(arguments, prog_name="pgbourse", standalone_mode=False)
    except PgbourseError as error:
        if logging.getLogger("pgbourse").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        click.echo(f"pgbourse: {printable(_describe(error))}", err=True)
        return error.exit_status
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name == "--config":
            error = click.UsageError(
                "--config stands before the command: pgbourse --config FILE …", error.ctx
            )
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("pgbourse: interrupted", err=True)
        return 130


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
