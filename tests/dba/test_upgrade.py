"""Databases that were made by earlier versions, dumped and restored, and changed while they serve."""

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from pgbourse import __version__
from pgbourse.database.ledger import live_functions, sql_folder
from pgbourse.database.migrate import check, connect, migrate
from tests.dba.cluster import Cluster
from tests.sql.market import Connection, Market, meeting
from tests.sql.reference import render

# Plain dumps of databases that landed versions made, with data in them. `make landed` adds one.
LANDED = Path(__file__).parent / "landed"
ROLES = b"create role exchange_owner; create role exchange_gateway; create role exchange_reader"


@pytest.fixture
def major(server: str) -> int:
    with psycopg.connect(server) as connection:
        return connection.info.server_version // 10000


@pytest.fixture
def cluster(folder: Path, major: int) -> Iterator[Cluster]:
    with Cluster(folder / "first", major) as cluster:
        yield cluster


def trade(connection: Connection) -> Market:
    """Leave orders open, filled and cancelled behind, and credits in both kinds."""
    market = Market(connection)
    for account in ("1", "2", "3"):
        market.account(account, "1000.5")
        market.grant(account, "X", 100)
    market.place("1", "X", -50, 10)
    market.place("2", "X", 20, 11)
    market.place("3", "X", 40, 9)
    market.cancel("3", 3)
    market.place("3", "X", 5, 8)
    return market


def holdings(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select account_id, null, cash from exchange.account_balances "
        "union all select account_id, sym, shares from exchange.account_positions order by 1, 2 nulls first"
    ).fetchall()


def dump_this_version(cluster: Cluster) -> str:
    """Return a dump of a database as this version makes it, after some trading."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("create database current")
    migrate(cluster.dsn("current"))
    with psycopg.connect(cluster.dsn("current"), autocommit=True) as connection:
        trade(connection)
    return cluster.run("pg_dump", "current")


def _comments_on_roles() -> list[str]:
    """Return what the first migration says of the roles, which no dump of a database holds."""
    text = (sql_folder() / "migrations" / "0001_roles_and_schema.sql").read_text()
    return re.findall(r"^comment on role .*?;$", text, re.DOTALL | re.MULTILINE)


def load(cluster: Cluster, dump: Path, *, with_roles: bool) -> str:
    """Make a database from a plain dump, and the roles that no dump holds; return its URL."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("create database pgbourse")
        if with_roles:
            connection.execute(ROLES)
            for comment in _comments_on_roles():
                connection.execute(comment.encode())
    cluster.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump))
    return cluster.dsn("pgbourse")


@pytest.mark.parametrize("version", [*sorted(path.stem for path in LANDED.glob("*.sql")), "current"])
def test_a_landed_version_is_migrated_with_its_data(version: str, cluster: Cluster, database: str) -> None:
    dump = LANDED / f"{version}.sql"
    if version == "current":
        dump = cluster.folder / "current.sql"
        dump.write_text(dump_this_version(cluster))
        if os.environ.get("PGBOURSE_WRITE_LANDED"):
            LANDED.mkdir(exist_ok=True)
            (LANDED / f"{__version__}.sql").write_text(dump.read_text())
    url = load(cluster, dump, with_roles=version != "current")
    with psycopg.connect(url, autocommit=True) as connection:
        before = holdings(connection)
        migrate(url)
        assert check(url) == []
        market = Market(connection)
        assert market.violations() == []
        assert holdings(connection) == before != []
        market.place("1", "X", -1, 100)
        assert market.violations() == []
        # Upgraded is the same as made anew, down to comments and rights.
        with psycopg.connect(database, autocommit=True) as fresh:
            assert render(connection) == render(fresh)
        with connect(url) as upgraded, connect(database) as fresh:
            assert live_functions(upgraded) == live_functions(fresh)


def test_what_commits_while_a_migration_waits_is_migrated(cluster: Cluster) -> None:
    """Cash moves from one table to another: an order in flight must be in what is moved."""
    url = load(cluster, LANDED / "0.1.0.sql", with_roles=True)
    blocked = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    with (
        psycopg.connect(url, autocommit=True) as observer,
        meeting(url, 1) as [trader],
        ThreadPoolExecutor(1) as executor,
    ):
        market = Market(observer)
        cash = Decimal(market.cash("1"))
        trader.begin()
        trader.market.place("1", "X", 1, 1)
        migration = executor.submit(migrate, url)
        while observer.execute(blocked, [trader.pid]).fetchone() != (1,):
            assert not migration.done(), migration.result()
        trader.commit()
        migration.result()
        assert Decimal(market.cash("1")) == cash - 1
        assert market.violations() == []


