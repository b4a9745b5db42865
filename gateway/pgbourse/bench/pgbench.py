"""PostgreSQL's own pgbench: the yardstick, and calls of the exchange's functions without a gateway."""

import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import pq

from pgbourse.bench.rig import BenchError
from pgbourse.database.binaries import find_binaries
from pgbourse.database.conninfo import complete, hidden_environment
from pgbourse.database.datafolder import environment
from pgbourse.loadtest.workload import Draw, Workload

__all__ = [
    "BATCH_ORDERS",
    "PgbenchResult",
    "batches",
    "find_pgbench",
    "initialize",
    "one_order",
    "run",
    "run_batches",
    "tpcb",
]

SCALE = 10  # of TPC-B: ten branches, a million accounts
BATCH_ORDERS = 100

# A refusal divides by zero, which ends pgbench: only accepted orders are measured.
_ONE_ORDER = r"""
\set account random({first}, {last})
\set symbol random(0, {symbols} - 1)
\set shares random(1, 99) * (2 * random(0, 1) - 1)
\set quarters random(380, 420)
select 1 / (outcome = 'opened')::integer from exchange.place_order(
    (:account)::text, '{prefix}' || (:symbol)::text, (:shares)::numeric, (:quarters)::numeric * 0.25);
"""

# Every order is its own document, so it has its own sequence. The orders are constants in a plan that is made
# once, so that nothing but the call is measured.
_BATCH = """\
select 1 / (count(*) filter (where outcome = 'opened') = {orders})::integer from exchange.process_batch(
    '{{{requests}}}'::exchange.request[]);
"""
# The same through both stages, one after the other.
_STAGES = """\
select 1 / (count(*) filter (where matched.outcome = 'opened') = {orders})::integer
from (
    select
        array_agg(incoming_id order by request) as ids,
        array_agg(address order by request) as addresses,
        array_agg(slot order by request) as slots
    from exchange.reserve_orders('{{{requests}}}'::exchange.request[])
) as reserved
cross join lateral exchange.match_orders(reserved.ids, reserved.addresses, reserved.slots) as matched;
"""
_BATCHES = 100  # for a run to draw from; pgbench takes up to 128 scripts


@dataclass(frozen=True, slots=True)
class PgbenchResult:
    """The figures of a run of pgbench."""

    transactions_per_second: float
    median_ms: float  # of the transactions, from pgbench's own log


def find_pgbench() -> Path:
    """Return the pgbench of the embedded PostgreSQL, or else of the one on this machine.

    Raises BenchError if there is none, EmbeddedError if there is no PostgreSQL.
    """
    program = find_binaries(None).folder / "pgbench"
    if not program.is_file():
        raise BenchError(f"pgbench, the yardstick, is missing: {program} does not exist")
    return program


def initialize(database: str) -> None:
    """Create the tables of TPC-B in an empty database."""
    _call(database, ["--initialize", "--quiet", f"--scale={SCALE}"])


def tpcb(database: str, clients: int, seconds: float) -> PgbenchResult:
    """Run pgbench's built-in test, which is like TPC-B: five statements a transaction, prepared."""
    return run(database, [], clients=clients, seconds=seconds)


def one_order(database: str, workload: Workload, seconds: float) -> PgbenchResult:
    """Call place_order from one client, an order a transaction."""
    script = _ONE_ORDER.format(
        first=workload.first_account,
        last=workload.first_account + workload.accounts - 1,
        symbols=workload.symbols,
        prefix=workload.symbol_prefix,
    )
    return _run_scripts(database, [script], seconds)


def run_batches(database: str, workload: Workload, seconds: float) -> PgbenchResult:
    """Call process_batch from one client, BATCH_ORDERS orders a transaction."""
    return _run_scripts(database, list(batches(workload, _BATCHES)), seconds)


def batches(
    workload: Workload, number: int, orders: int = BATCH_ORDERS, *, stages: bool = False
) -> Iterator[str]:
    """Write statements that call process_batch, each with its own orders; a refusal divides by zero.

    With `stages` they call reserve_orders and match_orders instead, in one transaction all the same.
    """
    rng = random.Random(workload.seed)
    draw, accounts = Draw(workload, rng), workload.account_ids()
    for _ in range(number):
        drawn = [draw.order() for _ in range(orders)]
        requests = (
            f'"({sequence},place_order,{rng.choice(accounts)},{sym},{shares},{limit},,,)"'
            for sequence, (sym, shares, limit) in enumerate(drawn, 1)
        )
        yield (_STAGES if stages else _BATCH).format(orders=orders, requests=",".join(requests))


def run(database: str, options: Sequence[str], *, clients: int, seconds: float) -> PgbenchResult:
    """Run pgbench for some seconds and return its figures."""
    with tempfile.TemporaryDirectory(prefix="pgbourse-bench-") as folder:
        output = _call(
            database,
            [
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={clients}",
                f"--jobs={min(clients, os.cpu_count() or 1)}",
                f"--time={max(1, round(seconds))}",
                "--log",
                f"--log-prefix={folder}/log",
                *options,
            ],
        )
        # Columns of the log: client, transaction number, microseconds, …
        latencies = sorted(
            int(line.split()[2]) for log in Path(folder).iterdir() for line in log.read_text().splitlines()
        )
    rate = re.search(r"^tps = ([0-9.]+) \(without", output, re.MULTILINE)
    if rate is None or not latencies:
        raise BenchError(f"can't read pgbench's output: {output[-500:]}")
    return PgbenchResult(float(rate[1]), latencies[len(latencies) // 2] / 1e3)


def _run_scripts(database: str, scripts: Sequence[str], seconds: float) -> PgbenchResult:
    """Run one client, which draws a script for each transaction."""
    with tempfile.TemporaryDirectory(prefix="pgbourse-bench-") as folder:
        files = [Path(folder) / f"{number}.sql" for number in range(len(scripts))]
        for file, script in zip(files, scripts, strict=True):
            file.write_text(script)
        return run(database, [f"--file={file}" for file in files], clients=1, seconds=seconds)


def _call(database: str, arguments: Sequence[str]) -> str:
    try:
        result = subprocess.run(
            [str(find_pgbench()), *arguments],
            capture_output=True,
            text=True,
            env=environment() | _variables(database),
            check=False,
        )
    except OSError as error:
        raise BenchError("pgbench can't be run on this machine") from error
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchError(f"pgbench failed: {last}")
    return result.stdout


def _variables(database: str) -> dict[str, str]:
    """Return a connection string as the variables that libpq reads, with what the user's own may add.

    A command line is for everybody to see. And an older libpq than ours ignores variables that it doesn't
    know, but no keywords.
    """
    with hidden_environment():
        allowed = {name: value for name, value in os.environ.items() if re.match("PG(?!BOURSE_)", name)}
    options = pq.Conninfo.parse(complete(database, application_name="pgbourse bench").encode())
    return allowed | {
        option.envvar.decode(): option.val.decode() for option in options if option.envvar and option.val
    }
