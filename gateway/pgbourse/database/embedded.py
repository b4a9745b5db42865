"""Run the PostgreSQL that comes with the package, for people who have none.

Durable, with a socket that only the user who runs it can reach and no TCP port. It is a child process of ours
in a session of its own, so that Ctrl-C reaches the gateway alone, which then stops it in order.
"""

import logging
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from pgbourse.database.binaries import EmbeddedError, run_as
from pgbourse.database.conninfo import connect, hidden_environment, private_conninfo
from pgbourse.database.datafolder import STOP_SIGNALS, DataFolder, environment

__all__ = ["EmbeddedError", "EmbeddedPostgres"]

_log = logging.getLogger("pgbourse.embedded")

_START_SECONDS = 600.0  # crash recovery replays max_wal_size and a little, but the disk may be slow
_START_ATTEMPTS = 4  # a cluster whose last processes are still going away refuses the first ones
_FIRST_BACKOFF = 0.25
_MAX_BACKOFF = 10.0
_STARTING: dict[str, str | int] = {"application_name": "pgbourse start", "connect_timeout": 5}


class EmbeddedPostgres:
    """A PostgreSQL server of our own on one data folder, started again whenever it dies.

    Use it as a context manager, or call start() and stop(). One process at a time can have a data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = DataFolder(data_dir)
        self._command: list[str] = []
        self.version = ""  # of the server, such as 18.6, once started
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None
        # Guards _process: whether there is one to stop, or another may still be started.
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # Written by the supervisor alone: how often the server has ended by itself, and where its log begins.
        self._exits = 0
        self._log_offset = 0

    def dsn(self, dbname: str = "pgbourse") -> str:
        """Return a connection string for the superuser `postgres`; it leaves nothing to the environment."""
        return private_conninfo(str(self._folder.sockets), dbname)

    def running_dsn(self, dbname: str = "pgbourse") -> str:
        """Return the connection string of the server that another process runs on the data folder.

        Raises EmbeddedError when none does, or when what answers is another.
        """
        folder, port = self._folder.find_server()
        dsn = private_conninfo(folder, dbname, port=port)
        try:
            with connect(dsn, application_name="pgbourse start") as connection:
                self._folder.require_server(connection)
        except (psycopg.OperationalError, OSError) as error:
            raise EmbeddedError(f"can't reach the PostgreSQL of {self._folder.path}") from error
        return dsn

    def start(self) -> None:
        """Start the server, making its data on the first use, and return once it accepts connections.

        Ends a server that a killed pgbourse left running. Creates the database pgbourse if absent.

        Raises EmbeddedError when another pgbourse has the folder, when the folder can't be used or belongs to
        another major version, or when the server does not start.
        """
        try:
            self._launch()
            self._wait_until_ready()
            self._create_database()
        except OSError as error:
            self.stop()
            raise EmbeddedError(f"can't use the data folder {self._folder.path}") from error
        except BaseException:
            self.stop()
            raise
        _log.info("PostgreSQL %s runs; look inside with: psql '%s'", self.version, self._short_dsn())

    def stop(self) -> None:
        """Shut the server down: connections end, open transactions roll back. Then let the data folder go."""
        with self._mutex:
            self._stopping.set()
            process = self._process
        if process is not None:
            for request, seconds in STOP_SIGNALS:
                process.send_signal(request)
                try:
                    process.wait(timeout=seconds)
                    break
                except subprocess.TimeoutExpired:
                    _log.warning("PostgreSQL did not stop within %g s of %s", seconds, request.name)
        if self._supervisor is not None:
            self._supervisor.join()
            self._supervisor = None
        self._folder.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        binaries = self._folder.open()
        self.version = binaries.version
        self._command = [str(binaries.folder / "postgres"), "-D", str(self._folder.data)]
        # On the command line is what must hold whatever anybody sets.
        self._command += [
            "-c",
            f"config_file={self._folder.settings}",
            "-c",
            "listen_addresses=",
            "-p",
            "5432",
        ]
        self._command += ["-k", str(self._folder.sockets), "-c", "unix_socket_permissions=0700"]
        self._stopping.clear()
        self._exits = 0
        self._supervisor = threading.Thread(target=self._supervise, name="pgbourse-postgres")
        self._supervisor.start()

    def _supervise(self) -> None:
        """Keep the server running until stop(): start it again whenever it ends, less and less eagerly."""
        backoff = _FIRST_BACKOFF
        while True:
            started = time.monotonic()
            try:
                with self._mutex:
                    if self._stopping.is_set():
                        return
                    self._process = self._spawn()
                end = f"ended with status {self._process.wait()}: {self._last_words()}"
            except OSError as error:
                end = f"can't be started: {error}"
            with self._mutex:
                self._process = None
                if self._stopping.is_set():
                    return
            self._exits += 1
            _log.error("PostgreSQL %s; starting it again", end)
            self._stopping.wait(backoff)
            backoff = _FIRST_BACKOFF if time.monotonic() - started > 60 else min(2 * backoff, _MAX_BACKOFF)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._folder.log.touch(mode=0o600)  # it may quote statements
        with self._folder.log.open("ab") as log:
            self._log_offset = log.tell()
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                start_new_session=True,
                **run_as(self._folder.user),
            )

    def _wait_until_ready(self) -> None:
        """Return once the server accepts connections, and is the one that runs on our folder.

        Raises EmbeddedError when it is not, when it refuses us, and when it does not come to run.
        """
        started = time.monotonic()
        refusals = 0
        told = False
        while True:
            try:
                with connect(self.dsn("postgres"), **_STARTING) as connection:
                    self._folder.require_server(connection)
                return
            except psycopg.OperationalError as error:
                # A refusal by a server that accepts connections is final, unless it became ready just then.
                refusals = refusals + 1 if self._accepts_connections() else 0
                waited = time.monotonic() - started
                if refusals > 2 or self._exits >= _START_ATTEMPTS or waited > _START_SECONDS:
                    reason = _one_line(error) if refusals else self._last_words()
                    raise EmbeddedError(
                        f"PostgreSQL does not start in {self._folder.path}: {reason}"
                    ) from None
                if waited > 5 and not told:
                    _log.info(
                        "waiting for PostgreSQL, which may be recovering from a crash: %s", _one_line(error)
                    )
                    told = True
            time.sleep(0.02)

    def _accepts_connections(self) -> bool:
        with hidden_environment():
            return pq.PGconn.ping(self.dsn("postgres").encode()) == pq.Ping.OK

    def _create_database(self) -> None:
        with connect(self.dsn("postgres"), **_STARTING) as connection:
            if connection.execute("select from pg_database where datname = 'pgbourse'").fetchone() is None:
                connection.execute("create database pgbourse")

    def _short_dsn(self) -> str:
        """Return a connection string for people, who read it, and for every version of psql."""
        return make_conninfo(host=str(self._folder.sockets), port=5432, user="postgres", dbname="pgbourse")

    def _last_words(self) -> str:
        """Return the latest line that the server logged since its start, of those that say why it ended."""
        with self._folder.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_offset, size - 8192))
            lines = log.read().decode(errors="replace").splitlines()
        reasons = [line for line in lines if re.search(r"(FATAL|PANIC):(?!.*starting up)", line)]
        return (reasons or lines or ["it logged nothing"])[-1].strip()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
