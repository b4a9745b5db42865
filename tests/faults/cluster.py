"""PostgreSQL servers that a test starts, kills without warning, and starts again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.binaries import Binaries, run_as
from pgbourse.database.datafolder import DataFolder, environment
from tests.integration.client import wait_until

__all__ = ["Cluster", "Session"]

Session = psycopg.Connection[TupleRow]


class Cluster:
    """A server on its own data folder, with the embedded server's settings and nothing that restarts it."""

    def __init__(self, path: Path) -> None:
        self._folder = DataFolder(path)
        self._binaries: Binaries | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        return self._folder.path

    @property
    def data(self) -> Path:
        """Where PostgreSQL keeps its files."""
        return self._folder.data

    @property
    def log(self) -> Path:
        return self._folder.log

    @property
    def socket(self) -> Path:
        """The server's socket, which a proxy may connect to."""
        return self._folder.sockets / ".s.PGSQL.5432"

    def dsn(self, dbname: str = "postgres") -> str:
        """Return a superuser's connection string."""
        return make_conninfo(host=str(self._folder.sockets), port=5432, user="postgres", dbname=dbname)

    def connect(self, dbname: str = "postgres") -> Session:
        """Open a superuser's session in autocommit mode."""
        return psycopg.connect(self.dsn(dbname), autocommit=True)

    def start(self) -> None:
        """Start the server and return without waiting for it."""
        if self._binaries is None:
            self._binaries = self._folder.open()
        command = [self._tool("postgres"), "-D", str(self._folder.data)]
        command += ["-c", f"config_file={self._folder.settings}", "-c", "listen_addresses="]
        command += ["-p", "5432", "-k", str(self._folder.sockets)]
        self.log.touch()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                start_new_session=True,
                **run_as(self._folder.user),
            )

    def wait_until_ready(self) -> float:
        """Return the time, by time.monotonic, at which the server was first seen to accept connections."""
        wait_until(self._accepts, "the server accepts connections")
        return time.monotonic()

    def kill(self) -> None:
        """Kill the postmaster and every process of it at once, if it runs; return when all are gone."""
        if self._process is None:
            return
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()  # so that it starts no more of them
        children = postmaster.children(recursive=True)
        postmaster.kill()
        for child in children:
            child.kill()
        self._process.wait()
        _, left = psutil.wait_procs(children, timeout=30)
        assert not left
        self._process = None

    def freeze(self) -> None:
        """Suspend every process of the server; the kernel goes on acknowledging for them."""
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()  # first, so that it starts no more of them
        for child in postmaster.children(recursive=True):
            child.suspend()

    def thaw(self) -> None:
        """Resume a frozen server, if it runs."""
        if self._process is not None:
            postmaster = psutil.Process(self._process.pid)
            for process in (*postmaster.children(recursive=True), postmaster):
                process.resume()

    def stop(self) -> None:
        """Stop the server, if it runs, and release the folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None
        self._folder.close()
        self._binaries = None

    def back_up(self, path: Path, port: int) -> Cluster:
        """Return a standby of this server on its own folder; once started, it follows this server.

        The port is on this machine and leads to this server.
        """
        assert self._binaries is not None
        standby = Cluster(path)
        shutil.rmtree(path, ignore_errors=True)
        data = standby.data
        data.mkdir(parents=True)
        path.chmod(0o755)
        self._folder.own(data)
        standby_of = f"host=127.0.0.1 port={port} user=postgres application_name=standby"
        command = [self._tool("pg_basebackup"), "-d", standby_of, "-D", str(data)]
        command += ["-R", "-c", "fast", "-X", "stream"]
        user = run_as(self._folder.user)
        subprocess.run(command, check=True, capture_output=True, cwd="/", env=environment(), **user)
        return standby

    def wait_until_followed(self) -> None:
        """Return once there is a standby that commits wait for."""
        query = "select count(*) from pg_stat_replication where sync_state = 'sync' and state = 'streaming'"
        with self.connect() as session:
            wait_until(lambda: session.execute(query).fetchone() == (1,), "there is a synchronous standby")

    def psql(self, dbname: str, script: str) -> subprocess.Popen[str]:
        """Start psql on a script, in which each statement is its own transaction."""
        process = subprocess.Popen(
            [self._tool("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", self.dsn(dbname)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=environment(),
            **run_as(self._folder.user),
        )
        assert process.stdin is not None
        process.stdin.write(script)
        process.stdin.close()
        process.stdin = None
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _accepts(self) -> bool:
        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            return False

    def _tool(self, name: str) -> str:
        assert self._binaries is not None
        tool = self._binaries.folder / name
        return str(tool) if os.access(tool, os.X_OK) else name
