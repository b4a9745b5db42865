"""The command `reset`, for those who try things out and want to begin again."""

import sys
from pathlib import Path

import click

from pgbourse.errors import counted
from pgbourse.logs import start_logging
from pgbourse.options import database_options, setting_options
from pgbourse.settings import LogFormat

__all__ = ["reset"]


@click.command()
@database_options
@setting_options("log_level", "log_format")
@click.option("--yes", is_flag=True, help="Don't ask.")
def reset(
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    log_level: str,
    log_format: LogFormat,
    yes: bool,
) -> int:
    """Delete everything in an exchange, after asking. Ids begin at 1 again.

    Accounts, shares, orders, history: it says what would go. The exchange may run meanwhile, and its clients
    stay connected. For a course, for trying things out; nobody gets anything back.
    """
    import psycopg

    from pgbourse.database.looking import LookError, looking
    from pgbourse.testing.emptying import Emptier, connected

    start_logging(log_level, log_format)
    with looking(database_url, database_password_file, data_dir) as looked, connected(looked.url) as database:
        counts = "select (select count(*) from exchange.accounts), (select count(*) from exchange.orders)"
        try:
            accounts, orders = database.execute(counts).fetchone() or (0, 0)
        except psycopg.errors.UndefinedTable as error:
            raise LookError("there is no exchange in it") from error
        found = f"{counted(accounts, 'account')} and {counted(orders, 'order')}"
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(f"{looked.place} has {found}: --yes deletes them without asking")
            if not click.confirm(f"{looked.place}: delete {found}, and all else in it?", err=True):
                raise LookError("nothing was deleted")
        try:
            Emptier(database)()
        except psycopg.errors.InsufficientPrivilege as error:
            raise LookError("this role may not empty it: its owner or a superuser may") from error
        looked.tell(f"emptied; it had {found}")
    return 0
