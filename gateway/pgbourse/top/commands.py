"""The command `top`: its options only."""

import os
import sys
from pathlib import Path

import click

from pgbourse.options import database_options

__all__ = ["top"]


@click.command()
@database_options
@click.option(
    "--metrics-url",
    envvar="PGBOURSE_METRICS_URL",
    show_envvar=True,
    help="A gateway's metrics, such as http://127.0.0.1:12346/metrics, for what the database doesn't know. "
    "Those of a server with an embedded PostgreSQL and --http-port are found without it.",
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
    """Watch rates, busiest symbols and locks. q or Ctrl-C ends it.

    Without a database URL it watches the exchange of a running `pgbourse serve`, found by its data folder.
    """
    from pgbourse.database.looking import looking
    from pgbourse.database.opsaddress import find_address
    from pgbourse.top.live import top

    def find_metrics() -> str | None:
        if metrics_url is not None or database_url is not None:
            return metrics_url
        address = find_address(data_dir)
        return None if address is None else f"{address}/metrics"

    with looking(database_url, database_password_file, data_dir, starts=False) as looked:
        if not (once or _is_drawable()):
            raise click.UsageError("there is no terminal to draw on: --once prints one screen")
        top(looked.url, find_metrics, seconds, once=once)


def _is_drawable() -> bool:
    """Return whether standard output is a terminal that can do more than print lines."""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
