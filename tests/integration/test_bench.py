"""The benchmark's parts against a real PostgreSQL, and once all of it, as short as it can be."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.rows import TupleRow

from gateway.cli import main
from gateway.loadtest import pgbench, points
from gateway.loadtest.connections import Target
from gateway.loadtest.load import measure, set_up
from gateway.loadtest.rig import BenchError, Rig
from gateway.loadtest.seeding import seed_history, seed_resting
from gateway.loadtest.workload import Feeder, Workload
from tests.integration.conftest import Gateway

WORKLOAD = Workload(accounts=5, symbols=3)


def the(connection: psycopg.Connection[TupleRow], query: Any) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_a_seeded_past_is_sound_and_so_is_what_follows(
    gateway: Gateway, connection: psycopg.Connection[TupleRow]
) -> None:
    set_up(Target(*gateway.address), WORKLOAD)
    seed_history(connection, 4000)
    assert the(connection, "select count(*) from exchange.orders") == 4000
    assert the(connection, "select count(*) from exchange.executions") == 2000
    assert the(connection, "select count(*) from exchange.resting_orders") == 0
    seed_resting(connection, 2500)
    assert the(connection, "select count(*) from exchange.resting_orders") == 2500
    assert connection.execute("select * from exchange.check_integrity()").fetchall() == []
    measured = measure(Target(*gateway.address), Feeder(WORKLOAD), clients=8, seconds=0.3)
    assert measured.refused == 0
    assert the(connection, "select count(*) from exchange.orders") == 6500 + measured.opened
    assert connection.execute("select * from exchange.check_integrity()").fetchall() == []


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quick plan take no longer than every point takes to be set up."""
    plan = dataclasses.replace(
        points.QUICK, rounds=1, seconds=0.2, warm_up=0.1, pgbench_seconds=1, history=(1000,), resting=1000
    )
    monkeypatch.setattr(points, "QUICK", plan)


@pytest.mark.usefixtures("tiny")
def test_a_whole_benchmark_leaves_a_report_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    affinity = os.sched_getaffinity(0)
    children = psutil.Process().children()
    output = tmp_path / "report.html"
    with pytest.raises(SystemExit) as end:
        main(["bench", "--quick", "--soak", "1s", "--output", str(output)])
    assert not end.value.code
    assert "100 orders a document" in capsys.readouterr().out
    assert "<svg" in output.read_text()
    report = json.loads(output.with_suffix(".json").read_text())
    assert report["postgresql"]["settings"]["fsync"] == "on"
    assert report["yardstick"]["transactions_per_second"] > 0
    assert len(report["points"]) == len(points.points(points.QUICK, len(affinity)))
    for point in report["points"] + report["sql"]:
        assert point["orders_per_second"]["median"] > 0
        assert point["ratio"] > 0
    assert os.sched_getaffinity(0) == affinity
    assert psutil.Process().children() == children


def test_a_database_of_others_is_left_as_it_was(server: str) -> None:
    with Rig(server) as rig:
        assert not rig.embedded
        with rig.database() as database:
            pgbench.initialize(database)
            result = pgbench.tpcb(database, 2, 1)
            assert result.transactions_per_second > 0
            assert 0 < result.median_ms < 1000
        with rig.connect() as connection:
            left = "select count(*) from pg_database where datname like 'pgbourse_bench_%'"
            assert the(connection, left) == 0


def test_functions_are_measured_by_orders_that_were_opened(gateway: Gateway, database: str) -> None:
    """A refused order ends pgbench: here, for there is no such account."""
    with pytest.raises(BenchError, match=r"pgbench failed.*aborted"):
        pgbench.one_order(database, WORKLOAD, 1)
    set_up(Target(*gateway.address), WORKLOAD)
    assert pgbench.one_order(database, WORKLOAD, 1).transactions_per_second > 0
    assert pgbench.run_batches(database, WORKLOAD, 1).transactions_per_second > 0


def test_a_database_out_of_reach_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "--quick", "--database-url", "host=127.0.0.1 port=1 user=nobody"])
    assert end.value.code == 1
    assert "pgbourse: can't use the database to be measured" in capsys.readouterr().err
