"""The command `bench`: its options only."""

import re
import sys
from pathlib import Path
from typing import Any

import click

from pgbourse.bench.points import GROUPS

__all__ = ["Duration", "bench"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


class Duration(click.ParamType[float]):
    """A time in seconds, with or without a unit: 90, 90s, 30m, 1h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)?", str(value))
        if match is None or float(match[1]) == 0:
            self.fail(
                f"{value!r} is not a duration: it must be above 0, in seconds or with s, m or h", param, ctx
            )
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2] or "s"]


@click.command()
@click.option("--quick", is_flag=True, help="Take five minutes: fewer and shorter runs.")
@click.option(
    "--only",
    "groups",
    multiple=True,
    type=click.Choice(GROUPS),
    help="Measure only this group and what it is compared with. Repeat the option for more.",
)
@click.option("--output", type=_FILE, help="Write the report there as HTML, and its data next to it as JSON.")
@click.option(
    "--plots", type=click.Path(file_okay=False, path_type=Path), help="Write each plot to this folder as SVG."
)
@click.option(
    "--compare",
    "compared",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="BEFORE.json AFTER.json",
    help="Measure nothing; compare the data of two reports, of two versions or two machines.",
)
@click.option("--soak", type=Duration(), help="Length of the soak, such as 90s or 30m; 1m by default.")
@click.option(
    "--database-url",
    envvar="PGBOURSE_BENCH_DATABASE_URL",
    show_envvar=True,
    help="A PostgreSQL to measure on, in databases that are created and dropped. Without it one is started.",
)
def bench(
    quick: bool,
    groups: tuple[str, ...],
    output: Path | None,
    plots: Path | None,
    compared: tuple[Path, Path] | None,
    soak: float | None,
    database_url: str | None,
) -> None:
    """Measure this machine, with pgbench as the yardstick. --output writes a report with plots."""
    from dataclasses import replace

    from pgbourse.bench import report
    from pgbourse.bench.bench import bench, estimate
    from pgbourse.bench.points import FULL, QUICK
    from pgbourse.database.looking import place_of

    if compared is not None:
        click.echo(report.compare(*map(report.read, compared)))
        return
    if soak is not None and groups and "soak" not in groups:
        raise click.UsageError("--soak with --only needs --only soak as well")
    if plots is not None and output is None:
        raise click.UsageError("--plots needs --output")
    if output is not None:
        report.require_plotting()
        report.require_room(output, plots)
    plan = QUICK if quick else FULL
    if soak is not None:
        plan = replace(plan, soak=soak)
    if groups:
        plan = replace(plan, groups=groups)
    what = "a PostgreSQL of its own" if database_url is None else place_of(database_url)
    click.echo(f"measuring on {what}", err=True)
    total = estimate(plan, database_url)
    doing = ""
    shown: Any = click.progressbar(
        length=int(total * 10), show_pos=False, item_show_func=lambda _: doing, file=sys.stderr
    )
    with shown as bar:

        def progress(seconds: float, what: str) -> None:
            nonlocal doing
            doing = what or doing
            bar.update(int(seconds * 10))

        figures = bench(plan, database_url, progress)
    click.echo(report.table(figures))
    if output is not None:
        data = report.write(figures, output, plots)
        click.echo(f"\nwrote {output} and {data}")
