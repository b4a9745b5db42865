"""A gateway behind pgbouncer in transaction mode, where pgbouncer is installed."""

import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.binaries import run_as
from pgbourse.database.migrate import migrate, require_current
from pgbourse.look.psql import leads_through_pooler
from pgbourse.serve.calls import Caller, ConnectionGone
from pgbourse.serve.listener import listen
from pgbourse.serve.server import Server
from pgbourse.settings import ServeSettings
from pgbourse.top.samples import DatabaseSampler
from tests.dba.cluster import Cluster
from tests.integration.client import WireClient, wait_until
from tests.integration.feeding import Feed
from tests.sql.market import Market

# As docs/dba.md has it, and a login role without the settings.
ROLES = b"""
create role gateway login in role exchange_gateway;
alter role gateway set role = exchange_gateway;
alter role gateway set synchronous_commit = on;
alter role gateway set statement_timeout = 0;
alter role gateway set lock_timeout = 0;
create role bare login in role exchange_gateway;
alter role bare set synchronous_commit = off;
"""


@pytest.fixture
def cluster(folder: Path, server: str) -> Iterator[Cluster]:
    with psycopg.connect(server) as connection:
        major = connection.info.server_version // 10000
    with Cluster(folder / "pooled", major) as cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute("create database pgbourse")
        migrate(cluster.dsn("pgbourse"))
        with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection:
            connection.execute(ROLES)
        yield cluster


def answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def pooler(cluster: Cluster) -> Iterator[str]:
    """The connection string of a pgbouncer with two connections, without a user."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    (cluster.folder / "users").write_text('"gateway" ""\n"bare" ""\n')
    (cluster.folder / "pgbouncer.ini").write_text(
        f"[databases]\npgbourse = host={cluster.folder} dbname=pgbourse\n"
        f"[pgbouncer]\npool_mode = transaction\ndefault_pool_size = 2\nlisten_port = 6432\n"
        f"unix_socket_dir = {cluster.folder}\nauth_type = trust\nauth_file = {cluster.folder}/users\n"
    )
    command = [program, "--quiet", str(cluster.folder / "pgbouncer.ini")]
    with (cluster.folder / "pgbouncer.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **run_as(cluster.user))
    try:
        conninfo = make_conninfo(host=str(cluster.folder), port=6432, dbname="pgbourse")
        wait_until(lambda: answers(make_conninfo(conninfo, user="gateway")), "pgbouncer answers")
        yield conninfo
    finally:
        process.terminate()
        process.wait()


@contextmanager
def gateway(pooler: str) -> Iterator[Server]:
    """Serve what is behind the pooler."""
    conninfo = make_conninfo(pooler, user="gateway")
    require_current(conninfo)
    server = Server(listen("127.0.0.1", 0), conninfo, ServeSettings(port=0, reserve_workers=4))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        assert server.join()


def test_clients_trade_through_a_pooler(pooler: str, cluster: Cluster) -> None:
    replies: list[str] = []

    def trade(account: int) -> None:
        with WireClient(server.address) as client:
            amount = 10 if account % 2 else -10
            order = f'<order sym="X" amount="{amount}" limit="5"/>'
            for _ in range(20):
                reply = client.ask(f'<transactions id="{account}">{order}</transactions>'.encode())
                replies.append(str(reply[0].tag))

    with gateway(pooler) as server:
        with WireClient(server.address) as client:
            for account in range(4):
                client.ask(
                    f'<create><account id="{account}" balance="10000"/>'
                    f'<symbol sym="X"><account id="{account}">10000</account></symbol></create>'.encode()
                )
        threads = [threading.Thread(target=trade, args=(account,)) for account in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == ["opened"] * 80
    with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection:
        market = Market(connection)
        assert market.violations() == []
        assert market.book("X") == []
        assert [market.cash(str(account)) for account in range(4)] == ["11000", "9000", "11000", "9000"]


def test_a_feed_goes_on_through_a_pooler(pooler: str, cluster: Cluster) -> None:
    """Each of its reads may be in another session, and the pooler may close those as it likes."""
    with (
        gateway(pooler) as server,
        psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection,
        WireClient(server.address) as early,
        WireClient(server.address) as late,
    ):
        connection.execute("select exchange.create_account('1', 1000), exchange.grant_shares('X', '1', 20)")
        feed = Feed(early, "X")
        feed.next()
        for number in range(20):
            side = -1 if number % 3 else 1
            connection.execute("select exchange.place_order('1', 'X', %s, %s)", [side, 5 + number % 2])
            feed.until_now(connection, "X")
            if number % 5 == 4:
                connection.execute(
                    "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'gateway'"
                )
        assert feed.books["X"].snapshots == 1
        resumed = Feed(late)
        resumed.subscribe("X", 3)
        assert resumed.next().tag == "resumed"
        assert resumed.until_now(connection, "X").updates == feed.books["X"].seq - 2


def place_unless_a_feed_waits(connection: psycopg.Connection[TupleRow]) -> bool:
    """Sessions take in a setting a little later: so orders are placed until a feed waits for a standby."""
    query = "select from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'pgbourse feed'"
    if connection.execute(query).fetchone() is not None:
        return True
    connection.execute("select exchange.place_order('1', 'X', 0.001, 1)")
    return False


def test_what_a_feed_tells_through_a_pooler_is_durable(pooler: str, cluster: Cluster) -> None:
    """The login role's synchronous_commit holds it back until a standby has it; this one never will."""
    with (
        gateway(pooler) as server,
        psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection,
        WireClient(server.address) as client,
    ):
        connection.execute("select exchange.create_account('1', 100), exchange.create_symbol('X')")
        feed = Feed(client, "X")
        feed.next()
        connection.execute("alter system set synchronous_standby_names = 'nobody'")
        connection.execute("select pg_reload_conf()")
        connection.execute("set synchronous_commit = local")
        wait_until(lambda: place_unless_a_feed_waits(connection), "a feed waits")
        while select.select([client.socket], [], [], 0)[0]:
            feed.next()
        (placed,) = connection.execute("select count(*) from exchange.orders").fetchone() or (0,)
        assert feed.books["X"].seq < placed
        connection.execute("alter system reset synchronous_standby_names")
        connection.execute("select pg_reload_conf()")
        assert feed.until("X", placed).snapshots == 1


