"""The command `serve`: all settings as options."""

import contextlib
from typing import Any

import click

from pgbourse.logs import start_logging
from pgbourse.options import setting_options
from pgbourse.settings import ServeSettings

__all__ = ["serve"]


@click.command()
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
    from pgbourse.database.temporary import temporary_data_dir
    from pgbourse.serve.service import serve

    with contextlib.ExitStack() as stack:
        if temporary:
            _refuse_other_data(context, options)
            options["data_dir"] = stack.enter_context(temporary_data_dir())
        settings = ServeSettings(**options)
        start_logging(settings.log_level, settings.log_format)
        rely_on(settings.database_url)
        return serve(settings)


def _refuse_other_data(context: click.Context, options: dict[str, Any]) -> None:
    """Raise click.UsageError if somebody has said which data to serve."""
    for name in ("database_url", "data_dir"):
        source = context.get_parameter_source(name)
        if source is not click.core.ParameterSource.DEFAULT and options[name] is not None:
            raise click.UsageError(
                f"--temporary serves an exchange of its own: leave out --{name.replace('_', '-')} "
                f"(or PGBOURSE_{name.upper()})"
            )
