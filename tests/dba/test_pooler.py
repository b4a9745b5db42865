"""A gateway behind pgbouncer in transaction mode, where pgbouncer is installed."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgbourse.database.binaries import run_as
from pgbourse.database.migrate import migrate, require_current
from pgbourse.serve.calls import Caller, ConnectionGone
from pgbourse.serve.listener import listen
from pgbourse.serve.server import Server
from pgbourse.settings import ServeSettings
from pgbourse.top.samples import DatabaseSampler
from tests.dba.cluster import Cluster
from tests.integration.client import WireClient, wait_until
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


def test_clients_trade_through_a_pooler(pooler: str, cluster: Cluster) -> None:
    conninfo = make_conninfo(pooler, user="gateway")
    require_current(conninfo)
    server = Server(listen("127.0.0.1", 0), conninfo, ServeSettings(port=0, reserve_workers=4))
    server.start()
    replies: list[str] = []

    def trade(account: int) -> None:
        with WireClient(server.address) as client:
            amount = 10 if account % 2 else -10
            order = f'<order sym="X" amount="{amount}" limit="5"/>'
            for _ in range(20):
                reply = client.ask(f'<transactions id="{account}">{order}</transactions>'.encode())
                replies.append(str(reply[0].tag))

    try:
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
    finally:
        server.stop()
        assert server.join()
    assert replies == ["opened"] * 80
    with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as connection:
        market = Market(connection)
        assert market.violations() == []
        assert market.book("X") == []
        assert [market.cash(str(account)) for account in range(4)] == ["11000", "9000", "11000", "9000"]


def test_a_login_role_without_the_settings_is_refused(pooler: str) -> None:
    database = Caller(make_conninfo(pooler, user="bare"), "test")
    with pytest.raises(ConnectionGone, match="role is bare, synchronous_commit is off"):
        database.connect()


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
