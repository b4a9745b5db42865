"""A benchmark's figures for people: a table on the terminal, and one HTML file with plots in it."""

import importlib.resources
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgbourse.bench import targets
from pgbourse.bench.machine import describe
from pgbourse.bench.rig import BenchError
from pgbourse.errors import counted

__all__ = ["compare", "read", "require_plotting", "require_room", "table", "write"]

_GROUPS = {
    "clients": "{label} client(s), 1 order a document",
    "orders": "{label} orders a document, {clients} clients",
    "cores": "{label} core(s) for gateway and database, {clients} clients",
    "history": "{label} orders of history, {clients} clients",
    "resting": "{label} resting orders, {clients} clients",
    "idle": "{label} connections open, {clients} clients busy",
    "refs": "1 order a document, each with a ref, {clients} clients",
    "makers": "{label} account(s) quote and are taken from, {clients} clients",
    "flush": "every flush takes {label} ms longer, {clients} clients",
    "lanes": "{label} lane(s), {clients} clients",
    "processes": "{label} process(es), {clients} clients",
    "hostile": "{clients} clients, {beside}",
}
TOO_SHORT = "A quick run is too short to say whether targets are met: leave out --quick for that."
_BESIDE = {
    "": "alone",
    "orders": "beside one with 50,000 orders a document",
    "queries": "beside two with 50,000 queries a document",
}


_CALLS = {
    "place_order": "place_order in SQL, 1 client",
    "process_batch": "process_batch in SQL, 100 orders, 1 client",
}


def require_plotting() -> None:
    """Raise BenchError if what the HTML report needs is not installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BenchError("the HTML report needs more packages: pip install 'pgbourse[bench]'") from error


def require_room(output: Path, plots: Path | None = None) -> None:
    """Raise BenchError if `write` couldn't: to be asked before a measurement, which takes long."""
    data = output.with_suffix(".json")
    if data == output:
        raise BenchError(f"{output} is where the report's data would be: name its page, as .html")
    places = [(file, file if file.exists() else file.absolute().parent) for file in (output, data)]
    if plots is not None:  # a folder that is made with those above it
        made = plots.absolute()
        places.append((plots, next(folder for folder in (made, *made.parents) if folder.exists())))
    for file, place in places:
        if not os.access(place, os.W_OK):
            raise BenchError(f"can't write the report to {file}")


def rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the table's rows: load, orders/s, their range, ratio to pgbench, median and p99 ms, cores."""
    found: list[tuple[str, ...]] = []
    for point in report["points"]:
        name = _name(point)
        p99 = statistics.median(run["latency_ms"]["p99"] for run in point["runs"])
        found.append((name, *_figures(point), f"{p99:.2f}", _cores(point)))
    found += [(_CALLS[call["function"]], *_figures(call), "", "") for call in report["sql"]]
    return found


