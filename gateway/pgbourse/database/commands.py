"""The commands `check` and `migrate`: their options, and how they tell what they have found."""

from pathlib import Path

import click

from pgbourse.errors import counted
from pgbourse.logs import start_logging
from pgbourse.options import database_options, setting_options
from pgbourse.settings import LogFormat

__all__ = ["check", "migrate"]


@click.command()
@database_options
@setting_options("log_level", "log_format")
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
    help="Exit with 1 if the database differs from the files, with 2 if it can't be read; change nothing.",
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
    """Apply the migrations and functions that the database lacks.

    With --status, --check or --dry-run it only looks, also while the exchange is in use, and says at its end
    what it has looked at. If the data folder's PostgreSQL doesn't run, it runs for so long.
    """
    from pgbourse.database.looking import looking, using
    from pgbourse.database.migrate import migrate

    start_logging(log_level, log_format)
    if action is not None:
        with looking(database_url, database_password_file, data_dir) as looked:
            status, found = _LOOKS[action](looked.url)
            looked.tell(found)
        return status
    with using(database_url, database_password_file, data_dir) as url:
        applied_now = migrate(url)
    click.echo("\n".join(f"applied {file}" for file in applied_now) or "nothing to apply")
    return 0


def _status(url: str) -> tuple[int, str]:
    from pgbourse.database.migrate import status

    files = status(url)
    for file in files:
        applied = f"  {file.applied_at.astimezone():%Y-%m-%d %H:%M:%S %z}" if file.applied_at else ""
        click.echo(f"{file.state:8} {file.kind:9} {file.name}{applied}")
    states = [file.state for file in files]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return 0, f"{counted(len(files), 'file')}: {', '.join(counts)}"


def _check(url: str) -> tuple[int, str]:
    from pgbourse.database.migrate import differences

    findings = differences(url)
    for finding in findings:
        click.echo(finding)
    if findings:
        return 1, f"{counted(len(findings), 'difference')} from the files of this version"
    return 0, "it is as the files of this version made it"


def _dry_run(url: str) -> tuple[int, str]:
    from pgbourse.database.migrate import pending

    files = pending(url)
    texts = [f"-- {file}: one transaction, with its row in the ledger\n\n{file.text}" for file in files]
    click.echo("\n".join(texts) or "-- nothing to apply")
    return 0, f"{counted(len(files), 'file')} to apply"


_LOOKS = {"status": _status, "check": _check, "dry-run": _dry_run}


@click.command()
@database_options
@setting_options("log_level", "log_format")
def check(
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    log_level: str,
    log_format: LogFormat,
) -> int:
    """Check that the exchange is sound. Prints a line for each violation.

    Exits with 0 if it is sound, 1 if not, and 2 if that can't be told. It reads every table and changes
    nothing. You can run it while the exchange is in use; if the data folder's PostgreSQL doesn't run, it runs
    for so long. What was looked at is said on standard error.
    """
    from pgbourse.database.integrity import check
    from pgbourse.database.looking import looking

    start_logging(log_level, log_format)
    with looking(database_url, database_password_file, data_dir) as looked:
        checked = check(looked.url)
        for finding in checked.findings:
            click.echo(finding)
        verdict = f"NOT SOUND, {counted(len(checked.findings), 'violation')}" if checked.findings else "sound"
        orders, fills = counted(checked.orders, "order"), counted(checked.fills, "fill")
        looked.tell(f"{orders}, {fills}: {verdict}")
    return 1 if checked.findings else 0
