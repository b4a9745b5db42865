"""The primary dies under load and its synchronous standby takes over: what was acknowledged is there.

The gateway is given both hosts, as libpq takes them, and finds the one that can be written to.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgbourse.database.migrate import migrate
from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene, rounds
from tests.faults.test_crashes import ways
from tests.faults.test_mutants import LOST
from tests.integration.client import wait_until

SYNCHRONOUS = "alter system set synchronous_standby_names = 'FIRST 1 (standby)'"


class Pair:
    """A primary with a synchronous standby, which change places with each failover."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._paths = [folder / "left", folder / "right"]
        self.primary = stack.enter_context(Cluster(self._paths[0]))
        self.primary.start()
        self.primary.wait_until_ready()
        with self.primary.connect() as session:
            session.execute("create database pgbourse")
        migrate(self.primary.dsn("pgbourse"))
        self.standby = self._follow()

    def conninfo(self) -> str:
        """Return a connection string that names both, and asks for the one that can be written to."""
        both = [conninfo_to_dict(server.dsn("pgbourse")) for server in (self.primary, self.standby)]
        hosts = ",".join(str(one["host"]) for one in both)
        return make_conninfo(
            self.primary.dsn("pgbourse"), host=hosts, port="5432,5432", target_session_attrs="read-write"
        )

    def connect(self) -> Session:
        return self.primary.connect("pgbourse")

    def fail_over(self) -> float:
        """Kill the primary and promote the standby; return when that could be written to."""
        self.primary.kill()
        self.primary.stop()
        return self.promote()

    def promote(self) -> float:
        """Promote the standby, whatever the primary does; return when it could be written to."""
        with self.standby.connect() as session:
            session.execute("select pg_promote()")
            wait_until(lambda: writable(session), "the standby is promoted")
            # It has no standby of its own yet, and is told not to wait for one.
            session.execute("alter system reset synchronous_standby_names")
            session.execute("select pg_reload_conf()")
        self.primary = self.standby
        return time.monotonic()

    def fail_over_with_a_deaf_standby(self) -> float:
        """Fail over after the standby has received nothing for a while: commits must have waited for it."""
        self._link.stall()
        time.sleep(0.1)  # for a wrong gateway to acknowledge what the primary alone has
        self.primary.kill()
        self._link.cut()
        return self.fail_over()

    def rebuild(self) -> None:
        """Make a new standby where the old primary was."""
        self.standby = self._follow()

    def _follow(self) -> Cluster:
        (free,) = [path for path in self._paths if path != self.primary.path]
        self._link = self._stack.enter_context(Proxy(self.primary.socket))
        standby = self._stack.enter_context(self.primary.back_up(free, self._link.port))
        standby.start()
        standby.wait_until_ready()
        with self.primary.connect() as session:
            session.execute(SYNCHRONOUS)
            session.execute("select pg_reload_conf()")
        self.primary.wait_until_followed()
        return standby


def writable(session: Session) -> bool:
    return session.execute("select pg_is_in_recovery()").fetchone() == (False,)


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(folder, stack)


@ways
def test_no_acknowledged_request_is_lost(pair: Pair, start_gateway: StartGateway, lanes: str) -> None:
    gateway = start_gateway("--database-url", pair.conninfo(), "--lanes", lanes)
    scene = Scene(pair.connect, gateway)
    for number in rounds(8, least=2):
        if number:
            pair.rebuild()
        scene.play(pair.fail_over_with_a_deaf_standby if number % 2 else pair.fail_over)
    scene.check_again()
    assert max(scene.recoveries) <= 1.0


def test_a_commit_on_the_primary_alone_is_found_out(pair: Pair, start_gateway: StartGateway) -> None:
    gateway = start_gateway("--database-url", pair.conninfo(), mutant="commits_on_the_primary_alone")
    scene = Scene(pair.connect, gateway)
    with pytest.raises(AssertionError, match=LOST):
        scene.play(pair.fail_over_with_a_deaf_standby)
