"""Count the instructions of an order and name the functions they go to: python -m tests.bench.instructions

Needs valgrind. PostgreSQL carries out the same batches in single-user mode, fewer and more of them, each time
on a copy of the same data; the difference of the two counts is what the batches cost, without the start, the
making of plans and whatever else happens once. The same code gives the same figures within a ten-thousandth,
however busy the machine is. To compare two versions, run it in a checkout of each.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psycopg

from pgbourse.bench.pgbench import BATCH_ORDERS, batches
from pgbourse.bench.rig import Rig
from pgbourse.database.binaries import find_binaries, run_as
from pgbourse.database.migrate import migrate
from pgbourse.loadtest.load import set_up
from pgbourse.loadtest.workload import Workload
from tests.dba.cluster import Cluster

__all__ = ["count", "difference", "functions"]

WARM_UP_ORDERS = 30_000  # so that the book and the tables are no longer empty
LEAST_BATCHES, LEAST_ORDERS = 5, 100  # of the shorter run; the longer one is four times as long
_LINE = re.compile(r"^ *([0-9,]+) (?:\([ 0-9.]+%\))? *(\S.*)$")


def count(orders: int, warm_up_orders: int = WARM_UP_ORDERS, *, stages: bool = False) -> Counter[str]:
    """Return the instructions of one order by function, in batches of so many orders.

    With `stages`, the batches go through the calls of both stages, not through process_batch.
    """
    with tempfile.TemporaryDirectory(prefix="pgbourse-instructions-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, the user of PostgreSQL must be let in
        cluster = _prepare(folder, warm_up_orders)
        number = max(LEAST_BATCHES, LEAST_ORDERS // orders)
        statements = [" ".join(text.split()) for text in batches(Workload(), number, orders, stages=stages)]
        few, many = (_callgrind(cluster, statements, times) for times in (1, 4))
    return difference(few, many, 3 * number * orders)


def _prepare(folder: Path, orders: int) -> Cluster:
    """Make a cluster whose database has seen so many orders, and leave it at rest."""
    workload = Workload()
    cluster = Cluster(folder / "server", find_binaries(None).major, jit="off", shared_buffers="256MB")
    with cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as admin:
            admin.execute("create database pgbourse")
        migrate(cluster.dsn("pgbourse"))
        with Rig(cluster.dsn("pgbourse")) as rig, rig.serving(cluster.dsn("pgbourse")) as server:
            set_up(server.target, workload)
        with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection:
            for statement in batches(workload, orders // BATCH_ORDERS):
                connection.execute(statement.encode())
            connection.execute("vacuum (analyze)")
            connection.execute("checkpoint")
    return cluster


def difference(few: Counter[str], many: Counter[str], orders: int) -> Counter[str]:
    """Return what each function costs an order, where `many` holds so many orders more than `few`."""
    return Counter({name: (many[name] - few[name]) // orders for name in many})


def functions(annotated: str) -> Counter[str]:
    """Return what callgrind_annotate tells: instructions by function, its own without those that it calls."""
    found: Counter[str] = Counter()
    _, table = annotated.split("file:function", 1)
    for line in table.splitlines():
        if match := _LINE.match(line):
            name = re.sub(r"^.*?:(?=\S)|'[0-9]+| \[.*\]$", "", match[2])
            found[name] += int(match[1].replace(",", ""))
    return found


def _callgrind(cluster: Cluster, statements: list[str], times: int) -> Counter[str]:
    """Run each statement so many times on a copy of the cluster, and return the instructions by function."""
    copy, counts = cluster.folder / "copy", cluster.folder / "callgrind.out"
    script = [f"prepare batch_{place} as {text}" for place, text in enumerate(statements)]
    script += times * [f"execute batch_{place};" for place in range(len(statements))]
    as_user = run_as(cluster.user)
    subprocess.run(["cp", "-R", str(cluster.data), str(copy)], check=True, cwd="/", **as_user)
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}"]
    postgres = [str(cluster.binaries.folder / "postgres"), "--single", "-D", str(copy), "pgbourse"]
    done = subprocess.run(
        [*tool, *postgres],
        input="\n".join([*script, ""]),
        capture_output=True,
        text=True,
        cwd="/",
        env=cluster.environment(),
        check=False,
        **as_user,
    )
    if done.returncode or "ERROR" in done.stderr:
        raise SystemExit(f"PostgreSQL under valgrind failed:\n{done.stderr[-2000:]}")
    shutil.rmtree(copy)
    annotate = ["callgrind_annotate", "--threshold=100", str(counts)]
    return functions(subprocess.run(annotate, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.instructions")
    parser.add_argument("--orders", type=int, default=100, help="orders of a batch; 100 by default")
    parser.add_argument("--stages", action="store_true", help="call reserve_orders and match_orders")
    parser.add_argument("--top", type=int, default=30, help="functions to be named; 30 by default")
    asked = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    found = count(asked.orders, stages=asked.stages)
    total = found.total()
    print(f"{total} instructions an order, in batches of {asked.orders}")  # noqa: T201
    for function, instructions in found.most_common(asked.top):
        print(f"{instructions / total:6.1%} {instructions:9}  {function}")  # noqa: T201


if __name__ == "__main__":
    main()
