"""Run the PostgreSQL that comes with the package, for people who have none.

It is durable. It has no TCP port, only a socket that no other user can reach. It is a child process in its
own session, so that Ctrl-C reaches only the gateway, which then stops it properly.
"""

import logging
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import pq

from pgbourse.database.binaries import EmbeddedError, run_as
from pgbourse.database.conninfo import connect, hidden_environment, private_conninfo, short
from pgbourse.database.datafolder import STOP_SIGNALS, DataFolder, environment
from pgbourse.database.lastwords import FULL, server_last_words
from pgbourse.errors import one_line

__all__ = ["EmbeddedError", "EmbeddedPostgres"]

_log = logging.getLogger("pgbourse.embedded")

_START_SECONDS = 600.0  # crash recovery replays max_wal_size and a little, but the disk may be slow
_START_ATTEMPTS = 4  # a cluster whose last processes are still exiting refuses the first ones
_FIRST_BACKOFF = 0.25
_BLOCK_BYTES = 4096
_MAX_BACKOFF = 10.0
_STEADY_SECONDS = 60.0  # who has run for so long doesn't end again and again
_STARTING: dict[str, str | int] = {"application_name": "pgbourse start", "connect_timeout": 5}


class EmbeddedPostgres:
    """Our own PostgreSQL server on one data folder, restarted whenever it dies.

    Use it as a context manager, or call start() and stop(). One process at a time can have a data folder.
    """

    def __init__(self, data_dir: Path, *, makes: bool = True) -> None:
        """Take the data folder. Unless it `makes` what is missing there, start() needs a cluster."""
        self._folder = DataFolder(data_dir)
        self._makes = makes
        self._command: list[str] = []
        self.version = ""  # of the server, such as 18.6, once started
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None
        # Guards _process: whether there is a process to stop, or another may still be started.
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # Written only by the supervisor: how often the server has ended by itself, why and when it last did,
        # and where its log begins.
        self._exits = 0
        self._end = ""
        self._ended_at = 0.0
        self._log_offset = 0

    @property
    def path(self) -> Path:
        """The data folder."""
        return self._folder.path

    def is_made(self) -> bool:
        """Return whether the data folder holds a cluster. Raises EmbeddedError if we may not look."""
        return self._folder.has_data()

    def is_running(self) -> bool:
        """Return whether a PostgreSQL runs on the data folder, whoever has started it."""
        return self._folder.is_served()

    def failure(self) -> str:
        """Return why the server has ended by itself in the last minute; empty if it hasn't."""
        is_new = self._end and time.monotonic() - self._ended_at < _STEADY_SECONDS
        return f"PostgreSQL {self._end}" if is_new else ""

    def dsn(self, dbname: str = "pgbourse") -> str:
        """Return a connection string for the superuser `postgres`; it leaves nothing to the environment."""
        return private_conninfo(str(self._folder.sockets), dbname)

    def running_dsn(self, dbname: str = "pgbourse") -> str:
        """Return the connection string of the server that another process runs on the data folder.

        Raises EmbeddedError if there is none, or if another server answers.
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
        """Start the server, creating its data on first use, and return once it accepts connections.

        Ends a server that a killed pgbourse left running. Creates the database pgbourse if absent.

        Raises EmbeddedError if another pgbourse has the folder, if the folder can't be used, is empty and may
        not be filled or belongs to another major version, or if the server does not start.
        """
        try:
            self._launch()
            self._wait_until_ready()
            if self._makes:
                self._create_database()
        except OSError as error:
            self.stop()
            another = "--data-dir (PGBOURSE_DATA_DIR) names another"
            raise EmbeddedError(f"can't use the data folder {self._folder.path}, {another}") from error
        except BaseException:
            self.stop()
            raise
        _log.info("PostgreSQL %s runs; look inside with: psql '%s'", self.version, short(self.dsn()))

    def stop(self) -> None:
        """Shut the server down, which rolls open transactions back. Then release the data folder."""
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
        binaries = self._folder.open(makes=self._makes)
        self.version = binaries.version
        self._command = [str(binaries.folder / "postgres"), "-D", str(self._folder.data)]
        # The command line has the settings that nobody may override.
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
        """Keep the server running until stop(): restart it whenever it ends, with growing pauses."""
        backoff = _FIRST_BACKOFF
        told, told_at = "", 0.0
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
            self._end, self._ended_at = end, time.monotonic()
            # With a full disk it ends again and again: the same is told once a minute, whatever the time and
            # the process in it.
            reason = re.sub("[0-9]+", "", end)
            if reason != told or self._ended_at - told_at > _STEADY_SECONDS:
                told, told_at = reason, self._ended_at
                _log.error("PostgreSQL %s; starting it again", end)
            self._stopping.wait(backoff)
            was_steady = time.monotonic() - started > _STEADY_SECONDS
            backoff = _FIRST_BACKOFF if was_steady else min(2 * backoff, _MAX_BACKOFF)

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

        Raises EmbeddedError if it is not, if it refuses us, or if it does not start.
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
                    reason = one_line(error) if refusals else self._last_words()
                    raise EmbeddedError(
                        f"PostgreSQL does not start in {self._folder.path}: {reason}"
                    ) from None
                if waited > 5 and not told:
                    _log.info(
                        "waiting for PostgreSQL, which may be recovering from a crash: %s", one_line(error)
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

    def _last_words(self) -> str:
        """Return the latest line of the server's log since its start that says why it ended."""
        with self._folder.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_offset, size - 8192))
            words = server_last_words(log.read().decode(errors="replace"))
        # The log lies on the same disk as the data: it may lack the line that says so.
        if FULL in words or shutil.disk_usage(self._folder.path).free >= _BLOCK_BYTES:
            return words or "it logged nothing"
        return f"{words}; {FULL}" if words else FULL