def compare(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return what two reports say of the same loads: two versions on one machine, or two machines.

    The range of a ratio goes from the one's lowest run against the other's highest to the reverse: they were
    not measured in turns, so nothing narrower holds.
    """
    before, after = _rates(old), _rates(new)
    common = [name for name in before if name in after]
    if not common:
        raise BenchError("the two reports have no load in common")
    head = ("load", "orders/s before", "after", "after / before", "lowest to highest")
    lines = []
    for name in common:
        one, other = before[name], after[name]
        ratio = other["median"] / one["median"]
        low, high = other["low"] / one["high"], other["high"] / one["low"]
        spread = f"{low:.2f} to {high:.2f}"
        lines.append((name, f"{one['median']:.0f}", f"{other['median']:.0f}", f"{ratio:.2f}", spread))
    alone = len(before) + len(after) - 2 * len(common)
    parts = [f"before: {describe(old)}\nafter:  {describe(new)}", _table(head, lines)]
    if alone:
        parts.append(f"{alone} loads are in one of the reports only.")
    return "\n\n".join(parts)


def read(path: Path) -> dict[str, Any]:
    """Read a report's data. Raises BenchError if that isn't what the file holds."""
    try:
        report = json.loads(path.read_text("utf-8"))
        _rates(report)
        describe(report)
    except OSError as error:
        raise BenchError(f"can't read {path}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} isn't the data of a report: bench --output writes it as .json") from error
    return dict(report)


def _rates(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the rate of each load by its name, pgbench's too."""
    yardstick = report["yardstick"] or {"by_clients": {}}
    found = {f"pgbench, {clients} client(s)": rates for clients, rates in yardstick["by_clients"].items()}
    found |= {_name(point): point["orders_per_second"] for point in report["points"]}
    return found | {_CALLS[call["function"]]: call["orders_per_second"] for call in report["sql"]}


def _name(point: dict[str, Any]) -> str:
    return _GROUPS[point["group"]].format_map(point | {"beside": _BESIDE[point.get("hostile", "")]})


def table(report: dict[str, Any]) -> str:
    """Return the figures and the targets as tables in plain text that is also Markdown."""
    parts = [summary(report)]
    if found := rows(report):
        parts.append(
            _table(
                ("load", "orders/s", "lowest to highest", "x pgbench", "median ms", "p99 ms", "cores busy"),
                found,
            )
        )
    parts += remarks(report)
    if compared := targets.rows(report):
        parts.append(_table(("load", "target", "reached", "", "by"), compared))
    elif not report["plan"]["judges"]:
        parts.append(TOO_SHORT)
    return "\n\n".join(parts)


def summary(report: dict[str, Any]) -> str:
    """Return a sentence or two about the machine and the yardstick."""
    yardstick = report["yardstick"]
    told = f"{describe(report)}. Gateway, database and load share the machine."
    if yardstick is None:
        return told
    by_clients = ", ".join(
        f"{rates['median']:.0f} transactions/s with {counted(int(clients), 'client')}"
        for clients, rates in yardstick["by_clients"].items()
    )
    return f"{told} pgbench (TPC-B-like, scale 10, prepared) did {by_clients}."


def remarks(report: dict[str, Any]) -> list[str]:
    """Return a sentence about the held snapshot and one about the soak, if they were measured."""
    return [
        line(report[name])
        for name, line in (("snapshot", _snapshot_line), ("soak", _soak_line))
        if report[name] is not None
    ]


def _snapshot_line(snapshot: dict[str, Any]) -> str:
    exchange, yardstick, part = snapshot["exchange"], snapshot["pgbench"], snapshot["part_seconds"]
    return (
        f"While another session held a snapshot for {snapshot['held_seconds']:g} s, the last {part:g} s "
        f"against the {part:g} s before: {exchange['late']:.0f} of {exchange['before']:.0f} orders/s "
        f"({exchange['kept']:.2f}) with {exchange['clients']} clients; pgbench {yardstick['late']:.0f} of "
        f"{yardstick['before']:.0f} transactions/s ({yardstick['kept']:.2f}) with {yardstick['clients']}."
    )


def _soak_line(soak: dict[str, Any]) -> str:
    seconds, clients, rate = len(soak["rates"]), soak["clients"], soak["orders_per_second"]
    told = f"Soak of {seconds} s with {clients} clients: {rate:.0f} orders/s"
    if soak["late_to_early"] is None:
        return f"{told}."
    part = "minute" if soak["part_seconds"] == 60 else f"{soak['part_seconds']} s"
    return f"{told}; the last {part} did {soak['late_to_early']:.2f} of the second {part}."


def _table(head: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> str:
    """Return a table; columns with figures in every line are right-aligned."""
    columns = list(zip(head, *lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() or not cell for cell in column[1:]) for column in columns]
    right[0] = False

    def written(line: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width, numbers in zip(line, widths, right, strict=True)
        ]
        return "| " + " | ".join(cells) + " |"

    rule = "|".join(
        "-" * (width + 1) + (":" if numbers else "-") for width, numbers in zip(widths, right, strict=True)
    )
    return "\n".join([written(head), f"|{rule}|", *map(written, lines)])


def write(report: dict[str, Any], output: Path, plots: Path | None = None) -> Path:
    """Write the HTML report, its data as JSON next to it, and each plot as SVG if there is a folder.

    Returns the path of the data. Raises BenchError if a file can't be written.
    """
    import jinja2

    from pgbourse.bench.plots import draw

    drawn = draw(report)
    source = importlib.resources.files("pgbourse.bench").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(source).render(
        report=report,
        rows=rows(report),
        targets=targets.rows(report),
        summary=summary(report),
        remarks=remarks(report) + ([] if report["plan"]["judges"] else [TOO_SHORT]),
        plots=drawn,
    )
    data = output.with_suffix(".json")
    try:
        output.write_text(page, "utf-8")
        data.write_text(json.dumps(report, indent=1) + "\n")
        if plots is not None:
            plots.mkdir(parents=True, exist_ok=True)
            for plot in drawn:
                (plots / f"{plot.name}.svg").write_text(plot.svg, "utf-8")
    except OSError as error:
        raise BenchError(f"can't write the report to {error.filename}") from error
    return data


def _cores(point: dict[str, Any]) -> str:
    """Return how many cores the gateway kept busy, and PostgreSQL if it is our own."""
    runs = [run["cores_busy"] for run in point["runs"]]
    return " + ".join(f"{statistics.median(run[name] for run in runs):.2f}" for name in runs[0])


def _figures(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    rate = entry["orders_per_second"]
    spread = f"{rate['low']:.0f} to {rate['high']:.0f}"
    return f"{rate['median']:.0f}", spread, f"{entry['ratio']:.2f}", f"{entry['p50_ms']['median']:.2f}"
