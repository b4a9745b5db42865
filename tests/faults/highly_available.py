"""A highly available PostgreSQL on this machine: three servers that Patroni manages, and etcd to decide.

Nothing is simulated.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from tests.faults.cluster import Session
from tests.faults.etcd import Etcd
from tests.faults.launcher import Launcher
from tests.faults.patroni import Machine
from tests.integration.client import wait_until

__all__ = ["HighlyAvailable"]

_DATABASE: Final = "pgbourse"
_MACHINES: Final = ("db1", "db2", "db3")


class HighlyAvailable:
    """Three machines and three members of etcd, all on 127.0.0.1. Use it in a with block."""

    def __init__(self, folder: Path) -> None:
        """Prepare everything in `folder`, which the user of PostgreSQL must be able to enter."""
        self._launcher = Launcher(folder)
        self.etcd = Etcd(self._launcher)
        self.machines = [Machine(name, self._launcher, self.etcd) for name in _MACHINES]
        self._stack = ExitStack()

    def __enter__(self) -> HighlyAvailable:
        with ExitStack() as stack:
            stack.callback(self._end)
            self.etcd.start()
            for machine in self.machines:
                machine.start()
            self.wait_until_whole()
            with psycopg.connect(self.conninfo("postgres"), autocommit=True) as session:
                session.execute(f"create database {_DATABASE}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def conninfo(self, dbname: str = _DATABASE) -> str:
        """Return a superuser's connection string that names all machines and asks for the primary."""
        return make_conninfo(
            host=",".join(["127.0.0.1"] * len(_MACHINES)),
            port=",".join(str(machine.port) for machine in self.machines),
            user="postgres",
            dbname=dbname,
            target_session_attrs="read-write",
            connect_timeout=2,
        )

    def connect(self) -> Session:
        """Open a superuser's session on the primary, in autocommit mode."""
        return psycopg.connect(self.conninfo(), autocommit=True)

    def primary(self) -> Machine:
        """Return the machine that takes writes; raises psycopg.OperationalError if none does."""
        with psycopg.connect(self.conninfo("postgres")) as session:
            port = session.info.port
        return next(machine for machine in self.machines if machine.port == port)

    def writable(self) -> bool:
        """Tell whether a machine takes writes."""
        try:
            self.primary()
        except psycopg.OperationalError:
            return False
        return True

    def wait_until_whole(self) -> None:
        """Return once there are a primary, a standby that Patroni may promote, and a further standby.

        A standby that PostgreSQL calls synchronous may not be known to Patroni as one yet.
        """
        wait_until(self._is_whole, "the cluster has a primary, a synchronous standby and another one")

    def _is_whole(self) -> bool:
        if any(
            sorted(machine.roles().values()) != ["leader", "replica", "sync_standby"]
            for machine in self.machines
        ):
            return False
        query = "select sync_state from pg_stat_replication where state = 'streaming' order by sync_state"
        try:
            with psycopg.connect(self.conninfo("postgres")) as session:
                return session.execute(query).fetchall() == [("async",), ("sync",)]
        except psycopg.OperationalError:
            return False

    def use_failsafe_mode(self, enabled: bool) -> None:
        """Switch failsafe_mode on or off, and return when every Patroni has read that in etcd."""
        self.machines[0].configure(failsafe_mode=enabled)
        switched_at = time.time()
        wait_until(
            lambda: all(machine.etcd_seen_at() > switched_at for machine in self.machines),
            f"every Patroni knows that failsafe_mode is {enabled}",
        )

    def logs(self) -> str:
        """Return the last lines of every log, for a test that fails."""
        return self._launcher.logs()

    def _end(self) -> None:
        for machine in self.machines:
            machine.lose()
        self.etcd.end()
