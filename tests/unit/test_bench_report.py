"""The benchmark's report, from figures made up here."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from lxml import etree

from pgbourse.bench import report, targets
from pgbourse.bench.commands import Duration
from pgbourse.bench.machine import describe, describe_machine
from pgbourse.bench.plots import draw
from pgbourse.bench.points import BASE, FULL, FUNCTIONS, QUICK, YARDSTICK, Plan, Point, points, steps
from pgbourse.bench.rig import BenchError


def run_of(rate: float) -> dict[str, Any]:
    return {
        "orders_per_second": rate,
        "documents_per_second": rate,
        "latency_ms": {"p50": 1.5, "p90": 2.0, "p99": 4.25, "p99.9": 5.0, "max": 9.0},
        "cpu_us_per_document": {"gateway": 50.0, "database": 80.0, "load": 10.0},
        "cores_busy": {"gateway": 0.45, "database": 0.72},
    }


def spread(*values: float) -> dict[str, float]:
    return {"median": sorted(values)[len(values) // 2], "low": min(values), "high": max(values)}


@pytest.fixture
def figures() -> dict[str, Any]:
    """A report as bench makes it: every point did 8000, 9000 and 10000 orders/s, pgbench 4000 and 3000."""
    return report_of(QUICK)


def report_of(plan: Plan) -> dict[str, Any]:
    summary = {"orders_per_second": spread(8000, 9000, 10000), "ratio": 2.25, "p50_ms": spread(1.5)}
    runs = [run_of(rate) for rate in (8000.0, 9000.0, 10000.0)]
    measured = [{name: getattr(point, name) for name in Point.__slots__} for point in points(plan, 2)]
    made = {
        "pgbourse": "9.9.9",
        "made_at": "2030-01-01T00:00:00+00:00",
        "commit": "abc1234+",
        "machine": {
            "cpu": "Abacus",
            "cores": 2,
            "memory_gb": 8.0,
            "flush_us": 57.3,
            "system": "Linux <6>",
            "python": "3.11",
        },
        "postgresql": {"version": "18.6", "embedded": True, "settings": {"fsync": "on"}},
        "plan": {
            "rounds": 3,
            "judges": plan.judges,
            "seconds": 2.0,
            "soak_seconds": plan.soak,
            "groups": list(plan.groups),
        },
        "seconds": 100,
        "yardstick": {
            "transactions_per_second": 4000.0,
            "by_clients": {
                "1": spread(1000) | {"runs": [1000.0] * 3},
                "8": spread(4000) | {"runs": [4000.0] * 3},
                "32": spread(3000) | {"runs": [3000.0] * 3},
            },
        },
        "points": [entry | summary | {"runs": runs} for entry in measured],
        "sql": [{"function": name} | summary | {"runs": runs} for name in ("place_order", "process_batch")],
        "soak": run_of(9000)
        | {"clients": 128, "rates": [9000.0] * 4, "part_seconds": 1, "late_to_early": 0.97},
        "snapshot": {
            "held_seconds": plan.held,
            "part_seconds": plan.held_part,
            "exchange": {"before": 9000.0, "late": 5400.0, "kept": 0.6, "clients": 128},
            "pgbench": {"before": 4000.0, "late": 1600.0, "kept": 0.4, "clients": 32},
        },
    }
    return made | {"targets": targets.targets(made)}


def test_the_table_says_every_point_and_its_ratio(figures: dict[str, Any]) -> None:
    text = report.table(figures)
    lines = [line for line in text.split("| target")[0].splitlines()[:-1] if line.startswith("|")]
    assert len(lines) == 2 + len(figures["points"]) + 2
    assert len({len(line) for line in lines}) == 1
    assert re.search(r"128 client.* 9000 \|\s+8000 to 10000 \|\s+2.25 \|\s+1.50 \|\s+4.25 \|", text)
    assert "4000 transactions/s with 8 clients, 3000" in text
    assert "the last 1 s did 0.97 of the second 1 s" in text
    assert "the last 3 s against the 3 s before: 5400 of 9000 orders/s (0.60)" in text
    assert "pgbench 1600 of 4000 transactions/s (0.40) with 32." in text


def row(made: dict[str, Any], load: str) -> dict[str, Any]:
    (found,) = [row for row in targets.targets(made) if load in row["load"]]
    return found


def rates(made: dict[str, Any], group: str, label: str, *values: float) -> None:
    (point,) = [point for point in made["points"] if (point["group"], point["label"]) == (group, label)]
    point["runs"] = [run_of(value) for value in values]


def test_a_full_run_says_where_every_target_stands() -> None:
    made = report_of(replace(FULL, soak=1800))
    assert len(made["targets"]) == 19
    assert all(row["reached"] for row in made["targets"])
    told = {row[0]: row[1:] for row in targets.rows(made)}
    assert told["ten orders a document, 32 clients"] == (
        "at least 4 x pgbench", "2.25 (2.00 to 2.50)", "not met", "`pgbourse bench --only orders`"
    )  # fmt: skip
    assert told["gateway CPU of a one-order document, 128 clients"][:3] == (
        "at most 60 microseconds", "50 (50 to 50)", "met"
    )  # fmt: skip
    assert told["30 minutes at full load: the last minute"][1:] == (
        "0.97", "met", "`pgbourse bench --only soak --soak 30m`"
    )  # fmt: skip
    assert "| 64 accounts rest orders in every symbol, the others take" in report.table(made)


def test_a_ratio_is_the_median_of_the_rounds_not_the_ratio_of_medians() -> None:
    made = report_of(FULL)
    # The machine was half as fast in the second round, and so was everything that is compared.
    rates(made, "clients", "128", 10000, 5000, 8000)
    rates(made, "idle", "5000", 9500, 4800, 7600)
    assert row(made, "5,000 connections")["reached"]["runs"] == [0.95, 0.96, 0.95]
    assert row(made, "5,000 connections")["reached"]["median"] == 0.95
    rates(made, "makers", "64", 4000, 9000, 100)
    rates(made, "makers", "all", 5000, 9000, 1000)
    assert row(made, "64 accounts")["reached"]["median"] == 0.8
    assert row(made, "64 accounts")["verdict"] == "unclear", "one round has reached it"


def test_a_ratio_to_pgbench_is_to_the_clients_that_did_best_over_all_rounds() -> None:
    made = report_of(FULL)
    made["yardstick"]["by_clients"] = {
        "8": {"median": 4000.0, "runs": [4000.0, 4000.0, 8000.0]},
        "32": {"median": 5000.0, "runs": [5000.0, 5000.0, 2000.0]},
    }
    rates(made, "clients", "128", 10000, 10000, 8000)
    assert row(made, "order a document, 128")["reached"]["runs"] == [2, 2, 4]


def test_the_latency_of_one_client_is_compared_with_the_function_itself() -> None:
    made = report_of(FULL)
    made["sql"][0]["runs"] = [{"orders_per_second": 1.0, "latency_ms": {"p50": p50}} for p50 in (1.0, 1.2, 1)]
    found = row(made, "one client")
    assert found["reached"]["runs"] == [1.5, 1.25, 1.5]
    assert (found["at_most"], found["verdict"]) == (True, "unclear")
    made["sql"][0]["runs"] = [{"orders_per_second": 1.0, "latency_ms": {"p50": 1.0}}] * 3
    assert row(made, "one client")["verdict"] == "not met"


def test_a_quick_run_judges_no_targets(figures: dict[str, Any], tmp_path: Path) -> None:
    assert figures["targets"] == []
    assert "too short to say whether targets are met" in report.table(figures)
    report.write(figures, tmp_path / "report.html")
    assert "too short to say whether targets are met" in (tmp_path / "report.html").read_text()


def test_two_reports_are_compared_load_by_load(tmp_path: Path) -> None:
    old, new = report_of(FULL), report_of(replace(FULL, groups=("clients", "idle")))
    rates(new, "clients", "128", 18000, 18000, 20000)
    (point,) = [point for point in new["points"] if (point["group"], point["label"]) == ("clients", "128")]
    point["orders_per_second"] = spread(18000, 18000, 20000)
    new["commit"] = None
    for name, made in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(made))
    told = report.compare(*(report.read(tmp_path / f"{name}.json") for name in ("old", "new")))
    assert re.search(r"128 client.* 9000 \| +18000 \| +2\.00 \| +1\.80 to 2\.50 \|", told)
    assert re.search(r"pgbench, 8 client.* 4000 \| +4000 \| +1\.00 \| +1\.00 to 1\.00 \|", told)
    before = "before: pgbourse 9.9.9 (abc1234+), PostgreSQL 18.6, 2 cores of Abacus, a flush takes 57 µs"
    assert told.startswith(before)
    alone = len(points(FULL, 2)) - len(points(replace(FULL, groups=("clients", "idle")), 2))
    assert told.endswith(f"{alone} loads are in one of the reports only.")


def test_what_is_no_report_is_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    for text in ("{}", "[]", "no JSON"):
        path.write_text(text)
        with pytest.raises(BenchError, match=r"other\.json isn't the data of a report"):
            report.read(path)
    none = report_of(replace(FULL, groups=("snapshot",))) | {"yardstick": None, "points": [], "sql": []}
    with pytest.raises(BenchError, match="no load in common"):
        report.compare(none, report_of(FULL))


def test_the_machine_is_told() -> None:
    found = describe_machine(Path("/tmp"))
    assert found["cores"] >= 1
    assert found["flush_us"] > 0
    assert describe_machine(None)["flush_us"] is None
    old = report_of(FULL) | {"machine": {"cores": 2}}
    del old["commit"]
    assert describe(old) == "pgbourse 9.9.9, PostgreSQL 18.6, 2 cores", "a report from before"


def test_what_was_measured_smaller_than_a_target_asks_does_not_meet_it() -> None:
    figures = report_of(replace(FULL, history=(10_000,), resting=10_000, held=10, soak=10))
    for load in ("million", "100,000 resting", "snapshot", "30 minutes"):
        found = row(figures, load)
        assert (found["reached"], found["verdict"]) == (None, "")
    assert ("not measured", "") in [row[2:4] for row in targets.rows(figures)]


def test_a_report_of_one_group_has_its_targets_and_no_others(tmp_path: Path) -> None:
    made = report_of(replace(FULL, groups=("snapshot",)))
    made |= {"yardstick": None, "points": [], "sql": [], "soak": None}
    made["targets"] = targets.targets(made)
    assert [(row["reached"]["median"], row["verdict"]) for row in made["targets"]] == [(0.6, "met")]
    assert report.table(made).count("\n| ") == 2
    report.write(made, tmp_path / "report.html")
    assert "pgbourse bench --only snapshot" in (tmp_path / "report.html").read_text()


def test_plots_are_of_what_there_is() -> None:
    made = report_of(replace(FULL, groups=("idle", "history")))
    made |= {"soak": None}
    assert [plot.name for plot in draw(made)] == ["history"]


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


def test_plots_are_drawn_in_the_colours_of_the_page(figures: dict[str, Any]) -> None:
    for plot in draw(figures):
        assert "currentColor" in plot.svg
        assert not re.search("#0{6}|#f{6}", plot.svg)


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


def test_a_place_that_can_not_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    report.require_room(tmp_path / "report.html", tmp_path / "made" / "plots")
    assert list(tmp_path.iterdir()) == []
    absent = tmp_path / "absent" / "report.html"
    bench = [sys.executable, "-m", "pgbourse.cli", "bench", "--quick", "--output", str(absent)]
    result = subprocess.run(bench, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, f"pgbourse: can't write the report to {absent}\n")
    with pytest.raises(BenchError, match="is where the report's data would be"):
        report.require_room(tmp_path / "report.json")


def test_points_cover_what_a_report_promises() -> None:
    found = points(FULL, 4)
    of = {
        group: [point for point in found if point.group == group]
        for group in {point.group for point in found}
    }
    assert [point.clients for point in of["clients"]] == [1, 8, 32, 128, 512]
    assert {point.orders for point in found if not point.requotes} == {1, 10, 100}
    assert [point.cores for point in of["cores"]] == [1, 2, 4]
    assert [point.history for point in of["history"]] == [10_000, 100_000, 1_000_000]
    assert [point.resting for point in of["resting"]] == [100_000]
    assert not any(point.cores for point in points(FULL, 0))
    assert [(point.connections, point.clients) for point in of["idle"]] == [(5000, 128)]
    assert [(point.makers, point.clients) for point in of["makers"]] == [
        (64, 128), (1000, 128), (1, 128), (64, 128)
    ]  # fmt: skip
    assert [(point.hostile, point.clients) for point in of["hostile"]] == [
        ("", 32), ("orders", 32), ("queries", 32)
    ]  # fmt: skip
    assert [(point.refs, point.clients, point.orders) for point in of["refs"]] == [(True, 128, 1)]
    assert [(point.flush_ms, point.clients) for point in of["flush"]] == [(4, 128)]
    two, many = (points(replace(FULL, cores=cores), cores) for cores in (2, 16))
    for group, for_two, for_many in (("lanes", "0 1 2", "0 1 2 4 8"), ("processes", "1 2", "1 2 4 8")):
        assert [point.label for point in two if point.group == group] == for_two.split()
        assert [point.label for point in many if point.group == group] == for_many.split()
    assert not any(point.flush_ms for point in points(replace(FULL, flush_ms=0), 4))


def test_a_group_comes_with_what_it_is_compared_with() -> None:
    assert points(replace(FULL, groups=("idle",)), 4)[0] == BASE
    assert [point.group for point in points(replace(FULL, groups=("orders",)), 4)] == ["orders", "orders"]
    assert [point.group for point in points(replace(FULL, groups=("flush",)), 4)] == ["clients", "flush"]
    assert points(replace(FULL, groups=("soak", "snapshot", "functions")), 4) == []
    assert points(replace(FULL, groups=("idle",), connections=0), 4) == [BASE]


def test_a_round_takes_every_point_once_and_close_to_what_it_is_compared_with() -> None:
    measured = points(FULL, 2)
    order = steps(FULL, measured)
    assert sorted(order, key=repr) == sorted([*measured, YARDSTICK, FUNCTIONS], key=repr)
    at = {(step.group, step.label): place for place, step in enumerate(order)}
    for one, other, apart in (
        (("idle", "5000"), ("clients", "128"), 3),
        (("history", "1M"), ("clients", "128"), 3),
        (("resting", "100k"), ("clients", "128"), 3),
        (("makers", "64"), ("makers", "all"), 1),
        (("refs", "each"), ("clients", "128"), 3),
        (("clients", "1"), ("functions", FUNCTIONS.label), 1),
        (("functions", FUNCTIONS.label), ("yardstick", YARDSTICK.label), 1),
    ):
        assert abs(at[one] - at[other]) <= apart
    assert steps(replace(FULL, groups=("soak",)), []) == []


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400)])
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "-1s", "1d", "1e3"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration"):
        Duration().convert(text, None, None)
