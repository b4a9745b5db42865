"""The benchmark's parts against a real PostgreSQL, and all of it once, as short as possible."""

import dataclasses
import itertools
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.rows import TupleRow

from pgbourse.bench import apart, pgbench, points
from pgbourse.bench.idle import idle_connections
from pgbourse.bench.rig import BenchError, Rig
from pgbourse.bench.seeding import seed_history, seed_resting
from pgbourse.bench.snapshot import measure_held
from pgbourse.cli import main
from pgbourse.database.migrate import migrate
from pgbourse.loadtest.connections import LoadError, Target
from pgbourse.loadtest.load import run_closed_loop, set_up
from pgbourse.loadtest.run import Run
from pgbourse.loadtest.workload import Feeder, Workload
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, StartGateway

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
    measured = run_closed_loop(Target(*gateway.address), Feeder(WORKLOAD), clients=8, seconds=0.3)
    assert measured.refused == 0
    assert the(connection, "select count(*) from exchange.orders") == 6500 + measured.opened
    assert connection.execute("select * from exchange.check_integrity()").fetchall() == []


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the quick plan as short as the set-up of its points allows."""
    plan = dataclasses.replace(
        points.QUICK,
        rounds=2,
        seconds=0.2,
        warm_up=0.1,
        pgbench_seconds=1,
        held=2,
        held_part=1,
        history=(1000,),
        resting=1000,
        connections=300,
        accounts=100,
        makers=10,
    )
    monkeypatch.setattr(points, "QUICK", plan)


def benchmark(output: Path, groups: tuple[str, ...], *options: str) -> Any:
    """Run these groups, look at what must hold of any, and return the report."""
    affinity = os.sched_getaffinity(0)
    children = psutil.Process().children()
    with pytest.raises(SystemExit) as end:
        main(["bench", "--quick", "--output", str(output), *options])
    assert not end.value.code
    assert "<svg" in output.read_text()
    report = json.loads(output.with_suffix(".json").read_text())
    assert report["postgresql"]["settings"]["fsync"] == "on"
    assert report["yardstick"]["transactions_per_second"] > 0
    measured = points.points(dataclasses.replace(points.QUICK, groups=groups), len(affinity))
    assert len(report["points"]) == len(measured)
    assert all(len(point["runs"]) == 2 for point in report["points"] + report["sql"])
    for point in report["points"] + report["sql"]:
        assert point["orders_per_second"]["median"] > 0
        assert point["ratio"] > 0
    assert os.sched_getaffinity(0) == affinity
    assert psutil.Process().children() == children
    return report


@pytest.mark.usefixtures("tiny")
def test_a_benchmark_leaves_a_report_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = ("orders", "functions")
    benchmark(tmp_path / "report.html", groups, *[f"--only={group}" for group in groups])
    told = capsys.readouterr().out
    assert "100 orders a document" in told
    assert "held a snapshot" not in told


@pytest.mark.long("it measures all points twice")
@pytest.mark.usefixtures("tiny")
def test_a_whole_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = benchmark(tmp_path / "report.html", points.GROUPS, "--soak", "1s")
    told = capsys.readouterr().out
    assert "100 orders a document" in told
    assert "300 connections open" in told
    assert "32 clients, beside one with 50,000 orders a document" in told
    assert "While another session held a snapshot for 2 s" in told
    assert report["snapshot"]["exchange"]["late"] > 0
    assert report["snapshot"]["pgbench"]["late"] > 0


@pytest.mark.usefixtures("tiny")
def test_one_group_can_be_measured_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "--quick", "--only", "soak", "--soak", "1s"])
    assert not end.value.code
    told = capsys.readouterr().out
    assert "Soak of" in told
    assert "pgbench" not in told
    assert "too short to say whether targets are met" in told


def test_a_soak_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "--only", "idle", "--soak", "1s"])
    assert end.value.code == 2
    assert "needs --only soak" in capsys.readouterr().err


def test_idle_connections_are_known_to_the_server_and_kept(gateway: Gateway) -> None:
    target, feeder = Target(*gateway.address), Feeder(WORKLOAD)
    set_up(target, WORKLOAD)
    with idle_connections(target, feeder, 150):
        wait_until(lambda: gateway.traffic.connections == 150, "150 are open and the set-up's is not")
        measured = run_closed_loop(target, feeder, clients=4, seconds=0.2)
        assert measured.opened > 0
        assert gateway.traffic.connections >= 150


def test_idle_connections_that_a_server_closes_are_told(start_gateway: StartGateway) -> None:
    gateway = start_gateway(close_after_reply=True)
    set_up(Target(*gateway.address, new_connection_each=True), WORKLOAD)
    with (
        pytest.raises(LoadError, match="the server closed 3 of 3 idle connections"),
        idle_connections(Target(*gateway.address), Feeder(WORKLOAD), 3),
    ):
        wait_until(lambda: not gateway.traffic.connections, "all connections are closed")


def test_a_snapshot_is_held_for_the_later_part_of_the_load_alone(server: str) -> None:
    horizon = "select backend_xmin is not null from pg_stat_activity where pid = %s"
    seen = []
    with Rig(server) as rig, rig.connect() as holder, rig.connect() as watcher:

        def load(seconds: float) -> float:
            seen.append((seconds, watcher.execute(horizon, [holder.info.backend_pid]).fetchone()))
            return 10.0 - len(seen)

        result = measure_held(holder, load, 120, 15)
    assert seen == [(15, (False,)), (15, (False,)), (105, (True,)), (15, (True,))]
    assert result == {"before": 8.0, "late": 6.0, "kept": 0.75}


def test_orders_of_the_others_take_from_market_makers(
    gateway: Gateway, connection: psycopg.Connection[TupleRow]
) -> None:
    workload = Workload(accounts=20, symbols=2, makers=4)
    set_up(Target(*gateway.address), workload)
    source = itertools.islice(Feeder(workload), 500)
    assert Run(Target(*gateway.address), source, clients=4).go().opened == 500
    taken = """
        select avg((makers.account_id::integer < 1004)::integer)
        from exchange.executions
        join exchange.orders on orders.order_id = least(executions.buy_order_id, executions.sell_order_id)
        join exchange.accounts as makers on makers.account_key = orders.account_key
    """
    assert the(connection, "select count(*) from exchange.executions") > 150
    assert the(connection, taken) > 0.8


def test_a_database_of_others_is_left_as_it_was(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOSTADDR", "PGPORT", "PGSERVICE", "PGOPTIONS", "PGDATESTYLE", "PGTARGETSESSIONATTRS"):
        monkeypatch.setenv(name, "nonsense")  # must not matter
    monkeypatch.setenv("PGBOURSE_HOST", "0.0.0.0")
    with Rig(server) as rig:
        assert not rig.embedded
        with rig.database() as database:
            pgbench.initialize(database)
            result = pgbench.tpcb(database, 2, 1)
            assert result.transactions_per_second > 0
            assert 0 < result.median_ms < 1000
            migrate(database)
            with rig.serving(database) as running:
                assert set_up(running.target, WORKLOAD) > 0
        with rig.connect() as connection:
            left = "select count(*) from pg_database where datname like 'pgbourse_bench_%'"
            assert the(connection, left) == 0


def test_a_slow_flush_is_the_database_s_own(server: str) -> None:
    setting = "select current_setting('commit_delay')"
    with Rig(server) as rig, rig.database() as usual, rig.database(flush_ms=4) as slow:
        for database, delay in ((usual, "0"), (slow, "4000")):
            with rig.connect(database) as connection:
                assert the(connection, setting) == delay


def test_a_load_elsewhere_tells_why_it_failed() -> None:
    job = apart.closed_loop(1, WORKLOAD, clients=1, seconds=1)
    with pytest.raises(BenchError, match=r"a load failed: can't connect .*: .*refused"), ExitStack() as stack:
        apart.begin(stack, [job])[0].result()


def test_functions_are_measured_by_orders_that_were_opened(gateway: Gateway, database: str) -> None:
    """A refused order ends pgbench; here there is no such account."""
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
