"""The plots of a benchmark report, as SVG text: medians, with bars from the lowest to the highest run."""

import io
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["Plot", "draw"]

# In the SVG these become what the page has: its ink, its paper, its rules, light or dark.
_INK, _PAPER, _RULE = "#010203", "#fdfcfb", "#dddcdb"
_OF_THE_PAGE = {
    _INK: "currentColor",
    _PAPER: "var(--paper, #fff)",
    _RULE: "var(--rule, #ddd)",
}

_STYLE: Any = {
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": _RULE,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "pgbourse",  # the same figures give the same file
}
_BLUE, _ORANGE, _GREY = "#1f6fb4", "#d9731a", "#777777"


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and its title."""

    name: str
    title: str
    svg: str


def draw(report: dict[str, Any]) -> list[Plot]:
    """Draw every plot that the report has figures for."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for point in report["points"]:
        groups.setdefault(point["group"], []).append(point)
    clients = groups.get("clients", [])
    one = [point for point in clients if point["clients"] in (8, 32, 128)]
    plain = [point for point in clients if point["clients"] == 128]
    best = report["yardstick"]["transactions_per_second"] if report["yardstick"] else 0.0

    def rates(points: list[dict[str, Any]], names: list[str], label: str) -> Callable[[Axes], None]:
        return lambda axes: _rates(axes, points, names, label, best)

    def names(points: list[dict[str, Any]], unit: str = "") -> list[str]:
        return [f"{point['label']}{unit}" for point in points]

    drawings: list[tuple[str, str, Callable[[Axes], None]]] = []
    if len(clients) > 1:  # otherwise there is only the point that others are compared with
        drawings += [
            (
                "clients",
                "Throughput by number of clients, one order a document",
                rates(clients, names(clients), "clients"),
            ),
            (
                "latency",
                "Latency by number of clients, one order a document",
                lambda axes: _latency(axes, clients),
            ),
            ("cpu", "CPU time of a one-order document", lambda axes: _cpu(axes, clients)),
        ]
    if many := groups.get("orders"):
        drawings.append(
            (
                "orders",
                "Throughput by orders in a document",
                rates(
                    one + many,
                    [f"1\n{point['clients']} clients" for point in one]
                    + [f"{point['label']}\n{point['clients']} clients" for point in many],
                    "orders in a document",
                ),
            )
        )
    if "cores" in groups:
        drawings.append(
            (
                "cores",
                "Throughput by cores for gateway and database (load on the others), 128 clients",
                rates(groups["cores"], names(groups["cores"]), "cores"),
            )
        )
    history, resting = groups.get("history", []), groups.get("resting", [])
    if history or resting:
        drawings.append(
            (
                "history",
                "Throughput by what the exchange holds beforehand, 128 clients",
                rates(
                    [*plain, *history, *resting],
                    ["nothing", *names(history, "\nhistory"), *names(resting, "\nresting")],
                    "orders",
                ),
            )
        )
    if soak := report["soak"]:
        drawings.append(("soak", f"Soak with {soak['clients']} clients", lambda axes: _soak(axes, soak)))
    return [Plot(name, title, _svg(drawing)) for name, title, drawing in drawings]


def _rates(axes: Axes, points: list[dict[str, Any]], names: list[str], label: str, best: float) -> None:
    values = [point["orders_per_second"] for point in points]
    medians = [value["median"] for value in values]
    errors = [
        [value["median"] - value["low"] for value in values],
        [value["high"] - value["median"] for value in values],
    ]
    axes.bar(names, medians, yerr=errors, capsize=4, width=0.6, color=_BLUE, ecolor=_INK)
    axes.axhline(best, color=_ORANGE, linestyle="--", label=f"pgbench: {best:.0f} transactions/s")
    for place, value in enumerate(values):
        axes.annotate(
            f"{points[place]['ratio']:.2f} x",
            (place, value["high"]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": _PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    axes.set_ylim(0, max(best, *(value["high"] for value in values)) * 1.18)
    axes.set_ylabel("orders/s")
    axes.set_xlabel(label)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 1.12))


def _latency(axes: Axes, points: list[dict[str, Any]]) -> None:
    names = [point["label"] for point in points]
    for name, color in (("p50", _BLUE), ("p99", _ORANGE), ("max", _GREY)):
        runs = [sorted(run["latency_ms"][name] for run in point["runs"]) for point in points]
        medians = [statistics.median(values) for values in runs]
        errors = [
            [median - values[0] for median, values in zip(medians, runs, strict=True)],
            [values[-1] - median for median, values in zip(medians, runs, strict=True)],
        ]
        axes.errorbar(names, medians, yerr=errors, capsize=4, marker="o", color=color, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("milliseconds")
    axes.set_xlabel("clients")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 1.12), ncols=3)


def _soak(axes: Axes, soak: dict[str, Any]) -> None:
    axes.plot(range(1, len(soak["rates"]) + 1), soak["rates"], color=_BLUE)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("orders/s")
    axes.set_xlabel("second")


def _cpu(axes: Axes, points: list[dict[str, Any]]) -> None:
    names = [point["label"] for point in points]
    below = [0.0] * len(points)
    for part, color in (("database", _BLUE), ("gateway", _ORANGE), ("load", _GREY)):
        runs = [[run["cpu_us_per_document"].get(part, 0.0) for run in point["runs"]] for point in points]
        medians = [statistics.median(values) for values in runs]
        axes.bar(names, medians, bottom=below, width=0.6, color=color, label=part)
        below = [low + median for low, median in zip(below, medians, strict=True)]
    axes.set_ylabel("microseconds a document")
    axes.set_xlabel("clients")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 1.12), ncols=3)


def _svg(drawing: Callable[[Axes], None]) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        drawing(figure.subplots())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    # An HTML page can't hold the XML declaration and the document type.
    svg = re.sub(r"^.*?(?=<svg)", "", written.getvalue(), flags=re.DOTALL)
    for color, of_the_page in _OF_THE_PAGE.items():
        svg = svg.replace(color, of_the_page)
    return svg
