"""Databases made by an earlier version, dumped and restored, and changed while they serve."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from pgbourse.database.ledger import live_functions, sql_folder
from pgbourse.database.migrate import MigrationError, connect, differences, migrate, require_current
from tests.dba.cluster import Cluster
from tests.sql.market import Connection, Market, meeting
from tests.sql.reference import render

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


def as_made_anew(url: str, fresh_url: str) -> bool:
    """Compare two exchanges down to comments, rights and the text of functions."""
    with connect(url) as one, connect(fresh_url) as other:
        return render(one) == render(other) and live_functions(one) == live_functions(other)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """sql/ as an earlier version might have had it: without certificates, and two comments other."""
    folder = Path(shutil.copytree(sql_folder(), tmp_path / "earlier"))
    (folder / "migrations" / "0005_certificates.sql").unlink()
    functions = folder / "functions"
    (functions / "certificate_may.sql").unlink()
    (functions / "mark_forbidden.sql").unlink()
    for name, arguments in (("check_keys", ""), ("create_account", "text, numeric")):
        with (functions / f"{name}.sql").open("a") as file:
            file.write(f"\ncomment on function exchange.{name}({arguments}) is 'As it was.';\n")
    return folder


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """sql/ as a later version might have it: one migration more."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "later"))


def test_a_database_of_an_earlier_version_is_migrated_with_its_data(
    empty_database: str, database: str, earlier: Path
) -> None:
    migrate(empty_database, earlier)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        market = trade(connection)
        before = holdings(connection)
        with pytest.raises(MigrationError, match="lacks migration 0005_certificates"):
            require_current(empty_database)
        applied = migrate(empty_database)
        assert sorted(applied) == [
            "function certificate_may",
            "function check_keys",
            "function create_account",
            "function mark_forbidden",
            "migration 0005_certificates",
        ]
        assert differences(empty_database) == []
        assert market.violations() == []
        assert holdings(connection) == before != []
        market.place("1", "X", -1, 100)
        assert market.violations() == []
    assert as_made_anew(empty_database, database)


def test_an_earlier_version_refuses_a_database_that_a_later_one_has_migrated(
    database: str, earlier: Path
) -> None:
    with pytest.raises(MigrationError, match=r"newer than .*: it has migration 0005_certificates"):
        migrate(database, earlier)


# Moves cash, as a migration does that splits a table: under a lock, for it reads what it moves.
COPY_CASH = """
set local role exchange_owner;
lock table exchange.balances in access exclusive mode;
create table exchange.moved (account_key bigint, cash numeric);
insert into exchange.moved select account_key, cash from exchange.balances;
reset role;
"""


def test_what_commits_while_a_migration_waits_is_migrated(database: str, later: Path) -> None:
    """An order in flight must be in what a migration moves: each statement sees what committed before it."""
    (later / "migrations" / "9000_moved.sql").write_text(COPY_CASH)
    blocked = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
    moved = (
        "select cash from exchange.moved join exchange.accounts using (account_key) where account_id = '1'"
    )
    with (
        psycopg.connect(database, autocommit=True) as observer,
        meeting(database, 1) as [trader],
        ThreadPoolExecutor(1) as executor,
    ):
        market = trade(observer)
        observer.execute("select exchange.settle_account('1')")
        cash = Decimal(market.cash("1"))
        trader.begin()
        trader.market.place("1", "X", 1, 1)
        migration = executor.submit(migrate, database, later)
        while observer.execute(blocked, [trader.pid]).fetchone() != (1,):
            assert not migration.done(), migration.result()
        trader.commit()
        assert migration.result() == ["migration 9000_moved"]
        assert observer.execute(moved).fetchone() == (cash - 1,)
        assert market.violations() == []


def test_a_plain_dump_restores_into_the_same_exchange(cluster: Cluster, database: str) -> None:
    """With the roles made by hand, for no dump of a database holds them."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("create database first")
    migrate(cluster.dsn("first"))
    with psycopg.connect(cluster.dsn("first"), autocommit=True) as connection:
        trade(connection)
        before = holdings(connection)
    dump = cluster.folder / "first.sql"
    dump.write_text(cluster.run("pg_dump", "first"))
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("create database pgbourse")
    cluster.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump))
    url = cluster.dsn("pgbourse")
    assert migrate(url) == []
    assert differences(url) == []
    with psycopg.connect(url, autocommit=True) as connection:
        market = Market(connection)
        assert holdings(connection) == before != []
        market.place("1", "X", -1, 100)
        assert market.violations() == []
    assert as_made_anew(url, database)


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
        assert differences(copy.dsn("pgbourse")) == []
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
    assert differences(database) == []


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
