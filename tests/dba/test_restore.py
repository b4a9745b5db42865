"""Back-up and restore as docs/operations.md says, on a server whose transaction ids are far behind."""

import re
import subprocess
from pathlib import Path

import psycopg

from pgbourse.database.migrate import migrate
from tests.dba.cluster import Cluster
from tests.sql.feeding import Begin, LocalBook, key_of, lines_of, subscribe
from tests.sql.market import Market

MANUAL = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

# It carries out on this machine what `docker compose` is to do in its services.
DOCKER = """#!/bin/sh
case "$2" in
    up) exit ;;
    exec) shift 4 ;;  # exec -T database …
    run) shift 4; set -- pgbourse "${@:-migrate}" ;;  # run --rm migrate …
esac
exec "$@"
"""

BALANCES = "select account_id, cash from exchange.account_balances order by 1"
POSITIONS = "select account_id, sym, shares from exchange.account_positions order by 1, 2"
OWED = "select account_id, sym, cash, shares from exchange.unsettled_credits order by 1, 2"
RESERVE = (
    "select code from exchange.reserve_orders("
    "array[(1, 'place_order', '1', 'X', 5, 10, null, null, "
    "row('a8', null, null, null, null, null, null, null))]::exchange.request[])"
)
NAMED = "select order_id, is_duplicate, message from exchange.place_order('3', 'X', 1, %s, ref => 'a7')"
LOOK = "select outcome, free, reserved, fires_at from exchange.look_account('3')"


def make_database(cluster: Cluster) -> None:
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("create database pgbourse")


def commands(section: str) -> str:
    """The first commands that the manual gives in this section."""
    block = re.search(rf"^## {section}$.*?^```sh\n(.*?)^```$", MANUAL, re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1]


def follow(text: str, cluster: Cluster, folder: Path) -> None:
    """Run commands of the manual on this cluster; none may fail."""
    environment = cluster.environment()
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-O", "expand_aliases", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_accounts_of_a_restored_dump_can_spend_all_they_have_at_once(folder: Path, server: str) -> None:
    with psycopg.connect(server) as connection:
        major = connection.info.server_version // 10000
    docker = folder / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)

    with Cluster(folder / "old", major) as cluster:
        make_database(cluster)
        migrate(cluster.dsn("pgbourse"))
        with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as old:
            old.execute(
                "do 'begin for n in 1..20000 loop perform pg_current_xact_id(); commit; end loop; end'"
            )
            market = Market(old)
            market.account("1", 1000)
            market.account("2", 5)
            market.grant("2", "X", 100)
            market.place("2", "X", -30, 10)
            market.place("2", "X", 1, 5)  # its row says now until when it has collected what it is owed
            market.place("1", "X", 10, 10)
            market.account("3", 7)
            named = old.execute(NAMED, [1]).fetchone()
            old.execute("select exchange.arm_switch('3', 86400)")
            looked = old.execute(LOOK).fetchall()
            followed = LocalBook(old, key_of(old, "X"))
            before = [old.execute(query).fetchall() for query in (OWED, BALANCES, POSITIONS)]
            assert before[0] == [("1", "X", 0, 10), ("2", "X", 100, 0)]
            old.execute("select exchange.begin_session()")
            assert old.execute(RESERVE).fetchall() == [(None,)]
            follow(commands("Back up").splitlines()[0], cluster, folder)

    with Cluster(folder / "new", major) as cluster:
        make_database(cluster)
        follow(commands("Restore"), cluster, folder)
        with psycopg.connect(cluster.dsn("pgbourse"), autocommit=True) as new:
            assert new.execute(OWED).fetchall() == before[0]
            behind = "select every(transaction_id > pg_current_xact_id()) from exchange.credits"
            assert new.execute(behind).fetchone() == (True,)
            # The session that had reserved was one of the old server's.
            orphans = new.execute("select account_id, ref, is_orphan from exchange.reserved_orders")
            assert orphans.fetchall() == [("1", "a8", True)]
            assert new.execute("select exchange.give_back_orphans()").fetchone() == (1,)
            assert [new.execute(query).fetchall() for query in (BALANCES, POSITIONS)] == before[1:]
            # What an order was named is known, and the switch is armed.
            assert named is not None
            assert new.execute(NAMED, [1]).fetchone() == (named[0], True, None)
            assert new.execute(NAMED, [2]).fetchone() == (None, None, f"ref a7 is order {named[0]} already")
            assert new.execute(LOOK).fetchall() == looked
            market = Market(new)
            # A feed goes on where it was, and the next update has the next number.
            assert subscribe(new, ("X", followed.seq + 1)) == [Begin("resumed", followed.seq, False)]
            market.place("1", "X", 20, 10)
            assert followed.read(new) == 1
            assert followed.lines() == lines_of(new, followed.symbol_key)
            # It can spend what it was owed there and what it is owed here, no less and no more.
            assert market.try_place("2", "X", 31, 10) == (None, "insufficient_funds")
            market.place("2", "X", 30, 10)
            # And goes on collecting: these shares are of a transaction that is new to it.
            market.place("1", "X", -5, 10)
            market.place("2", "X", -75, 11)
            assert market.try_place("2", "X", -1, 11) == (None, "insufficient_shares")
            assert (market.cash("1"), market.cash("2")) == ("750", "0")
            followed.read(new)
            assert followed.lines() == lines_of(new, followed.symbol_key)
            assert new.execute("select * from exchange.check_integrity()").fetchall() == []