def test_a_dump_restores_into_the_same_exchange(
    cluster: Cluster, tmp_path: Path, folder: Path, major: int
) -> None:
    """Into a cluster with lower transaction ids, where what balances.settled_before says makes no sense."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("create database pgbourse")
    migrate(cluster.dsn("pgbourse"))
    with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection:
        connection.execute(
            "do $$ begin for i in 1 .. 3000 loop perform pg_current_xact_id(); commit; end loop; end $$"
        )
        trade(connection)
        before = holdings(connection)
        reference = render(connection)
    archive = str(cluster.folder / "exchange.dump")
    cluster.run("pg_dump", "--format=custom", f"--file={archive}", "pgbourse")
    with Cluster(folder / "second", major) as copy:
        with psycopg.connect(copy.dsn(), autocommit=True) as connection:
            connection.execute("create database pgbourse")
            connection.execute(ROLES)
        copy.run("pg_restore", "--exit-on-error", "--dbname=pgbourse", archive)
        assert check(copy.dsn("pgbourse")) == []
        with psycopg.connect(copy.dsn("pgbourse"), autocommit=True) as connection:
            market = Market(connection)
            assert market.violations() == []
            assert holdings(connection) == before
            assert reference.split("## Tables")[1] == render(connection).split("## Tables")[1]
            query = (
                "select account_key from exchange.balances "
                "where settled_before > pg_snapshot_xmax(pg_current_snapshot()) order by 1"
            )
            assert connection.execute(query).fetchall() != []
            # What is owed now is spendable once the sweep has been there, and from then on at once.
            for account in ("1", "2", "3"):
                market.grant(account, "Y", 1)
            connection.execute("select exchange.settle_idle_accounts()")
            assert connection.execute(query).fetchall() == []
            cash = market.cash("1")
            market.place("1", "Y", 1, cash)
            assert market.cash("1") == "0"
            assert market.violations() == []


class Trading:
    """Two sessions that buy from each other without a pause, for the length of a with block."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._done = threading.Event()
        self._placed = [0, 0]
        self._threads = [threading.Thread(target=self._trade, args=(place,)) for place in range(2)]
        self.errors: list[Exception] = []

    def __enter__(self) -> "Trading":
        with psycopg.connect(self._database, autocommit=True) as connection:
            market = Market(connection)
            for account in ("1", "2"):
                market.account(account, 10**9)
                market.grant(account, "X", 10**9)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def wait_for_orders(self, count: int) -> None:
        """Return when so many more orders have been placed, or one has failed."""
        goal = sum(self._placed) + count
        while sum(self._placed) < goal and not self.errors:
            self._done.wait(0.001)

    def _trade(self, place: int) -> None:
        try:
            with psycopg.connect(self._database, autocommit=True) as connection:
                market = Market(connection)
                while not self._done.is_set():
                    order_id = market.place(str(place + 1), "X", 1 - 2 * place, 10)
                    assert market.query(str(place + 1), order_id) != ["unknown_order"]
                    self._placed[place] += 1
        except Exception as error:  # noqa: BLE001 - any error is what the test looks for
            self.errors.append(error)


def test_functions_are_replaced_under_load_without_an_error(database: str) -> None:
    files = sorted((sql_folder() / "functions").glob("*.sql"))
    with psycopg.connect(database, autocommit=True) as connection:
        with Trading(database) as trading:
            for _ in range(10):
                for file in files:
                    with connection.transaction():
                        connection.execute("set local role exchange_owner")
                        connection.execute(file.read_bytes())
                trading.wait_for_orders(10)
        assert trading.errors == []
        assert Market(connection).violations() == []
    assert check(database) == []


OLD_IDS = "for values from (minvalue) to (1000000)"
NEW_IDS = "for values from (1000000) to (maxvalue)"


def test_history_is_cut_and_detached_under_load_without_an_error(database: str) -> None:
    """The statements of docs/dba.md."""
    cuts = [("executions", "execution_id"), ("orders", "order_id")]
    with psycopg.connect(database, autocommit=True) as connection:
        with Trading(database) as trading:
            trading.wait_for_orders(50)
            for table, key in cuts:
                part = f"exchange.{table}_1"
                connection.execute(
                    f"alter table {part} add constraint ids check ({key} < 1000000) not valid".encode()
                )
                connection.execute(f"alter table {part} validate constraint ids".encode())
            for table, _ in cuts:
                parent = f"exchange.{table}"
                with connection.transaction():
                    connection.execute("set local role exchange_owner")
                    connection.execute(f"alter table {parent} detach partition {parent}_1".encode())
                    attach = f"alter table {parent} attach partition {parent}_1 {OLD_IDS}"
                    connection.execute(attach.encode())
                    create = f"create table {parent}_2 partition of {parent} {NEW_IDS}"
                    connection.execute(create.encode())
                trading.wait_for_orders(20)
            connection.execute(
                "select setval('exchange.execution_ids', 1000000), setval('exchange.order_ids', 1000000)"
            )
            trading.wait_for_orders(50)
            # What is left of the old partition is filled by now.
            for account in ("1", "2"):
                connection.execute("select exchange.cancel_open_orders(%s)", [account])
            trading.wait_for_orders(20)
            assert (
                connection.execute("select from exchange.resting_orders where order_id < 1000000").rowcount
                == 0
            )
            for table, _ in cuts:
                detach = f"alter table exchange.{table} detach partition exchange.{table}_1 concurrently"
                connection.execute(detach.encode())
            trading.wait_for_orders(50)
        assert trading.errors == []
        for table, _ in cuts:
            parent = f"exchange.{table}"
            attach = (
                f"alter table {parent} attach partition {parent}_1 for values from (minvalue) to (1000000)"
            )
            connection.execute(attach.encode())
        assert Market(connection).violations() == []
