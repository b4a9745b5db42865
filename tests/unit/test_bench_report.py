"""The benchmark's report, from figures made up here."""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from lxml import etree

from gateway.loadtest import report
from gateway.loadtest.commands import Duration
from gateway.loadtest.plots import draw
from gateway.loadtest.points import FULL, QUICK, points
from gateway.loadtest.rig import BenchError


def run_of(rate: float) -> dict[str, Any]:
    return {
        "orders_per_second": rate,
        "documents_per_second": rate,
        "latency_ms": {"p50": 1.5, "p90": 2.0, "p99": 4.25, "p99.9": 5.0, "max": 9.0},
        "cpu_us_per_document": {"gateway": 50.0, "database": 80.0, "load": 10.0},
    }


def spread(*values: float) -> dict[str, float]:
    return {"median": sorted(values)[len(values) // 2], "low": min(values), "high": max(values)}


@pytest.fixture
def figures() -> dict[str, Any]:
    """A report as bench makes it: every point did 8000, 9000 and 10000 orders/s, pgbench 4000 and 3000."""
    summary = {"orders_per_second": spread(8000, 9000, 10000), "ratio": 2.25, "p50_ms": spread(1.5)}
    runs = [run_of(rate) for rate in (8000.0, 9000.0, 10000.0)]
    names = ("group", "label", "clients", "orders", "history", "resting", "cores")
    measured = [{name: getattr(point, name) for name in names} for point in points(QUICK, 2)]
    return {
        "pgbourse": "9.9.9",
        "made_at": "2030-01-01T00:00:00+00:00",
        "machine": {"cores": 2, "memory_gb": 8.0, "system": "Linux <6>", "python": "3.11"},
        "postgresql": {"version": "18.6", "embedded": True, "settings": {"fsync": "on"}},
        "plan": {"rounds": 3, "seconds": 2.0, "soak_seconds": 4.0},
        "seconds": 100,
        "yardstick": {
            "transactions_per_second": 4000.0,
            "by_clients": {"8": spread(4000), "32": spread(3000)},
        },
        "points": [entry | summary | {"runs": runs} for entry in measured],
        "sql": [{"function": name} | summary | {"runs": runs} for name in ("place_order", "process_batch")],
        "soak": run_of(9000)
        | {"clients": 128, "rates": [9000.0] * 4, "part_seconds": 1, "late_to_early": 0.97},
    }


def test_the_table_says_every_point_and_its_ratio(figures: dict[str, Any]) -> None:
    text = report.table(figures)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(figures["points"]) + 2
    assert len({len(line) for line in lines}) == 1
    assert re.search(r"128 client.* 9000 \|\s+8000 to 10000 \|\s+2.25 \|\s+1.50 \|\s+4.25 \|", text)
    assert "4000 transactions/s with 8 clients, 3000" in text
    assert "the last 1 s did 0.97 of the second 1 s" in text


def test_the_page_needs_nothing_else_and_shows_every_plot(figures: dict[str, Any], tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    data = report.write(figures, output, tmp_path / "plots")
    page = output.read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", page)
    assert "@import" not in page
    assert "url(http" not in page
    assert "<script" not in page
    assert page.count("<svg") == page.count("<figure>") == 7
    assert "Linux &lt;6&gt;" in page
    assert json.loads(data.read_text()) == figures
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "clients.svg", "cores.svg", "cpu.svg", "history.svg", "latency.svg", "orders.svg", "soak.svg",
    ]  # fmt: skip


def test_plots_hold_the_figures(figures: dict[str, Any]) -> None:
    plots = {plot.name: etree.fromstring(plot.svg.encode()) for plot in draw(figures)}
    texts = {name: "|".join(str(text).strip() for text in plot.itertext()) for name, plot in plots.items()}
    assert texts["clients"].count("2.25 x") == 5
    assert "pgbench: 4000 transactions/s" in texts["clients"]
    assert "512" in texts["latency"]
    assert all(word in texts["cpu"] for word in ("gateway", "database", "load"))


def test_the_same_figures_give_the_same_plots(figures: dict[str, Any]) -> None:
    assert draw(figures) == draw(figures)


def test_without_cores_to_choose_there_is_no_plot_of_them(figures: dict[str, Any]) -> None:
    figures["points"] = [point for point in figures["points"] if point["group"] != "cores"]
    assert "cores" not in [plot.name for plot in draw(figures)]


def test_a_place_that_can_not_be_written_is_told(figures: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="can't write the report"):
        report.write(figures, tmp_path / "absent" / "report.html")


def test_points_cover_what_a_report_promises() -> None:
    found = points(FULL, 4)
    of = {
        group: [point for point in found if point.group == group]
        for group in {point.group for point in found}
    }
    assert [point.clients for point in of["clients"]] == [1, 8, 32, 128, 512]
    assert {point.orders for point in found} == {1, 10, 100}
    assert [point.cores for point in of["cores"]] == [1, 2, 4]
    assert [point.history for point in of["history"]] == [10_000, 100_000, 1_000_000]
    assert [point.resting for point in of["resting"]] == [100_000]
    assert not any(point.cores for point in points(FULL, 0))


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400)])
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "-1s", "1d", "1e3"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        Duration().convert(text, None, None)