def test_a_login_role_without_the_settings_is_refused(pooler: str) -> None:
    database = Caller(make_conninfo(pooler, user="bare"), "test")
    with pytest.raises(ConnectionGone, match="role is bare, synchronous_commit is off"):
        database.connect()


def test_psql_goes_through_a_pooler(pooler: str, cluster: Cluster) -> None:
    """Which would refuse the setting that makes the schema known; a wrong address is psql's to tell."""
    url = make_conninfo(pooler, user="gateway")
    assert leads_through_pooler(url)
    assert not leads_through_pooler(cluster.dsn("pgbourse"))
    assert not leads_through_pooler(make_conninfo(url, port=6433))
    command = [sys.executable, "-m", "pgbourse.cli", "psql", "--database-url", url, "-XAtc"]
    query = "select count(*) from exchange.market()"
    assert subprocess.run([*command, query], check=True, capture_output=True, text=True).stdout == "0\n"


def test_top_leaves_nothing_behind_in_sessions_that_others_get_next(pooler: str, cluster: Cluster) -> None:
    """The gateways' sessions: a read-only one could carry out nothing."""
    with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection:
        connection.execute("grant exchange_reader to gateway")
    sampler = DatabaseSampler(make_conninfo(pooler, user="gateway"))
    looks = [sampler.sample(None) for _ in range(8)]  # more than what psycopg prepares statements after
    sampler.close()
    assert looks[-1].totals.orders == 0
    names = ["default_transaction_read_only", "transaction_read_only", "statement_timeout", "role", "jit"]
    settings = "select current_setting(name), pg_backend_pid() from unnest(%s::text[]) as name"
    held = [psycopg.connect(make_conninfo(pooler, user="gateway")) for _ in range(2)]  # all that the pool has
    found = [connection.execute(settings, [names]).fetchall() for connection in held]
    for connection in held:
        connection.close()
    assert len({pid for rows in found for _, pid in rows}) == 2
    for rows in found:
        assert [value for value, _ in rows] == ["off", "off", "0", "exchange_gateway", "on"]
