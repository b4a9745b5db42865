"""A benchmark's figures for people: a table on the terminal, and one HTML file with plots in it."""

import importlib.resources
import json
import statistics
from pathlib import Path
from typing import Any

from gateway.loadtest.rig import BenchError

__all__ = ["require_plotting", "table", "write"]

_GROUPS = {
    "clients": "{} client(s), 1 order a document",
    "orders": "{} orders a document",
    "cores": "{} core(s) for gateway and database",
    "history": "{} orders of history",
    "resting": "{} resting orders",
}


def require_plotting() -> None:
    """Raise BenchError if what the HTML report needs is not installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BenchError("the HTML report needs more packages: pip install 'pgbourse[bench]'") from error


def rows(report: dict[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """Return the table's rows: what, orders/s, its range, ratio to the yardstick, median and p99 latency."""
    found = []
    for point in report["points"]:
        name = _GROUPS[point["group"]].format(point["label"])
        if point["group"] != "clients":
            name += f", {point['clients']} clients"
        p99 = statistics.median(run["latency_ms"]["p99"] for run in point["runs"])
        found.append((name, *_figures(point), f"{p99:.2f}"))
    names = {
        "place_order": "place_order in SQL, 1 client",
        "process_batch": "process_batch in SQL, 100 orders, 1 client",
    }
    found += [(names[call["function"]], *_figures(call), "") for call in report["sql"]]
    return found


def table(report: dict[str, Any]) -> str:
    """Return the figures as a table of plain text, which is Markdown as well."""
    head = ("load", "orders/s", "lowest to highest", "x pgbench", "median ms", "p99 ms")
    lines = [head, *rows(report)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def written(line: tuple[str, ...]) -> str:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join(
        [summary(report), "", written(head), rule, *map(written, lines[1:]), "", soak_line(report)]
    )


def summary(report: dict[str, Any]) -> str:
    """Return one sentence on the machine and the yardstick."""
    machine, yardstick = report["machine"], report["yardstick"]
    by_clients = ", ".join(
        f"{rates['median']:.0f} transactions/s with {clients} clients"
        for clients, rates in yardstick["by_clients"].items()
    )
    return (
        f"pgbourse {report['pgbourse']} on PostgreSQL {report['postgresql']['version']}, {machine['cores']} "
        f"cores for gateway, database and load. pgbench (TPC-B-like, scale 10, prepared) did {by_clients}."
    )


def soak_line(report: dict[str, Any]) -> str:
    """Return one sentence on the soak."""
    soak = report["soak"]
    seconds, clients, rate = len(soak["rates"]), soak["clients"], soak["orders_per_second"]
    told = f"Soak of {seconds} s with {clients} clients: {rate:.0f} orders/s"
    if soak["late_to_early"] is None:
        return f"{told}."
    part = "minute" if soak["part_seconds"] == 60 else f"{soak['part_seconds']} s"
    return f"{told}; the last {part} did {soak['late_to_early']:.2f} of the second {part}."


def write(report: dict[str, Any], output: Path, plots: Path | None = None) -> Path:
    """Write the HTML report, its data as JSON beside it, and if asked each plot as SVG into a folder.

    Returns where the data are. Raises BenchError when a file can't be written.
    """
    import jinja2

    from gateway.loadtest.plots import draw

    drawn = draw(report)
    source = importlib.resources.files("gateway.loadtest").joinpath("report.html.j2").read_text()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(source).render(
        report=report, rows=rows(report), summary=summary(report), soak=soak_line(report), plots=drawn
    )
    data = output.with_suffix(".json")
    try:
        output.write_text(page)
        data.write_text(json.dumps(report, indent=1) + "\n")
        if plots is not None:
            plots.mkdir(parents=True, exist_ok=True)
            for plot in drawn:
                (plots / f"{plot.name}.svg").write_text(plot.svg)
    except OSError as error:
        raise BenchError(f"can't write the report to {error.filename}") from error
    return data


def _figures(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    rate = entry["orders_per_second"]
    spread = f"{rate['low']:.0f} to {rate['high']:.0f}"
    return f"{rate['median']:.0f}", spread, f"{entry['ratio']:.2f}", f"{entry['p50_ms']['median']:.2f}"
